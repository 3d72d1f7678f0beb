"""The executor: steps on threads, each with its own log; cancelling, killing and waiting between runs."""

import signal

import pytest

from tests.conftest import REPORT, Project, one_step, wait_for, workload

WAITS = f"{REPORT}\nwhile not Path('go_on').exists(): time.sleep(0.05)"
HANGS = """
    pipes.log.info("hanging")
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    time.sleep(600)
"""
ONE_AT_ONCE = {"execution": {"config": {"max_concurrent": 1}}}


def test_two_independent_steps_run_at_the_same_time(project: Project) -> None:
    """Each reports, and then waits for the test, which waits for both reports."""
    project.team("team", [one_step(name, workload(WAITS)) for name in "ab"])
    running = project.start("team_job")
    for _ in "ab":
        running.until("ASSET_MATERIALIZATION")
    (project.root / "workloads" / "team" / "go_on").touch()
    ran = running.end()
    assert (ran.code, ran.steps("STEP_SUCCESS")) == (0, ["a", "b"])


def test_max_concurrent_of_one_runs_one_step_after_another(project: Project) -> None:
    project.team("team", [one_step(name, workload()) for name in "abc"])
    ran = project.run("team_job", config=ONE_AT_ONCE)
    order = [e["event"] for e in ran.events if e["event"] in ("STEP_START", "STEP_SUCCESS")]
    assert (ran.code, order) == (0, ["STEP_START", "STEP_SUCCESS"] * 3)


def test_a_tag_limit_holds_back_the_steps_with_that_tag(project: Project) -> None:
    project.team("team", [one_step(name, workload()) for name in "abc"])
    limit = {"key": "bulkhead/team", "value": "team", "limit": 1}
    ran = project.run("team_job", config={"execution": {"config": {"tag_concurrency_limits": [limit]}}})
    order = [e["event"] for e in ran.events if e["event"] in ("STEP_START", "STEP_SUCCESS")]
    assert (ran.code, order) == (0, ["STEP_START", "STEP_SUCCESS"] * 3)


def test_the_time_in_the_queue_counts_from_the_end_of_what_a_step_depends_on(project: Project) -> None:
    """Counted from the launch of the run it would be longer than the steps before took."""
    steps = [one_step(f"s{n}", workload(f"time.sleep(1)\n{REPORT}"), deps=[f"s{n - 1}"] if n else []) for n in range(4)]
    project.team("team", steps)
    made = {e["step"]: e["metadata"] for e in project.run("team_job").named("ASSET_MATERIALIZATION")}
    before = sum(made[f"s{n}"]["bulkhead/run_seconds"] for n in range(3))
    assert made["s3"]["bulkhead/queued_seconds"] < before


def test_ten_steps_at_once_have_each_their_own_output_in_their_own_log(project: Project) -> None:
    names = [f"step_{number}" for number in range(10)]
    body = "for _ in range(2000): print('{name}', flush=True)\n" + REPORT
    project.team("team", [one_step(name, workload(body.format(name=name))) for name in names])
    ran = project.run("team_job", BULKHEAD_MAX_CONCURRENT="10")
    logs = {name: project.stdout_of(ran.run_id, name) for name in names}
    assert (ran.code, logs) == (0, {name: f"{name}\n".encode() * 2000 for name in names})


def test_a_failing_step_holds_up_what_depends_on_it_and_nothing_else(project: Project) -> None:
    steps = [
        one_step("bad", workload() + "sys.exit(3)\n"),
        one_step("after_bad", workload(), deps=["bad"]),
        one_step("good", workload()),
        one_step("after_good", workload(), deps=["good"]),
    ]
    project.team("team", steps)
    ran = project.run("team_job")
    assert ran.steps("STEP_SUCCESS") == ["after_good", "good"]
    assert (ran.steps("STEP_FAILURE"), ran.steps("STEP_NOT_RUN")) == (["bad"], ["after_bad"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_cancelled_and_takes_its_workloads_with_it(project: Project, number: int) -> None:
    project.team("team", [one_step("hangs", workload(HANGS)), one_step("after", workload(), deps=["hangs"])])
    running = project.start("team_job")
    run_id = running.until("STEP_START", step="hangs")["run_id"]
    wait_for(lambda: len(project.processes()) >= 4, "workload and its child run")
    running.process.send_signal(number)
    ran = running.end()
    assert (ran.code, ran.named("RUN_ENDED")[0]["status"]) == (130, "CANCELED")
    assert (ran.steps("STEP_NOT_RUN"), project.processes()) == (["after"], [])
    with project.instance() as instance:
        assert instance.get_run_by_id(run_id).status.value == "CANCELED"


def test_a_killed_platform_takes_its_workloads_with_it_and_the_next_run_sweeps_up(project: Project) -> None:
    project.team("team", [one_step("hangs", workload(HANGS))])
    project.team("others", [one_step("other", workload())])
    running = project.start("team_job")
    dead = running.until("STEP_START", step="hangs")["run_id"]
    wait_for(lambda: len(project.processes()) >= 4, "workload and its child run")
    running.process.kill()
    running.end()
    wait_for(lambda: not project.processes(), "every process of the dead run is gone")
    assert project.run("others_job").code == 0
    with project.instance() as instance:
        assert instance.get_run_by_id(dead).status.value == "FAILURE"
    assert list((project.home / "steps").iterdir()) == []


def test_two_runs_of_one_team_take_turns_with_its_stores(project: Project) -> None:
    """Each run claims a file in the store and gives it back two steps later: the other must not come between."""
    claim = "Path(os.environ['BULKHEAD_STORE_OWN'], 'claim').touch(exist_ok=False)\n" + REPORT
    give_back = "Path(os.environ['BULKHEAD_STORE_OWN'], 'claim').unlink()\n" + REPORT
    steps = [
        one_step("claim", workload(claim)),
        one_step("pause", workload("time.sleep(1)\n" + REPORT), deps=["claim"]),
        one_step("give_back", workload(give_back), deps=["pause"]),
    ]
    project.team("team", steps, stores={"own": "rw"})
    both = [project.start("team_job"), project.start("team_job")]
    assert [started.end().code for started in both] == [0, 0]
