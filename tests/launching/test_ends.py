"""The end of `bulkhead ui`, and `bulkhead ui` without a prewarmed process."""

import signal
from pathlib import Path

import pytest

from tests.conftest import PATIENCE, Project, one_step, wait_for, workload
from tests.launching.ui import FORKED, Ui, make_project, serve

HANGS = """
    {first}
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    print("ready", flush=True)
    time.sleep(600)
"""
DEAF = "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)"


def make(folder: Path) -> Project:
    project = make_project(folder / "a project", folder / "a home", "team")
    steps = [one_step("hangs", workload(HANGS.format(first=""))), one_step("deaf", workload(HANGS.format(first=DEAF)))]
    jobs = {"quick_job": {"selection": "key:quick"}, "hanging_job": {"selection": "key:hangs or key:deaf"}}
    project.team("team", [one_step("quick", workload()), *steps], jobs=jobs)
    return project


def status(project: Project, run: str) -> str:
    with project.instance() as instance:
        found = instance.get_run_by_id(run)
        assert found is not None
        return str(found.status.value)


def stop(ui: Ui, number: int = signal.SIGINT) -> None:
    ui.process.send_signal(number)
    ui.process.wait(PATIENCE)
    wait_for(lambda: ui.project.processes() == [], lambda: f"all ends: {ui.project.processes()}")


def test_when_the_ui_ends_the_prewarmed_process_ends_and_its_runs_are_cancelled(tmp_path: Path) -> None:
    project = make(tmp_path)
    with serve(project, ["team"]) as ui:
        ui.serving()
        run = ui.launch("team", "hanging_job")
        ui.ready(run, "hangs", "deaf")
        stop(ui)
    assert (status(project, run), list(project.home.glob("steps/*"))) == ("CANCELED", [])


def test_without_prewarming_no_such_process_is_there_and_runs_succeed(tmp_path: Path) -> None:
    project = make(tmp_path)
    with serve(project, ["team"], BULKHEAD_PREWARM="off") as ui:
        run = ui.run("team", "quick_job")
        assert (ui.made(run), ui.prewarmed()) == (["quick"], None)
        assert [text for text in ui.messages(run) if text.startswith((FORKED, "Starting the run in a new"))] == []
        assert not (project.home / "prewarmed.sock").exists()
        stop(ui)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_it_is_told_to_where_a_shell_started_it_in_the_background(tmp_path: Path, number: int) -> None:
    project = make(tmp_path)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with serve(project, ["team"]) as ui:
            signal.signal(signal.SIGINT, before)
            ui.serving()
            stop(ui, number)
    finally:
        signal.signal(signal.SIGINT, before)
