"""The embedded backend, with real processes: how each end is told, and that nothing outlives its step."""

import contextlib
import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from orchestrator.backends.fork_server import FORK_SERVER
from orchestrator.backends.launch import Launch, LaunchError, Limits, Mount, Outcome, Stopped
from orchestrator.backends.subprocess import RunningProcess, SubprocessBackend, _marked, kill_strays
from orchestrator.backends.supervision.processes import descendants, open_files, outside_pid
from tests.conftest import needs_sandbox

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
# Without the links of an environment, which a sandbox does not show.
INTERPRETER = str(Path(sys.executable).resolve())
STUBBORN = "import signal\nfor n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(n, signal.SIG_IGN)\n"
WAITS = "import os, time\nfrom pathlib import Path\nPath('ready').touch()\nwhile True: time.sleep(1)\n"
DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    Path = __import__('pathlib').Path
    Path('daemon.part').write_text(str(os.getpid()))
    os.rename('daemon.part', 'daemon')
    while True: time.sleep(1)
while not os.path.exists('daemon'): time.sleep(0.01)
"""


def alive(pid: int) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"never happened: {what}")


@dataclass
class Bench:
    """Starts Python programs as steps in a folder of their own."""

    folder: Path
    sandboxed: bool = False
    started: list[RunningProcess] = field(default_factory=list)

    @property
    def scratch(self) -> Path:
        """The scratch folder. The step's control groups have its name: no two benches that are there at once share it."""
        return self.folder / f"scratch-{crc32(str(self.folder).encode()):x}"

    def launch(self, *argv: str, grace: float = 0.2, env: Mapping[str, str] | None = None, **limits: Any) -> Launch:
        """Return a launch in the bench's folder, which it may write to; unknown arguments are limits."""
        scratch = self.scratch
        (scratch / "tmp").mkdir(parents=True, exist_ok=True)
        (scratch / "messages").touch()
        return Launch(
            labels={},
            argv=argv,
            folder=self.folder,
            env={"PATH": "/usr/bin:/bin", **(env or {})},
            scratch=scratch,
            messages=scratch / "messages",
            stdout=os.open(self.folder / "stdout", os.O_CREAT | os.O_RDWR | os.O_APPEND),
            stderr=os.open(self.folder / "stderr", os.O_CREAT | os.O_RDWR | os.O_APPEND),
            mounts=(Mount(self.folder, writable=True),),
            limits=Limits(**limits),
            grace=grace,
        )

    def python(self, source: str, **more: Any) -> RunningProcess:
        """Start a program; it runs in the bench's folder."""
        return self.start(self.launch(INTERPRETER, "-c", source, **more))

    def start(self, launch: Launch) -> RunningProcess:
        try:
            self.started.append(SubprocessBackend(self.sandboxed).start(launch))
        finally:
            os.close(launch.stdout)
            os.close(launch.stderr)
        return self.started[-1]

    def ready(self) -> None:
        until((self.folder / "ready").exists, "the program was ready")

    def daemon(self) -> int:
        """Return the pid of the daemon, as seen from here."""
        until((self.folder / "daemon").exists, "the daemon was there")
        found = outside_pid(int(self.read("daemon")), descendants(self.started[-1].supervisor))
        assert found is not None
        return found

    def strays(self) -> list[int]:
        """Return every process that carries the launch variable of the bench, when what has ended has cleared up."""
        FORK_SERVER.finish()
        return _marked(f"BULKHEAD_LAUNCH={self.scratch}".encode())

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()


