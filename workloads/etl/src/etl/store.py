"""The team's private DuckDB file: its tables, and how frames get in and out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from bulkhead_sdk import MissingInput, TryAgain

if TYPE_CHECKING:
    import polars as pl

FILE = "etl.duckdb"
MEMORY = "400MB"
TABLES = {
    "raw_measurements": "CREATE TABLE IF NOT EXISTS raw_measurements"
    " (x_1 DOUBLE, x_2 DOUBLE, x_3 DOUBLE, x_4 DOUBLE, y DOUBLE)",
}


@contextmanager
def opened(folder: Path, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the store's database; raises TryAgain while another process holds its lock."""
    try:
        connection = duckdb.connect(
            folder / FILE,
            read_only=read_only,
            config={"memory_limit": MEMORY, "autoload_known_extensions": False},
        )
    except duckdb.IOException as error:
        if "lock" in str(error):
            raise TryAgain(f"{FILE} is in use by another process") from error
        raise
    try:
        yield connection
    finally:
        connection.close()


def create_tables(folder: Path) -> dict[str, str]:
    """Create the tables that are missing; return each table as `created` or `kept`."""
    with opened(folder) as connection:
        before = _tables(connection)
        for statement in TABLES.values():
            connection.execute(statement)
    return {name: "kept" if name in before else "created" for name in TABLES}


def has_table(folder: Path, table: str) -> bool:
    """Tell whether the database exists and has the table."""
    if not (folder / FILE).is_file():
        return False
    with opened(folder, read_only=True) as connection:
        return table in _tables(connection)


def replace_rows(folder: Path, table: str, frame: pl.DataFrame) -> None:
    """Put the frame's rows in place of the table's in one transaction.

    Raises MissingInput if the table is missing; the table is unchanged after any error.
    """
    _demand_table(folder, table, "create_tables")
    with opened(folder) as connection:
        connection.execute("BEGIN")
        connection.execute(f"DELETE FROM {table}")
        connection.register("incoming", _Stream(frame))
        connection.execute(f"INSERT INTO {table} SELECT {', '.join(frame.columns)} FROM incoming")
        connection.unregister("incoming")
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT")


def read_rows(folder: Path, table: str) -> pl.DataFrame:
    """Return the whole table as a frame; raises MissingInput if it is missing."""
    import polars as pl

    _demand_table(folder, table, table)
    with opened(folder, read_only=True) as connection:
        return pl.DataFrame(_Stream(connection.sql(f"SELECT * FROM {table}")))


def _demand_table(folder: Path, table: str, step: str) -> None:
    if not has_table(folder, table):
        raise MissingInput(f"the store has no table {table!r}: run the step {step} (job etl_job) first")


def _tables(connection: duckdb.DuckDBPyConnection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}


class _Stream:
    """Offer data through the Arrow PyCapsule interface alone, its type unseen.

    DuckDB asks for pyarrow when it meets a polars type; polars keeps a reference to a DuckDB type that it
    meets, which makes DuckDB print warnings when the process ends.
    """

    def __init__(self, data: Any) -> None:
        self.data = data

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.data.__arrow_c_stream__(requested_schema)
