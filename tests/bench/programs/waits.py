"""Says that it runs (a file in FOLDER), and waits until the file `go` is there: `python waits.py FOLDER NAME`."""

import sys
import time
from pathlib import Path

from dagster_pipes import open_dagster_pipes

with open_dagster_pipes() as pipes:
    folder = Path(sys.argv[1])
    (folder / sys.argv[2]).touch()
    while not (folder / "go").exists():
        time.sleep(0.2)
    pipes.report_asset_materialization()
