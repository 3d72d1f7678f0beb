"""Where a step runs. One protocol, one table: a new backend is one file and one line here."""

from collections.abc import Callable, Mapping
from typing import Protocol

from orchestrator.backends.launch import Launch, Outcome


class Running(Protocol):
    """A workload that was started. Every method may be called from the thread that waits for it only."""

    def wait(self, seconds: float) -> Outcome | None:
        """Wait up to `seconds` for the end; return how it ended, or None while it still runs."""
        ...

    def stop(self) -> None:
        """Begin to stop the workload and all that it started: INT, TERM, KILL, with the launch's grace between."""
        ...


class Backend(Protocol):
    """Starts workloads."""

    def start(self, launch: Launch) -> Running:
        """Start one workload.

        Raises:
            LaunchError: it could not be started; says what was tried.
        """
        ...


def _subprocess() -> Backend:
    from orchestrator.backends.subprocess import SubprocessBackend

    return SubprocessBackend()


BACKENDS: Mapping[str, Callable[[], Backend]] = {"subprocess": _subprocess}
