"""The results of a program that speaks no Pipes, as the messages it would have sent."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from orchestrator.execution import result_file
from orchestrator.execution.report import Asked, Report
from orchestrator.execution.result_file import ResultError, result_messages

GOOD = ("a", "good")
ASKED = Asked(["a", "b"], [GOOD], frozenset({"a", "b"}), frozenset({GOOD}), frozenset({GOOD}))
OPENED, CLOSED = ("opened", {}), ("closed", {})


def said(path: Path, exit_code: int | None = 0) -> list[tuple[str, dict[str, Any]]]:
    """Return method and parameters of each message."""
    messages = [json.loads(line) for line in result_messages(path, ASKED, exit_code)]
    assert {message["__dagster_pipes_version"] for message in messages} == {"0.1"}
    return [(message["method"], message["params"]) for message in messages]


def left(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "result.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def made(key: str, version: str | None = None, **metadata: Any) -> tuple[str, dict[str, Any]]:
    values = {name: {"raw_value": value, "type": "__infer__"} for name, value in metadata.items()}
    return "report_asset_materialization", {"asset_key": key, "metadata": values, "data_version": version}


def refused(path: Path) -> str:
    """Return why a result file cannot be used. Pipes is opened and closed all the same."""
    taken: list[str] = []
    with pytest.raises(ResultError) as error:
        for line in result_messages(path, ASKED, 0):
            taken.append(json.loads(line)["method"])
    assert taken == ["opened", "closed"]
    return str(error.value)


def test_without_a_file_an_exit_with_0_made_every_asset_that_was_asked_for(tmp_path: Path) -> None:
    assert said(tmp_path / "result.json") == [OPENED, made("a"), made("b"), CLOSED]


@pytest.mark.parametrize("code", [1, 75, None])
def test_without_a_file_any_other_end_made_nothing(tmp_path: Path, code: int | None) -> None:
    assert said(tmp_path / "result.json", code) == [OPENED, CLOSED]


def test_a_file_says_what_was_made_and_checked(tmp_path: Path) -> None:
    path = left(
        tmp_path,
        {
            "assets": {"a": {"metadata": {"rows": 3, "kinds": ["x"]}, "data_version": "7"}, "b": {}},
            "checks": [
                {"asset": "a", "name": "good", "passed": False, "severity": "WARN", "metadata": {"bad": 1}},
                {"asset": "b", "name": "other", "passed": True},
            ],
        },
    )
    assert said(path) == [
        OPENED,
        made("a", "7", rows=3, kinds=["x"]),
        made("b"),
        ("report_asset_check", {
            "asset_key": "a", "check_name": "good", "passed": False, "severity": "WARN",
            "metadata": {"bad": {"raw_value": 1, "type": "__infer__"}},
        }),
        ("report_asset_check", {
            "asset_key": "b", "check_name": "other", "passed": True, "severity": "ERROR", "metadata": {},
        }),
        CLOSED,
    ]  # fmt: skip


@pytest.mark.parametrize("code", [0, 1])
def test_a_file_that_names_no_asset_made_none_whatever_the_exit_code(tmp_path: Path, code: int) -> None:
    assert said(left(tmp_path, {}), code) == [OPENED, CLOSED]


def test_a_program_that_failed_may_still_say_what_it_made(tmp_path: Path) -> None:
    assert said(left(tmp_path, {"assets": {"a": {}}}), 1) == [OPENED, made("a"), CLOSED]


def test_metadata_with_a_type_of_its_own_keeps_it(tmp_path: Path) -> None:
    typed = {"raw_value": "# Title", "type": "md"}
    path = left(tmp_path, {"assets": {"a": {"metadata": {"note": typed, "near": {**typed, "more": 1}}}}})
    (_, params) = said(path)[1]
    assert params["metadata"] == {
        "note": typed,
        "near": {"raw_value": {**typed, "more": 1}, "type": "__infer__"},
    }


def test_what_it_says_is_held_against_the_contract_as_pipes_messages_are(tmp_path: Path) -> None:
    path = left(tmp_path, {"assets": {"a": {}, "b": {}}, "checks": [{"asset": "a", "name": "good", "passed": True}]})
    report = Report(ASKED)
    for line in result_messages(path, ASKED, 0):
        report.take(line)
    assert (report.opened, report.closed, report.violations) == (True, True, [])
    assert (list(report.materialized), list(report.checked)) == (["a", "b"], [GOOD])
    stranger = Report(ASKED)
    for line in result_messages(left(tmp_path, {"assets": {"stranger": {}}}), ASKED, 0):
        stranger.take(line)
    assert len(stranger.violations) == 1


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b'{"assets": {', "is not JSON: Expecting property name enclosed in double quotes: line 1 column 13 (char 12)"),
        (b"\xff", "is not JSON: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        ([], "does not fit its schema: the whole: Input should be a valid dictionary or instance of ResultFile"),
        ({"asset": {}}, "does not fit its schema: asset: Extra inputs are not permitted"),
        ({"assets": {"a": {"metdata": {}}}}, "does not fit its schema: assets.a.metdata: Extra inputs are not permitted"),
        ({"assets": {"a": {"data_version": 7}}}, "does not fit its schema: assets.a.data_version: Input should be a valid string"),
        ({"checks": [{"asset": "a", "passed": "yes"}]},
         "does not fit its schema: checks.0.name: Field required; checks.0.passed: Input should be a valid boolean"),
        ({"checks": [{"asset": "a", "name": "b", "passed": True, "severity": "FATAL"}]},
         "does not fit its schema: checks.0.severity: Input should be 'WARN' or 'ERROR'"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_told_where_and_why(tmp_path: Path, content: Any, text: str) -> None:
    assert refused(left(tmp_path, content)) == f"its result file {text}"


def test_of_many_faults_the_first_three_are_told(tmp_path: Path) -> None:
    text = refused(left(tmp_path, dict.fromkeys("abcde", 1)))
    assert (
        text
        == f"its result file does not fit its schema: {'; '.join(f'{name}: Extra inputs are not permitted' for name in 'abc')}"
    )


def test_json_that_is_nested_without_end_is_no_json(tmp_path: Path) -> None:
    assert refused(left(tmp_path, b"[" * 10**6)).startswith(
        "its result file is not JSON: maximum recursion depth exceeded"
    )


@pytest.mark.parametrize("kind", ["folder", "FIFO"])
def test_what_is_no_plain_file_is_no_result_file_and_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "result.json"
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    assert refused(path) == "its result file is no plain file"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text('{"assets": {"a": {}}}')
    (tmp_path / "result.json").symlink_to(tmp_path / "elsewhere")
    assert refused(tmp_path / "result.json") == "its result file cannot be read: Too many levels of symbolic links"


def test_a_socket_is_no_result_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("result.json")
        assert refused(tmp_path / "result.json") == "its result file cannot be read: No such device or address"


def test_a_file_past_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with path.open("wb") as file:
        file.truncate(result_file.MAX_BYTES + 1)
    assert refused(path) == "its result file is larger than 16Mi"


def test_a_reader_may_stop_in_the_middle(tmp_path: Path) -> None:
    messages = result_messages(tmp_path / "result.json", ASKED, 0)
    assert [json.loads(next(messages))["method"] for _ in range(2)] == ["opened", "report_asset_materialization"]
    messages.close()  # type: ignore[attr-defined]


def test_no_file_stays_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    said(left(tmp_path, {}))
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
