"""Puts what a workload reports on Dagster's record, as it arrives."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

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
from orchestrator.execution.verdict import missing_checks
from orchestrator.settings import Settings

SANDBOX_TIER = "process"


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
    held_back: list[CheckReport] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def take(self, line: bytes) -> Iterator[Any]:
        """Take one line of the messages file; yield what goes on record because of it."""
        event = self.report.take(line)
        if isinstance(event, LogLine):
            getattr(self.context.log, event.level)(event.message)
        elif isinstance(event, StreamText):
            os.write(self.logs.stdout if event.stream == "stdout" else self.logs.stderr, event.text.encode())
        elif isinstance(event, CustomMessage):
            self.context.log.info(f"custom message: {event.payload!r}")
        elif isinstance(event, Materialization):
            yield from self._materialized(event)
        elif isinstance(event, CheckReport):
            if event.asset_key in self.report.materialized or event.asset_key not in self.asked.assets:
                yield from self._checked(event)
            else:
                self.held_back.append(event)

    def _materialized(self, event: Materialization) -> Iterator[Any]:
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
                metadata["bulkhead/dataset_version"] = dg.MetadataValue.text(version)
                path = Dataset(self.settings.datasets, key).path(version)
                metadata["bulkhead/dataset_path"] = dg.MetadataValue.path(str(path))
        metadata |= {f"bulkhead/read_{name}": dg.MetadataValue.text(used) for name, used in self.folder.inputs.items()}
        metadata["bulkhead/isolation"] = dg.MetadataValue.text(f"{self.settings.backend}/{SANDBOX_TIER}")
        yield dg.MaterializeResult(
            asset_key=dg.AssetKey.from_escaped_user_string(key),
            metadata=metadata,
            data_version=dg.DataVersion(version) if version is not None else None,
        )
        ready = [check for check in self.held_back if check.asset_key == key]
        self.held_back = [check for check in self.held_back if check.asset_key != key]
        for check in ready:
            yield from self._checked(check)

    def _checked(self, event: CheckReport) -> Iterator[Any]:
        yield dg.AssetCheckResult(
            asset_key=dg.AssetKey.from_escaped_user_string(event.asset_key),
            check_name=event.check_name,
            passed=event.passed,
            severity=dg.AssetCheckSeverity(event.severity),
            metadata=self._metadata(event),
        )

    def _metadata(self, event: Materialization | CheckReport) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        for name, item in (event.metadata or {}).items():
            try:
                value: Any = item.model_dump()
                metadata |= metadata_map_from_external({name: value})
            except Exception as error:  # noqa: BLE001 (whatever the workload sent, it is its fault)
                what = str(error).splitlines()[0] if str(error) else type(error).__name__
                self.report.violated(f"metadata {name!r} of {event.asset_key!r} is no {item.type!r} value: {what}")
        return metadata

    def flush(self) -> Iterator[Any]:
        """Put on record the checks of assets that were never reported; they stand on no materialization."""
        for check in self.held_back:
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

    def _unattached(self, asset: str, name: str, passed: bool, severity: str, metadata: dict[str, Any]) -> Any:
        return dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey.from_escaped_user_string(asset),
            check_name=name,
            passed=passed,
            metadata=metadata,
            severity=dg.AssetCheckSeverity(severity),
            blocking=(asset, name) in self.asked.blocking,
        )
