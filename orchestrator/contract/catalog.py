"""All contracts of the platform, and the rules that hold between them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from orchestrator.contract.model import Contract
from orchestrator.contract.reading import ContractFile, read_contract
from orchestrator.contract.rules import own_problems, shared_problems
from orchestrator.errors import CommandError, ContractError, Problem, did_you_mean, listed

CONTRACT_NAME = "defs.yaml"


@dataclass(frozen=True)
class Catalog:
    """Every team's contract file, in order of precedence: when two claim one name, the earlier has it."""

    root: Path
    files: Mapping[str, ContractFile]

    @cached_property
    def problems(self) -> Mapping[str, Sequence[Problem]]:
        """Problems by team. A team without any is left out; one team's problem is never on another's list."""
        found: dict[str, list[Problem]] = {}
        sound: dict[str, ContractFile] = {}
        for team, file in self.files.items():
            problems = [*file.problems, *own_problems(file)]
            if not problems:
                problems = [*shared_problems(file, sound)]
            if problems:
                found[team] = problems
            else:
                sound[team] = file
        for team, problems in self._unmet(sound):
            found.setdefault(team, []).extend(problems)
        return found

    def _unmet(self, sound: Mapping[str, ContractFile]) -> Iterator[tuple[str, list[Problem]]]:
        from orchestrator.contract.rules import unmet_needs

        complete = len(sound) == len(self.files)
        for team, file in sound.items():
            problems = list(unmet_needs(file, sound, complete))
            if problems:
                yield team, problems

    @property
    def teams(self) -> list[str]:
        """Return the names of all teams, sound or broken, in order of precedence."""
        return list(self.files)

    @cached_property
    def sound(self) -> Mapping[str, Contract]:
        """Contracts without a problem, by team."""
        return {
            team: file.contract
            for team, file in self.files.items()
            if file.contract is not None and team not in self.problems
        }

    def contract(self, team: str) -> Contract:
        """Return a team's contract.

        Raises:
            CommandError: there is no such team.
            ContractError: the team's contract is broken.
        """
        if team not in self.files:
            known = listed(self.teams)
            raise CommandError(f"no team {team!r} in {self.root}. Teams: {known}.{did_you_mean(team, self.teams)}")
        if team in self.problems:
            raise ContractError(team, self.problems[team])
        return self.sound[team]

    @cached_property
    def _owners(self) -> Mapping[str, str]:
        return {key: team for team, contract in self.sound.items() for key in contract.asset_keys()}

    def owner_of(self, asset: str) -> str | None:
        """Return the team whose sound contract makes an asset, or None."""
        return self._owners.get(asset)

    def jobs_of(self, asset: str) -> list[str]:
        """Return the jobs of the owning team, those that select everything first."""
        team = self.owner_of(asset)
        jobs = self.sound[team].jobs if team else {}
        return sorted(jobs, key=lambda name: (jobs[name].selection != "*", name))


def load_catalog(root: Path, workspace: Path | None = None) -> Catalog:
    """Read every `<root>/<team>/defs.yaml`. Teams that the workspace lists come first, in its order."""
    listed_first = _workspace_order(workspace)
    found = {path.parent.name: path for path in sorted(root.glob(f"*/{CONTRACT_NAME}"))}
    order = [team for team in listed_first if team in found]
    order += [team for team in found if team not in order]
    return Catalog(root, {team: read_contract(found[team], _shown(found[team], root)) for team in order})


def _shown(path: Path, root: Path) -> Path:
    return path.relative_to(root.parent)


def _workspace_order(workspace: Path | None) -> list[str]:
    if workspace is None or not workspace.is_file():
        return []
    try:
        entries = yaml.safe_load(workspace.read_text(encoding="utf-8"))["load_from"]
        modules = [entry.get("python_module") or {} for entry in entries]
        return [str(module["attribute"]) for module in modules if "attribute" in module]
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError):
        return []
