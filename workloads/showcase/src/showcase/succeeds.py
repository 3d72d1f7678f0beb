"""Do everything right, next to steps that do not."""

from showcase.pipes import open_pipes


def main() -> None:
    with open_pipes("succeeds") as pipes:
        pipes.log.info("the neighbours fail; this step does not notice")
        pipes.report_asset_materialization(asset_key="succeeds", metadata={"dagster/row_count": 3})


if __name__ == "__main__":
    main()
