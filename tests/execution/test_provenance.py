"""What a workload is told of its assets' provenance: what Dagster's own way to tell it gives."""

import json
from typing import Any

import dagster as dg
import pytest
from dagster._core.pipes.context import build_external_execution_context_data

from orchestrator.execution.provenance import CHUNK, Provenance, WithProvenance
from orchestrator.execution.write_behind import write_behind
from tests.conftest import Project, one_step, workload
from tests.execution.runs import execute

TELLS = """
    told = Path(os.environ["BULKHEAD_STORE_TOLD"], f"{pipes.run_id} {pipes.retry_number}")
    told.write_text(json.dumps(pipes._data["provenance_by_asset_key"]))
    pipes.report_asset_materialization(data_version=f"{pipes.run_id} {pipes.retry_number}")
"""
FAILS_ONCE = "\n    if pipes.retry_number == 0: raise ValueError('not yet')\n"


class Told:
    """What stock Dagster would tell, and what we tell, at each attempt at each step."""

    def __init__(self) -> None:
        self.provenance = Provenance()
        self.stock: list[Any] = []
        self.ours: list[Any] = []

    def next_run(self) -> None:
        self.__init__()  # type: ignore[misc]

    def ask(self, context: dg.AssetExecutionContext) -> None:
        self.ours.append(told_of(WithProvenance(context, self.provenance)))
        self.stock.append(told_of(context))


def told_of(context: Any) -> Any:
    return build_external_execution_context_data(context, {})["provenance_by_asset_key"]


def job_of(told: Told, width: int = 1, fails: bool = False) -> dg.JobDefinition:
    """Return a job of `width` assets in one step, and as many below them in another, which fails once if asked to."""
    upper = [dg.AssetSpec(f"upper_{number}", code_version="1") for number in range(width)]
    lower = [dg.AssetSpec(f"lower_{number}", deps=[f"upper_{number}"], code_version="2") for number in range(width)]

    @dg.multi_asset(specs=upper)
    def above(context: dg.AssetExecutionContext) -> Any:
        told.ask(context)
        for spec in upper:
            yield dg.MaterializeResult(asset_key=spec.key, data_version=dg.DataVersion(context.run_id))

    @dg.multi_asset(specs=lower, retry_policy=dg.RetryPolicy(max_retries=1))
    def below(context: dg.AssetExecutionContext) -> Any:
        told.ask(context)
        for spec in lower:
            yield dg.MaterializeResult(asset_key=spec.key)
        if fails and context.retry_number == 0:
            raise ValueError("not yet")

    definitions = dg.Definitions([above, below], jobs=[dg.define_asset_job("job", executor_def=dg.in_process_executor)])
    return definitions.resolve_job_def("job")


@pytest.mark.parametrize("width", [1, CHUNK + 37])
def test_it_is_what_dagster_tells_on_the_first_run_and_on_the_next(instance: dg.DagsterInstance, width: int) -> None:
    told = Told()
    job = job_of(told, width)
    with write_behind(instance.event_log_storage):
        assert execute(instance, job).is_success
    assert (told.ours, [set(one.values()) for one in told.ours]) == (told.stock, [{None}, {None}])
    told.next_run()
    with write_behind(instance.event_log_storage):
        assert execute(instance, job).is_success
    assert told.ours == told.stock
    assert [(len(one), None in one.values()) for one in told.ours] == [(width, False)] * 2
    assert told.ours[1]["lower_0"]["code_version"] == "2"
    assert set(told.ours[1]["lower_0"]["input_data_versions"]) == {"upper_0"}


def test_it_is_what_dagster_tells_after_an_attempt_that_had_materialized_and_failed(
    instance: dg.DagsterInstance,
) -> None:
    told = Told()
    job = job_of(told, fails=True)
    for _ in range(2):
        told.next_run()
        assert execute(instance, job).is_success
        assert (len(told.ours), told.ours) == (3, told.stock)
        assert told.ours[1] != told.ours[2]


def test_it_is_what_dagster_tells_of_assets_that_were_made_in_part_wiped_or_observed(
    instance: dg.DagsterInstance,
) -> None:
    told = Told()
    job = job_of(told, 6)
    assert execute(instance, job).is_success
    instance.wipe_assets([dg.AssetKey("upper_1"), dg.AssetKey("lower_2")])
    instance.report_runless_asset_event(dg.AssetObservation("upper_1", tags={"dagster/data_version": "seen"}))
    instance.report_runless_asset_event(dg.AssetObservation("upper_3", tags={"dagster/data_version": "seen"}))
    instance.report_runless_asset_event(dg.AssetMaterialization("upper_4"))
    told.next_run()
    assert execute(instance, job).is_success
    assert told.ours == told.stock


def test_it_is_what_dagster_tells_in_a_run_of_some_assets(instance: dg.DagsterInstance) -> None:
    told = Told()
    job = job_of(told, 3)
    assert execute(instance, job).is_success
    told.next_run()
    below = frozenset(dg.AssetKey(f"lower_{number}") for number in range(3))
    assert execute(instance, job.get_subset(asset_selection=below)).is_success
    assert (len(told.ours), told.ours) == (1, told.stock)


def test_a_workload_is_told_what_the_last_run_and_the_last_attempt_left(project: Project) -> None:
    steps = [
        one_step("first", workload(TELLS)),
        one_step("second", workload(TELLS + FAILS_ONCE), deps=["first"], retries={"max": 1}),
    ]
    project.team("team", steps, stores={"told": "rw"})
    before, ran = project.run("team_job"), project.run("team_job")
    assert (before.code, ran.code) == (0, 0), ran.stderr
    folder = project.home / "stores" / "team" / "told"
    told = {file.name: json.loads(file.read_text()) for file in folder.iterdir()}
    # Steps that share a store take turns: the second has the last word in each file.
    assert set(told) == {f"{one.run_id} {attempt}" for one in (before, ran) for attempt in (0, 1)}
    assert told[f"{before.run_id} 0"] == {"second": None}
    for run, attempt, seen in [(before, 1, f"{before.run_id} 0"), (ran, 0, before.run_id), (ran, 1, ran.run_id)]:
        found = told[f"{run.run_id} {attempt}"]["second"]
        assert found["input_data_versions"] == {"first": f"{seen[:36]} 0"}
