"""What every step of a process shares: the settings and all contracts."""

from dataclasses import dataclass

from orchestrator.contract.catalog import Catalog, load_catalog
from orchestrator.settings import Settings, read_settings


@dataclass(frozen=True)
class Platform:
    """The settings, and the contracts as they were when this process loaded them."""

    settings: Settings
    catalog: Catalog


def load_platform() -> Platform:
    """Read the settings from the environment, and every contract they point to.

    Raises:
        SettingsError: a setting cannot be used. A broken contract raises nothing here: the catalog carries it.
    """
    settings = read_settings()
    return Platform(settings, load_catalog(settings.workloads, settings.workspace))
