"""What came back from a workload: its messages, read strictly, and held against what was asked for.

Source of the protocol: `dagster_pipes` (one JSON object a line). Nothing here trusts the workload: a line that does not
fit is kept as a violation and never raises.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, ValidationError

MAX_VIOLATIONS, MAX_TEXT = 20, 1000
LEVELS = ("debug", "info", "warning", "error", "critical")
CheckName = tuple[str, str]
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class _Params(BaseModel):
    model_config = ConfigDict(extra="forbid")


class MetadataItem(_Params):
    """One metadata value as the protocol carries it."""

    raw_value: Any
    type: StrictStr


class Materialization(_Params):
    """A reported materialization. `asset_key` as written: parts joined by '/'."""

    asset_key: StrictStr
    metadata: dict[str, MetadataItem] | None = None
    data_version: StrictStr | None = None


class CheckReport(_Params):
    """A reported check result."""

    asset_key: StrictStr
    check_name: StrictStr
    passed: StrictBool
    severity: Literal["WARN", "ERROR"] = "ERROR"
    metadata: dict[str, MetadataItem] | None = None


class LogLine(_Params):
    """A log message of the workload. `level` is one of Python's level names in lower case.

    `timestamp` is when it was sent, in seconds since the epoch; a workload may say it where the context's extras hold
    "log_timestamp" in `accepts`.
    """

    message: StrictStr
    level: StrictStr = "info"
    timestamp: float | None = Field(default=None, strict=True)


class StreamText(_Params):
    """Output that the workload forwards as a message instead of printing it."""

    stream: Literal["stdout", "stderr"]
    text: StrictStr
    extras: dict[str, Any] | None = None


class CustomMessage(_Params):
    """Any JSON value the workload wants on record."""

    payload: Any = None


class WorkloadException(BaseModel):
    """An exception as the workload reported it when it closed Pipes."""

    message: str
    stack: list[str] = []
    name: str | None = None
    cause: "WorkloadException | None" = None
    context: "WorkloadException | None" = None


Event = Materialization | CheckReport | LogLine | StreamText | CustomMessage
EVENTS: Mapping[str, type[Event]] = {
    "report_asset_materialization": Materialization,
    "report_asset_check": CheckReport,
    "log": LogLine,
    "log_external_stream": StreamText,
    "report_custom_message": CustomMessage,
}


@dataclass(frozen=True)
class Asked:
    """What a step owes in this run, and what its contract declares at all.

    A run may ask for a part (a subset of assets, or checks only). Declared and not asked for is let pass unrecorded;
    not declared is a violation.
    """

    assets: Sequence[str]
    checks: Sequence[CheckName]
    declared_assets: frozenset[str]
    declared_checks: frozenset[CheckName]
    blocking: frozenset[CheckName]


@dataclass
class Report:
    """Everything a workload has said so far."""

    asked: Asked
    opened: bool = False
    closed: bool = False
    closed_when_stopped: bool = False
    exception: WorkloadException | None = None
    materialized: dict[str, Materialization] = field(default_factory=dict)
    checked: dict[CheckName, CheckReport] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    lines: int = 0

    def take(self, line: bytes) -> Event | None:
        """Take one line of the messages file; return what the platform should act on, or None."""
        self.lines += 1
        try:
            message = _parsed(line)
        except (ValueError, RecursionError):
            self.violated(f"line {self.lines} of its messages is not JSON: {_excerpt(line)}")
            return None
        if not isinstance(message, dict) or not isinstance(message.get("method"), str):
            self.violated(f"line {self.lines} of its messages is not a Pipes message: {_excerpt(line)}")
            return None
        if "__dagster_pipes_version" not in message:
            self.violated(f"line {self.lines} of its messages carries no protocol version: {_excerpt(line)}")
            return None
        method, params = message["method"], message.get("params")
        if method == "opened":
            self._open(params)
            return None
        if not self.opened:
            self.violated(f"sent {method!r} before 'opened'")
        if self.closed:
            self.violated(f"sent {method!r} after 'closed'")
            return None
        if method == "closed":
            self._close(params)
            return None
        if method not in EVENTS:
            self.violated(f"sent a message with the unknown method {method!r}")
            return None
        try:
            event = EVENTS[method].model_validate(params)
        except (ValidationError, RecursionError) as error:
            self.violated(f"sent a malformed '{method}': {_reasons(error)}")
            return None
        return self._accept(event)

    def stopping(self) -> None:
        """Note that the platform begins to stop the workload: what it says from now on, it says because of that."""
        self.closed_when_stopped = self.closed

    def violated(self, what: str) -> None:
        """Put a violation on record, once."""
        what = what if len(what) <= MAX_TEXT else f"{what[: MAX_TEXT - 3]}..."
        if what in self.violations:
            return
        if len(self.violations) < MAX_VIOLATIONS:
            self.violations.append(what)
        elif len(self.violations) == MAX_VIOLATIONS:
            self.violations.append("and more of the kind")

    def _open(self, params: Any) -> None:
        self._hold_to_a_mapping("opened", params)
        if self.opened:
            self.violated("opened Pipes twice")
        self.opened = True

    def _close(self, params: Any) -> None:
        self.closed = True
        self._hold_to_a_mapping("closed", params)
        if isinstance(params, dict) and params.get("exception") is not None:
            try:
                self.exception = WorkloadException.model_validate(params["exception"])
            except (ValidationError, RecursionError) as error:
                self.violated(f"sent a malformed 'closed': {_reasons(error)}")

    def _hold_to_a_mapping(self, method: str, params: Any) -> None:
        if params is not None and not isinstance(params, dict):
            self.violated(f"sent a malformed '{method}': params: Input should be a valid dictionary")

    def _accept(self, event: Event) -> Event | None:
        if isinstance(event, LogLine):
            level = event.level.lower()
            if level not in LEVELS:
                self.violated(f"sent a log message with the unknown level {event.level!r}")
                level = "info"
            return event.model_copy(update={"level": level})
        if isinstance(event, Materialization):
            return self._accept_materialization(event)
        if isinstance(event, CheckReport):
            return self._accept_check(event)
        return event

    def _accept_materialization(self, event: Materialization) -> Event | None:
        key = event.asset_key
        if key not in self.asked.declared_assets:
            self.violated(f"reported asset {key!r}, which its contract does not declare for this step")
            return None
        if key in self.materialized:
            self.violated(f"reported asset {key!r} twice")
            return None
        self.materialized[key] = event
        return event if key in self.asked.assets else None

    def _accept_check(self, event: CheckReport) -> Event | None:
        name = (event.asset_key, event.check_name)
        shown = f"{event.check_name!r} on {event.asset_key!r}"
        if name not in self.asked.declared_checks:
            self.violated(f"reported check {shown}, which its contract does not declare for this step")
            return None
        if name in self.checked:
            self.violated(f"reported check {shown} twice")
            return None
        self.checked[name] = event
        return event if name in self.asked.checks else None


def _parsed(line: bytes) -> Any:
    """Return the JSON value of a line; half a surrogate pair, which nothing can store, becomes '?'."""
    value = json.loads(line.decode("utf-8"), parse_constant=str)
    if _SURROGATE.search(line):
        whole = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
        value = json.loads(whole, parse_constant=str)
    return value


def _reasons(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'params'}: {item['msg']}" for item in error.errors()[:3]
    )


def _excerpt(line: bytes) -> str:
    text = line[:80].decode("utf-8", "backslashreplace")
    return repr(text) + ("..." if len(line) > 80 else "")
