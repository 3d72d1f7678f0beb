"""One step: admit, launch, watch, verdict, report. The body of every thin asset is `run_step`."""

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
from orchestrator.execution.dagster_internals import build_external_execution_context_data
from orchestrator.execution.datasets import Dataset, PublishError
from orchestrator.execution.failure import describe, failure, measured, reproduction, tail
from orchestrator.execution.gate import closed_gates
from orchestrator.execution.messages import MAX_LINE, MessageFile
from orchestrator.execution.platform import Platform
from orchestrator.execution.recording import Recorder
from orchestrator.execution.report import Asked, Report
from orchestrator.execution.resolve import StepFolder, step_folder
from orchestrator.execution.run_state import LOGS, RunState, StepLogs, run_state
from orchestrator.execution.verdict import Category, Limits, Verdict, judge

WATCH_SECONDS = 0.05
INFRASTRUCTURE_RETRIES, INFRASTRUCTURE_DELAY = 2, 1.0


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
                logs = _logs(folder, stack)
                launch = self._launch(folder, logs, attempt)
                recorder = Recorder(self.context, self.platform.settings, self.asked, self.report, folder, logs)
                messages = MessageFile(launch.messages)
                stack.callback(messages.close)
                self.context.log.debug(f"launching: {' '.join(launch.argv)}")
                running = BACKENDS[self.platform.settings.backend]().start(launch)
                outcome = yield from self._watch(running, messages, recorder, state)
            except LaunchError as error:
                category = Category.INFRASTRUCTURE if error.infrastructure else Category.VIOLATED
                raise self._refused(Verdict(category, str(error), retryable=error.infrastructure)) from None
            yield from recorder.flush()
            verdict = judge(self.asked, outcome, self.report, self.limits)
            if verdict.green:
                verdict = self._publish(recorder, verdict)
            if not verdict.green:
                yield from recorder.missing_results()
                raise self._failed(verdict, outcome, launch, folder, partition)
            self.context.log.debug(f"step measured: {measured(outcome)}")

    def _launch(self, folder: StepFolder, logs: StepLogs, attempt: int) -> Launch:
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
        self, running: Running, messages: MessageFile, recorder: Recorder, state: RunState
    ) -> Generator[Any, None, Outcome]:
        """Yield results as they arrive until the process has ended; return its outcome."""
        deadline = time.monotonic() + self.limits.timeout if self.limits.timeout else None
        stopped: Stopped | None = None
        outcome: Outcome | None = None
        try:
            while outcome is None:
                outcome = running.wait(WATCH_SECONDS)
                for line in messages.lines():
                    yield from recorder.take(line)
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
            yield from recorder.take(messages.rest())
        if messages.too_long:
            self.report.violated(f"sent a message longer than {format_memory(MAX_LINE)}")
        if messages.shrunk:
            self.report.violated("its messages file was truncated while it ran")
        if stopped is not None:
            outcome = replace(outcome, stopped=outcome.stopped or stopped)
        return outcome

    def _publish(self, recorder: Recorder, verdict: Verdict) -> Verdict:
        """Move the pointers of the datasets this step made, now that its verdict is green."""
        for name, staged in recorder.folder.staged.items():
            try:
                path = Dataset(self.platform.settings.datasets, name).publish(staged, recorder.versions[name])
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


def _logs(folder: StepFolder, stack: ExitStack) -> StepLogs:
    """Return the step's own compute log; outside the thread executor, files in its scratch folder."""
    logs = LOGS.get()
    if logs is None:
        opened = [stack.enter_context((folder.scratch / name).open("a+b")) for name in ("stdout", "stderr")]
        logs = StepLogs(opened[0].fileno(), opened[1].fileno())
    return logs


def _end(running: Running, outcome: Outcome | None) -> None:
    """Stop a workload whose step cannot go on, and wait until it is gone."""
    if outcome is None:
        running.stop()
        while running.wait(WATCH_SECONDS) is None:
            pass
