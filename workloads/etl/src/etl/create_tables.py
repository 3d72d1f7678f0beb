"""Create the tables of the private store: `python -m etl.create_tables`."""

from __future__ import annotations

from bulkhead_sdk import open_step

from etl import store


def main() -> None:
    """Report each table as created or kept."""
    with open_step("create_tables") as step:
        tables = store.create_tables(step.store("etl"))
        step.report("create_tables", metadata={"tables": tables, "statements": list(store.TABLES.values())})


if __name__ == "__main__":
    main()
