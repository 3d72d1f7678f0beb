"""Run a job while one part of the platform is broken for the step `bad`: `python crash.py PART ERROR JOB --json`."""

import builtins
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.cli.run import run_jobs
from orchestrator.execution import recording, running_steps
from orchestrator.execution.dagster_internals import DagsterEvent, LocalComputeLogManager
from orchestrator.graph import definitions

PARTS: dict[str, tuple[Any, str, Callable[..., bool]]] = {
    "the body of the step": (definitions, "run_step", lambda context, *_: context.op.name == "bad"),
    "taking a message": (recording.Recorder, "take", lambda self, _: self.context.op.name == "bad"),
    "recording the end": (recording.Recorder, "finish", lambda self, _: self.context.op.name == "bad"),
    "executing the step": (running_steps, "dagster_event_sequence_for_step", lambda context: context.step.key == "bad"),
    "opening the log": (LocalComputeLogManager, "open_log_stream", lambda self, key, _: key[-1] == "bad"),
    "closing the log": (Path, "touch", lambda self, **_: self.name == "bad.complete"),
    "recording the failure": (
        DagsterEvent,
        "step_failure_event",
        lambda step_context, **_: step_context.step.key == "bad",
    ),
    "starting the thread": (threading.Thread, "start", lambda self: self.name == "step bad"),
}


def broken(whole: Callable[..., Any], for_bad: Callable[..., bool], error: type[BaseException]) -> Callable[..., Any]:
    """Return a function that raises for the step `bad`, and works for any other."""

    def part(*arguments: Any, **named: Any) -> Any:
        if for_bad(*arguments, **named):
            raise error("broken on purpose")
        return whole(*arguments, **named)

    return part


if __name__ == "__main__":
    name, error, job, _ = sys.argv[1:]
    owner, attribute, for_bad = PARTS[name]
    setattr(owner, attribute, broken(getattr(owner, attribute), for_bad, getattr(builtins, error)))
    sys.exit(run_jobs([job], None, as_json=True, partition=None))
