"""Steps one after another and side by side: bare processes, Bulkhead with and without sandbox, stock Dagster."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter

from tests.bench.jobs import ENVIRONMENT, Steps, run_bare, run_bulkhead, run_stock, write_project

SLOTS = os.cpu_count() or 1
# Each asset needs its own name with the sdk.
SDK = Steps(40, "fibo_sdk.py", ("10", "{name}"), chained=True)
SCENARIOS: Mapping[str, Steps] = {
    "chain of 10 x fibo(10)": Steps(10, "fibo.py", ("10",), chained=True),
    "chain of 40 x fibo(10)": Steps(40, "fibo.py", ("10",), chained=True),
    "chain of 10 x fibo(33)": Steps(10, "fibo.py", ("33",), chained=True),
    "chain of 40 x fibo(10) with the sdk": SDK,
    f"40 x fibo(10), independent, on {SLOTS} slots": Steps(40, "fibo.py", ("10",)),
}
BARE, PLAIN, SANDBOXED = "bare processes", "Bulkhead, plain", "Bulkhead, sandboxed"
IN_PROCESS, STOCK = "stock in-process", "stock default (multiprocess)"


def run(folder: Path, name: str, repeats: int) -> dict[str, list[float]]:
    """Return, for each contender, seconds from the first step's start to the last one's end; contenders take turns."""
    steps = SCENARIOS[name]
    root, bare = folder / name.replace(" ", "-"), folder / f"bare {name}"
    slots = 1 if steps.chained else SLOTS
    write_project(root, steps)
    bare.mkdir()
    found: dict[str, list[float]] = {}
    for _ in range(repeats):
        found.setdefault(BARE, []).append(run_bare(steps, bare, slots))
        for contender, sandbox in ((PLAIN, "off"), (SANDBOXED, "required")):
            seconds = run_bulkhead(root, BULKHEAD_SANDBOX=sandbox, BULKHEAD_MAX_CONCURRENT=str(slots))
            found.setdefault(contender, []).append(seconds)
        if steps.chained:
            found.setdefault(IN_PROCESS, []).append(run_stock(steps, "in_process", 1))
        if steps is not SDK:
            found.setdefault(STOCK, []).append(run_stock(steps, "multiprocess", slots))
    return found


def bare_python(repeats: int) -> list[float]:
    """Return the seconds of `python -c pass`, in the workloads' environment."""
    found = []
    for _ in range(repeats):
        began = perf_counter()
        subprocess.run([str(ENVIRONMENT / "bin" / "python"), "-c", "pass"], check=True)
        found.append(perf_counter() - began)
    return found


def import_dagster(python: str, repeats: int) -> list[float]:
    """Return the seconds of `import dagster` in a new interpreter."""
    found = []
    for _ in range(repeats):
        began = perf_counter()
        subprocess.run([python, "-c", "import dagster"], check=True)
        found.append(perf_counter() - began)
    return found
