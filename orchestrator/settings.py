"""The platform's environment, read once into one frozen value.

Everything that Bulkhead itself takes from the environment is named here. A workload's variables are not: they are
looked up by name, at launch, in `Settings.environment`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import SettingsError, did_you_mean, listed

BACKEND_NAMES = ("subprocess", "docker")
SANDBOX_MODES = ("auto", "required", "off")
PREWARM_MODES = ("auto", "off")
PULL_MODES = ("missing", "always", "never")
IMAGE_PREFIX = "bulkhead-"


@dataclass(frozen=True)
class Settings:
    """Where the platform's state and contracts are, and where steps run.

    Attributes:
        home: the platform's state (`BULKHEAD_HOME`, default `<project>/.bulkhead`); may contain spaces.
        project: the folder that holds `workloads/` and `deployment/` (`BULKHEAD_PROJECT`).
        backend: where steps run (`BULKHEAD_BACKEND`).
        sandbox: whether the embedded backend uses bwrap (`BULKHEAD_SANDBOX`): `auto` where it works, `required`, `off`.
        prewarm: whether `bulkhead ui` keeps a process ready to start runs from (`BULKHEAD_PREWARM`): `auto`, `off`.
        secrets: folder with a file for each secret (`BULKHEAD_SECRETS`), or None.
        max_concurrent: steps of one run at the same time (`BULKHEAD_MAX_CONCURRENT`, default: processors, at least 4).
        stop_grace: seconds a step has after INT, and again after TERM, before the next signal.
        registry, tag: where images come from (`BULKHEAD_REGISTRY`, `BULKHEAD_TAG`); without registry, the engine's own.
        pull: when an image is pulled (`BULKHEAD_PULL`): `missing`, `always` (once a run worker), `never`.
        docker_network: the network of steps that may reach other machines (`BULKHEAD_DOCKER_NETWORK`).
        keep_failed: seconds that the container of a failed step is kept (`BULKHEAD_KEEP_FAILED`); 0 removes it at once.
        environment: what the platform itself was started with; never printed.
    """

    home: Path
    project: Path
    backend: str = "subprocess"
    sandbox: str = "auto"
    prewarm: str = "auto"
    secrets: Path | None = None
    max_concurrent: int = 4
    stop_grace: float = 3.0
    registry: str = ""
    tag: str = "latest"
    pull: str = "missing"
    docker_network: str = "bulkhead-data"
    keep_failed: float = 0.0
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def workloads(self) -> Path:
        return self.project / "workloads"

    @property
    def workspace(self) -> Path:
        return self.project / "deployment" / "workspace.yaml"

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    @property
    def datasets(self) -> Path:
        return self.home / "datasets"

    @property
    def stores(self) -> Path:
        return self.home / "stores"

    @property
    def steps(self) -> Path:
        """One folder for each running step: its context, messages and scratch space."""
        return self.home / "steps"

    @property
    def workers(self) -> Path:
        """One file for each run worker, locked by it as long as it lives."""
        return self.dagster_home / "workers"

    def image_reference(self, name: str) -> str:
        """Return the image that a contract's `image` means; one with a `/` or `:` is meant as it stands."""
        if "/" in name or ":" in name:
            return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
        return f"{self.registry}{'/' if self.registry else ''}{IMAGE_PREFIX}{name}:{self.tag}"


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment (default: the process's own).

    Raises:
        SettingsError: a variable holds something that cannot be used.
    """
    env = dict(os.environ if environment is None else environment)
    project = Path(env.get("BULKHEAD_PROJECT") or Path(__file__).resolve().parent.parent).absolute()
    return Settings(
        home=Path(env.get("BULKHEAD_HOME") or project / ".bulkhead").expanduser().absolute(),
        project=project,
        backend=_one_of(env, "BULKHEAD_BACKEND", BACKEND_NAMES),
        sandbox=_one_of(env, "BULKHEAD_SANDBOX", SANDBOX_MODES),
        prewarm=_one_of(env, "BULKHEAD_PREWARM", PREWARM_MODES),
        secrets=Path(env["BULKHEAD_SECRETS"]).expanduser().absolute() if env.get("BULKHEAD_SECRETS") else None,
        max_concurrent=_number(env, "BULKHEAD_MAX_CONCURRENT", max(4, os.cpu_count() or 1)),
        stop_grace=_seconds(env, "BULKHEAD_STOP_GRACE", 3.0),
        registry=(env.get("BULKHEAD_REGISTRY") or "").rstrip("/"),
        tag=env.get("BULKHEAD_TAG") or "latest",
        pull=_one_of(env, "BULKHEAD_PULL", PULL_MODES),
        docker_network=env.get("BULKHEAD_DOCKER_NETWORK") or "bulkhead-data",
        keep_failed=_seconds(env, "BULKHEAD_KEEP_FAILED", 0.0, most=7 * 24 * 3600),
        environment=env,
    )


def _one_of(env: Mapping[str, str], name: str, known: Sequence[str]) -> str:
    """Return the value of a variable; the first of the known ones if it is not set."""
    value = env.get(name) or known[0]
    if value not in known:
        raise SettingsError(f"{name}={value!r}: expected one of {listed(known)}.{did_you_mean(value, known)}")
    return value


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise SettingsError(f"{name}={text!r}: expected a whole number, 1 or more.")
    return int(text)


def _seconds(env: Mapping[str, str], name: str, default: float, most: float = 3600) -> float:
    text = env.get(name, "")
    try:
        seconds = float(text or default)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < most:
        raise SettingsError(f"{name}={text!r}: expected seconds, from 0 to {most}.")
    return seconds
