"""The same cases on Dagster's own `PipesSubprocessClient`: `python -m tests.conformance.stock NAME FILE` runs one.

Each runs in a process of its own, since a case may hang it. The asset and its checks are declared as Bulkhead declares
them; limits, timeouts and retries by category have no counterpart and are left out.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.cases import CASES, FLOOD, Case
from tests.conformance.suite import WORKLOADS, interpreter
from tests.conftest import REPOSITORY

PYTHON = REPOSITORY / "workloads" / "showcase" / ".venv" / "bin" / "python"
MARK = "BULKHEAD_STOCK_CASE"
# A case that hangs is given up; one that may take its time is given more of it.
PATIENCE, LONG_PATIENCE = 20.0, 200.0


@dataclass(frozen=True)
class Stock:
    """What came of a case: `green` is None if it never ended."""

    green: bool | None
    error: str
    materialized: bool
    checks: dict[str, bool]
    attempts: int
    left: int

    def agrees(self, case: Case) -> bool:
        """Return whether colour, record and number of attempts are right, and nothing is left running."""
        colour = self.green is not None and self.green == (not case.verdict)
        kept = (self.materialized, self.checks, self.attempts) == (case.kept, dict(case.checks), case.attempts)
        return colour and kept and self.left == 0


def run_here(case: Case, result: Path) -> None:
    """Materialize a case's asset with the stock client, and write to `result` what is on record."""
    import dagster as dg

    retry = case.step.get("retries")
    attempts = 0

    @dg.multi_asset(
        name=f"step_{case.name}",
        specs=[dg.AssetSpec(case.name)],
        check_specs=[dg.AssetCheckSpec(name, asset=case.name, blocking=True) for name in case.owed],
        retry_policy=dg.RetryPolicy(max_retries=retry["max"]) if retry else None,
    )
    def step(context: dg.AssetExecutionContext, client: dg.PipesSubprocessClient) -> Any:
        nonlocal attempts
        attempts += 1
        command = [str(PYTHON) if interpreter(case) == "python" else "sh", case.program, case.name]
        yield from client.run(command=command, context=context, cwd=str(WORKLOADS)).get_results()

    instance = dg.DagsterInstance.ephemeral()
    done = dg.materialize(
        [step], instance=instance, resources={"client": dg.PipesSubprocessClient()}, raise_on_error=False
    )
    failures = [e for e in done.all_events if e.is_step_failure]
    error = failures[-1].step_failure_data.error if failures else None
    while error is not None and error.cause is not None:
        error = error.cause
    checks = {e.asset_check_evaluation_data.check_name: e.asset_check_evaluation_data.passed
              for e in done.all_events if e.event_type_value == "ASSET_CHECK_EVALUATION"}  # fmt: skip
    materialized = any(e.is_step_materialization for e in done.all_events)
    found = {
        "green": done.success,
        "error": error.message.strip() if error is not None else "",
        "materialized": materialized,
        "checks": checks,
        "attempts": attempts,
    }
    result.write_text(json.dumps(found), encoding="utf-8")


def run_case(case: Case) -> Stock:
    """Run a case on the stock client in a process of its own; kill what it leaves, and count it."""
    mark = f"{case.name}-{os.getpid()}"
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "out").open("w") as out:
        result = Path(folder) / "result.json"
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.conformance.stock", case.name, str(result)],
            cwd=REPOSITORY,
            env={**os.environ, MARK: mark, "PLATFORM_PASSWORD": "hunter2"},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=LONG_PATIENCE if case.step.get("timeout") == "4m" else PATIENCE)
        time.sleep(0.5)
        process.kill()
        process.wait()
        left = _kill_marked(mark)
        if not result.exists():
            return Stock(None, "", False, {}, 1, left)
        return Stock(**json.loads(result.read_text(encoding="utf-8")), left=left)


def _kill_marked(mark: str) -> int:
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
                found += 1
    return found


if __name__ == "__main__":
    run_here(next(case for case in (*CASES, FLOOD) if case.name == sys.argv[1]), Path(sys.argv[2]))
