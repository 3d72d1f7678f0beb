"""One step: admit, launch, watch, verdict, report. The body of every thin asset is `run_step`."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagster as dg

from orchestrator.backends import Backend, backend_of
from orchestrator.backends.launch import Launch, LaunchError, Limits, Outcome
from orchestrator.backends.supervision.redaction import Redactor
from orchestrator.contract.model import Contract, Step
from orchestrator.errors import SettingsError
from orchestrator.execution.asking import Partition, asked_of, partition_of, pipes_extras, upstream_of
from orchestrator.execution.dagster_internals import build_external_execution_context_data
from orchestrator.execution.datasets import Dataset, PublishError
from orchestrator.execution.failure import describe, failure, tail
from orchestrator.execution.fingerprints import environment_hash
from orchestrator.execution.gate import closed_gates
from orchestrator.execution.identity import identity
from orchestrator.execution.messages import MessageFile
from orchestrator.execution.platform import Platform
from orchestrator.execution.provenance import WithProvenance
from orchestrator.execution.recording import Recorder
from orchestrator.execution.report import Asked, Report
from orchestrator.execution.resolve import StepFolder, expected_mounts, new_scratch, step_folder
from orchestrator.execution.result_file import ResultError, result_messages
from orchestrator.execution.run_state import INPUT_VERSIONS, LOGS, READY, RunState, StepLogs, run_state
from orchestrator.execution.usage import PREFIX, Circumstances, in_words, measured
from orchestrator.execution.verdict import Category, Verdict, judge
from orchestrator.execution.watching import StepWatch

# What holds where a contract says nothing: a fork bomb and a flood are never wanted.
START_TIMEOUT, MOST_PIDS, MOST_OUTPUT = 60.0, 4096, 16 << 30
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
        return limits_of(self.contract, self.step)

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
        known: Any = WithProvenance(self.context, state.provenance)
        pipes = dict(build_external_execution_context_data(known, extras))
        if partition and len(partition.keys) > 1:
            pipes["partition_key_range"] = {"start": partition.keys[0], "end": partition.keys[-1]}
        with ExitStack() as stack:
            try:
                backend = backend_of(self.platform.settings)
                state.finish = backend.finish
                config = dict(self.context.op_execution_context.op_config or {})
                scratch = state.ahead.scratch(self.contract.team, self._new_scratch)
                folder = stack.enter_context(
                    step_folder(self.platform.settings, self.contract, self.step, self.asked, config, pipes, scratch)
                )
                logs = _logs(folder, stack)
                redactor = Redactor(list(folder.secrets.values()))
                launch = self._launch(folder, logs, attempt)
                image = backend.image(launch)
                recorder = Recorder(
                    self.context, self.platform.settings, self.asked, self.report, folder, logs,
                    self._circumstances(backend, image), redactor,
                )  # fmt: skip
                messages = MessageFile(launch.messages)
                stack.callback(messages.close)
                watch = StepWatch(self.limits, messages, recorder, self.report, state)
                running = backend.start(launch)
                outcome = yield from watch.over(running, lambda: self._meanwhile(state, backend, launch))
            except LaunchError as error:
                category = Category.INFRASTRUCTURE if error.infrastructure else Category.VIOLATED
                refused = self._refused(Verdict(category, str(error), retryable=error.infrastructure))
                raise refused from refused.__cause__
            except SettingsError as error:
                raise self._refused(Verdict(Category.INFRASTRUCTURE, str(error))) from None
            if self.step.results == "file":
                yield from self._take_result_file(folder, outcome, recorder)
            yield from recorder.finish(outcome)
            verdict = judge(self.asked, outcome, self.report, self.limits)
            if verdict.green:
                verdict = self._publish(recorder, verdict, state)
            if not verdict.green:
                yield from recorder.missing_results()
                arguments = [word for key in partition.keys for word in ("--partition", key)] if partition else []
                command = backend.by_hand(launch, folder.visible, self.contract.secrets, arguments)
                raise self._failed(verdict, outcome, launch, image, redactor.text(command), redactor)
            self.context.log.debug(f"step used: {in_words(outcome.usage, self.limits)}")

    def _meanwhile(self, state: RunState, backend: Backend, launch: Launch) -> None:
        """Do what is better done while the workload runs than before or after it."""
        self.context.log.debug(f"launched: {' '.join(launch.argv)}")
        if (read_input_versions := INPUT_VERSIONS.get()) is not None:
            read_input_versions()
        following = next((step for step in self.contract.steps if step.name in state.to_come), None)
        if following is None:
            return
        state.open_logs(following.name)
        # What one publishes goes into a folder that is made when it begins.
        if not any(asset.key in self.contract.publishes for asset in following.assets):
            labels = {**launch.labels, "step": following.name, "attempt": "1"}
            expected = replace(launch, labels=labels, limits=limits_of(self.contract, following))
            mounts = expected_mounts(self.platform.settings, self.contract, following)
            state.ahead.make_ready(backend, expected, mounts, self._new_scratch)

    def _new_scratch(self) -> Path:
        return new_scratch(self.platform.settings, self.contract.team)

    def _circumstances(self, backend: Backend, image: str | None) -> Circumstances:
        now = time.time()
        return Circumstances(
            sandbox=backend.tier,
            contract=self.platform.contract_hash(self.contract.team),
            environment=image or environment_hash(self.platform.settings.workloads / self.contract.team),
            queued=max(0.0, now - (READY.get() or now)),
        )

    def _launch(self, folder: StepFolder, logs: StepLogs, attempt: int) -> Launch:
        return Launch(
            labels={
                "run": self.context.run_id,
                "step": self.step.name,
                "team": self.contract.team,
                "attempt": str(attempt),
                "contract": self.platform.contract_hash(self.contract.team),
                "worker": identity(),
            },
            argv=tuple(self.step.run),
            folder=self.platform.settings.workloads / self.contract.team,
            env=folder.env,
            scratch=folder.scratch,
            messages=folder.messages,
            stdout=logs.stdout,
            stderr=logs.stderr,
            mounts=folder.mounts,
            secrets=folder.secrets_folder,
            network=self.contract.network != "none",
            image=self.contract.image,
            limits=self.limits,
            grace=self.platform.settings.stop_grace,
        )

    def _take_result_file(self, folder: StepFolder, outcome: Outcome, recorder: Recorder) -> Iterator[Any]:
        """Take the results of a program that speaks no Pipes."""
        try:
            for line in result_messages(folder.result, self.asked, outcome.exit_code):
                yield from recorder.take(line)
        except ResultError as error:
            self.report.violated(str(error))

    def _publish(self, recorder: Recorder, verdict: Verdict, state: RunState) -> Verdict:
        """Move the pointers of the datasets this step made, now that its verdict is green and its report on record."""
        if recorder.folder.staged:
            state.settle()
        for name, staged in recorder.folder.staged.items():
            try:
                path = Dataset(self.platform.settings.datasets, name).publish(staged, recorder.versions[name])
            except PublishError as error:
                return Verdict(Category.VIOLATED, str(error))
            self.context.log.info(f"published dataset {name} version {path.name}")
        return verdict

    def _failed(
        self,
        verdict: Verdict,
        outcome: Outcome,
        launch: Launch,
        image: str | None,
        command: str,
        redactor: Redactor,
    ) -> Exception:
        tails = {"stderr": tail(launch.stderr), "stdout": tail(launch.stdout)}
        text = describe(
            verdict, self.step.name, self.contract.team, self.contract.owners,
            f"{self.contract.image} ({image})" if image else self.contract.image,
            self.report.exception if verdict.category is Category.RAISED else None,
            in_words(outcome.usage, self.limits), tails, command,
        )  # fmt: skip
        metadata = {**measured(outcome), f"{PREFIX}reproduce": command}
        return self._raised(verdict, failure(verdict, redactor.text(text), metadata, verdict.retryable))

    def _refused(self, verdict: Verdict) -> Exception:
        text = describe(verdict, self.step.name, self.contract.team, self.contract.owners)
        return self._raised(verdict, failure(verdict, text, {}, may_retry=False))

    def _raised(self, verdict: Verdict, error: dg.Failure) -> Exception:
        if verdict.category is Category.INFRASTRUCTURE and verdict.retryable:
            retry = dg.RetryRequested(INFRASTRUCTURE_RETRIES, INFRASTRUCTURE_DELAY)
            retry.__cause__ = error
            return retry
        return error

    def _waiting(self, holder: str) -> None:
        self.context.log.info(f"waiting for the stores of team {self.contract.team}, held by {holder}")


def limits_of(contract: Contract, step: Step) -> Limits:
    """Return what a step may use."""
    resources = contract.resources_of(step)
    return Limits(
        timeout=step.timeout,
        start_timeout=step.start_timeout or START_TIMEOUT,
        memory=resources.memory,
        cpu_time=resources.cpu_time,
        cores=resources.cpu,
        pids=resources.pids or MOST_PIDS,
        open_files=resources.open_files,
        output=resources.output or MOST_OUTPUT,
        # To put a process into its groups takes as long as some steps.
        at_once=any((resources.memory, resources.cpu, resources.cpu_time, resources.pids)),
    )


def _logs(folder: StepFolder, stack: ExitStack) -> StepLogs:
    """Return the step's own compute log; outside the thread executor, files in its scratch folder."""
    logs = LOGS.get()
    if logs is None:
        opened = [stack.enter_context((folder.scratch / name).open("a+b")) for name in ("stdout", "stderr")]
        logs = StepLogs(opened[0].fileno(), opened[1].fileno())
    return logs
