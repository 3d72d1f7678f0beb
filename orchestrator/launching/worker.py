"""A run worker that was forked: executes one run on the instance that it is told, as Dagster's own worker does."""

import importlib
import os
from collections.abc import Mapping
from typing import Any

from dagster import DagsterInstance

from orchestrator.execution.dagster_internals import (
    EngineEventData,
    InstanceRef,
    ModuleCodePointer,
    ReconstructableRepository,
    capture_interrupts,
    core_execute_run,
    deserialize_value,
)
from orchestrator.settings import Settings

# What a run imports when it first needs it.
AHEAD = (
    "alembic.command",
    "alembic.config",
    "orchestrator.backends.sandbox",
    "orchestrator.backends.subprocess",
    "sqlalchemy.dialects.sqlite",
)


def execute(request: Mapping[str, Any]) -> None:
    """Execute the run that a request names: `run`, `team`, `job`, and `instance`, Dagster's reference to one.

    Dagster puts on record whatever goes wrong with it, and so does what raises here.
    """
    reference = deserialize_value(request["instance"], InstanceRef)
    with DagsterInstance.from_ref(reference) as instance, capture_interrupts():
        run = instance.get_run_by_id(request["run"])
        if run is None:
            raise LookupError(f"there is no run {request['run']}")
        repository = ReconstructableRepository(ModuleCodePointer("orchestrator.definitions", request["team"], None))
        pid = os.getpid()
        instance.report_engine_event(
            f"Forked a process for the run (pid: {pid}).", run, EngineEventData.in_process(pid)
        )
        for _ in core_execute_run(
            repository.get_reconstructable_job(request["job"]), run, instance, inject_env_vars=False
        ):
            pass


def import_ahead(settings: Settings) -> None:
    """Import what a run would, and try the sandbox; connects to nothing and starts no thread."""
    for name in AHEAD:
        importlib.import_module(name)
    from orchestrator.backends import backend_of

    _ = backend_of(settings).tier
