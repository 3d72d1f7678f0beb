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
class Limits:
    """What a step may use, over its whole process tree; None where there is no limit.

    Attributes:
        timeout: seconds from its start to its end.
        start_timeout: seconds from the launch to its start.
        memory: bytes that no file backs.
        cpu_time: seconds of processor time, all processes together.
        cores: how many processors it may keep busy.
        pids: processes and threads.
        open_files: file descriptors.
        output: bytes written to stdout, stderr and the messages file.
        at_once: whether the kernel, where it can, holds them from the start; otherwise once it has run for a while.
    """

    timeout: float | None = None
    start_timeout: float | None = None
    memory: int | None = None
    cpu_time: float | None = None
    cores: float | None = None
    pids: int | None = None
    open_files: int | None = None
    output: int | None = None
    at_once: bool = True


@dataclass(frozen=True)
class Mount:
    """A folder that a step is given beside its own code and scratch folder."""

    path: Path
    writable: bool = False


@dataclass(frozen=True)
class Launch:
    """One resolved request to run a step's process.

    Attributes:
        labels: run, step, team, attempt, contract and worker; what is started carries them where it can.
        argv: the command, first word not yet looked up.
        folder: the workload's project; the process starts there.
        env: the whole environment of the process; values may be secret and are not printed.
        scratch: folder of this step alone: context, messages, home and temporary files.
        messages: the file that the process writes its Pipes messages to.
        stdout, stderr: open file descriptors that take the process's output.
        mounts: the stores and datasets it may see.
        secrets: folder below `scratch` with a file for each secret, or None.
        network: whether it may reach other machines.
        image: the contract's name for the workload's image; empty where there are no images.
        limits: what it may use.
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
    mounts: tuple[Mount, ...] = ()
    secrets: Path | None = None
    network: bool = False
    image: str = ""
    limits: Limits = Limits()
    grace: float = 3.0


class Stopped(StrEnum):
    """Why the platform, and not the workload itself, ended a process."""

    OUT_OF_MEMORY = "out of memory"
    CPU_TIME = "cpu time"
    PIDS = "pids"
    OPEN_FILES = "open files"
    OUTPUT = "output"
    MESSAGES = "messages"
    DISK = "disk"
    TIMED_OUT = "timed out"
    START_TIMED_OUT = "start timed out"
    CANCELLED = "cancelled"


# What a supervisor and bulkhead-init call the limit that was broken.
BROKEN = {
    "memory": Stopped.OUT_OF_MEMORY,
    "cpu": Stopped.CPU_TIME,
    "pids": Stopped.PIDS,
    "open_files": Stopped.OPEN_FILES,
    "output": Stopped.OUTPUT,
    "disk": Stopped.DISK,
}


@dataclass(frozen=True)
class Usage:
    """What a process tree used, at its highest measured point or in sum.

    Attributes:
        memory: bytes. cpu_seconds: user and system time. pids: processes and threads at once.
        open_files: file descriptors at once; 0 where no limit asks for them to be counted.
        output: bytes of stdout, stderr and messages. output_lost: bytes that the log could not take.
        disk: bytes of the files it wrote; 0 unless a disk it writes to ran out of room.
        starting: seconds from the launch to its start. seconds: from its start to its end.
    """

    memory: int = 0
    cpu_seconds: float = 0.0
    pids: int = 0
    open_files: int = 0
    output: int = 0
    output_lost: int = 0
    disk: int = 0
    starting: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """How a process ended.

    Attributes:
        exit_code: what it exited with; None if a signal or the platform ended it.
        signal: the signal that killed it, or None.
        stopped: why the platform stopped it, or None.
        lost: what is known if the process vanished without a trace, or None.
        left_behind: processes that still ran when the main one ended; they were killed.
        usage: what it used.
    """

    exit_code: int | None = None
    signal: int | None = None
    stopped: Stopped | None = None
    lost: str | None = None
    left_behind: int = 0
    usage: Usage = Usage()
