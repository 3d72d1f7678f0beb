"""Runs that are launched in the UI, and executed by forks of the prewarmed process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Project, one_step, wait_for, workload
from tests.launching.ui import REFUSED, WAITS, Ui, alive, connected, greeted, make_project, serve

HANGS = """
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    print("ready", flush=True)
    time.sleep(600)
"""
CHECKED = """
    if "checked" in pipes.asset_keys:
        pipes.report_asset_materialization(asset_key="checked")
    pipes.report_asset_check(check_name="good", passed=True, asset_key="checked")
"""
# A part of the instance that keeps what it has seen in its module, and writes that down.
REMEMBERS = """
import os
from pathlib import Path
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

SEEN = set()


class Remembers(LocalComputeLogManager):
    @classmethod
    def from_config_value(cls, inst_data, config_value):
        return cls(inst_data=inst_data, **config_value)

    def open_log_stream(self, log_key, io_type):
        SEEN.add(log_key[0])
        Path(os.environ["NOTES"], str(os.getpid())).write_text(" ".join(sorted(SEEN)))
        return super().open_log_stream(log_key, io_type)
"""


def make_teams(project: Project) -> None:
    partitioned = {"partitions_def": {"type": "static", "partition_keys": ["north", "south"]}}
    project.team(
        "parts",
        [
            one_step("first", workload()),
            one_step("second", workload(), deps=["first"]),
            one_step("other", workload()),
            one_step("checked", workload(CHECKED), blocking=["good"]),
            one_step(
                "region",
                workload("print(pipes.partition_key)\npipes.report_asset_materialization()"),
                asset=partitioned,
            ),
        ],
        jobs={"parts_job": {"selection": "* and not key:region"}, "region_job": {"selection": "key:region"}},
    )
    project.team("gated", [one_step("waits", workload(WAITS))], stores={"gate": "ro"})
    project.team("hanging", [one_step(f"hangs_{number}", workload(HANGS)) for number in range(3)])


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    folder = tmp_path_factory.mktemp("prewarmed")
    teams = ("parts", "gated", "hanging")
    # The address of a socket has room for 108 bytes.
    project = make_project(folder / "a project", folder / f"a home {'of a long name ' * 10}", *teams)
    make_teams(project)
    (folder / "remembers.py").write_text(REMEMBERS)
    instance = project.root / "deployment" / "dagster.yaml"
    own = f"compute_logs: {{module: remembers, class: Remembers, config: {{base_dir: '{folder / 'logs'}'}}}}\n"
    instance.write_text(instance.read_text() + own)
    project.environment |= {"PYTHONPATH": str(folder), "NOTES": str(folder / "notes")}
    (folder / "notes").mkdir()
    sys.path.insert(0, str(folder))
    try:
        with serve(project, teams) as started:
            started.serving()
            yield started
    finally:
        sys.path.remove(str(folder))


def test_a_run_is_executed_by_a_fork_of_the_prewarmed_process(ui: Ui) -> None:
    prewarmed = ui.serving()
    run = ui.run("parts")
    assert ui.made(run) == ["checked", "first", "other", "second"]
    assert ui.tags(run)["bulkhead/worker"].startswith(f"{ui.worker(run)}@")
    assert (ui.worker(run) != prewarmed, ui.serving()) == (True, prewarmed)
    assert [text for text in ui.messages(run) if "enqueue" in text.lower() or "new interpreter" in text] == []


def test_runs_one_after_the_other_are_different_processes_and_share_nothing(ui: Ui) -> None:
    runs = [ui.run("parts"), ui.run("parts")]
    pids = [ui.worker(run) for run in runs]
    assert len(set(pids)) == 2
    notes = Path(ui.project.environment["NOTES"])
    assert [(notes / str(pid)).read_text() for pid in pids] == runs


def test_runs_at_once_are_different_processes_and_share_nothing(ui: Ui) -> None:
    ui.hold("gated")
    runs = [ui.launch("gated"), ui.launch("gated")]
    for run in runs:
        ui.ready(run, "waits")
    pids = [ui.worker(run) for run in runs]
    assert (len(set(pids)), all(alive(pid) for pid in pids)) == (2, True)
    ui.let_go("gated")
    assert [ui.end(run) for run in runs] == ["SUCCESS", "SUCCESS"]
    notes = Path(ui.project.environment["NOTES"])
    assert [(notes / str(pid)).read_text() for pid in pids] == runs


def test_some_assets_of_a_job_are_run_alone(ui: Ui) -> None:
    chosen = [{"path": ["first"]}, {"path": ["second"]}]
    run = ui.run("parts", assetSelection=chosen)
    assert (ui.made(run), ui.worker(run) > 0) == (["first", "second"], True)


def test_checks_of_a_job_are_run_alone(ui: Ui) -> None:
    check = {"assetKey": {"path": ["checked"]}, "name": "good"}
    run = ui.run("parts", assetSelection=[], assetCheckSelection=[check])
    assert (ui.made(run), ui.worker(run) > 0) == ([], True)
    with ui.project.instance() as instance:
        events = [entry.dagster_event for entry in instance.all_logs(run) if entry.dagster_event]
    (judged,) = [
        event.asset_check_evaluation_data for event in events if event.event_type_value == "ASSET_CHECK_EVALUATION"
    ]
    assert (judged.check_name, judged.passed) == ("good", True)


def test_a_partition_is_run(ui: Ui) -> None:
    run = ui.run("parts", "region_job", {"dagster/partition": "south"})
    assert (ui.made(run), ui.project.stdout_of(run, "region")) == (["region[south]"], b"south\n")
    assert ui.worker(run) > 0


def test_terminating_a_run_stops_all_its_workloads_and_what_they_started(ui: Ui) -> None:
    steps = [f"hangs_{number}" for number in range(3)]
    run = ui.launch("hanging")
    ui.ready(run, *steps)
    assert ui.terminate(run) == {"__typename": "TerminateRunSuccess"}
    assert ui.end(run) == "CANCELED"
    assert "Interrupted: stopping every workload of the run" in ui.messages(run)
    wait_for(lambda: not alive(ui.worker(run)), "the run worker ends")
    assert list(ui.project.home.glob("steps/*")) == []


def test_a_run_that_is_terminated_at_once_is_cancelled(ui: Ui) -> None:
    runs = []
    with ui.project.instance() as instance:
        for _ in range(8):
            runs.append(ui.launch("hanging"))
            assert instance.run_coordinator.cancel_run(runs[-1])
    for run in runs:
        assert ui.end(run) == "CANCELED", ui.messages(run)[3:]
        worker = int(ui.tags(run)["bulkhead/worker"].partition("@")[0])
        wait_for(lambda worker=worker: not alive(worker), "the run worker ends")


def test_terminating_a_run_whose_worker_was_killed_says_so(ui: Ui) -> None:
    ui.hold("gated")
    started = ui.project.start("gated_job")
    run = started.until("STEP_START")["run_id"]
    os.kill(started.process.pid, signal.SIGKILL)
    started.process.communicate()
    assert ui.terminate(run) == {"__typename": "TerminateRunFailure", "message": f"Unable to terminate run {run}"}
    assert ui.messages(run)[-1] == "Its run worker is gone: there is nothing to stop."
    assert ui.terminate(run, "MARK_AS_CANCELED_IMMEDIATELY")["__typename"] == "TerminateRunSuccess"
    assert ui.status(run) == "CANCELED"


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"", b'{"refused": "it closed the connection"}\n'),
        (b"{}", b'{"refused": "it closed the connection"}\n'),
        (b"garbage\n", b'{"refused": "Expecting value: line 1 column 1 (char 0)"}\n'),
        (b"\xff\n", b'{"refused": "\'utf-8\' codec can\'t decode byte 0xff in position 0: invalid start byte"}\n'),
        (b"[]\n", b'{"refused": "the line is not a JSON object"}\n'),
        (b"[" * 100_000 + b"\n", b'{"refused": "the line is nested too deeply"}\n'),
        (b'{"run": 1, "team": [], "job": {}, "instance": null}\n', REFUSED),
        (b"x" * (1 << 20) + b"x", b'{"refused": "the line is too long"}\n'),
    ],
    ids=["nothing", "half a line", "garbage", "no text", "a list", "depth", "other types", "a long line"],
)
def test_a_stranger_is_refused_and_the_next_run_is_taken(ui: Ui, line: bytes, answer: bytes) -> None:
    prewarmed, printed = ui.serving(), ui.printed()
    assert greeted(ui.project.home, line) == answer
    assert (ui.serving(), ui.printed()) == (prewarmed, printed)


def test_strangers_who_say_nothing_make_nobody_wait(ui: Ui) -> None:
    prewarmed = ui.serving()
    silent = [connected(ui.project.home) for _ in range(3)]
    run = ui.run("parts", assetSelection=[{"path": ["first"]}])
    # They are still listened to: none of them has been hung up on yet.
    assert (ui.worker(run) > 0, ui.serving()) == (True, prewarmed)
    for channel in silent:
        channel.close()


def test_one_who_gives_up_before_the_beginning_has_started_nothing(ui: Ui) -> None:
    ui.serving()
    printed = ui.printed()
    with connected(ui.project.home) as channel:
        channel.sendall(b'{"run": "r", "team": "parts", "job": "parts_job", "instance": "nonsense"}\n')
        worker = channel.recv(65536).split(b'"')[3].decode()
    wait_for(lambda: not alive(int(worker.partition("@")[0])), "the fork ends")
    assert ui.printed() == printed


def test_a_second_prewarmed_process_of_a_home_ends_at_once(ui: Ui) -> None:
    prewarmed = ui.serving()
    command = [sys.executable, "-m", "orchestrator.launching.prewarmed", str(os.getpid())]
    done = subprocess.run(command, env=ui.project.variables(), capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr, ui.serving()) == (0, "", "", prewarmed)
