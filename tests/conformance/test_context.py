"""What a workload is told: all of it, however much that is, on every tier."""

import json
from typing import Any

from tests.conftest import Project, one_step, wait_for, workload

TELLS = """
    context = pipes._data
    asked = {"assets": context["asset_keys"], "key": context["partition_key"], **context["extras"]}
    Path(os.environ['BULKHEAD_STORE_OWN'], 'told').write_text(json.dumps(asked))
    for key in context["asset_keys"] or []:
        pipes.report_asset_materialization(asset_key=key)
    for check in context["extras"]["checks"]:
        pipes.report_asset_check(asset_key=check["asset"], check_name=check["name"], passed=True)
"""
STATIC = {"partitions_def": {"type": "static", "partition_keys": ["a", "b", "c"]}}


def told(project: Project) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.home / "stores" / "team" / "own" / "told").read_text())
    return found


def alone(project: Project, **step: Any) -> None:
    project.team("team", [one_step("it", workload(TELLS), **step)], stores={"own": "rw"})


def test_a_context_that_no_variable_could_carry_arrives_whole(tiered: Project) -> None:
    """400 assets, each with 10 inputs that have long names, are more than 128 KiB."""
    inputs = [f"input_{number}_{'x' * 40}" for number in range(10)]
    steps = [one_step(name, workload(TELLS)) for name in inputs]
    names = [f"asset_{number}" for number in range(400)]
    many = {"name": "many", "run": ["python", "many.py"], "script": workload(TELLS), "timeout": "4m"}
    tiered.team(
        "team", [*steps, {**many, "assets": [{"key": name, "deps": inputs} for name in names]}], stores={"own": "rw"}
    )
    tiered.patience = 280
    ran = tiered.run("team_job")
    assert ran.code == 0, ran.events[-3:]
    assert sorted(told(tiered)["assets"]) == sorted(names)
    assert len(ran.named("ASSET_MATERIALIZATION", step="many")) == 400


def test_every_key_of_a_range_of_partitions_arrives(tiered: Project) -> None:
    alone(tiered, asset=STATIC, backfill_policy={"type": "single_run"})
    tags = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "c"}
    assert tiered.launch("team", "team_job", tags=tags).code == 0
    assert told(tiered)["partition"] == {"keys": ["a", "b", "c"], "dimensions": []}


def test_which_assets_of_a_step_were_selected_arrives(tiered: Project) -> None:
    step = one_step("it", workload(TELLS))
    tiered.team("team", [{**step, "assets": [{"key": "it"}, {"key": "other"}]}], stores={"own": "rw"})
    ran = tiered.launch("team", "team_job", assets=["other"])
    assert (ran.code, told(tiered)["assets"]) == (0, ["other"])


def test_a_run_of_checks_alone_says_which(tiered: Project) -> None:
    alone(tiered, blocking=["good", "fresh"])
    assert tiered.run("team_job").code == 0
    ran = tiered.launch("team", "team_job", assets=[], checks=[["it", "good"]])
    assert (ran.code, told(tiered)["assets"]) == (0, [])
    assert told(tiered)["checks"] == [{"asset": "it", "name": "good", "blocking": True}]


def test_a_run_worker_that_is_killed_takes_its_workload_with_it(tiered: Project) -> None:
    tiered.team(
        "team",
        [one_step("it", workload("subprocess.Popen(['sleep', '600'], start_new_session=True)\ntime.sleep(600)"))],
    )
    running = tiered.start("team_job")
    running.until("STEP_START")
    wait_for(lambda: len(tiered.processes()) > 2, "the workload runs")
    running.process.kill()
    running.end()
    wait_for(lambda: not tiered.processes(), "everything is gone")
