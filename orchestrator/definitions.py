"""The composition root: one code location a team, `orchestrator.definitions:<team>`, built when it is asked for.

`defs` is all teams in one, for `dg list defs`: a broken team is left out of it, with a warning that says so. A location
of its own raises instead: it shows the error, and every other location loads.
"""

import logging
import warnings
from typing import Any

import dagster as dg
from dagster_shared.record import replace

from orchestrator.execution.collecting import collector_paused, keep_what_is_loaded
from orchestrator.execution.platform import Platform, load_platform
from orchestrator.settings import read_settings


def team_definitions(team: str, platform: Platform | None = None) -> dg.Definitions:
    """Return one team's definitions; `platform` is given if all contracts have been read already.

    Raises:
        ContractError: its contract is broken; every problem with file, line and key.
        CommandError: there is no such team.
    """
    from orchestrator.graph.tree import component_tree

    platform = platform or load_platform()
    platform.catalog.contract(team)
    with collector_paused(), warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return component_tree(platform, team).build_defs()


def all_definitions() -> dg.Definitions:
    """Return every sound team's definitions merged; a broken team is named in a warning."""
    platform = load_platform()
    catalog = platform.catalog
    for team, problems in catalog.problems.items():
        text = "\n".join(str(problem) for problem in problems)
        logging.getLogger("bulkhead").warning("team %s is left out, its contract is broken:\n%s", team, text)
    parts = [team_definitions(team, platform) for team in catalog.sound]
    return dg.Definitions.merge(*(replace(part, component_tree=None) for part in parts))


def __getattr__(name: str) -> Any:
    """Build definitions when they are first asked for; like those of any module, they stay for the process's life."""
    if name == "defs":
        globals()[name] = all_definitions()
    elif not name.startswith("_") and (read_settings().workloads / name / "defs.yaml").is_file():
        with collector_paused():
            definitions = team_definitions(name)
            definitions.get_repository_def()
        keep_what_is_loaded()
        globals()[name] = definitions
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals()[name]


def __dir__() -> list[str]:
    return [*globals(), "defs"]
