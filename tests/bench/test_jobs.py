"""The bench itself: every contender runs the same steps, and what it says is what was measured."""

from pathlib import Path

from tests.bench.jobs import Steps, between, run_bare, run_bulkhead, run_stock, write_project
from tests.bench.report import Page

PAIR = Steps(2, "fibo.py", ("5",), chained=True)


def test_steps_are_named_and_chained() -> None:
    assert Steps(2, "fibo_sdk.py", ("10", "{name}"), chained=True).named() == [
        ("s000", ["python", "fibo_sdk.py", "10", "s000"], []),
        ("s001", ["python", "fibo_sdk.py", "10", "s001"], ["s000"]),
    ]
    assert [deps for _, _, deps in Steps(3, "fibo.py").named()] == [[], [], []]


def test_each_contender_runs_the_same_steps(tmp_path: Path) -> None:
    write_project(tmp_path / "project", PAIR)
    (tmp_path / "bare").mkdir()
    assert run_bare(PAIR, tmp_path / "bare") > 0
    assert run_bulkhead(tmp_path / "project") > 0
    assert run_stock(PAIR, "in_process", 1) > 0
    assert sorted(file.name for file in (tmp_path / "bare").glob("*.jsonl")) == ["s000.jsonl", "s001.jsonl"]


def test_a_span_reaches_from_the_first_start_to_the_last_end() -> None:
    assert between([3.0, 1.0], [2.0, 9.5]) == 8.5


def test_ratios_stand_first_and_aims_say_whether_they_were_met() -> None:
    page = Page("# Performance")
    page.aim("chain", "at most 1.2", 1.25, met=False)
    page.table("chain", {"bare": [2.0, 1.0, 3.0], "ours": [5.0, 4.0, 6.0]}, "bare")
    text = page.text()
    assert "| chain | at most 1.2 | 1.25 | **no** |" in text
    assert "| ours | 2.50 | 5.000 s | 4.00 to 6.00 |" in text
    assert text.index("## Aims") < text.index("### chain")
