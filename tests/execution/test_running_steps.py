"""Events on their way from the threads of steps to the main one."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.execution.running_steps import END, _Mailbox

FOREVER = 60.0


def event(success: bool = False) -> Any:
    return SimpleNamespace(is_step_success=success)


def test_events_keep_their_order() -> None:
    mailbox, events = _Mailbox(), [event(), event(), event(success=True), END]
    for one in events:
        mailbox.put("step", one)
    assert mailbox.take(0) == [("step", one) for one in events]
    assert mailbox.take(0) == []


@pytest.mark.parametrize("urgent", [event(success=True), END], ids=["success", "end"])
def test_what_lets_something_begin_wakes_whoever_waits_and_brings_what_came_before(urgent: Any) -> None:
    mailbox, first = _Mailbox(), event()
    mailbox.put("step", first)
    later = threading.Timer(0.05, mailbox.put, ("step", urgent))
    later.start()
    assert mailbox.take(FOREVER) == [("step", first), ("step", urgent)]


def test_anything_else_is_there_when_the_time_is_over() -> None:
    mailbox, one = _Mailbox(), event()
    mailbox.put("step", one)
    assert mailbox.take(0.05) == [("step", one)]
