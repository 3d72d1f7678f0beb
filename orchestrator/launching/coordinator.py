"""Dagster's run queue, which a run does not wait in when there is room and nobody stands before it."""

import threading
from typing import Any

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from orchestrator.execution.dagster_internals import (
    IN_PROGRESS_RUN_STATUSES,
    DagsterEvent,
    QueuedRunCoordinator,
    SubmitRunContext,
)


class PromptRunCoordinator(QueuedRunCoordinator):
    """Launches a run at once if no limit could hold it back; leaves it to the queue, and so to the daemon, otherwise.

    Configured as Dagster's `QueuedRunCoordinator` is. Runs that use pools, and all runs where there are limits by tag,
    go through the queue: the daemon counts them.
    """

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self._guard = threading.Lock()
        # Runs that this process is launching: they may not be seen in the database yet.
        self._launching: set[str] = set()

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        run = context.dagster_run
        with self._guard:
            prompt = run.status is DagsterRunStatus.NOT_STARTED and self._is_free_to_start(run)
            if prompt:
                self._launching.add(run.run_id)
        if not prompt:
            return super().submit_run(context)
        try:
            self._instance.launch_run(run.run_id, context.workspace)
        finally:
            with self._guard:
                self._launching.discard(run.run_id)
        launched = self._instance.get_run_by_id(run.run_id)
        return launched or run

    def _is_free_to_start(self, run: DagsterRun) -> bool:
        limits = self.get_run_queue_config()
        if limits.tag_concurrency_limits or run.run_op_concurrency is not None:
            return False
        if self._instance.get_runs_count(RunsFilter(statuses=[DagsterRunStatus.QUEUED])):
            return False
        if limits.max_concurrent_runs < 0:
            return True
        # One that is launching may count twice, and then leaves the next to the queue.
        return _going_on(self._instance) + len(self._launching) < limits.max_concurrent_runs


def put_back(instance: DagsterInstance, run: DagsterRun) -> bool:
    """Put a run that is about to be launched back into the queue if it is one too many; return whether it was.

    Who decided to launch it had counted before that: the daemon, and each process that runs are submitted to, count for
    themselves. By now the run is on record as starting, so of two that are one too many at least one sees the other.
    """
    coordinator = instance.run_coordinator
    if not isinstance(coordinator, PromptRunCoordinator):
        return False
    most = coordinator.get_run_queue_config().max_concurrent_runs
    if most < 0 or _going_on(instance) <= most:
        return False
    instance.report_engine_event(f"Back into the queue: {most} runs may be in progress, and as many are.", run)
    instance.report_dagster_event(DagsterEvent.job_enqueue(run), run.run_id)
    return True


def _going_on(instance: DagsterInstance) -> int:
    return instance.get_runs_count(RunsFilter(statuses=IN_PROGRESS_RUN_STATUSES))
