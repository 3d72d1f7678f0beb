"""A tiny platform to run real workloads on: a project and a home of its own, driven through the real command line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.backends.sandbox import find_compiled_starter, find_sandbox

# Of the `make` that may have started the tests; those that they start are their own.
for _name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
    os.environ.pop(_name, None)
# A shell that started the tests in the background had them ignore Ctrl-C, and what they start would ignore it as well.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent
BULKHEAD = Path(sys.executable).parent / "bulkhead"
LAUNCH = Path(__file__).parent / "launch.py"
PRELUDE = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
from dagster_pipes import open_dagster_pipes
"""
REPORT = "pipes.report_asset_materialization()"
PATIENCE = 60.0


@dataclass(frozen=True)
class Ran:
    """What a finished command left: its exit code, its events (one dictionary a line of --json), its stderr."""

    code: int
    events: Sequence[Mapping[str, Any]]
    stderr: str

    def named(self, event: str, **fields: Any) -> list[Mapping[str, Any]]:
        """Return the events of one type with these fields, in order."""
        return [e for e in self.events if e["event"] == event and all(e.get(k) == v for k, v in fields.items())]

    def steps(self, event: str) -> list[str]:
        """Return the steps that had an event, sorted."""
        return sorted(e["step"] for e in self.named(event))

    def error(self, step: str) -> str:
        """Return the whole text of the one failure of a step."""
        (found,) = self.named("STEP_FAILURE", step=step)
        return str(found["error"])

    @property
    def run_id(self) -> str:
        return str(self.events[0]["run_id"])


