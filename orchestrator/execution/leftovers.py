"""Finds what a run worker left behind when it was killed: its scratch folders, its processes, its containers."""

import contextlib
import time

from orchestrator.backends import backend_of
from orchestrator.backends.subprocess import kill_strays
from orchestrator.errors import SettingsError
from orchestrator.execution.datasets import STAGING, discard
from orchestrator.execution.identity import OWNER_NAME, alive
from orchestrator.execution.removal import remove_tree
from orchestrator.settings import Settings

FRESH_SECONDS = 60


def collect(settings: Settings) -> list[str]:
    """Remove the folders, processes and containers of dead run workers; return a sentence for each thing found.

    Raises:
        LaunchError: steps run in containers, and no engine answers.
    """
    found = []
    for scratch in settings.steps.glob("*/"):
        owner = scratch / OWNER_NAME
        with contextlib.suppress(OSError):
            fresh = time.time() - scratch.stat().st_mtime < FRESH_SECONDS
            if alive(owner.read_text(encoding="utf-8"), settings) if owner.is_file() else fresh:
                continue
            strays = kill_strays(scratch)
            remove_tree(scratch)
            if strays:
                found.append(f"step folder {scratch.name} had {strays} stray process(es); killed")
    for staged in settings.datasets.glob(f"*/{STAGING}/*/"):
        if not alive(staged.name.partition("-")[0], settings):
            discard(staged)
    for path in settings.workers.glob("*@*"):
        if not alive(path.name, settings):
            path.unlink(missing_ok=True)
    try:
        removed = backend_of(settings).collect(lambda worker: alive(worker, settings))
    except SettingsError:
        # Nothing can have run as these settings want it; the next launch says why.
        removed = []
    return [*found, *(f"container {name} had lost its run worker; removed" for name in removed)]
