"""Cancelled, or too late, in each phase of a step's life: while it starts, runs, and closes."""

import signal
from pathlib import Path

import pytest

from tests.conformance.cases import CASES, Case
from tests.conformance.suite import TEAM, make_project, nothing_is_left, without_numbers
from tests.conftest import Project, wait_for

BY_NAME = {case.name: case for case in CASES}
LONG = {"timeout": "5m"}
HANGS = Case("hangs", "processes.py", "hangs", step=LONG)
STUBBORN = Case("hangs_and_ignores_every_request_to_end", "processes.py", "ignores INT and TERM", step=LONG)
CLOSED = Case("hangs_after_closing", "processes.py", "does not end", step=LONG)
LATE = Case("hangs", "processes.py", "hangs", step={"start_timeout": "1ms"})


@pytest.mark.parametrize("case", [HANGS, STUBBORN, CLOSED], ids=lambda case: case.name)
def test_a_step_that_is_cancelled_while_it_runs_or_closes_is_gone(tmp_path: Path, tier: str, case: Case) -> None:
    project = make_project(tmp_path, tier, [case])
    running = project.start(f"{TEAM}_job")
    if case is CLOSED:
        running.until("ASSET_MATERIALIZATION")
    else:
        running.until("STEP_START")
        wait_for(lambda: workload_runs(project, case.name), "the workload runs")
    running.process.send_signal(signal.SIGINT)
    ran = running.end()
    assert (ran.code, ran.named("RUN_ENDED")[0]["status"]) == (130, "CANCELED")
    assert bool(ran.named("ASSET_MATERIALIZATION")) == (case is CLOSED)
    assert nothing_is_left(project)


def test_a_step_that_is_cancelled_while_it_starts_is_gone(tmp_path: Path, tier: str) -> None:
    project = make_project(tmp_path, tier, [HANGS])
    running = project.start(f"{TEAM}_job")
    running.until("STEP_START")
    running.process.send_signal(signal.SIGINT)
    ran = running.end()
    assert (ran.code, ran.named("RUN_ENDED")[0]["status"]) == (130, "CANCELED")
    assert nothing_is_left(project)


def test_a_step_that_does_not_start_in_time_is_tried_again_as_a_failure_of_the_infrastructure(
    tmp_path: Path, tier: str
) -> None:
    project = make_project(tmp_path, tier, [LATE])
    ran = project.run(f"{TEAM}_job")
    assert without_numbers(ran.error("hangs").splitlines()[0]) == "infrastructure: it did not start within 1ms"
    assert len(ran.named("STEP_RESTARTED")) == 2
    assert nothing_is_left(project)


def workload_runs(project: Project, name: str) -> bool:
    """Return whether the process of a case's own program is there."""
    for pid in project.processes():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"python") and words[-2:-1] == [name.encode()]:
            return True
    return False
