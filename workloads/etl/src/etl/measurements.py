"""Clean the raw measurements and publish them: `python -m etl.measurements`."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
from bulkhead_sdk import Step, open_step

from etl import checks, cleaning, store
from etl.source import Source


def main() -> None:
    """Clean, write, read back, report, check. A run of checks alone judges the published version."""
    with open_step("measurements", parameters=Source, env_prefix="ETL") as step:
        if step.asked_for("measurements"):
            frame = publish(step)
        else:
            frame = pl.read_parquet(step.dataset("measurements").files)
        for name, check in checks.CHECKS.items():
            passed, metadata = check(frame)
            step.check(name, passed=passed, asset="measurements", blocking=True, metadata=metadata)


def publish(step: Step) -> pl.DataFrame:
    """Write the clean rows as a new version and report it; return the file's rows as read back."""
    folder = step.store("etl")
    if step.standalone:
        fill(step, folder)
    clean, removed = cleaning.clean(store.read_rows(folder, "raw_measurements"))
    path = cleaning.write(clean, step.new_version("measurements"))
    raw_rows = clean.height + sum(removed.values())
    step.log(f"kept {clean.height:,} of {raw_rows:,} raw rows; removed {removed}")
    del clean
    frame = pl.read_parquet(path)
    metadata = {"raw_rows": raw_rows, "removed": removed, "bytes": path.stat().st_size}
    if step.partition:
        metadata["partition"] = list(step.partition.keys)
    step.report_table(
        "measurements",
        rows=frame.height,
        columns={name: str(kind) for name, kind in frame.schema.items()},
        preview=frame.head(5).to_dicts(),
        metadata=metadata,
    )
    return frame


def fill(step: Step, folder: Path) -> None:
    """Pull the source into the local store if it is empty, or if a parameter asks for other rows.

    A store that the environment names is not this process's to fill.
    """
    if "BULKHEAD_STORE_ETL" in os.environ:
        return
    if store.has_table(folder, "raw_measurements") and step.parameters == Source():
        step.log(f"reading raw_measurements as it is in {folder}")
        return
    from etl.raw_measurements import load

    step.log(f"pulling the source into raw_measurements in {folder} first")
    store.create_tables(folder)
    load(folder, step.parameters)


if __name__ == "__main__":
    main()
