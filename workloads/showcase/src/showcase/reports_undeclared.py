"""Report an asset that the contract does not know.

`dagster_pipes` refuses to; a program in any language can write the message itself, and so does this one.
"""

import json

from dagster_pipes import PIPES_PROTOCOL_VERSION, PIPES_PROTOCOL_VERSION_FIELD

from showcase.pipes import append_line, open_pipes


def main() -> None:
    with open_pipes("reports_undeclared") as pipes:
        pipes.report_asset_materialization(asset_key="reports_undeclared")
        undeclared = {
            PIPES_PROTOCOL_VERSION_FIELD: PIPES_PROTOCOL_VERSION,
            "method": "report_asset_materialization",
            "params": {"asset_key": "not_in_the_contract", "data_version": None, "metadata": None},
        }
        append_line(json.dumps(undeclared))


if __name__ == "__main__":
    main()
