"""Turns a contract's step into a launch: its environment, its files, its folders."""

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagster_pipes import DAGSTER_PIPES_CONTEXT_ENV_VAR, DAGSTER_PIPES_MESSAGES_ENV_VAR, encode_param

from orchestrator.backends.launch import Mount
from orchestrator.contract.model import Contract, Step
from orchestrator.execution.datasets import Dataset, discard
from orchestrator.execution.identity import identity, own_folder
from orchestrator.execution.removal import remove_tree
from orchestrator.execution.report import Asked
from orchestrator.execution.run_state import afterwards
from orchestrator.execution.secrets import find_secrets, write_secrets
from orchestrator.execution.stores import store_path
from orchestrator.settings import Settings

SECRETS = "secrets"
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class StepFolder:
    """The scratch folder of one attempt, and what the workload is given beside it.

    `visible` holds the variables that a person needs to run the step by hand; `env` all that the process gets.
    `secrets` holds the values that nobody may read in a log.
    """

    scratch: Path
    visible: Mapping[str, str] = field(repr=False)
    env: Mapping[str, str] = field(repr=False)
    staged: Mapping[str, Path]
    inputs: Mapping[str, str]
    mounts: tuple[Mount, ...]
    secrets: Mapping[str, str] = field(repr=False)

    @property
    def secrets_folder(self) -> Path | None:
        return self.scratch / SECRETS if self.secrets else None

    @property
    def result(self) -> Path:
        """Where a program without Pipes may write what it made."""
        return self.scratch / "result.json"

    @property
    def messages(self) -> Path:
        return self.scratch / "messages.jsonl"


def new_scratch(settings: Settings, team: str) -> Path:
    """Return a new scratch folder for a step of a team; it belongs to this process."""
    settings.steps.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{team}-", dir=settings.steps))
    own_folder(scratch, settings)
    for name in ("home", "tmp"):
        (scratch / name).mkdir()
    return scratch


@contextmanager
def step_folder(
    settings: Settings,
    contract: Contract,
    step: Step,
    asked: Asked,
    config: Mapping[str, Any],
    context: Mapping[str, Any],
    scratch: Path,
) -> Iterator[StepFolder]:
    """Fill the scratch folder of one attempt; afterwards it is removed, and whatever was staged and not published.

    Raises:
        LaunchError: a secret or an input dataset is missing.
    """
    staged: dict[str, Path] = {}
    try:
        (scratch / "context.json").write_text(json.dumps(context), encoding="utf-8")
        secrets = find_secrets(settings, contract.secrets)
        inputs = _inputs(settings, contract, step, asked)
        stores, datasets = _stores(settings, contract), _datasets(settings, inputs)
        for name in contract.publishes:
            if name in asked.assets:
                staged[name] = Dataset(settings.datasets, name).stage(identity())
        visible = {
            "PATH": f"{settings.workloads / contract.team / '.venv' / 'bin'}:{SYSTEM_PATH}",
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            **_passed_on(settings, contract, config),
            **{_variable("STORE", name): str(path) for name, path in stores.items()},
            **{_variable("DATASET", name): str(path) for name, path in datasets.items()},
        }
        env = {
            **visible,
            "HOME": str(scratch / "home"),
            "TMPDIR": str(scratch / "tmp"),
            **{_variable("PUBLISH", name): str(folder) for name, folder in staged.items()},
            **(write_secrets(secrets, scratch / SECRETS) if secrets else {}),
            **{name: secrets[name] for name in contract.secret_variables},
            **_channels(step, scratch),
        }
        mounts = _mounts(contract, stores, datasets) + tuple(Mount(path, writable=True) for path in staged.values())
        yield StepFolder(scratch, {"HOME": "/tmp", **visible}, env, staged, inputs, mounts, secrets)
    finally:
        afterwards(lambda: _remove(staged.values(), scratch))


def _remove(staged: Iterable[Path], scratch: Path) -> None:
    for folder in staged:
        discard(folder)
    remove_tree(scratch)


def expected_mounts(settings: Settings, contract: Contract, step: Step) -> tuple[Mount, ...]:
    """Return what a step that makes all its assets would be given now, beside what it publishes."""
    inputs = _read(settings, contract, step)
    return _mounts(contract, _stores(settings, contract), _datasets(settings, inputs))


def _mounts(contract: Contract, stores: Mapping[str, Path], datasets: Mapping[str, Path]) -> tuple[Mount, ...]:
    private = tuple(Mount(path, contract.stores[name] == "rw") for name, path in stores.items())
    return private + tuple(Mount(path) for path in datasets.values())


def _stores(settings: Settings, contract: Contract) -> dict[str, Path]:
    return {name: _store(settings, contract, name) for name in contract.stores}


def _datasets(settings: Settings, inputs: Mapping[str, str]) -> dict[str, Path]:
    return {name: settings.datasets / name / version for name, version in inputs.items()}


def _passed_on(settings: Settings, contract: Contract, config: Mapping[str, Any]) -> dict[str, str]:
    """Return the contract's variables: from the run's configuration, else from the platform's environment."""
    passed = {name: settings.environment[name] for name in contract.env if name in settings.environment}
    for name, value in config.items():
        passed[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return passed


def _store(settings: Settings, contract: Contract, name: str) -> Path:
    path = store_path(settings.stores, contract.team, name)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _inputs(settings: Settings, contract: Contract, step: Step, asked: Asked) -> dict[str, str]:
    """Return the pinned version of every dataset that the step reads: those its assets depend on, so the gate saw them.

    A checks-only run of a publisher judges what is published, so it is given that version.
    """
    judged = [] if asked.assets else [one for one in contract.publishes if any(one == key for key, _ in asked.checks)]
    return _read(settings, contract, step, judged)


def _read(settings: Settings, contract: Contract, step: Step, more: Sequence[str] = ()) -> dict[str, str]:
    """Return the current version of each dataset that a step's assets depend on, and of these."""
    deps = {dep for asset in step.assets for dep in asset.deps or []}
    names = [*(name for name in contract.reads if name in deps), *more]
    current = {name: Dataset(settings.datasets, name).current() for name in names}
    return {name: version for name, version in current.items() if version is not None}


def _channels(step: Step, scratch: Path) -> dict[str, str]:
    """Return the variables that say where the context is, and where results go."""
    if step.results == "file":
        return {"BULKHEAD_CONTEXT": str(scratch / "context.json"), "BULKHEAD_RESULT": str(scratch / "result.json")}
    return {
        DAGSTER_PIPES_CONTEXT_ENV_VAR: encode_param({"path": str(scratch / "context.json")}),
        DAGSTER_PIPES_MESSAGES_ENV_VAR: encode_param({"path": str(scratch / "messages.jsonl")}),
    }


def _variable(kind: str, name: str) -> str:
    return f"BULKHEAD_{kind}_{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}"
