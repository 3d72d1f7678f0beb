"""Each check fails on what it is there for."""

from __future__ import annotations

import polars as pl
import pytest

from etl import checks
from etl.source import COLUMNS

GOOD = pl.DataFrame({name: [1.0, 2.0] for name in COLUMNS})


@pytest.mark.parametrize("name", checks.CHECKS)
def test_a_good_frame_passes(name):
    assert checks.CHECKS[name](GOOD)[0] is True


@pytest.mark.parametrize(
    ("bad", "column", "check", "case"),
    [
        (GOOD.drop("x_2"), None, "column_in_dataframe", "x_2"),
        (GOOD.with_columns(z=pl.lit(1.0)), "z", "column_in_schema", "z"),
        (GOOD.cast({"y": pl.Float32}), "y", "dtype('Float64')", "Float32"),
    ],
)
def test_another_schema_fails_and_names_the_column(bad, column, check, case):
    passed, metadata = checks.schema_matches(bad)
    assert passed is False
    assert any(
        failure["check"] == check and failure["failure_case"] == case for failure in metadata["failures"]
    )
    assert metadata["columns"] == {name: str(kind) for name, kind in bad.schema.items()}


def test_another_order_of_columns_fails():
    assert checks.schema_matches(GOOD.select(reversed(COLUMNS)))[0] is False


@pytest.mark.parametrize(("value", "kind"), [(None, "nulls"), (float("nan"), "nans")])
def test_a_null_or_nan_fails_and_is_counted_by_column(value, kind):
    passed, metadata = checks.no_nulls(GOOD.with_columns(x_3=pl.Series([value, 1.0], dtype=pl.Float64)))
    assert passed is False
    assert metadata[kind] == {"x_1": 0, "x_2": 0, "x_3": 1, "x_4": 0, "y": 0}


def test_duplicates_fail_and_are_counted():
    assert checks.no_duplicates(pl.concat([GOOD, GOOD])) == (False, {"rows": 4, "duplicates": 2})


def test_two_equal_rows_with_a_null_are_duplicates():
    frame = pl.concat([GOOD.clear(2), GOOD])
    assert checks.no_duplicates(frame) == (False, {"rows": 4, "duplicates": 1})


def test_an_empty_frame_fails_one_check_alone():
    outcomes = {name: check(GOOD.clear())[0] for name, check in checks.CHECKS.items()}
    assert outcomes == {"schema_matches": True, "no_nulls": True, "no_duplicates": True, "not_empty": False}
