"""Runs of jobs that no contract can express, and what the record of any run says of its steps."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob

from orchestrator.execution.dagster_internals import execute_run_iterator

BEGINS = ("STEP_START", "STEP_RESTARTED")
ENDS = ("STEP_SUCCESS", "STEP_FAILURE", "STEP_UP_FOR_RETRY")


@dataclass(frozen=True)
class Attempt:
    """One attempt at a step: the times of its first and last event, and the name of the last."""

    step: str
    start: float
    end: float
    how: str


def execute(
    instance: dg.DagsterInstance, job: dg.JobDefinition, config: Mapping[str, Any] | None = None
) -> dg.DagsterRun:
    """Run a job in this process, and return the run as it ended."""
    run = instance.create_run_for_job(job, run_config=dict(config or {}))
    for _ in execute_run_iterator(InMemoryJob(job), run, instance):
        pass
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    return ended


def events(instance: dg.DagsterInstance, run_id: str, *names: str) -> list[tuple[str | None, str]]:
    """Return step and name of each event of a run that has one of these names, in order."""
    found = [entry.dagster_event for entry in instance.all_logs(run_id) if entry.dagster_event]
    return [(event.step_key, event.event_type_value) for event in found if event.event_type_value in names]


def attempts(instance: dg.DagsterInstance, run_id: str) -> list[Attempt]:
    """Return each attempt at each step of a run that came to an end, in the order of their ends."""
    began: dict[str, float] = {}
    found = []
    for entry in instance.all_logs(run_id):
        if entry.dagster_event is None or entry.step_key is None:
            continue
        name = entry.dagster_event.event_type_value
        if name in BEGINS:
            began[entry.step_key] = entry.timestamp
        elif name in ENDS and entry.step_key in began:
            found.append(Attempt(entry.step_key, began.pop(entry.step_key), entry.timestamp, name))
    return found


def most_at_once(found: Iterable[Attempt]) -> int:
    """Return how many of these attempts ran at one time, at the most."""
    turns: list[tuple[float, int]] = sorted(turn for one in found for turn in ((one.start, 1), (one.end, -1)))
    running = most = 0
    for _, change in turns:
        running += change
        most = max(most, running)
    return most


def pauses(found: Sequence[Attempt], step: str) -> list[float]:
    """Return the seconds between the attempts at a step."""
    own = [one for one in found if one.step == step]
    return [later.start - earlier.end for earlier, later in pairwise(own)]
