"""The engine's stream of frames: what arrives in the step's logs, however it was cut."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.backends.attached import STDERR, STDOUT, Attached
from orchestrator.backends.supervision.redaction import Redactor


class Ends:
    """Both ends of a connection, and the two logs."""

    def __init__(self, folder: Path, secrets: list[str]) -> None:
        self.engine, platform = socket.socketpair()
        self.attached = Attached(platform)
        self.logs = [folder / "out", folder / "err"]
        self.files = [path.open("wb", buffering=0) for path in self.logs]
        self.attached.end_in(self.files[0].fileno(), self.files[1].fileno(), Redactor(secrets))
        platform.setblocking(False)

    def finish(self) -> tuple[bytes, bytes]:
        self.engine.close()
        while self.attached.carry():
            pass
        return self.logs[0].read_bytes(), self.logs[1].read_bytes()

    def close(self) -> None:
        self.attached.close()
        self.engine.close()
        for file in self.files:
            file.close()


def frame(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    made = Ends(tmp_path, ["hunter2222"])
    yield made
    made.close()


def test_each_stream_ends_in_its_own_log(ends: Ends) -> None:
    ends.engine.sendall(frame(STDOUT, b"one\n") + frame(STDERR, b"two\n") + frame(STDOUT, b"three"))
    assert ends.finish() == (b"one\nthree", b"two\n")
    assert (ends.attached.size, ends.attached.lost) == (13, 0)


def test_a_secret_that_comes_in_two_frames_is_masked(ends: Ends) -> None:
    ends.engine.sendall(frame(STDOUT, b"a hunter") + frame(STDERR, b"x") + frame(STDOUT, b"2222 b"))
    assert ends.finish() == (b"a *** b", b"x")


def test_what_only_began_like_a_secret_is_said_in_the_end(ends: Ends) -> None:
    ends.engine.sendall(frame(STDOUT, b"a hunter"))
    assert ends.finish() == (b"a hunter", b"")


def test_a_stream_that_ends_in_the_middle_of_a_frame_keeps_what_came(ends: Ends) -> None:
    ends.engine.sendall(frame(STDOUT, b"whole") + frame(STDERR, b"cut off")[:-4])
    assert ends.finish() == (b"whole", b"cut")


def test_what_a_full_log_cannot_take_is_counted(ends: Ends) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    ends.attached.end_in(full, full, Redactor([]))
    ends.engine.sendall(frame(STDOUT, b"12345"))
    ends.engine.close()
    while ends.attached.carry():
        pass
    os.close(full)
    assert (ends.attached.size, ends.attached.lost) == (5, 5)


frames = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=300)), max_size=20)


@given(frames, st.integers(1, 17))
def test_it_does_not_matter_where_the_network_cuts(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[int, bytes]], cut: int
) -> None:
    ends = Ends(tmp_path_factory.mktemp("ends"), [])
    data = b"".join(frame(*one) for one in said)
    for start in range(0, len(data), cut):
        ends.engine.sendall(data[start : start + cut])
        ends.attached.carry()
    out, err = ends.finish()
    ends.close()
    assert out == b"".join(text for stream, text in said if stream == STDOUT)
    assert err == b"".join(text for stream, text in said if stream == STDERR)