@pytest.fixture(params=[False, True], ids=["plain", "sandboxed"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    if request.param:
        needs_sandbox()
    made = Bench(tmp_path, request.param)
    yield made
    for running in made.started:
        with contextlib.suppress(OSError):
            FORK_SERVER.kill(running.supervisor)
    kill_strays(made.scratch)


def end(running: RunningProcess) -> Outcome:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if (outcome := running.wait(0.05)) is not None:
            return outcome
    raise AssertionError("it never ended")


@pytest.mark.parametrize("code", [0, 1, 75, 255])
def test_the_exit_code_is_told_as_it_was(bench: Bench, code: int) -> None:
    outcome = end(bench.python(f"raise SystemExit({code})"))
    assert (outcome.exit_code, outcome.signal, outcome.stopped, outcome.lost, outcome.left_behind) == (
        code, None, None, None, 0,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_the_signal_that_ended_it_is_told(bench: Bench, number: signal.Signals) -> None:
    outcome = end(bench.python(f"import os; os.kill(os.getpid(), {int(number)})"))
    assert (outcome.exit_code, outcome.signal, outcome.stopped, outcome.lost) == (None, number, None, None)


def test_stdout_and_stderr_go_to_their_own_files_and_stdin_is_empty(bench: Bench) -> None:
    end(bench.python("import sys; print(repr(sys.stdin.read())); print('bad', file=sys.stderr)"))
    assert (bench.read("stdout"), bench.read("stderr")) == ("''\n", "bad\n")


def test_the_process_gets_the_variables_it_was_given_the_launch_variable_and_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATFORM_SECRET", "hunter2")
    end(bench.start(bench.launch("/usr/bin/env", env={"GIVEN": "a b", "EMPTY": ""})))
    expected = ["BULKHEAD_LAUNCH=" + str(bench.scratch), "EMPTY=", "GIVEN=a b", "PATH=/usr/bin:/bin"]
    assert sorted(bench.read("stdout").splitlines()) == expected


def test_the_process_inherits_no_open_file_of_the_platform(bench: Bench) -> None:
    with (bench.folder / "secret").open("w") as held:
        os.set_inheritable(held.fileno(), True)
        end(bench.python("import os; print(sorted(os.listdir('/proc/self/fd'))[:-1])"))
    assert bench.read("stdout") == "['0', '1', '2']\n"


def test_values_of_variables_are_on_no_command_line_and_in_no_repr(bench: Bench) -> None:
    launch = bench.launch(INTERPRETER, "-c", WAITS, env={"TOKEN": "hunter2"})
    running = bench.start(launch)
    bench.ready()
    pids = [running.supervisor, *descendants(running.supervisor)]
    assert len(pids) == (5 if bench.sandboxed else 2)
    assert not [pid for pid in pids if b"hunter2" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert "hunter2" not in repr(launch)


def test_an_unknown_command_is_refused_before_anything_starts(bench: Bench) -> None:
    with pytest.raises(LaunchError) as refused:
        bench.start(bench.launch("pyhton", "-m", "etl"))
    assert str(refused.value) == (
        f"the command 'pyhton' is not in the workload's environment (PATH=/usr/bin:/bin). "
        f"Its environment {bench.folder / '.venv'} is missing: run 'make setup'."
    )
    assert refused.value.infrastructure is False


def test_an_unknown_command_in_an_environment_that_is_there_gives_no_advice_to_make_one(bench: Bench) -> None:
    (bench.folder / ".venv").mkdir()
    with pytest.raises(LaunchError) as refused:
        bench.start(bench.launch("pyhton"))
    assert str(refused.value) == "the command 'pyhton' is not in the workload's environment (PATH=/usr/bin:/bin)."


def test_a_file_that_cannot_be_executed_is_told_with_the_systems_reason(bench: Bench) -> None:
    program = bench.folder / "program"
    program.write_text("no program")
    program.chmod(0o755)
    running = bench.start(bench.launch("./program"))
    with pytest.raises(LaunchError) as refused:
        end(running)
    reason = f"[Errno 8] Exec format error: '{bench.folder / 'program'}'"
    assert str(refused.value) == f"the command could not be executed: {reason}"


def test_a_process_tree_over_its_memory_is_killed_and_its_peak_is_told(bench: Bench) -> None:
    source = STUBBORN + "import subprocess, sys, time\nblock = bytearray(150 << 20)\nwhile True: time.sleep(1)"
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {source!r}])"
    outcome = end(bench.python(parent, memory=100 << 20, grace=PATIENCE))
    assert outcome.stopped is Stopped.OUT_OF_MEMORY
    assert 100 << 20 <= outcome.usage.memory < 400 << 20


def test_a_process_under_its_memory_limit_is_left_alone_and_its_peak_is_told(bench: Bench) -> None:
    source = "import time\nblock = bytearray(60 << 20)\nPath = __import__('pathlib').Path\nPath('ready').touch()\n"
    running = bench.python(source + "while not Path('go').exists(): time.sleep(0.01)", memory=1 << 30)
    bench.ready()
    (bench.folder / "go").touch()
    outcome = end(running)
    assert (outcome.exit_code, outcome.stopped) == (0, None)
    assert outcome.usage.memory > 60 << 20


def test_cpu_seconds_cover_what_the_process_and_its_children_used(bench: Bench) -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    outcome = end(bench.python(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])\n{burn}"))
    assert 0.55 < outcome.usage.cpu_seconds < 6


def test_cpu_seconds_cover_what_a_process_started_and_never_waited_for(bench: Bench) -> None:
    source = """
import os, time
read, write = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        while time.process_time() < 0.5: pass
    os._exit(0)
os.wait()
os.close(write)
os.read(read, 1)
"""
    outcome = end(bench.python(source))
    assert (outcome.exit_code, outcome.usage.cpu_seconds > 0.45) == (0, True), outcome


def test_a_supervisor_ends_when_it_is_let_go_with_all_that_it_held(bench: Bench) -> None:
    assert end(bench.python("")).exit_code == 0
    supervisor = bench.started[-1].supervisor
    FORK_SERVER.finish()
    # Its pipes close a moment before it is gone.
    until(lambda: not alive(supervisor), "it had ended")
    assert _marked(f"BULKHEAD_LAUNCH={bench.scratch}".encode()) == []


def test_a_supervisor_that_nobody_lets_go_ends_soon(bench: Bench) -> None:
    assert end(bench.python("")).exit_code == 0
    supervisor = bench.started[-1].supervisor
    until(lambda: not alive(supervisor), "it had ended")
    assert _marked(f"BULKHEAD_LAUNCH={bench.scratch}".encode()) == []


def test_a_hundred_steps_hold_no_pipe_of_those_that_have_ended(bench: Bench) -> None:
    assert end(bench.python("")).exit_code == 0
    FORK_SERVER.finish()
    before = open_files(os.getpid())
    for _ in range(100):
        assert end(bench.start(bench.launch("/bin/true"))).exit_code == 0
    held = open_files(os.getpid()) - before
    FORK_SERVER.finish()
    assert (held <= 130, open_files(os.getpid())) == (True, before)


def test_stop_lets_a_process_end_by_itself_on_an_interrupt(bench: Bench) -> None:
    source = textwrap.dedent("""
        import time
        from pathlib import Path
        try:
            Path('ready').touch()
            while True: time.sleep(1)
        except KeyboardInterrupt:
            raise SystemExit(7)
    """)
    running = bench.python(source, grace=PATIENCE)
    bench.ready()
    running.stop()
    assert end(running).exit_code == 7


def test_stop_kills_a_process_that_ignores_interrupt_and_terminate(bench: Bench) -> None:
    running = bench.python(STUBBORN + WAITS)
    bench.ready()
    running.stop()
    assert end(running).signal == signal.SIGKILL


def test_stop_kills_a_daemon_in_a_session_of_its_own(bench: Bench) -> None:
    running = bench.python(STUBBORN + DAEMON + WAITS)
    bench.ready()
    daemon = bench.daemon()
    assert alive(daemon)
    assert os.getsid(daemon) != os.getsid(running.supervisor)
    running.stop()
    assert end(running).signal == signal.SIGKILL
    assert not alive(daemon)


def test_a_daemon_left_behind_is_killed_and_counted(bench: Bench) -> None:
    outcome = end(bench.python(DAEMON))
    assert (outcome.exit_code, outcome.left_behind) == (0, 1)
    assert bench.strays() == []
