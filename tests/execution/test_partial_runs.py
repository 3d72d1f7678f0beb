"""Runs of a part of a job: some assets, checks alone, and what another run left undone."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.conftest import REPORT, Project, Ran, one_step, workload
from tests.execution.runs import attempts

EXECUTE = Path(__file__).parent / "execute.py"


def reexecuted(project: Project, ran: Ran) -> dict[str, str]:
    """Run again what a run left undone; return how each step ended that was run."""
    spec = json.dumps({"team": "team", "job": "team_job", "again": ran.run_id})
    again = project.start(spec, command=(sys.executable, str(EXECUTE))).end()
    assert [e["status"] for e in again.events] == ["SUCCESS"], again.stderr
    with project.instance() as instance:
        assert instance.get_run_by_id(again.run_id).parent_run_id == ran.run_id
        return {one.step: one.how for one in attempts(instance, again.run_id)}


def steps(bad: str) -> list[Any]:
    """Return steps that succeed, then `bad` with this script, then what depends on it."""
    return [
        one_step("first", workload()),
        one_step("second", workload(), deps=["first"]),
        one_step("bad", bad, deps=["second", "aside"], retries={"max": 1}),
        one_step("after_bad", workload(), deps=["bad", "first"]),
        one_step("aside", workload(), deps=["first"]),
    ]


def test_only_what_failed_or_never_ran_is_run_again(project: Project) -> None:
    project.team("team", steps(workload("raise ValueError('no')")))
    ran = project.run("team_job")
    assert (ran.code, ran.steps("STEP_SUCCESS")) == (1, ["aside", "first", "second"])
    project.team("team", steps(workload()))
    assert reexecuted(project, ran) == {"bad": "STEP_SUCCESS", "after_bad": "STEP_SUCCESS"}


def test_what_a_cancelled_run_left_undone_is_run_again(project: Project) -> None:
    project.team("team", steps(workload("time.sleep(600)")))
    running = project.start("team_job")
    running.until("STEP_SUCCESS", step="aside")
    running.until("STEP_START", step="bad")
    running.process.terminate()
    ran = running.end()
    assert ran.named("RUN_ENDED")[0]["status"] == "CANCELED"
    project.team("team", steps(workload()))
    assert reexecuted(project, ran) == {"bad": "STEP_SUCCESS", "after_bad": "STEP_SUCCESS"}


def test_a_part_of_a_job_runs_its_own_steps_in_their_order(project: Project) -> None:
    project.team("team", steps(workload()))
    assert project.run("team_job").code == 0
    ran = project.launch("team", "team_job", assets=["second", "after_bad", "bad"])
    began = [e["step"] for e in ran.named("STEP_START")]
    assert (ran.code, began) == (0, ["second", "bad", "after_bad"]), ran.stderr


def test_checks_of_several_steps_run_without_their_assets(project: Project) -> None:
    body = "if pipes.asset_keys:\n    {report}\npipes.report_asset_check('good', passed=True, asset_key='{name}')"
    sources = {name: workload(body.format(report=REPORT, name=name)) for name in "abc"}
    project.team("team", [one_step(name, source, blocking=["good"]) for name, source in sources.items()])
    assert project.run("team_job").code == 0
    ran = project.launch("team", "team_job", assets=[], checks=[["a", "good"], ["b", "good"]])
    assert (ran.code, ran.steps("STEP_SUCCESS"), ran.named("ASSET_MATERIALIZATION")) == (0, ["a", "b"], []), ran.stderr
    assert sorted(e["asset"] for e in ran.named("ASSET_CHECK_EVALUATION", passed=True)) == ["a", "b"]
