"""The supervisor: what happens to a workload when the platform, or the supervisor itself, is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.backends.subprocess import kill_strays
from tests.backends.test_subprocess import DAEMON, REPOSITORY, STUBBORN, WAITS, Bench, alive, bench, end, until

__all__ = ["bench"]

PLATFORM = """
import sys, time
from pathlib import Path
from tests.backends.test_subprocess import Bench
running = Bench(Path(sys.argv[1]), sys.argv[3] == "True").python(sys.argv[2])
print(running.supervisor, flush=True)
while running.wait(1) is None: pass
"""


def test_the_whole_tree_dies_when_the_platform_is_killed(bench: Bench) -> None:
    platform = subprocess.Popen(
        [sys.executable, "-c", PLATFORM, str(bench.folder), STUBBORN + DAEMON + WAITS, str(bench.sandboxed)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert platform.stdout is not None
        supervisor = int(platform.stdout.readline())
        bench.ready()
        assert len(bench.strays()) == (5 if bench.sandboxed else 2)
    finally:
        platform.kill()
        platform.communicate()
    until(lambda: not bench.strays(), "the tree was gone")
    until(lambda: not alive(supervisor), "its supervisor was gone")


def test_a_killed_supervisor_is_a_lost_process_and_its_strays_are_killed(bench: Bench) -> None:
    running = bench.python(STUBBORN + DAEMON + WAITS)
    bench.ready()
    assert len(bench.strays()) == (5 if bench.sandboxed else 2)
    os.kill(running.supervisor, signal.SIGKILL)
    outcome = end(running)
    assert outcome.lost == "its supervisor was killed from outside; what it had started was looked for and killed"
    assert (outcome.exit_code, outcome.signal) == (None, None)
    until(lambda: not bench.strays(), "the strays were gone")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_meant_for_the_platform_does_not_end_the_supervisor(bench: Bench, number: signal.Signals) -> None:
    source = (
        "import time\nfrom pathlib import Path\nPath('ready').touch()\nwhile not Path('go').exists(): time.sleep(.01)"
    )
    running = bench.python(source)
    bench.ready()
    os.kill(running.supervisor, number)
    assert running.wait(0.1) is None
    (bench.folder / "go").touch()
    assert end(running).exit_code == 0


def test_strays_are_found_by_the_exact_name_of_their_launch(bench: Bench, tmp_path: Path) -> None:
    running = bench.python(WAITS)
    bench.ready()
    assert kill_strays(Path(str(bench.scratch)[:-1])) == 0
    assert running.wait(0.1) is None
    # One of them is found first; the others may be gone by then.
    assert kill_strays(bench.scratch) >= 1
    until(lambda: not bench.strays(), "they were gone")
    assert end(running).exit_code is None
