"""`bulkhead ui` of a test's own project, asked over GraphQL as the UI asks."""

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import psutil
import yaml

from tests.conftest import BULKHEAD, PATIENCE, REPOSITORY, Project, wait_for

LAUNCH = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
TERMINATE = """mutation($r: String!, $p: TerminateRunPolicy) { terminateRun(runId: $r, terminatePolicy: $p) {
  __typename ... on TerminateRunFailure { message } } }"""
RELOAD = "mutation($l: String!) { reloadRepositoryLocation(repositoryLocationName: $l) { __typename } }"
STATUS = "query($r: ID!) { runOrError(runId: $r) { ... on Run { status } } }"
LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { name
  locationOrLoadError { __typename } } } } }"""
ENDED = ("SUCCESS", "FAILURE", "CANCELED")
FORKED = "Forked a process for the run (pid: "
# A step that says "ready", and ends when it is let go; its team has the store `gate`.
WAITS = """
    print("ready", flush=True)
    while not Path(os.environ["BULKHEAD_STORE_GATE"], "go").exists():
        time.sleep(0.02)
    pipes.report_asset_materialization()
"""


def make_project(root: Path, home: Path, *teams: str, **coordinator: Any) -> Project:
    """Return a project with an empty folder and a code location for each team; more is for the run coordinator."""
    (root / "workloads").mkdir(parents=True)
    shutil.copytree(REPOSITORY / "deployment", root / "deployment")
    modules = [{"module_name": "orchestrator.definitions", "attribute": team, "location_name": team} for team in teams]
    workspace = {"load_from": [{"python_module": module} for module in modules]}
    (root / "deployment" / "workspace.yaml").write_text(yaml.safe_dump(workspace))
    instance = yaml.safe_load((root / "deployment" / "dagster.yaml").read_text())
    instance["run_coordinator"]["config"] |= coordinator
    (root / "deployment" / "dagster.yaml").write_text(yaml.safe_dump(instance))
    return Project(root, home)


class Ui:
    """A webserver and daemon of Bulkhead, and what the tests ask of them."""

    def __init__(self, project: Project, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.project, self.process, self.address = project, process, f"http://127.0.0.1:{port}"

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(f"{self.address}/graphql", body, {"content-type": "application/json"})
        with urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)["data"]

    def locations(self) -> dict[str, str]:
        try:
            entries = self.ask(LOCATIONS)["workspaceOrError"]["locationEntries"]
        except URLError:
            return {}
        return {entry["name"]: (entry["locationOrLoadError"] or {}).get("__typename", "") for entry in entries}

    def launch(self, team: str, job: str = "", tags: Mapping[str, str] | None = None, **selected: Any) -> str:
        """Launch a job, or what is selected of it, and return the run's id."""
        selector = {"repositoryLocationName": team, "repositoryName": "__repository__", "jobName": job or f"{team}_job"}
        metadata = {"tags": [{"key": key, "value": value} for key, value in (tags or {}).items()]}
        parameters = {"selector": {**selector, **selected}, "runConfigData": "{}", "executionMetadata": metadata}
        launched = self.ask(LAUNCH, p=parameters)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def status(self, run: str) -> str:
        return str(self.ask(STATUS, r=run)["runOrError"]["status"])

    def end(self, run: str) -> str:
        """Wait for the end of a run; return its status."""
        return str(wait_for(lambda: (status := self.status(run)) in ENDED and status, f"run {run} ends"))

    def run(self, *what: Any, **selected: Any) -> str:
        """Launch, and wait for success; return the run's id."""
        run = self.launch(*what, **selected)
        assert self.end(run) == "SUCCESS", self.messages(run)
        return run

    def terminate(self, run: str, policy: str = "SAFE_TERMINATE") -> Mapping[str, str]:
        answer: Mapping[str, str] = self.ask(TERMINATE, r=run, p=policy)["terminateRun"]
        return answer

    def reload(self, location: str) -> None:
        self.ask(RELOAD, l=location)

    def messages(self, run: str) -> list[str]:
        """Return the message of each event of a run."""
        with self.project.instance() as instance:
            return [entry.message for entry in instance.all_logs(run)]

    def tags(self, run: str) -> Mapping[str, str]:
        with self.project.instance() as instance:
            found = instance.get_run_by_id(run)
            assert found is not None
            return dict(found.tags)

    def made(self, run: str) -> list[str]:
        """Return the assets that a run has materialized, with their partitions, sorted."""
        with self.project.instance() as instance:
            events = [entry.dagster_event for entry in instance.all_logs(run)]
        made = [
            event.step_materialization_data.materialization
            for event in events
            if event and event.is_step_materialization
        ]
        return sorted(
            f"{one.asset_key.to_user_string()}{f'[{one.partition}]' if one.partition else ''}" for one in made
        )

    def worker(self, run: str) -> int:
        """Return the pid of the process that was forked for a run."""
        (said,) = [message for message in self.messages(run) if message.startswith(FORKED)]
        return int(said.removeprefix(FORKED).removesuffix(")."))

    def ready(self, run: str, *steps: str) -> None:
        """Wait until each of these steps has said that it runs."""
        wait_for(lambda: all(self._said(run, step) for step in steps), f"{steps} of run {run} are ready")

    def _said(self, run: str, step: str) -> bool:
        try:
            return self.project.stdout_of(run, step) == b"ready\n"
        except FileNotFoundError:
            return False

    def printed(self) -> str:
        """Return what `bulkhead ui` has printed so far."""
        return (self.project.root / "ui.txt").read_text()

    def let_go(self, team: str) -> None:
        """Let the steps end that wait at their team's gate."""
        gate = self.project.home / "stores" / team / "gate"
        gate.mkdir(parents=True, exist_ok=True)
        (gate / "go").touch()

    def hold(self, team: str) -> None:
        (self.project.home / "stores" / team / "gate" / "go").unlink(missing_ok=True)

    def prewarmed(self) -> int | None:
        """Return the pid of the prewarmed process: it holds the lock open, as no run worker does."""
        lock = str(self.project.home / "prewarmed.lock")
        for pid in self.project.processes():
            try:
                if any(str(link.readlink()) == lock for link in Path(f"/proc/{pid}/fd").iterdir()):
                    return pid
            except OSError:
                continue
        return None

    def serving(self) -> int:
        """Wait until a prewarmed process answers, and return its pid."""
        wait_for(lambda: greeted(self.project.home, b"{}\n") == REFUSED, "the prewarmed process answers")
        pid = self.prewarmed()
        assert pid is not None
        return pid


