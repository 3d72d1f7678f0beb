"""Opens the UI in headless Chromium, runs the jobs, checks that it shows what it should, and saves pictures.

`python -m tests.end_to_end.screenshots FOLDER` does it with a platform in containers that is brought up for it.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from tests.conftest import wait_for
from tests.end_to_end.browser import Page, chromium
from tests.end_to_end.platform import ENDED, Deployed, deployed

BULKHEAD = Path(sys.executable).parent / "bulkhead"
LAUNCH = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
STATUS = "query($r: ID!) { runOrError(runId: $r) { ... on Run { status } } }"
LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { name
  locationOrLoadError { __typename } } } } }"""


class Ui:
    """A webserver and daemon of Bulkhead, started for this process."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"

    def ask(self, query: str, **variables: Any) -> Any:
        """Ask GraphQL; returns its `data`."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(f"{self.address}/graphql", body, {"content-type": "application/json"})
        with urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def launch(self, team: str, job: str) -> str:
        """Launch a job as the UI does and wait for its end; returns the run's id."""
        selector = {"repositoryLocationName": team, "repositoryName": "__repository__", "jobName": job}
        launched = self.ask(LAUNCH, p={"selector": selector, "runConfigData": "{}"})["launchRun"]
        run = launched["run"]["runId"]
        while self.status(run) not in ("SUCCESS", "FAILURE", "CANCELED"):
            time.sleep(0.2)
        return str(run)

    def status(self, run: str) -> str:
        return str(self.ask(STATUS, r=run)["runOrError"]["status"])

    def locations(self) -> dict[str, str]:
        entries = self.ask(LOCATIONS)["workspaceOrError"]["locationEntries"]
        return {entry["name"]: entry["locationOrLoadError"]["__typename"] for entry in entries}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def ui(home: Path) -> Iterator[Ui]:
    """Start `bulkhead ui` on a free port and wait until every location has loaded or failed."""
    port = free_port()
    env = {**os.environ, "BULKHEAD_HOME": str(home)}
    command = [str(BULKHEAD), "ui", "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            served = Ui(port)
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    if served.locations():
                        break
                except (URLError, OSError, KeyError):
                    time.sleep(0.5)
            else:
                log.seek(0)
                raise RuntimeError(f"the UI did not start:\n{log.read().decode()[-3000:]}")
            yield served
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def greet(page: Page, served: Ui | Deployed) -> None:
    """See all teams on the first page, and put away what Dagster asks once of each new instance."""
    page.open(f"{served.address}/asset-groups", ["etl", "ml", "showcase", "Join the Dagster community"])
    page.click("Skip")


def visit(page: Page, served: Ui | Deployed, runs: dict[str, str], folder: Path) -> None:
    """Open what a user looks at first; each page must show the words that belong there."""
    pages = {
        "asset": ("/assets/measurements", ["Row count", "100,000", "Float64", "Owners", "Polars"]),
        "checks": ("/assets/measurements?view=checks", ["schema_matches", "no_nulls", "no_duplicates", "not_empty"]),
        "model": ("/assets/model?view=events", ["coefficient_x_3", "predicted_vs_actual", "rmse"]),
        "log": (f"/runs/{runs['etl_job']}", ["loaded 102,000 rows from the mock source", "kept 100,000 of 102,000"]),
        "stdout": (
            f"/runs/{runs['etl_job']}?logFileKey=raw_measurements&logType=stdout",
            ["asset raw_measurements", "rows: 102000"],
        ),
        "failing": (f"/runs/{runs['failing_job']}", ["reports_nothing", "contract violated"]),
    }
    for name, (path, words) in pages.items():
        page.open(served.address + path, words)
        page.picture(folder / f"{name}.png")
    page.open(f"{served.address}/assets/model?view=events", ["predicted_vs_actual"])
    page.click("[Show Markdown]")
    page.until("document.querySelector('img[src^=\"data:image/png\"]')?.naturalWidth > 100")
    page.picture(folder / "plot.png")
    page.open(f"{served.address}/assets/training_set?view=lineage&lineageScope=neighbors", ["measurements", "model"])
    page.picture(folder / "lineage.png")


def take(folder: Path) -> None:
    """Run all jobs in a UI of their own and save a picture of each page into `folder`."""
    with tempfile.TemporaryDirectory() as home, ui(Path(home)) as served:
        jobs = {"etl_job": "etl", "ml_pipeline_job": "ml", "failing_job": "showcase"}
        runs = {job: served.launch(team, job) for job, team in jobs.items()}
        with chromium() as page:
            assert [served.status(run) for run in runs.values()] == ["SUCCESS", "SUCCESS", "FAILURE"]
            greet(page, served)
            visit(page, served, runs, folder)


def take_in_containers(platform: Deployed, folder: Path) -> None:
    """Watch a step live, materialize both jobs by a click, and look at what came of them; save a picture of each page."""
    with chromium() as page:
        greet(page, platform)
        watch(page, platform, folder)
        jobs = {"etl_job": "etl", "ml_pipeline_job": "ml"}
        runs = {job: materialize(page, platform, team, job) for job, team in jobs.items()}
        runs["failing_job"] = platform.launch("showcase", "failing_job")
        assert platform.until(runs["failing_job"], *ENDED) == "FAILURE"
        visit(page, platform, runs, folder)


def watch(page: Page, platform: Deployed, folder: Path) -> None:
    """See a step's stdout while its run goes on, with so many rows that there is time for it."""
    run = platform.launch("etl", "etl_job", raw_measurements={"ETL_ROWS": 3_000_000})
    wait_for(lambda: platform.has_begun(run, "raw_measurements"), "the step begins")
    page.open(f"{platform.address}/runs/{run}?logFileKey=raw_measurements&logType=stdout", ["rows: 3060000"])
    assert platform.status(run) == "STARTED"
    page.picture(folder / "live.png")
    assert platform.until(run, *ENDED) == "SUCCESS"


def materialize(page: Page, platform: Deployed, team: str, job: str) -> str:
    """Click on "Materialize all" and wait for the end of the run; return its id."""
    before = platform.newest()
    page.open(f"{platform.address}/locations/__repository__@{team}/jobs/{job}", [job, "Materialize all"])
    page.click("Materialize all")
    run = str(wait_for(lambda: new if (new := platform.newest()) != before else None, "the click launches a run"))
    assert platform.until(run, *ENDED) == "SUCCESS"
    return run


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    with deployed() as made:
        take_in_containers(made, Path(sys.argv[1]))
