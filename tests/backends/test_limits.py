"""The limits of a step, with real processes: over its whole tree, by the kernel's groups and by the watch alone."""

import contextlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from orchestrator.backends.fork_server import FORK_SERVER
from orchestrator.backends.launch import Launch, Outcome, Stopped
from orchestrator.backends.subprocess import RunningProcess, _marked, kill_strays
from orchestrator.backends.supervision.cgroups import PREFIX, Fence, make_fence
from orchestrator.backends.supervision.processes import descendants, outside_pid
from orchestrator.backends.supervision.watch import SAMPLE_SECONDS, Watch
from tests.backends.test_subprocess import INTERPRETER, PATIENCE, STUBBORN, Bench, bench, end, until

__all__ = ["bench"]

PYTHON = f"import os, subprocess, sys, time\nfrom pathlib import Path\nPYTHON = {INTERPRETER!r}\n"
FOREVER = "while True: time.sleep(1)\n"
MEBIBYTE = 1 << 20


# Outside of a sandbox, shared memory is the whole machine's.
only_sandboxed = pytest.mark.parametrize("bench", [True], indirect=True, ids=["sandboxed"])


def needs_groups() -> None:
    """Skip a test where this user may make no control groups, saying so."""
    probe = make_fence(f"test-{uuid4().hex[:8]}", None, None, 1.0)
    if probe is None:
        pytest.skip("NOT RUN: no control groups can be made here")
    probe.remove()


@dataclass
class Limited:
    """Starts steps on a bench, each with a scratch folder, and so control groups, of its own name.

    If not `fenced`, the names of the groups are taken before the step starts, which leaves it to the watch alone.
    """

    bench: Bench
    fenced: bool
    scratches: list[Path] = field(default_factory=list)
    taken: list[Fence] = field(default_factory=list)

    def start(self, source: str, **limits: Any) -> RunningProcess:
        launch = self.bench.launch(INTERPRETER, "-c", PYTHON + textwrap.dedent(source), **limits)
        self.scratches.append(launch.scratch.rename(self.bench.folder / f"test-{uuid4().hex[:8]}"))
        if not self.fenced and (taken := make_fence(self.scratches[-1].name, None, None, 1.0)) is not None:
            self.taken.append(taken)
        return self.bench.start(self._moved(launch))

    def _moved(self, launch: Launch) -> Launch:
        return replace(launch, scratch=self.scratches[-1], messages=self.scratches[-1] / "messages")

    def end(self, source: str, **limits: Any) -> Outcome:
        return end(self.start(source, **limits))

    def strays(self) -> list[int]:
        return [pid for scratch in self.scratches for pid in _marked(f"BULKHEAD_LAUNCH={scratch}".encode())]


@pytest.fixture(params=[True, False], ids=["fenced", "watched"])
def limited(request: pytest.FixtureRequest, bench: Bench) -> Iterator[Limited]:
    if request.param:
        needs_groups()
    made = Limited(bench, request.param)
    yield made
    for running in bench.started:
        FORK_SERVER.kill(running.supervisor)
    for scratch in made.scratches:
        kill_strays(scratch)
    for taken in made.taken:
        taken.remove()


def test_a_step_is_in_groups_of_its_own_where_the_kernel_makes_them(limited: Limited) -> None:
    running = limited.start("Path('ready').touch()\nwhile not Path('go').exists(): time.sleep(0.01)", pids=50)
    limited.bench.ready()
    groups = {Path(f"/proc/{pid}/cgroup").read_text() for pid in descendants(running.supervisor)}
    own = f"/{PREFIX}{limited.scratches[0].name}\n"
    assert {own in text for text in groups} == {limited.fenced}
    assert own not in Path(f"/proc/{running.supervisor}/cgroup").read_text()
    (limited.bench.folder / "go").touch()
    assert end(running).exit_code == 0


