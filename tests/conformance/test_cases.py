"""Every case, on every tier: the verdict, what was kept, how often it was tried, and that nothing is left.

All cases of a tier run at the same time, in one run: what one of them does must not show in another.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.execution.recording import MAX_LOG_EVENTS
from tests.conformance.cases import CASES, Case
from tests.conformance.conftest import EVERY_TIER
from tests.conformance.suite import DOCKER, TEAM, TIERS, interpreter, make_project, nothing_is_left, without_numbers
from tests.conftest import Project, Ran

NUMBERS = (
    "peak_memory_bytes", "cpu_seconds", "peak_pids", "output_bytes", "queued_seconds", "starting_seconds", "run_seconds",
)  # fmt: skip
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@dataclass(frozen=True)
class Result:
    """What came of all cases on one tier."""

    tier: str
    project: Project
    ran: Ran
    before: set[str]

    def stderr_of(self, step: str) -> bytes:
        with self.project.instance() as instance:
            manager = instance.compute_log_manager
            key = manager.build_log_key_for_run(self.ran.run_id, step)
            return Path(manager.get_captured_local_path(key, "err")).read_bytes()


def groups() -> set[str]:
    """Return the control groups of the suite's steps that exist now."""
    return {str(path) for path in Path("/sys/fs/cgroup").rglob(f"bulkhead-{TEAM}-*")}


@pytest.fixture(scope="module", params=EVERY_TIER)
def result(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Result]:
    project = make_project(tmp_path_factory.mktemp("suite"), request.param)
    before = groups()
    yield Result(request.param, project, project.run(f"{TEAM}_job", BULKHEAD_MAX_CONCURRENT="4"), before)
    project.close()


def lines_of(ran: Ran, case: Case) -> list[str]:
    """Return headline and details of a failure; nothing for a green step."""
    failures = ran.named("STEP_FAILURE", step=case.name)
    if not failures:
        return []
    head = failures[-1]["error"].split("\n\n")[0].splitlines()
    return [without_numbers(line.strip()) for line in head]


def is_about_processes(line: str) -> bool:
    return line.startswith("it left ")


@every_case
def test_the_verdict_is_the_same_everywhere(result: Result, case: Case) -> None:
    """How many processes a killed workload leaves depends on the moment, so those lines are left out."""
    said = [line for line in lines_of(result.ran, case) if not is_about_processes(line)]
    assert said == ([case.verdict, *case.details] if case.verdict else [])
    assert bool(result.ran.named("STEP_SUCCESS", step=case.name)) == (not case.verdict)


@every_case
def test_what_was_truly_reported_is_kept_and_nothing_else(result: Result, case: Case) -> None:
    materialized = result.ran.named("ASSET_MATERIALIZATION", step=case.name)
    assert len(materialized) == (case.attempts if case.kept else 0)
    checks = {e["check"]: e["passed"] for e in result.ran.named("ASSET_CHECK_EVALUATION", step=case.name)}
    assert checks == case.checks


@every_case
def test_a_step_is_tried_as_often_as_its_failure_deserves(result: Result, case: Case) -> None:
    assert 1 + len(result.ran.named("STEP_RESTARTED", step=case.name)) == case.attempts


@every_case
def test_every_failure_says_whose_it_is_what_was_used_and_how_to_see_it_again(result: Result, case: Case) -> None:
    for failed in result.ran.named("STEP_FAILURE", step=case.name):
        assert f"step       {case.name} of team {TEAM} (owned by team:{TEAM})" in failed["error"]
        assert "used       memory " in failed["error"]
        assert (
            f"{interpreter(case)} {case.program} {case.name}" in failed["error"].rpartition("reproduce it by hand:")[2]
        )


@every_case
def test_every_materialization_says_what_its_step_used(result: Result, case: Case) -> None:
    """One that went on record long before its step's end has the rest in an observation."""
    for event in result.ran.named("ASSET_MATERIALIZATION", step=case.name):
        found: dict[str, Any] = dict(event["metadata"])
        if "bulkhead/run_seconds" not in found:
            (later,) = result.ran.named("ASSET_OBSERVATION", step=case.name)
            found |= later["metadata"]
        assert all(found[f"bulkhead/{name}"] >= 0 for name in NUMBERS)
        assert ("bulkhead/exit_code" in found) != ("bulkhead/signal" in found)
        assert found["bulkhead/sandbox"] == TIERS[result.tier]
        assert len(found["bulkhead/contract"]) == 16


def test_nothing_is_left_running_and_nothing_is_left_on_disk(result: Result) -> None:
    assert result.ran.events[-1]["event"] == "RUN_ENDED", result.ran.stderr
    assert nothing_is_left(result.project)
    assert groups() - result.before == set()
    own = [".lock", "dagster", *(["init"] if result.tier == DOCKER else []), "steps"]
    assert sorted(path.name for path in result.project.home.iterdir()) == own


def test_a_daemon_that_a_green_step_leaves_is_killed_without_changing_the_verdict(result: Result) -> None:
    assert result.ran.steps("STEP_SUCCESS").count("leaves_a_daemon") == 1


def test_log_messages_beyond_what_people_can_read_are_in_the_steps_stderr(result: Result) -> None:
    lines = result.stderr_of("hundred_thousand_log_messages").decode().splitlines()
    assert lines == [f"info: line {number}" for number in range(MAX_LOG_EVENTS, 100_000)]


def test_what_a_workload_said_once_cannot_be_taken_back(result: Result) -> None:
    assert result.project.stdout_of(result.ran.run_id, "wipes_its_log") == b"said once\n"


def test_output_that_is_no_text_is_kept_byte_for_byte(result: Result) -> None:
    assert result.project.stdout_of(result.ran.run_id, "invalid_utf_8") == b"caf\xe9 \xff\xfe\xc3(\n"
    assert result.project.stdout_of(result.ran.run_id, "nul_bytes") == b"a\0b\0" * 1000 + b"\n"
    assert result.stderr_of("ten_megabytes_without_a_newline") == b"x" * (10 << 20)
