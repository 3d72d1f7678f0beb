"""One step: admit, launch, watch, verdict, report. The body of every thin asset is `run_step`."""

import os
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg

from orchestrator.backends import BACKENDS, Running
from orchestrator.backends.launch import Launch, LaunchError, Outcome, Stopped
from orchestrator.contract.model import Contract, Step
from orchestrator.contract.units import format_memory
from orchestrator.execution.asking import Partition, asked_of, partition_of, pipes_extras, upstream_of
from orchestrator.execution.dagster_internals import (
    build_external_execution_context_data,
    metadata_map_from_external,
)
from orchestrator.execution.datasets import Dataset, PublishError, version_of
from orchestrator.execution.failure import describe, failure, measured, reproduction, tail
from orchestrator.execution.gate import closed_gates
from orchestrator.execution.messages import MAX_LINE, MessageFile
from orchestrator.execution.platform import Platform
from orchestrator.execution.report import (
    Asked,
    CheckReport,
    CustomMessage,
    Event,
    LogLine,
    Materialization,
    Report,
    StreamText,
)
from orchestrator.execution.resolve import StepFolder, step_folder
from orchestrator.execution.run_state import LOGS, RunState, StepLogs, run_state
from orchestrator.execution.verdict import Category, Limits, Verdict, judge, missing_checks

WATCH_SECONDS = 0.05
INFRASTRUCTURE_RETRIES, INFRASTRUCTURE_DELAY = 2, 1.0
SANDBOX_TIER = "process"


def run_step(context: dg.AssetExecutionContext, platform: Platform, contract: Contract, step: Step) -> Iterator[Any]:
    """Run one step of a contract and yield what it reports, as it reports it.

    Raises:
        dagster.Failure: the verdict is not green; the description says what, where, whose and how to reproduce it.
        dagster.RetryRequested: the infrastructure failed and its own retry budget is not used up.
    """
    yield from StepRun(context, platform, contract, step).run()


