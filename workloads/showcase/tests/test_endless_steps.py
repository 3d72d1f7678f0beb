"""The steps that something else has to stop."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from process import bootstrap, command, run

from showcase.eats_memory import MB, eat
from showcase.forks_too_much import fork_until

ADDRESS_SPACE = 700_000_000


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not seen within {seconds} s"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether `pid` runs; a zombie counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start a step in a process group of its own, which is killed after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(step: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(command(step), env=bootstrap(tmp_path, step), start_new_session=True))
        return started[-1]

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_child_of_never_ends_outlives_int_and_term_but_not_kill(
    start: Callable[[str], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    process = start("never_ends")
    messages = tmp_path / "messages"
    wait_for(lambda: "ignores INT and TERM" in messages.read_text())
    child = int(re.search(r"child (\d+) ignores", messages.read_text())[1])
    for polite in (signal.SIGINT, signal.SIGTERM):
        os.killpg(process.pid, polite)
    process.wait(timeout=10)
    assert is_alive(child)
    os.killpg(process.pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(child))


def test_eats_memory_grows_past_256_mib_of_touched_pages(
    start: Callable[[str], subprocess.Popen[bytes]],
) -> None:
    process = start("eats_memory")

    def resident() -> int:
        status = Path(f"/proc/{process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) * 1024 if found else 0

    wait_for(lambda: resident() > 256 * 2**20)
    assert process.poll() is None


def test_eats_memory_raises_where_an_address_space_limit_stops_it(tmp_path: Path) -> None:
    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))

    ended = run("eats_memory", tmp_path, preexec_fn=limit)
    assert ended.code == 1
    assert ended.params("closed")[0]["exception"]["name"] == "MemoryError"


def test_eats_memory_gives_up_at_its_ceiling() -> None:
    with pytest.raises(RuntimeError, match=r"^no limit stopped this step at 100 MB$"):
        eat(100 * MB, pause=0)


def test_forks_too_much_gives_up_at_its_ceiling() -> None:
    with pytest.raises(RuntimeError, match=r"^no limit stopped this step at 0 processes$"):
        fork_until(0)
