"""The first process of a step's container: built as the image builds it, and met by workloads that mean it no good."""

import json
import struct
import subprocess
import tarfile
import textwrap
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from tests.conftest import REPOSITORY, needs_engine, wait_for

pytestmark = pytest.mark.engine

IMAGE = "python:3.13-slim-trixie"
RECIPE = REPOSITORY / "workload_images" / "init"
PATIENCE = 120.0
MEBIBYTE = 1 << 20
# As the platform starts every step's container.
HARDENED = (
    "--user=10001:10001",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--network=none",
)
NO_GROUP = ("--tmpfs=/sys/fs/cgroup:ro",)
PRELUDE = """
import ctypes, errno, os, resource, signal, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def python(body): return subprocess.Popen([sys.executable, "-c", body])
def refused(call):
    try: call()
    except OSError as error: return errno.errorcode[error.errno]
    return "allowed"
def system(name, *values):
    if getattr(libc, name)(*values) < 0: raise OSError(ctypes.get_errno(), name)
def daemon(body):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: body()
        os._exit(0)
    os.wait()
def sleep_on():
    while True: time.sleep(60)
"""


@dataclass(frozen=True)
class Ended:
    """What a finished container left: its exit code, its output, the objects in its status file."""

    code: int
    stdout: str
    stderr: str
    said: Sequence[Mapping[str, Any]]

    @property
    def last(self) -> Mapping[str, Any]:
        """Return the last line, after the one that says that the workload was started."""
        assert [set(line) for line in self.said[:-1]] == [{"started"}], self
        return self.said[-1]


@dataclass
class Container:
    """A container that runs, with its status file, which has no name any more."""

    name: str
    process: "subprocess.Popen[str]"
    status: IO[bytes]

    def said(self) -> list[Mapping[str, Any]]:
        """Return the objects in the status file so far."""
        self.status.seek(0)
        return [json.loads(line) for line in self.status.read().splitlines()]

    def until_it_prints(self, line: str) -> None:
        assert self.process.stdout is not None
        for printed in self.process.stdout:
            if printed == f"{line}\n":
                return
        raise AssertionError(f"never printed {line}: {self.end()}")

    def send(self, name: str) -> None:
        subprocess.run(["docker", "kill", f"--signal={name}", self.name], check=True, capture_output=True)

    def end(self, given: str = "") -> Ended:
        """Wait for its end; `given` is what it reads from stdin."""
        stdout, stderr = self.process.communicate(given, timeout=PATIENCE)
        return Ended(self.process.returncode, stdout, stderr, self.said())