def test_more_processes_than_the_limit_are_stopped_and_counted(limited: Limited) -> None:
    outcome = limited.end(
        """
        children = [subprocess.Popen(["sleep", "60"]) for _ in range(20)]
        while True: time.sleep(1)
        """,
        pids=8,
        grace=PATIENCE,
    )
    assert outcome.stopped is Stopped.PIDS
    assert 8 <= outcome.usage.pids <= 22
    assert limited.strays() == []


def test_threads_count_as_processes_do(limited: Limited) -> None:
    outcome = limited.end(
        """
        import threading
        for _ in range(20): threading.Thread(target=time.sleep, args=[60], daemon=True).start()
        while True: time.sleep(1)
        """,
        pids=8,
    )
    assert outcome.stopped is Stopped.PIDS
    assert 8 <= outcome.usage.pids <= 22


def test_a_fork_bomb_is_killed_and_nothing_of_it_is_left(limited: Limited) -> None:
    outcome = limited.end(
        STUBBORN
        + textwrap.dedent("""
        for _ in range(300):
            try:
                child = os.fork()
            except BlockingIOError:
                time.sleep(0.01)
                continue
            if child == 0:
                os.setsid()
                while True: time.sleep(1)
        while True: time.sleep(1)
        """),
        pids=40,
        grace=PATIENCE,
    )
    assert outcome.stopped is Stopped.PIDS
    assert 40 <= outcome.usage.pids <= 301
    assert limited.strays() == []


def test_a_step_under_its_limit_of_processes_is_left_alone(limited: Limited) -> None:
    outcome = limited.end("for child in [subprocess.Popen(['true']) for _ in range(5)]: child.wait()", pids=40)
    assert (outcome.exit_code, outcome.stopped) == (0, None)
    assert 1 <= outcome.usage.pids <= 6


def test_cpu_time_is_held_over_all_children_together(limited: Limited) -> None:
    outcome = limited.end(
        """
        burn = "import time\\nwhile time.process_time() < 0.4: pass"
        for child in [subprocess.Popen([PYTHON, "-c", burn]) for _ in range(20)]: child.wait()
        """,
        cpu_time=2.0,
        grace=PATIENCE,
    )
    assert outcome.stopped is Stopped.CPU_TIME
    assert 2 < outcome.usage.cpu_seconds < 6


def test_cpu_time_of_one_process_is_held(limited: Limited) -> None:
    outcome = limited.end(STUBBORN + "while True: pass", cpu_time=0.3, grace=PATIENCE)
    assert outcome.stopped is Stopped.CPU_TIME
    assert 0.3 < outcome.usage.cpu_seconds < 3


def test_cpu_time_of_children_that_nobody_waits_for_is_held_where_the_kernel_makes_groups(limited: Limited) -> None:
    if limited.fenced:
        outcome = limited.end(
            """
            import signal
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            while True:
                if os.fork() == 0:
                    while time.process_time() < 0.02: pass
                    os._exit(0)
                time.sleep(0.03)
            """,
            cpu_time=0.5,
        )
        assert outcome.stopped is Stopped.CPU_TIME
        assert 0.5 < outcome.usage.cpu_seconds < 5


def test_cpu_time_that_is_used_up_between_two_measurements_is_seen_at_the_end(limited: Limited) -> None:
    outcome = limited.end("while time.process_time() < 0.2: pass", cpu_time=0.1)
    assert outcome.stopped is Stopped.CPU_TIME
    assert 0.1 < outcome.usage.cpu_seconds < 3


def test_open_files_are_held_over_all_processes_together(limited: Limited) -> None:
    outcome = limited.end(
        """
        held = "import time\\nfiles = [open('/dev/null') for _ in range(40)]\\ntime.sleep(60)"
        children = [subprocess.Popen([PYTHON, "-c", held]) for _ in range(4)]
        while True: time.sleep(1)
        """,
        open_files=100,
        grace=PATIENCE,
    )
    assert outcome.stopped is Stopped.OPEN_FILES
    assert 100 < outcome.usage.open_files < 250