REFUSED = b'{"refused": "a request has run, team, job, instance"}\n'


def connected(home: Path) -> socket.socket:
    """Connect to the prewarmed process of a home."""
    channel = socket.socket(socket.AF_UNIX)
    channel.settimeout(PATIENCE)
    folder = os.open(home, os.O_RDONLY)
    try:
        channel.connect(f"/proc/self/fd/{folder}/prewarmed.sock")
    except OSError:
        channel.close()
        raise
    finally:
        os.close(folder)
    return channel


def greeted(home: Path, line: bytes) -> bytes:
    """Send something to the prewarmed process, and return all that it says; nothing if it is not there."""
    try:
        with connected(home) as channel:
            channel.sendall(line)
            channel.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: channel.recv(65536), b""))
    except OSError:
        return b""


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and was not collected does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def serve(project: Project, teams: Sequence[str], **env: str) -> Iterator[Ui]:
    """Start `bulkhead ui`, and wait until each team's location has loaded."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    output = project.root / "ui.txt"
    with output.open("wb") as file:
        command = [str(BULKHEAD), "ui", "--port", str(port)]
        process = subprocess.Popen(command, env=project.variables(**env), stdout=file, stderr=file)
    made = Ui(project, process, port)
    try:
        wait_for(lambda: made.locations() == dict.fromkeys(teams, "RepositoryLocation"), output.read_text)
        yield made
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        finally:
            for pid in project.processes():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
