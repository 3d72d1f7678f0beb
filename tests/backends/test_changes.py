"""Writes to a file, told by the kernel."""

import os
import resource
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.backends.changes import Changes, _idle
from tests.conftest import Project, one_step, workload


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "a file"
    made.write_bytes(b"before\n")
    return made


@pytest.fixture
def changes(file: Path) -> Iterator[Changes]:
    made = Changes(file)
    yield made
    made.close()


def readable(changes: Changes) -> bool:
    assert changes.fd is not None
    return select.select([changes.fd], [], [], 0)[0] == [changes.fd]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def append(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b"more\n")


def test_there_is_something_to_read_after_a_write_and_not_before(changes: Changes, file: Path) -> None:
    assert not readable(changes)
    append(file)
    assert readable(changes)


def test_what_was_seen_is_told_once_however_many_writes_it_was(changes: Changes, file: Path) -> None:
    for _ in range(1000):
        append(file)
    changes.seen()
    assert not readable(changes)
    append(file)
    assert readable(changes)


def test_reading_the_file_is_no_write(changes: Changes, file: Path) -> None:
    file.read_bytes()
    assert not readable(changes)


def test_to_truncate_the_file_is_a_write(changes: Changes, file: Path) -> None:
    os.truncate(file, 0)
    assert readable(changes)


def test_there_may_be_nothing_to_see(changes: Changes) -> None:
    changes.seen()
    assert not readable(changes)


def test_a_file_that_is_not_there_cannot_be_watched_and_leaves_nothing_open(tmp_path: Path) -> None:
    before = descriptors()
    changes = Changes(tmp_path / "nothing")
    assert (changes.fd, descriptors()) == (None, before)
    changes.seen()
    changes.close()


def test_where_the_kernel_has_no_room_there_is_nothing_to_wait_for(file: Path) -> None:
    while not _idle.empty():
        os.close(_idle.get())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_one = os.open(file, os.O_RDONLY)
    os.close(next_one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, hard))
    try:
        unlucky = Changes(file)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert unlucky.fd is None
    unlucky.seen()
    unlucky.close()


def test_the_next_one_takes_over_what_a_closed_one_had_open_and_is_told_of_its_own_file_alone(
    file: Path, tmp_path: Path
) -> None:
    first = Changes(file)
    taken = first.fd
    append(file)
    first.close()
    before = descriptors()
    (tmp_path / "other").touch()
    second = Changes(tmp_path / "other")
    append(file)
    assert (second.fd, descriptors(), readable(second)) == (taken, before, False)
    append(tmp_path / "other")
    assert readable(second)
    second.close()


def test_a_step_whose_messages_come_one_by_one_is_read_to_its_last(project: Project) -> None:
    body = "for n in range(200): pipes.log.info(str(n))\npipes.report_asset_materialization()"
    project.team("team", [one_step("talks", workload(body))])
    ran = project.run("team_job")
    assert ran.code == 0, ran.stderr
    with project.instance() as instance:
        said = [one.user_message for one in instance.all_logs(ran.run_id) if not one.dagster_event]
    assert [text for text in said if text.isdigit()] == [str(number) for number in range(200)]
