"""Use more than the contract allows. Each ends by itself somewhere, to spare a machine without limits."""

import contextlib
import os
import subprocess
import sys
import time

from common import run, say
from dagster_pipes import open_dagster_pipes

MEBIBYTE = 1 << 20
BURNS = "import time\nwhile time.process_time() < 3: pass"


def _report() -> None:
    with open_dagster_pipes() as pipes:
        pipes.report_asset_materialization()


def takes_memory_slowly() -> None:
    say("opened", extras={})
    held = []
    for _ in range(60):
        held.append(b"\x01" * (10 * MEBIBYTE))
        time.sleep(0.02)
    _report()


def takes_memory_at_once() -> None:
    say("opened", extras={})
    held = b"\x01" * (1200 * MEBIBYTE)
    time.sleep(1)
    del held
    _report()


def takes_memory_in_children() -> None:
    say("opened", extras={})
    takes = "import time\nheld = b'1' * (40 << 20)\ntime.sleep(5)"
    children = [subprocess.Popen([sys.executable, "-c", takes]) for _ in range(8)]
    for child in children:
        child.wait()
    _report()


def burns_cpu_in_children() -> None:
    say("opened", extras={})
    children = [subprocess.Popen([sys.executable, "-c", BURNS]) for _ in range(2)]
    for child in children:
        child.wait()
    _report()


def opens_many_files_in_children() -> None:
    """No process alone holds more than the limit; all together they do."""
    say("opened", extras={})
    opens = "import time\nheld = [open('/dev/null') for _ in range(40)]\ntime.sleep(5)"
    children = [subprocess.Popen([sys.executable, "-c", opens]) for _ in range(4)]
    for child in children:
        child.wait()
    _report()


def floods_its_output() -> None:
    say("opened", extras={})
    with contextlib.suppress(BrokenPipeError):
        for _ in range(64):
            os.write(1, b"x" * MEBIBYTE)
    _report()


if __name__ == "__main__":
    run(globals())