@dataclass
class Started:
    """A command that runs. Events are read as it prints them."""

    process: "subprocess.Popen[str]"
    patience: float = PATIENCE
    seen: list[Mapping[str, Any]] = field(default_factory=list)

    def until(self, event: str, **fields: Any) -> Mapping[str, Any]:
        """Read events until one of this type and with these fields arrives, and return it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.seen.append(json.loads(line))
            last = self.seen[-1]
            if last["event"] == event and all(last.get(k) == v for k, v in fields.items()):
                return last
        raise AssertionError(f"ended without {event} {fields}: {self.seen}")

    def end(self) -> Ran:
        """Wait for the end."""
        out, err = self.process.communicate(timeout=self.patience)
        self.seen += [json.loads(line) for line in out.splitlines()]
        return Ran(self.process.returncode, self.seen, err)


@dataclass
class Project:
    """A project folder with teams made by the test, and the home that its runs keep their state in."""

    root: Path
    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    patience: float = PATIENCE
    started: list[Started] = field(default_factory=list)

    @property
    def tag(self) -> str:
        """The tag of its images; empty where steps run in none."""
        return self.environment.get("BULKHEAD_TAG", "") if self.environment.get("BULKHEAD_BACKEND") == "docker" else ""

    def team(self, team: str, steps: Sequence[Mapping[str, Any]], **contract: Any) -> None:
        """Write a team's folder: its contract, its scripts, its environment. Jobs default to `<team>_job` of all."""
        folder = self.root / "workloads" / team
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / ".venv").exists():
            (folder / ".venv").symlink_to(REPOSITORY / "workloads" / "showcase" / ".venv")
        declared = []
        for step in steps:
            step = dict(step)
            (folder / f"{step['name']}.py").write_text(step.pop("script"), encoding="utf-8")
            declared.append(step)
        jobs = {f"{team}_job": {"selection": "*"}}
        attributes = {"team": team, "image": team, "jobs": jobs, **contract, "steps": declared}
        document = {"type": "orchestrator.Workload", "attributes": attributes}
        (folder / "defs.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    def start(self, *arguments: str, command: Sequence[str] = (str(BULKHEAD), "run"), **env: str) -> Started:
        """Start `bulkhead run ARGUMENTS --json` and return at once."""
        if self.tag:
            from tests.containers import build_image

            for folder in (self.root / "workloads").iterdir():
                build_image(folder, self.tag)
        process = subprocess.Popen(
            [*command, *arguments, "--json"],
            env=self.variables(**env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(Started(process, self.patience))
        return self.started[-1]

    def run(self, *arguments: str, config: Mapping[str, Any] | None = None, **env: str) -> Ran:
        """Run `bulkhead run ARGUMENTS --json` to its end."""
        more = ["--config", json.dumps(config)] if config else []
        return self.start(*arguments, *more, **env).end()

    def launch(self, team: str, job: str, **what: Any) -> Ran:
        """Launch a part of a job as the UI does: `assets`, `checks` ([asset, name]), `tags`."""
        spec = json.dumps({"team": team, "job": job, **what})
        return self.start(spec, command=(sys.executable, str(LAUNCH))).end()

    def variables(self, **env: str) -> dict[str, str]:
        """Return the environment that a command of this project is started with."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BULKHEAD_", "DAGSTER_"))}
        own = {"BULKHEAD_PROJECT": str(self.root), "BULKHEAD_HOME": str(self.home), "BULKHEAD_STOP_GRACE": "0.5"}
        return {**kept, **own, **self.environment, **env}

    def instance(self) -> Any:
        """Open the Dagster instance of the home."""
        from dagster import DagsterInstance

        return DagsterInstance.from_config(str(self.home / "dagster"))

    def stdout_of(self, run_id: str, step: str) -> bytes:
        """Return what is in the compute log of a step's first attempt."""
        with self.instance() as instance:
            manager = instance.compute_log_manager
            key = manager.build_log_key_for_run(run_id, step)
            return Path(manager.get_captured_local_path(key, "out")).read_bytes()

    def close(self) -> None:
        """End what was left running."""
        for started in self.started:
            if started.process.poll() is None:
                started.process.kill()
                started.process.communicate()
        if self.tag:
            from tests.containers import containers_of, docker

            if found := containers_of(self.home):
                docker("rm", "--force", *found)

    def processes(self) -> list[int]:
        """Return every process that carries this home in its environment, except the test's own."""
        mark, found = str(self.home).encode(), []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                    found.append(int(folder.name))
            except OSError:
                continue
        return found


def workload(body: str = REPORT) -> str:
    """Return a script that runs `body` inside an open Pipes session called `pipes`."""
    return f"{PRELUDE}\nwith open_dagster_pipes() as pipes:\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"


def script(body: str) -> str:
    """Return a script that runs `body` as it is."""
    return f"{PRELUDE}\n{textwrap.dedent(body)}\n"


def one_step(name: str, source: str, deps: Sequence[str] = (), blocking: Sequence[str] = (), **more: Any) -> Any:
    """Return the declaration of a step that makes the asset of its name, with these blocking checks on it."""
    asset = {"key": name, **({"deps": list(deps)} if deps else {}), **more.pop("asset", {})}
    checks = [{"name": check, "asset": name, "blocking": True} for check in blocking]
    declared = {"name": name, "run": ["python", f"{name}.py"], "timeout": "1m", "assets": [asset], "script": source}
    return {**declared, **({"checks": checks} if checks else {}), **more}


def wait_for(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Wait until a condition holds and return its value; fail with `what` if it never does."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"never happened: {what}")


def engine_answers() -> bool:
    """Return whether there is a Docker engine."""
    return _no_engine() == ""


def needs_engine() -> None:
    """Skip a test where no Docker engine answers, saying so; in CI that is a failure."""
    if reason := _no_engine():
        message = f"NOT RUN: no Docker engine answers ({reason})"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


def _no_engine() -> str:
    """Return why there is no engine; nothing if there is one."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    asked = ["docker", "version", "--format", "{{.Server.Version}}"]
    done = subprocess.run(asked, capture_output=True, text=True)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it does not say why"])[-1]


def needs_sandbox() -> None:
    """Skip a test where there is no sandbox, saying so; in CI that is a failure."""
    reason = find_sandbox().reason
    if reason:
        message = f"NOT RUN: no sandbox on this machine ({reason})"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


def needs_compiled_starter() -> None:
    """Skip a test where the sandbox's starter was not compiled at set-up, saying so; in CI that is a failure."""
    if find_compiled_starter() is None:
        message = "NOT RUN: no compiled starter (install a C compiler, then 'make setup')"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(params=["compiled", "python"])
def starter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have sandboxes of this process made with one starter, then with the other."""
    if request.param == "compiled":
        needs_compiled_starter()
    else:
        monkeypatch.setattr("orchestrator.backends.sandbox.find_compiled_starter", lambda: None)


def needs_postgres() -> str:
    """Return the image of a throw-away Postgres; skip a test where none can be started, saying so; in CI, fail."""
    needs_engine()
    image = "postgres:17"
    for command in (["docker", "image", "inspect", image], ["docker", "pull", "-q", image]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            return image
    message = f"NOT RUN: {image} cannot be had ({(done.stderr.strip().splitlines() or ['no reason given'])[-1]})"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Return an empty project in a folder with a space in its name; end what the test left running."""
    root = tmp_path / "a project"
    (root / "workloads").mkdir(parents=True)
    shutil.copytree(REPOSITORY / "deployment", root / "deployment")
    made = Project(root, tmp_path / "a home")
    yield made
    made.close()
