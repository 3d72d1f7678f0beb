"""The steps of a run that are executing: a thread for each, and the events that come from them."""

import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from contextvars import Context
from itertools import chain
from typing import Any

from orchestrator.execution.compute_logs import ComputeLogs
from orchestrator.execution.dagster_internals import (
    DagsterEvent,
    EngineEventData,
    StepExecutionContext,
    dagster_event_sequence_for_step,
    put_off_input_versions,
    serializable_error_info_from_exc_info,
    step_failure_event_from_exc_info,
    trigger_hooks,
)
from orchestrator.execution.run_state import AFTERWARDS, INPUT_VERSIONS, LOGS, READY, RUN, THIN, RunState

TICK_SECONDS, QUIET_SECONDS = 0.1, 0.02
UNCLOSED = "The step's compute log could not be closed"
END = object()


class RunningSteps:
    """Starts steps, and yields their events on the thread that asks for them."""

    def __init__(self, state: RunState, logs: ComputeLogs, created: float) -> None:
        """`created` is when the run was asked for; seconds since the epoch."""
        self.state, self.logs, self.created = state, logs, created
        self.over: dict[str, float] = {}
        self.steps: dict[str, tuple[_StepThread | None, StepExecutionContext, list[DagsterEvent]]] = {}
        self.arrived = _Mailbox()
        self.ended: dict[str, tuple[StepExecutionContext, list[DagsterEvent]]] = {}
        # What the first step raised whose run is to raise it, too (`raise_on_error`).
        self.raised: BaseException | None = None
        self._threads: list[_StepThread] = []
        self._idle: list[_StepThread] = []

    @property
    def busy(self) -> int:
        """How many of them have not ended well; those that have, are only clearing up."""
        return sum(key not in self.over for key in self.steps)

    def start(self, context: StepExecutionContext) -> None:
        key = context.step.key
        before = [self.over.get(upstream, self.created) for upstream in context.step.get_execution_dependency_keys()]
        ready = max([self.over.pop(key, self.created), *before])
        self.state.to_come.discard(key)
        try:
            thread = self._idle.pop() if self._idle else self._new_thread(key)
        except (MemoryError, RuntimeError):
            self.steps[key] = (None, context, [])
            self.arrived.put(key, step_failure_event_from_exc_info(context, sys.exc_info()))
            self.arrived.put(key, END)
        else:
            self.steps[key] = (thread, context, [])
            thread.work.put(lambda: self._work(context, ready))

    def events(self) -> Iterator[tuple[str, Any]]:
        """Yield what has arrived, after waiting a moment for it; what comes later is left for the next call."""
        for key, event in self.arrived.take(TICK_SECONDS):
            if event is END:
                thread, context, seen = self.steps.pop(key)
                if thread is not None:
                    self._idle.append(thread)
                self.over[key] = time.time()
                self.ended[key] = (context, seen)
                yield from ((key, held) for held in seen if held.is_step_up_for_retry)
                yield key, event
            else:
                self.steps[key][2].append(event)
                if event.is_step_success:
                    # What depends on it may start before its thread has cleared up.
                    self.over[key] = time.time()
                # Dagster may start the next attempt at once: it hears of the retry when this one has cleared up.
                if not event.is_step_up_for_retry:
                    yield key, event

    def hooks(self, key: str) -> Iterator[DagsterEvent]:
        context, seen = self.ended.pop(key)
        yield from trigger_hooks(context, seen)

    def finish(self) -> None:
        """Stop what still runs when the run ends early, and wait for it."""
        if self.steps:
            self.state.cancel.set()
        for thread in self._threads:
            thread.work.put(None)
        for thread in self._threads:
            thread.join()

    def _new_thread(self, key: str) -> "_StepThread":
        """Start another thread, which bears the name of its first step.

        Raises:
            MemoryError, RuntimeError: the machine has no room for it.
        """
        thread = _StepThread(f"step {key}")
        thread.start()
        self._threads.append(thread)
        return thread

    def _work(self, context: StepExecutionContext, ready: float) -> None:
        key = context.step.key
        RUN.set(self.state)
        READY.set(ready)
        if THIN in context.step.tags and context.step.get_execution_dependency_keys():
            # The step before may have ended a moment ago: what it made is not stored yet.
            INPUT_VERSIONS.set(put_off_input_versions(context))
        last: DagsterEvent | None = None
        try:
            with ExitStack() as stack:
                AFTERWARDS.set(stack)
                for event in chain(self._open_logs(context, stack), dagster_event_sequence_for_step(context)):
                    last = event
                    self.arrived.put(key, event)
                if last is not None and last.is_step_success and self.state.to_come:
                    # What follows is started first; to clear up would take Python's lock from it.
                    self.state.cancel.wait(QUIET_SECONDS)
        except BaseException as error:  # noqa: BLE001 (a thread must say how it ended)
            if last is not None and (last.is_step_success or last.is_step_up_for_retry):
                data = EngineEventData.engine_error(serializable_error_info_from_exc_info(sys.exc_info()))
                self.arrived.put(key, DagsterEvent.engine_event(context, UNCLOSED, data))
                return
            if context.raise_on_error:
                self.raised = self.raised or error
            if last is None or not last.is_step_failure:
                self.arrived.put(key, step_failure_event_from_exc_info(context, sys.exc_info()))
        finally:
            self.arrived.put(key, END)

    def _open_logs(self, context: StepExecutionContext, stack: ExitStack) -> Iterator[DagsterEvent]:
        """Open the step's own compute log, and say where it is."""
        opened = self.logs.open(context.step.key, context.previous_attempt_count + 1, stack)
        if opened.logs is not None:
            LOGS.set(opened.logs)
            yield DagsterEvent.capture_logs(context, [context.step.key], opened.key, opened.captured)


class _StepThread(threading.Thread):
    """Executes one step after another, each in a context of its own, until there is None."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def run(self) -> None:
        while (work := self.work.get()) is not None:
            try:
                Context().run(work)
            except BaseException:  # noqa: BLE001 (the next step needs this thread)
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), self)))


class _Mailbox:
    """Events on their way to the main thread, in their order.

    It is woken for those alone that let something begin: threads that work at once only take Python's lock from each
    other.
    """

    def __init__(self) -> None:
        self._items: deque[tuple[str, Any]] = deque()
        self._urgent = threading.Event()

    def put(self, key: str, event: Any) -> None:
        self._items.append((key, event))
        if event is END or event.is_step_success:
            self._urgent.set()

    def take(self, seconds: float) -> list[tuple[str, Any]]:
        """Return all that is there, after waiting for what is urgent."""
        self._urgent.wait(seconds)
        self._urgent.clear()
        return [self._items.popleft() for _ in range(len(self._items))]
