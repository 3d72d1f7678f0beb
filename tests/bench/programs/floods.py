"""Says much: `python floods.py stdout BYTES` or `python floods.py messages COUNT`."""

import sys

from dagster_pipes import open_dagster_pipes

with open_dagster_pipes() as pipes:
    amount = int(sys.argv[2])
    if sys.argv[1] == "stdout":
        block = (b"x" * 99 + b"\n") * 10_000
        for _ in range(amount // len(block)):
            sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
    else:
        for number in range(amount):
            pipes.log.info(f"message {number}")
    pipes.report_asset_materialization()
