"""A run worker that was forked: executes one run on the instance that it is told, as Dagster's own worker does."""

import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus

from orchestrator.backends import expect_launches
from orchestrator.backends.sandbox import find_sandbox
from orchestrator.execution.dagster_internals import (
    DagsterEventType,
    EngineEventData,
    InstanceRef,
    ModuleCodePointer,
    ReconstructableRepository,
    capture_interrupts,
    core_execute_run,
    deserialize_value,
)
from orchestrator.execution.identity import identity
from orchestrator.execution.threads import CANCELLING
from orchestrator.execution.workers import sweep
from orchestrator.launching.channel import BEGIN, read_line, send_line
from orchestrator.settings import Settings, read_settings

# A request is one line, sent at once; between the answer and the beginning the launcher writes to the database.
REQUEST_SECONDS, BEGIN_SECONDS = 5.0, 60.0
REQUEST = ("run", "team", "job", "instance")


def work(channel: socket.socket) -> None:
    """Take one request, answer who this process is, and execute the run once it is told to begin."""
    request = _request(channel)
    # From the answer on, the run may be cancelled.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with capture_interrupts():
        if request is not None and _told_to_begin(channel):
            channel.close()
            execute(request)


def _request(channel: socket.socket) -> Mapping[str, Any] | None:
    """Return the request; None, after saying why, if there is none that can be understood."""
    channel.settimeout(REQUEST_SECONDS)
    with contextlib.suppress(OSError):
        try:
            request = read_line(channel)
            if all(isinstance(request.get(name), str) for name in REQUEST):
                return request
            send_line(channel, {"refused": f"a request has {', '.join(REQUEST)}"})
        except ValueError as error:
            send_line(channel, {"refused": str(error)})
    return None


def _told_to_begin(channel: socket.socket) -> bool:
    """Answer who this process is; return whether it was told to begin, and not left alone."""
    channel.settimeout(BEGIN_SECONDS)
    with contextlib.suppress(OSError, ValueError):
        send_line(channel, {"worker": identity()})
        return read_line(channel) == BEGIN
    return False


def execute(request: Mapping[str, Any]) -> None:
    """Execute the run that a request names: `run`, `team`, `job`, and `instance`, Dagster's reference to one.

    Dagster puts on record what goes wrong with it.

    Raises:
        LookupError: there is no such run.
    """
    expect_launches(read_settings())
    reference = deserialize_value(request["instance"], InstanceRef)
    with DagsterInstance.from_ref(reference) as instance:
        run = instance.get_run_by_id(request["run"])
        if run is None:
            raise LookupError(f"there is no run {request['run']}")
        repository = ReconstructableRepository(ModuleCodePointer("orchestrator.definitions", request["team"], None))
        pid = os.getpid()
        instance.report_engine_event(
            f"Forked a process for the run (pid: {pid}).", run, EngineEventData.in_process(pid)
        )
        job = repository.get_reconstructable_job(request["job"])
        begun = False
        for event in core_execute_run(job, run, instance, inject_env_vars=False):
            if event.event_type is DagsterEventType.RUN_START:
                begun = True
                if instance.get_records_for_run(run.run_id, of_type=DagsterEventType.RUN_CANCELING, limit=1).records:
                    # It came a moment before, and the start has taken its status away.
                    instance.report_run_canceling(run, "The run was cancelled while its worker began.")
            if not begun and _is_being_cancelled(instance, run.run_id):
                # Dagster takes it for a run that another worker has begun, and would mark it as failed.
                instance.report_run_canceled(run, "The run was cancelled before its worker began.")
                return
            if event.message == CANCELLING and not _is_being_cancelled(instance, run.run_id):
                instance.report_run_canceling(run, "Interrupted by a signal to the run worker.")


def _is_being_cancelled(instance: DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is not None and run.status is DagsterRunStatus.CANCELING


def mark_lost_runs(settings: Settings) -> None:
    """Mark the runs as failed whose workers were killed, and clear up behind them."""
    with (settings.home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with DagsterInstance.from_config(str(settings.dagster_home)) as instance:
            sweep(instance, settings)


def rehearse() -> None:
    """Do what a run does, on an instance that is thrown away: afterwards all that it needs has been imported."""

    @dg.asset
    def nothing() -> None: ...

    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with TemporaryDirectory() as folder:
        (Path(folder) / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        with DagsterInstance.from_config(folder) as instance:
            dg.materialize([nothing], instance=instance, run_config=quiet)
    find_sandbox()
