"""A Dagster that serves its UI: ours (`bulkhead ui`) or the stock one (`dagster dev`), asked as the UI asks."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.jobs import CLEAN
from tests.conftest import REPOSITORY

LOCATIONS = "{workspaceOrError{... on Workspace{locationEntries{name loadStatus}}}}"
LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
RUN = "query($run: ID!) { runOrError(runId: $run) { ... on Run { status startTime endTime } } }"
PATIENCE = 120.0


@dataclass(frozen=True)
class Served:
    """A webserver on this machine, with its daemon and code locations."""

    url: str

    def ask(self, query: str, **variables: Any) -> Any:
        """Return the data of a GraphQL query."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def click(self, location: str, job: str) -> tuple[str, float]:
        """Launch a job as the button does; return its run, and when the button was clicked (seconds since the epoch)."""
        selector = {"repositoryLocationName": location, "repositoryName": "__repository__", "jobName": job}
        clicked = time.time()
        launched = self.ask(LAUNCH, params={"selector": selector, "runConfigData": {}})["launchRun"]
        if launched["__typename"] != "LaunchRunSuccess":
            raise RuntimeError(f"not launched: {launched}")
        return str(launched["run"]["runId"]), clicked

    def ended(self, run: str) -> Mapping[str, Any]:
        """Wait for the end of a run that succeeds; return its times."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found: Mapping[str, Any] = self.ask(RUN, run=run)["runOrError"]
            if found["status"] == "SUCCESS":
                return found
            if found["status"] in ("FAILURE", "CANCELED"):
                break
            time.sleep(0.1)
        raise RuntimeError(f"run {run} did not succeed: {found}")


@contextmanager
def serving(command: Sequence[str], env: Mapping[str, str], log: Path) -> Iterator[Served]:
    """Start a server (`{port}` in its command stands for a free port), wait until its code is loaded, stop it again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [word.format(port=port) for word in command]
    with log.open("ab") as out:
        process = subprocess.Popen(words, env=dict(env), stdout=out, stderr=out, cwd=REPOSITORY, start_new_session=True)
    try:
        served = Served(f"http://127.0.0.1:{port}")
        _wait_until_loaded(served)
        yield served
    finally:
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def stock_environment(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a stock Dagster whose home is a new folder."""
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(CLEAN)}
    return {**kept, "DAGSTER_HOME": str(home), **more}


def stock_command(module: str) -> list[str]:
    """Return the command that serves a module with stock Dagster."""
    return [sys.executable, "-m", "dagster", "dev", "-m", module, "-h", "127.0.0.1", "-p", "{port}"]


def _wait_until_loaded(served: Served) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            entries = served.ask(LOCATIONS)["workspaceOrError"]["locationEntries"]
            if entries and all(entry["loadStatus"] == "LOADED" for entry in entries):
                # The prewarmed process, if there is one, is ready soon after.
                time.sleep(3)
                return
        time.sleep(0.2)
    raise RuntimeError("the server never came up")
