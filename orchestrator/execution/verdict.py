"""What makes a step green, and what is said when it is not. Pure: report and outcome in, verdict out."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.backends.launch import Limits, Outcome, Stopped
from orchestrator.contract.units import format_duration, format_memory
from orchestrator.execution.messages import MAX_BYTES
from orchestrator.execution.report import Asked, CheckName, Report, WorkloadException

EX_DATAERR, EX_TEMPFAIL = 65, 75
MAX_HEADLINE = 500
SYSEXITS = {
    64: "EX_USAGE: a parameter is wrong",
    65: "EX_DATAERR: the data is wrong",
    66: "EX_NOINPUT: an input is missing",
    69: "EX_UNAVAILABLE: a service is unavailable",
    70: "EX_SOFTWARE: an internal error",
    71: "EX_OSERR: the operating system refused",
    73: "EX_CANTCREAT: an output cannot be written",
    74: "EX_IOERR: reading or writing failed",
    75: "EX_TEMPFAIL: try again",
    77: "EX_NOPERM: permission denied",
    78: "EX_CONFIG: the configuration is wrong",
    126: "the command cannot be executed",
    127: "the command was not found",
}


class Category(StrEnum):
    """What kind of failure it was; the same words in the UI, in logs and in the documentation."""

    GATE_CLOSED = "gate closed"
    RAISED = "workload raised"
    EXITED = "workload exited"
    KILLED = "killed by signal"
    OUT_OF_MEMORY = "out of memory"
    LIMIT_EXCEEDED = "limit exceeded"
    TIMED_OUT = "timed out"
    VIOLATED = "contract violated"
    CHECK_FAILED = "check failed"
    INFRASTRUCTURE = "infrastructure"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Verdict:
    """Green (no category), or what went wrong: one headline, and details a line each."""

    category: Category | None = None
    headline: str = ""
    details: tuple[str, ...] = ()
    retryable: bool = False

    @property
    def green(self) -> bool:
        return self.category is None


def judge(asked: Asked, outcome: Outcome, report: Report, limits: Limits) -> Verdict:
    """Return the verdict on a step that has ended, from how it ended and what it reported."""
    owed = _violations(asked, report)
    failed = failed_blocking(asked, report)
    aside = (*_left(outcome), *_lost(outcome), *(f"check failed: {_shown(name)}" for name in failed))
    if outcome.stopped is not None or outcome.signal is not None:
        aside = (*aside, *report.violations)
    if outcome.stopped is not None:
        return _stopped(outcome.stopped, outcome, limits, report, aside)
    if outcome.lost is not None:
        return Verdict(Category.INFRASTRUCTURE, f"the process was lost: {outcome.lost}", aside, retryable=True)
    if outcome.signal is not None:
        name = _signal_name(outcome.signal)
        peak = f"peak memory {format_memory(outcome.usage.memory)}"
        headline = f"{name} after {format_duration(outcome.usage.seconds)}, {peak}"
        return Verdict(Category.KILLED, headline, aside, retryable=True)
    if outcome.exit_code is None:
        return Verdict(Category.INFRASTRUCTURE, "the process was lost: nobody saw it end", aside, retryable=True)
    code = outcome.exit_code
    if report.exception is not None and report.exception.name != "SystemExit":
        return Verdict(Category.RAISED, _raised_text(report.exception), aside, retryable=True)
    if failed and code in (0, EX_DATAERR):
        headline = f"blocking check {', '.join(_shown(name) for name in failed)} did not pass"
        return Verdict(Category.CHECK_FAILED, headline, (*_left(outcome), *_lost(outcome), *owed))
    if code != 0:
        return Verdict(Category.EXITED, _exit_text(code), aside, retryable=code == EX_TEMPFAIL)
    if owed:
        return Verdict(Category.VIOLATED, owed[0], (*owed[1:], *aside))
    return Verdict()


def failed_blocking(asked: Asked, report: Report) -> list[CheckName]:
    """Return the blocking checks that were asked for and reported as not passed, whatever their severity."""
    return [
        name
        for name in asked.checks
        if name in asked.blocking and name in report.checked and not report.checked[name].passed
    ]


def missing_checks(asked: Asked, report: Report) -> list[CheckName]:
    """Return the checks that were asked for and not reported."""
    return [name for name in asked.checks if name not in report.checked]


def _violations(asked: Asked, report: Report) -> list[str]:
    owed = list(report.violations)
    if not report.opened:
        return [*owed, "exited 0 without a word: Pipes was never opened, and nothing was reported"]
    if not report.closed:
        owed.append("Pipes was opened and never closed")
    owed += [f"asset {key!r} was not reported" for key in asked.assets if key not in report.materialized]
    owed += [f"check {_shown(name)} was not reported" for name in missing_checks(asked, report)]
    return owed


def _stopped(stopped: Stopped, outcome: Outcome, limits: Limits, report: Report, aside: Sequence[str]) -> Verdict:
    used = outcome.usage
    peak = format_memory(used.memory)
    if stopped is Stopped.TIMED_OUT:
        headline = f"ran longer than its timeout of {format_duration(limits.timeout or 0)} and was stopped"
        if report.closed_when_stopped:
            headline = f"closed Pipes and did not exit within its timeout of {format_duration(limits.timeout or 0)}"
        return Verdict(Category.TIMED_OUT, f"{headline}; peak memory {peak}", tuple(aside), retryable=True)
    if stopped is Stopped.START_TIMED_OUT:
        headline = f"it did not start within {format_duration(limits.start_timeout or 0)}"
        return Verdict(Category.INFRASTRUCTURE, headline, tuple(aside), retryable=True)
    if stopped is Stopped.OUT_OF_MEMORY:
        headline = f"used {peak} of the {format_memory(limits.memory or 0)} its contract allows, and was killed"
        return Verdict(Category.OUT_OF_MEMORY, headline, tuple(aside), retryable=True)
    if stopped is Stopped.CANCELLED:
        headline = f"stopped after {format_duration(used.seconds)} because the run was cancelled"
        return Verdict(Category.CANCELLED, headline, tuple(aside))
    if stopped is Stopped.MESSAGES:
        headline = f"sent more than {format_memory(MAX_BYTES)} of messages, and was stopped"
        return Verdict(Category.LIMIT_EXCEEDED, headline, tuple(aside), retryable=True)
    if stopped is Stopped.DISK:
        headline = f"filled a disk that it writes to, and was killed; its files have {format_memory(used.disk)}"
        return Verdict(Category.LIMIT_EXCEEDED, headline, tuple(aside), retryable=True)
    limit, reached = {
        Stopped.CPU_TIME: (
            f"{format_duration(limits.cpu_time or 0)} of cpu time",
            format_duration(used.cpu_seconds),
        ),
        Stopped.PIDS: (f"{limits.pids} processes and threads", str(used.pids)),
        Stopped.OPEN_FILES: (f"{limits.open_files} open files", str(used.open_files)),
        Stopped.OUTPUT: (f"{format_memory(limits.output or 0)} of output", format_memory(used.output)),
    }[stopped]
    headline = f"broke its contract's limit of {limit}, and was killed; peak {reached}"
    return Verdict(Category.LIMIT_EXCEEDED, headline, tuple(aside), retryable=True)


def _lost(outcome: Outcome) -> tuple[str, ...]:
    lost = outcome.usage.output_lost
    return (f"{format_memory(lost)} of its output could not be written to the log: the disk is full",) if lost else ()


def _left(outcome: Outcome) -> tuple[str, ...]:
    count = outcome.left_behind
    if not count:
        return ()
    return (
        f"it left {count} process{'es' if count > 1 else ''} behind, which {'were' if count > 1 else 'was'} killed",
    )


def _raised_text(exception: WorkloadException) -> str:
    """Return `Name: message`; the message may carry the name once more, with its module in front."""
    name = exception.name or "an exception"
    message = exception.message.strip()
    first, _, rest = message.partition(": ")
    text = f"{name}: {rest if first.rpartition('.')[2] == name else message}"
    return text if len(text) <= MAX_HEADLINE else f"{text[: MAX_HEADLINE - 3]}..."


def _exit_text(code: int) -> str:
    meaning = SYSEXITS.get(code)
    if meaning is None and code > 128 and code - 128 in {member.value for member in signal.Signals}:
        meaning = f"as a shell reports {_signal_name(code - 128)}"
    return f"code {code} ({meaning})" if meaning else f"code {code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _shown(name: CheckName) -> str:
    return f"{name[1]!r} on {name[0]!r}"
