"""Writes a failed verdict for the person who has to act on it."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from orchestrator.execution.report import WorkloadException
from orchestrator.execution.usage import PREFIX
from orchestrator.execution.verdict import Verdict

TAIL_BYTES, TAIL_LINES = 8192, 20
TRACEBACK_LINES = 40
# An exception is told by the workload: as many causes, lines and characters as a person reads.
CAUSES, MESSAGE_LINES, LINE_LENGTH = 10, 50, 1000


def describe(
    verdict: Verdict,
    step: str,
    team: str,
    owners: Sequence[str],
    image: str = "",
    exception: WorkloadException | None = None,
    used: str = "",
    tails: Mapping[str, Sequence[str]] | None = None,
    reproduce: str | None = None,
) -> str:
    """Return the text of a failure: what, where, the workload's own words, whose it is, how to see it again."""
    lines = [f"{verdict.category}: {verdict.headline}"]
    lines += [f"  {detail}" for detail in verdict.details]
    lines += ["", f"step       {step} of team {team} (owned by {', '.join(owners) or f'team:{team}'})"]
    if image:
        lines.append(f"image      {image}")
    if used:
        lines.append(f"used       {used}")
    if exception is not None:
        lines += ["", "raised in the workload:", *(f"  {line}" for line in traceback_lines(exception))]
    for stream, tail in (tails or {}).items():
        if tail:
            lines += ["", f"last lines of {stream}:", *(f"  {line}" for line in tail)]
    if reproduce:
        lines += ["", "reproduce it by hand:", f"  {reproduce}"]
    return "\n".join(lines)


def failure(verdict: Verdict, description: str, metadata: Mapping[str, Any], may_retry: bool) -> dg.Failure:
    """Return Dagster's own failure for a verdict; `may_retry` leaves the step to its retry policy."""
    return dg.Failure(
        description=description,
        metadata={f"{PREFIX}category": str(verdict.category), **metadata},
        allow_retries=may_retry,
    )


def traceback_lines(exception: WorkloadException, limit: int = TRACEBACK_LINES, causes: int = CAUSES) -> list[str]:
    """Return an exception and its causes, the first cause on top, as Python prints them; at most ten causes."""
    lines: list[str] = []
    cause = exception.cause or exception.context
    if cause is not None and causes:
        joint = "The above exception was the direct cause of the following exception:"
        if exception.cause is None:
            joint = "During handling of the above exception, another exception occurred:"
        lines += [*traceback_lines(cause, limit, causes - 1), "", joint, ""]
    stack = [line for block in exception.stack for line in block.rstrip("\n").splitlines()]
    message = exception.message.rstrip("\n")
    name = exception.name or ""
    lines += stack[-limit:]
    lines += (message if message.startswith(name) else f"{name}: {message}").splitlines()[:MESSAGE_LINES]
    return [line if len(line) <= LINE_LENGTH else f"{line[: LINE_LENGTH - 3]}..." for line in lines]


def tail(fd: int) -> list[str]:
    """Return the last lines of an open log file, at most 20 and 8 KiB; odd bytes are shown escaped."""
    size = os.fstat(fd).st_size
    text = os.pread(fd, TAIL_BYTES, max(0, size - TAIL_BYTES)).decode("utf-8", "backslashreplace").replace("\0", "\\0")
    lines = [line[-400:] for line in text.splitlines()[-TAIL_LINES:]]
    return [line.rstrip() for line in lines]
