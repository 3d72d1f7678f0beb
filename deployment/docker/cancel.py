"""Cancels every run that is under way and waits for their ends, as the UI does; before the platform is stopped."""

from concurrent.futures import ThreadPoolExecutor

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

UNDER_WAY = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED]

if __name__ == "__main__":
    with DagsterInstance.get() as instance, ThreadPoolExecutor(8) as pool:
        runs = instance.get_runs(RunsFilter(statuses=UNDER_WAY))
        list(pool.map(instance.run_coordinator.cancel_run, [run.run_id for run in runs]))
    print(f"cancelled: {', '.join(run.run_id for run in runs) or 'none'}")
