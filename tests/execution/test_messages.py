"""The messages file, followed while it grows."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.execution.messages import CHUNK, MAX_LINE, MessageFile


@pytest.fixture
def messages(tmp_path: Path) -> Iterator[MessageFile]:
    made = MessageFile(tmp_path / "messages")
    yield made
    made.close()


def append(messages: MessageFile, text: bytes) -> None:
    with messages.path.open("ab") as file:
        file.write(text)


def test_lines_are_given_once_as_soon_as_they_are_complete(messages: MessageFile) -> None:
    append(messages, b"one\ntw")
    assert list(messages.lines()) == [b"one"]
    assert list(messages.lines()) == []
    append(messages, b"o\nthree\n")
    assert list(messages.lines()) == [b"two", b"three"]
    assert messages.rest() == b""


def test_what_follows_the_last_newline_is_the_rest(messages: MessageFile) -> None:
    append(messages, b'one\n  {"cut": ')
    assert list(messages.lines()) == [b"one"]
    assert messages.rest() == b'{"cut":'


def test_blank_lines_are_left_out(messages: MessageFile) -> None:
    append(messages, b"\n  \n\r\none\n\n")
    assert list(messages.lines()) == [b"one"]


def test_a_line_longer_than_one_read_arrives_whole(messages: MessageFile) -> None:
    line = b"x" * (2 * CHUNK + 17)
    append(messages, line + b"\nnext\n")
    assert list(messages.lines()) == [line, b"next"]


def test_replacing_the_file_hides_nothing_and_adds_nothing(messages: MessageFile) -> None:
    append(messages, b"one\n")
    forged = messages.path.with_name("forged")
    forged.write_bytes(b"forged\n")
    forged.replace(messages.path)
    assert list(messages.lines()) == [b"one"]


def test_a_file_that_nobody_touched_is_not_replaced(messages: MessageFile) -> None:
    append(messages, b"one\n")
    assert messages.replaced() is None


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("link to itself, moved", "a symbolic link"),
        ("dangling link", "a symbolic link"),
        ("FIFO", "a FIFO"),
        ("folder", "a folder"),
        ("another file", "another file"),
        ("a copy", "another file"),
        ("socket", "another file"),
        ("nothing", "nothing (it was deleted)"),
    ],
)
def test_what_stands_in_the_place_of_the_file_is_told(messages: MessageFile, kind: str, text: str) -> None:
    append(messages, b"one\n")
    path = messages.path
    moved = path.rename(path.with_name("moved"))
    if kind == "link to itself, moved":
        path.symlink_to(moved)
    elif kind == "dangling link":
        path.symlink_to("/no/such")
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    elif kind != "nothing":
        path.write_bytes(moved.read_bytes() if kind == "a copy" else b"")
    if kind == "nothing":
        moved.unlink()
    assert messages.replaced() == text
    assert list(messages.lines()) == [b"one"]


def test_a_file_that_was_moved_away_and_back_is_the_file(messages: MessageFile) -> None:
    messages.path.rename(messages.path.with_name("moved")).rename(messages.path)
    assert messages.replaced() is None


def test_a_folder_that_is_gone_took_the_file_along(messages: MessageFile) -> None:
    folder = messages.path.parent
    folder.rename(folder.with_name(f"{folder.name}-moved"))
    assert messages.replaced() == "nothing (it was deleted)"


def test_a_file_that_was_cut_short_after_reading_is_noticed(messages: MessageFile) -> None:
    append(messages, b"one\ntwo\n")
    assert list(messages.lines()) == [b"one", b"two"]
    assert messages.shrunk is False
    messages.path.write_bytes(b"one\n")
    assert list(messages.lines()) == []
    assert messages.shrunk is True


def test_the_file_is_readable_by_its_owner_only(messages: MessageFile) -> None:
    assert messages.path.stat().st_mode & 0o777 == 0o600


def test_a_file_or_a_link_that_is_already_there_is_never_taken_over(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("target", "link", "dangling"):
        with pytest.raises(FileExistsError):
            MessageFile(tmp_path / name)
    assert (tmp_path / "target").read_text() == "kept"
    assert not (tmp_path / "nowhere").exists()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=30), max_size=8))
def test_however_writes_are_cut_the_same_lines_come_out(tmp_path: Path, parts: list[bytes]) -> None:
    path = tmp_path / "messages"
    path.unlink(missing_ok=True)
    messages = MessageFile(path)
    got: list[bytes] = []
    for part in parts:
        append(messages, part)
        got += messages.lines()
    *complete, rest = b"".join(parts).split(b"\n")
    assert got == [line for line in complete if line.strip()]
    assert messages.rest() == rest.strip()
    messages.close()


def test_of_a_line_past_the_limit_only_the_beginning_is_kept_and_the_next_line_is_read(tmp_path):
    file = MessageFile(tmp_path / "messages")
    with (tmp_path / "messages").open("ab") as writer:
        for _ in range(66):
            writer.write(b"x" * (1 << 20))
        writer.write(b"\nnext\n")
    first, second = list(file.lines())
    assert file.too_long
    assert len(first) <= MAX_LINE
    assert second == b"next"
