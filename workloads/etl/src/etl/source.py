"""Where raw measurements come from: the parameters, their limits, and the choice between mock and files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

COLUMNS = ("x_1", "x_2", "x_3", "x_4", "y")


@dataclass(frozen=True)
class Source:
    """Parameters of the source; raises ValueError for a value outside its limits."""

    rows: int = field(default=100_000, metadata={"help": "mock: distinct clean rows"})
    seed: int = field(default=42, metadata={"help": "mock: seed of the random numbers"})
    noise: float = field(default=0.0, metadata={"help": "mock: standard deviation of the noise on y"})
    nulls: float = field(
        default=0.01, metadata={"help": "mock: rows with nulls on top, as a fraction of rows"}
    )
    duplicates: float = field(
        default=0.01, metadata={"help": "mock: duplicates on top, as a fraction of rows"}
    )
    source: str | None = field(default=None, metadata={"help": "a CSV or Parquet file, or a folder of them"})

    def __post_init__(self) -> None:
        for name in ("rows", "seed", "noise"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        for name in ("nulls", "duplicates"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a fraction from 0 to 1, got {getattr(self, name)}")


def pull(parameters: Source) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return the raw frame, columns x_1 to x_4 and y as Float64, and what is known about its origin.

    Raises MissingInput if the named files are missing or have other columns.
    """
    if parameters.source is not None:
        from etl import files

        paths = files.list_files(parameters.source)
        return files.read(paths), {"source": parameters.source, "files": [path.name for path in paths]}
    from etl import mock

    frame = mock.measurements(
        parameters.rows, parameters.seed, parameters.noise, parameters.nulls, parameters.duplicates
    )
    return frame, {"source": "mock", "truth": mock.TRUTH, "parameters": vars(parameters)}
