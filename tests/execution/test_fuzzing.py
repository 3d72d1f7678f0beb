"""Whatever a workload says, nothing raises, no secret comes through, and only what was earned is green."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from orchestrator.backends.launch import Limits, Outcome, Stopped, Usage
from orchestrator.backends.supervision.output import Stream
from orchestrator.backends.supervision.redaction import SHORTEST, Redactor
from orchestrator.execution import messages as message_files
from orchestrator.execution.messages import MessageFile
from orchestrator.execution.report import Asked, Report
from orchestrator.execution.result_file import ResultError, result_messages
from orchestrator.execution.verdict import Category, Verdict, judge

ASKED = Asked(
    assets=["a", "b"],
    checks=[("a", "good"), ("b", "aside")],
    declared_assets=frozenset({"a", "b", "c"}),
    declared_checks=frozenset({("a", "good"), ("b", "aside"), ("c", "good")}),
    blocking=frozenset({("a", "good"), ("c", "good")}),
)
MATERIALIZED, CHECKED = "report_asset_materialization", "report_asset_check"
VERSION = "__dagster_pipes_version"
FUZZING = settings(
    max_examples=300,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)


def line(method: Any, params: Any) -> bytes:
    return json.dumps({VERSION: "0.1", "method": method, "params": params}).encode()


# The rules once more, as plainly as they can be put.

Fits = Callable[[Any], bool]


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_metadata(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and all(is_item(item) for item in value.values()))


def is_item(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"raw_value", "type"} and is_text(value["type"])


def is_exception(value: Any) -> bool:
    """Tell whether a value has the form of an exception. Keys beside the known ones are allowed."""
    if not isinstance(value, dict) or not is_text(value.get("message")):
        return False
    stack, name = value.get("stack", []), value.get("name")
    causes = [value.get("cause"), value.get("context")]
    return (
        isinstance(stack, list)
        and all(is_text(frame) for frame in stack)
        and (name is None or is_text(name))
        and all(cause is None or is_exception(cause) for cause in causes)
    )


def one_of(*values: Any) -> Fits:
    return lambda value: is_text(value) and value in values


def is_level(value: Any) -> bool:
    return is_text(value) and value.lower() in ("debug", "info", "warning", "error", "critical")


FIELDS: Mapping[str, tuple[Mapping[str, Fits], Mapping[str, Fits]]] = {
    MATERIALIZED: (
        {"asset_key": is_text},
        {"metadata": is_metadata, "data_version": lambda value: value is None or is_text(value)},
    ),
    CHECKED: (
        {"asset_key": is_text, "check_name": is_text, "passed": lambda value: isinstance(value, bool)},
        {"severity": one_of("WARN", "ERROR"), "metadata": is_metadata},
    ),
    "log": ({"message": is_text}, {"level": is_level}),
    "log_external_stream": (
        {"stream": one_of("stdout", "stderr"), "text": is_text},
        {"extras": lambda value: value is None or isinstance(value, dict)},
    ),
    "report_custom_message": ({}, {"payload": lambda value: True}),
}


def is_well_typed(method: str, params: Any) -> bool:
    if method in ("opened", "closed"):
        return params is None or isinstance(params, dict)
    if method not in FIELDS or not isinstance(params, dict):
        return False
    required, optional = FIELDS[method]
    known = {**required, **optional}
    return required.keys() <= params.keys() <= known.keys() and all(known[key](params[key]) for key in params)


def parsed(said: bytes) -> tuple[str, Any] | None:
    """Return method and params of a well-formed message. NaN and infinity, which Python writes, count as text."""
    try:
        message = json.loads(said.decode(), parse_constant=str)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or VERSION not in message or not is_text(message.get("method")):
        return None
    method, params = message["method"], message.get("params")
    return (method, params) if is_well_typed(method, params) else None


def reported_as_asked(reported: Sequence[Any], asked: Sequence[Any], declared: frozenset[Any]) -> bool:
    return len(reported) == len(set(reported)) and set(asked) <= set(reported) <= declared


def earned(outcome: Outcome, lines: Sequence[bytes]) -> bool:
    """Tell whether a step that ended so and said this is green."""
    if (outcome.exit_code, outcome.signal, outcome.stopped, outcome.lost) != (0, None, None, None):
        return False
    said = [found for found in map(parsed, lines) if found is not None]
    methods = [method for method, _ in said]
    if len(said) < len(lines) or len(said) < 2 or methods[0] != "opened" or methods[-1] != "closed":
        return False
    if methods.count("opened") != 1 or methods.count("closed") != 1:
        return False
    exception = (said[-1][1] or {}).get("exception")
    if exception is not None and not (is_exception(exception) and exception.get("name") == "SystemExit"):
        return False
    assets = [params["asset_key"] for method, params in said if method == MATERIALIZED]
    checks = {
        (params["asset_key"], params["check_name"]): params["passed"] for method, params in said if method == CHECKED
    }
    return (
        reported_as_asked(assets, ASKED.assets, ASKED.declared_assets)
        and methods.count(CHECKED) == len(checks)
        and reported_as_asked(list(checks), ASKED.checks, ASKED.declared_checks)
        and all(checks[name] for name in ASKED.checks if name in ASKED.blocking)
    )


# What a workload may say, and what becomes of it.

TEXTS = st.text(st.characters(exclude_categories=()), max_size=8)
WORDS = st.sampled_from(
    ["a", "b", "c", "d", "good", "aside", "ERROR", "WARN", "error", "info", "LOUD", "stdout", "opened", "closed", "log",
     MATERIALIZED, CHECKED, "report_custom_message", "report_everything", "SystemExit", "ValueError", "0.1", "yes", ""]
)  # fmt: skip
FIELD_NAMES = st.sampled_from(
    ["method", "params", VERSION, "asset_key", "check_name", "passed", "severity", "metadata", "data_version",
     "message", "level", "stream", "text", "extras", "payload", "exception", "name", "stack", "raw_value", "type"]
)  # fmt: skip
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELD_NAMES | TEXTS, inner, max_size=3),
    max_leaves=6,
)
METADATA = st.none() | st.dictionaries(
    TEXTS, st.fixed_dictionaries({"raw_value": JSON_VALUES, "type": TEXTS}), max_size=2
)
EXCEPTIONS = st.fixed_dictionaries(
    {"message": TEXTS, "stack": st.lists(TEXTS, max_size=2), "name": st.none() | WORDS},
    optional={"cause": st.none(), "context": st.just({"message": "inner", "stack": [], "name": "KeyError"})},
)
GARBAGE = st.one_of(
    st.binary(max_size=40),
    JSON_VALUES.map(json.dumps).map(str.encode),
    st.builds(line, WORDS | JSON_VALUES, JSON_VALUES | st.dictionaries(FIELD_NAMES, JSON_VALUES, max_size=3)),
    st.builds(line, st.just("closed"), st.fixed_dictionaries({"exception": EXCEPTIONS})),
    st.sampled_from([b"", b"[" * 99999, b"1" * 5000, b"\xef\xbb\xbf{}", b'{"a": "\\ud800"}', b"null", b"NaN"]),
)


def made(asset: str, metadata: Any) -> bytes:
    return line(MATERIALIZED, {"asset_key": asset, "metadata": metadata, "data_version": None})


def check(asset: str, name: str, passed: bool, severity: str) -> bytes:
    return line(CHECKED, {"asset_key": asset, "check_name": name, "passed": passed, "severity": severity})


SEVERITIES = st.sampled_from(["WARN", "ERROR"])
ASIDE = st.one_of(
    st.builds(lambda text: line("log", {"message": text, "level": "INFO"}), TEXTS),
    st.builds(lambda text: line("log_external_stream", {"stream": "stderr", "text": text, "extras": {}}), TEXTS),
    st.builds(lambda value: line("report_custom_message", {"payload": value}), JSON_VALUES),
)


@st.composite
def complete(draw: st.DrawFn) -> list[bytes]:
    """Return what a workload says that does all that it was asked for, in any order, with more beside it."""
    said = [made("a", draw(METADATA)), made("b", draw(METADATA)), check("a", "good", True, draw(SEVERITIES))]
    said.append(check("b", "aside", draw(st.booleans()), draw(SEVERITIES)))
    said += draw(st.sampled_from([[], [], [made("c", None)], [check("c", "good", False, "ERROR")]]))
    said += draw(st.lists(ASIDE, max_size=2))
    closing = draw(
        st.sampled_from([None, {}, {"exception": None}, {"exception": {"message": "0", "name": "SystemExit"}}])
    )
    return [line("opened", draw(st.sampled_from([{}, {"extras": {}}]))), *draw(st.permutations(said)), line("closed", closing)]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to every value within a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def change_a_value(draw: st.DrawFn, said: bytes) -> bytes:
    """Return a message in which one value or key is another."""
    try:
        message = json.loads(said)
    except (ValueError, RecursionError):
        return said
    paths = list(places(message))
    if not paths:
        return said
    *way, last = draw(st.sampled_from(paths))
    parent = message
    for part in way:
        parent = parent[part]
    kind = draw(st.sampled_from(["value", "value", "word", "delete", "add"]))
    if kind == "delete":
        del parent[last]
    elif kind == "add" and isinstance(parent, dict):
        parent[draw(FIELD_NAMES)] = draw(JSON_VALUES)
    else:
        parent[last] = draw(WORDS if kind == "word" else JSON_VALUES)
    return json.dumps(message).encode()


@st.composite
def edited(draw: st.DrawFn) -> list[bytes]:
    """Return a complete stream with up to three things done to it."""
    lines = draw(complete())
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(lines) - 1)) if lines else 0
        other = draw(st.integers(0, len(lines)))
        edit = draw(st.sampled_from(["drop", "duplicate", "swap", "truncate", "garbage", "change", "change", "append"]))
        if not lines or edit == "garbage":
            lines.insert(other, draw(GARBAGE))
        elif edit == "append":
            lines.append(draw(ASIDE | GARBAGE))
        elif edit == "drop":
            del lines[at]
        elif edit == "duplicate":
            lines.insert(other, lines[at])
        elif edit == "swap":
            lines[at], lines[other - 1] = lines[other - 1], lines[at]
        elif edit == "truncate":
            lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
        else:
            lines[at] = change_a_value(draw, lines[at])
    return lines


OUTCOMES = st.just(Outcome(exit_code=0)) | st.builds(
    Outcome,
    exit_code=st.none() | st.just(0) | st.integers(-300, 300),
    signal=st.none() | st.integers(-1, 300),
    stopped=st.none() | st.sampled_from(Stopped),
    lost=st.none() | TEXTS,
    left_behind=st.integers(0, 3),
    usage=st.builds(Usage, memory=st.integers(0, 2**60), seconds=st.floats(0, 1e9), output_lost=st.integers(0, 2)),
)


def green(outcome: Outcome, lines: Sequence[bytes]) -> bool:
    report = Report(ASKED)
    for said in lines:
        event = report.take(said)
        if event is not None:
            json.dumps(event.model_dump(), ensure_ascii=False).encode()
    assert report.lines == len(lines)
    verdict = judge(ASKED, outcome, report, Limits())
    assert verdict.green == (not verdict.headline)
    "\n".join([verdict.headline, *verdict.details]).encode()
    return verdict.green


@FUZZING
@given(complete())
def test_a_step_that_says_all_that_it_owes_is_green(lines: list[bytes]) -> None:
    assert earned(Outcome(exit_code=0), lines)
    assert green(Outcome(exit_code=0), lines)


@settings(FUZZING, max_examples=1000)
@given(edited())
def test_an_edited_stream_is_green_if_and_only_if_it_is_earned(lines: list[bytes]) -> None:
    assert green(Outcome(exit_code=0), lines) == earned(Outcome(exit_code=0), lines)


@FUZZING
@given(OUTCOMES, st.one_of(complete(), edited(), st.lists(GARBAGE, max_size=5)))
def test_any_end_with_any_words_is_green_if_and_only_if_it_is_earned(outcome: Outcome, lines: list[bytes]) -> None:
    assert green(outcome, lines) == earned(outcome, lines)


PLAIN = [
    line("opened", {}),
    made("a", None),
    made("b", None),
    check("a", "good", True, "WARN"),
    check("b", "aside", True, "WARN"),
    line("closed", {}),
]


@pytest.mark.parametrize("missing", range(len(PLAIN)))
def test_a_stream_without_one_of_its_messages_is_not_green(missing: int) -> None:
    assert green(Outcome(exit_code=0), PLAIN)
    lines = [*PLAIN[:missing], *PLAIN[missing + 1 :]]
    assert not green(Outcome(exit_code=0), lines)
    assert not earned(Outcome(exit_code=0), lines)


def test_a_process_that_nobody_saw_end_is_not_green() -> None:
    report = Report(ASKED)
    for said in PLAIN:
        report.take(said)
    lost = Verdict(Category.INFRASTRUCTURE, "the process was lost: nobody saw it end", retryable=True)
    assert judge(ASKED, Outcome(), report, Limits()) == lost


@pytest.mark.parametrize("method", ["opened", "closed"])
def test_opened_and_closed_with_params_that_are_no_mapping_are_violations(method: str) -> None:
    report = Report(ASKED)
    for each in ("opened", "closed"):
        report.take(line(each, "x" if each == method else None))
    assert report.violations == [f"sent a malformed '{method}': params: Input should be a valid dictionary"]


# Messages files and result files.

PIECES = st.lists(st.tuples(st.one_of(st.binary(max_size=30), st.sampled_from([b"\n", b"{}\n", b"\r\n", b" \t"])), st.booleans()), max_size=10)  # fmt: skip


@FUZZING
@given(PIECES, st.integers(1, 40))
def test_however_a_messages_file_is_written_and_read_its_lines_come_out_once_and_whole(
    tmp_path: Path, pieces: list[tuple[bytes, bool]], chunk: int
) -> None:
    path = tmp_path / "messages"
    path.unlink(missing_ok=True)
    messages = MessageFile(path)
    got: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch, path.open("ab", buffering=0) as writer:
        patch.setattr(message_files, "CHUNK", chunk)
        for piece, read in pieces:
            writer.write(piece)
            if read:
                got += messages.lines()
        got += messages.lines()
    rest = messages.rest()
    messages.close()
    *whole, last = b"".join(piece for piece, _ in pieces).split(b"\n")
    assert (got, rest) == ([each for each in whole if each.strip()], last.strip())
    assert not (messages.shrunk or messages.too_long)


NAMED = st.dictionaries(TEXTS, JSON_VALUES, max_size=2)
ASSET_RESULTS = st.fixed_dictionaries({}, optional={"metadata": NAMED, "data_version": TEXTS})
CHECK_RESULTS = st.fixed_dictionaries(
    {"asset": WORDS | TEXTS, "name": WORDS | TEXTS, "passed": st.booleans()},
    optional={"severity": SEVERITIES, "metadata": NAMED | st.just({"m": {"raw_value": 1, "type": 2}})},
)
RESULTS = st.fixed_dictionaries(
    {},
    optional={
        "assets": st.dictionaries(WORDS | TEXTS, ASSET_RESULTS, max_size=3),
        "checks": st.lists(CHECK_RESULTS, max_size=3),
        "more": st.just({}),
    },
)


def nested(depth: int) -> bytes:
    return (
        b'{"checks":[{"asset":"a","name":"good","passed":true,"metadata":{"m":' + b"[" * depth + b"]" * depth + b"}}]}"
    )


RESULT_FILES = st.one_of(
    RESULTS.map(json.dumps).map(str.encode),
    st.builds(lambda text, cut: text[:-cut].encode(), RESULTS.map(json.dumps), st.integers(1, 20)),
    JSON_VALUES.map(json.dumps).map(str.encode),
    st.integers(0, 1100).map(nested),
    GARBAGE,
)


@FUZZING
@given(RESULT_FILES, st.none() | st.integers(-1, 2))
def test_any_result_file_becomes_messages_between_opened_and_closed_or_a_reason(
    tmp_path: Path, content: bytes, code: int | None
) -> None:
    (tmp_path / "result").write_bytes(content)
    report, lines, reason = Report(ASKED), [], None
    try:
        for said in result_messages(tmp_path / "result", ASKED, code):
            lines.append(said)
            report.take(said)
    except ResultError as error:
        reason = str(error)
        assert reason.startswith("its result file ")
        reason.encode()
    assert (lines[0], lines[-1]) == (line("opened", {}), line("closed", {}))
    assert not any("not JSON" in violation for violation in report.violations)
    assert reason is None or len(lines) == 2


def test_messages_of_a_result_file_may_be_left_unread(tmp_path: Path) -> None:
    lines = result_messages(tmp_path / "missing", ASKED, 0)
    assert [next(lines), next(lines)] == [line("opened", {}), made("a", {})]
    lines.close()  # type: ignore[attr-defined]


# Secrets.

PRINTABLE = st.characters(exclude_categories=["C", "Zl", "Zp"])
SECRETS = st.one_of(st.text(PRINTABLE, min_size=SHORTEST), st.text("ab*#\n", min_size=SHORTEST, max_size=9)).filter(
    lambda secret: len(secret.strip()) >= SHORTEST
)


AROUND = st.text(max_size=5) | st.text("ab*#\n", max_size=5)


@st.composite
def talk(draw: st.DrawFn) -> tuple[list[str], str]:
    """Return secrets and a text that says them: whole, cut off, overlapping, as JSON and in URLs."""
    secrets = draw(st.lists(SECRETS, min_size=1, max_size=2))
    one = st.sampled_from(secrets)
    forms = st.sampled_from(Redactor(secrets).forms)
    cut = st.builds(lambda form, at: form[: at % len(form)], forms, st.integers(0, 200))
    end = st.builds(lambda form, at: form[at % len(form) :], forms, st.integers(0, 200))
    return secrets, "".join(draw(st.lists(AROUND | one | forms | cut | end, max_size=8)))


def assert_hidden(secrets: Sequence[str], said: str) -> None:
    for form in [*secrets, *Redactor([*secrets]).forms]:
        assert form not in said


@FUZZING
@given(talk())
def test_no_secret_is_in_a_masked_text_whatever_stands_beside_it(talked: tuple[list[str], str]) -> None:
    secrets, text = talked
    redactor = Redactor(secrets)
    assert_hidden(secrets, redactor.text(text))
    assert_hidden(secrets, redactor.raw(text.encode()).decode())
    masked = redactor.text(text)
    assert redactor.value({text: [text, {"x": text}, 1]}) == {masked: [masked, {redactor.text("x"): masked}, 1]}


@FUZZING
@given(st.binary(min_size=SHORTEST), st.binary(), st.binary())
def test_a_secret_that_is_no_text_is_masked_as_well(secret: bytes, before: bytes, after: bytes) -> None:
    value = secret.decode("utf-8", "surrogateescape")
    assume(len(value.strip()) >= SHORTEST)
    assert secret not in Redactor([value]).raw(before + secret + after)


@FUZZING
@given(talk(), st.lists(st.integers(1, 30), min_size=1, max_size=20))
def test_however_output_is_cut_the_log_holds_no_secret_and_the_rest_of_what_was_said(
    tmp_path: Path, talked: tuple[list[str], str], cuts: list[int]
) -> None:
    secrets, text = talked
    redactor, data = Redactor(secrets), text.encode()
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    stream = Stream(fd, redactor)
    try:
        left = data
        while left:
            for cut in cuts:
                os.write(fd, left[:cut])
                left = left[cut:]
                stream.carry()
        stream.release()
        stream.finish()
    finally:
        for opened in (fd, stream.log.fd, stream.read):
            os.close(opened)
    written = (tmp_path / "log").read_bytes()
    assert_hidden(secrets, written.decode())
    assert written == redactor.raw(data)
    assert (stream.log.size, stream.log.lost) == (len(data), 0)