def test_one_process_cannot_open_more_files_than_the_limit(limited: Limited) -> None:
    outcome = limited.end(
        """
        files = []
        try:
            while True: files.append(open("/dev/null"))
        except OSError as error:
            print(error.errno, len(files))
        """,
        open_files=64,
    )
    # Stdin, stdout and stderr are open too.
    assert limited.bench.read("stdout") == "24 61\n"
    assert (outcome.exit_code, outcome.stopped) == (0, None)


@pytest.mark.parametrize("stream", [1, 2])
def test_more_output_than_the_limit_is_stopped(limited: Limited, stream: int) -> None:
    outcome = limited.end(
        STUBBORN + f"\nimport os\nwhile True: os.write({stream}, b'x' * 65536)", output=MEBIBYTE, grace=PATIENCE
    )
    assert outcome.stopped is Stopped.OUTPUT
    assert MEBIBYTE < outcome.usage.output < 8 * MEBIBYTE
    log = limited.bench.folder / ("stdout" if stream == 1 else "stderr")
    assert log.stat().st_size == outcome.usage.output


def test_messages_count_as_output(limited: Limited) -> None:
    outcome = limited.end(
        """
        with open(os.environ["BULKHEAD_LAUNCH"] + "/messages", "ab", buffering=0) as file: file.write(bytes(2 << 20))
        while True: time.sleep(1)
        """,
        output=MEBIBYTE,
    )
    assert outcome.stopped is Stopped.OUTPUT
    assert outcome.usage.output == 2 * MEBIBYTE


def test_output_that_breaks_the_limit_at_the_very_end_is_seen(limited: Limited) -> None:
    outcome = limited.end("os.write(1, bytes((1 << 20) + 1))", output=MEBIBYTE)
    assert outcome.stopped is Stopped.OUTPUT
    assert outcome.usage.output == MEBIBYTE + 1


def test_output_up_to_the_limit_is_let_through(limited: Limited) -> None:
    outcome = limited.end("os.write(1, bytes(1 << 20))", output=MEBIBYTE)
    assert (outcome.exit_code, outcome.stopped, outcome.usage.output) == (0, None, MEBIBYTE)


def test_memory_is_held_over_many_small_children_together(limited: Limited) -> None:
    outcome = limited.end(
        """
        block = "import time\\nblock = bytearray(12 << 20)\\ntime.sleep(60)"
        children = [subprocess.Popen([PYTHON, "-c", block]) for _ in range(20)]
        while True: time.sleep(1)
        """,
        memory=100 * MEBIBYTE,
        grace=PATIENCE,
    )
    assert outcome.stopped is Stopped.OUT_OF_MEMORY
    assert 100 * MEBIBYTE <= outcome.usage.memory < 400 * MEBIBYTE
    assert limited.strays() == []


@only_sandboxed
def test_shared_memory_counts_as_memory(limited: Limited) -> None:
    outcome = limited.end(
        """
        block = bytearray(70 << 20)
        with open("/dev/shm/block", "wb") as file: file.write(bytes(70 << 20))
        while True: time.sleep(1)
        """,
        memory=100 * MEBIBYTE,
        grace=PATIENCE,
    )
    assert outcome.stopped is Stopped.OUT_OF_MEMORY
    assert 100 * MEBIBYTE <= outcome.usage.memory < 200 * MEBIBYTE


def test_a_step_within_all_its_limits_is_left_alone_and_measured(limited: Limited) -> None:
    outcome = limited.end(
        "block = bytearray(30 << 20)\nprint('done')\ntime.sleep(0.3)",
        memory=1 << 30, cpu_time=60.0, cores=4.0, pids=50, open_files=200, output=MEBIBYTE,
    )  # fmt: skip
    assert (outcome.exit_code, outcome.stopped) == (0, None)
    assert 30 * MEBIBYTE < outcome.usage.memory < 200 * MEBIBYTE
    assert (outcome.usage.pids, outcome.usage.output) == (1, 5)
    assert 3 <= outcome.usage.open_files < 20
    assert 0 < outcome.usage.cpu_seconds < 10
    assert 0.3 <= outcome.usage.seconds < PATIENCE
    assert 0 < outcome.usage.starting < PATIENCE


