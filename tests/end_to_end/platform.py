"""The platform in containers, brought up by `make` beside whatever else runs on this engine, and asked as its users ask."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from tests.conftest import REPOSITORY, wait_for
from tests.containers import TAG

PATIENCE = 240.0
LAUNCH = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
RUN = """query($r: ID!) { runOrError(runId: $r) { ... on Run { status
  eventConnection(limit: 1000) { events { __typename ... on MessageEvent { message stepKey } } } } } }"""
NEWEST = "{ runsOrError(limit: 1) { ... on Runs { results { runId } } } }"
TERMINATE = """mutation($r: String!) { terminateRun(runId: $r) { __typename
  ... on TerminateRunFailure { message } ... on PythonError { message } } }"""
LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { name
  locationOrLoadError { __typename } } } } }"""
ENDED = ("SUCCESS", "FAILURE", "CANCELED")


@dataclass
class Deployed:
    """A platform of this checkout: a compose project of its own, on a free port."""

    project: str
    port: int
    settings: dict[str, str] = field(default_factory=dict)

    def make(self, target: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run a target of the Makefile for this platform."""
        own = {"PROJECT": self.project, "PORT": str(self.port), **self.settings, **settings}
        # Of what is not in a registry, the images of this checkout as it is now.
        makefile = "Makefile" if "REGISTRY" in own or target != "up" else "Makefile_dev.txt"
        command = ["make", "-f", makefile, target, *(f"{name}={value}" for name, value in own.items())]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BULKHEAD_", "DAGSTER_"))}
        return subprocess.run(command, cwd=REPOSITORY, env=kept, capture_output=True, text=True, timeout=1500)

    def compose(self, *words: str) -> str:
        """Return what `docker compose` prints about this platform."""
        env = {**os.environ, "PROJECT": self.project, "PORT": str(self.port), **self.settings}
        return docker("compose", *words, env=env)

    def containers(self, *filters: str) -> list[dict[str, Any]]:
        """Return what the engine knows of each of its containers: services, run workers and steps."""
        found: set[str] = set()
        for label in ("com.docker.compose.project", "bulkhead.platform"):
            words = [word for one in (f"label={label}={self.project}", *filters) for word in ("--filter", one)]
            found |= set(docker("ps", "--all", "--quiet", "--no-trunc", *words).split())
        return [one for id_ in sorted(found) for one in inspected(id_)]

    def service(self, name: str) -> dict[str, Any]:
        (found,) = self.containers(f"label=com.docker.compose.service={name}")
        return found

    def workers(self, run: str) -> list[dict[str, Any]]:
        """Return the containers of a run's worker: one while it executes."""
        return self.containers(f"label=dagster/run_id={run}")

    def inside(self, service: str, program: str) -> str:
        """Return what a Python program prints in a service's container."""
        return docker("exec", self.service(service)["Id"], "python", "-c", program)

    def kill(self, container: Mapping[str, Any]) -> None:
        """Kill what runs in a container, as the kernel does when memory is short."""
        program = (
            "import os, pathlib\n"
            "stats = [p.read_text().rpartition(')')[2].split() for p in pathlib.Path('/proc').glob('[0-9]*/stat')]\n"
            "pids = [p.name for p in pathlib.Path('/proc').glob('[0-9]*')]\n"
            "own = min(int(p) for p in pids if p != '1')\n"
            "os.kill(own, 9)"
        )
        subprocess.run(["docker", "exec", container["Id"], "python", "-c", program], capture_output=True, timeout=60)

    def is_well(self, service: str, since: Mapping[str, Any] | None = None) -> bool:
        """Return whether a service is healthy, and was started again since it was looked at."""
        state = self.service(service)["State"]
        again = since is None or state["StartedAt"] != since["State"]["StartedAt"]
        return again and state["Status"] == "running" and state.get("Health", {}).get("Status") == "healthy"

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(f"{self.address}/graphql", body, {"content-type": "application/json"})
        with urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def locations(self) -> dict[str, str]:
        """Return what became of each code location; nothing while nobody answers."""
        try:
            entries = self.ask(LOCATIONS)["workspaceOrError"]["locationEntries"]
        except (OSError, URLError):
            return {}
        return {one["name"]: (one["locationOrLoadError"] or {}).get("__typename", "") for one in entries}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def newest(self) -> str | None:
        """Return the id of the newest run."""
        found = self.ask(NEWEST)["runsOrError"]["results"]
        return str(found[0]["runId"]) if found else None

    def has_begun(self, run: str, step: str) -> bool:
        return any(e["__typename"] == "ExecutionStepStartEvent" and e["stepKey"] == step for e in self.events(run))

    def launch(self, team: str, job: str, **config: Any) -> str:
        """Launch a job as the UI does, `config` by step, and return the run's id."""
        where = {"repositoryLocationName": team, "repositoryName": "__repository__", "jobName": job}
        given = {"ops": {step: {"config": values} for step, values in config.items()}} if config else {}
        answer = self.ask(LAUNCH, p={"selector": where, "mode": "default", "runConfigData": given})["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def status(self, run: str) -> str:
        return str(self.ask(RUN, r=run)["runOrError"]["status"])

    def events(self, run: str) -> list[dict[str, Any]]:
        return list(self.ask(RUN, r=run)["runOrError"]["eventConnection"]["events"])

    def until(self, run: str, *statuses: str) -> str:
        """Wait until a run has one of these statuses, and return it."""
        return str(wait_for(lambda: next((s for s in statuses if self.status(run) == s), None), statuses, PATIENCE))

    def runs(self, team: str, job: str) -> tuple[str, list[dict[str, Any]]]:
        """Launch a job, wait for its end, and return its status and events."""
        run = self.launch(team, job)
        return self.until(run, *ENDED), self.events(run)


def docker(*words: str, env: Mapping[str, str] | None = None) -> str:
    """Return what a docker command prints; fail with what it says if it fails."""
    done = subprocess.run(["docker", *words], cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def inspected(*ids: str) -> list[dict[str, Any]]:
    """Return what the engine knows of containers; nothing of those that are gone."""
    done = subprocess.run(["docker", "inspect", *ids], capture_output=True, text=True, timeout=60)
    return list(json.loads(done.stdout or "[]"))


def left_of(project: str) -> dict[str, Sequence[str]]:
    """Return what of a platform is on the engine."""
    label = f"label=com.docker.compose.project={project}"
    own = f"label=bulkhead.platform={project}"
    return {
        "containers": docker("ps", "-aq", "--filter", label).split() + docker("ps", "-aq", "--filter", own).split(),
        "networks": docker("network", "ls", "--format", "{{.Name}}", "--filter", label).split(),
        "volumes": sorted(docker("volume", "ls", "--format", "{{.Name}}", "--filter", label).split()),
    }


@contextmanager
def deployed(**settings: str) -> Iterator[Deployed]:
    """Bring a platform up with `make`; remove it with all its data at the end.

    Without settings its images are built from this checkout, and are those of the tests.
    """
    settings = settings or {"TAG": TAG}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Deployed(f"bulkhead-test-{os.getpid()}-{int(time.time())}", port, settings)
    try:
        done = made.make("up")
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1] == f"bulkhead: healthy: http://127.0.0.1:{port}"
        yield made
    finally:
        made.make("reset", FORCE="1")
