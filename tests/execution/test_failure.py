"""The text of a failure."""

import os
import subprocess
from pathlib import Path

import pytest

from orchestrator.backends.launch import Launch
from orchestrator.backends.subprocess import SubprocessBackend
from orchestrator.execution.failure import describe, failure, tail, traceback_lines
from orchestrator.execution.report import WorkloadException
from orchestrator.execution.verdict import Category, Verdict

EXITED = Verdict(Category.EXITED, "code 1", ("it left 1 process behind, which was killed",))


def test_a_failure_says_what_where_whose_and_how_to_see_it_again() -> None:
    exception = WorkloadException(name="ValueError", message="ValueError: no rows", stack=['  File "x.py", line 1\n'])
    text = describe(
        EXITED, "load", "etl", ["team:etl", "me@example.org"], "etl@sha256:1", exception,
        "memory 1Mi of 2Mi", {"stdout": [], "stderr": ["one", "two"]}, "cd /x && env -i A=1 python",
    )  # fmt: skip
    assert text == (
        "workload exited: code 1\n"
        "  it left 1 process behind, which was killed\n"
        "\n"
        "step       load of team etl (owned by team:etl, me@example.org)\n"
        "image      etl@sha256:1\n"
        "used       memory 1Mi of 2Mi\n"
        "\n"
        "raised in the workload:\n"
        '    File "x.py", line 1\n'
        "  ValueError: no rows\n"
        "\n"
        "last lines of stderr:\n"
        "  one\n"
        "  two\n"
        "\n"
        "reproduce it by hand:\n"
        "  cd /x && env -i A=1 python"
    )


def test_a_failure_with_nothing_more_to_say_says_nothing_more() -> None:
    text = describe(Verdict(Category.EXITED, "code 1"), "load", "etl", [])
    assert text == "workload exited: code 1\n\nstep       load of team etl (owned by team:etl)"


@pytest.mark.parametrize(
    ("linked_by", "joint"),
    [
        ("cause", "The above exception was the direct cause of the following exception:"),
        ("context", "During handling of the above exception, another exception occurred:"),
    ],
)
def test_a_chain_of_exceptions_reads_as_python_prints_it(linked_by: str, joint: str) -> None:
    inner = {"name": "KeyError", "message": "'x'", "stack": ["a\n", "b\nc\n"]}
    outer = WorkloadException.model_validate(
        {"name": "ValueError", "message": "bad", "stack": ["d\n"], linked_by: inner}
    )
    assert traceback_lines(outer) == ["a", "b", "c", "KeyError: 'x'", "", joint, "", "d", "ValueError: bad"]


def test_a_long_traceback_keeps_its_end() -> None:
    exception = WorkloadException(name="E", message="m", stack=[f"{i}\n" for i in range(100)])
    assert traceback_lines(exception, limit=2) == ["98", "99", "E: m"]


def test_an_exception_with_too_many_causes_and_too_much_to_say_is_cut() -> None:
    exception = WorkloadException(name="E", message="x" * 10_000_000, stack=[])
    for number in range(400):
        exception = WorkloadException(name="E", message=f"{number}\n" * 1000, stack=[], cause=exception)
    lines = traceback_lines(exception)
    assert (len([line for line in lines if line.startswith("E: ")]), len(lines)) == (11, 11 * 50 + 10 * 3)
    (cut,) = traceback_lines(WorkloadException(name="E", message="x" * 10_000_000, stack=[]))
    assert (len(cut), cut[:5], cut[-5:]) == (1000, "E: xx", "xx...")


def tail_of(path: Path, content: bytes) -> list[str]:
    path.write_bytes(content)
    with path.open("rb") as file:
        return tail(file.fileno())


def test_the_tail_of_a_log_is_its_last_20_lines(tmp_path: Path) -> None:
    lines = [f"line {i}" for i in range(100)]
    assert tail_of(tmp_path / "log", "\n".join(lines).encode()) == lines[-20:]
    assert tail_of(tmp_path / "log", b"") == []


def test_the_tail_of_a_flood_on_one_line_is_bounded(tmp_path: Path) -> None:
    assert tail_of(tmp_path / "log", b"x" * 10**6) == ["x" * 400]


def test_odd_bytes_in_a_log_are_shown_escaped(tmp_path: Path) -> None:
    assert tail_of(tmp_path / "log", b"a\xffb\0c  \n") == ["a\\xffb\\0c"]


def test_the_tail_leaves_the_place_in_the_file_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\n")
    fd = os.open(path, os.O_RDWR)
    try:
        tail(fd)
        assert os.lseek(fd, 0, os.SEEK_CUR) == 0
    finally:
        os.close(fd)


def launch(folder: Path, *argv: str) -> Launch:
    return Launch({}, argv, folder, {"TOKEN": "hunter2"}, folder, folder / "messages", 1, 2)


def test_the_reproduction_names_secrets_and_shows_none(tmp_path: Path) -> None:
    command = SubprocessBackend().by_hand(
        launch(Path("/a b"), "python", "-m", "x"), {"A": "1 2"}, ["TOKEN"], ["--rows=3 4"]
    )
    assert command == "cd '/a b' && env -i A='1 2' TOKEN=\"$TOKEN\" python -m x '--rows=3 4'"


def test_the_reproduction_is_a_command_that_a_shell_runs(tmp_path: Path) -> None:
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    source = 'echo "$PWD|$A|$TOKEN|$1|${HOME-unset}"'
    command = SubprocessBackend().by_hand(
        launch(folder, "/bin/sh", "-c", source), {"A": "$x 'y'"}, ["TOKEN"], ["sh", "a b"]
    )
    ran = subprocess.run(["/bin/sh", "-c", command], env={"TOKEN": "given by hand"}, stdout=subprocess.PIPE, text=True)
    assert ran.stdout == f"{folder}|$x 'y'|given by hand|a b|unset\n"


def test_dagsters_failure_carries_category_and_what_is_known_and_the_right_to_retry() -> None:
    for may_retry in (True, False):
        made = failure(EXITED, "text", {"bulkhead/exit_code": 0}, may_retry)
        assert (made.description, made.allow_retries) == ("text", may_retry)
        values = {name: value.value for name, value in made.metadata.items()}
        assert values == {"bulkhead/category": "workload exited", "bulkhead/exit_code": 0}
