"""From raw rows to clean ones, and the file that is published."""

from __future__ import annotations

from pathlib import Path

import polars as pl

ROWS_PER_GROUP = 250_000


def clean(raw: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Drop rows with a null, rows with a NaN and exact duplicates; sort by all columns.

    Returns the clean frame and the rows removed by reason: `null`, `nan`, `duplicate`, in this order. The
    result does not depend on the order of the rows: -0.0 counts as 0.0, and becomes it.
    """
    whole = raw.drop_nulls()
    numbers = whole.drop_nans().with_columns(pl.when(pl.all() == 0).then(0.0).otherwise(pl.all()).name.keep())
    removed = {"null": raw.height - whole.height, "nan": whole.height - numbers.height}
    del raw, whole
    ordered = numbers.sort(pl.all())
    del numbers
    distinct = ordered.filter(~repeats())
    return distinct, {**removed, "duplicate": ordered.height - distinct.height}


def repeats() -> pl.Expr:
    """Tell, in a sorted frame, whether a row equals the one before; nulls equal nulls, NaN equals NaN."""
    first = pl.int_range(pl.len()) == 0
    return ~first & pl.all_horizontal(pl.all().eq_missing(pl.all().shift()))


def write(frame: pl.DataFrame, folder: Path) -> Path:
    """Write one Parquet file; the same frame gives the same bytes."""
    path = folder / "measurements.parquet"
    frame.rechunk().write_parquet(path, compression="zstd", row_group_size=ROWS_PER_GROUP)
    return path
