"""Further attempts at a step: how many, how long after the last, and what goes on meanwhile."""

import signal
from typing import Any

import dagster as dg
import pytest

from orchestrator.execution.threads import thread_executor
from tests.conftest import REPORT, Project, one_step, workload
from tests.execution.runs import attempts, execute, pauses

FAILS = workload("raise ValueError('no')")
FAILS_ONCE = workload(f"if pipes.retry_number == 0: raise ValueError('not yet')\n{REPORT}")


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"delay": "300ms"}, [0.3, 0.3]),
        ({"delay": "300ms", "backoff": "linear"}, [0.3, 0.6]),
        ({"delay": "300ms", "backoff": "exponential"}, [0.3, 0.9]),
        ({}, [0.0, 0.0]),
    ],
    ids=["delay", "linear", "exponential", "no delay"],
)
def test_no_attempt_starts_before_its_pause_is_over(
    project: Project, policy: dict[str, Any], expected: list[float]
) -> None:
    project.team("team", [one_step("it", FAILS, retries={"max": 2, **policy})])
    ran = project.run("team_job")
    with project.instance() as instance:
        found = attempts(instance, ran.run_id)
    assert [one.how for one in found] == ["STEP_UP_FOR_RETRY", "STEP_UP_FOR_RETRY", "STEP_FAILURE"]
    waited = pauses(found, "it")
    assert [pause >= least for pause, least in zip(waited, expected, strict=True)] == [True, True], waited


def test_a_pause_with_jitter_is_as_long_as_the_record_says(instance: dg.DagsterInstance) -> None:
    @dg.op(retry_policy=dg.RetryPolicy(max_retries=4, delay=0.2, jitter=dg.Jitter.FULL))
    def it() -> None:
        raise ValueError("no")

    @dg.job(executor_def=thread_executor)
    def jittered() -> None:
        it()

    run = execute(instance, jittered)
    said = [
        entry.dagster_event.step_retry_data.seconds_to_wait
        for entry in instance.all_logs(run.run_id)
        if entry.dagster_event and entry.dagster_event.is_step_up_for_retry
    ]
    waited = pauses(attempts(instance, run.run_id), "it")
    assert len(set(said)) == 4
    assert [pause >= least for pause, least in zip(waited, said, strict=True)] == [True] * 4


def test_retries_that_the_run_disables_are_not_made(project: Project) -> None:
    project.team("team", [one_step("it", FAILS, retries={"max": 2})])
    ran = project.run("team_job", config={"execution": {"config": {"retries": {"disabled": {}}}}})
    assert (ran.code, ran.steps("STEP_FAILURE"), ran.named("STEP_RESTARTED")) == (1, ["it"], [])


def test_other_steps_go_on_while_one_waits_for_its_next_attempt(project: Project) -> None:
    """With one step at a time, another can only run because the waiting one has made room."""
    steps = [
        one_step("first", FAILS_ONCE, retries={"max": 1, "delay": "3s"}),
        one_step("second", workload()),
        one_step("after_first", workload(), deps=["first"]),
    ]
    project.team("team", steps)
    ran = project.run("team_job", BULKHEAD_MAX_CONCURRENT="1")
    begun = [(e["step"], e["event"]) for e in ran.events if e["event"] in ("STEP_START", "STEP_RESTARTED")]
    assert set(begun[:2]) == {("first", "STEP_START"), ("second", "STEP_START")}
    assert begun[2:] == [("first", "STEP_RESTARTED"), ("after_first", "STEP_START")]
    assert (ran.code, ran.steps("STEP_SUCCESS")) == (0, ["after_first", "first", "second"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_cancelled_while_a_step_waits_for_its_next_attempt_does_not_start_it(
    project: Project, number: int
) -> None:
    project.team("team", [one_step("it", FAILS, retries={"max": 1, "delay": "1h"})])
    running = project.start("team_job")
    running.until("STEP_UP_FOR_RETRY", step="it")
    running.process.send_signal(number)
    ran = running.end()
    assert (ran.code, ran.named("RUN_ENDED")[0]["status"]) == (130, "CANCELED")
    assert (ran.named("STEP_RESTARTED"), project.processes()) == ([], [])


def test_ten_steps_at_once_that_each_fail_once_each_succeed_at_the_second_attempt(project: Project) -> None:
    names = [f"step_{number}" for number in range(10)]
    project.team("team", [one_step(name, FAILS_ONCE, retries={"max": 3, "delay": "100ms"}) for name in names])
    ran = project.run("team_job", BULKHEAD_MAX_CONCURRENT="10")
    with project.instance() as instance:
        found = attempts(instance, ran.run_id)
    for name in names:
        assert [one.how for one in found if one.step == name] == ["STEP_UP_FOR_RETRY", "STEP_SUCCESS"]
    assert (ran.code, len(ran.named("ASSET_MATERIALIZATION"))) == (0, 10)
