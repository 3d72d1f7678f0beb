"""What the orchestrator holds in memory while steps run: its own processes, without the workloads."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from tests.bench.jobs import CLEAN, JOB, Steps, environment, write_project
from tests.conftest import BULKHEAD, REPOSITORY

WORKLOAD, STARTER = "waits.py", "starter"
SETTLE, PATIENCE = 2.0, 400.0


def held(folder: Path, running: int) -> dict[str, int]:
    """Return, for each contender, the bytes that the orchestrator holds while so many steps run.

    Pages that several processes share count once (PSS). Workloads do not count, and neither does what a sandbox itself
    consists of (bwrap, the starter), which has a row of its own.
    """
    steps = Steps(running, WORKLOAD)
    write_project(folder / "memory", steps)
    command = [str(BULKHEAD), "run", JOB, "--json"]
    found = {}
    for name, sandbox in (("Bulkhead, sandboxed", "required"), ("Bulkhead, plain", "off")):
        env = environment(folder / "memory", BULKHEAD_SANDBOX=sandbox, BULKHEAD_MAX_CONCURRENT=str(running))
        found[name], around = _measure(command, env, running)
        if around:
            found["its sandboxes"] = around
    spec = json.dumps({"steps": steps.named(), "executor": "multiprocess", "slots": running})
    clean = {name: value for name, value in os.environ.items() if not name.startswith(CLEAN)}
    found["stock multiprocess"], _ = _measure(
        [sys.executable, "-m", "tests.bench.stock", spec, os.devnull], clean, running
    )
    return found


def _measure(command: Sequence[str], env: Mapping[str, str], running: int) -> tuple[int, int]:
    """Return the bytes of the orchestrator, and of the sandboxes' own processes."""
    process = subprocess.Popen(
        command, env=dict(env), cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(process.pid, running)
        time.sleep(SETTLE)
        sizes = {"orchestrator": 0, "sandbox": 0, "workload": 0}
        for one in _tree(process.pid):
            sizes[_kind(one)] += _pss(one)
        return sizes["orchestrator"], sizes["sandbox"]
    finally:
        left = [one for one in _tree(process.pid) if one.pid != process.pid]
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()
        process.wait()
        for one in left:
            with contextlib.suppress(psutil.Error):
                one.kill()


def _wait_for(pid: int, running: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while sum(_kind(one) == "workload" for one in _tree(pid)) < running:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{running} steps never ran at the same time")
        time.sleep(0.5)


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def _kind(process: psutil.Process) -> str:
    try:
        words = [Path(word).name for word in process.cmdline()]
    except psutil.Error:
        return "workload"
    if STARTER in words or "bwrap" in words:
        return "sandbox"
    return "workload" if WORKLOAD in words else "orchestrator"


def _pss(process: psutil.Process) -> int:
    with contextlib.suppress(OSError, psutil.Error), Path(f"/proc/{process.pid}/smaps_rollup").open() as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
    return 0
