"""The values that a step is handed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Dataset:
    """One pinned version of a dataset: `path` is a directory of `*.parquet`, `version` its name."""

    path: Path
    version: str

    @property
    def files(self) -> list[Path]:
        """List the Parquet files in the order of their names."""
        return sorted(self.path.glob("*.parquet"))


@dataclass(frozen=True)
class Partition:
    """The partitions of this run: `keys`, and for multi-partitions one `{name: value}` per key."""

    keys: tuple[str, ...]
    dimensions: tuple[Mapping[str, str], ...] = ()

    @classmethod
    def from_flags(cls, flags: Iterable[str]) -> Partition | None:
        """Read `KEY` or `date=2026-01-01,region=eu`, one per `--partition`; None when there is none."""
        keys: list[str] = []
        dimensions: list[Mapping[str, str]] = []
        for flag in flags:
            parts = [part.partition("=") for part in flag.split(",")]
            if all(equals and name for name, equals, _ in parts):
                named = {name.strip(): value.strip() for name, _, value in parts}
                dimensions.append(named)
                keys.append("|".join(named[name] for name in sorted(named)))
            else:
                keys.append(flag)
        return cls(tuple(keys), tuple(dimensions)) if keys else None
