"""The executor: the steps of a run execute on threads of one run worker.

A thin asset only waits for its workload, so it needs no process of its own. Dagster's plan state (`ActiveExecution`)
stays on the main thread and decides what may run; each step's events come from a thread, with a compute log of its own.
"""

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import dagster as dg

from orchestrator.backends import expect_launches
from orchestrator.execution.dagster_internals import (
    ActiveExecution,
    CapturedLogContext,
    ComputeIOType,
    DagsterEvent,
    EngineEventData,
    ExecuteRunWithPlanIterable,
    ExecutionPlan,
    Executor,
    InstanceConcurrencyContext,
    LocalComputeLogManager,
    PlanExecutionContext,
    PlanExecutionContextManager,
    PlanOrchestrationContext,
    RetryMode,
    StepExecutionContext,
    dagster_event_sequence_for_step,
    put_off_input_versions,
    serializable_error_info_from_exc_info,
    step_failure_event_from_exc_info,
    trigger_hooks,
)
from orchestrator.execution.run_state import INPUT_VERSIONS, LOGS, READY, RUN, THIN, RunState, StepLogs
from orchestrator.execution.stores import StoreLocks
from orchestrator.execution.workers import mark_worker
from orchestrator.settings import read_settings

TICK_SECONDS = 0.1
UNCLOSED = "The step's compute log could not be closed"
CANCELLING = "Interrupted: stopping every workload of the run"
_END = object()


