"""Secrets: found by name when a step is launched, and written where this step alone can read them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.backends.launch import LaunchError
from orchestrator.settings import Settings


def find_secrets(settings: Settings, names: Sequence[str]) -> dict[str, str]:
    """Return the value of each secret.

    For a secret X, in this order: the platform's variable X, the file that its variable X_FILE names, the file X in the
    folder of secrets. A value read from a file loses one newline at its end.

    Raises:
        LaunchError: a secret is nowhere, or empty, or its file cannot be read; names every one and where it was sought.
    """
    found = {name: _find(settings, name) for name in names}
    missing = [name for name, value in found.items() if not value]
    if missing:
        places = f"in the platform's environment, in the file that {missing[0]}_FILE names"
        folder = f", in {settings.secrets}" if settings.secrets else ", in the folder BULKHEAD_SECRETS (not set)"
        raise LaunchError(f"secret {', '.join(missing)} is not set (looked {places}{folder}).")
    for name, value in found.items():
        if value and "\0" in value:
            raise LaunchError(f"secret {name} holds a NUL character, which no variable can carry.")
    return {name: str(value) for name, value in found.items()}


def write_secrets(values: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Write each secret to a file of its own; return the variables that name the files: X_FILE for a secret X."""
    folder.mkdir(mode=0o700)
    for name, value in values.items():
        fd = os.open(folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o400)
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(value)
    return {f"{name}_FILE": str(folder / name) for name in values}


def _find(settings: Settings, name: str) -> str | None:
    if value := settings.environment.get(name):
        return value
    named = settings.environment.get(f"{name}_FILE")
    path = Path(named) if named else settings.secrets / name if settings.secrets else None
    if path is None:
        return None
    try:
        value = path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LaunchError(f"secret {name} cannot be read: {error}") from error
    return value[:-2] if value.endswith("\r\n") else value.removesuffix("\n")
