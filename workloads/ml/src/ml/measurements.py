"""What this team demands of the measurements, and how it splits them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

FEATURES = ("x_1", "x_2", "x_3", "x_4")
TARGET = "y"
COLUMNS = (*FEATURES, TARGET)
FEWEST_ROWS = 10


def schema_of(files: Sequence[Path]) -> dict[str, pl.DataType]:
    """Column types of Parquet files of one schema."""
    return dict(pl.scan_parquet(files).collect_schema())


def schema_faults(schema: Mapping[str, pl.DataType]) -> dict[str, str]:
    """Say what is wrong, by column: every column of `COLUMNS` is there as a float; others do not matter."""
    faults = {}
    for column in COLUMNS:
        if column not in schema:
            faults[column] = "missing"
        elif not schema[column].is_float():
            faults[column] = f"{schema[column]}, expected a float"
    return faults


def read(files: Sequence[Path]) -> pl.DataFrame:
    """Read `COLUMNS` as Float64, in the order of the files."""
    return pl.scan_parquet(files).select(pl.col(COLUMNS).cast(pl.Float64)).collect()


def rows_without_value(frame: pl.DataFrame) -> dict[str, int]:
    """Count by column the rows whose value is null, NaN or infinite; columns without any are left out."""
    lacking = frame.select((~pl.all().is_finite()).fill_null(True).sum()).row(0, named=True)
    return {column: count for column, count in lacking.items() if count}


def split(frame: pl.DataFrame, held_out_fraction: float, seed: int) -> pl.DataFrame:
    """Add a Boolean column `held_out`, true for that fraction of the rows, at least one.

    The same rows, fraction and seed give the same split. Raises ValueError below `FEWEST_ROWS` rows.
    """
    rows = frame.height
    if rows < FEWEST_ROWS:
        raise ValueError(f"expected at least {FEWEST_ROWS} rows to train on, got {rows}")
    held_out = min(max(round(rows * held_out_fraction), 1), rows - 1)
    rank = np.random.default_rng(seed).permutation(rows)
    return frame.with_columns(held_out=pl.Series(rank < held_out))
