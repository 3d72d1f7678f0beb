"""The mock's known truth, and real files."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from bulkhead_sdk import MissingInput

from etl import cleaning, files, mock
from etl.source import COLUMNS, Source, pull

FRAME = pl.DataFrame({name: [1.0, 2.5] for name in COLUMNS})
EXPECTED = "expected x_1, x_2, x_3, x_4, y"


def coefficients(frame: pl.DataFrame) -> np.ndarray:
    design = np.column_stack([frame.select(COLUMNS[:4]).to_numpy(), np.ones(frame.height)])
    return np.linalg.lstsq(design, frame["y"].to_numpy(), rcond=None)[0]


@pytest.mark.parametrize(("noise", "tolerance"), [(0.0, 1e-6), (0.1, 0.05)])
def test_the_coefficients_are_found_again_in_the_clean_rows(noise, tolerance):
    clean, _ = cleaning.clean(mock.measurements(5000, 42, noise, 0.1, 0.1))
    assert coefficients(clean) == pytest.approx([10.0, 100.0, 1000.0, 0.5, 2.2], abs=tolerance)


def test_noise_has_the_standard_deviation_that_was_asked_for():
    quiet, noisy = (mock.measurements(20_000, 42, noise, 0.0, 0.0) for noise in (0.0, 3.0))
    errors = [
        frame["y"] - 10 * frame["x_1"] - 100 * frame["x_2"] - 1000 * frame["x_3"] - 0.5 * frame["x_4"] - 2.2
        for frame in (quiet, noisy)
    ]
    assert errors[0].abs().max() < 1e-9
    assert errors[1].std() == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize("rows", [0, 1, 7, 1000])
def test_dirt_comes_on_top_of_the_clean_rows(rows):
    raw = mock.measurements(rows, 42, 0.0, 0.2, 0.1)
    clean, removed = cleaning.clean(raw)
    assert clean.height == rows
    assert removed == {"null": round(rows * 0.2), "nan": 0, "duplicate": round(rows * 0.1)}


def test_half_of_the_null_rows_are_null_throughout_and_half_in_one_column():
    raw = mock.measurements(1000, 42, 0.0, 0.2, 0.0)
    counts = raw.select(pl.sum_horizontal(pl.all().is_null())).to_series().value_counts().rows()
    assert dict(counts) == {0: 1000, 1: 100, 5: 100}


def test_inputs_lie_in_the_unit_interval():
    clean = mock.measurements(10_000, 1, 0.0, 0.0, 0.0).select(COLUMNS[:4])
    assert clean.min_horizontal().min() >= 0.0
    assert clean.max_horizontal().max() < 1.0


def test_a_seed_gives_the_same_rows_and_another_seed_others():
    first, again, other = (mock.measurements(100, seed, 1.0, 0.1, 0.1) for seed in (42, 42, 43))
    assert first.equals(again)
    assert not first.equals(other)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"rows": -1}, "rows: expected 0 or more, got -1"),
        ({"noise": -0.5}, "noise: expected 0 or more, got -0.5"),
        ({"seed": -3}, "seed: expected 0 or more, got -3"),
        ({"nulls": 1.5}, "nulls: expected a fraction from 0 to 1, got 1.5"),
        ({"duplicates": -0.1}, "duplicates: expected a fraction from 0 to 1, got -0.1"),
    ],
)
def test_a_parameter_outside_its_limits_is_refused(given, text):
    with pytest.raises(ValueError) as caught:
        Source(**given)
    assert str(caught.value) == text


def test_csv_and_parquet_files_and_folders_give_the_same_rows(tmp_path):
    for kind in ("csv", "parquet"):
        (tmp_path / kind).mkdir()
        for number in (1, 2):
            getattr(FRAME, f"write_{kind}")(tmp_path / kind / f"{number}.{kind}")
        one, _ = pull(Source(source=str(tmp_path / kind / f"1.{kind}")))
        many, origin = pull(Source(source=str(tmp_path / kind)))
        assert one.equals(FRAME)
        assert many.equals(pl.concat([FRAME, FRAME]))
        assert origin == {"source": str(tmp_path / kind), "files": [f"1.{kind}", f"2.{kind}"]}


def test_csv_blanks_are_nulls_and_column_order_is_free(tmp_path):
    (tmp_path / "a.csv").write_text("y,x_4,x_3,x_2,x_1\n5,NA,3,,1\n1e3,NaN,3,2,-1\n")
    first, second = files.read([tmp_path / "a.csv"]).rows()
    assert first == (1.0, None, 3.0, None, 5.0)
    assert second[:3] == (-1.0, 2.0, 3.0)
    assert np.isnan(second[3])


def test_whole_numbers_in_parquet_become_floats(tmp_path):
    FRAME.cast(pl.Int32).write_parquet(tmp_path / "a.parquet")
    assert files.read([tmp_path / "a.parquet"]).dtypes == [pl.Float64] * 5


def refused(path) -> str:
    with pytest.raises(MissingInput) as caught:
        files.read(files.list_files(str(path)))
    return str(caught.value)


def test_a_path_that_leads_nowhere_is_told(tmp_path):
    assert refused(tmp_path / "no.csv") == f"source: {tmp_path}/no.csv does not exist"


def test_a_folder_without_data_files_is_told(tmp_path):
    (tmp_path / "notes.txt").touch()
    assert refused(tmp_path) == f"source: {tmp_path} has no *.csv and no *.parquet"
    assert refused(tmp_path / "notes.txt") == f"source: {tmp_path}/notes.txt is neither .csv nor .parquet"


def test_a_mixed_folder_is_told(tmp_path):
    FRAME.write_csv(tmp_path / "a.csv")
    FRAME.write_parquet(tmp_path / "b.parquet")
    assert refused(tmp_path) == f"source: {tmp_path} mixes CSV and Parquet: give a folder of one kind"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_other_columns_are_told(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    getattr(FRAME.drop("x_3", "y"), f"write_{kind}")(path)
    assert refused(path) == f"source: {path}: missing x_3, y; {EXPECTED}"
    getattr(FRAME.with_columns(z=1), f"write_{kind}")(path)
    assert refused(path) == f"source: {path}: unexpected z; {EXPECTED}"


def test_text_instead_of_numbers_is_told(tmp_path):
    FRAME.cast({"x_1": pl.String}).write_parquet(tmp_path / "a.parquet")
    assert refused(tmp_path) == f"source: {tmp_path}/a.parquet: column x_1 is String, expected numbers"
    (tmp_path / "a.parquet").write_bytes(b"nonsense")
    assert refused(tmp_path).startswith(f"source: {tmp_path}/a.parquet cannot be read as Parquet: ")
    (tmp_path / "a.parquet").unlink()
    (tmp_path / "a.csv").write_text("x_1,x_2,x_3,x_4,y\n1,2,3,4,many\n")
    assert refused(tmp_path).startswith(
        f"source: {tmp_path}/a.csv cannot be read as CSV: could not parse `many` as dtype `f64` at column 'y'"
    )
