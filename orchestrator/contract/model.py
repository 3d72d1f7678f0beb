"""What a team may write in `workloads/<team>/defs.yaml`, under `attributes`.

The same model is the JSON schema that `dg check yaml` holds the file against. Assets and checks are Dagster's
own declarations, so every field of an asset spec (partitions, tags, automation) works as Dagster documents it.
"""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from dagster.components.resolved.core_models import (
    AssetCheckSpecKwargs,
    AssetSpecKwargs,
    MultiRunBackfillPolicyModel,
    SingleRunBackfillPolicyModel,
)
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from orchestrator.contract.units import Duration, Memory

AssetModel: Any = AssetSpecKwargs.model()
CheckModel: Any = AssetCheckSpecKwargs.model()

RESERVED_ENV = ("BULKHEAD_", "DAGSTER_", "LD_")
OWN_ENV = frozenset({"PATH", "HOME", "TMPDIR", "LANG", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"})


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", value):
        raise ValueError(f"{value!r} is not a name. Expected letters, digits and underscores, a letter first.")
    return value


def _variable(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError(f"{value!r} is not the name of an environment variable. Expected a name such as ETL_ROWS.")
    if value.startswith(RESERVED_ENV) or value in OWN_ENV:
        raise ValueError(f"{value!r} is set by the platform and cannot be passed on. Take another name.")
    return value


Name = Annotated[str, AfterValidator(_name)]
Variable = Annotated[str, AfterValidator(_variable)]


class Strict(BaseModel):
    """A part of the contract: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Resources(Strict):
    """What one step may use, over its whole process tree.

    `memory` and `output` in bytes, `cpu` in cores, `cpu_time` in seconds, `pids` in processes and threads.
    """

    cpu: float | None = Field(default=None, gt=0, le=4096, allow_inf_nan=False)
    memory: Memory | None = None
    cpu_time: Duration | None = None
    pids: int | None = Field(default=None, gt=0, le=2**22)
    open_files: int | None = Field(default=None, ge=16, le=2**20)
    output: Memory | None = None


class Retries(Strict):
    """How often a step is tried again after a failure that another try can mend. `delay` in seconds."""

    max: int = Field(ge=0, le=100)
    delay: Duration | None = None
    backoff: Literal["linear", "exponential"] | None = None


class Step(Strict):
    """One process: what it runs, how long it may take, which assets and checks it owes."""

    name: Name
    description: str | None = None
    run: list[str] = Field(min_length=1)
    results: Literal["pipes", "file"] = "pipes"
    timeout: Duration | None = None
    start_timeout: Duration | None = None
    retries: Retries | None = None
    resources: Resources = Resources()
    pool: str | None = None
    backfill_policy: SingleRunBackfillPolicyModel | MultiRunBackfillPolicyModel | None = Field(
        default=None, discriminator="type"
    )
    assets: list[AssetModel] = Field(min_length=1)
    checks: list[CheckModel] = []


class Job(Strict):
    """A named selection of the team's assets (Dagster's selection syntax)."""

    selection: str = "*"
    description: str | None = None
    tags: dict[str, str] = {}


class Schedule(Strict):
    """When a job starts by itself. `cron` has five fields; `timezone` is a name of the IANA database."""

    job: str
    cron: str
    timezone: str = "UTC"
    description: str | None = None


class Contract(Strict):
    """All that a team promises, and all that its workload is given."""

    team: Name
    owners: list[str] = []
    description: str | None = None
    image: str
    env: list[Variable] = []
    secrets: list[Variable] = []
    secret_variables: list[Variable] = []
    stores: dict[Name, Literal["rw", "ro"]] = {}
    publishes: list[str] = []
    reads: list[str] = []
    resources: Resources = Resources()
    network: Literal["none", "data"] = "none"
    steps: list[Step] = Field(min_length=1)
    jobs: dict[Name, Job] = {}
    schedules: dict[Name, Schedule] = {}

    def step_of(self, asset: str) -> Step | None:
        """Return the step that makes an asset (by its key as written), or None."""
        return self._makers.get(asset)

    def asset_keys(self) -> list[str]:
        """Return every asset key of the contract, as written, in the order of the file."""
        return [spec.key for step in self.steps for spec in step.assets]

    def blocking_checks(self, asset: str) -> list[str]:
        """Return the names of the blocking checks on an asset of this contract."""
        return self._blocking.get(asset, [])

    def resources_of(self, step: Step) -> Resources:
        """Return what a step may use: its own limits over the team's."""
        own = step.resources.model_dump(exclude_none=True)
        return self.resources.model_copy(update=own)

    @cached_property
    def _makers(self) -> Mapping[str, Step]:
        return {spec.key: step for step in reversed(self.steps) for spec in step.assets}

    @cached_property
    def _blocking(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for step in self.steps:
            for check in step.checks:
                if check.blocking is True:
                    found.setdefault(check.asset, []).append(check.name)
        return found
