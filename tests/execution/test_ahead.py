"""What is made ready for a run's next step: one folder for one team, undone when nobody takes it."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestrator.backends.launch import Launch, Mount
from orchestrator.execution.ahead import Ahead
from tests.conftest import REPORT, Project, one_step, workload

SEES = """
import os
mine = os.path.dirname(os.environ["HOME"])
print("files", sorted(os.listdir(mine)))
"""


@dataclass
class Listed:
    """A backend that lists what it is asked to make ready."""

    tier: str = "listed"
    asked: list[Launch] = field(default_factory=list)
    discarded: int = 0

    def make_ready(self, launch: Launch) -> None:
        self.asked.append(launch)

    def discard(self) -> None:
        self.discarded += 1


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [tmp_path / "one", tmp_path / "two", tmp_path / "three"]


def launch_of(team: str, tmp_path: Path) -> Launch:
    return Launch({"team": team}, ("true",), tmp_path, {}, tmp_path / "now", tmp_path / "m", 1, 2, (Mount(tmp_path),))


def new(folders: list[Path]) -> Path:
    folder = folders.pop(0)
    folder.mkdir()
    return folder


def test_the_folder_that_is_ready_goes_to_the_next_step_of_its_team_once(tmp_path: Path, folders: list[Path]) -> None:
    ahead, backend = Ahead(), Listed()
    ahead.make_ready(backend, launch_of("etl", tmp_path), (), lambda: new(folders))  # type: ignore[arg-type]
    assert (backend.asked[0].scratch, backend.asked[0].mounts) == (tmp_path / "one", ())
    assert ahead.scratch("ml", lambda: new(folders)) == tmp_path / "two"
    assert ahead.scratch("etl", lambda: new(folders)) == tmp_path / "one"
    assert ahead.scratch("etl", lambda: new(folders)) == tmp_path / "three"
    ahead.undo()
    assert backend.discarded == 0


def test_what_is_ready_for_a_team_stays_until_it_is_taken(tmp_path: Path, folders: list[Path]) -> None:
    ahead, backend = Ahead(), Listed()
    for _ in range(2):
        ahead.make_ready(backend, launch_of("etl", tmp_path), (), lambda: new(folders))  # type: ignore[arg-type]
    assert len(backend.asked) == 1
    assert ahead.scratch("etl", lambda: new(folders)) == tmp_path / "one"


def test_what_nobody_took_is_removed(tmp_path: Path, folders: list[Path]) -> None:
    ahead, backend = Ahead(), Listed()
    ahead.make_ready(backend, launch_of("etl", tmp_path), (), lambda: new(folders))  # type: ignore[arg-type]
    ahead.make_ready(backend, launch_of("ml", tmp_path), (), lambda: new(folders))  # type: ignore[arg-type]
    assert not (tmp_path / "one").exists()
    ahead.undo()
    assert (backend.discarded, (tmp_path / "two").exists()) == (1, False)


def test_each_step_of_a_run_finds_its_own_files_alone(project: Project) -> None:
    steps = [one_step(f"s{i}", workload(SEES + REPORT), [f"s{i - 1}"] if i else []) for i in range(3)]
    project.team("etl", steps)
    ran = project.run("etl_job")
    assert ran.steps("STEP_SUCCESS") == ["s0", "s1", "s2"]
    for i in range(3):
        said = project.stdout_of(ran.run_id, f"s{i}").decode()
        assert "files ['context.json', 'home', 'messages.jsonl', 'tmp', 'worker']" in said
    assert (project.processes(), list((project.home / "steps").iterdir())) == ([], [])


def test_what_was_made_ready_for_a_step_that_never_starts_is_gone(project: Project) -> None:
    project.team("etl", [one_step("a", workload("raise SystemExit(1)")), one_step("b", workload(), ["a"])])
    assert project.run("etl_job").code == 1
    assert (project.processes(), list((project.home / "steps").iterdir())) == ([], [])
