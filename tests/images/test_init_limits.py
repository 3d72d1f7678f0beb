"""The limits that the first process of a step's container holds, alone and with the kernel's control groups."""

from pathlib import Path

import pytest

from tests.images.init import MEBIBYTE, NO_GROUP, Bench, bench, program

__all__ = ["bench", "program"]
pytestmark = pytest.mark.engine


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
