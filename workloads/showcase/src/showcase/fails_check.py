"""Report an asset together with a blocking check that failed, and exit 0."""

from showcase.pipes import open_pipes

ROWS = [4, 8, -15, 16]


def main() -> None:
    negative = [row for row in ROWS if row <= 0]
    with open_pipes("fails_check") as pipes:
        if "fails_check" in pipes.asset_keys:
            pipes.report_asset_materialization(
                asset_key="fails_check", metadata={"dagster/row_count": len(ROWS)}
            )
        pipes.report_asset_check(
            check_name="rows_are_positive",
            passed=not negative,
            severity="ERROR",
            asset_key="fails_check",
            metadata={"rows_not_positive": len(negative), "first": negative[0]},
        )


if __name__ == "__main__":
    main()
