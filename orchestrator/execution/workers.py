"""Finds what a run worker left behind when it was killed: its run still STARTED, its scratch folders, its processes."""

import contextlib
import time
from pathlib import Path

import psutil
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from orchestrator.backends.subprocess import kill_strays
from orchestrator.execution.datasets import STAGING, discard
from orchestrator.execution.removal import remove_tree
from orchestrator.settings import Settings

WORKER_TAG = "bulkhead/worker"
OPEN_STATES = [DagsterRunStatus.STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.CANCELING]
OWNER_NAME = "worker"
FRESH_SECONDS = 60


def identity(pid: int | None = None) -> str:
    """Return what tells a process of this machine from every other, past and present: pid and start time."""
    process = psutil.Process(pid)
    return f"{process.pid}@{process.create_time():.2f}"


def alive(worker: str) -> bool:
    """Return whether the process with this identity still runs."""
    with contextlib.suppress(psutil.Error, ValueError):
        return identity(int(worker.partition("@")[0])) == worker
    return False


def mark_worker(instance: DagsterInstance, run_id: str) -> None:
    """Write on a run which process executes it."""
    instance.add_run_tags(run_id, {WORKER_TAG: identity()})


def own_folder(scratch: Path) -> None:
    """Write into a scratch folder which process it belongs to."""
    (scratch / OWNER_NAME).write_text(identity(), encoding="utf-8")


def sweep(instance: DagsterInstance, settings: Settings) -> list[str]:
    """End what dead run workers left behind; return a sentence for each thing found.

    Scratch folders go, stray processes are killed, and runs that nobody executes any more are marked as failed and give
    the slots of their pools back.
    """
    found = []
    for record in instance.get_run_records(RunsFilter(statuses=OPEN_STATES)):
        run = record.dagster_run
        worker = run.tags.get(WORKER_TAG)
        if worker is not None and not alive(worker):
            instance.report_run_failed(
                run, "Its run worker is gone (killed, or the machine restarted). Start it again."
            )
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            found.append(f"run {run.run_id} of {run.job_name} had lost its worker; marked as failed")
    for scratch in settings.steps.glob("*/"):
        owner = scratch / OWNER_NAME
        with contextlib.suppress(OSError):
            fresh = time.time() - scratch.stat().st_mtime < FRESH_SECONDS
            if alive(owner.read_text(encoding="utf-8")) if owner.is_file() else fresh:
                continue
            strays = kill_strays(scratch)
            remove_tree(scratch)
            if strays:
                found.append(f"step folder {scratch.name} had {strays} stray process(es); killed")
    for staged in settings.datasets.glob(f"*/{STAGING}/*/"):
        if not alive(staged.name.partition("-")[0]):
            discard(staged)
    return found
