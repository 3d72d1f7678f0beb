"""The first process of a step's container, told on its stdin what to run; that stdin is its lifeline."""

from collections.abc import Sequence

import pytest

from tests.conftest import wait_for
from tests.images.init import PRELUDE, Bench, Container, bench, program

__all__ = ["bench", "program"]
pytestmark = pytest.mark.engine


WAITING = ("/run/bulkhead-init", "--status", "/status/status", "--stdin")
ON_STDIN = ("--interactive",)


def order(*words: str) -> str:
    data = "".join(f"{word}\0" for word in words)
    return f"{len(data.encode())}\n{data}"


def tell(container: Container, text: str) -> None:
    assert container.process.stdin is not None
    container.process.stdin.write(text)
    container.process.stdin.flush()


def test_what_it_is_told_on_stdin_is_what_it_would_be_told_in_arguments(bench: Bench) -> None:
    waiting = bench.start_as(*WAITING, engine=ON_STDIN)
    body = "import os, sys; print(os.environ['A'], os.environ['LANG'], sys.stdin.read(), *sys.argv[1:], flush=True); os._exit(3)"
    tell(waiting, order("--pids", "40", "--env", "A=1 2=ü", "--env", "LANG=", "--", "python", "-c", body, "", "x y"))
    waiting.until_it_prints("1 2=ü    x y")
    ended = waiting.end()
    assert (ended.code, ended.last["exit"]) == (3, 3)


def test_a_limit_that_it_is_told_on_stdin_is_held(bench: Bench) -> None:
    waiting = bench.start_as(*WAITING, engine=ON_STDIN)
    body = "import subprocess, time\nfor _ in range(9): subprocess.Popen(['sleep', '60'])\ntime.sleep(60)"
    tell(waiting, order("--pids", "4", "--", "python", "-c", body))
    wait_for(lambda: len(waiting.said()) == 2, "it is killed")
    assert waiting.end().last["broken"] == "pids"


def test_when_its_stdin_ends_everything_is_killed_and_told(bench: Bench) -> None:
    waiting = bench.start_as(*WAITING, engine=ON_STDIN)
    tell(waiting, order("--", "python", "-c", PRELUDE + "daemon(sleep_on)\nprint('here', flush=True)\nsleep_on()"))
    waiting.until_it_prints("here")
    ended = waiting.end()
    assert (ended.code, ended.last["signal"]) == (137, 9)


def test_without_an_order_it_starts_nothing_and_ends_with_its_stdin(bench: Bench) -> None:
    ended = bench.start_as(*WAITING, engine=ON_STDIN).end()
    assert (ended.code, ended.said) == (125, [])


@pytest.mark.parametrize("said", ["100\n--\0true\0", "7\n--\0tr", "x", ""])
def test_half_an_order_starts_nothing(bench: Bench, said: str) -> None:
    ended = bench.start_as(*WAITING, engine=ON_STDIN).end(said)
    assert ended.code == 125
    assert {"started": True} not in ended.said


@pytest.mark.parametrize("words", [("--no-such", "1", "--", "true"), ("--pids", "x", "--", "true"), ("--",), ("true",)])
def test_an_order_that_makes_no_sense_is_refused_by_name(bench: Bench, words: Sequence[str]) -> None:
    waiting = bench.start_as(*WAITING, engine=ON_STDIN)
    tell(waiting, order(*words))
    wait_for(waiting.said, "it says so")
    assert list(waiting.end().said[0]) == ["error"]


def test_a_workload_cannot_read_its_order_or_hold_its_lifeline(bench: Bench) -> None:
    waiting = bench.start_as(*WAITING, engine=ON_STDIN)
    body = "print(refused(lambda: os.listdir('/proc/1/fd')), os.readlink('/proc/self/fd/0'), flush=True)\nsleep_on()"
    tell(waiting, order("--env", "SECRET=hunter2", "--", "python", "-c", PRELUDE + body))
    waiting.until_it_prints("EACCES /dev/null")
    assert waiting.end().code == 137
