"""The composition root: one code location a team, `orchestrator.definitions:<team>`, built when it is asked for.

`defs` is all teams in one, for `dg list defs`: a broken team is left out of it, with a warning that says so. A location
of its own raises instead: it shows the error, and every other location loads.
"""

import logging
import warnings
from types import ModuleType
from typing import Any

import dagster as dg
from dagster_shared.record import replace

from orchestrator.execution.platform import load_platform
from orchestrator.settings import read_settings


def team_definitions(team: str) -> dg.Definitions:
    """Return one team's definitions.

    Raises:
        ContractError: its contract is broken; every problem with file, line and key.
        CommandError: there is no such team.
    """
    platform = load_platform()
    platform.catalog.contract(team)
    # A tree of the team's folder alone: another team's YAML is not even parsed, and no package is imported.
    folder = ModuleType(f"workloads.{team}")
    folder.__path__, folder.__file__ = [str(platform.settings.workloads / team)], None
    tree = dg.ComponentTree(defs_module=folder, project_root=platform.settings.project)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return tree.build_defs()


def all_definitions() -> dg.Definitions:
    """Return every sound team's definitions merged; a broken team is named in a warning."""
    catalog = load_platform().catalog
    for team, problems in catalog.problems.items():
        text = "\n".join(str(problem) for problem in problems)
        logging.getLogger("bulkhead").warning("team %s is left out, its contract is broken:\n%s", team, text)
    return dg.Definitions.merge(*(replace(team_definitions(team), component_tree=None) for team in catalog.sound))


def __getattr__(name: str) -> Any:
    if name == "defs":
        return all_definitions()
    if not name.startswith("_") and (read_settings().workloads / name / "defs.yaml").is_file():
        return team_definitions(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), "defs"]