@dataclass
class Bench:
    """A place to start containers with bulkhead-init as their first process."""

    program: Path
    folder: Path
    started: list[Container] = field(default_factory=list)

    def start(self, *argv: str, limits: Sequence[str] = (), engine: Sequence[str] = ()) -> Container:
        """Start a container with a command; `limits` are for bulkhead-init, `engine` for the engine."""
        command = ["/run/bulkhead-init", "--status", "/status/status", *limits, "--", *argv]
        return self.start_as(*command, engine=engine)

    def start_as(self, *command: str, engine: Sequence[str] = ()) -> Container:
        """Start a container with a command that names bulkhead-init itself."""
        name = f"bulkhead-init-test-{uuid.uuid4().hex[:12]}"
        folder = self.folder / name
        folder.mkdir()
        (folder / "status").touch()
        for path in (folder, folder / "status"):
            path.chmod(0o777)
        mounts = [f"--volume={self.program}:/run/bulkhead-init:ro", f"--volume={folder}:/status"]
        process = subprocess.Popen(
            ["docker", "run", "--rm", f"--name={name}", *HARDENED, *mounts, *engine, IMAGE, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(Container(name, process, (folder / "status").open("rb")))
        return self.started[-1]

    def python(self, body: str, *limits: str, engine: Sequence[str] = ()) -> Container:
        """Start a container with a Python program."""
        return self.start("python", "-c", PRELUDE + textwrap.dedent(body), limits=limits, engine=engine)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Build the image; return the program, copied out of it."""
    needs_engine()
    tag = f"bulkhead-init-test:{uuid.uuid4().hex[:12]}"
    subprocess.run(["docker", "build", "--quiet", f"--tag={tag}", str(RECIPE)], check=True, timeout=600)
    made = subprocess.run(["docker", "create", tag], check=True, capture_output=True, text=True).stdout.strip()
    try:
        folder = tmp_path_factory.mktemp("image")
        subprocess.run(["docker", "export", f"--output={folder}/files.tar", made], check=True)
        (folder / "config").write_text(
            subprocess.run(["docker", "inspect", tag], check=True, capture_output=True, text=True).stdout
        )
        subprocess.run(["docker", "cp", f"{made}:/bulkhead-init", str(folder)], check=True, capture_output=True)
        yield folder / "bulkhead-init"
    finally:
        subprocess.run(["docker", "rm", made], check=True, capture_output=True)
        subprocess.run(["docker", "rmi", tag], check=True, capture_output=True)


@pytest.fixture
def bench(program: Path, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(program, tmp_path)
    yield made
    for container in made.started:
        if container.process.poll() is None:
            subprocess.run(["docker", "rm", "--force", container.name], capture_output=True)
            container.process.communicate()
        container.status.close()


def test_the_program_needs_no_library_and_no_loader(program: Path) -> None:
    data = program.read_bytes()
    assert data[:5] == b"\x7fELF\x02"
    (at,), (size, count) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<HH", data, 54)
    kinds = {struct.unpack_from("<I", data, at + i * size)[0] for i in range(count)}
    dynamic, interpreter, load = 2, 3, 1
    assert load in kinds
    assert not kinds & {dynamic, interpreter}
    assert len(data) < MEBIBYTE


def test_the_image_holds_the_program_and_nothing_else(program: Path) -> None:
    (config,) = json.loads((program.parent / "config").read_text())
    with tarfile.open(program.parent / "files.tar") as files:
        found = {member.name: member.mode for member in files if member.isfile() and member.size}
    assert list(found) == ["bulkhead-init"]
    assert found["bulkhead-init"] & 0o111 == 0o111
    assert config["Config"]["Labels"]["org.opencontainers.image.title"] == "bulkhead-init"
    assert config["Config"]["Cmd"] == ["/bulkhead-init"]


def test_the_recipe_takes_warnings_for_errors() -> None:
    recipe = (RECIPE / "Dockerfile").read_text()
    assert "-static -s -Wall -Wextra -Werror" in recipe


# How it ends


@pytest.mark.parametrize("code", [0, 3, 137])
def test_an_exit_code_is_told_and_passed_on(bench: Bench, code: int) -> None:
    ended = bench.start("sh", "-c", f"exit {code}").end()
    assert (ended.code, ended.stdout, ended.stderr) == (code, "", "")
    assert ended.said[0] == {"started": True}
    assert (ended.last["exit"], ended.last["left"], ended.last["pids"]) == (code, 0, 1)
    assert set(ended.last) == {"exit", "left", "memory", "cpu", "pids", "open_files"}


@pytest.mark.parametrize("name", ["KILL", "SEGV"])
def test_a_signal_is_told_apart_from_an_exit_code(bench: Bench, name: str) -> None:
    ended = bench.start("sh", "-c", f"kill -{name} $$").end()
    number = {"KILL": 9, "SEGV": 11}[name]
    assert (ended.code, ended.last["signal"]) == (128 + number, number)
    assert "exit" not in ended.last
    assert "broken" not in ended.last


@pytest.mark.parametrize(
    ("program_name", "code", "text"),
    [
        ("no-such-program", 127, "no-such-program: No such file or directory"),
        ("/nowhere/prögram \"x\" \\", 127, "/nowhere/prögram \"x\" \\: No such file or directory"),
        ("/etc/passwd/x", 127, "/etc/passwd/x: Not a directory"),
        ("/etc/passwd", 126, "/etc/passwd: Permission denied"),
        ("/etc", 126, "/etc: Permission denied"),
    ],
)  # fmt: skip
def test_a_program_that_cannot_be_executed_is_said_by_name(
    bench: Bench, program_name: str, code: int, text: str
) -> None:
    ended = bench.start(program_name, "argument").end()
    assert (ended.code, ended.stdout, ended.stderr) == (code, "", "")
    assert ended.said == [{"error": text}]


@pytest.mark.parametrize("start", ["x", "xx"])
def test_a_name_that_is_too_long_is_cut_between_two_characters(bench: Bench, start: str) -> None:
    (line,) = bench.start(start + "ö" * 4000).end().said
    assert line["error"].startswith(f"{start}öö")
    assert line["error"].endswith("ö: File name too long")


def test_a_program_is_looked_up_in_the_path_that_is_given(bench: Bench) -> None:
    assert bench.start("python", "-c", "", engine=["--env=PATH=/bin"]).end().said == [
        {"error": "python: No such file or directory"}
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--pid", "3", "--", "true"), "--pid: no such option, or not with this value"),
        (("--pids", "many", "--", "true"), "--pids: no such option, or not with this value"),
        (("--pids", "-1", "--", "true"), "--pids: no such option, or not with this value"),
        (("--pids",), "--pids: no such option, or not with this value"),
        (("--pids", "3", "--"), "bulkhead-init: no command after --"),
        (("--pids", "3"), "bulkhead-init: no command after --"),
    ],
)
def test_wrong_arguments_are_said_and_nothing_is_started(bench: Bench, arguments: Sequence[str], text: str) -> None:
    ended = bench.start_as("/run/bulkhead-init", "--status", "/status/status", *arguments).end()
    assert (ended.code, ended.stdout, ended.stderr) == (125, "", "")
    assert ended.said == [{"error": text}]


def test_nothing_is_started_without_the_status_file_that_was_asked_for(bench: Bench) -> None:
    ended = bench.start_as("/run/bulkhead-init", "--status", "/status/other", "--", "echo", "started").end()
    assert (ended.code, ended.stdout, ended.stderr, ended.said) == (125, "", "", [])


# What the workload is given


def test_arguments_and_environment_and_stdin_arrive_unchanged(bench: Bench) -> None:
    show = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ), sys.stdin.read()]))"
    arguments = ["", "two words", "'single' \"double\"", "--", "--pids", "pflaume ✓", "line\nbreak", "$HOME", "*"]
    engine = ["--interactive", "--env=EMPTY=", "--env=SPACED=a  b", "--env=UNICODE=ü✓", "--hostname=same"]
    with_init = bench.start("python", "-c", show, *arguments, engine=engine).end("given\n")
    without = bench.start_as("python", "-c", show, *arguments, engine=engine).end("given\n")
    assert with_init.stderr == without.stderr == ""
    assert json.loads(with_init.stdout) == json.loads(without.stdout)
    assert json.loads(with_init.stdout)[0] == arguments
    assert json.loads(with_init.stdout)[2] == "given\n"
    assert "/status" not in with_init.stdout


def test_stdin_that_is_not_given_is_at_its_end(bench: Bench) -> None:
    assert bench.start("python", "-c", "import sys; print(repr(sys.stdin.read()))").end().stdout == "''\n"


def test_what_the_workload_writes_comes_out_and_nothing_else_does(bench: Bench) -> None:
    ended = bench.python(
        "print('out', flush=True)\nprint('err', file=sys.stderr)\nos.kill(os.getpid(), 9)", "--pids", "9"
    ).end()
    assert (ended.stdout, ended.stderr) == ("out\n", "err\n")


def test_the_workload_begins_with_a_session_and_signals_and_limits_of_its_own(bench: Bench) -> None:
    ended = bench.python(
        """
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        print(os.getsid(0) == os.getpid() != 1, os.getpgrp() == os.getpid(), os.getppid())
        print(*(int(status[name], 16) for name in ("SigBlk", "SigPnd", "ShdPnd")))
        print(open("/proc/self/oom_score_adj").read().strip())
        print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NOFILE))
        print(sorted(int(name) for name in os.listdir("/proc/self/fd")))
        """,
        "--open-files",
        "64",
    ).end()
    # The last descriptor is the one that lists them.
    assert ended.stdout.splitlines() == ["True True 1", "0 0 0", "800", "(0, 0) (64, 64)", "[0, 1, 2, 3]"]


def test_ignored_signals_are_not_handed_down(bench: Bench) -> None:
    ended = bench.start_as(
        "sh", "-c", 'trap "" INT TERM USR1; exec /run/bulkhead-init --status /status/status -- grep SigIgn /proc/self/status'
    ).end()  # fmt: skip
    assert ended.stdout == "SigIgn:\t0000000000000000\n"


# What it leaves


def test_a_daemon_is_counted_and_killed(bench: Bench) -> None:
    ended = bench.python("for _ in range(3): daemon(sleep_on)").end()
    assert (ended.code, ended.last["exit"], ended.last["left"]) == (0, 0, 3)
    assert ended.last["pids"] >= 3


def test_children_that_hear_no_signal_are_killed(bench: Bench) -> None:
    ended = bench.python(
        """
        read, write = os.pipe()
        for _ in range(2):
            if os.fork() == 0:
                for number in range(1, 32):
                    if number not in (9, 17, 19): signal.signal(number, signal.SIG_IGN)
                os.write(write, b"d")
                os.kill(os.getpid(), signal.SIGSTOP)
                sleep_on()
        for _ in range(2): os.read(read, 1)
        """
    ).end()
    assert (ended.code, ended.last["exit"], ended.last["left"]) == (0, 0, 2)


def test_orphans_are_reaped_while_the_workload_runs(bench: Bench) -> None:
    ended = bench.python(
        """
        for _ in range(50): daemon(lambda: None)
        def zombies():
            found = 0
            for name in filter(str.isdigit, os.listdir("/proc")):
                try: found += ") Z 1 " in open(f"/proc/{name}/stat").read()
                except OSError: pass
            return found
        while zombies(): time.sleep(0.01)
        print("clean")
        """
    ).end()
    assert (ended.stdout, ended.code, ended.last["left"]) == ("clean\n", 0, 0)


def test_a_flood_of_short_processes_is_lived_through(bench: Bench) -> None:
    ended = bench.python(
        """
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for _ in range(250):
            for _ in range(4):
                if os.fork() == 0:
                    if os.fork() == 0: os._exit(0)
                    os._exit(0)
            time.sleep(0.001)
        while True:
            try: os.wait()
            except ChildProcessError: break
        """,
        "--interval",
        "1",
    ).end()
    assert (ended.code, ended.last["exit"]) == (0, 0)


def test_zombies_of_a_living_parent_are_no_processes_that_run(bench: Bench) -> None:
    ended = bench.python(
        """
        for _ in range(30):
            child = os.fork() or os._exit(0)
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        time.sleep(0.3)
        """,
        "--pids",
        "10",
    ).end()
    assert (ended.code, ended.last["exit"], ended.last["left"]) == (0, 0, 0)
    assert ended.last["pids"] <= 3


# Limits


def test_a_fork_bomb_is_killed(bench: Bench) -> None:
    ended = bench.python(
        """
        while True:
            try: os.fork()
            except OSError: pass
        """,
        "--pids",
        "40",
        engine=["--pids-limit=60"],
    ).end()
    assert (ended.code, ended.last["signal"], ended.last["broken"]) == (137, 9, "pids")
    assert 40 <= ended.last["pids"] <= 60


def test_a_fork_that_the_kernel_refused_between_two_measurements_breaks_the_limit(bench: Bench) -> None:
    ended = bench.python(
        """
        try:
            children = [os.fork() or os._exit(0) for _ in range(100)]
        except OSError as error:
            print(errno.errorcode[error.errno])
        """,
        *("--pids", "8", "--interval", "600000"),
        engine=["--pids-limit=12"],
    ).end()
    assert (ended.code, ended.stdout, ended.last["broken"]) == (137, "EAGAIN\n", "pids")
    assert ended.last["pids"] >= 8


def test_threads_count_as_processes_do_even_if_the_first_has_ended(bench: Bench) -> None:
    ended = bench.python(
        """
        for _ in range(20): threading.Thread(target=time.sleep, args=[60]).start()
        EXIT_THREAD = 60 if os.uname().machine == "x86_64" else 93
        libc.syscall(EXIT_THREAD, 0)
        """,
        "--pids",
        "10",
    ).end()
    assert (ended.code, ended.last["broken"]) == (137, "pids")
    assert 10 < ended.last["pids"] <= 21


def test_open_files_are_counted_over_all_processes(bench: Bench) -> None:
    ended = bench.python(
        """
        body = "import time; files = [open('/dev/null') for _ in range(40)]; time.sleep(60)"
        for child in [python(body) for _ in range(4)]: child.wait()
        """,
        "--open-files",
        "100",
    ).end()
    assert (ended.code, ended.last["broken"]) == (137, "open_files")
    assert 100 < ended.last["open_files"] < 250


def test_open_files_of_a_process_whose_first_thread_has_ended_are_counted(bench: Bench) -> None:
    ended = bench.python(
        """
        files = [open("/dev/null") for _ in range(50)]
        EXIT_THREAD = 60 if os.uname().machine == "x86_64" else 93
        for _ in range(2):
            if os.fork() == 0:
                threading.Thread(target=sleep_on).start()
                libc.syscall(EXIT_THREAD, 0)
        files.clear()
        sleep_on()
        """,
        "--open-files",
        "80",
    ).end()
    assert (ended.code, ended.last["broken"]) == (137, "open_files")


def test_one_process_cannot_open_more_files_than_the_limit(bench: Bench) -> None:
    ended = bench.python(
        """
        files = []
        print(refused(lambda: [files.append(open("/dev/null")) for _ in range(100)]), len(files))
        """,
        "--open-files",
        "64",
    ).end()
    assert (ended.code, ended.stdout) == (0, "EMFILE 61\n")


@pytest.mark.parametrize("group", ["counted by the group", "sampled"])
def test_cpu_time_is_held_over_all_children(bench: Bench, group: str) -> None:
    ended = bench.python(
        """
        body = "import time\\nwhile time.process_time() < 3: pass"
        for child in [python(body) for _ in range(2)]: child.wait()
        """,
        *("--cpu-time", "1"),
        engine=NO_GROUP if group == "sampled" else (),
    ).end()
    assert (ended.code, ended.last["broken"]) == (137, "cpu")
    assert 1 < ended.last["cpu"] < 4


def test_cpu_time_of_children_that_nobody_waits_for_is_held(bench: Bench) -> None:
    ended = bench.python(
        """
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            if os.fork() == 0:
                while time.process_time() < 0.02: pass
                os._exit(0)
            time.sleep(0.03)
        """,
        "--cpu-time",
        "0.5",
    ).end()
    assert (ended.code, ended.last["broken"]) == (137, "cpu")
    assert 0.5 < ended.last["cpu"] < 4


def test_cpu_time_that_is_used_up_between_two_measurements_is_seen_at_the_end(bench: Bench) -> None:
    ended = bench.python("while time.process_time() < 0.4: pass", "--cpu-time", "0.2", "--interval", "600000").end()
    assert (ended.code, ended.last["exit"], ended.last["broken"]) == (137, 0, "cpu")
    assert 0.4 <= ended.last["cpu"] < 3


def test_a_kill_for_memory_is_seen_though_a_parent_lives_through_it(bench: Bench) -> None:
    ended = bench.python(
        """
        child = python("block = bytearray(300 << 20)")
        print(child.wait(), flush=True)
        sleep_on()
        """,
        *("--memory", str(128 * MEBIBYTE)),
        engine=["--memory=128m", "--memory-swap=128m"],
    ).end()
    assert (ended.code, ended.last["signal"], ended.last["broken"]) == (137, 9, "memory")
    assert 100 * MEBIBYTE < ended.last["memory"] <= 128 * MEBIBYTE


def test_a_workload_that_is_itself_killed_for_memory_broke_that_limit(bench: Bench) -> None:
    ended = bench.python(
        "block = bytearray(300 << 20)",
        *("--memory", str(128 * MEBIBYTE)),
        engine=["--memory=128m", "--memory-swap=128m"],
    ).end()
    assert (ended.code, ended.last["signal"], ended.last["broken"]) == (137, 9, "memory")


def test_shared_pages_count_once_where_no_group_counts_memory(bench: Bench) -> None:
    body = """
        block = bytearray(60 << 20)
        for _ in range(4):
            if os.fork() == 0: time.sleep(0.5); os._exit(0)
        for _ in range(4): os.wait()
        """
    ended = bench.python(body, "--memory", str(150 * MEBIBYTE), engine=NO_GROUP).end()
    assert (ended.code, ended.last.get("broken")) == (0, None)
    assert 60 * MEBIBYTE < ended.last["memory"] < 150 * MEBIBYTE


def test_memory_is_held_by_measuring_where_no_group_counts_it(bench: Bench) -> None:
    ended = bench.python(
        """
        body = "import time; block = bytearray(60 << 20); time.sleep(60)"
        for child in [python(body) for _ in range(4)]: child.wait()
        """,
        *("--memory", str(150 * MEBIBYTE)),
        engine=NO_GROUP,
    ).end()
    assert (ended.code, ended.last["broken"]) == (137, "memory")
    assert 150 * MEBIBYTE < ended.last["memory"] < 400 * MEBIBYTE


def test_a_workload_within_all_its_limits_is_left_alone_and_measured(bench: Bench) -> None:
    limits = ["--memory", str(256 * MEBIBYTE), "--cpu-time", "60.5", "--pids", "50", "--open-files", "200"]
    ended = bench.python("block = bytearray(30 << 20)\ntime.sleep(0.3)", *limits).end()
    assert (ended.code, ended.last["exit"], ended.last["left"], ended.last["pids"]) == (0, 0, 0, 1)
    assert "broken" not in ended.last
    assert 30 * MEBIBYTE < ended.last["memory"] < 100 * MEBIBYTE
    assert 3 <= ended.last["open_files"] < 20
    assert 0 < ended.last["cpu"] < 5


def test_a_limit_of_zero_is_none(bench: Bench) -> None:
    limits = ["--memory", "0", "--cpu-time", "0", "--pids", "0", "--open-files", "0"]
    ended = bench.python("time.sleep(0.2)", *limits).end()
    assert (ended.code, "broken" in ended.last, ended.last["open_files"]) == (0, False, 0)


# Control groups of version 2, whose files are stood in for where the engine has version 1


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """Return a folder with the files of a control group of version 2."""
    folder = tmp_path / "group"
    folder.mkdir()
    for name, text in {
        "cgroup.type": "domain\n",
        "cpu.stat": "usage_usec 5000000\nuser_usec 1\n",
        "memory.peak": "1000\n",
        "memory.events": "low 0\nhigh 0\nmax 7\noom 5\noom_kill 3\n",
        "pids.events": "max 4\n",
    }.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("name", "text", "broken"),
    [
        ("cpu.stat", "usage_usec 7000000\nuser_usec 1\n", "cpu"),
        ("memory.events", "low 0\nhigh 0\nmax 7\noom 6\noom_kill 4\n", "memory"),
        ("pids.events", "max 5\n", "pids"),
    ],
)
def test_version_2_is_read_and_what_was_before_does_not_count(
    bench: Bench, group: Path, name: str, text: str, broken: str
) -> None:
    limits = ["--cpu-time", "1.5", "--memory", "100000", "--pids", "20"]
    engine = [f"--volume={group}:/sys/fs/cgroup:ro"]
    container = bench.python("time.sleep(0.3)\nprint('ready', flush=True)\nsleep_on()", *limits, engine=engine)
    container.until_it_prints("ready")
    assert container.said() == [{"started": True}]
    (group / "memory.peak").write_text("77000\n")
    (group / name).write_text(text)
    ended = container.end()
    assert (ended.code, ended.last["broken"], ended.last["memory"]) == (137, broken, 77000)
    assert (ended.last["cpu"] > 1.5) == (broken == "cpu")


# Signals


def test_int_reaches_grandchildren_in_other_sessions(bench: Bench) -> None:
    container = bench.python(
        """
        def handled(number, frame):
            os.write(1, f"{name} {number}\\n".encode())
            os._exit(0)
        def answer():
            signal.signal(signal.SIGINT, handled)
            os.write(1, b"ready\\n")
            sleep_on()
        name = "grandchild"
        daemon(answer)
        time.sleep(0.1)
        name = "workload"
        def last(number, frame):
            time.sleep(0.3)
            handled(number, frame)
        signal.signal(signal.SIGINT, last)
        os.write(1, b"all ready\\n")
        sleep_on()
        """
    )
    container.until_it_prints("ready")
    container.until_it_prints("all ready")
    container.send("INT")
    ended = container.end()
    assert sorted(ended.stdout.splitlines()) == ["grandchild 2", "workload 2"]
    assert (ended.code, ended.last["exit"], ended.last["left"]) == (0, 0, 0)


@pytest.mark.parametrize("name", ["TERM", "HUP", "USR1", "USR2", "QUIT"])
def test_signals_go_on_to_the_workload(bench: Bench, name: str) -> None:
    container = bench.python(
        f"""
        signal.signal(signal.SIG{name}, lambda number, frame: (print(signal.Signals(number).name), sys.exit(7)))
        print("ready", flush=True)
        sleep_on()
        """
    )
    container.until_it_prints("ready")
    container.send(name)
    ended = container.end()
    assert (ended.stdout, ended.code, ended.last["exit"]) == (f"SIG{name}\n", 7, 7)


@pytest.mark.parametrize(("name", "number"), [("INT", 2), ("TERM", 15)])
def test_a_workload_that_has_stopped_itself_ends_when_told(bench: Bench, name: str, number: int) -> None:
    container = bench.start("sh", "-c", "kill -STOP $$")

    def stopped() -> bool:
        top = ["docker", "top", container.name, "-o", "pid,stat,args"]
        return any(
            line.split()[1].startswith("T")
            for line in subprocess.run(top, capture_output=True, text=True).stdout.splitlines()
        )

    wait_for(stopped, "the workload stopped itself")
    assert container.said() == [{"started": True}]
    container.send(name)
    ended = container.end()
    assert (ended.code, ended.last["signal"]) == (128 + number, number)


# What a workload tries against it


def test_a_workload_cannot_end_or_stop_or_open_it(bench: Bench) -> None:
    ended = bench.python(
        """
        for number in (9, 19, 11, 6, 31): os.kill(1, number)
        for path in ("fd", "fd/3", "fdinfo", "environ", "mem", "maps", "root", "cwd", "map_files"):
            opens = lambda: os.close(os.open(f"/proc/1/{path}", os.O_RDONLY))
            print(path, refused(opens), refused(lambda: os.listdir(f"/proc/1/{path}")))
        for number in range(10):
            for way in (os.O_RDONLY, os.O_WRONLY):
                assert refused(lambda: os.open(f"/proc/1/fd/{number}", way)) == "EACCES"
        ATTACH, SEIZE = 16, 0x4206
        print(refused(lambda: system("ptrace", ATTACH, 1, 0, 0)), refused(lambda: system("ptrace", SEIZE, 1, 0, 0)))
        PIDFD_GETFD = 438
        watched = os.pidfd_open(1)
        print({refused(lambda: system("syscall", PIDFD_GETFD, watched, number, 0)) for number in range(10)})
        signal.pidfd_send_signal(watched, 9)
        print("lives", os.getppid())
        sys.exit(5)
        """
    ).end()
    *opened, traced, taken, lives = ended.stdout.splitlines()
    assert all(set(line.split()[1:]) <= {"EACCES", "EPERM", "ENOTDIR"} for line in opened), opened
    assert (len(opened), traced, taken, lives) == (9, "EPERM EPERM", "{'EPERM'}", "lives 1")
    assert (ended.code, ended.last["exit"]) == (5, 5)


def test_a_workload_that_floods_it_with_signals_changes_nothing(bench: Bench) -> None:
    ended = bench.python(
        """
        for number in (1, 2, 3, 10, 12, 15): signal.signal(number, signal.SIG_IGN)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            for number in (1, 2, 3, 10, 12, 15, 17, 18, 34, 40, 64): os.kill(1, number)
        """,
        *("--cpu-time", "1"),
    ).end()
    assert (ended.code, ended.last["broken"]) == (137, "cpu")


def test_the_status_file_has_no_name_that_a_workload_could_write_to(bench: Bench) -> None:
    container = bench.python(
        """
        print(os.listdir("/status"))
        with open("/status/status", "w") as forged: forged.write('{"exit": 0}')
        os.replace("/status/status", "/status/other")
        os.symlink("/status/other", "/status/status")
        sys.exit(6)
        """
    )
    ended = container.end()
    assert (ended.stdout, ended.code, ended.last["exit"], len(ended.said)) == ("[]\n", 6, 6, 2)


def test_a_workload_that_takes_its_open_files_away_is_killed(bench: Bench) -> None:
    ended = bench.python(
        "resource.prlimit(1, resource.RLIMIT_NOFILE, (3, 3))\nsleep_on()", *("--pids", "40", "--open-files", "100")
    ).end()
    assert (ended.code, ended.last["broken"]) == (137, "open_files")


def test_a_workload_that_silences_it_does_not_end_well(bench: Bench) -> None:
    ended = bench.python("resource.prlimit(1, resource.RLIMIT_FSIZE, (0, 0))").end()
    assert (ended.code, ended.said) == (125, [{"started": True}])


def test_files_of_a_process_that_cannot_be_looked_into_count_where_the_kernel_tells_their_number(bench: Bench) -> None:
    ended = bench.python(
        """
        files = [open("/dev/null") for _ in range(50)]
        DUMPABLE = 4
        libc.prctl(DUMPABLE, 0)
        for _ in range(3): os.fork() or sleep_on()
        time.sleep(0.5)
        print(os.stat(f"/proc/1/fd").st_size)
        """,
        *("--open-files", "100"),
    ).end()
    told = ended.stdout != "0\n"
    assert ended.last.get("broken") == ("open_files" if told else None)


# Not as the first process


def test_as_another_process_it_ends_what_the_workload_started_and_nothing_else(bench: Bench) -> None:
    ended = bench.start_as(
        "sh",
        "-c",
        """
        sleep 60 & other=$!
        /run/bulkhead-init --status /status/status --pids 20 -- sh -c 'sleep 60 & setsid setsid sleep 60 & sleep 0.3; exit 4'
        echo $?
        kill -0 $other && echo lives
        for process in /proc/[0-9]*; do tr '\\0' ' ' < $process/cmdline | grep '^sleep'; done
        """,
    ).end()
    assert ended.stdout.splitlines() == ["4", "lives", "sleep 60 "]
    assert (ended.last["exit"], ended.last["left"]) == (4, 2)
    assert ended.last["pids"] >= 3


@pytest.mark.parametrize(
    ("body", "broken"),
    [
        ("for _ in range(20): daemon(sleep_on)\nsleep_on()", "pids"),
        ("for _ in range(2): daemon(lambda: exec('while True: pass'))\nsleep_on()", "cpu"),
        ("files = [open('/dev/null') for _ in range(50)]\nfor _ in range(3): daemon(sleep_on)\nsleep_on()", "open_files"),
        ("for _ in range(3): daemon(lambda: (bytearray(60 << 20), sleep_on()))\nkept = bytearray(160 << 20)\nsleep_on()", "memory"),
    ],
)  # fmt: skip
def test_as_another_process_it_holds_the_limits_too(bench: Bench, body: str, broken: str) -> None:
    limits = ["--pids", "15", "--cpu-time", "2", "--open-files", "120", "--memory", str(150 * MEBIBYTE)]
    ended = bench.python(body, *limits, engine=["--init"]).end()
    assert (ended.code, ended.last["broken"]) == (137, broken)


def test_as_another_process_it_passes_signals_on(bench: Bench) -> None:
    container = bench.python(
        """
        daemon(lambda: (signal.signal(15, lambda *_: (os.write(1, b"heard\\n"), os._exit(0))), os.write(1, b"ready\\n"), sleep_on()))
        signal.signal(15, lambda *_: (time.sleep(0.3), sys.exit(9)))
        time.sleep(0.3)
        print("all ready", flush=True)
        sleep_on()
        """,
        engine=["--init"],
    )  # fmt: skip
    container.until_it_prints("all ready")
    container.send("TERM")
    ended = container.end()
    assert (ended.stdout, ended.code, ended.last["exit"], ended.last["left"]) == ("heard\n", 9, 9, 0)


# Under load


def test_ten_containers_at_once_each_end_as_they_should(bench: Bench) -> None:
    bodies = ["daemon(sleep_on)\nsys.exit(3)", "while True:\n    try: os.fork()\n    except OSError: pass"] * 5

    def run(body: str) -> Ended:
        return bench.python(body, "--pids", "40", engine=["--pids-limit=60"]).end()

    with ThreadPoolExecutor(len(bodies)) as pool:
        ends = list(pool.map(run, bodies))
    assert [(end.code, end.last.get("broken"), end.last["left"]) for end in ends] == [
        (3, None, 1),
        (137, "pids", 0),
    ] * 5
    assert all(len(container.said()) == 2 for container in bench.started)


# Told on its stdin

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
