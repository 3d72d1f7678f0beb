"""`failing_job`: each step ends as its own description in `workloads/showcase/defs.yaml` says, and leaves nothing."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY, Project, Ran

CONTRACT = yaml.safe_load((REPOSITORY / "workloads" / "showcase" / "defs.yaml").read_text())["attributes"]
STEPS: Mapping[str, str] = {step["name"]: step["description"] for step in CONTRACT["steps"]}
MEGABYTE = 1_000_000
# What a description says after its category, and what the first line of the failure says.
HEADLINES = {
    "raises": "workload raised: ValueError: no price for 'plum'",
    "exits_3": "workload exited: code 3",
    "exits_75": "workload exited: code 75 (EX_TEMPFAIL: try again)",
    "never_ends": "timed out: ran longer than its timeout of 3s and was stopped; peak memory <n>",
    "eats_memory": "out of memory: used <n> of the 256Mi its contract allows, and was killed",
    "forks_too_much": "limit exceeded: broke its contract's limit of 40 processes and threads, and was killed; peak <n>",
    "is_killed": "killed by signal: SIGKILL after <n>, peak memory <n>",
    "fails_check": "check failed: blocking check 'rows_are_positive' on 'fails_check' did not pass",
    "reports_undeclared": "contract violated: reported asset 'not_in_the_contract', "
    "which its contract does not declare for this step",
    "reports_nothing": "contract violated: exited 0 without a word: Pipes was never opened, and nothing was reported",
    "writes_garbage": "contract violated: line 3 of its messages is not JSON: 'Segmentation fault (core dumped) {'",
}
STATES = {"succeeds": "STEP_SUCCESS", "fails": "STEP_FAILURE", "skipped": "STEP_NOT_RUN"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("failing") / "a home"


@pytest.fixture(scope="module")
def platform(home: Path) -> Iterator[Project]:
    yield Project(REPOSITORY, home)


@pytest.fixture(scope="module")
def ran(platform: Project) -> Ran:
    return platform.run("failing_job")


def promised(step: str) -> tuple[str, str]:
    """Return (state, what follows it) of a step's description."""
    state, _, rest = STEPS[step].partition(": ")
    return state, rest


def first_line(ran: Ran, step: str) -> str:
    line = ran.error(step).splitlines()[0]
    if step == "eats_memory":
        return re.sub(r"used [0-9.]+Mi", "used <n>", line)
    return re.sub(r"(?<=after )[0-9.]+m?s|(?<=peak memory )[0-9.]+[KM]i|(?<=peak )[0-9]+", "<n>", line)


def test_the_run_fails(ran: Ran) -> None:
    assert (ran.code, ran.stderr, ran.named("RUN_ENDED")[0]["status"]) == (1, "", "FAILURE")


@pytest.mark.parametrize("step", STEPS)
def test_a_step_ends_in_the_state_that_its_description_names(ran: Ran, step: str) -> None:
    ended = {state for state, event in STATES.items() if ran.named(event, step=step)}
    assert ended == {promised(step)[0]}


@pytest.mark.parametrize("step", [step for step in STEPS if promised(step)[0] == "fails"])
def test_a_failure_has_the_category_that_its_description_names_and_says_what_happened(ran: Ran, step: str) -> None:
    (failed,) = ran.named("STEP_FAILURE", step=step)
    assert promised(step)[1].startswith(failed["category"])
    assert first_line(ran, step) == HEADLINES[step]


def test_only_the_step_that_asks_for_another_try_gets_one(ran: Ran) -> None:
    assert ran.steps("STEP_UP_FOR_RETRY") == ["exits_75"]
    assert ran.steps("STEP_RESTARTED") == ["exits_75"]


def test_a_raised_exception_is_shown_with_its_cause_above_it(ran: Ran) -> None:
    lines = [line.strip() for line in ran.error("raises").splitlines()]
    places = [lines.index(wanted) for wanted in (
        "KeyError: 'plum'",
        "The above exception was the direct cause of the following exception:",
        "ValueError: no price for 'plum'",
    )]  # fmt: skip
    assert places == sorted(places)


def test_the_child_that_ignores_int_and_term_is_counted_among_what_was_killed(ran: Ran) -> None:
    assert ran.error("never_ends").splitlines()[1] == "  it left 1 process behind, which was killed"


def test_50_mb_on_stdout_are_all_in_the_steps_own_compute_log(platform: Project, ran: Ran) -> None:
    printed = platform.stdout_of(ran.run_id, "prints_50_mb")
    assert len(printed) == 50 * MEGABYTE + 1
    assert printed.count(b"x") == 25 * MEGABYTE // 100 * 99
    assert printed.endswith(b"." * 25 * MEGABYTE + b"\n")


def test_the_reports_of_failed_steps_are_kept(platform: Project, ran: Ran) -> None:
    from dagster import AssetKey

    with platform.instance() as instance:
        kept = {name: instance.get_latest_materialization_event(AssetKey(name)) is not None for name in STEPS}
    assert {name for name, there in kept.items() if there} == {
        "fails_check", "prints_50_mb", "reports_undeclared", "succeeds", "word_counts", "writes_garbage",
    }  # fmt: skip


def test_no_process_and_no_scratch_folder_is_left(platform: Project, ran: Ran, home: Path) -> None:
    assert ran.code == 1
    assert platform.processes() == []
    assert list((home / "steps").iterdir()) == []


def facts(event: Mapping[str, Any]) -> Any:
    return {key: value for key, value in event["metadata"].items() if not key.startswith("bulkhead/")}


def test_the_three_that_succeed_are_materialized_as_if_they_were_alone(ran: Ran) -> None:
    made = {e["asset"]: facts(e) for e in ran.named("ASSET_MATERIALIZATION") if promised(e["step"])[0] == "succeeds"}
    words = made.pop("word_counts")
    assert made == {"succeeds": {"dagster/row_count": 3}, "prints_50_mb": {"megabytes": 50}}
    assert (words["lines"] > 300, words["words"] > 800) == (True, True)
