"""What is made ready before a launch: used if it fits, ended if it does not, gone when it is not needed.

With a sandbox that is the sandbox, without one the workload's own process, which waits for its command.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends.fork_server import FORK_SERVER
from orchestrator.backends.launch import LaunchError, Stopped
from orchestrator.backends.subprocess import SubprocessBackend, kill_strays, supervisor_spec
from orchestrator.backends.supervision.processes import children, outside_pid
from orchestrator.backends.supervision.starter import packed, unpacked
from tests.backends.test_subprocess import INTERPRETER, Bench, alive, end, until
from tests.conftest import needs_sandbox

# The kernel uses the number of a namespace again; when its first process began tells one from the next.
NAMESPACE = "import os; print(os.readlink('/proc/self/ns/pid'), open('/proc/1/stat').read().split()[21])"


@pytest.fixture
def cell(starter: None, tmp_path: Path) -> Iterator[Bench]:
    needs_sandbox()
    made = Bench(tmp_path, sandboxed=True)
    made.python("", at_once=False)
    assert end(made.started[-1]).exit_code == 0
    yield made
    FORK_SERVER.discard()
    for running in made.started:
        with contextlib.suppress(OSError):
            FORK_SERVER.kill(running.supervisor)
    kill_strays(made.scratch)


def make_ready(cell: Bench, **limits: Any) -> str:
    """Make a sandbox ready for a launch in the cell's folder; return its namespace of processes."""
    launch = cell.launch("anything", **{"at_once": False, **limits})
    SubprocessBackend(sandboxed=True).make_ready(launch)

    def inside() -> str:
        tree = cell.strays()
        first = outside_pid(1, [pid for pid in tree if not is_ours(pid)])
        if first is None:
            return ""
        return f"{Path(f'/proc/{first}/ns/pid').readlink()} {Path(f'/proc/{first}/stat').read_text().split()[21]}"

    return str(until(inside, "the sandbox was there"))