def test_cores_slow_a_step_down_where_the_kernel_makes_groups(limited: Limited) -> None:
    if limited.fenced:
        outcome = limited.end("while time.process_time() < 0.5: pass", cores=0.25)
        assert (outcome.exit_code, outcome.stopped) == (0, None)
        assert outcome.usage.seconds > 1.2


def test_the_supervisor_sleeps_while_a_step_is_slow_to_stop(bench: Bench) -> None:
    daemon = "if os.fork() == 0:\n    import signal\n    for n in (2, 15): signal.signal(n, signal.SIG_IGN)\n"
    running = bench.python(PYTHON + daemon + "    Path('ready').touch()\n    time.sleep(60)\ntime.sleep(60)", grace=1.0)
    bench.ready()
    running.stop()
    used = [0.0]
    while running.wait(0.01) is None:
        with contextlib.suppress(OSError, IndexError):
            used.append(own_cpu(running.supervisor))
    assert len(used) > 10
    assert max(used) < 0.5


def own_cpu(pid: int) -> float:
    """Return the cpu seconds of a process without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:13]) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def tree() -> Iterator[Callable[[str], list[int]]]:
    """Start a program; return its process and all below it once it has printed a line."""
    started: list[subprocess.Popen[str]] = []

    def start(source: str) -> list[int]:
        process = subprocess.Popen(
            [sys.executable, "-c", PYTHON + textwrap.dedent(source)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return [process.pid, *descendants(process.pid)]

    yield start
    for process in started:
        for pid in [*descendants(process.pid), process.pid]:
            os.kill(pid, 9)
        process.communicate()


def watch(**limits: float) -> Watch:
    """Return a watch without the kernel's groups."""
    none: dict[str, float | None] = dict.fromkeys(("memory", "cpu", "pids", "open_files", "output"))
    return Watch({**none, **limits}, None, count_shared_memory=False)


NOBODY: frozenset[int] = frozenset()


def test_the_watch_alone_counts_the_memory_of_many_small_children_together(tree: Callable[[str], list[int]]) -> None:
    pids = tree(
        """
        block = "block = bytearray(10 << 20)\\nprint(flush=True)\\nimport time\\ntime.sleep(60)"
        children = [subprocess.Popen([PYTHON, "-c", block], stdout=subprocess.PIPE) for _ in range(10)]
        for child in children: child.stdout.readline()
        print(flush=True)
        time.sleep(60)
        """
    )
    assert len(pids) == 11
    alone = watch(memory=100 * MEBIBYTE)
    alone.sample(pids, NOBODY)
    assert alone.broken == "memory"
    assert 100 * MEBIBYTE < alone.peaks["memory"] < 400 * MEBIBYTE


def test_the_watch_counts_a_page_that_processes_share_once(tree: Callable[[str], list[int]]) -> None:
    pids = tree(
        """
        block = bytearray(50 << 20)
        for _ in range(5):
            if os.fork() == 0: time.sleep(60)
        print(flush=True)
        time.sleep(60)
        """
    )
    assert len(pids) == 6
    alone = watch(memory=150 * MEBIBYTE)
    alone.sample(pids, NOBODY)
    assert alone.broken is None
    assert 50 * MEBIBYTE < alone.peaks["memory"] < 150 * MEBIBYTE


def test_the_watch_counts_memory_that_is_shared_between_processes_and_in_no_file(
    tree: Callable[[str], list[int]],
) -> None:
    pids = tree(
        """
        import mmap
        block = mmap.mmap(-1, 50 << 20)
        block.write(bytes(50 << 20))
        print(flush=True)
        time.sleep(60)
        """
    )
    alone = watch(memory=50 * MEBIBYTE)
    alone.sample(pids, NOBODY)
    assert alone.broken == "memory"


