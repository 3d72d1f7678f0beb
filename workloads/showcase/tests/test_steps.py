import json
import signal
from pathlib import Path

import pytest
from process import run, run_standalone

EXITS = {
    "succeeds": 0,
    "raises": 1,
    "exits_3": 3,
    "exits_75": 75,
    "is_killed": -signal.SIGKILL,
    "fails_check": 0,
    "never_runs": 0,
    "reports_undeclared": 0,
    "reports_nothing": 0,
    "writes_garbage": 0,
    "prints_50_mb": 0,
}


@pytest.mark.parametrize(("step", "code"), EXITS.items())
def test_a_step_exits_standalone_as_it_does_under_pipes(step: str, code: int, tmp_path: Path) -> None:
    assert run(step, tmp_path).code == code
    assert run_standalone(step).code == code


@pytest.mark.parametrize("step", [step for step in EXITS if step != "reports_nothing"])
def test_a_step_prints_its_messages_standalone_and_no_warning(step: str) -> None:
    ended = run_standalone(step)
    assert json.loads(ended.lines[0])["method"] == "opened"
    assert "DagsterPipesWarning" not in ended.stderr


@pytest.mark.parametrize("step", ["succeeds", "never_runs", "prints_50_mb"])
def test_a_good_step_opens_reports_its_asset_and_closes(step: str, tmp_path: Path) -> None:
    ended = run(step, tmp_path)
    assert [method for method in ended.methods if method != "log"] == [
        "opened",
        "report_asset_materialization",
        "closed",
    ]
    assert [params["asset_key"] for params in ended.params("report_asset_materialization")] == [step]
    assert ended.params("closed") == [{}]


def test_raises_closes_with_the_exception_and_its_cause(tmp_path: Path) -> None:
    ended = run("raises", tmp_path)
    (closed,) = ended.params("closed")
    assert closed["exception"]["name"] == "ValueError"
    assert closed["exception"]["message"] == "ValueError: no price for 'plum'\n"
    assert closed["exception"]["cause"]["name"] == "KeyError"
    assert closed["exception"]["cause"]["message"] == "KeyError: 'plum'\n"


@pytest.mark.parametrize(
    ("step", "stderr"),
    [
        ("exits_3", "the licence server refused the request\n"),
        ("exits_75", "the source is busy, try again\n"),
    ],
)
def test_an_exit_code_comes_after_pipes_closed_without_an_exception(
    step: str, stderr: str, tmp_path: Path
) -> None:
    ended = run(step, tmp_path)
    assert ended.methods == ["opened", "log", "closed"]
    assert ended.params("closed") == [{}]
    assert ended.stderr == stderr


def test_is_killed_never_closes_pipes(tmp_path: Path) -> None:
    assert run("is_killed", tmp_path).methods == ["opened", "log"]


def test_fails_check_keeps_its_asset_and_fails_the_check(tmp_path: Path) -> None:
    ended = run("fails_check", tmp_path)
    assert ended.methods == ["opened", "report_asset_materialization", "report_asset_check", "closed"]
    (check,) = ended.params("report_asset_check")
    assert (check["asset_key"], check["check_name"]) == ("fails_check", "rows_are_positive")
    assert (check["passed"], check["severity"]) == (False, "ERROR")
    assert check["metadata"]["rows_not_positive"]["raw_value"] == 1
    assert check["metadata"]["first"]["raw_value"] == -15


def test_fails_check_reports_no_asset_where_the_check_alone_is_asked_for(tmp_path: Path) -> None:
    ended = run("fails_check", tmp_path, asset_keys=[])
    assert ended.methods == ["opened", "report_asset_check", "closed"]


def test_reports_undeclared_gets_its_message_past_dagster_pipes(tmp_path: Path) -> None:
    ended = run("reports_undeclared", tmp_path)
    reported = [params["asset_key"] for params in ended.params("report_asset_materialization")]
    assert reported == ["reports_undeclared", "not_in_the_contract"]
    assert ended.methods[-1] == "closed"


def test_reports_nothing_leaves_no_message(tmp_path: Path) -> None:
    ended = run("reports_nothing", tmp_path)
    assert ended.lines == []
    assert ended.stdout == "all done, and nobody was told\n"


def test_writes_garbage_leaves_one_line_that_is_no_json(tmp_path: Path) -> None:
    lines = run("writes_garbage", tmp_path).lines
    garbage = lines.pop(2)
    assert garbage == "Segmentation fault (core dumped) {"
    with pytest.raises(json.JSONDecodeError):
        json.loads(garbage)
    assert [json.loads(line)["method"] for line in lines] == [
        "opened",
        "report_asset_materialization",
        "closed",
    ]


def test_prints_50_mb_prints_lines_and_then_one_line_of_25_mb(tmp_path: Path) -> None:
    lines = run("prints_50_mb", tmp_path).stdout.splitlines()
    assert lines[:-1] == ["x" * 99] * 250_000
    assert lines[-1] == "." * 25_000_000
