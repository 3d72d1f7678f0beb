"""The Docker backend by itself: containers that are made ready, used if they fit, and never left."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends.docker import DockerBackend
from orchestrator.backends.launch import Launch, LaunchError, Limits, Outcome
from orchestrator.settings import read_settings
from tests.conftest import wait_for
from tests.containers import TAG, containers_of, docker_settings

pytestmark = pytest.mark.engine
LABELS = {"run": "12345678-1", "step": "it", "team": "team", "attempt": "1", "contract": "c", "worker": "w"}


class Cell:
    """A backend with a home of its own, and launches in it."""

    def __init__(self, home: Path, **variables: str) -> None:
        self.home = home
        self.backend = DockerBackend(read_settings({**docker_settings(), "BULKHEAD_HOME": str(home), **variables}))
        self.out = (home.parent / "out").open("w+b")

    def launch(self, name: str, *argv: str, env: Mapping[str, str] | None = None, **more: Any) -> Launch:
        scratch = self.home / "steps" / name
        scratch.mkdir(parents=True, exist_ok=True)
        (scratch / "messages").touch()
        out = self.out.fileno()
        image = f"bulkhead-showcase:{TAG}"
        return Launch(LABELS, argv, self.home, env or {}, scratch, scratch / "messages", out, out, image=image, **more)

    def end(self, launch: Launch) -> Outcome:
        running = self.backend.start(launch)
        outcome: Outcome = wait_for(lambda: running.wait(1), "it ends")
        self.backend.finish()
        return outcome

    def said(self) -> str:
        return Path(self.out.name).read_text()


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    made = Cell(tmp_path / "a home")
    yield made
    made.backend.discard()
    made.out.close()
    assert containers_of(made.home) == []


def test_a_step_in_a_container_ends_with_its_own_code_and_says_what_it_used(cell: Cell) -> None:
    outcome = cell.end(cell.launch("a", "python", "-c", "print('hello'); raise SystemExit(3)"))
    assert (outcome.exit_code, outcome.signal, outcome.stopped, outcome.lost) == (3, None, None, None)
    assert cell.said() == "hello\n"
    assert outcome.usage.memory > 0 and outcome.usage.cpu_seconds > 0 and outcome.usage.output == 6


def test_a_container_that_is_ready_is_used_by_a_launch_that_it_fits(cell: Cell) -> None:
    launch = cell.launch("a", "sh", "-c", "echo $NAME $HOSTNAME", env={"NAME": "value"})
    cell.backend.make_ready(replace(launch, argv=(), env={}))
    (ready,) = wait_for(lambda: containers_of(cell.home, "--filter", "status=running"), "it waits")
    assert cell.end(launch).exit_code == 0
    assert cell.said() == f"value {ready[:12]}\n"


@pytest.mark.parametrize("more", [{"limits": Limits(memory=64 << 20)}, {"labels": {**LABELS, "attempt": "2"}}])
def test_a_container_that_does_not_fit_is_removed_and_another_one_made(cell: Cell, more: Mapping[str, Any]) -> None:
    launch = cell.launch("a", "sh", "-c", "echo $HOSTNAME")
    cell.backend.make_ready(replace(launch, argv=()))
    (ready,) = wait_for(lambda: containers_of(cell.home, "--filter", "status=running"), "it waits")
    assert cell.end(replace(launch, **more)).exit_code == 0
    assert cell.said() != f"{ready[:12]}\n"
    assert containers_of(cell.home) == []


def test_what_is_being_made_ready_when_nobody_wants_it_any_more_is_removed(cell: Cell) -> None:
    cell.backend.make_ready(cell.launch("a"))
    cell.backend.make_ready(cell.launch("b"))
    cell.backend.discard()
    assert containers_of(cell.home) == []


def test_an_image_that_could_not_be_had_ahead_of_time_is_told_at_the_launch(cell: Cell) -> None:
    launch = replace(cell.launch("a", "true"), image="never-built")
    cell.backend.make_ready(launch)
    with pytest.raises(LaunchError, match="is not on the engine, and BULKHEAD_PULL=never forbids to pull it"):
        cell.backend.start(launch)


def test_a_signal_that_ends_a_step_is_told_as_one(cell: Cell) -> None:
    outcome = cell.end(cell.launch("a", "sh", "-c", "kill -9 $$"))
    assert (outcome.exit_code, outcome.signal, outcome.lost) == (None, 9, None)


@pytest.mark.skipif(os.getuid() != 0, reason="only root hands folders over")
def test_the_folders_of_a_step_belong_to_who_it_runs_as_and_links_are_not_followed(cell: Cell, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch()
    launch = cell.launch("a", "sh", "-c", "id -u; touch made")
    (launch.scratch / "link").symlink_to(outside)
    cell.end(launch)
    assert cell.said().startswith("10001\n")
    assert (launch.scratch.stat().st_uid, outside.stat().st_uid) == (10001, 0)
