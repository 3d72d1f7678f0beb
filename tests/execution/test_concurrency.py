"""How many steps run at once: the limits of a run, of a tag, and of a pool that runs share."""

import signal
import threading
from collections.abc import Mapping
from typing import Any

import dagster as dg
import pytest

from orchestrator.execution.threads import thread_executor
from tests.conftest import REPORT, Project, one_step, wait_for, workload
from tests.execution.runs import attempts, execute, most_at_once

PAIRS = threading.Barrier(2)


@dg.op
def meets_another() -> None:
    """Run only beside a second one."""
    PAIRS.wait(timeout=60)


@pytest.mark.parametrize(
    "config",
    [{"max_concurrent": 2}, {"max_concurrent": 9, "tag_concurrency_limits": [{"key": "group", "limit": 2}]}],
    ids=["of the run", "of a tag"],
)
def test_a_limit_is_used_up_and_never_passed(instance: dg.DagsterInstance, config: dict[str, object]) -> None:
    @dg.job(executor_def=thread_executor)
    def many() -> None:
        for number in range(8):
            meets_another.alias(f"op_{number}").tag({"group": str(number % 3)})()

    run = execute(instance, many, {"execution": {"config": config}})
    found = attempts(instance, run.run_id)
    assert (run.status.value, len(found), most_at_once(found)) == ("SUCCESS", 8, 2)


def test_a_limit_for_each_value_of_a_tag_lets_different_values_run_together(instance: dg.DagsterInstance) -> None:
    @dg.job(executor_def=thread_executor)
    def two_groups() -> None:
        for number in range(8):
            meets_another.alias(f"op_{number}").tag({"group": str(number % 2)})()

    limit = {"key": "group", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
    config = {"max_concurrent": 9, "tag_concurrency_limits": [limit]}
    run = execute(instance, two_groups, {"execution": {"config": config}})
    found = attempts(instance, run.run_id)
    for group in (0, 1):
        assert most_at_once(one for one in found if int(one.step[-1]) % 2 == group) == 1
    assert (run.status.value, len(found), most_at_once(found)) == ("SUCCESS", 8, 2)


def test_a_negative_limit_is_refused_and_not_waited_for(instance: dg.DagsterInstance) -> None:
    @dg.job(executor_def=thread_executor)
    def one() -> None:
        meets_another()

    run = execute(instance, one, {"execution": {"config": {"max_concurrent": -1}}})
    assert run.status.value == "FAILURE"
    (entry,) = [
        entry for entry in instance.all_logs(run.run_id) if entry.dagster_event and entry.dagster_event.is_job_failure
    ]
    assert "max_concurrent is -1: a run needs at least 1" in str(entry.dagster_event.event_specific_data)


def test_the_platforms_own_limit_holds_for_every_run(project: Project) -> None:
    project.team("team", [one_step(f"step_{number}", workload()) for number in range(7)])
    ran = project.run("team_job", BULKHEAD_MAX_CONCURRENT="2")
    with project.instance() as instance:
        found = attempts(instance, ran.run_id)
    assert (ran.code, len(found)) == (0, 7)
    assert most_at_once(found) <= 2


def pooled(project: Project, scripts: Mapping[str, str], **more: Any) -> None:
    """Make a team whose steps share a pool with one slot."""
    records = project.home / "dagster"
    records.mkdir(parents=True)
    with project.instance() as instance:
        instance.event_log_storage.set_concurrency_slots("narrow", 1)
    project.team("team", [one_step(name, source, pool="narrow", **more) for name, source in scripts.items()])


def slots(instance: dg.DagsterInstance) -> tuple[set[str], set[str]]:
    """Return the runs that hold a slot of the pool, and those that wait for one."""
    info = instance.event_log_storage.get_concurrency_info("narrow")
    return set(info.active_run_ids), set(info.pending_run_ids)


def test_steps_of_two_runs_share_the_one_slot_of_their_pool(project: Project) -> None:
    pooled(project, {"a": workload(), "b": workload()})
    both = [project.start("team_job"), project.start("team_job")]
    ran = [started.end() for started in both]
    with project.instance() as instance:
        found = [one for each in ran for one in attempts(instance, each.run_id)]
        assert slots(instance) == (set(), set())
    assert ([each.code for each in ran], len(found), most_at_once(found)) == ([0, 0], 4, 1)


def test_a_step_that_fails_gives_its_slot_back_before_each_new_attempt(project: Project) -> None:
    bad = workload("raise ValueError('no')")
    pooled(project, {"a": bad, "b": bad}, retries={"max": 1, "delay": "100ms"})
    ran = project.run("team_job")
    with project.instance() as instance:
        found = attempts(instance, ran.run_id)
        assert slots(instance) == (set(), set())
    assert (ran.steps("STEP_FAILURE"), len(found), most_at_once(found)) == (["a", "b"], 4, 1)


HANGS = "pipes.log.info('hanging')\ntime.sleep(600)"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["cancelled", "killed"])
def test_the_slot_of_a_run_that_was_ended_goes_to_the_next_run(project: Project, number: int) -> None:
    pooled(project, {"a": workload(HANGS), "b": workload(HANGS)})
    running = project.start("team_job")
    run_id = running.until("STEP_START")["run_id"]
    wait_for(lambda: len(project.processes()) >= 3, "the workload runs")
    running.process.send_signal(number)
    running.end()
    wait_for(lambda: not project.processes(), "every process of the run is gone")
    project.team("team", [one_step("a", workload(REPORT), pool="narrow")])
    ran = project.run("team_job")
    with project.instance() as instance:
        assert (ran.code, slots(instance)) == (0, (set(), set()))
        assert [one.how for one in attempts(instance, run_id)] == (["STEP_FAILURE"] if number == signal.SIGINT else [])
