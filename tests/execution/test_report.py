"""What a workload says, taken strictly: a message that does not fit is a violation, and nothing raises."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.execution.report import (
    MAX_VIOLATIONS,
    Asked,
    CheckReport,
    CustomMessage,
    LogLine,
    Materialization,
    Report,
    StreamText,
)

ASKED = Asked(
    assets=["a"],
    checks=[("a", "good")],
    declared_assets=frozenset({"a", "b"}),
    declared_checks=frozenset({("a", "good"), ("b", "fine")}),
    blocking=frozenset({("a", "good")}),
)
MATERIALIZED = "report_asset_materialization"
CHECKED = "report_asset_check"


def message(method: str, **params: Any) -> bytes:
    return json.dumps({"__dagster_pipes_version": "0.1", "method": method, "params": params}).encode()


@pytest.fixture
def report() -> Report:
    """Return a report whose Pipes session is open."""
    opened = Report(ASKED)
    assert opened.take(message("opened")) is None
    return opened


def test_a_session_that_opens_reports_and_closes_has_no_violation(report: Report) -> None:
    metadata = {"rows": {"raw_value": 3, "type": "int"}}
    event = report.take(message(MATERIALIZED, asset_key="a", metadata=metadata, data_version="v1"))
    assert isinstance(event, Materialization)
    assert (event.asset_key, event.data_version) == ("a", "v1")
    checked = report.take(message(CHECKED, asset_key="a", check_name="good", passed=False, severity="WARN"))
    assert isinstance(checked, CheckReport)
    assert (checked.passed, checked.severity) == (False, "WARN")
    assert report.take(message("closed")) is None
    assert (report.opened, report.closed, report.exception, report.violations) == (True, True, None, [])
    assert report.materialized == {"a": event}
    assert report.checked == {("a", "good"): checked}


def test_logs_streams_and_custom_messages_are_passed_on(report: Report) -> None:
    assert report.take(message("log", message="hi", level="WARNING")) == LogLine(message="hi", level="warning")
    assert report.take(message("log_external_stream", stream="stderr", text="x", extras={})) == StreamText(
        stream="stderr", text="x", extras={}
    )
    assert report.take(message("report_custom_message", payload=[1])) == CustomMessage(payload=[1])
    assert report.violations == []


def test_what_is_declared_and_was_not_asked_for_is_let_pass_unrecorded(report: Report) -> None:
    assert report.take(message(MATERIALIZED, asset_key="b")) is None
    assert report.take(message(CHECKED, asset_key="b", check_name="fine", passed=True)) is None
    assert report.violations == []


def test_the_exception_of_the_workload_is_kept_with_its_cause(report: Report) -> None:
    cause = {"message": "inner", "stack": [], "name": "KeyError", "cause": None, "context": None}
    outer = {"message": "outer", "stack": ["line\n"], "name": "ValueError", "cause": cause, "context": None}
    report.take(message("closed", exception=outer))
    assert report.exception is not None
    assert (report.exception.name, report.exception.message, report.exception.stack) == (
        "ValueError",
        "outer",
        ["line\n"],
    )
    assert report.exception.cause is not None
    assert report.exception.cause.name == "KeyError"


@pytest.mark.parametrize(
    ("line", "violation"),
    [
        (b"Downloading: 100%", "line 2 of its messages is not JSON: 'Downloading: 100%'"),
        (b"\xff" * 90, "line 2 of its messages is not JSON: " + repr("\\xff" * 80) + "..."),
        (b"[" * 99999, "line 2 of its messages is not JSON: " + repr("[" * 80) + "..."),
        (b"[1]", "line 2 of its messages is not a Pipes message: '[1]'"),
        (b'{"method": 3}', "line 2 of its messages is not a Pipes message: '{\"method\": 3}'"),
        (b'{"method": "log"}', "line 2 of its messages carries no protocol version: '{\"method\": \"log\"}'"),
        (message("opened"), "opened Pipes twice"),
        (message("report_everything"), "sent a message with the unknown method 'report_everything'"),
        (message(MATERIALIZED), f"sent a malformed '{MATERIALIZED}': asset_key: Field required"),
        (message(MATERIALIZED, asset_key=3),
         f"sent a malformed '{MATERIALIZED}': asset_key: Input should be a valid string"),
        (message(MATERIALIZED, asset_key="a", more=1),
         f"sent a malformed '{MATERIALIZED}': more: Extra inputs are not permitted"),
        (message(CHECKED, asset_key="a", check_name="good", passed="yes"),
         f"sent a malformed '{CHECKED}': passed: Input should be a valid boolean"),
        (message(CHECKED, asset_key="a", check_name="good", passed=True, severity="FATAL"),
         f"sent a malformed '{CHECKED}': severity: Input should be 'WARN' or 'ERROR'"),
        (message(MATERIALIZED, asset_key="c"), "reported asset 'c', which its contract does not declare for this step"),
        (message(CHECKED, asset_key="a", check_name="gut", passed=True),
         "reported check 'gut' on 'a', which its contract does not declare for this step"),
        (message("closed", exception=3),
         "sent a malformed 'closed': params: Input should be a valid dictionary or instance of WorkloadException"),
    ],
)  # fmt: skip
def test_a_line_that_does_not_fit_is_a_violation_and_no_event(report: Report, line: bytes, violation: str) -> None:
    assert report.take(line) is None
    assert report.violations == [violation]


def test_a_log_message_of_an_unknown_level_is_a_violation_and_is_still_shown(report: Report) -> None:
    assert report.take(message("log", message="x", level="loud")) == LogLine(message="x", level="info")
    assert report.violations == ["sent a log message with the unknown level 'loud'"]


def test_a_result_reported_twice_counts_the_first_time_only(report: Report) -> None:
    first = report.take(message(CHECKED, asset_key="a", check_name="good", passed=False))
    assert report.take(message(CHECKED, asset_key="a", check_name="good", passed=True)) is None
    report.take(message(MATERIALIZED, asset_key="a"))
    assert report.take(message(MATERIALIZED, asset_key="a")) is None
    assert report.checked == {("a", "good"): first}
    assert report.violations == ["reported check 'good' on 'a' twice", "reported asset 'a' twice"]


def test_a_message_before_opened_is_a_violation() -> None:
    report = Report(ASKED)
    report.take(message(MATERIALIZED, asset_key="a"))
    assert report.violations == [f"sent '{MATERIALIZED}' before 'opened'"]


def test_a_message_after_closed_changes_nothing(report: Report) -> None:
    report.take(message("closed"))
    assert report.take(message(MATERIALIZED, asset_key="a")) is None
    assert report.materialized == {}
    assert report.violations == [f"sent '{MATERIALIZED}' after 'closed'"]


def test_a_flood_of_violations_is_cut(report: Report) -> None:
    for _ in range(MAX_VIOLATIONS + 50):
        report.take(b"x")
    assert len(report.violations) == MAX_VIOLATIONS + 1
    assert report.violations[-1] == "and more of the kind"


def test_half_a_surrogate_pair_is_replaced_and_a_whole_one_is_kept(report: Report) -> None:
    line = b'{"__dagster_pipes_version": "0.1", "method": "log", "params": {"message": "\\udcff \\ud83d\\ude00"}}'
    assert report.take(line) == LogLine(message="? \U0001f600", level="info")
    assert report.violations == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
METHODS = st.sampled_from(
    ["opened", "closed", "log", "log_external_stream", "report_custom_message", MATERIALIZED, CHECKED]
)
FIELDS = st.sampled_from(
    ["asset_key", "check_name", "passed", "metadata", "message", "level", "text", "exception", "payload"]
)
MESSAGES = st.builds(message, METHODS).map(json.loads)


@given(st.lists(st.binary() | VALUES.map(json.dumps).map(str.encode) | st.builds(
    lambda base, params: json.dumps({**base, "params": params}).encode(),
    MESSAGES, st.dictionaries(FIELDS, st.sampled_from(["a", "good"]) | VALUES) | VALUES), max_size=5))  # fmt: skip
def test_whatever_is_sent_nothing_raises_and_every_event_can_be_stored(lines: list[bytes]) -> None:
    report = Report(ASKED)
    for line in lines:
        event = report.take(line)
        if event is not None:
            json.dumps(event.model_dump(), ensure_ascii=False).encode()
    assert report.lines == len(lines)
    "\n".join(report.violations).encode()
