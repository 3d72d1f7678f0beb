"""Puts what a workload reports on Dagster's record, as it arrives."""

import logging
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from orchestrator.backends.launch import Outcome
from orchestrator.backends.supervision.redaction import Redactor
from orchestrator.execution.dagster_internals import metadata_map_from_external
from orchestrator.execution.datasets import Dataset, PublishError, version_of
from orchestrator.execution.report import (
    Asked,
    CheckReport,
    CustomMessage,
    LogLine,
    Materialization,
    Report,
    StreamText,
)
from orchestrator.execution.resolve import StepFolder
from orchestrator.execution.run_state import StepLogs
from orchestrator.execution.usage import PREFIX, Circumstances, known, measured
from orchestrator.execution.verdict import missing_checks
from orchestrator.settings import Settings

# Dagster's event log is for people: what a step logs beyond this goes to its stderr.
MAX_LOG_EVENTS = 5000
# A materialization waits this long for its step's end, so that what the step used can stand on it.
HOLD_SECONDS = 1.0


@dataclass
class _Held:
    """A materialization that is not yet on record, and the checks that came with it."""

    event: dg.MaterializeResult[Any]
    until: float
    checks: list[CheckReport] = field(default_factory=list)


@dataclass
class Recorder:
    """Turns reports into Dagster's events. A check that comes before its asset waits for it.

    `versions` holds, for each dataset reported so far, the version that its files had at that moment.
    """

    context: dg.AssetExecutionContext
    settings: Settings
    asked: Asked
    report: Report
    folder: StepFolder
    logs: StepLogs
    circumstances: Circumstances
    redactor: Redactor
    launched: float = field(default_factory=time.time)
    versions: dict[str, str] = field(default_factory=dict)
    _logged: int = 0
    _early: list[CheckReport] = field(default_factory=list)
    _held: dict[str, _Held] = field(default_factory=dict)
    _recorded: list[str] = field(default_factory=list)

    def take(self, line: bytes) -> Iterator[Any]:
        """Take one line of the messages file; yield what goes on record because of it."""
        event = self.report.take(line)
        if isinstance(event, LogLine):
            self._log(event)
        elif isinstance(event, StreamText):
            log = self.logs.stdout if event.stream == "stdout" else self.logs.stderr
            os.write(log, self.redactor.text(event.text).encode())
        elif isinstance(event, CustomMessage):
            self._log(LogLine(message=f"custom message: {event.payload!r}"))
        elif isinstance(event, Materialization):
            self._hold(event)
        elif isinstance(event, CheckReport):
            if event.asset_key in self._held:
                self._held[event.asset_key].checks.append(event)
            elif event.asset_key in self._recorded or event.asset_key not in self.asked.assets:
                yield from self._checked(event)
            else:
                self._early.append(event)

    def due(self) -> float:
        """Return the seconds until a materialization has waited long enough; infinite if none waits."""
        return min((held.until for held in self._held.values()), default=math.inf) - time.monotonic()

    def overdue(self) -> Iterator[Any]:
        """Yield the materializations that have waited long enough, without what only the step's end can tell."""
        for key in [key for key, held in self._held.items() if held.until <= time.monotonic()]:
            yield from self._record(key, {})

    def finish(self, outcome: Outcome) -> Iterator[Any]:
        """Yield all that was held back, with what the step used; say it of assets on record already, too."""
        used = measured(outcome)
        for key in self._recorded:
            yield dg.AssetObservation(_key(key), metadata={**known(self.circumstances), **used})
        for key in list(self._held):
            yield from self._record(key, used)
        for check in self._early:
            yield self._unattached(
                check.asset_key, check.check_name, check.passed, check.severity, self._metadata(check)
            )

    def missing_results(self) -> Iterator[Any]:
        """Record a blocking check that was owed on a reported asset, and never came, as failed."""
        for asset, name in missing_checks(self.asked, self.report):
            if (asset, name) in self.asked.blocking and asset in self.report.materialized:
                yield from self._checked(
                    CheckReport.model_validate(
                        {
                            "asset_key": asset,
                            "check_name": name,
                            "passed": False,
                            "metadata": {"reason": {"raw_value": "not reported by the workload", "type": "text"}},
                        }
                    )
                )

    def _log(self, event: LogLine) -> None:
        text = self.redactor.text(event.message)
        if self._logged == MAX_LOG_EVENTS:
            self.context.log.warning(f"{MAX_LOG_EVENTS} log messages are on record; more are in the step's stderr")
        self._logged += 1
        if self._logged <= MAX_LOG_EVENTS:
            log, level = self.context.log, logging.getLevelNamesMapping()[event.level.upper()]
            record = log.makeRecord(log.name, level, "", 0, text, (), None)
            record.created = self._said_at(event.timestamp, record.created)
            log.handle(record)
        else:
            os.write(self.logs.stderr, f"{event.level}: {text}\n".encode("utf-8", "replace"))

    def _said_at(self, said: float | None, now: float) -> float:
        """Return when a message was sent, by the workload's clock if that can be: not before its launch, not later."""
        return said if said is not None and self.launched <= said <= now else now

    def _hold(self, event: Materialization) -> None:
        key = event.asset_key
        metadata = self._metadata(event)
        version = event.data_version
        if key in self.folder.staged:
            try:
                self.versions[key] = version_of(self.folder.staged[key])
            except (PublishError, OSError) as error:
                self.report.violated(f"dataset {key!r}: {error}")
            else:
                if version not in (None, self.versions[key]):
                    self.report.violated(
                        f"reported version {version!r} of dataset {key!r}; its files are version {self.versions[key]!r}"
                    )
                version = self.versions[key]
                metadata[f"{PREFIX}dataset_version"] = dg.MetadataValue.text(version)
                path = Dataset(self.settings.datasets, key).path(version)
                metadata[f"{PREFIX}dataset_path"] = dg.MetadataValue.path(str(path))
        metadata |= {f"{PREFIX}read_{name}": dg.MetadataValue.text(used) for name, used in self.folder.inputs.items()}
        result: dg.MaterializeResult[Any] = dg.MaterializeResult(
            asset_key=_key(key),
            metadata={**metadata, **known(self.circumstances)},
            data_version=dg.DataVersion(self.redactor.text(version)) if version is not None else None,
        )
        early = [check for check in self._early if check.asset_key == key]
        self._early = [check for check in self._early if check.asset_key != key]
        self._held[key] = _Held(result, time.monotonic() + HOLD_SECONDS, early)

    def _record(self, key: str, used: Mapping[str, dg.MetadataValue]) -> Iterator[Any]:
        held = self._held.pop(key)
        self._recorded.append(key)
        yield held.event._replace(metadata={**(held.event.metadata or {}), **used})
        for check in held.checks:
            yield from self._checked(check)

    def _checked(self, event: CheckReport) -> Iterator[Any]:
        yield dg.AssetCheckResult(
            asset_key=_key(event.asset_key),
            check_name=event.check_name,
            passed=event.passed,
            severity=dg.AssetCheckSeverity(event.severity),
            metadata=self._metadata(event),
        )

    def _metadata(self, event: Materialization | CheckReport) -> dict[str, Any]:
        """Return what the workload says of an asset or check; names that the platform speaks under are left out."""
        metadata: dict[str, Any] = {}
        for name, item in (event.metadata or {}).items():
            if name.startswith(PREFIX):
                self.report.violated(
                    f"metadata {name!r} of {event.asset_key!r}: {PREFIX!r} is the platform's own prefix"
                )
                continue
            try:
                value: Any = self.redactor.value(item.model_dump())
                metadata |= metadata_map_from_external({self.redactor.text(name): value})
            except Exception as error:  # noqa: BLE001 (whatever the workload sent, it is its fault)
                what = str(error).splitlines()[0] if str(error) else type(error).__name__
                self.report.violated(f"metadata {name!r} of {event.asset_key!r} is no {item.type!r} value: {what}")
        return metadata

    def _unattached(self, asset: str, name: str, passed: bool, severity: str, metadata: dict[str, Any]) -> Any:
        return dg.AssetCheckEvaluation(
            asset_key=_key(asset),
            check_name=name,
            passed=passed,
            metadata=metadata,
            severity=dg.AssetCheckSeverity(severity),
            blocking=(asset, name) in self.asked.blocking,
        )


def _key(written: str) -> dg.AssetKey:
    return dg.AssetKey.from_escaped_user_string(written)
