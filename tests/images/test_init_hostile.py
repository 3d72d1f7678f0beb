"""The first process of a step's container, met by workloads that mean it no good."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.images.init import MEBIBYTE, Bench, Ended, bench, program

__all__ = ["bench", "program"]
pytestmark = pytest.mark.engine


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
