"""Runs whose events are written behind them, and that do not come to a good end."""

from typing import Any

import dagster as dg

from tests.conftest import Project, one_step, wait_for, workload
from tests.execution.event_log import refuse

WAITS = """
    while not Path(os.environ["BULKHEAD_STORE_GATE"], "go").exists():
        time.sleep(0.02)
    pipes.report_asset_materialization()
"""


def waiting(project: Project) -> tuple[Any, str]:
    """Start a run with a step that waits; return the command and the run's id once the step's start is stored."""
    project.team("team", [one_step("waits", workload(WAITS))], stores={"gate": "ro"})
    started = project.start("team_job")
    run = str(started.until("STEP_START")["run_id"])
    with project.instance() as made:
        wait_for(lambda: "STEP_START" in names(made, run), "the start is stored")
    return started, run


def names(made: dg.DagsterInstance, run: str) -> list[str]:
    return [one.dagster_event.event_type_value for one in made.all_logs(run) if one.dagster_event]


def test_a_killed_run_worker_leaves_what_it_had_stored_and_its_run_is_marked_as_failed(project: Project) -> None:
    started, run = waiting(project)
    started.process.kill()
    started.process.communicate()
    project.team("other", [one_step("other", workload())])
    assert project.run("other_job").code == 0
    with project.instance() as made:
        found = names(made, run)
        assert made.get_run_by_id(run).status.value == "FAILURE"
        assert made.all_logs(run)[-1].message == (
            "Its run worker is gone (killed, or the machine restarted). Start it again."
        )
    assert [name for name in found if name.startswith(("STEP", "PIPELINE"))] == [
        "PIPELINE_START", "STEP_START", "PIPELINE_FAILURE",
    ]  # fmt: skip


def test_a_run_with_an_event_that_cannot_be_stored_fails_and_says_why(project: Project) -> None:
    started, run = waiting(project)
    with project.instance() as made:
        refuse(made.event_log_storage, "STEP_OUTPUT", run)
        (project.home / "stores" / "team" / "gate" / "go").touch()
        ran = started.end()
        assert (ran.code, made.get_run_by_id(run).status.value, names(made, run)[-1]) == (
            1,
            "FAILURE",
            "PIPELINE_FAILURE",
        )
        (ended,) = [
            one.dagster_event for one in made.all_logs(run) if one.dagster_event and one.dagster_event.is_job_failure
        ]
    assert "refused on purpose" in str(ended.job_failure_data.error)
    assert project.processes() == []
