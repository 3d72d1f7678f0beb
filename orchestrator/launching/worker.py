"""A run worker that was forked: executes one run on the instance that it is told, as Dagster's own worker does."""

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
from dagster import DagsterInstance

from orchestrator.backends import expect_launches
from orchestrator.backends.sandbox import find_sandbox
from orchestrator.execution.dagster_internals import (
    EngineEventData,
    InstanceRef,
    ModuleCodePointer,
    ReconstructableRepository,
    capture_interrupts,
    core_execute_run,
    deserialize_value,
)
from orchestrator.settings import Settings, read_settings


def execute(request: Mapping[str, Any]) -> None:
    """Execute the run that a request names: `run`, `team`, `job`, and `instance`, Dagster's reference to one.

    Dagster puts on record whatever goes wrong with it, and so does what raises here.
    """
    expect_launches(read_settings())
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


def rehearse(settings: Settings) -> None:
    """Do what a run does, on an instance that is thrown away: afterwards all that it needs has been imported."""

    @dg.asset
    def nothing() -> None: ...

    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with TemporaryDirectory() as folder:
        (Path(folder) / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        with DagsterInstance.from_config(folder) as instance:
            dg.materialize([nothing], instance=instance, run_config=quiet)
    find_sandbox()
