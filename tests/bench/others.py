"""The chain of ten on Prefect and on Airflow: `python -m tests.bench.others PAGE [FOLDER]` installs them and measures.

Prefect runs each step as a subprocess of a task in one flow; Airflow runs a BashOperator for each, with its local
executor. Seconds are from the first step's start to the last one's end, as these tools record them.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.bench.chains import BARE, PLAIN, SANDBOXED, SCENARIOS
from tests.bench.jobs import ENVIRONMENT, PROGRAMS, Steps, pipes_environment, run_bare, run_bulkhead, write_project
from tests.bench.report import Page, machine
from tests.conftest import REPOSITORY, wait_for

NAME, REPEATS, PATIENCE = "chain of 10 x fibo(10)", 5, 300.0
UV = REPOSITORY / ".venv" / "bin" / "uv"
PACKAGES = {"prefect": "prefect", "airflow": "apache-airflow"}
HEAD = """# Performance beside Prefect and Airflow

Written by `make -f Makefile_dev.txt bench-others`. The same ten commands, one after another: from the first one's start to the
last one's end, as each tool records it; the median of {repeats}, the range in brackets. Bulkhead and the bare
processes take turns; Prefect and Airflow follow, each on its own. Airflow starts a process a task and then bash, Prefect
runs the command from its task. {machine} Prefect {versions[prefect]}, Airflow {versions[airflow]}.
"""
PREFECT = """
import json, subprocess, sys, time
from prefect import flow, task

@task
def step(spec, before):
    began = time.time()
    subprocess.run(spec["command"], env=spec["env"], cwd=spec["cwd"], check=True)
    return began, time.time()

@flow
def chain(specs):
    times = []
    for spec in specs:
        times.append(step(spec, times[-1] if times else None))
    return times

times = chain(json.load(open(sys.argv[1])))
print(json.dumps(times[-1][1] - times[0][0]))
"""
AIRFLOW = """
import json, shlex
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG("chain", schedule=None) as dag:
    before = None
    for number, spec in enumerate(json.load(open({specs!r}))):
        step = BashOperator(task_id=f"s{{number:03d}}", bash_command=shlex.join(spec["command"]), env=spec["env"], cwd=spec["cwd"])
        if before is not None:
            before >> step
        before = step
"""


def specifications(steps: Steps, folder: Path) -> Path:
    """Write what each step of the others runs: the same commands, in the same environment."""
    folder.mkdir(parents=True, exist_ok=True)
    python = str(ENVIRONMENT / "bin" / "python")
    specs = [
        {"command": [python, *command[1:]], "env": pipes_environment(folder, name), "cwd": str(PROGRAMS)}
        for name, command, _ in steps.named()
    ]
    file = folder / "specs.json"
    file.write_text(json.dumps(specs), encoding="utf-8")
    return file


def install(folder: Path, *packages: str) -> Path:
    """Make an environment with these packages; return its folder of programs."""
    if not (folder / "bin").is_dir():
        subprocess.run([str(UV), "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
        python = str(folder / "bin" / "python")
        subprocess.run([str(UV), "pip", "install", "--quiet", "--python", python, *packages], check=True)
    return folder / "bin"


def prefect(folder: Path, specs: Path, repeats: int) -> list[float]:
    """Return the seconds of each run on Prefect."""
    # Prefect 3.8 starts with no newer FastAPI.
    programs = install(folder / "prefect", "prefect", "fastapi<0.129")
    script = folder / "prefect_chain.py"
    script.write_text(PREFECT, encoding="utf-8")
    env = {**os.environ, "PREFECT_HOME": str(folder / "prefect home"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [str(programs / "python"), str(script), str(specs)]
    found = []
    for _ in range(repeats):
        done = subprocess.run(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
        )
        found.append(float(done.stdout.splitlines()[-1]))
    return found


def airflow(folder: Path, specs: Path, repeats: int) -> list[float]:
    """Return the seconds of each run on Airflow."""
    programs = install(folder / "airflow", "apache-airflow", "apache-airflow-providers-standard")
    home = folder / "airflow home"
    (home / "dags").mkdir(parents=True, exist_ok=True)
    (home / "dags" / "chain.py").write_text(AIRFLOW.format(specs=str(specs)), encoding="utf-8")
    env = {
        **os.environ,
        "PATH": f"{programs}:{os.environ.get('PATH', '')}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    }

    def ask(*arguments: str) -> Any:
        done = subprocess.run(
            [str(programs / "airflow"), *arguments, "-o", "json"], env=env, capture_output=True, text=True
        )
        # What it logs stands before, some of it in brackets.
        found = re.search(r"^\[\s*[{\]].*", done.stdout, re.MULTILINE | re.DOTALL)
        return json.loads(found[0]) if found else []

    with (home / "log").open("wb") as log:
        served = subprocess.Popen(
            [str(programs / "airflow"), "standalone"], env=env, stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_for(
                lambda: any(dag["dag_id"] == "chain" for dag in ask("dags", "list")), "Airflow read its DAG", PATIENCE
            )
            subprocess.run([str(programs / "airflow"), "dags", "unpause", "chain"], env=env, capture_output=True)
            return [_one_airflow_run(programs, env, ask, f"run{number}") for number in range(repeats)]
        finally:
            os.killpg(served.pid, signal.SIGTERM)
            served.wait()


def _one_airflow_run(programs: Path, env: Mapping[str, str], ask: Callable[..., Any], run: str) -> float:
    trigger = [str(programs / "airflow"), "dags", "trigger", "chain", "--run-id", run]
    subprocess.run(trigger, env=dict(env), capture_output=True, check=True)

    def finished() -> Any:
        states = ask("tasks", "states-for-dag-run", "chain", run)
        failed = [one["task_id"] for one in states if one["state"] == "failed"]
        assert not failed, f"Airflow's {failed} failed; its log stays if you name a FOLDER"
        return states if states and all(one["state"] == "success" for one in states) else None

    states = wait_for(finished, f"{run} ended", PATIENCE)
    starts = [datetime.fromisoformat(one["start_date"]) for one in states]
    ends = [datetime.fromisoformat(one["end_date"]) for one in states]
    return (max(ends) - min(starts)).total_seconds()


def version(programs: Path, package: str) -> str:
    """Return the version of a package that was installed beside these programs."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([str(programs / "python"), "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout


def main(page_file: Path, folder: Path) -> None:
    """Measure in a folder, and write the page."""
    steps = SCENARIOS[NAME]
    specs = specifications(steps, folder / "bare")
    write_project(folder / "project", steps)
    found: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        found.setdefault(BARE, []).append(run_bare(steps, folder / "bare"))
        for contender, sandbox in ((PLAIN, "off"), (SANDBOXED, "required")):
            found.setdefault(contender, []).append(run_bulkhead(folder / "project", BULKHEAD_SANDBOX=sandbox))
    found["Prefect, a subprocess a task"] = prefect(folder, specs, REPEATS)
    found["Airflow, local executor"] = airflow(folder, specs, REPEATS)
    versions = [version(folder / name / "bin", package).strip() for name, package in PACKAGES.items()]
    page = Page(HEAD.format(repeats=REPEATS, machine=machine(), versions=dict(zip(PACKAGES, versions, strict=True))))
    page.table(NAME, found, BARE)
    page_file.write_text(page.text(), encoding="utf-8")
    print(page.text())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as made:
        main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else made))
