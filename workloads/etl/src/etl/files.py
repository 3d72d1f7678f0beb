"""Real measurements: a CSV or Parquet file, or a folder of one kind."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from bulkhead_sdk import MissingInput

from etl.source import COLUMNS

KINDS = {".csv": "CSV", ".parquet": "Parquet"}
NULLS = ["", "NA", "NULL", "null"]


def list_files(source: str) -> list[Path]:
    """Return the file, or the folder's CSV or Parquet files by name; raises MissingInput."""
    path = Path(source)
    if path.is_file():
        if path.suffix.lower() not in KINDS:
            raise MissingInput(f"source: {path} is neither .csv nor .parquet")
        return [path]
    if not path.is_dir():
        raise MissingInput(f"source: {path} does not exist")
    found = sorted(file for file in path.iterdir() if file.is_file() and file.suffix.lower() in KINDS)
    if not found:
        raise MissingInput(f"source: {path} has no *.csv and no *.parquet")
    if len({file.suffix.lower() for file in found}) > 1:
        raise MissingInput(f"source: {path} mixes CSV and Parquet: give a folder of one kind")
    return found


def read(paths: list[Path]) -> pl.DataFrame:
    """Read the files into one frame, columns x_1 to x_4 and y as Float64; raises MissingInput."""
    return pl.concat([_read_one(path) for path in paths])


def _read_one(path: Path) -> pl.DataFrame:
    kind = KINDS[path.suffix.lower()]
    try:
        if kind == "CSV":
            _demand_columns(path, pl.read_csv(path, n_rows=0).columns)
            numbers = dict.fromkeys(COLUMNS, pl.Float64)
            return pl.read_csv(path, schema_overrides=numbers, null_values=NULLS).select(COLUMNS)
        schema = pl.read_parquet_schema(path)
        _demand_columns(path, list(schema))
        for name in COLUMNS:
            if not (schema[name].is_numeric() or schema[name] == pl.Null):
                raise MissingInput(f"source: {path}: column {name} is {schema[name]}, expected numbers")
        return pl.read_parquet(path).select(pl.col(name).cast(pl.Float64) for name in COLUMNS)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MissingInput(f"source: {path} cannot be read as {kind}: {reason}") from error


def _demand_columns(path: Path, found: list[str]) -> None:
    expected = f"expected {', '.join(COLUMNS)}"
    if missing := [name for name in COLUMNS if name not in found]:
        raise MissingInput(f"source: {path}: missing {', '.join(missing)}; {expected}")
    if surplus := [name for name in found if name not in COLUMNS]:
        raise MissingInput(f"source: {path}: unexpected {', '.join(surplus)}; {expected}")
