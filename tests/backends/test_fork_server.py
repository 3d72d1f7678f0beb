"""The fork server: it comes back when it is killed, belongs to one process, and hands nothing on."""

import os
import signal
from pathlib import Path

import pytest

from orchestrator.backends.fork_server import FORK_SERVER, ForkServer
from orchestrator.backends.launch import LaunchError
from tests.backends.test_subprocess import WAITS, Bench, alive, bench, end, until

__all__ = ["bench"]


def server() -> int:
    assert FORK_SERVER._process is not None
    return FORK_SERVER._process.pid


def test_every_launch_of_a_process_has_the_same_server_and_a_supervisor_of_its_own(bench: Bench) -> None:
    first = bench.python("")
    served = server()
    assert end(first).exit_code == 0
    second = bench.python("")
    assert end(second).exit_code == 0
    assert server() == served
    assert first.supervisor != second.supervisor


def test_a_killed_server_is_replaced_and_what_it_had_forked_goes_on(bench: Bench) -> None:
    running = bench.python(WAITS.replace("while True: time.sleep(1)", "while not Path('go').exists(): time.sleep(.01)"))
    bench.ready()
    killed = server()
    os.kill(killed, signal.SIGKILL)
    until(lambda: not alive(killed), "the server was gone")
    after = bench.python("raise SystemExit(3)")
    assert end(after).exit_code == 3
    assert server() != killed
    (bench.folder / "go").touch()
    assert end(running).exit_code == 0


def test_a_supervisor_that_does_not_hear_is_killed(bench: Bench) -> None:
    running = bench.python(WAITS)
    bench.ready()
    FORK_SERVER.kill(running.supervisor)
    assert end(running).lost is not None


def test_a_process_that_is_no_supervisor_is_not_killed(bench: Bench) -> None:
    assert end(bench.python("")).exit_code == 0
    FORK_SERVER.kill(os.getpid())
    assert end(bench.python("")).exit_code == 0


def test_the_server_sees_nothing_of_the_platforms_environment(bench: Bench) -> None:
    assert end(bench.python("")).exit_code == 0
    assert Path(f"/proc/{server()}/environ").read_bytes() == b""


def test_the_server_ends_with_its_process(bench: Bench) -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        own = ForkServer()
        own.expect()
        assert own._process is not None
        os.write(write, str(own._process.pid).encode())
        os._exit(0)
    os.waitpid(child, 0)
    its = int(os.read(read, 20))
    for fd in (read, write):
        os.close(fd)
    until(lambda: not alive(its), "the server was gone")


def test_a_forked_process_has_a_server_of_its_own(bench: Bench) -> None:
    assert end(bench.python("")).exit_code == 0
    served, (read, write) = server(), os.pipe()
    child = os.fork()
    if child == 0:
        FORK_SERVER.expect()
        os.write(write, str(server()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(read, 20)) != served
    for fd in (read, write):
        os.close(fd)
    assert end(bench.python("")).exit_code == 0
    assert server() == served


def test_a_fork_that_the_system_refuses_is_a_fault_of_the_infrastructure(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError("Resource temporarily unavailable")

    monkeypatch.setattr(FORK_SERVER, "launch", refuse)
    with pytest.raises(LaunchError, match=r"^no process could be started: Resource temporarily unavailable$") as told:
        bench.python("")
    assert told.value.infrastructure
