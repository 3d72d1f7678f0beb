"""Alone on a machine: local folders, publish after checks, partitions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

WRITE = """
    import sys
    from pathlib import Path
    from bulkhead_sdk import open_step
    content, passed, blocking, end = (sys.argv.pop(1) for _ in range(4))
    with open_step("things") as step:
        (step.new_version("things") / "part.parquet").write_text(content)
        assert step.standalone
        step.report("things")
        step.check("good", passed=passed == "1", asset="things", blocking=blocking == "1")
        if end == "raise":
            raise RuntimeError("late")
"""


def current(folder: Path) -> str:
    return (folder / ".standalone/datasets/things/current").read_text().strip()


def versions(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / ".standalone/datasets/things").iterdir())


def test_a_version_is_published_after_its_checks(alone, tmp_path):
    ended = alone(WRITE, "one", "1", "1", "")
    version = current(tmp_path)
    assert versions(tmp_path) == sorted([version, "current"])
    assert (tmp_path / ".standalone/datasets/things" / version / "part.parquet").read_text() == "one"
    assert f"things: version {version}, published in .standalone/datasets/things/{version}\n" in ended.stdout


def test_the_same_content_is_the_same_version(alone, tmp_path):
    alone(WRITE, "one", "1", "1", "")
    before = versions(tmp_path)
    assert alone(WRITE, "one", "1", "1", "").code == 0
    assert versions(tmp_path) == before


@pytest.mark.parametrize(("passed", "end", "code"), [("0", "", 65), ("1", "raise", 1)])
def test_the_pointer_stays_when_a_check_blocks_or_the_step_raises(alone, tmp_path, passed, end, code):
    alone(WRITE, "one", "1", "1", "")
    before = versions(tmp_path), current(tmp_path)
    ended = alone(WRITE, "two", passed, "1", end)
    assert ended.code == code
    assert (versions(tmp_path), current(tmp_path)) == before
    assert "published in" not in ended.stdout


def test_a_failed_check_that_does_not_block_warns_and_publishes(alone, tmp_path):
    ended = alone(WRITE, "two", "0", "0", "")
    assert ended.code == 0
    assert "WARN  things.good" in ended.stdout
    assert current(tmp_path)


def test_a_blocked_step_says_so(alone):
    ended = alone(WRITE, "two", "0", "1", "")
    assert "FAIL  things.good" in ended.stdout
    assert ended.stdout.endswith(", not published\n\nresult: blocked (exit 65) by things.good\n")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            "step.new_version('things'); step.report('things')",
            "'things' got a new version without *.parquet: under Dagster this step would fail",
        ),
        (
            "(step.new_version('things') / 'a.parquet').touch(); step.report('others')",
            "'things' was written and not reported: under Dagster this step would fail",
        ),
    ],
)
def test_a_version_that_the_platform_would_refuse_exits_70(alone, tmp_path, body, text):
    ended = alone(f"from bulkhead_sdk import open_step\nwith open_step('things') as step:\n    {body}")
    assert (ended.code, ended.stderr) == (70, f"things: {text}\n")
    assert versions(tmp_path) == []


STORE = """
    from bulkhead_sdk import open_step
    with open_step("things") as step:
        (step.store("my-store") / "db").write_text("x")
        step.report("things")
"""


def test_a_store_is_a_local_folder(alone, tmp_path):
    assert alone(STORE).code == 0
    assert (tmp_path / ".standalone/stores/my-store/db").read_text() == "x"


def test_the_environment_names_another_store(alone, tmp_path):
    assert alone(STORE, env={"BULKHEAD_STORE_MY_STORE": str(tmp_path / "other")}).code == 0
    assert (tmp_path / "other/db").read_text() == "x"


READ = """
    from bulkhead_sdk import open_step
    with open_step("reader") as step:
        data = step.dataset("things")
        step.report("reader", metadata={"version": data.version, "files": [f.name for f in data.files]})
"""


def seen(ended) -> object:
    assert ended.code == 0, ended.stderr
    return json.loads(ended.stdout)["assets"][0]["metadata"]["version"]["raw_value"]


def test_a_missing_dataset_ends_with_66_and_the_remedy(alone):
    ended = alone(READ)
    assert ended.code == 66
    assert ended.stderr == (
        "reader: no dataset 'things': give its folder with"
        " --dataset things=PATH or BULKHEAD_DATASET_THINGS=PATH\n"
    )


def test_a_dataset_comes_from_a_flag_the_environment_or_what_was_published_here(alone, tmp_path):
    for name in ("v1", "v2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.parquet").touch()
    env = {"BULKHEAD_DATASET_THINGS": str(tmp_path / "v1")}
    assert seen(alone(READ, "--json", env=env)) == "v1"
    assert seen(alone(READ, "--json", "--dataset", "things=v2", env=env)) == "v2"
    alone(WRITE, "one", "1", "1", "")
    assert seen(alone(READ, "--json")) == current(tmp_path)
    assert seen(alone(READ, "--json", "--dataset", "things=.standalone/datasets/things")) == current(tmp_path)


def test_a_dataset_without_parquet_files_ends_with_66(alone, tmp_path):
    (tmp_path / "empty").mkdir()
    ended = alone(READ, "--dataset", "things=empty")
    assert (ended.code, ended.stderr) == (66, "reader: --dataset: empty has no *.parquet\n")
    ended = alone(READ, "--dataset", "things=nowhere")
    assert (ended.code, ended.stderr) == (66, "reader: --dataset: nowhere is not a directory\n")


PARTITION = """
    from bulkhead_sdk import open_step
    with open_step("things") as step:
        p = step.partition
        step.report("things", metadata={"keys": p and p.keys, "dimensions": p and p.dimensions})
"""


@pytest.mark.parametrize(
    ("arguments", "keys", "dimensions"),
    [
        ([], None, None),
        (["--partition", "2026-01-01", "--partition", "2026-01-02"], ["2026-01-01", "2026-01-02"], []),
        (
            ["--partition", "region=eu,date=2026-01-01"],
            ["2026-01-01|eu"],
            [{"region": "eu", "date": "2026-01-01"}],
        ),
    ],
)
def test_a_partition_comes_from_the_flag(alone, arguments, keys, dimensions):
    report = json.loads(alone(PARTITION, "--json", *arguments).stdout)
    sent = report["assets"][0]["metadata"]
    assert (sent["keys"]["raw_value"], sent["dimensions"]["raw_value"]) == (keys, dimensions)
    assert report["partition"] == keys


def test_a_partition_comes_from_the_platform(piped):
    given = {"keys": ["2026-01-01|eu"], "dimensions": [{"date": "2026-01-01", "region": "eu"}]}
    sent = piped(PARTITION, partition=given).of("report_asset_materialization")[0]["metadata"]
    assert sent["keys"]["raw_value"] == given["keys"]
    assert sent["dimensions"]["raw_value"] == given["dimensions"]


def test_logs_go_to_stderr_and_debug_is_left_out(alone):
    code = """
    from bulkhead_sdk import open_step
    with open_step("things") as step:
        step.log("plain"); step.log("careful", level="warning"); step.log("hidden", level="debug")
        step.report("things")
    """
    ended = alone(code)
    assert ended.stderr == "plain\nwarning: careful\n"
    assert "plain" not in ended.stdout
