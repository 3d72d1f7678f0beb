"""`make conformance`: every case on Dagster's stock client and on Bulkhead, side by side in `docs/conformance.md`."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster

from orchestrator.backends.sandbox import find_sandbox
from tests.conformance.cases import CASES, FLOOD, Case
from tests.conformance.stock import PATIENCE, Stock, run_case
from tests.conformance.suite import DOCKER, SANDBOXED, TEAM, TIERS, make_project, without_numbers
from tests.conftest import Ran, engine_answers

ALL = (*CASES, FLOOD)
HEAD = """# Conformance

What comes of each case on Dagster's stock `PipesSubprocessClient` and on Bulkhead. `make conformance` runs them all and
writes this page; the cases are in `tests/conformance/cases.py`, their programs in `tests/workloads`. The stock client
ran under dagster {version}, with the same assets and checks and the same number of retries.

*Right* means: the colour of the step is what it should be, the record holds what was truly reported and nothing else, the
step was tried as often as its failure deserves, and no process was left running. What an error explains is not judged;
it is in the table. *Never ends*: still there after {patience:.0f} s, and ended by hand.

The stock client has no limits, no timeouts and no result files. The rows about those run there without them and count
by the same rule, so the count says what a user of each gets, and is no count of faults. The script that leaves a link is
red there by coincidence: nothing tells it where a result would go.

{tiers}

Stock is right in {right} of {count} cases.

| the workload | stock | right | Bulkhead |
|---|---|---|---|
"""
WIDTH = 150


def main(target: Path) -> int:
    """Run all cases everywhere and write the page; return 1 if a tier of Bulkhead is not as the cases say."""
    tiers = [tier for tier in TIERS if tier != SANDBOXED or find_sandbox().bwrap]
    tiers = [tier for tier in tiers if tier != DOCKER or engine_answers()]
    with ThreadPoolExecutor(2) as pool:
        stock = dict(zip(ALL, pool.map(_with_progress, ALL), strict=True))
    ours = {tier: _run_ours(tier) for tier in tiers}
    wrong = [
        f"{tier}: {case.name}: {text}" for tier in tiers for case, text in ours[tier].items() if text != expected(case)
    ]
    for line in wrong:
        print(f"NOT AS EXPECTED  {line}", file=sys.stderr)
    right = sum(found.agrees(case) for case, found in stock.items())
    which = f"Bulkhead ran on {len(tiers)} tiers ({'; '.join(tiers)}), with the same results on each."
    rows = [row(case, stock[case], ours[tiers[0]][case]) for case in ALL]
    head = HEAD.format(patience=PATIENCE, version=dagster.__version__, tiers=which, right=right, count=len(ALL))
    target.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")
    print(f"{target}: stock right in {right} of {len(ALL)}, Bulkhead as expected in {len(ALL) * len(tiers) - len(wrong)} of "
          f"{len(ALL) * len(tiers)}")  # fmt: skip
    return 1 if wrong else 0


def expected(case: Case) -> str:
    """Return what the page says of a case on Bulkhead."""
    return _said(not case.verdict, case.verdict, case.kept, dict(case.checks), case, case.attempts, 0)


def row(case: Case, stock: Stock, ours: str) -> str:
    """Return a case's line of the table."""
    theirs = _said(stock.green, stock.error, stock.materialized, stock.checks, case, stock.attempts, stock.left)
    return f"| {case.what} | {theirs} | {'yes' if stock.agrees(case) else 'no'} | {ours} |"


def _run_ours(tier: str) -> dict[Case, str]:
    folder = Path(tempfile.mkdtemp(prefix="bulkhead-conformance-"))
    project = make_project(folder, tier, ALL)
    try:
        ran = project.run(f"{TEAM}_job", BULKHEAD_MAX_CONCURRENT="4")
        left = len(project.processes())
        return {case: _of_ran(ran, case, left) for case in ALL}
    finally:
        project.close()
        shutil.rmtree(folder)


def _of_ran(ran: Ran, case: Case, left: int) -> str:
    failures = ran.named("STEP_FAILURE", step=case.name)
    error = without_numbers(failures[-1]["error"].splitlines()[0]) if failures else ""
    checks = {e["check"]: e["passed"] for e in ran.named("ASSET_CHECK_EVALUATION", step=case.name)}
    kept = bool(ran.named("ASSET_MATERIALIZATION", step=case.name))
    attempts = 1 + len(ran.named("STEP_RESTARTED", step=case.name))
    return _said(bool(ran.named("STEP_SUCCESS", step=case.name)), error, kept, checks, case, attempts, left)


def _said(
    green: bool | None, error: str, kept: bool, checks: dict[str, bool], case: Case, attempts: int, left: int
) -> str:
    """Return colour, error and record in one cell."""
    colour = {True: "green", False: "red", None: "never ends"}[green]
    return "; ".join([f"{colour}: {_code(error)}" if error else colour, *_notes(kept, checks, case, attempts, left)])


def _notes(kept: bool, checks: dict[str, bool], case: Case, attempts: int, left: int) -> Iterator[str]:
    if kept != case.kept:
        yield "asset lost" if case.kept else "asset on record"
    for name, passed in case.checks.items():
        if checks.get(name) != passed:
            yield f"check {name} {'lost' if name not in checks else 'wrong'}"
    if attempts > 1:
        yield f"tried {attempts} times"
    if left:
        yield f"{left} process{'es' if left > 1 else ''} left"


def _code(error: str) -> str:
    text = " ".join(error.split()).replace("|", "\\|").replace("`", "'")
    text = text.removeprefix("dagster._core.errors.")
    return f"`{text if len(text) <= WIDTH else text[: WIDTH - 3] + '...'}`"


def _with_progress(case: Case) -> Stock:
    found = run_case(case)
    print(f"stock  {case.name}", file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
