"""Where a step runs. One protocol, one table: a new backend is one file and one line here."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from orchestrator.backends.launch import Launch, Outcome
from orchestrator.errors import SettingsError
from orchestrator.settings import Settings


class Running(Protocol):
    """A workload that was launched. Every method may be called from the thread that waits for it only."""

    @property
    def started(self) -> bool:
        """Whether the workload's own process runs, or did run."""
        ...

    def wait(self, seconds: float, also: Sequence[int] = ()) -> Outcome | None:
        """Wait up to `seconds` for the end; return how it ended, or None while it still runs.

        It returns early when it starts, and when one of the descriptors in `also` can be read.

        Raises:
            LaunchError: it turned out that it could not be started.
        """
        ...

    def stop(self) -> None:
        """Begin to stop the workload and all that it started: INT, TERM, KILL, with the launch's grace between."""
        ...


class Backend(Protocol):
    """Starts workloads."""

    @property
    def tier(self) -> str:
        """How a step is kept apart from the machine and from other steps, in a word or two for metadata."""
        ...

    def expect(self) -> None:
        """Make ready for a launch that follows soon. Returns at once and raises nothing."""
        ...

    def make_ready(self, launch: Launch) -> None:
        """Prepare what a launch like this one will need; its command and environment do not count. Returns soon."""
        ...

    def discard(self) -> None:
        """Undo what was made ready and never used; return when it is gone."""
        ...

    def finish(self) -> None:
        """Return when nothing is left of the steps that have ended."""
        ...

    def collect(self, alive: Callable[[str], bool]) -> list[str]:
        """Remove what run workers left that are not alive any more; return the names of what was found.

        Raises:
            LaunchError: it cannot look.
        """
        ...

    def image(self, launch: Launch) -> str | None:
        """Return the id of the image that a launch runs in; None where steps run in no image.

        Raises:
            LaunchError: it cannot be had; says what was tried.
        """
        ...

    def by_hand(
        self, launch: Launch, shown: Mapping[str, str], secrets: Sequence[str], arguments: Sequence[str]
    ) -> str:
        """Return one shell command that runs a launch's process standalone; `secrets` by name, never by value."""
        ...

    def start(self, launch: Launch) -> Running:
        """Start one workload.

        Raises:
            LaunchError: it could not be started; says what was tried.
        """
        ...


def _subprocess(settings: Settings) -> Backend:
    from orchestrator.backends.sandbox import find_sandbox
    from orchestrator.backends.subprocess import SubprocessBackend

    if settings.sandbox == "required" and find_sandbox().bwrap is None:
        remedy = "Install bubblewrap, or set it to 'auto'."
        raise SettingsError(f"BULKHEAD_SANDBOX='required', and there is none: {find_sandbox().reason}. {remedy}")
    return SubprocessBackend(settings.sandbox != "off", hidden=(settings.home, settings.project))


def _docker(settings: Settings) -> Backend:
    from orchestrator.backends.docker import DockerBackend

    return DockerBackend(settings)


BACKENDS: Mapping[str, Callable[[Settings], Backend]] = {"subprocess": _subprocess, "docker": _docker}


def backend_of(settings: Settings) -> Backend:
    """Return the backend that the settings name.

    Raises:
        SettingsError: it cannot give what the settings demand.
    """
    return BACKENDS[settings.backend](settings)


def expect_launches(settings: Settings) -> None:
    """Make the backend ready for a launch that follows soon; settings that it cannot meet are told at the launch."""
    with suppress(SettingsError):
        backend_of(settings).expect()