class ThreadExecutor(Executor):
    """Runs up to `max_concurrent` steps of a run at once, each on a thread."""

    def __init__(
        self,
        max_concurrent: int,
        retries: RetryMode,
        tag_concurrency_limits: list[dict[str, Any]],
        expect: Callable[[], None] = lambda: None,
    ) -> None:
        """`expect` is called when a step is about to start."""
        self.max_concurrent = max_concurrent
        self.tag_concurrency_limits = tag_concurrency_limits
        self.expect = expect
        self._settle: Callable[[], None] = lambda: None
        self._retries = retries

    @property
    def retries(self) -> RetryMode:
        return self._retries

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
        from orchestrator.execution.write_behind import write_behind

        instance = plan_context.instance
        mark_worker(instance, plan_context.run_id)
        with write_behind(instance.event_log_storage) as self._settle:
            yield from self._execute(plan_context, execution_plan)

    def _execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
        yield DagsterEvent.engine_event(
            plan_context,
            f"Executing steps on up to {self.max_concurrent} threads (pid: {os.getpid()})",
            EngineEventData.in_process(os.getpid(), execution_plan.step_keys_to_execute),
        )
        yield from iter(
            ExecuteRunWithPlanIterable(
                execution_plan=plan_context.execution_plan,
                iterator=self._iterate,
                execution_context_manager=PlanExecutionContextManager(
                    job=plan_context.job,
                    retry_mode=plan_context.retry_mode,
                    execution_plan=plan_context.execution_plan,
                    run_config=plan_context.run_config,
                    dagster_run=plan_context.dagster_run,
                    instance=plan_context.instance,
                    raise_on_error=plan_context.raise_on_error,
                    output_capture=plan_context.output_capture,
                    step_dependency_config=self.step_dependency_config,
                ),
            )
        )

    def _iterate(self, job_context: PlanExecutionContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
        run = job_context.dagster_run
        state = RunState(StoreLocks(f"run {run.run_id} ({run.job_name})"), settle=self._settle)
        state.to_come = set(execution_plan.step_keys_to_execute)
        running = _Threads(state, _created(job_context))
        with ExitStack() as stack:
            stack.callback(state.close)
            stack.callback(job_context.instance.event_log_storage.free_concurrency_slots_for_run, run.run_id)
            stack.callback(running.finish)
            slots = stack.enter_context(InstanceConcurrencyContext(job_context.instance, run))
            active = stack.enter_context(
                ActiveExecution(
                    execution_plan,
                    retry_mode=self._retries,
                    max_concurrent=self.max_concurrent,
                    tag_concurrency_limits=self.tag_concurrency_limits,
                    instance_concurrency_context=slots,
                    step_dependency_config=self.step_dependency_config,
                )
            )
            while running.steps or (not active.is_complete and not state.cancel.is_set()):
                if not state.cancel.is_set() and active.check_for_interrupts():
                    active.mark_interrupted()
                    state.cancel.set()
                    yield DagsterEvent.engine_event(job_context, CANCELLING, EngineEventData())
                if not state.cancel.is_set():
                    for step in active.get_steps_to_execute(limit=self.max_concurrent - len(running.steps)):
                        self.expect()
                        running.start(job_context.for_step(step, active.get_known_state()))
                    yield from active.concurrency_event_iterator(job_context)
                    yield from active.plan_events_iterator(job_context)
                for key, event in running.events():
                    if event is _END:
                        active.verify_complete(job_context, key)
                        yield from active.plan_events_iterator(job_context)
                        yield from running.hooks(key)
                    else:
                        yield event
                        active.handle_event(event)
                if running.raised is not None:
                    state.cancel.set()
            if running.raised is not None:
                raise running.raised


class _Threads:
    """The threads of the steps that are running, and the queue their events come through."""

    def __init__(self, state: RunState, created: float) -> None:
        self.state, self.created = state, created
        self.over: dict[str, float] = {}
        self.steps: dict[str, tuple[threading.Thread, StepExecutionContext, list[DagsterEvent]]] = {}
        self.arrived: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.ended: dict[str, tuple[StepExecutionContext, list[DagsterEvent]]] = {}
        # What the first step raised whose run is to raise it, too (`raise_on_error`).
        self.raised: BaseException | None = None

    def start(self, context: StepExecutionContext) -> None:
        before = [self.over.get(key, self.created) for key in context.step.get_execution_dependency_keys()]
        ready = max([self.over.pop(context.step.key, self.created), *before])
        name = f"step {context.step.key}"
        self.state.to_come.discard(context.step.key)
        thread = threading.Thread(target=self._work, args=(context, ready), name=name, daemon=True)
        self.steps[context.step.key] = (thread, context, [])
        try:
            thread.start()
        except (MemoryError, RuntimeError):
            self.arrived.put((context.step.key, step_failure_event_from_exc_info(context, sys.exc_info())))
            self.arrived.put((context.step.key, _END))

    def events(self) -> Iterator[tuple[str, Any]]:
        """Yield what has arrived, after waiting a moment for the first; what comes later is left for the next call."""
        try:
            arrived = [self.arrived.get(timeout=TICK_SECONDS)]
        except queue.Empty:
            return
        arrived += [self.arrived.get_nowait() for _ in range(self.arrived.qsize())]
        for key, event in arrived:
            if event is _END:
                thread, context, seen = self.steps.pop(key)
                _join(thread)
                self.over[key] = time.time()
                self.ended[key] = (context, seen)
                yield from ((key, held) for held in seen if held.is_step_up_for_retry)
                yield key, event
            else:
                self.steps[key][2].append(event)
                if event.is_step_success:
                    # What depends on it may start before its thread has ended.
                    self.over[key] = time.time()
                # Dagster may start the next attempt at once: it hears of the retry when this thread has ended.
                if not event.is_step_up_for_retry:
                    yield key, event

    def hooks(self, key: str) -> Iterator[DagsterEvent]:
        context, seen = self.ended.pop(key)
        yield from trigger_hooks(context, seen)

    def finish(self) -> None:
        """Stop what still runs when the run ends early, and wait for it."""
        if self.steps:
            self.state.cancel.set()
        for thread, _, _ in list(self.steps.values()):
            _join(thread)

    def _work(self, context: StepExecutionContext, ready: float) -> None:
        key = context.step.key
        RUN.set(self.state)
        READY.set(ready)
        if THIN in context.step.tags and context.step.get_execution_dependency_keys():
            # The step before may have ended a moment ago: what it made is not stored yet.
            INPUT_VERSIONS.set(put_off_input_versions(context))
        last: DagsterEvent | None = None
        try:
            with ExitStack() as stack:
                for event in chain(_capture_logs(context, stack), dagster_event_sequence_for_step(context)):
                    last = event
                    self.arrived.put((key, event))
        except BaseException as error:  # noqa: BLE001 (a thread must say how it ended)
            if last is not None and (last.is_step_success or last.is_step_up_for_retry):
                data = EngineEventData.engine_error(serializable_error_info_from_exc_info(sys.exc_info()))
                self.arrived.put((key, DagsterEvent.engine_event(context, UNCLOSED, data)))
                return
            if context.raise_on_error:
                self.raised = self.raised or error
            if last is None or not last.is_step_failure:
                self.arrived.put((key, step_failure_event_from_exc_info(context, sys.exc_info())))
        finally:
            self.arrived.put((key, _END))


def _created(job_context: PlanExecutionContext) -> float:
    """Return when the run was asked for; seconds since the epoch."""
    record = job_context.instance.get_run_record_by_id(job_context.dagster_run.run_id)
    return record.create_timestamp.timestamp() if record is not None else time.time()


def _join(thread: threading.Thread) -> None:
    """Wait for a thread, unless the machine refused to start it."""
    if thread.ident is not None:
        thread.join()


def _capture_logs(context: StepExecutionContext, stack: ExitStack) -> Iterator[DagsterEvent]:
    """Open the step's own compute log, say where it is, and leave its files to the step."""
    manager = context.instance.compute_log_manager
    attempt = context.previous_attempt_count + 1
    file_key = context.step.key if attempt == 1 else f"{context.step.key}.{attempt}"
    log_key = manager.build_log_key_for_run(context.run_id, file_key)
    streams = [
        stack.enter_context(manager.open_log_stream(log_key, io_type))
        for io_type in (ComputeIOType.STDOUT, ComputeIOType.STDERR)
    ]
    if all(stream is not None for stream in streams):
        LOGS.set(StepLogs(*(stream.fileno() for stream in streams if stream is not None)))
        yield DagsterEvent.capture_logs(context, [context.step.key], log_key, CapturedLogContext(log_key))
    if isinstance(manager, LocalComputeLogManager):
        # What tells a reader of the log that nothing more will come.
        complete: Any = manager.complete_artifact_path
        stack.callback(Path(complete(log_key)).touch)


selector: Any = dg.Selector
permissive: Any = dg.Permissive


@dg.executor(
    name="threads",
    config_schema={
        "max_concurrent": dg.Field(dg.Noneable(int), is_required=False, description="Steps of a run at the same time."),
        "retries": dg.Field(selector({"enabled": {}, "disabled": {}}), default_value={"enabled": {}}),
        "tag_concurrency_limits": dg.Field(
            dg.Noneable(dg.Array(permissive())), is_required=False, description="Limits by step tag, as in Dagster."
        ),
    },
)
def thread_executor(init: dg.InitExecutorContext) -> ThreadExecutor:
    """Build the executor from its configuration; `max_concurrent` falls back to the platform's setting.

    Raises:
        DagsterInvariantViolationError: `max_concurrent` is negative; Dagster then marks the run as failed.
    """
    config: Mapping[str, Any] = init.executor_config
    settings = read_settings()
    max_concurrent = config.get("max_concurrent") or settings.max_concurrent
    if max_concurrent < 1:
        text = f"max_concurrent is {max_concurrent}: a run needs at least 1, or 0 for the default."
        raise dg.DagsterInvariantViolationError(text)
    return ThreadExecutor(
        max_concurrent=max_concurrent,
        retries=RetryMode.from_config(config["retries"]) or RetryMode.ENABLED,
        tag_concurrency_limits=list(config.get("tag_concurrency_limits") or []),
        expect=lambda: expect_launches(settings),
    )
