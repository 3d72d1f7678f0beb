"""Which runs start at once, and which wait in the queue."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import one_step, wait_for, workload
from tests.launching.ui import WAITS, Ui, make_project, serve

MOST = 2


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    folder = tmp_path_factory.mktemp("queue")
    teams = ("quick", "gated", "pooled")
    project = make_project(folder / "a project", folder / "a home", *teams, max_concurrent_runs=MOST)
    project.team("quick", [one_step("quick", workload())])
    project.team("gated", [one_step("waits", workload(WAITS))], stores={"gate": "ro"})
    project.team("pooled", [one_step("pooled", workload(), pool="narrow")])
    with serve(project, teams) as started:
        started.serving()
        yield started


def queued(ui: Ui, run: str) -> bool:
    """Return whether a run was ever put into the queue."""
    with ui.project.instance() as instance:
        events = [entry.dagster_event for entry in instance.all_logs(run) if entry.dagster_event]
    return "PIPELINE_ENQUEUED" in [event.event_type_value for event in events]


def test_a_run_starts_at_once_when_nothing_is_queued(ui: Ui) -> None:
    run = ui.run("quick")
    assert (queued(ui, run), ui.worker(run) > 0) == (False, True)


def test_a_run_with_a_pool_goes_through_the_queue_and_is_forked_too(ui: Ui) -> None:
    run = ui.run("pooled")
    assert (queued(ui, run), ui.worker(run) > 0) == (True, True)


def test_runs_above_the_limit_wait_their_turn_even_if_all_are_launched_at_once(ui: Ui) -> None:
    ui.hold("gated")
    with ThreadPoolExecutor(6) as pool:
        runs = list(pool.map(lambda _: ui.launch("gated"), range(6)))

    # One that is about to start may yet go back into the queue.
    def started() -> list[str]:
        return [run for run in runs if ui.status(run) == "STARTED"]

    wait_for(lambda: len(started()) == MOST, "as many runs start as may")
    first = started()
    for run in first:
        ui.ready(run, "waits")
    # Whoever comes now does not overtake them.
    last = ui.launch("quick")
    assert (started(), ui.status(last)) == (first, "QUEUED")
    ui.let_go("gated")
    assert [ui.end(run) for run in [*runs, last]] == ["SUCCESS"] * 7
    assert [queued(ui, run) for run in [*runs, last]].count(True) >= 5
    assert len({ui.worker(run) for run in [*runs, last]}) == 7


def test_a_run_that_waits_in_the_queue_is_cancelled_at_once(ui: Ui) -> None:
    ui.hold("gated")
    running = [ui.launch("gated") for _ in range(MOST)]
    for run in running:
        ui.ready(run, "waits")
    waiting = ui.launch("quick")
    assert (ui.status(waiting), ui.terminate(waiting)) == ("QUEUED", {"__typename": "TerminateRunSuccess"})
    assert ui.end(waiting) == "CANCELED"
    ui.let_go("gated")
    assert [ui.end(run) for run in running] == ["SUCCESS"] * MOST
