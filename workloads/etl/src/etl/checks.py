"""What the published file must hold. Each check returns whether it passed, and its metadata."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from etl.cleaning import repeats
from etl.source import COLUMNS

Outcome = tuple[bool, dict[str, Any]]


def schema_matches(frame: pl.DataFrame) -> Outcome:
    """Exactly x_1 to x_4 and y, in this order, each Float64; judged by pandera."""
    import pandera.polars as pa

    schema = pa.DataFrameSchema(
        {name: pa.Column(pl.Float64, nullable=True) for name in COLUMNS}, strict=True, ordered=True
    )
    metadata: dict[str, Any] = {"columns": {name: str(kind) for name, kind in frame.schema.items()}}
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        failures = errors.failure_cases.select("column", "check", "failure_case").cast(pl.String)
        return False, {**metadata, "failures": failures.head(20).to_dicts()}
    return True, metadata


def no_nulls(frame: pl.DataFrame) -> Outcome:
    """No null and no NaN in any column."""
    nulls = {name: frame[name].null_count() for name in frame.columns}
    nans = {name: int(frame[name].is_nan().sum()) for name, kind in frame.schema.items() if kind.is_float()}
    return not (any(nulls.values()) or any(nans.values())), {"nulls": nulls, "nans": nans}


def no_duplicates(frame: pl.DataFrame) -> Outcome:
    """No two rows are the same."""
    duplicates = frame.sort(pl.all()).filter(repeats()).height
    return duplicates == 0, {"rows": frame.height, "duplicates": duplicates}


def not_empty(frame: pl.DataFrame) -> Outcome:
    """At least one row."""
    return frame.height > 0, {"rows": frame.height}


CHECKS: dict[str, Callable[[pl.DataFrame], Outcome]] = {
    check.__name__: check for check in (schema_matches, no_nulls, no_duplicates, not_empty)
}
