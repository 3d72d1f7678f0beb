"""Start processes, and try to keep them."""

import os
import signal
import subprocess
import sys
import time

from common import run, say
from dagster_pipes import open_dagster_pipes

SLEEPS = "import time\nwhile True: time.sleep(1)"
STUBBORN = "import signal\nfor n in (2, 15, 1): signal.signal(n, signal.SIG_IGN)\n" + SLEEPS
FORKS = 300


def _report() -> None:
    with open_dagster_pipes() as pipes:
        pipes.report_asset_materialization()


def _forever() -> None:
    while True:
        time.sleep(1)


def leaves_a_daemon() -> None:
    """Fork twice, with a session of its own between, as a daemon does."""
    _report()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _forever()
        os._exit(0)
    os.wait()


def leaves_a_child_in_another_group() -> None:
    _report()
    subprocess.Popen([sys.executable, "-c", STUBBORN], process_group=0)


def hangs() -> None:
    with open_dagster_pipes():
        _forever()


def hangs_and_ignores_every_request_to_end() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    subprocess.Popen([sys.executable, "-c", STUBBORN], start_new_session=True)
    say("opened", extras={})
    _forever()


def stops_itself() -> None:
    say("opened", extras={})
    os.kill(os.getpid(), signal.SIGSTOP)
    _report()


def hangs_after_closing() -> None:
    _report()
    _forever()


def fork_bomb() -> None:
    """Fork until something stops it, or 300 times, to spare a machine without limits."""
    say("opened", extras={})
    refused = 0
    for _ in range(FORKS):
        try:
            if os.fork() == 0:
                time.sleep(20)
                os._exit(0)
        except OSError:
            refused += 1
            time.sleep(0.01)
    _report()


if __name__ == "__main__":
    run(globals())
