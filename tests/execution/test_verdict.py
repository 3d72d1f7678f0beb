"""What makes a step green, and what is said of every other end."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.backends.launch import Limits, Outcome, Stopped, Usage
from orchestrator.execution.report import Asked, Report
from orchestrator.execution.verdict import Category, Verdict, judge, missing_checks

GOOD, ASIDE = ("a", "good"), ("a", "aside")
ASKED = Asked(["a"], [GOOD, ASIDE], frozenset({"a"}), frozenset({GOOD, ASIDE}), frozenset({GOOD}))
LIMITS = Limits(
    timeout=300, start_timeout=60, memory=2**30, cpu_time=90, pids=40, open_files=100, output=2**20
)  # fmt: skip
OPENED, CLOSED = ("opened", {}), ("closed", {})
MADE = ("report_asset_materialization", {"asset_key": "a"})
PEAK = 271 * 2**20


def check(name: str, passed: bool, severity: str = "ERROR") -> tuple[str, dict[str, Any]]:
    params = {"asset_key": "a", "check_name": name, "passed": passed, "severity": severity}
    return "report_asset_check", params


def raised(name: str | None, text: str) -> tuple[str, dict[str, Any]]:
    return "closed", {"exception": {"name": name, "message": text, "stack": []}}


EARNED = [OPENED, MADE, check("good", True), check("aside", True), CLOSED]


def judged(outcome: Outcome, messages: Sequence[tuple[str, dict[str, Any]]] = EARNED) -> Verdict:
    report = Report(ASKED)
    for method, params in messages:
        report.take(json.dumps({"__dagster_pipes_version": "0.1", "method": method, "params": params}).encode())
    return judge(ASKED, outcome, report, LIMITS)


def without(*left_out: Any) -> list[tuple[str, dict[str, Any]]]:
    return [message for message in EARNED if message not in left_out]


def test_a_step_that_exits_0_and_reports_all_that_was_asked_for_is_green() -> None:
    verdict = judged(Outcome(exit_code=0))
    assert verdict == Verdict()
    assert verdict.green


def test_a_check_that_does_not_block_may_fail() -> None:
    assert judged(Outcome(exit_code=0), [OPENED, MADE, check("good", True), check("aside", False), CLOSED]).green


def test_a_green_step_that_left_processes_behind_stays_green() -> None:
    assert judged(Outcome(exit_code=0, left_behind=2)).green


@pytest.mark.parametrize("code", [0, 65])
@pytest.mark.parametrize("severity", ["WARN", "ERROR"])
def test_a_blocking_check_that_did_not_pass_fails_the_step_whatever_its_severity(code: int, severity: str) -> None:
    messages = [OPENED, MADE, check("good", False, severity), check("aside", True), CLOSED]
    headline = "blocking check 'good' on 'a' did not pass"
    assert judged(Outcome(exit_code=code), messages) == Verdict(Category.CHECK_FAILED, headline)


@pytest.mark.parametrize(
    ("messages", "headline", "details"),
    [
        ([], "exited 0 without a word: Pipes was never opened, and nothing was reported", ()),
        ([OPENED], "Pipes was opened and never closed",
         ("asset 'a' was not reported", "check 'good' on 'a' was not reported",
          "check 'aside' on 'a' was not reported")),
        (without(CLOSED), "Pipes was opened and never closed", ()),
        (without(MADE), "asset 'a' was not reported", ()),
        (without(EARNED[2]), "check 'good' on 'a' was not reported", ()),
        (without(EARNED[3]), "check 'aside' on 'a' was not reported", ()),
        ([OPENED, *EARNED], "opened Pipes twice", ()),
        ([*EARNED, MADE], "sent 'report_asset_materialization' after 'closed'", ()),
        (EARNED[1:], "sent 'report_asset_materialization' before 'opened'",
         ("sent 'report_asset_check' before 'opened'",
          "sent 'closed' before 'opened'",
          "exited 0 without a word: Pipes was never opened, and nothing was reported")),
    ],
)  # fmt: skip
def test_an_exit_0_that_was_not_earned_violates_the_contract(
    messages: list[tuple[str, dict[str, Any]]], headline: str, details: tuple[str, ...]
) -> None:
    assert judged(Outcome(exit_code=0), messages) == Verdict(Category.VIOLATED, headline, details)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (1, "code 1"),
        (2, "code 2"),
        (65, "code 65 (EX_DATAERR: the data is wrong)"),
        (127, "code 127 (the command was not found)"),
        (137, "code 137 (as a shell reports SIGKILL)"),
        (255, "code 255"),
    ],
)
def test_an_exit_code_is_decoded_and_is_not_tried_again(code: int, text: str) -> None:
    assert judged(Outcome(exit_code=code)) == Verdict(Category.EXITED, text)


def test_exit_75_asks_to_be_tried_again() -> None:
    assert judged(Outcome(exit_code=75)) == Verdict(Category.EXITED, "code 75 (EX_TEMPFAIL: try again)", retryable=True)


@pytest.mark.parametrize("code", [0, 1])
def test_an_exception_is_told_by_its_type_and_message_whatever_the_exit_code(code: int) -> None:
    verdict = judged(Outcome(exit_code=code), [OPENED, raised("ValueError", "ValueError: no rows\n")])
    assert verdict == Verdict(Category.RAISED, "ValueError: no rows", retryable=True)
    verdict = judged(Outcome(exit_code=code), [OPENED, raised(None, "no rows")])
    assert verdict == Verdict(Category.RAISED, "an exception: no rows", retryable=True)


def test_a_system_exit_is_an_exit_and_no_exception() -> None:
    verdict = judged(Outcome(exit_code=3), [OPENED, raised("SystemExit", "3")])
    assert verdict == Verdict(Category.EXITED, "code 3")


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome(signal=9, usage=Usage(seconds=12.3, memory=PEAK)),
         Verdict(Category.KILLED, "SIGKILL after 12.3s, peak memory 271Mi", (), True)),
        (Outcome(signal=200, usage=Usage(seconds=60)), Verdict(Category.KILLED, "signal 200 after 1m, peak memory 0B", (), True)),
        (Outcome(lost="gone"), Verdict(Category.INFRASTRUCTURE, "the process was lost: gone", (), True)),
        (Outcome(signal=9, stopped=Stopped.TIMED_OUT, usage=Usage(memory=PEAK)),
         Verdict(Category.TIMED_OUT, "ran longer than its timeout of 5m and was stopped; peak memory 271Mi", (), True)),
        (Outcome(signal=9, stopped=Stopped.OUT_OF_MEMORY, usage=Usage(memory=3 * 2**29)),
         Verdict(Category.OUT_OF_MEMORY, "used 1.5Gi of the 1Gi its contract allows, and was killed", (), True)),
        (Outcome(signal=2, stopped=Stopped.CANCELLED, usage=Usage(seconds=3)),
         Verdict(Category.CANCELLED, "stopped after 3s because the run was cancelled")),
        (Outcome(exit_code=0, stopped=Stopped.TIMED_OUT),
         Verdict(Category.TIMED_OUT, "ran longer than its timeout of 5m and was stopped; peak memory 0B", (), True)),
        (Outcome(signal=9, stopped=Stopped.START_TIMED_OUT),
         Verdict(Category.INFRASTRUCTURE, "it did not start within 1m", (), True)),
        (Outcome(signal=9, stopped=Stopped.CPU_TIME, usage=Usage(cpu_seconds=91.4)),
         Verdict(Category.LIMIT_EXCEEDED, "broke its contract's limit of 1m 30s of cpu time, and was killed; peak 1m 31s", (), True)),
        (Outcome(signal=9, stopped=Stopped.PIDS, usage=Usage(pids=43)),
         Verdict(Category.LIMIT_EXCEEDED, "broke its contract's limit of 40 processes and threads, and was killed; peak 43", (), True)),
        (Outcome(exit_code=1, stopped=Stopped.PIDS, usage=Usage(pids=40)),
         Verdict(Category.LIMIT_EXCEEDED, "broke its contract's limit of 40 processes and threads, and was killed; peak 40", (), True)),
        (Outcome(signal=9, stopped=Stopped.OPEN_FILES, usage=Usage(open_files=120)),
         Verdict(Category.LIMIT_EXCEEDED, "broke its contract's limit of 100 open files, and was killed; peak 120", (), True)),
        (Outcome(signal=9, stopped=Stopped.OUTPUT, usage=Usage(output=3 * 2**19)),
         Verdict(Category.LIMIT_EXCEEDED, "broke its contract's limit of 1Mi of output, and was killed; peak 1.5Mi", (), True)),
        (Outcome(exit_code=0, stopped=Stopped.OUTPUT, usage=Usage(output=2**21)),
         Verdict(Category.LIMIT_EXCEEDED, "broke its contract's limit of 1Mi of output, and was killed; peak 2Mi", (), True)),
    ],
)  # fmt: skip
def test_a_process_that_was_ended_is_never_green_even_if_it_reported_everything(
    outcome: Outcome, expected: Verdict
) -> None:
    assert judged(outcome) == expected


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "it left 1 process behind, which was killed"),
        (3, "it left 3 processes behind, which were killed"),
    ],
)
def test_a_failure_also_names_what_was_left_behind_and_the_checks_that_failed(count: int, text: str) -> None:
    verdict = judged(Outcome(exit_code=1, left_behind=count), [OPENED, MADE, check("good", False)])
    assert verdict == Verdict(Category.EXITED, "code 1", (text, "check failed: 'good' on 'a'"))


@pytest.mark.parametrize("stopped", Stopped)
def test_every_way_to_be_stopped_has_a_category_and_a_text(stopped: Stopped) -> None:
    verdict = judged(Outcome(signal=9, stopped=stopped))
    assert verdict.category is not None
    assert "None" not in verdict.headline


LOST = "1.5Ki of its output could not be written to the log: the disk is full"


@pytest.mark.parametrize(
    ("outcome", "messages", "category"),
    [
        (Outcome(exit_code=1), EARNED, Category.EXITED),
        (Outcome(exit_code=0), [OPENED, MADE, check("good", False), check("aside", True), CLOSED], Category.CHECK_FAILED),
        (Outcome(signal=9), EARNED, Category.KILLED),
        (Outcome(signal=9, stopped=Stopped.OUTPUT), EARNED, Category.LIMIT_EXCEEDED),
        (Outcome(signal=9, stopped=Stopped.TIMED_OUT), EARNED, Category.TIMED_OUT),
        (Outcome(lost="gone"), EARNED, Category.INFRASTRUCTURE),
    ],
)  # fmt: skip
def test_a_failure_tells_of_output_that_is_not_in_the_log(
    outcome: Outcome, messages: list[tuple[str, dict[str, Any]]], category: Category
) -> None:
    verdict = judged(replace(outcome, left_behind=1, usage=Usage(output_lost=1536)), messages)
    assert verdict.category is category
    assert verdict.details == ("it left 1 process behind, which was killed", LOST)


def test_output_that_is_not_in_the_log_fails_nothing_by_itself() -> None:
    assert judged(Outcome(exit_code=0, usage=Usage(output_lost=1536))).green


def test_missing_checks_are_those_asked_for_and_not_reported() -> None:
    assert missing_checks(ASKED, Report(ASKED)) == [GOOD, ASIDE]


def test_an_exception_that_says_too_much_is_cut_in_the_headline() -> None:
    verdict = judged(Outcome(exit_code=1), [OPENED, raised("ValueError", "x" * 10_000)])
    assert (len(verdict.headline), verdict.headline[:12], verdict.headline[-4:]) == (500, "ValueError: ", "x...")
