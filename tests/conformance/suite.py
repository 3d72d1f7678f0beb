"""The project that the cases run in: one team, one step for each case, all in one run."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.conformance.cases import CASES, Case
from tests.conftest import REPOSITORY, Project, needs_sandbox
from tests.containers import containers_of, docker_settings

WORKLOADS = REPOSITORY / "tests" / "workloads"
TEAM = "suite"
PATIENCE = 280.0
SANDBOXED, PLAIN, DOCKER = "subprocess, sandboxed", "subprocess, plain", "docker"
# Every way that steps can run here, and what metadata says of it.
TIERS: Mapping[str, str] = {SANDBOXED: "bwrap", PLAIN: "none (switched off)", DOCKER: "docker"}


def settings_of(tier: str) -> dict[str, str]:
    """Return the settings that choose a tier; where it cannot be had here, say so."""
    if tier == DOCKER:
        return docker_settings()
    if tier == SANDBOXED:
        needs_sandbox()
    return {"BULKHEAD_BACKEND": "subprocess", "BULKHEAD_SANDBOX": "required" if tier == SANDBOXED else "off"}


def make_project(folder: Path, tier: str, cases: Sequence[Case] = CASES, **contract: Any) -> Project:
    """Write a project whose one team has a step for each case; return it, set to run on a tier."""
    root = folder / "a project"
    team = root / "workloads" / TEAM
    team.mkdir(parents=True)
    shutil.copytree(REPOSITORY / "deployment", root / "deployment")
    for program in WORKLOADS.glob("*.*"):
        shutil.copy(program, team)
    (team / ".venv").symlink_to(REPOSITORY / "workloads" / "showcase" / ".venv")
    jobs = {f"{TEAM}_job": {"selection": "*"}}
    attributes = {"team": TEAM, "image": TEAM, "jobs": jobs, **contract, "steps": [step_of(case) for case in cases]}
    document = {"type": "orchestrator.Workload", "attributes": attributes}
    (team / "defs.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return Project(root, folder / "a home", {**settings_of(tier), "PLATFORM_PASSWORD": "hunter2"}, PATIENCE)


def step_of(case: Case) -> dict[str, Any]:
    """Return the step of a contract that a case is."""
    checks = [{"name": name, "asset": case.name, "blocking": True} for name in case.owed]
    step = {
        "name": case.name,
        "run": [interpreter(case), case.program, case.name],
        "timeout": "1m",
        "assets": [{"key": case.name}],
        **({"checks": checks} if checks else {}),
        **case.step,
    }
    return step


def interpreter(case: Case) -> str:
    return "sh" if case.program.endswith(".sh") else "python"


def nothing_is_left(project: Project) -> bool:
    """Return whether no process, no container and no step folder of a project is left."""
    containers = containers_of(project.home) if project.tag else []
    return project.processes() == containers == list((project.home / "steps").iterdir()) == []


def without_numbers(line: str) -> str:
    """Return the first line of a failure with <n> for what was measured."""
    line = re.sub(r"(?<=used )[0-9.]+[KMG]i|(?<=peak )[0-9.]+(s|[KMG]i|m?s)?\b", "<n>", line)
    line = re.sub(r"(?<=after )[0-9.]+m?s|(?<=peak memory )[0-9.]+[KMG]i", "<n>", line)
    return re.sub(r"(?<=is not JSON: )'45%.*", "<excerpt>", line)
