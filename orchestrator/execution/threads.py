"""The executor: the steps of a run execute on threads of one run worker.

A thin asset only waits for its workload, so it needs no process of its own. Dagster's plan state (`ActiveExecution`)
stays on the main thread and decides what may run; each step's events come from a thread, with a compute log of its own.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import dagster as dg

from orchestrator.backends import expect_launches
from orchestrator.execution.compute_logs import ComputeLogs
from orchestrator.execution.dagster_internals import (
    ActiveExecution,
    DagsterEvent,
    EngineEventData,
    ExecuteRunWithPlanIterable,
    ExecutionPlan,
    Executor,
    InstanceConcurrencyContext,
    PlanExecutionContext,
    PlanExecutionContextManager,
    PlanOrchestrationContext,
    RetryMode,
)
from orchestrator.execution.run_state import RunState
from orchestrator.execution.running_steps import END, RunningSteps
from orchestrator.execution.stores import StoreLocks
from orchestrator.execution.workers import mark_worker
from orchestrator.settings import read_settings

CANCELLING = "Interrupted: stopping every workload of the run"


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
        logs = ComputeLogs(job_context.instance.compute_log_manager, run.run_id)
        state.open_logs = logs.make_ready
        running = RunningSteps(state, logs, _created(job_context))
        with ExitStack() as stack:
            stack.callback(logs.close)
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
                    for step in active.get_steps_to_execute(limit=self.max_concurrent - running.busy):
                        self.expect()
                        running.start(job_context.for_step(step, active.get_known_state()))
                    yield from active.concurrency_event_iterator(job_context)
                    yield from active.plan_events_iterator(job_context)
                for key, event in running.events():
                    if event is END:
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


def _created(job_context: PlanExecutionContext) -> float:
    """Return when the run was asked for; seconds since the epoch."""
    record = job_context.instance.get_run_record_by_id(job_context.dagster_run.run_id)
    return record.create_timestamp.timestamp() if record is not None else time.time()


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
