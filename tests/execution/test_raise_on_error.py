"""`raise_on_error`: the run worker raises what a step raised, and leaves nothing running."""

import json
import sys
import threading
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.errors import DagsterMaxRetriesExceededError

from orchestrator.execution.run_state import RUN
from orchestrator.execution.threads import thread_executor
from tests.conftest import Project, one_step, wait_for, workload
from tests.execution.runs import ENDS, attempts, events

EXECUTE = Path(__file__).parent / "execute.py"


@dg.op
def bad() -> None:
    raise ValueError("no")


@dg.op
def waits_for_its_end(context: dg.OpExecutionContext) -> None:
    state = RUN.get()
    assert state is not None and state.cancel.wait(timeout=60)
    raise dg.Failure("stopped")


@dg.job(executor_def=thread_executor)
def one_raises() -> None:
    waits_for_its_end()
    bad()


@dg.job(executor_def=thread_executor)
def one_gives_up() -> None:
    bad.with_retry_policy(dg.RetryPolicy(max_retries=1))()


def test_raise_on_error_raises_what_the_step_raised_and_ends_the_steps_beside_it(instance: dg.DagsterInstance) -> None:
    with pytest.raises(ValueError, match=r"^no$"):
        dg.execute_job(dg.reconstructable(one_raises), instance, raise_on_error=True)
    (run,) = instance.get_runs()
    assert run.status.value == "FAILURE"
    failed = [("bad", "STEP_FAILURE"), ("waits_for_its_end", "STEP_FAILURE")]
    assert events(instance, run.run_id, *ENDS) == failed
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("step ")] == []


def test_raise_on_error_lets_a_step_use_up_its_attempts_first(instance: dg.DagsterInstance) -> None:
    with pytest.raises(DagsterMaxRetriesExceededError, match="Exceeded max_retries of 1"):
        dg.execute_job(dg.reconstructable(one_gives_up), instance, raise_on_error=True)
    (run,) = instance.get_runs()
    assert [one.how for one in attempts(instance, run.run_id)] == ["STEP_UP_FOR_RETRY", "STEP_FAILURE"]


def test_without_raise_on_error_the_same_run_ends_quietly(instance: dg.DagsterInstance) -> None:
    result = dg.execute_job(dg.reconstructable(one_gives_up), instance)
    assert (result.success, [event.step_key for event in result.get_step_failure_events()]) == (False, ["bad"])


def test_raise_on_error_leaves_no_workload_and_no_thread(project: Project) -> None:
    steps = [
        one_step("bad", workload("while not Path('go_on').exists(): time.sleep(0.05)\nsys.exit(3)")),
        one_step("hangs", workload("time.sleep(600)")),
        one_step("after", workload(), deps=["hangs"]),
    ]
    project.team("team", steps)
    spec = json.dumps({"team": "team", "job": "team_job", "raise_on_error": True})
    running = project.start(spec, command=(sys.executable, str(EXECUTE)))
    wait_for(lambda: len(project.processes()) >= 5, "both workloads run")
    (project.root / "workloads" / "team" / "go_on").touch()
    ended = running.until("RUN_ENDED")
    assert (ended["status"], ended["raised"], ended["threads"]) == ("FAILURE", "workload exited: code 3", [])
    assert running.end().code == 0
    with project.instance() as instance:
        found = events(instance, ended["run_id"], *ENDS)
    assert found == [("bad", "STEP_FAILURE"), ("hangs", "STEP_FAILURE")]
    assert (project.processes(), list((project.home / "steps").iterdir())) == ([], [])