@only_sandboxed
def test_the_watch_counts_what_lies_in_the_shared_memory_of_a_sandbox(bench: Bench) -> None:
    source = "with open('/dev/shm/block', 'wb') as file: file.write(bytes(50 << 20))\nPath('ready').touch()\n"
    running = bench.python(PYTHON + source + FOREVER)
    bench.ready()
    own = outside_pid(3, descendants(running.supervisor))
    assert own is not None
    alone = Watch({**watch().limits, "memory": 50 * MEBIBYTE}, None, count_shared_memory=True)
    alone.sample([own], NOBODY)
    assert alone.broken == "memory"


THREADS = """
import threading
for _ in range(5): threading.Thread(target=time.sleep, args=[60], daemon=True).start()
child = subprocess.Popen(["sleep", "60"])
print(flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(("limit", "broken"), [(6, "pids"), (7, None)])
def test_the_watch_counts_threads_and_processes(
    tree: Callable[[str], list[int]], limit: int, broken: str | None
) -> None:
    pids = tree(THREADS)
    alone = watch(pids=limit)
    alone.sample(pids, NOBODY)
    assert (alone.broken, alone.peaks["pids"]) == (broken, 7)


def test_the_watch_leaves_out_the_processes_of_the_sandbox(tree: Callable[[str], list[int]]) -> None:
    first, *others = tree(THREADS)
    alone = watch(pids=1)
    alone.sample([first, *others], frozenset([first]))
    assert (alone.broken, alone.peaks["pids"]) == (None, 1)


def test_the_watch_counts_the_cpu_time_of_children_that_have_ended(tree: Callable[[str], list[int]]) -> None:
    pids = tree(
        """
        for _ in range(3): subprocess.run([PYTHON, "-c", "import time\\nwhile time.process_time() < 0.2: pass"])
        print(flush=True)
        time.sleep(60)
        """
    )
    assert len(pids) == 1
    alone = watch(cpu=0.5)
    alone.sample(pids, NOBODY)
    assert alone.broken == "cpu"
    assert 0.5 < alone.peaks["cpu"] < 6


def test_the_watch_counts_open_files_if_there_is_a_limit_to_them(tree: Callable[[str], list[int]]) -> None:
    pids = tree("files = [open('/dev/null') for _ in range(40)]\nif os.fork(): print(flush=True)\ntime.sleep(60)")
    for limit, broken, peak in ((80, "open_files", 86), (100, None, 86), (None, None, 0)):
        alone = watch(open_files=limit) if limit else watch()
        alone.sample(pids, NOBODY)
        assert (alone.broken, alone.peaks["open_files"]) == (broken, peak)


def test_the_watch_finds_nothing_of_processes_that_are_gone() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    alone = watch(memory=1, pids=1)
    alone.sample([gone.pid], NOBODY)
    assert (alone.broken, alone.peaks["pids"], alone.peaks["memory"]) == (None, 0, 0)


def test_a_limit_is_broken_above_it_and_the_first_one_stays() -> None:
    alone = watch(output=10, cpu=1.0)
    alone.count_output(10)
    assert alone.broken is None
    alone.count_output(11)
    alone.settle(2.0, 5)
    assert alone.broken == "output"
    assert (alone.peaks["output"], alone.peaks["cpu"]) == (11, 2.0)


def test_what_is_known_when_the_tree_is_gone_counts_too() -> None:
    alone = watch(cpu=1.0)
    alone.settle(1.5, 0)
    assert alone.broken == "cpu"


def test_the_next_measurement_is_due_after_a_pause() -> None:
    alone = watch()
    assert alone.due() == 0
    alone.sample([os.getpid()], NOBODY)
    assert 0 < alone.due() <= max(SAMPLE_SECONDS, PATIENCE)
    until(lambda: alone.due() == 0, "the next measurement was due")