@dataclass
class StepRun:
    """One attempt at one step."""

    context: dg.AssetExecutionContext
    platform: Platform
    contract: Contract
    step: Step
    asked: Asked = field(init=False)
    report: Report = field(init=False)
    held_back: list[CheckReport] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.asked = asked_of(self.context, self.step)
        self.report = Report(self.asked)

    @property
    def limits(self) -> Limits:
        return Limits(self.step.timeout, self.contract.resources_of(self.step).memory)

    def run(self) -> Iterator[Any]:
        partition = self._admit()
        team = self.platform.settings.stores / self.contract.team
        with ExitStack() as stack:
            state = stack.enter_context(run_state(f"run {self.context.run_id}"))
            stores = state.stores.held(team, self.contract.stores, state.cancelled, self._waiting)
            if not stack.enter_context(stores):
                raise self._refused(Verdict(Category.CANCELLED, "cancelled while it waited for the team's stores"))
            yield from self._attempt(state, partition)

    def _admit(self) -> Partition | None:
        """Refuse to launch on missing partitions or upstream data that is not good."""
        try:
            partition = partition_of(self.context)
        except ValueError as error:
            remedy = "choose a partition when you launch it"
            raise self._refused(Verdict(Category.GATE_CLOSED, f"{error}; nothing was launched", (remedy,))) from None
        upstream = upstream_of(self.context, self.step, partition)
        gates = closed_gates(self.context.instance, self.platform.catalog, upstream)
        if gates:
            details = (*(str(gate) for gate in gates[1:]), "nothing was launched")
            raise self._refused(Verdict(Category.GATE_CLOSED, str(gates[0]), details))
        return partition

    def _attempt(self, state: RunState, partition: Partition | None) -> Iterator[Any]:
        attempt = self.context.retry_number + 1
        extras = pipes_extras(self.contract, self.step, self.asked, partition, attempt)
        pipes = dict(build_external_execution_context_data(self.context, extras))
        if partition and len(partition.keys) > 1:
            pipes["partition_key_range"] = {"start": partition.keys[0], "end": partition.keys[-1]}
        with ExitStack() as stack:
            try:
                config = dict(self.context.op_execution_context.op_config or {})
                folder = stack.enter_context(
                    step_folder(self.platform.settings, self.contract, self.step, self.asked, config, pipes)
                )
                launch = self._launch(folder, attempt, stack)
                messages = MessageFile(launch.messages)
                stack.callback(messages.close)
                self.context.log.debug(f"launching: {' '.join(launch.argv)}")
                running = BACKENDS[self.platform.settings.backend]().start(launch)
                outcome = yield from self._watch(running, messages, folder, state)
            except LaunchError as error:
                category = Category.INFRASTRUCTURE if error.infrastructure else Category.VIOLATED
                raise self._refused(Verdict(category, str(error), retryable=error.infrastructure)) from None
            yield from self._flush()
            verdict = judge(self.asked, outcome, self.report, self.limits)
            if verdict.green:
                verdict = self._publish(folder, verdict)
            if not verdict.green:
                yield from self._missing_results()
                raise self._failed(verdict, outcome, launch, folder, partition)
            self.context.log.debug(f"step measured: {measured(outcome)}")

    def _launch(self, folder: StepFolder, attempt: int, stack: ExitStack) -> Launch:
        logs = LOGS.get()
        if logs is None:
            opened = [stack.enter_context((folder.scratch / name).open("a+b")) for name in ("stdout", "stderr")]
            logs = StepLogs(opened[0].fileno(), opened[1].fileno())
        return Launch(
            labels={
                "run": self.context.run_id,
                "step": self.step.name,
                "team": self.contract.team,
                "attempt": str(attempt),
            },
            argv=tuple(self.step.run),
            folder=self.platform.settings.workloads / self.contract.team,
            env=folder.env,
            scratch=folder.scratch,
            messages=folder.messages,
            stdout=logs.stdout,
            stderr=logs.stderr,
            memory=self.limits.memory,
            grace=self.platform.settings.stop_grace,
        )

    def _watch(
        self, running: Running, messages: MessageFile, folder: StepFolder, state: RunState
    ) -> Generator[Any, None, Outcome]:
        """Yield results as they arrive until the process has ended; return its outcome."""
        stdout = LOGS.get()
        deadline = time.monotonic() + self.limits.timeout if self.limits.timeout else None
        stopped: Stopped | None = None
        outcome: Outcome | None = None
        try:
            while outcome is None:
                outcome = running.wait(WATCH_SECONDS)
                for line in messages.lines():
                    yield from self._act(self.report.take(line), folder, stdout)
                if outcome is None and stopped is None:
                    if state.cancelled():
                        stopped = Stopped.CANCELLED
                    elif deadline is not None and time.monotonic() > deadline:
                        stopped = Stopped.TIMED_OUT
                    if stopped is not None:
                        running.stop()
        except BaseException:
            _end(running, outcome)
            raise
        if messages.rest():
            yield from self._act(self.report.take(messages.rest()), folder, stdout)
        if messages.too_long:
            self.report.violated(f"sent a message longer than {format_memory(MAX_LINE)}")
        if messages.shrunk:
            self.report.violated("its messages file was truncated while it ran")
        if stopped is not None:
            outcome = replace(outcome, stopped=outcome.stopped or stopped)
        return outcome

    def _act(self, event: Event | None, folder: StepFolder, logs: StepLogs | None) -> Iterator[Any]:
        if isinstance(event, LogLine):
            getattr(self.context.log, event.level)(event.message)
        elif isinstance(event, StreamText) and logs is not None:
            os.write(logs.stdout if event.stream == "stdout" else logs.stderr, event.text.encode())
        elif isinstance(event, CustomMessage):
            self.context.log.info(f"custom message: {event.payload!r}")
        elif isinstance(event, Materialization):
            yield from self._materialized(event, folder)
        elif isinstance(event, CheckReport):
            if event.asset_key in self.report.materialized or event.asset_key not in self.asked.assets:
                yield from self._checked(event)
            else:
                self.held_back.append(event)

    def _materialized(self, event: Materialization, folder: StepFolder) -> Iterator[Any]:
        key = event.asset_key
        metadata = self._metadata(event)
        version = event.data_version
        if key in folder.staged:
            try:
                self.versions[key] = version_of(folder.staged[key])
            except (PublishError, OSError) as error:
                self.report.violated(f"dataset {key!r}: {error}")
            else:
                if version not in (None, self.versions[key]):
                    self.report.violated(
                        f"reported version {version!r} of dataset {key!r}; its files are version {self.versions[key]!r}"
                    )
                version = self.versions[key]
                metadata["bulkhead/dataset_version"] = dg.MetadataValue.text(version)
                path = Dataset(self.platform.settings.datasets, key).path(version)
                metadata["bulkhead/dataset_path"] = dg.MetadataValue.path(str(path))
        metadata |= {f"bulkhead/read_{name}": dg.MetadataValue.text(used) for name, used in folder.inputs.items()}
        metadata["bulkhead/isolation"] = dg.MetadataValue.text(f"{self.platform.settings.backend}/{SANDBOX_TIER}")
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

    def _flush(self) -> Iterator[Any]:
        """Put on record the checks of assets that were never reported; they stand on no materialization."""
        for check in self.held_back:
            yield self._unattached(
                check.asset_key, check.check_name, check.passed, check.severity, self._metadata(check)
            )

    def _missing_results(self) -> Iterator[Any]:
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

    def _publish(self, folder: StepFolder, verdict: Verdict) -> Verdict:
        """Move the pointers of the datasets this step made, now that its verdict is green."""
        for name, staged in folder.staged.items():
            try:
                path = Dataset(self.platform.settings.datasets, name).publish(staged, self.versions[name])
            except PublishError as error:
                return Verdict(Category.VIOLATED, str(error))
            self.context.log.info(f"published dataset {name} version {path.name}")
        return verdict

    def _failed(
        self, verdict: Verdict, outcome: Outcome, launch: Launch, folder: StepFolder, partition: Partition | None
    ) -> Exception:
        arguments = [word for key in partition.keys for word in ("--partition", key)] if partition else []
        command = reproduction(launch, folder.visible, self.contract.secrets, arguments)
        tails = {"stderr": tail(launch.stderr), "stdout": tail(launch.stdout)}
        text = describe(
            verdict, self.step.name, self.contract.team, self.contract.owners, self.contract.image,
            self.report.exception if verdict.category is Category.RAISED else None, tails, command,
        )  # fmt: skip
        metadata = {**measured(outcome), "reproduce": command}
        return self._raised(verdict, failure(verdict, text, metadata, verdict.retryable))

    def _refused(self, verdict: Verdict) -> Exception:
        text = describe(verdict, self.step.name, self.contract.team, self.contract.owners)
        return self._raised(verdict, failure(verdict, text, {}, may_retry=False))

    def _raised(self, verdict: Verdict, error: dg.Failure) -> Exception:
        if verdict.category is Category.INFRASTRUCTURE:
            retry = dg.RetryRequested(INFRASTRUCTURE_RETRIES, INFRASTRUCTURE_DELAY)
            retry.__cause__ = error
            return retry
        return error

    def _waiting(self, holder: str) -> None:
        self.context.log.info(f"waiting for the stores of team {self.contract.team}, held by {holder}")


def _end(running: Running, outcome: Outcome | None) -> None:
    """Stop a workload whose step cannot go on, and wait until it is gone."""
    if outcome is None:
        running.stop()
        while running.wait(WATCH_SECONDS) is None:
            pass
