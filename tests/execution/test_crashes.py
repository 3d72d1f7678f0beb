"""A fault in the platform's own code: it costs the step that met it, and the run goes on."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project, Ran, one_step, workload

CRASH = Path(__file__).parent / "crash.py"


def run_with(project: Project, part: str, error: str, **step: Any) -> Ran:
    """Run `bad`, `after_bad`, `good` and `after_good`, one at a time, with a part that is broken for `bad`."""
    steps = [
        one_step("bad", workload(), **step),
        one_step("after_bad", workload(), deps=["bad"]),
        one_step("good", workload()),
        one_step("after_good", workload(), deps=["good"]),
    ]
    project.team("team", steps)
    command = (sys.executable, str(CRASH), part, error)
    return project.start("team_job", command=command, BULKHEAD_MAX_CONCURRENT="1").end()


def recorded(project: Project, ran: Ran) -> str:
    """Return all that the record says of the failure of `bad`."""
    with project.instance() as instance:
        assert instance.get_run_by_id(ran.run_id).status.value == "FAILURE"
        (event,) = [
            entry.dagster_event
            for entry in instance.all_logs(ran.run_id)
            if entry.dagster_event and entry.dagster_event.is_step_failure
        ]
    return str(event.step_failure_data.error.to_string())


@pytest.mark.parametrize(
    ("part", "error"),
    [
        ("the body of the step", "AttributeError"),
        ("the body of the step", "MemoryError"),
        ("the body of the step", "SystemExit"),
        ("the body of the step", "KeyboardInterrupt"),
        ("taking a message", "AttributeError"),
        ("recording the end", "RecursionError"),
        ("executing the step", "SystemExit"),
        ("opening the log", "OSError"),
        ("starting the thread", "RuntimeError"),
    ],
)
def test_a_fault_fails_its_own_step_with_the_stack_on_record(project: Project, part: str, error: str) -> None:
    ran = run_with(project, part, error)
    assert (ran.code, ran.steps("STEP_SUCCESS")) == (1, ["after_good", "good"]), ran.stderr
    assert (ran.steps("STEP_FAILURE"), "after_bad" in ran.steps("STEP_NOT_RUN")) == (["bad"], True)
    text = recorded(project, ran)
    assert f"{error}: broken on purpose" in text
    assert f'{CRASH.name}", line ' in text
    assert (project.processes(), list((project.home / "steps").iterdir())) == ([], [])


def test_a_log_that_cannot_be_closed_leaves_the_step_as_it_ended(project: Project) -> None:
    ran = run_with(project, "closing the log", "OSError")
    assert (ran.code, ran.steps("STEP_SUCCESS")) == (0, ["after_bad", "after_good", "bad", "good"]), ran.stderr
    (said,) = ran.named("ENGINE_EVENT", step="bad")
    assert said["message"] == "The step's compute log could not be closed"


def test_a_log_that_cannot_be_closed_does_not_cost_a_step_its_next_attempt(project: Project) -> None:
    source = workload("if pipes.retry_number == 0: raise ValueError('not yet')\npipes.report_asset_materialization()")
    project_step = {"script": source, "retries": {"max": 1, "delay": "100ms"}}
    ran = run_with(project, "closing the log", "OSError", **project_step)
    assert (ran.code, len(ran.named("STEP_RESTARTED", step="bad"))) == (0, 1), ran.stderr


def test_a_failure_that_cannot_be_recorded_fails_the_run_and_stops_no_other_step(project: Project) -> None:
    ran = run_with(project, "recording the failure", "OSError", script=workload("sys.exit(3)"))
    assert (ran.code, ran.steps("STEP_SUCCESS")) == (1, ["after_good", "good"]), ran.stderr
    assert (ran.steps("STEP_NOT_RUN"), ran.named("RUN_ENDED")[0]["status"]) == (["after_bad"], "FAILURE")
    with project.instance() as instance:
        (ended,) = [
            entry.dagster_event
            for entry in instance.all_logs(ran.run_id)
            if entry.dagster_event and entry.dagster_event.is_job_failure
        ]
    assert "Execution exited with steps {'bad'} in an unknown state" in str(ended.job_failure_data.error)
    assert "OSError: broken on purpose" in ran.stderr
    assert (project.processes(), list((project.home / "steps").iterdir())) == ([], [])
