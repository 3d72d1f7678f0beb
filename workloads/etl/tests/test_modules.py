"""The three modules as processes: alone, and under Pipes."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from dagster_pipes import encode_param

NAMES = ["schema_matches", "no_nulls", "no_duplicates", "not_empty"]


def report(ended) -> dict:
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def published(folder: Path) -> Path:
    datasets = folder / ".standalone/datasets/measurements"
    return datasets / (datasets / "current").read_text().strip() / "measurements.parquet"


def test_measurements_alone_pulls_the_source_checks_and_publishes(run, tmp_path):
    ended = run("measurements", "--rows", "500", "--json")
    found = report(ended)
    assert ended.stderr == (
        "pulling the source into raw_measurements in .standalone/stores/etl first\n"
        "kept 500 of 510 raw rows; removed {'null': 5, 'nan': 0, 'duplicate': 5}\n"
    )
    assert [(check["name"], check["passed"], check["blocking"]) for check in found["checks"]] == [
        (name, True, True) for name in NAMES
    ]
    metadata = {name: value["raw_value"] for name, value in found["assets"][0]["metadata"].items()}
    assert metadata["dagster/row_count"] == 500
    assert metadata["removed"] == {"null": 5, "nan": 0, "duplicate": 5}
    assert len(metadata["preview"]["records"]) == 5
    assert pl.read_parquet(published(tmp_path)).height == 500


def test_the_raw_table_is_read_as_it_is_when_it_is_there(run, tmp_path):
    report(run("raw_measurements", "--rows", "70", "--json"))
    ended = run("measurements", "--json")
    assert ended.stderr == (
        "reading raw_measurements as it is in .standalone/stores/etl\n"
        "kept 70 of 72 raw rows; removed {'null': 1, 'nan': 0, 'duplicate': 1}\n"
    )
    assert report(ended)["assets"][0]["metadata"]["dagster/row_count"]["raw_value"] == 70


def test_the_same_input_is_published_as_the_same_bytes(run, tmp_path):
    contents = []
    for seed in ("42", "42", "43"):
        report(run("measurements", "--rows", "500", "--noise", "0.5", "--seed", seed, "--json"))
        contents.append((published(tmp_path).parent.name, published(tmp_path).read_bytes()))
    assert contents[0] == contents[1] != contents[2]


def test_no_rows_block_and_leave_the_published_version(run, tmp_path):
    report(run("measurements", "--rows", "50", "--json"))
    before = published(tmp_path)
    ended = run("measurements", "--rows", "0")
    assert ended.returncode == 65
    assert ended.stdout.endswith("result: blocked (exit 65) by measurements.not_empty\n")
    assert published(tmp_path) == before


def test_a_partition_is_recorded(run):
    found = report(run("measurements", "--rows", "50", "--partition", "2026-01-01", "--json"))
    assert found["partition"] == ["2026-01-01"]
    assert found["assets"][0]["metadata"]["partition"] == {"raw_value": ["2026-01-01"], "type": "json"}


def test_loading_twice_does_not_append(run):
    for _ in range(2):
        found = report(run("raw_measurements", "--json", env={"ETL_ROWS": "100", "ETL_NULLS": "0.1"}))
        assert found["assets"][0]["metadata"]["dagster/row_count"]["raw_value"] == 111


def test_tables_are_created_and_then_kept(run):
    for state in ("created", "kept"):
        found = report(run("create_tables", "--json"))
        assert found["assets"][0]["metadata"]["tables"]["raw_value"] == {"raw_measurements": state}


def test_real_files_go_the_same_way(run, tmp_path):
    (tmp_path / "data").mkdir()
    rows = "1,2,3,4,5\n1,2,3,4,5\n,2,3,4,5\n9,8,7,6,NaN\n9,8,7,6,5\n"
    (tmp_path / "data/a.csv").write_text("x_1,x_2,x_3,x_4,y\n" + rows)
    found = report(run("measurements", "--source", "data", "--json"))
    assert found["assets"][0]["metadata"]["removed"]["raw_value"] == {"null": 1, "nan": 1, "duplicate": 1}
    assert pl.read_parquet(published(tmp_path)).rows() == [(1, 2, 3, 4, 5), (9, 8, 7, 6, 5)]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--rows", "-1"], 64, "rows: expected 0 or more, got -1"),
        (["--duplicates", "2"], 64, "duplicates: expected a fraction from 0 to 1, got 2.0"),
        (["--source", "nowhere"], 66, "source: nowhere does not exist"),
    ],
)
def test_a_bad_source_ends_with_its_code_and_one_line(run, arguments, code, text):
    ended = run("raw_measurements", *arguments)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", f"raw_measurements: {text}\n")


@pytest.fixture
def platform(tmp_path):
    """Return a Pipes environment with the contract's folders, and a reader of the messages."""
    for name in ("store", "new"):
        (tmp_path / name).mkdir()

    def environment(assets: list[str]) -> dict[str, str]:
        (tmp_path / "messages").unlink(missing_ok=True)
        checks = [{"asset": "measurements", "name": name, "blocking": True} for name in NAMES]
        extras = {"team": "etl", "step": "measurements", "attempt": 1, "checks": checks, "partition": None}
        (tmp_path / "context").write_text(json.dumps({"asset_keys": assets, "extras": extras}))
        return {
            "BULKHEAD_STORE_ETL": str(tmp_path / "store"),
            "BULKHEAD_PUBLISH_MEASUREMENTS": str(tmp_path / "new"),
            "DAGSTER_PIPES_CONTEXT": encode_param({"path": str(tmp_path / "context")}),
            "DAGSTER_PIPES_MESSAGES": encode_param({"path": str(tmp_path / "messages")}),
        }

    def messages() -> list[dict]:
        return [json.loads(line) for line in (tmp_path / "messages").read_text().splitlines()]

    return environment, messages


def test_under_the_platform_a_missing_raw_table_ends_with_66(run, platform):
    environment, messages = platform
    ended = run("measurements", env=environment(["measurements"]))
    text = "the store has no table 'raw_measurements': run the step raw_measurements (job etl_job) first"
    assert (ended.returncode, ended.stderr) == (66, f"measurements: {text}\n")
    assert [message["method"] for message in messages()] == ["opened", "closed"]


def test_under_the_platform_the_three_steps_publish_and_a_checks_only_run_judges_that(
    run, platform, tmp_path
):
    environment, messages = platform
    for module in ("create_tables", "raw_measurements", "measurements"):
        ended = run(module, env={**environment([module]), "ETL_ROWS": "200"})
        assert ended.returncode == 0, ended.stderr
        assert all(line.startswith("info: ") for line in ended.stderr.splitlines())
    methods = ["report_asset_materialization", *["report_asset_check"] * 4]
    assert [message["method"] for message in messages()] == ["opened", "log", *methods, "closed"]
    assert pl.read_parquet(tmp_path / "new/measurements.parquet").height == 200
    given = {"BULKHEAD_DATASET_MEASUREMENTS": str(tmp_path / "new")}
    assert run("measurements", env={**environment([]), **given}).returncode == 0
    assert [message["method"] for message in messages()] == ["opened", *methods[1:], "closed"]
