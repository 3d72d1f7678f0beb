"""What every step of a process shares: the settings and all contracts."""

from dataclasses import dataclass, field

from orchestrator.contract.catalog import Catalog, load_catalog
from orchestrator.execution.collecting import collector_paused
from orchestrator.execution.fingerprints import contract_hash
from orchestrator.settings import Settings, read_settings


@dataclass(frozen=True)
class Platform:
    """The settings, and the contracts as they were when this process loaded them."""

    settings: Settings
    catalog: Catalog
    _hashes: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def contract_hash(self, team: str) -> str:
        """Return the hash of a sound team's contract. It is computed once: a loaded contract does not change."""
        if team not in self._hashes:
            self._hashes[team] = contract_hash(self.catalog.sound[team])
        return self._hashes[team]


def load_platform() -> Platform:
    """Read the settings from the environment, and every contract they point to.

    Raises:
        SettingsError: a setting cannot be used. A broken contract raises nothing here: the catalog carries it.
    """
    settings = read_settings()
    with collector_paused():
        return Platform(settings, load_catalog(settings.workloads, settings.workspace))
