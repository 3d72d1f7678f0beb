"""`bulkhead run`: executes jobs on the instance, in this process, and shows what happens while it does."""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from orchestrator.cli.home import open_instance
from orchestrator.contract.catalog import Catalog
from orchestrator.errors import CommandError, ContractError, did_you_mean, listed

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun, JobDefinition

    from orchestrator.execution.platform import Platform

PR_SET_PDEATHSIG = 1
# The event log has everything; what a run worker prints beside it would only disturb the progress.
QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run_jobs(jobs: Sequence[str], config: str | None, as_json: bool, partition: str | None) -> int:
    """Run jobs in order, stopping at the first that does not succeed; return the exit code of the command."""
    _follow_parent()
    from orchestrator.cli.progress import JsonProgress, TextProgress
    from orchestrator.execution.platform import load_platform

    platform = load_platform()
    teams = {job: team_of(platform.catalog, job) for job in jobs}
    run_config = {**QUIET, **read_config(config)}
    progress = JsonProgress() if as_json else TextProgress(platform.settings)
    code = 0
    with open_instance(platform.settings) as instance:
        for job in jobs:
            code = _run(instance, platform, teams[job], job, run_config, partition, progress)
            if code:
                break
    progress.summary(code)
    return code


def team_of(catalog: Catalog, job: str) -> str:
    """Return the team that declares a job.

    Raises:
        CommandError: no sound contract declares it.
        ContractError: the contract that may declare it is broken.
    """
    known = {name: team for team, contract in catalog.sound.items() for name in contract.jobs}
    if job in known:
        return known[job]
    for team, problems in catalog.problems.items():
        broken = catalog.files[team].contract
        if broken is None or job in broken.jobs:
            raise ContractError(team, problems)
    raise CommandError(f"no job {job!r}. Jobs: {listed(known)}.{did_you_mean(job, known)}")


def read_config(config: str | None) -> dict[str, Any]:
    """Return run configuration from a YAML file, or from YAML itself.

    Raises:
        CommandError: it is neither.
    """
    if not config:
        return {}
    path = Path(config)
    is_file = len(config) < 1000 and "\n" not in config and path.is_file()
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8") if is_file else config)
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--config {config!r}: not readable as YAML: {error}") from error
    if not isinstance(value, dict):
        raise CommandError(f"--config {config!r}: no such file, and not a YAML mapping such as '{{ops: ...}}'.")
    return value


def _run(
    instance: "DagsterInstance",
    platform: "Platform",
    team: str,
    name: str,
    config: dict[str, Any],
    partition: str | None,
    progress: Any,
) -> int:
    from dagster import DagsterRunStatus
    from dagster._core.definitions.job_base import InMemoryJob
    from dagster._utils.interrupts import capture_interrupts

    from orchestrator.definitions import team_definitions
    from orchestrator.execution.collecting import collector_paused, keep_what_is_loaded
    from orchestrator.execution.dagster_internals import execute_run_iterator
    from orchestrator.execution.threads import CANCELLING

    with collector_paused():
        job = team_definitions(team, platform).resolve_job_def(name)
    keep_what_is_loaded()
    run = create_run(instance, team, job, config, partition)
    plan = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id or "")
    progress.started(run, team, plan.step_keys_to_execute)
    interrupted = False
    with capture_interrupts():
        for event in execute_run_iterator(InMemoryJob(job), run, instance):
            if event.message == CANCELLING:
                interrupted = True
                instance.report_run_canceling(run, "Interrupted by a signal to 'bulkhead run'.")
            progress.event(event)
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    progress.ended(ended)
    if interrupted:
        return 128 + signal.SIGINT
    return 0 if ended.status is DagsterRunStatus.SUCCESS else 1


def create_run(
    instance: "DagsterInstance", team: str, job: "JobDefinition", config: dict[str, Any], partition: str | None
) -> "DagsterRun":
    """Put a run on the instance as the team's code location would, so that the UI knows where it belongs.

    Raises:
        CommandError: the configuration does not fit the job, or the partition does not exist.
    """
    from dagster import DagsterInvalidConfigError
    from dagster._core.errors import DagsterUnknownPartitionError
    from dagster._core.remote_origin import (
        ManagedGrpcPythonEnvCodeLocationOrigin,
        RemoteJobOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

    target = LoadableTargetOrigin(module_name="orchestrator.definitions", attribute=team)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(loadable_target_origin=target, location_name=team)
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job.name)
    tags = {"dagster/code_location": team}
    if partition is not None:
        tags["dagster/partition"] = partition
    try:
        return instance.create_run_for_job(job, run_config=config, tags=tags, remote_job_origin=origin)
    except (DagsterInvalidConfigError, DagsterUnknownPartitionError) as error:
        raise CommandError(f"job {job.name!r} cannot start: {error}") from error


def _follow_parent() -> None:
    """End with the parent, if asked to (`make demo` asks): a killed `make` then leaves no run behind."""
    if os.environ.get("BULKHEAD_FOLLOW_PARENT") and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
