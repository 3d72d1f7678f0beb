"""One code per ending, the same alone and under Pipes."""

from __future__ import annotations

import pytest

HEAD = """
    import sys
    from dataclasses import dataclass
    from bulkhead_sdk import BadParameter, MissingInput, TryAgain, open_step

    @dataclass(frozen=True)
    class P:
        rows: int = 1

    with open_step("things", parameters=P, env_prefix="T") as step:
        step.report("things")
        step.check("complete", passed={passed}, asset="things")
        {end}
"""


def code(end: str = "pass", passed: bool = True) -> str:
    return HEAD.format(end=end, passed=passed)


ENDINGS = [
    (0, code()),
    (0, code("sys.exit(0)")),
    (1, code("raise KeyError('gone')")),
    (1, code("sys.exit('a text')")),
    (3, code("sys.exit(3)")),
    (64, code("raise BadParameter('too many rows')")),
    (65, code(passed=False)),
    (65, code("sys.exit(0)", passed=False)),
    (1, code("raise KeyError('gone')", passed=False)),
    (66, code("step.dataset('nowhere')")),
    (75, code("raise TryAgain('the source is busy')")),
]


@pytest.mark.parametrize(("expected", "script"), ENDINGS)
def test_the_exit_code_alone(alone, expected, script):
    assert alone(script).code == expected


@pytest.mark.parametrize(("expected", "script"), ENDINGS)
def test_the_exit_code_under_pipes_and_the_session_is_always_closed(piped, expected, script):
    ended = piped(script)
    assert ended.code == expected
    assert [message["method"] for message in ended.messages] == [
        "opened",
        "report_asset_materialization",
        "report_asset_check",
        "closed",
    ]


def test_a_failed_blocking_check_closes_pipes_without_an_exception(piped):
    ended = piped(code(passed=False))
    assert ended.closed_with is None
    assert ended.stderr == "things: blocked by things.complete\n"


def test_an_exception_reaches_pipes_with_its_traceback(piped):
    ended = piped(code("raise KeyError('gone')"))
    error = ended.messages[-1]["params"]["exception"]
    assert (error["name"], error["message"]) == ("KeyError", "KeyError: 'gone'\n")
    assert "script.py" in error["stack"][0]
    assert "Traceback" in ended.stderr


def test_an_explained_failure_has_one_line_and_no_traceback(alone):
    ended = alone(code("raise MissingInput('no file /data/raw.csv')"))
    assert ended.code == 66
    assert ended.stderr == "things: no file /data/raw.csv\n"
    assert ended.stdout.endswith("\nresult: failed (exit 66): no file /data/raw.csv\n")


def test_what_was_reported_before_an_exception_is_printed_alone(alone):
    ended = alone(code("raise KeyError('gone')"))
    assert "PASS  things.complete" in ended.stdout
    assert ended.stdout.endswith("\nresult: failed (exit 1): KeyError: 'gone'\n")


SILENT = "from bulkhead_sdk import open_step\nwith open_step('things') as step: pass"


def test_a_step_that_reports_nothing_exits_70_alone(alone):
    ended = alone(SILENT)
    assert ended.code == 70
    assert ended.stderr == "things: nothing was reported: under Dagster this step would fail\n"


def test_under_pipes_the_platform_judges_a_step_that_reports_nothing(piped):
    ended = piped(SILENT)
    assert ended.code == 0
    assert [message["method"] for message in ended.messages] == ["opened", "closed"]


def test_a_closed_step_refuses_to_report(alone):
    ended = alone(code() + "\n    step.report('again')\n")
    assert ended.code == 1
    assert ended.stderr.splitlines()[-1] == (
        "RuntimeError: step 'things' is not open: use it inside `with open_step(...) as step`"
    )


@pytest.mark.parametrize(
    ("misuse", "text"),
    [
        ("step.report('things')", "ValueError: asset 'things' was reported already"),
        (
            "step.check('complete', passed=True, asset='things')",
            "ValueError: check 'complete' of 'things' was reported already",
        ),
        (
            "step.check('other', passed='yes', asset='things')",
            "TypeError: check 'other': `passed` is a bool, got 'yes'",
        ),
        (
            "step.check('other', passed=True)",
            "TypeError: Step.check() missing 1 required keyword-only argument: 'asset'",
        ),
        (
            "step.log('x', level='loud')",
            "ValueError: log level: expected one of debug, info, warning, error, critical, got 'loud'",
        ),
        ("step.report('b', metadata={'a': object()})", "TypeError: metadata 'a': cannot send a object"),
        (
            "step.image('plot', b'GIF89a')",
            "ValueError: image 'plot': expected the bytes of a PNG, got b'GIF89a'",
        ),
    ],
)
def test_misuse_is_told_in_one_line(alone, misuse, text):
    ended = alone(code(misuse))
    assert ended.code == 1
    assert ended.stderr.splitlines()[-1] == text
