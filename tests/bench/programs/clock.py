"""Prints when it began to run, as its first line: seconds since the epoch."""

import sys
import time

print(time.time(), flush=True)

from dagster_pipes import open_dagster_pipes  # noqa: E402

with open_dagster_pipes() as pipes:
    pipes.report_asset_materialization()

sys.exit(0)