def is_ours(pid: int) -> bool:
    """Return whether a process is in the namespace of this one, or gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/ns/pid").readlink() == Path("/proc/self/ns/pid").readlink()
    return True


def groups(bench: Bench) -> list[Path]:
    """Return the control groups of a bench that are left."""
    FORK_SERVER.finish()
    return list(Path("/sys/fs/cgroup").glob(f"**/bulkhead-{bench.scratch.name}"))


def namespace(cell: Bench, **more: Any) -> str:
    """Run a program; return the namespace it ran in."""
    before = len(cell.read("stdout"))
    assert end(cell.python(NAMESPACE, **{"at_once": False, **more})).exit_code == 0
    return cell.read("stdout")[before:].strip()


def test_a_launch_that_fits_runs_in_the_sandbox_that_is_ready(cell: Bench) -> None:
    ready = make_ready(cell)
    assert namespace(cell) == ready
    assert cell.strays() == []


def test_another_one_takes_its_place_and_leaves_nothing_of_it(cell: Bench) -> None:
    first = make_ready(cell, at_once=True, pids=64)
    SubprocessBackend(sandboxed=True).make_ready(cell.launch("anything", at_once=True, pids=65))
    second = namespace(cell, at_once=True, pids=65)
    assert second not in ("", first)
    assert cell.read("stderr") == ""
    assert cell.strays() == []
    assert groups(cell) == []


def test_it_is_used_once(cell: Bench) -> None:
    ready = make_ready(cell)
    assert namespace(cell) == ready
    assert namespace(cell) != ready


def test_the_launch_brings_its_own_command_environment_and_logs(cell: Bench) -> None:
    make_ready(cell)
    source = "import os, sys; print(os.environ['GREETING']); print('loud', file=sys.stderr); raise SystemExit(7)"
    assert end(cell.python(source, env={"GREETING": "a b\nc"}, at_once=False)).exit_code == 7
    assert cell.read("stdout").endswith("a b\nc\n")
    assert cell.read("stderr").endswith("loud\n")


def test_a_launch_with_other_mounts_gets_a_sandbox_of_its_own(cell: Bench, tmp_path: Path) -> None:
    ready = make_ready(cell)
    other = cell.launch(INTERPRETER, "-c", NAMESPACE, at_once=False)
    running = cell.start(replace(other, network=True))
    assert end(running).exit_code == 0
    assert cell.read("stdout").strip() not in ("", ready)
    assert cell.strays() == []


def test_a_launch_with_declared_limits_runs_in_a_ready_sandbox_that_has_them(cell: Bench) -> None:
    ready = make_ready(cell, at_once=True, pids=64)
    assert namespace(cell, at_once=True, pids=64) == ready
    assert cell.strays() == []
    assert groups(cell) == []


def test_a_launch_with_other_limits_gets_a_sandbox_of_its_own(cell: Bench) -> None:
    ready = make_ready(cell, at_once=True, pids=64)
    assert namespace(cell, at_once=True, pids=65) != ready
    assert cell.strays() == []


def test_a_limit_holds_in_a_sandbox_that_was_ready(cell: Bench) -> None:
    make_ready(cell, at_once=True, pids=10)
    source = "import os, time\nfor _ in range(20):\n    if os.fork() == 0: time.sleep(60)\ntime.sleep(60)"
    assert end(cell.python(source, at_once=True, pids=10)).stopped is Stopped.PIDS
    assert cell.strays() == []


def test_a_sandbox_that_was_killed_before_its_launch_is_replaced(cell: Bench) -> None:
    make_ready(cell)
    kill_strays(cell.scratch)
    assert namespace(cell)


def test_a_discarded_sandbox_is_gone_when_discarding_is_over(cell: Bench) -> None:
    make_ready(cell)
    FORK_SERVER.discard()
    assert cell.strays() == []


def test_a_sandbox_that_cannot_be_made_ready_fails_nothing(cell: Bench, tmp_path: Path) -> None:
    launch = replace(cell.launch("anything", at_once=False), scratch=tmp_path / "not there")
    SubprocessBackend(sandboxed=True).make_ready(launch)
    assert namespace(cell)


def test_a_sandbox_that_cannot_be_executed_leaves_nothing_and_fails_nothing(cell: Bench) -> None:
    launch = cell.launch("anything", at_once=True, pids=64)
    FORK_SERVER.make_ready(supervisor_spec("", launch, ["/not/there"]))
    assert namespace(cell)
    assert groups(cell) == []


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    assert end(made.python("", at_once=False)).exit_code == 0
    yield made
    FORK_SERVER.discard()
    for running in made.started:
        FORK_SERVER.kill(running.supervisor)
    kill_strays(made.scratch)


def made_to_wait(plain: Bench, **limits: Any) -> int:
    """Make a process ready for a launch without a sandbox; return its pid."""
    FORK_SERVER.finish()
    SubprocessBackend().make_ready(plain.launch("anything", **{"at_once": False, **limits}))
    assert FORK_SERVER._process is not None
    server = FORK_SERVER._process.pid

    def waiting() -> list[int]:
        return [pid for spare in children(server) for pid in children(spare)]

    (pid,) = until(waiting, "a process waited")
    return int(pid)


def pid_of(plain: Bench, **more: Any) -> int:
    """Run a program; return the pid that it had."""
    before = len(plain.read("stdout"))
    assert end(plain.python("import os; print(os.getpid())", **{"at_once": False, **more})).exit_code == 0
    return int(plain.read("stdout")[before:])


def test_a_process_that_waits_becomes_the_workload_once(plain: Bench) -> None:
    waiting = made_to_wait(plain)
    assert pid_of(plain) == waiting
    assert pid_of(plain) != waiting


def test_a_process_that_waits_has_the_limits_of_its_launch_or_is_not_used(plain: Bench) -> None:
    waiting = made_to_wait(plain, at_once=True, pids=64)
    assert pid_of(plain, at_once=True, pids=64) == waiting
    waiting = made_to_wait(plain, at_once=True, pids=64)
    assert pid_of(plain, at_once=True, pids=65) != waiting
    assert not alive(waiting)
    assert groups(plain) == []


def test_a_process_that_waits_takes_folder_environment_and_open_files_from_its_launch(plain: Bench) -> None:
    made_to_wait(plain, open_files=99)
    source = "import os, resource; print(os.getcwd(), os.environ['A'], resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    assert end(plain.python(source, env={"A": "b c"}, at_once=False, open_files=99)).exit_code == 0
    assert plain.read("stdout").endswith(f"{plain.folder} b c 99\n")


def test_a_command_that_cannot_be_executed_is_told_by_the_process_that_waited(plain: Bench) -> None:
    made_to_wait(plain)
    program = plain.folder / "program"
    program.write_text("no program")
    program.chmod(0o755)
    with pytest.raises(LaunchError, match=r"could not be executed: .*Exec format error"):
        end(plain.start(plain.launch(str(program), at_once=False)))


def test_a_process_that_was_killed_while_it_waited_is_replaced(plain: Bench) -> None:
    waiting = made_to_wait(plain)
    os.kill(waiting, signal.SIGKILL)
    until(lambda: not alive(waiting), "it was dead")
    assert pid_of(plain) != waiting


def test_a_process_that_is_not_needed_is_gone_when_discarding_is_over(plain: Bench) -> None:
    waiting = made_to_wait(plain)
    FORK_SERVER.discard()
    assert not alive(waiting)


def test_a_process_that_waits_dies_with_its_supervisor(plain: Bench) -> None:
    waiting = made_to_wait(plain)
    (supervisor,) = [spare for spare in children(FORK_SERVER._process.pid) if waiting in children(spare)]
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not alive(waiting), "it was gone")
    assert pid_of(plain) != waiting


@pytest.mark.parametrize("open_files", [None, 64])
def test_a_command_is_unpacked_as_it_was_packed(open_files: int | None) -> None:
    argv, env = ["a", "", "b\nc", "\udcff"], {"EMPTY": "", "EQUALS": "a=b", "LINES": "a\nb"}
    assert unpacked(packed(argv, env, open_files, "a folder")) == (argv, env, open_files, "a folder")
