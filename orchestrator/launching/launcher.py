"""Hands a run to the prewarmed process, which forks a run worker for it; without one, Dagster starts it as ever."""

import contextlib
import os
import signal

from dagster import DagsterRun

from orchestrator.execution.dagster_internals import (
    GRPC_INFO_TAG,
    DefaultRunLauncher,
    LaunchRunContext,
    ModuleCodePointer,
    serialize_value,
)
from orchestrator.execution.identity import alive
from orchestrator.execution.workers import WORKER_TAG
from orchestrator.launching.channel import NotThere, forked, start
from orchestrator.launching.coordinator import put_back
from orchestrator.settings import read_settings


class PrewarmedRunLauncher(DefaultRunLauncher):
    """Dagster's launcher for code locations on this machine, with a quicker way to a run worker.

    A run of a team's own code location goes to the prewarmed process of this home, which `bulkhead ui` starts. Where
    nobody answers, the run starts as it would without it, in an interpreter of its own.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        run, settings = context.dagster_run, read_settings()
        if put_back(self._instance, run):
            return
        team = _team_of(run)
        if settings.prewarm == "off" or team is None:
            super().launch_run(context)
            return
        request = {
            "run": run.run_id,
            "team": team,
            "job": run.job_name,
            "instance": serialize_value(self._instance.get_ref()),
        }
        try:
            # It begins after this block, so whoever ends the run meanwhile knows which process to tell.
            with forked(settings, request) as worker:
                self._instance.add_run_tags(run.run_id, {WORKER_TAG: worker})
        except NotThere as reason:
            self._instance.report_engine_event(f"Starting the run in a new interpreter: {reason}", run)
            start(settings)
            super().launch_run(context)

    def terminate(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        worker = run.tags.get(WORKER_TAG) if run is not None else None
        if run is None or worker is None or run.is_finished or GRPC_INFO_TAG in run.tags:
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        self._instance.report_run_canceling(run)
        if not alive(worker, read_settings()):
            self._instance.report_engine_event("Its run worker is gone: there is nothing to stop.", run)
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(worker.partition("@")[0]), signal.SIGTERM)
        return True


def _team_of(run: DagsterRun) -> str | None:
    """Return the team whose definitions a run executes; None if they are not the platform's."""
    origin = run.job_code_origin
    pointer = origin.repository_origin.code_pointer if origin is not None else None
    if isinstance(pointer, ModuleCodePointer) and pointer.module == "orchestrator.definitions":
        return str(pointer.fn_name)
    return None
