"""From the click on "Materialize" to the first line of the workload, and from a launch to the end of the seed jobs."""

import json
from pathlib import Path

from tests.bench.jobs import JOB, TEAM, Steps, environment, write_project
from tests.bench.served import Served, serving, stock_command, stock_environment
from tests.bench.stock import SPEC
from tests.conftest import BULKHEAD, REPOSITORY

CLICKED = Steps(1, "clock.py")
OURS = [str(BULKHEAD), "ui", "--port", "{port}"]
SEEDS = (("etl", "etl_job"), ("ml", "ml_pipeline_job"))


def clicks(folder: Path, repeats: int) -> dict[str, list[float]]:
    """Return, for each contender, the seconds from clicks to the moment that the workload's first line was printed."""
    write_project(folder / "click", CLICKED)
    found: dict[str, list[float]] = {}
    for name, env in (("Bulkhead", {}), ("Bulkhead, not prewarmed", {"BULKHEAD_PREWARM": "off"})):
        with serving(OURS, environment(folder / "click", **env), folder / "click.log") as served:
            logs = Path(f"{folder / 'click'}.home") / "dagster" / "storage"
            found[name] = [_first_line(served, TEAM, JOB, logs) for _ in range(repeats)]
    spec = json.dumps({"steps": CLICKED.named(), "executor": "multiprocess", "slots": 2})
    home = folder / "stock"
    with serving(
        stock_command("tests.bench.stock"), stock_environment(home, **{SPEC: spec}), folder / "stock.log"
    ) as s:
        found["stock Dagster"] = [_first_line(s, "tests.bench.stock", "job", home / "storage") for _ in range(repeats)]
    return found


def seeds(folder: Path, repeats: int) -> dict[str, list[float]]:
    """Return, for each seed job, the seconds from its launch to its end; the first of all is not counted."""
    found: dict[str, list[float]] = {}
    home = {"BULKHEAD_HOME": str(folder / "seeds")}
    with serving(OURS, {**environment(REPOSITORY), **home}, folder / "seeds.log") as served:
        for team, job in SEEDS:
            for _ in range(repeats + 1):
                run, clicked = served.click(team, job)
                found.setdefault(job, []).append(served.ended(run)["endTime"] - clicked)
    return {job: seconds[1:] for job, seconds in found.items()}


def _first_line(served: Served, location: str, job: str, storage: Path) -> float:
    run, clicked = served.click(location, job)
    served.ended(run)
    (log,) = [path for path in storage.glob(f"{run}/compute_logs/*.out") if path.stat().st_size]
    return float(log.read_text(encoding="utf-8").split()[0]) - clicked
