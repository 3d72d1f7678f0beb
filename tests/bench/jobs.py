"""The same steps for every contender: programs of `tests/bench/programs`, in a chain or independent of each other."""

import base64
import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import yaml

from tests.conftest import BULKHEAD, REPOSITORY

PROGRAMS = Path(__file__).parent / "programs"
ENVIRONMENT = REPOSITORY / "workloads" / "sdk" / ".venv"
TEAM, JOB = "bench", "bench_job"
CLEAN = ("BULKHEAD_", "DAGSTER_")


@dataclass(frozen=True)
class Steps:
    """So many steps that run `program` with `arguments`; `{name}` in one stands for the step's name."""

    count: int
    program: str
    arguments: tuple[str, ...] = ()
    chained: bool = False

    def named(self) -> list[tuple[str, list[str], list[str]]]:
        """Return name, command and dependencies of each step."""
        names = [f"s{number:03d}" for number in range(self.count)]
        return [
            (
                name,
                ["python", self.program, *(argument.format(name=name) for argument in self.arguments)],
                names[number - 1 : number] if self.chained else [],
            )
            for number, name in enumerate(names)
        ]


def write_project(root: Path, steps: Steps, **more: Any) -> None:
    """Write a platform's project with one team that has these steps; `more` goes into the contract."""
    folder = root / "workloads" / TEAM
    folder.mkdir(parents=True)
    shutil.copytree(REPOSITORY / "deployment", root / "deployment")
    location = {"module_name": "orchestrator.definitions", "attribute": TEAM, "location_name": TEAM}
    workspace = {"load_from": [{"python_module": location}]}
    (root / "deployment" / "workspace.yaml").write_text(yaml.safe_dump(workspace), encoding="utf-8")
    for program in PROGRAMS.glob("*.py"):
        shutil.copy(program, folder)
    (folder / ".venv").symlink_to(ENVIRONMENT)
    declared = [
        {"name": name, "run": command, "timeout": "30m", "assets": [{"key": name, "deps": deps}]}
        for name, command, deps in steps.named()
    ]
    contract = {"team": TEAM, "image": TEAM, "jobs": {JOB: {"selection": "*"}}, **more, "steps": declared}
    document = {"type": "orchestrator.Workload", "attributes": contract}
    (folder / "defs.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def environment(root: Path, **more: str) -> dict[str, str]:
    """Return the environment of a platform whose project is in `root`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(CLEAN)}
    return {**kept, "BULKHEAD_PROJECT": str(root), "BULKHEAD_HOME": f"{root}.home", **more}


def run_bulkhead(root: Path, **env: str) -> float:
    """Run the project's job with `bulkhead run`; return seconds from its first step's start to its last one's end."""
    done = subprocess.run(
        [str(BULKHEAD), "run", JOB, "--json"], env=environment(root, **env), capture_output=True, text=True
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode:
        raise RuntimeError(f"bulkhead run failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return between([event["time"] for event in events if event["event"] == "STEP_START"],
                   [event["time"] for event in events if event["event"] == "STEP_SUCCESS"])  # fmt: skip


def run_stock(steps: Steps, executor: str, slots: int, image: str = "") -> float:
    """Run the same steps on stock Dagster with its own client, in a process of its own; return the same."""
    spec = {"steps": steps.named(), "executor": executor, "slots": slots, "image": image}
    with TemporaryDirectory() as home:
        result, log = Path(home) / "result.json", Path(home) / "log"
        with log.open("wb") as out:
            command = [sys.executable, "-m", "tests.bench.stock", json.dumps(spec), str(result)]
            done = subprocess.run(command, cwd=REPOSITORY, stdout=out, stderr=out)
        if done.returncode:
            raise RuntimeError(f"stock Dagster failed: {log.read_bytes()[-2000:].decode(errors='replace')}")
        starts, ends = json.loads(result.read_text(encoding="utf-8"))
    return between(starts, ends)


def run_bare(steps: Steps, folder: Path, slots: int = 1) -> float:
    """Run the same commands as processes of this one, `slots` at a time; return seconds from first start to last end."""
    named = steps.named()
    environments = [pipes_environment(folder, name) for name, _, _ in named]
    python = str(ENVIRONMENT / "bin" / "python")

    def run(number: int) -> None:
        command = [python, *named[number][1][1:]]
        with (folder / "out").open("ab") as out:
            subprocess.run(command, cwd=PROGRAMS, env=environments[number], stdout=out, stderr=out, check=True)

    began = perf_counter()
    if slots == 1:
        for number in range(len(named)):
            run(number)
    else:
        with ThreadPoolExecutor(slots) as pool:
            list(pool.map(run, range(len(named))))
    return perf_counter() - began


def pipes_environment(folder: Path, name: str) -> dict[str, str]:
    """Return the variables of an open Pipes session for one asset."""
    context = {
        "asset_keys": [name],
        "code_version_by_asset_key": {name: None},
        "provenance_by_asset_key": {name: None},
        "partition_key": None,
        "partition_key_range": None,
        "partition_time_window": None,
        "run_id": "bare",
        "job_name": None,
        "retry_number": 0,
        "extras": {},
    }
    (folder / f"{name}.json").write_text(json.dumps(context), encoding="utf-8")
    channels: Mapping[str, Path] = {
        "DAGSTER_PIPES_CONTEXT": folder / f"{name}.json",
        "DAGSTER_PIPES_MESSAGES": folder / f"{name}.jsonl",
    }
    encoded = {
        variable: base64.b64encode(zlib.compress(json.dumps({"path": str(path)}).encode())).decode()
        for variable, path in channels.items()
    }
    return {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", **encoded}


def between(starts: Sequence[float], ends: Sequence[float]) -> float:
    """Return the seconds from the first start to the last end."""
    return max(ends) - min(starts)
