"""`bulkhead check`: contracts, environments and the boundary, without starting any workload."""

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator, Sequence
from importlib.metadata import distributions
from pathlib import Path

from rich.console import Console

from orchestrator.backends.launch import Launch, LaunchError
from orchestrator.backends.subprocess import find_command
from orchestrator.contract.model import Contract
from orchestrator.execution.platform import load_platform
from orchestrator.execution.resolve import SYSTEM_PATH
from orchestrator.settings import Settings

# Allowed on both sides: the protocol itself.
SHARED = frozenset({"dagster-pipes", "bulkhead-sdk"})
FIND_MODULES = """
import importlib.util, json, sys
missing = []
for name in json.loads(sys.argv[1]):
    try:
        found = importlib.util.find_spec(name)
    except ImportError:
        found = None
    if found is None:
        missing.append(name)
print(json.dumps(missing))
"""


def check_platform(team: str | None) -> bool:
    """Check everything (or one team), print what was found, and return whether all is well.

    Raises:
        CommandError: there is no such team.
    """
    console = Console(highlight=False, soft_wrap=True)
    platform = load_platform()
    catalog, settings = platform.catalog, platform.settings
    if team is not None and team not in catalog.problems:
        catalog.contract(team)
    sound = True
    for name in [team] if team else catalog.teams:
        problems = [str(problem) for problem in catalog.problems.get(name, ())]
        if name in catalog.sound:
            problems += environment_problems(settings, catalog.sound[name])
        sound = _say(console, f"team {name}", problems) and sound
    return _say(console, "boundary", list(boundary_problems(settings, catalog.teams))) and sound


def environment_problems(settings: Settings, contract: Contract) -> list[str]:
    """Return what is wrong with a team's environment: missing, a command that is not in it, Dagster in it."""
    folder = settings.workloads / contract.team
    if not (folder / ".venv").is_dir():
        return [f"workloads/{contract.team}: no environment. Run 'make setup'."]
    env = {"PATH": f"{folder / '.venv' / 'bin'}:{SYSTEM_PATH}"}
    found = []
    for step in contract.steps:
        launch = Launch({}, tuple(step.run), folder, env, folder, folder, 1, 2)
        try:
            find_command(launch)
        except LaunchError as error:
            found.append(f"step {step.name}: {error}")
    modules = {step.run[2]: step.name for step in contract.steps if step.run[:2] == ["python", "-m"] and step.run[2:]}
    for module in _missing_modules(folder, list(modules)):
        found.append(
            f"step {modules[module]}: no module {module!r} in the environment of workloads/{contract.team}. "
            f"Expected it under workloads/{contract.team}/src; run 'make setup' after adding it."
        )
    return found


def boundary_problems(settings: Settings, teams: Sequence[str]) -> Iterator[str]:
    """Yield what crosses the boundary: a workload's library here, or Dagster in a workload's environment."""
    here = {_normal(dist.name) for dist in distributions()}
    for team in teams:
        for library in sorted(_dependencies(settings.workloads / team / "pyproject.toml")):
            if library in here:
                yield f"{library}, a library of team {team}, is installed in the orchestrator's environment."
        for found in (settings.workloads / team / ".venv").glob("lib/python*/site-packages/dagster-*.dist-info"):
            yield f"dagster is installed in the environment of team {team} ({found.name})."


def _dependencies(pyproject: Path) -> set[str]:
    try:
        project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    except (OSError, tomllib.TOMLDecodeError, KeyError):
        return set()
    names = {_normal(re.split(r"[\s\[<>=!~;@]", entry, maxsplit=1)[0]) for entry in project.get("dependencies", [])}
    return (names | {_normal(project.get("name", ""))}) - SHARED - {""}


def _missing_modules(folder: Path, modules: Sequence[str]) -> list[str]:
    if not modules:
        return []
    command = [str(folder / ".venv" / "bin" / "python"), "-c", FIND_MODULES, json.dumps(modules)]
    done = subprocess.run(command, cwd=folder, env={"LANG": "C.UTF-8"}, capture_output=True, text=True, timeout=120)
    return list(json.loads(done.stdout)) if done.returncode == 0 else list(modules)


def _say(console: Console, what: str, problems: Sequence[str]) -> bool:
    state = "[red]wrong[/red]" if problems else "[green]ok[/green]"
    console.print(f"{what:<20} {state}")
    for problem in problems:
        console.print(f"  {problem}", markup=False)
    return not problems


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
