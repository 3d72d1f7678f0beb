"""What a workload prints, on its way to the step's logs."""

import contextlib
import hashlib
import os
import random
import select
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.backends.supervision.output import CHUNK, TAIL, Stream
from orchestrator.backends.supervision.redaction import Redactor


@dataclass
class Pipe:
    """A stream, the workload's end of its pipe, and the log that it ends in."""

    stream: Stream
    write: int
    log: Path

    def say(self, data: bytes) -> None:
        """Write as the workload does, and carry it."""
        os.write(self.write, data)
        assert self.stream.carry()

    def end(self) -> None:
        """End as the workload does; carry what is left."""
        os.close(self.write)
        self.stream.finish()


class Pipes:
    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, list[Pipe]()

    def open(self, *secrets: str, log: Path | None = None) -> Pipe:
        path = log or self.folder / "log"
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        stream = Stream(fd, Redactor(list(secrets)))
        self.made.append(Pipe(stream, os.dup(fd), path))
        stream.release()
        return self.made[-1]


@pytest.fixture
def pipes(tmp_path: Path) -> Iterator[Pipes]:
    made = Pipes(tmp_path)
    yield made
    for pipe in made.made:
        for fd in (pipe.stream.fd, pipe.stream.log.fd, pipe.stream.read, pipe.write):
            with contextlib.suppress(OSError):
                os.close(fd)


def test_what_is_printed_is_in_the_log_as_soon_as_it_is_carried(pipes: Pipes) -> None:
    pipe = pipes.open()
    assert pipe.stream.carry() is False
    pipe.say(b"one\ntw")
    assert pipe.log.read_bytes() == b"one\ntw"
    pipe.say(b"o\n")
    pipe.end()
    assert pipe.log.read_bytes() == b"one\ntwo\n"
    assert (pipe.stream.log.size, pipe.stream.log.lost, pipe.stream.open) == (8, 0, False)


def test_the_workload_holds_a_pipe_and_never_the_log(pipes: Pipes) -> None:
    pipe = pipes.open()
    with pytest.raises(OSError, match="Illegal seek"):
        os.lseek(pipe.write, 0, os.SEEK_SET)
    with pytest.raises(OSError, match="Invalid argument"):
        os.ftruncate(pipe.write, 0)
    assert not os.get_inheritable(pipe.stream.log.fd)


def test_what_follows_what_is_in_the_log_is_appended_to_it(pipes: Pipes) -> None:
    (pipes.folder / "log").write_bytes(b"before\n")
    pipe = pipes.open()
    pipe.say(b"after\n")
    assert pipe.log.read_bytes() == b"before\nafter\n"


def test_a_secret_split_over_two_writes_is_masked(pipes: Pipes) -> None:
    pipe = pipes.open("hunter2")
    pipe.say(b"password: hun")
    assert pipe.log.read_bytes() == b"password: "
    pipe.say(b"ter2\n")
    assert pipe.log.read_bytes() == b"password: ***\n"


def test_a_secret_in_writes_of_one_byte_is_masked(pipes: Pipes) -> None:
    pipe = pipes.open("hunter2")
    for byte in b"a hunter2, a hunter3":
        pipe.say(bytes([byte]))
    pipe.end()
    assert pipe.log.read_bytes() == b"a ***, a hunter3"


@pytest.mark.parametrize("secret", ["hunter2", "hunter2-h"])
def test_a_secret_at_the_very_end_is_masked(pipes: Pipes, secret: str) -> None:
    pipe = pipes.open(secret)
    pipe.say(f"password: {secret}".encode())
    pipe.end()
    assert pipe.log.read_bytes() == b"password: ***"


def test_half_a_secret_at_the_very_end_is_no_secret_and_is_not_lost(pipes: Pipes) -> None:
    pipe = pipes.open("hunter2")
    pipe.say(b"I hunt")
    assert pipe.log.read_bytes() == b"I "
    pipe.end()
    assert pipe.log.read_bytes() == b"I hunt"


