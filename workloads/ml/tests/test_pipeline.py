"""The three steps as real processes, without any platform."""

import base64
import re
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import run

import polars as pl
import pytest
from conftest import COEFFICIENTS, INTERCEPT, Ended, measurements

from ml.artifact import load

Step = Callable[..., Ended]
Publish = Callable[[pl.DataFrame, str], str]


def test_without_noise_the_registered_model_is_the_formula(step: Step, publish: Publish, store: Path) -> None:
    assert step("training_set", publish(measurements(), "v1")).code == 0
    trained = step("model")
    registered = step("model_registry")
    assert (trained.code, registered.code) == (0, 0)

    for i, coefficient in enumerate(COEFFICIENTS, start=1):
        assert trained.metadata[f"coefficient_x_{i}"] == pytest.approx(coefficient, abs=1e-6)
    assert trained.metadata["intercept"] == pytest.approx(INTERCEPT, abs=1e-6)
    assert trained.metadata["rmse"] < 1e-6
    assert (trained.metadata["rows_train"], trained.metadata["rows_held_out"]) == (160, 40)

    entry = registered.metadata
    assert entry["version"] == entry["sha256"][:12] == trained.metadata["candidate"]
    assert entry["path"] == f"models/{entry['version']}/model.json"
    assert (entry["features"], entry["dataset_version"]) == ("x_1, x_2, x_3, x_4", "v1")
    model = load(store / entry["path"])
    assert [*model.coefficients, model.intercept] == pytest.approx([*COEFFICIENTS, INTERCEPT], abs=1e-6)
    assert (store / entry["path"]).stat().st_mode & 0o222 == 0


def test_running_everything_again_registers_nothing_new(step: Step, publish: Publish) -> None:
    dataset = publish(measurements(noise=0.1), "v1")
    seen = []
    for _ in range(2):
        assert [step(name, *flags).code for name, flags in (("training_set", [dataset]), ("model", []))] == [
            0,
            0,
        ]
        seen.append(step("model_registry").metadata)
    assert seen[0] == seen[1]
    assert seen[1]["dagster/row_count"] == 1


def test_a_worse_model_is_registered_with_a_warning_and_the_champion_stays(
    step: Step, publish: Publish
) -> None:
    for version, noise, better in (("v1", 0.1, True), ("v2", 0.4, False), ("v3", 0.2, False)):
        step("training_set", publish(measurements(noise=noise), version))
        trained = step("model")
        assert trained.code == 0
        assert trained.checks == {
            "rmse_below_limit": True,
            "coefficients_finite": True,
            "better_than_champion": better,
        }
        assert step("model_registry").code == 0
    assert step("model_registry").metadata["dagster/row_count"] == 3


def test_a_model_above_the_limit_ends_65_and_leaves_the_last_candidate(
    step: Step, publish: Publish, store: Path
) -> None:
    step("training_set", publish(measurements(noise=0.1), "v1"))
    assert step("model").code == 0
    candidate = (store / "candidate.json").read_bytes()

    step("training_set", publish(measurements(noise=5), "v2"))
    failed = step("model")
    assert failed.code == 65
    assert failed.checks["rmse_below_limit"] is False
    assert failed.metadata["candidate"] == "not written: a blocking check failed"
    assert (store / "candidate.json").read_bytes() == candidate
    assert step("model", ML_RMSE_LIMIT="100").code == 0
    assert (store / "candidate.json").read_bytes() != candidate


def test_a_null_ends_65_and_leaves_the_last_training_set(step: Step, publish: Publish, store: Path) -> None:
    assert step("training_set", publish(measurements(), "v1")).code == 0
    before = (store / "training_set.parquet").read_bytes()
    with_null = measurements().with_columns(x_2=pl.when(pl.col("x_1") > 1).then(None).otherwise("x_2"))
    failed = step("training_set", publish(with_null, "v2"))
    assert failed.code == 65
    assert failed.checks == {"input_schema": True, "required_columns_have_no_nulls": False}
    assert failed.report["assets"] == []
    assert (store / "training_set.parquet").read_bytes() == before


def test_a_missing_column_fails_both_input_checks(step: Step, publish: Publish) -> None:
    failed = step("training_set", publish(measurements().drop("x_3"), "v1"))
    assert failed.code == 65
    assert failed.checks == {"input_schema": False, "required_columns_have_no_nulls": False}


def test_the_training_set_is_the_same_bytes_for_the_same_seed(
    step: Step, publish: Publish, store: Path
) -> None:
    dataset = publish(measurements(), "v1")
    written = []
    for seed in ("7", "7", "8"):
        assert step("training_set", dataset, ML_SEED=seed).code == 0
        written.append((store / "training_set.parquet").read_bytes())
    assert written[0] == written[1] != written[2]


def test_the_plot_is_a_small_png(step: Step, publish: Publish) -> None:
    step("training_set", publish(measurements(rows=20_000, noise=0.5), "v1"))
    image = step("model").metadata["predicted_vs_actual"]
    png = base64.b64decode(re.search(r"base64,([A-Za-z0-9+/=]+)", image)[1])
    assert png.startswith(b"\x89PNG")
    assert len(png) < 60_000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "training_set",
            "training_set: no dataset 'measurements': give its folder with --dataset measurements=PATH"
            " or BULKHEAD_DATASET_MEASUREMENTS=PATH\n",
        ),
        (
            "model",
            "model: no training_set.parquet in store 'ml': make it with `python -m ml.training_set`,"
            " in Dagster with ml_pipeline_job\n",
        ),
        (
            "model_registry",
            "model_registry: no candidate.json in store 'ml': make it with `python -m ml.model`,"
            " in Dagster with ml_pipeline_job\n",
        ),
    ],
)
def test_a_missing_input_ends_66_and_names_the_remedy(step: Step, name: str, text: str) -> None:
    ended = step(name)
    assert ended.code == 66
    assert ended.stderr == text


@pytest.mark.parametrize(
    ("name", "environment", "text"),
    [
        (
            "training_set",
            {"ML_HELD_OUT_FRACTION": "1.5"},
            "training_set: held_out_fraction: expected a number between 0 and 1, got 1.5\n",
        ),
        ("model", {"ML_RMSE_LIMIT": "0"}, "model: rmse_limit: expected a number above 0, got 0.0\n"),
    ],
)
def test_a_parameter_out_of_range_ends_64(
    step: Step, name: str, environment: dict[str, str], text: str
) -> None:
    ended = step(name, **environment)
    assert ended.code == 64
    assert ended.stderr == text


def test_a_registry_that_another_process_holds_ends_75(step: Step, publish: Publish, store: Path) -> None:
    import duckdb

    step("training_set", publish(measurements(noise=0.1), "v1"))
    step("model")
    with duckdb.connect(store / "ml.duckdb"):
        ended = step("model_registry")
    assert ended.code == 75
    assert ended.stderr == (
        "model_registry: ml.duckdb is open in another process: try again when it has ended\n"
    )


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("training_set", ("sklearn", "matplotlib", "duckdb", "dagster_pipes")),
        ("model", ("matplotlib", "duckdb", "dagster_pipes")),
        ("model_registry", ("polars", "numpy", "sklearn", "matplotlib", "dagster_pipes")),
    ],
)
def test_a_step_imports_only_what_it_uses(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, ml.{module}; print([name for name in {absent!r} if name in sys.modules])"
    assert run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
