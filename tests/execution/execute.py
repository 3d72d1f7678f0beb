"""Run a job through Dagster's own `execute_job`: `python execute.py SPEC --json`."""

import json
import sys
import threading

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository

from orchestrator.cli.home import open_instance
from orchestrator.execution.platform import load_platform


def execute(team: str, job: str, again: str | None = None, raise_on_error: bool = False) -> None:
    """Run a job, or only what the run `again` left undone; print what it raised and which threads it left."""
    repository = ReconstructableRepository.for_module("orchestrator.definitions", team)
    with open_instance(load_platform().settings) as instance:
        options = dg.ReexecutionOptions.from_failure(again, instance) if again else None
        raised = None
        try:
            target = repository.get_reconstructable_job(job)
            dg.execute_job(target, instance, raise_on_error=raise_on_error, reexecution_options=options)
        except dg.Failure as failure:
            raised = (failure.description or "").splitlines()[0]
        (run,) = instance.get_runs(limit=1)
        threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("step ")]
        ended = {"event": "RUN_ENDED", "run_id": run.run_id, "status": run.status.value}
        print(json.dumps({**ended, "raised": raised, "threads": threads}))


if __name__ == "__main__":
    execute(**json.loads(sys.argv[1]))
