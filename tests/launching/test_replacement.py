"""The prewarmed process while contracts change, break, and while it is killed."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import one_step, wait_for, workload
from tests.launching.ui import WAITS, Ui, alive, make_project, serve

TEAMS = ("changing", "steady", "gated")


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    folder = tmp_path_factory.mktemp("replacement")
    project = make_project(folder / "a project", folder / "a home", *TEAMS)
    project.team("changing", [says("said", "before")])
    project.team("steady", [one_step("steady", workload())])
    project.team("gated", [one_step("waits", workload(WAITS))], stores={"gate": "ro"})
    with serve(project, TEAMS) as started:
        started.serving()
        yield started


def says(name: str, word: str) -> Any:
    return one_step(
        name,
        workload("print(sys.argv[1])\n" + "pipes.report_asset_materialization()"),
        run=["python", f"{name}.py", word],
    )


def said(ui: Ui, run: str, step: str = "said") -> str:
    return ui.project.stdout_of(run, step).decode().strip()


def reasons(ui: Ui, run: str) -> list[str]:
    """Return why a run was started in a new interpreter."""
    return [text for text in ui.messages(run) if text.startswith("Starting the run in a new interpreter")]


def test_a_changed_command_is_used_by_the_next_run_which_waits_while_the_process_replaces_itself(ui: Ui) -> None:
    prewarmed = ui.serving()
    ui.reload("changing")
    for word in ("first", "second"):
        ui.project.team("changing", [says("said", word)])
        run = ui.run("changing")
        assert (said(ui, run), ui.worker(run) > 0, reasons(ui, run)) == (word, True, [])
    # It keeps its pid, its lock and its socket.
    assert ui.serving() == prewarmed


def test_a_new_step_is_run_once_its_code_location_is_reloaded(ui: Ui) -> None:
    ui.project.team("changing", [says("said", "old"), says("added", "new")])
    ui.reload("changing")
    run = ui.run("changing")
    assert (ui.made(run), said(ui, run, "added"), ui.worker(run) > 0) == (["added", "said"], "new", True)


def test_a_run_goes_on_while_the_process_that_forked_it_replaces_itself(ui: Ui) -> None:
    ui.hold("gated")
    run = ui.launch("gated")
    ui.ready(run, "waits")
    ui.project.team("changing", [says("said", "meanwhile")])
    ui.reload("changing")
    other = ui.run("changing")
    assert (said(ui, other), alive(ui.worker(run)), ui.worker(other) > 0) == ("meanwhile", True, True)
    ui.let_go("gated")
    assert ui.end(run) == "SUCCESS"
    wait_for(lambda: not alive(ui.worker(run)), "the run worker ends")


def test_a_broken_contract_keeps_no_other_team_from_the_prewarmed_process(ui: Ui) -> None:
    ui.project.team("changing", [says("said", "whole")])
    ui.reload("changing")
    contract = ui.project.root / "workloads" / "changing" / "defs.yaml"
    whole = contract.read_text()
    contract.write_text(whole.replace("timeout:", "timeuot:"))
    run = ui.run("steady")
    assert (ui.worker(run) > 0, reasons(ui, run)) == (True, [])
    broken = ui.launch("changing")
    assert ui.end(broken) == "FAILURE"
    assert any("timeuot: unknown key 'timeuot'." in text for text in failures(ui, broken))
    contract.write_text(whole)
    assert ui.worker(ui.run("changing")) > 0


def failures(ui: Ui, run: str) -> list[str]:
    """Return the errors that are on record for a run."""
    with ui.project.instance() as instance:
        events = [entry.dagster_event for entry in instance.all_logs(run) if entry.dagster_event]
    return [str(event.engine_event_data.error) for event in events if event.event_type_value == "ENGINE_EVENT"]


def test_after_the_process_was_killed_the_next_run_starts_without_it_and_brings_a_new_one(ui: Ui) -> None:
    prewarmed = ui.serving()
    os.kill(prewarmed, signal.SIGKILL)
    wait_for(lambda: not alive(prewarmed), "it is gone")
    run = ui.run("steady")
    assert reasons(ui, run) == [
        "Starting the run in a new interpreter: the prewarmed process does not answer ([Errno 111] Connection refused)"
    ]
    assert [text for text in ui.messages(run) if text.startswith("Forked")] == []
    new = ui.serving()
    later = ui.run("steady")
    assert (new != prewarmed, ui.worker(later) > 0, reasons(ui, later), ui.serving()) == (True, True, [], new)


def test_killing_the_process_does_not_disturb_a_run_that_it_has_forked(ui: Ui) -> None:
    ui.hold("gated")
    run, prewarmed = ui.launch("gated"), ui.serving()
    ui.ready(run, "waits")
    os.kill(prewarmed, signal.SIGKILL)
    wait_for(lambda: not alive(prewarmed), "it is gone")
    ui.let_go("gated")
    assert (ui.end(run), ui.made(run), reasons(ui, run)) == ("SUCCESS", ["waits"], [])


def test_a_run_whose_worker_is_killed_is_marked_as_failed_at_once_and_nothing_of_it_is_left(ui: Ui) -> None:
    ui.run("steady")
    prewarmed = ui.serving()
    ui.hold("gated")
    run = ui.launch("gated")
    ui.ready(run, "waits")
    os.kill(ui.worker(run), signal.SIGKILL)
    assert ui.end(run) == "FAILURE"
    assert ui.messages(run)[-1] == "Its run worker is gone (killed, or the machine restarted). Start it again."
    wait_for(lambda: list(ui.project.home.glob("steps/*")) == [], "its step's folder is removed")
    assert ui.serving() == prewarmed


def test_a_run_that_was_forked_by_a_process_killed_since_can_be_terminated(ui: Ui) -> None:
    ui.run("steady")
    prewarmed = ui.serving()
    ui.hold("gated")
    run = ui.launch("gated")
    ui.ready(run, "waits")
    os.kill(prewarmed, signal.SIGTERM)
    wait_for(lambda: not alive(prewarmed), "SIGTERM ends it as well")
    assert ui.terminate(run) == {"__typename": "TerminateRunSuccess"}
    assert ui.end(run) == "CANCELED"
    wait_for(lambda: not alive(ui.worker(run)), "the run worker ends")
