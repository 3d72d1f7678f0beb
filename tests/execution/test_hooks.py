"""What Dagster lets a job ask of its executor and no contract expresses: hooks and optional outputs."""

import dagster as dg
import pytest

from orchestrator.execution.threads import thread_executor
from tests.execution.runs import events, execute

BOTH = pytest.mark.parametrize("executor", [thread_executor, dg.in_process_executor], ids=["threads", "Dagster's own"])
HOOKS = ("HOOK_COMPLETED", "HOOK_ERRORED", "HOOK_SKIPPED")
RESULTS = ("STEP_SUCCESS", "STEP_FAILURE", "STEP_SKIPPED")
CALLED: list[tuple[str, str, str]] = []


@dg.op
def good() -> int:
    return 1


@dg.op(ins={"before": dg.In(dg.Nothing)})
def bad() -> None:
    raise ValueError("no")


@dg.op(retry_policy=dg.RetryPolicy(max_retries=1))
def second_try(context: dg.OpExecutionContext) -> None:
    if context.retry_number == 0:
        raise ValueError("not yet")


@dg.success_hook
def on_success(context: dg.HookContext) -> None:
    CALLED.append(("success", context.step_key, str(context.op_output_values)))


@dg.failure_hook
def on_failure(context: dg.HookContext) -> None:
    CALLED.append(("failure", context.step_key, str(context.op_exception)))


@dg.success_hook
def broken_hook(context: dg.HookContext) -> None:
    raise RuntimeError("the hook is broken")


@BOTH
def test_each_hook_fires_once_for_each_step_with_that_steps_own_context(
    instance: dg.DagsterInstance, executor: dg.ExecutorDefinition
) -> None:
    @dg.job(executor_def=executor, hooks={on_success, on_failure})
    def hooked() -> None:
        bad(good())
        second_try()

    CALLED.clear()
    run = execute(instance, hooked)
    expected = [
        ("failure", "bad", "no"),
        ("success", "good", "{'result': 1}"),
        ("success", "second_try", "{'result': None}"),
    ]
    assert (run.status.value, sorted(CALLED)) == ("FAILURE", expected)
    told = [event for event in events(instance, run.run_id, *HOOKS) if event[1] != "HOOK_SKIPPED"]
    assert sorted(told) == [(step, "HOOK_COMPLETED") for step in ("bad", "good", "second_try")]


@BOTH
def test_a_hook_that_raises_is_on_record_and_changes_nothing_else(
    instance: dg.DagsterInstance, executor: dg.ExecutorDefinition
) -> None:
    @dg.job(executor_def=executor, hooks={broken_hook})
    def hooked() -> None:
        good()

    run = execute(instance, hooked)
    assert run.status.value == "SUCCESS"
    assert events(instance, run.run_id, *HOOKS, *RESULTS) == [("good", "STEP_SUCCESS"), ("good", "HOOK_ERRORED")]


@dg.op(out={"left": dg.Out(is_required=False), "right": dg.Out(is_required=False)})
def left_alone():
    yield dg.Output(1, "left")


@dg.op
def after(value: int) -> int:
    return value


@BOTH
def test_an_output_that_was_not_made_skips_all_that_needs_it_and_nothing_else(
    instance: dg.DagsterInstance, executor: dg.ExecutorDefinition
) -> None:
    @dg.job(executor_def=executor)
    def branches() -> None:
        left, right = left_alone()
        after.alias("after_left")(left)
        after.alias("last")(after.alias("after_right")(right))

    run = execute(instance, branches)
    assert run.status.value == "SUCCESS"
    assert sorted(events(instance, run.run_id, *RESULTS)) == [
        ("after_left", "STEP_SUCCESS"),
        ("after_right", "STEP_SKIPPED"),
        ("last", "STEP_SKIPPED"),
        ("left_alone", "STEP_SUCCESS"),
    ]
