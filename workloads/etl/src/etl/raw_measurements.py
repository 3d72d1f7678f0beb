"""Load raw measurements into the private store: `python -m etl.raw_measurements`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bulkhead_sdk import open_step

from etl.source import Source, pull


def load(folder: Path, parameters: Source) -> dict[str, Any]:
    """Replace the raw table by the source's rows; return the arguments of its table report."""
    from etl import store

    frame, origin = pull(parameters)
    store.replace_rows(folder, "raw_measurements", frame)
    columns = {name: str(kind) for name, kind in frame.schema.items()}
    return {"rows": frame.height, "columns": columns, "preview": frame.head(5).to_dicts(), "metadata": origin}


def main() -> None:
    """Load the source and report the table."""
    with open_step("raw_measurements", parameters=Source, env_prefix="ETL") as step:
        folder = step.store("etl")
        if step.standalone:
            from etl import store

            store.create_tables(folder)
        report = load(folder, step.parameters)
        step.log(f"loaded {report['rows']:,} rows from {step.parameters.source or 'the mock source'}")
        step.report_table("raw_measurements", **report)


if __name__ == "__main__":
    main()
