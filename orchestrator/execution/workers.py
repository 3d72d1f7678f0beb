"""Which run worker executes a run, and what becomes of runs whose worker was killed."""

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from orchestrator.execution.identity import alive, identity
from orchestrator.execution.leftovers import collect
from orchestrator.settings import Settings

WORKER_TAG = "bulkhead/worker"
OPEN_STATES = [DagsterRunStatus.STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.CANCELING]


def mark_worker(instance: DagsterInstance, run_id: str) -> None:
    """Write on a run which process executes it."""
    instance.add_run_tags(run_id, {WORKER_TAG: identity()})


def sweep(instance: DagsterInstance, settings: Settings) -> list[str]:
    """End what dead run workers left behind; return a sentence for each thing found.

    Scratch folders go, stray processes and containers are killed, and runs that nobody executes any more are marked as
    failed and give the slots of their pools back.
    """
    found = []
    for record in instance.get_run_records(RunsFilter(statuses=OPEN_STATES)):
        run = record.dagster_run
        worker = run.tags.get(WORKER_TAG)
        if worker is not None and not alive(worker, settings):
            instance.report_run_failed(
                run, "Its run worker is gone (killed, or the machine restarted). Start it again."
            )
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            found.append(f"run {run.run_id} of {run.job_name} had lost its worker; marked as failed")
    return found + collect(settings)
