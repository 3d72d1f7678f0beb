"""How the prewarmed process is reached: one JSON line there, one back, over a socket in the platform's home."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.errors import BulkheadError
from orchestrator.settings import Settings

COMMAND = [sys.executable, "-m", "orchestrator.launching.prewarmed"]
NAME = "prewarmed.sock"
# Names, for all that `bulkhead ui` starts, the process that a prewarmed one ends with.
OWNER_VARIABLE = "BULKHEAD_OWNER"
# A process that is just reading changed contracts answers when it has.
PATIENCE_SECONDS = 10.0


class NotThere(BulkheadError):
    """No prewarmed process took the request; says why."""


def start(settings: Settings) -> None:
    """Start the prewarmed process, unless it is switched off or runs already; it takes a moment until it answers.

    It ends with the process that `BULKHEAD_OWNER` names; without that variable none is started.
    """
    owner = settings.environment.get(OWNER_VARIABLE, "")
    if settings.prewarm != "off" and owner.isdigit() and hasattr(os, "pidfd_open"):
        subprocess.Popen([*COMMAND, owner], stdin=subprocess.DEVNULL, start_new_session=True)


def ask(settings: Settings, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Send a request and return the answer.

    Raises:
        NotThere: there is no prewarmed process, or it refused.
    """
    try:
        with _connected(settings.home) as channel:
            channel.sendall(json.dumps(request).encode() + b"\n")
            answer = read_line(channel)
    except (OSError, ValueError) as error:
        raise NotThere(f"the prewarmed process does not answer ({error})") from error
    if "refused" in answer:
        raise NotThere(str(answer["refused"]))
    return answer


def listen(home: Path) -> socket.socket:
    """Return a socket that listens in a home, in the place of one that a dead process left."""
    listener = socket.socket(socket.AF_UNIX)
    with _folder(home) as folder:
        (Path(folder) / NAME).unlink(missing_ok=True)
        listener.bind(f"{folder}/{NAME}")
        (Path(folder) / NAME).chmod(0o600)
    listener.listen(64)
    return listener


def read_line(channel: socket.socket) -> dict[str, Any]:
    """Return the JSON object of a line.

    Raises:
        ValueError: the other side closed before its end, or it is no JSON.
    """
    data = b""
    while not data.endswith(b"\n"):
        part = channel.recv(65536)
        if not part:
            raise ValueError("it closed the connection")
        data += part
    line: dict[str, Any] = json.loads(data)
    return line


@contextmanager
def _connected(home: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as channel, _folder(home) as folder:
        channel.settimeout(PATIENCE_SECONDS)
        channel.connect(f"{folder}/{NAME}")
        yield channel


@contextmanager
def _folder(home: Path) -> Iterator[str]:
    """Yield a short name of a folder: the address of a socket holds about a hundred bytes."""
    fd = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
