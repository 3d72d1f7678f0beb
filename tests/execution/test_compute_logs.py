"""A step's compute log: opened when it begins or ahead of that, told as whole, and not there for a step that never was."""

import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager

from orchestrator.backends.supervision.processes import open_files
from orchestrator.execution.compute_logs import ComputeLogs
from orchestrator.execution.dagster_internals import LocalComputeLogManager


@pytest.fixture
def logs(tmp_path: Path) -> ComputeLogs:
    return ComputeLogs(LocalComputeLogManager(str(tmp_path)), "a_run")


def written(logs: ComputeLogs, step: str, attempt: int = 1) -> list[str]:
    """Open a step's log, write to it, and close it; return the key it is under."""
    with ExitStack() as stack:
        opened = logs.open(step, attempt, stack)
        assert opened.logs is not None
        os.write(opened.logs.stdout, b"out")
        os.write(opened.logs.stderr, b"err")
    return list(opened.key)


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def whole(name: str) -> dict[str, str]:
    """Return the files of a step's log to which its end was told."""
    return {
        f"a_run/compute_logs/{name}.{end}": text for end, text in (("out", "out"), ("err", "err"), ("complete", ""))
    }


def test_a_log_that_was_closed_is_whole(logs: ComputeLogs, tmp_path: Path) -> None:
    assert written(logs, "it") == ["a_run", "compute_logs", "it"]
    assert files(tmp_path) == whole("it")


def test_a_log_that_was_opened_ahead_is_the_one_that_the_step_gets(logs: ComputeLogs, tmp_path: Path) -> None:
    logs.make_ready("it")
    assert set(files(tmp_path)) == set(whole("it")) - {"a_run/compute_logs/it.complete"}
    written(logs, "it")
    logs.close()
    assert files(tmp_path) == whole("it")


def test_of_a_step_that_never_began_there_is_no_log(logs: ComputeLogs, tmp_path: Path) -> None:
    logs.make_ready("it")
    logs.make_ready("it")
    logs.close()
    assert files(tmp_path) == {}


def test_a_log_of_a_step_that_has_begun_is_not_opened_again(logs: ComputeLogs, tmp_path: Path) -> None:
    written(logs, "it")
    logs.make_ready("it")
    logs.close()
    assert files(tmp_path) == whole("it")


def test_each_attempt_has_a_log_of_its_own_and_only_the_first_is_opened_ahead(
    logs: ComputeLogs, tmp_path: Path
) -> None:
    logs.make_ready("it")
    written(logs, "it")
    written(logs, "it", attempt=2)
    logs.close()
    assert files(tmp_path) == {**whole("it"), **whole("it.2")}


def test_descriptors_that_were_opened_ahead_are_closed_with_the_step(logs: ComputeLogs) -> None:
    before = open_files(os.getpid())
    logs.make_ready("it")
    written(logs, "it")
    logs.make_ready("other")
    logs.close()
    assert open_files(os.getpid()) == before


def test_a_manager_without_files_gives_no_descriptors_and_nothing_ahead() -> None:
    logs = ComputeLogs(NoOpComputeLogManager(), "a_run")
    logs.make_ready("it")
    with ExitStack() as stack:
        assert logs.open("it", 1, stack).logs is None
    logs.close()
