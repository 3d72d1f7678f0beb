from pathlib import Path

import polars as pl
import pytest
from conftest import measurements as made
from hypothesis import given
from hypothesis import strategies as st

from ml import measurements, training_set
from ml.regression import fit

FLOATS = dict.fromkeys(measurements.COLUMNS, pl.Float64)


def test_other_columns_and_narrow_floats_are_no_fault() -> None:
    assert measurements.schema_faults({**FLOATS, "x_1": pl.Float32(), "id": pl.Int64()}) == {}


def test_each_fault_of_the_schema_names_its_column() -> None:
    schema = {name: kind for name, kind in FLOATS.items() if name != "x_4"} | {"y": pl.String()}
    assert measurements.schema_faults(schema) == {"x_4": "missing", "y": "String, expected a float"}


def test_null_nan_and_infinity_all_count_as_no_value() -> None:
    frame = pl.DataFrame({"x_1": [1.0, None, float("nan"), float("inf")], "y": [1.0, 2.0, 3.0, 4.0]})
    assert measurements.rows_without_value(frame) == {"x_1": 3}


def test_several_files_are_read_in_order_as_64_bit_floats(tmp_path: Path) -> None:
    rows = made(rows=30)
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    rows[:10].write_parquet(files[0])
    rows[10:].write_parquet(files[1])
    assert measurements.read(files).equals(rows)


def test_a_file_written_by_the_newer_polars_of_another_team_is_read() -> None:
    rows = measurements.read([Path(__file__).parent / "data" / "polars_2_1_0.parquet"])
    split = measurements.split(rows, 0.25, 7)
    train, held_out = split.filter(~pl.col("held_out")), split.filter("held_out")
    found = fit(training_set.TrainingSet(train, held_out, "v1")).artifact
    assert found.coefficients == pytest.approx((10, 100, 1000, 0.5), abs=1e-6)
    assert found.intercept == pytest.approx(2.2, abs=1e-6)


@given(rows=st.integers(10, 300), fraction=st.floats(0.001, 0.999), seed=st.integers(0, 2**32))
def test_a_split_keeps_every_row_and_both_parts_have_some(rows: int, fraction: float, seed: int) -> None:
    frame = made(rows)
    split = measurements.split(frame, fraction, seed)
    held_out = split["held_out"].sum()
    assert split.drop("held_out").equals(frame)
    assert 1 <= held_out <= rows - 1
    assert abs(held_out - rows * fraction) <= 1
    assert split.equals(measurements.split(frame, fraction, seed))


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^expected at least 10 rows to train on, got 9$"):
        measurements.split(made(rows=9), 0.2, 7)


def test_a_training_set_comes_back_with_its_dataset_version(tmp_path: Path) -> None:
    rows = measurements.split(made(rows=50), 0.2, 7)
    training_set.write(tmp_path, rows, "0123456789abcdef")
    found = training_set.read(tmp_path)
    assert (found.train.height, found.held_out.height) == (40, 10)
    assert found.train.equals(rows.filter(~pl.col("held_out")).drop("held_out"))
    assert found.dataset_version == "0123456789abcdef"
    assert [path.name for path in tmp_path.iterdir()] == ["training_set.parquet"]
