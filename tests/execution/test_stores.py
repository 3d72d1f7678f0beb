"""The lock on a team's stores: between runs, between the steps of a run, and after a killed run."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.execution.stores import StoreLocks, store_path

PATIENCE = 60.0
WRITES = {"etl": "rw"}
HOLDER = """
import sys, time
from pathlib import Path
from orchestrator.execution.stores import StoreLocks
with StoreLocks("run 1").held(Path(sys.argv[1]), {"etl": "rw"}, lambda: False, print) as held:
    print(held, flush=True)
    time.sleep(600)
"""


def never() -> bool:
    return False


def unexpected(who: str) -> None:
    raise AssertionError(f"had to wait for {who}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "stores" / "etl"


@pytest.fixture
def first() -> Iterator[StoreLocks]:
    made = StoreLocks("run 1, step load")
    yield made
    made.release()


@pytest.fixture
def second() -> Iterator[StoreLocks]:
    made = StoreLocks("run 2, step load")
    yield made
    made.release()


def test_a_store_has_a_folder_of_its_own_in_its_teams_folder(tmp_path: Path) -> None:
    assert store_path(tmp_path, "etl", "raw") == tmp_path / "etl" / "raw"


def test_a_run_holds_a_store_from_its_first_step_until_it_is_released(
    folder: Path, first: StoreLocks, second: StoreLocks
) -> None:
    for _ in range(2):
        with first.held(folder, WRITES, never, unexpected) as held:
            assert held is True
    told: list[str] = []
    with second.held(folder, WRITES, lambda: bool(told), told.append) as held:
        assert held is False
    assert told == ["run 1, step load"]
    first.release()
    with second.held(folder, WRITES, never, unexpected) as held:
        assert held is True


def test_a_run_that_waits_goes_on_when_the_store_is_released(
    folder: Path, first: StoreLocks, second: StoreLocks
) -> None:
    with first.held(folder, WRITES, never, unexpected):
        pass
    got: list[bool] = []
    waiting = threading.Event()

    def wait() -> None:
        with second.held(folder, WRITES, never, lambda who: waiting.set()) as held:
            got.append(held)

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(PATIENCE)
    assert got == []
    first.release()
    thread.join(PATIENCE)
    assert got == [True]


def test_a_step_that_only_reads_waits_for_nobody_and_locks_nothing(
    folder: Path, first: StoreLocks, second: StoreLocks
) -> None:
    with (
        first.held(folder, WRITES, never, unexpected),
        second.held(folder, {"etl": "ro"}, never, unexpected) as reading,
        second.held(folder, {}, never, unexpected) as nothing,
    ):
        assert (reading, nothing) == (True, True)


def test_stores_of_two_teams_do_not_wait_for_each_other(folder: Path, first: StoreLocks, second: StoreLocks) -> None:
    with (
        first.held(folder, WRITES, never, unexpected) as one,
        second.held(folder.with_name("ml"), WRITES, never, unexpected) as other,
    ):
        assert (one, other) == (True, True)


def test_steps_of_one_run_that_write_take_turns(folder: Path, first: StoreLocks) -> None:
    inside, most, guard = 0, 0, threading.Lock()

    def write() -> None:
        nonlocal inside, most
        with first.held(folder, WRITES, never, unexpected):
            with guard:
                inside += 1
                most = max(most, inside)
            threading.Event().wait(0.02)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert (inside, most) == (0, 1)


def test_a_step_that_waits_for_its_turn_gives_up_when_the_run_is_cancelled(folder: Path, first: StoreLocks) -> None:
    got: list[bool] = []

    def wait() -> None:
        with first.held(folder, WRITES, lambda: True, unexpected) as held:
            got.append(held)

    with first.held(folder, WRITES, never, unexpected):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(PATIENCE)
        assert got == [False]


def test_a_killed_run_holds_nothing(folder: Path, second: StoreLocks) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert run.stdout is not None
        assert run.stdout.readline() == "True\n"
        told: list[str] = []
        with second.held(folder, WRITES, lambda: bool(told), told.append) as held:
            assert (held, told) == (False, ["run 1"])
    finally:
        run.kill()
        run.communicate()
    with second.held(folder, WRITES, never, unexpected) as held:
        assert held is True
