"""Stands by while a workload runs: takes its messages as they come, and stops it when it must not go on."""

import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.backends import Running
from orchestrator.backends.launch import LaunchError, Limits, Outcome, Stopped
from orchestrator.contract.units import format_memory
from orchestrator.execution.messages import MAX_BYTES, MAX_LINE, MessageFile
from orchestrator.execution.recording import Recorder
from orchestrator.execution.report import Report
from orchestrator.execution.run_state import RunState

# How often it looks at what the kernel does not tell of; and the longest it waits in any case.
WATCH_SECONDS, LONGEST_SECONDS = 0.05, 5.0
# A flood of messages is taken in slices, so that deadlines and cancellation are seen in between.
SLICE_SECONDS = 0.2


@dataclass(frozen=True)
class StepWatch:
    """What is watched of one attempt: its messages, its deadlines, and whether its run was cancelled.

    `launched` is when it was launched, by the monotonic clock.
    """

    limits: Limits
    messages: MessageFile
    recorder: Recorder
    report: Report
    state: RunState
    launched: float = field(default_factory=time.monotonic)

    def over(self, running: Running, meanwhile: Callable[[], None]) -> Generator[Any, None, Outcome]:
        """Yield results as they arrive until the process has ended; return its outcome.

        `meanwhile` is called once, when the workload runs, before the first result.
        """
        deadlines = _Deadlines(self.limits, self.launched)
        stopped: Stopped | None = None
        outcome: Outcome | None = None
        lines: Iterator[bytes] | None = None
        begun = False
        try:
            while outcome is None:
                pause = self._pause(deadlines, stopped) if lines is None else 0.0
                outcome = running.wait(pause, self._wakes(stopped))
                if not begun and (running.started or outcome is not None):
                    begun = True
                    meanwhile()
                self.messages.changes.seen()
                lines = yield from self._take(lines or self.messages.lines(), SLICE_SECONDS)
                yield from self.recorder.overdue()
                if outcome is None and stopped is None:
                    stopped = Stopped.CANCELLED if self.state.cancelled() else deadlines.passed(running.started)
                    if self.messages.too_much:
                        stopped = stopped or Stopped.MESSAGES
                    if stopped is not None:
                        self.report.stopping()
                        running.stop()
        except LaunchError:
            # It never ran, or nobody can reach it any more.
            raise
        except BaseException:
            _end(running, outcome)
            raise
        # Once it is over, no more can come than what the file holds.
        if lines is not None:
            yield from self._take(lines, None)
        yield from self._take(self.messages.lines(), None)
        if self.messages.rest():
            yield from self.recorder.take(self.messages.rest())
        self._look_at_the_file()
        if stopped is not None:
            outcome = replace(outcome, stopped=outcome.stopped or stopped)
        return outcome

    def _wakes(self, stopped: Stopped | None) -> list[int]:
        """Return the descriptors that tell of messages, and of the run's cancellation as long as it is news."""
        found = [] if self.messages.changes.fd is None else [self.messages.changes.fd]
        return found if stopped is not None else [*found, self.state.cancel.fileno()]

    def _pause(self, deadlines: "_Deadlines", stopped: Stopped | None) -> float:
        """Return how long there is nothing to do unless the kernel tells."""
        if self.messages.changes.fd is None or self.state.looks_itself:
            return WATCH_SECONDS
        left = deadlines.left() if stopped is None else LONGEST_SECONDS
        return max(0.0, min(LONGEST_SECONDS, left, self.recorder.due()))

    def _take(self, lines: Iterator[bytes], seconds: float | None) -> Generator[Any, None, Iterator[bytes] | None]:
        """Take lines until there are none for now, or time is up; return where to go on, or None if there are none."""
        until = None if seconds is None else time.monotonic() + seconds
        for line in lines:
            yield from self.recorder.take(line)
            if until is not None and time.monotonic() > until:
                return lines
        return None

    def _look_at_the_file(self) -> None:
        """Put on record what was done to the messages file itself."""
        if self.messages.too_long:
            self.report.violated(f"sent a message longer than {format_memory(MAX_LINE)}")
        if self.messages.too_much:
            self.report.violated(f"sent more than {format_memory(MAX_BYTES)} of messages; the rest was not read")
        if self.messages.shrunk:
            self.report.violated("its messages file was truncated while it ran")
        if (found := self.messages.replaced()) is not None:
            self.report.violated(f"in the place of its messages file there is {found}")


class _Deadlines:
    """How long a step may take to start, and then to run."""

    def __init__(self, limits: Limits, launched: float) -> None:
        self._limits = limits
        self._launched = launched
        self._started: float | None = None

    def left(self) -> float:
        """Return the seconds until the next deadline; infinite if there is none."""
        since, allowed = self._launched, self._limits.start_timeout
        if self._started is not None:
            since, allowed = self._started, self._limits.timeout
        return math.inf if allowed is None else since + allowed - time.monotonic()

    def passed(self, started: bool) -> Stopped | None:
        """Return which deadline has passed, if one has."""
        now = time.monotonic()
        if self._started is None:
            allowed = self._limits.start_timeout
            if allowed is not None and now - self._launched > allowed:
                return Stopped.START_TIMED_OUT
            self._started = now if started else None
            return None
        late = self._limits.timeout is not None and now - self._started > self._limits.timeout
        return Stopped.TIMED_OUT if late else None


def _end(running: Running, outcome: Outcome | None) -> None:
    """Stop a workload whose step cannot go on, and wait until it is gone."""
    if outcome is None:
        running.stop()
        while running.wait(WATCH_SECONDS) is None:
            pass
