"""Wait for an upstream asset that never passes its blocking check."""

from showcase.pipes import open_pipes


def main() -> None:
    with open_pipes("never_runs") as pipes:
        pipes.report_asset_materialization(asset_key="never_runs")


if __name__ == "__main__":
    main()
