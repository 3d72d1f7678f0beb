"""What is made ready for a run's next step while one runs: its scratch folder, and the sandbox around it."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from orchestrator.backends import Backend
from orchestrator.backends.launch import Launch, Mount
from orchestrator.execution.removal import remove_tree


class Ahead:
    """One scratch folder that is ready, for the next step of one team.

    Which step that is does not matter: a backend uses what it made ready if it fits, and starts anew if it does not.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._team = ""
        self._scratch: Path | None = None
        self._discard: Callable[[], None] = lambda: None

    def scratch(self, team: str, new: Callable[[], Path]) -> Path:
        """Return the folder that is ready for a team, or a new one."""
        with self._guard:
            if self._scratch is not None and self._team == team:
                ready, self._scratch = self._scratch, None
                return ready
        return new()

    def make_ready(self, backend: Backend, launch: Launch, mounts: tuple[Mount, ...], new: Callable[[], Path]) -> None:
        """Make ready for a step that needs what this launch did, but for what it publishes; `mounts` are without that.

        What is ready for the team already stays; what is ready for another team is undone.
        """
        team = launch.labels["team"]
        with self._guard:
            if self._scratch is not None and self._team == team:
                return
            unused, self._scratch = self._scratch, new()
            self._team, self._discard, scratch = team, backend.discard, self._scratch
        backend.make_ready(replace(launch, scratch=scratch, messages=scratch / launch.messages.name, mounts=mounts))
        if unused is not None:
            remove_tree(unused)

    def undo(self) -> None:
        """Remove what is ready."""
        with self._guard:
            unused, self._scratch = self._scratch, None
        if unused is not None:
            self._discard()
            remove_tree(unused)
