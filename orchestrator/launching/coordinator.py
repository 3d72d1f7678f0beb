"""Dagster's run queue, which a run does not wait in when there is room and nobody stands before it."""

from dagster import DagsterRun, DagsterRunStatus, RunsFilter

from orchestrator.execution.dagster_internals import (
    IN_PROGRESS_RUN_STATUSES,
    QueuedRunCoordinator,
    SubmitRunContext,
)


class PromptRunCoordinator(QueuedRunCoordinator):
    """Launches a run at once if no limit could hold it back; leaves it to the queue, and so to the daemon, otherwise.

    Configured as Dagster's `QueuedRunCoordinator` is. Runs that use pools, and all runs where there are limits by tag,
    go through the queue: the daemon counts them.
    """

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        run = context.dagster_run
        if run.status is not DagsterRunStatus.NOT_STARTED or not self._is_free_to_start(run):
            return super().submit_run(context)
        self._instance.launch_run(run.run_id, context.workspace)
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
        going_on = self._instance.get_runs_count(RunsFilter(statuses=IN_PROGRESS_RUN_STATUSES))
        return going_on < limits.max_concurrent_runs
