"""One resolved request to run a workload, and how it ended: what execution and backends say to each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from orchestrator.errors import BulkheadError


class LaunchError(BulkheadError):
    """A workload could not be started. `infrastructure` is false when the contract or environment is at fault."""

    def __init__(self, message: str, infrastructure: bool = False) -> None:
        super().__init__(message)
        self.infrastructure = infrastructure


@dataclass(frozen=True)
class Launch:
    """One resolved request to run a step's process.

    Attributes:
        labels: run, step, team and attempt; whatever is started carries them.
        argv: the command, first word not yet looked up.
        folder: the workload's project; the process starts there.
        env: the whole environment of the process; values may be secret and are not printed.
        scratch: folder of this step alone: context, messages, home and temporary files.
        messages: the file that the process writes its Pipes messages to.
        stdout, stderr: open file descriptors that take the process's output.
        memory: bytes that the process tree may hold, or None.
        grace: seconds between INT and TERM, and between TERM and KILL.
    """

    labels: Mapping[str, str]
    argv: tuple[str, ...]
    folder: Path
    env: Mapping[str, str] = field(repr=False)
    scratch: Path
    messages: Path
    stdout: int
    stderr: int
    memory: int | None = None
    grace: float = 3.0


class Stopped(StrEnum):
    """Why the platform, and not the workload itself, ended a process."""

    OUT_OF_MEMORY = "out of memory"
    TIMED_OUT = "timed out"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Outcome:
    """How a process ended.

    Attributes:
        exit_code: what it exited with; None if a signal or the platform ended it.
        signal: the signal that killed it, or None.
        stopped: why the platform stopped it, or None.
        lost: what is known if the process vanished without a trace, or None.
        peak_memory: bytes the process tree held at its highest measured point.
        cpu_seconds: user and system time of the process tree.
        seconds: wall time from start to end.
        left_behind: processes that still ran when the main one ended; they were killed.
    """

    exit_code: int | None = None
    signal: int | None = None
    stopped: Stopped | None = None
    lost: str | None = None
    peak_memory: int = 0
    cpu_seconds: float = 0.0
    seconds: float = 0.0
    left_behind: int = 0
