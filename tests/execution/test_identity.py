"""Whether a process lives, told from the same machine and from another container."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.execution import identity as module
from orchestrator.execution.identity import alive, hold_identity, identity, own_folder
from orchestrator.settings import Settings, read_settings
from tests.conftest import wait_for

HOLDS = """
import sys, time
from orchestrator.execution.identity import hold_identity, identity
from orchestrator.settings import read_settings
hold_identity(read_settings({"BULKHEAD_HOME": sys.argv[1]}))
print(identity(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings({"BULKHEAD_HOME": str(tmp_path / "a home")})


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look from a container with a name of its own, where no pid means anything."""
    monkeypatch.setattr(module, "_machine", lambda: "elsewhere")


def holder(settings: Settings) -> tuple["subprocess.Popen[str]", str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(settings.home)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_process_lives_until_it_ends(settings: Settings) -> None:
    process, its = holder(settings)
    assert alive(its, settings)
    process.kill()
    process.communicate()
    assert not alive(its, settings)


def test_from_another_container_its_lock_says_whether_it_lives(settings: Settings, elsewhere: None) -> None:
    process, its = holder(settings)
    assert alive(its, settings)
    process.kill()
    process.communicate()
    wait_for(lambda: not alive(its, settings), "the kernel lets go of the lock")


def test_from_another_container_a_process_that_never_held_a_lock_is_gone(settings: Settings, elsewhere: None) -> None:
    assert not alive("1@1700000000.00@f00d", settings)


@pytest.mark.parametrize("text", ["", "nonsense", "1", "x@y@z"])
def test_what_is_no_identity_belongs_to_nobody(settings: Settings, text: str) -> None:
    assert not alive(text, settings)


def test_a_forked_process_is_another_one_and_does_not_hold_its_parents_lock(settings: Settings) -> None:
    code = f"{HOLDS.partition('print')[0]}import os\nmine = identity()\nif os.fork() == 0:\n    print(identity() != mine, flush=True)\n    time.sleep(600)\nos._exit(0)"
    process = subprocess.Popen([sys.executable, "-c", code, str(settings.home)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "True\n"
    (lock,) = settings.workers.iterdir()
    process.wait()
    assert not module._is_locked(lock)
    subprocess.run(["pkill", "-f", str(settings.home)], check=True)


def test_an_identity_can_be_part_of_a_folders_name(settings: Settings) -> None:
    assert "-" not in identity() and "/" not in identity()


def test_a_scratch_folder_says_whose_it_is(settings: Settings, tmp_path: Path) -> None:
    own_folder(tmp_path, settings)
    assert (tmp_path / "worker").read_text() == identity()
    hold_identity(settings)
    assert [path.name for path in settings.workers.iterdir()] == [identity()]
