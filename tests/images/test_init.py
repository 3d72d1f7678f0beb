"""The first process of a step's container: how a workload ends, what it is given, what it leaves, which signals it gets."""

import json
import struct
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import wait_for
from tests.images.init import MEBIBYTE, RECIPE, Bench, bench, program

__all__ = ["bench", "program"]
pytestmark = pytest.mark.engine


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
