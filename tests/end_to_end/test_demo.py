"""The demo: `bulkhead run etl_job ml_pipeline_job`, what it publishes, trains and shows, and that it repeats."""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY, Project, Ran

TRUTH = {
    "coefficient_x_1": 10.0,
    "coefficient_x_2": 100.0,
    "coefficient_x_3": 1000.0,
    "coefficient_x_4": 0.5,
    "intercept": 2.2,
}
ROWS = 5000
# Clean by other means than the workload: rows as Python tuples from DuckDB, against the published file.
RECOMPUTE = """
import json, math, sys
from pathlib import Path
import duckdb
store, dataset = sys.argv[1:]
raw = duckdb.connect(store, read_only=True).execute("SELECT x_1, x_2, x_3, x_4, y FROM raw_measurements").fetchall()
clean = {tuple(0.0 if v == 0 else v for v in row) for row in raw if all(v is not None and v == v for v in row)}
relation = duckdb.sql(f"SELECT * FROM read_parquet('{dataset}/*.parquet')")
published = relation.fetchall()
print(json.dumps({
    "same": published == sorted(clean), "raw": len(raw), "clean": len(clean), "columns": relation.columns,
    "types": [str(kind) for kind in relation.types], "files": sorted(p.name for p in Path(dataset).iterdir()),
}))
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Project:
    home = tmp_path_factory.mktemp("demo") / "a home"
    return Project(REPOSITORY, home, {"ETL_ROWS": str(ROWS), "BULKHEAD_HOME": str(home)})


@pytest.fixture(scope="module")
def first(platform: Project) -> Ran:
    return platform.run("etl_job", "ml_pipeline_job")


@pytest.fixture(scope="module")
def second(platform: Project, first: Ran) -> Ran:
    return platform.run("etl_job", "ml_pipeline_job")


def made(ran: Ran) -> dict[str, Mapping[str, Any]]:
    return {event["asset"]: event["metadata"] for event in ran.named("ASSET_MATERIALIZATION")}


def lasting(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return metadata without what was measured of the process."""
    measured = ("_seconds", "_bytes", "_pids")
    return {
        name: value
        for name, value in metadata.items()
        if not (name.startswith("bulkhead/") and name.endswith(measured))
    }


def current(platform: Project) -> Path:
    folder = platform.home / "datasets" / "measurements"
    return folder / (folder / "current").read_text().strip()


def test_both_jobs_succeed_and_every_check_passes(first: Ran) -> None:
    assert (first.code, first.stderr) == (0, "")
    assert [(e["job"], e["status"]) for e in first.named("RUN_ENDED")] == [
        ("etl_job", "SUCCESS"), ("ml_pipeline_job", "SUCCESS"),
    ]  # fmt: skip
    assert list(made(first)) == [
        "create_tables", "raw_measurements", "measurements", "training_set", "model", "model_registry",
    ]  # fmt: skip
    checks = {event["check"]: event["passed"] for event in first.named("ASSET_CHECK_EVALUATION")}
    assert checks == dict.fromkeys((
        "schema_matches", "no_nulls", "no_duplicates", "not_empty", "input_schema", "required_columns_have_no_nulls",
        "rmse_below_limit", "coefficients_finite", "better_than_champion", "artifact_predicts_as_trained",
    ), True)  # fmt: skip


def test_the_model_finds_the_formula_behind_the_rows(first: Ran) -> None:
    found = {name: made(first)["model"][name] for name in TRUTH}
    assert found == pytest.approx(TRUTH, abs=1e-6)


def test_the_registered_model_file_holds_the_same_numbers(platform: Project, first: Ran) -> None:
    path = platform.home / "stores" / "ml" / "ml" / made(first)["model_registry"]["path"]
    model = json.loads(path.read_text())
    assert [*model["coefficients"], model["intercept"]] == pytest.approx(list(TRUTH.values()), abs=1e-6)


def test_the_dataset_is_exactly_the_clean_rows_recomputed_by_other_means(platform: Project, first: Ran) -> None:
    python = REPOSITORY / "workloads" / "etl" / ".venv" / "bin" / "python"
    store = platform.home / "stores" / "etl" / "etl" / "etl.duckdb"
    done = subprocess.run(
        [python, "-c", RECOMPUTE, store, current(platform)], capture_output=True, text=True, check=True
    )
    seen = json.loads(done.stdout)
    metadata = made(first)["measurements"]
    removed = sum(metadata["removed"].values())
    assert removed > 0
    assert (seen["raw"], seen["clean"]) == (metadata["raw_rows"], metadata["dagster/row_count"])
    assert (ROWS, removed) == (seen["clean"], seen["raw"] - seen["clean"])
    assert (seen["same"], seen["files"]) == (True, ["measurements.parquet"])
    assert (seen["columns"], set(seen["types"])) == (["x_1", "x_2", "x_3", "x_4", "y"], {"DOUBLE"})


def test_the_dataset_on_disk_is_the_version_on_record(platform: Project, first: Ran) -> None:
    metadata = made(first)["measurements"]
    assert current(platform).name == metadata["bulkhead/dataset_version"]
    assert str(current(platform)) == metadata["bulkhead/dataset_path"]
    assert made(first)["training_set"]["bulkhead/read_measurements"] == current(platform).name


def test_the_lock_file_of_the_workload_is_the_code_version_of_its_assets(platform: Project, first: Ran) -> None:
    from dagster import AssetKey

    lock = (REPOSITORY / "workloads" / "etl" / "uv.lock").read_bytes()
    expected = hashlib.sha256(lock).hexdigest()[:16]
    with platform.instance() as instance:
        made_of = instance.get_latest_materialization_event(AssetKey("measurements")).asset_materialization
    assert made_of.tags["dagster/code_version"] == expected
    assert made(first)["measurements"]["bulkhead/environment"] == expected


def test_running_twice_gives_the_same_version_and_the_same_model(second: Ran, first: Ran, platform: Project) -> None:
    assert second.code == 0
    assert made(second)["measurements"]["bulkhead/dataset_version"] == current(platform).name
    assert lasting(made(second)["measurements"]) == lasting(made(first)["measurements"])
    assert made(second)["model_registry"]["sha256"] == made(first)["model_registry"]["sha256"]
    versions = [path.name for path in current(platform).parent.iterdir() if not path.name.startswith(".")]
    assert sorted(versions) == sorted(["current", current(platform).name])


def test_the_ui_has_schema_row_count_preview_and_plot(platform: Project, first: Ran) -> None:
    from dagster import AssetKey, MarkdownMetadataValue, TableMetadataValue

    with platform.instance() as instance:
        table = instance.get_latest_materialization_event(AssetKey("measurements")).asset_materialization.metadata
        model = instance.get_latest_materialization_event(AssetKey("model")).asset_materialization.metadata
    columns = [(column.name, column.type) for column in table["dagster/column_schema"].schema.columns]
    assert columns == [(name, "Float64") for name in ("x_1", "x_2", "x_3", "x_4", "y")]
    assert table["dagster/row_count"].value == made(first)["measurements"]["dagster/row_count"]
    assert isinstance(table["preview"], TableMetadataValue) and len(table["preview"].records) == 5
    plot = model["predicted_vs_actual"]
    assert isinstance(plot, MarkdownMetadataValue)
    assert plot.value.startswith("![predicted_vs_actual](data:image/png;base64,")


def test_nothing_is_left_of_the_steps(platform: Project, second: Ran) -> None:
    assert second.code == 0
    assert platform.processes() == []
    assert list((platform.home / "steps").iterdir()) == []
    assert list((platform.home / "datasets" / "measurements" / ".staging").iterdir()) == []