def test_the_size_is_what_the_workload_wrote_and_not_what_was_logged(pipes: Pipes) -> None:
    pipe = pipes.open("hunter2")
    pipe.say(b"hunter2\n")
    assert pipe.stream.log.size == 8
    assert pipe.log.read_bytes() == b"***\n"


@pytest.mark.parametrize("secrets", [(), ("hunter2", "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n")])
def test_50_megabytes_go_through_unchanged(pipes: Pipes, secrets: tuple[str, ...]) -> None:
    source = "import random, sys\nr = random.Random(7)\nfor _ in range(50): sys.stdout.buffer.write(r.randbytes(10**6))"
    pipe = pipes.open(*secrets)
    workload = subprocess.Popen([sys.executable, "-c", source], stdout=pipe.write)
    os.close(pipe.write)
    while pipe.stream.open:
        select.select([pipe.stream.read], [], [])
        pipe.stream.carry()
    pipe.stream.finish()
    assert workload.wait() == 0
    numbers = random.Random(7)
    expected = hashlib.sha256(b"".join(numbers.randbytes(10**6) for _ in range(50))).digest()
    assert hashlib.sha256(pipe.log.read_bytes()).digest() == expected
    assert (pipe.stream.log.size, pipe.stream.log.lost) == (50 * 10**6, 0)


def test_a_full_disk_loses_what_it_cannot_take_counts_it_and_stops_nobody(pipes: Pipes) -> None:
    pipe = pipes.open(log=Path("/dev/full"))
    pipe.say(b"x" * 1000)
    pipe.say(b"y" * 500)
    pipe.end()
    assert (pipe.stream.log.size, pipe.stream.log.lost) == (1500, 1500)
    assert pipe.stream.log.tail == b"x" * 1000 + b"y" * 500


def test_a_log_that_takes_a_part_loses_the_rest_only(pipes: Pipes) -> None:
    """A log with a limit to its size stands for a disk that fills up while it is written to."""
    source = (
        "import os, resource, signal, sys\n"
        "from orchestrator.backends.supervision.output import Stream\n"
        "from orchestrator.backends.supervision.redaction import Redactor\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)\n"
        "stream = Stream(fd, Redactor([]))\n"
        "os.write(fd, bytes(1500)), stream.release(), stream.finish()\n"
        "print(stream.log.size, stream.log.lost)\n"
    )
    path = pipes.folder / "log"
    told = subprocess.check_output([sys.executable, "-c", source, str(path)], text=True)
    assert told == "1500 500\n"
    assert path.stat().st_size == 1000


def test_a_flood_is_carried_in_pieces_of_a_mebibyte(pipes: Pipes) -> None:
    pipe = pipes.open()
    source = f"import os\nleft = {4 * CHUNK}\nwhile left: left -= os.write(1, bytes(min(left, {CHUNK})))"
    with subprocess.Popen([sys.executable, "-c", source], stdout=pipe.write):
        os.close(pipe.write)
        sizes = []
        while pipe.stream.open:
            select.select([pipe.stream.read], [], [])
            before = pipe.stream.log.size
            pipe.stream.carry()
            sizes.append(pipe.stream.log.size - before)
    assert sum(sizes) == 4 * CHUNK
    assert max(sizes) <= CHUNK


def test_the_tail_is_the_end_of_what_was_logged_with_secrets_masked(pipes: Pipes) -> None:
    pipe = pipes.open("hunter2")
    pipe.say(b"x" * 5000 + b" hunter2\n")
    assert pipe.stream.log.tail == b"x" * (TAIL - 5) + b" ***\n"


def test_finishing_does_not_wait_for_a_writer_that_is_still_there(pipes: Pipes) -> None:
    pipe = pipes.open("hunter2")
    os.write(pipe.write, b"one hunt")
    pipe.stream.finish()
    assert pipe.stream.open
    assert pipe.log.read_bytes() == b"one hunt"
