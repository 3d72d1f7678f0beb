"""What the steps of one run share while it executes: whether it was cancelled, and the stores it holds."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from orchestrator.execution.ahead import Ahead
from orchestrator.execution.dagster_internals import check_captured_interrupt
from orchestrator.execution.provenance import Provenance
from orchestrator.execution.stores import StoreLocks

# The tag of a thin asset's op.
THIN = "bulkhead/team"


@dataclass(frozen=True)
class StepLogs:
    """Open file descriptors of a step's own compute log."""

    stdout: int
    stderr: int


class Cancellation:
    """Set once; from then on its descriptor can be read, which wakes whoever waits for something else as well."""

    def __init__(self) -> None:
        self._set = threading.Event()
        self._read, self._write = os.pipe()

    def set(self) -> None:
        if not self._set.is_set():
            self._set.set()
            os.write(self._write, b"c")

    def is_set(self) -> bool:
        return self._set.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        return self._set.wait(timeout)

    def fileno(self) -> int:
        return self._read

    def close(self) -> None:
        for fd in (self._read, self._write):
            os.close(fd)


@dataclass
class RunState:
    """One executing run.

    Our executor says itself when the run is cancelled, so that Dagster knows it before a step ends because of it; under
    another one, steps look for an interrupt themselves (`looks_itself`). `settle` waits until all that was reported so
    far is on record. `to_come` names the steps that have not begun, and `open_logs` opens those of one ahead. `finish`
    waits until nothing is left of those that have ended.
    """

    stores: StoreLocks
    settle: Callable[[], None] = lambda: None
    provenance: Provenance = field(default_factory=Provenance)
    cancel: Cancellation = field(default_factory=Cancellation)
    looks_itself: bool = False
    to_come: set[str] = field(default_factory=set)
    open_logs: Callable[[str], None] = lambda step: None
    ahead: Ahead = field(default_factory=Ahead)
    finish: Callable[[], None] = lambda: None

    def close(self) -> None:
        """Give back the stores and what else the run holds."""
        self.ahead.undo()
        self.finish()
        self.stores.release()
        self.cancel.close()

    def cancelled(self) -> bool:
        return self.cancel.is_set() or (self.looks_itself and check_captured_interrupt())


RUN: ContextVar[RunState | None] = ContextVar("bulkhead_run", default=None)
LOGS: ContextVar[StepLogs | None] = ContextVar("bulkhead_step_logs", default=None)
# When what a step depends on had ended; seconds since the epoch.
READY: ContextVar[float | None] = ContextVar("bulkhead_step_ready", default=None)
# Reads which versions the step's inputs have, if that was put off until its workload runs.
INPUT_VERSIONS: ContextVar[Callable[[], None] | None] = ContextVar("bulkhead_input_versions", default=None)

# What is left to do for a step when its last event is out.
AFTERWARDS: ContextVar[ExitStack | None] = ContextVar("bulkhead_afterwards", default=None)


def afterwards(do: Callable[[], None]) -> None:
    """Do something when the step's last event is out; at once in a step outside our executor."""
    stack = AFTERWARDS.get()
    if stack is None:
        do()
    else:
        stack.callback(do)


@contextmanager
def run_state(holder: str) -> Iterator[RunState]:
    """Return the state of the run this thread works for; a step outside our executor gets one of its own."""
    state = RUN.get()
    if state is not None:
        yield state
        return
    state = RunState(StoreLocks(holder), looks_itself=True)
    try:
        yield state
    finally:
        state.close()
