"""Opens each step's own compute log; that of the step that follows, ahead of time."""

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.execution.dagster_internals import CapturedLogContext, ComputeIOType, LocalComputeLogManager
from orchestrator.execution.run_state import StepLogs


@dataclass(frozen=True)
class OpenLogs:
    """A step's log under its key; without descriptors where the log manager has no files."""

    key: Sequence[str]
    logs: StepLogs | None

    @property
    def captured(self) -> CapturedLogContext:
        return CapturedLogContext(list(self.key))


class ComputeLogs:
    """The compute logs of one run's steps. Its methods may be called from any thread."""

    def __init__(self, manager: Any, run_id: str) -> None:
        self._manager, self._run = manager, run_id
        self._guard = threading.Lock()
        self._ready: dict[str, tuple[OpenLogs, ExitStack]] = {}
        self._used: set[str] = set()

    def open(self, step: str, attempt: int, stack: ExitStack) -> OpenLogs:
        """Open the log of one attempt at a step; closing the stack closes it, and tells readers that it is whole."""
        name = step if attempt == 1 else f"{step}.{attempt}"
        with self._guard:
            ready = self._ready.pop(name, None)
            self._used.add(name)
        if ready is None:
            return self._open(name, stack)
        stack.push(ready[1].pop_all())
        return ready[0]

    def make_ready(self, step: str) -> None:
        """Open the log of a step's first attempt already, if it is a local file."""
        if not isinstance(self._manager, LocalComputeLogManager):
            return
        with self._guard:
            if step in self._used or step in self._ready:
                return
            with ExitStack() as stack:
                self._ready[step] = (self._open(step, stack), stack.pop_all())

    def close(self) -> None:
        """Remove what was made ready for steps that never began."""
        for opened, stack in self._ready.values():
            stack.close()
            for extension in ("out", "err", "complete"):
                Path(self._manager.get_captured_local_path(opened.key, extension)).unlink(missing_ok=True)
        self._ready.clear()

    def _open(self, name: str, stack: ExitStack) -> OpenLogs:
        key = self._manager.build_log_key_for_run(self._run, name)
        if isinstance(self._manager, LocalComputeLogManager):
            # What tells a reader of the log that nothing more will come.
            complete: Any = self._manager.complete_artifact_path
            stack.callback(Path(complete(key)).touch)
        streams = [
            stack.enter_context(self._manager.open_log_stream(key, io_type))
            for io_type in (ComputeIOType.STDOUT, ComputeIOType.STDERR)
        ]
        files = [stream.fileno() for stream in streams if stream is not None]
        return OpenLogs(key, StepLogs(files[0], files[1]) if len(files) == len(streams) else None)
