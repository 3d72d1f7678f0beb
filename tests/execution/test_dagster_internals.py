"""The private parts of Dagster that execution stands on: each is there, and has what is used of it."""

import inspect
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.plan.step import ExecutionStep
from dagster._core.storage.event_log import EventLogStorage

from orchestrator.execution import dagster_internals as internals

# What is used of each class: its attributes.
ATTRIBUTES: dict[str, list[str]] = {
    "ActiveExecution": [
        "__enter__", "__exit__", "check_for_interrupts", "concurrency_event_iterator", "get_known_state",
        "get_steps_to_execute", "handle_event", "is_complete", "mark_interrupted", "plan_events_iterator",
        "verify_complete",
    ],
    "AssetCheckExecutionRecordStatus": ["SUCCEEDED"],
    "CapturedLogContext": [],
    "ComponentPath": ["from_path"],
    "ComputeIOType": ["STDERR", "STDOUT"],
    "ConfigurableClassData": [],
    "DagsterEvent": [
        "capture_logs", "engine_event", "event_type", "is_step_failure", "is_step_success",
        "is_step_up_for_retry", "job_enqueue", "message",
    ],
    "DagsterEventType": ["RUN_CANCELING", "RUN_START"],
    "DagsterExecutionInterruptedError": ["with_traceback"],
    "DataProvenance": ["code_version", "input_data_versions", "is_user_provided"],
    "DecoratedOpFunction": ["decorated_fn"],
    "DefaultRunLauncher": ["launch_run", "terminate", "_instance"],
    "EngineEventData": ["engine_error", "in_process"],
    "EventLogEntry": ["dagster_event_type"],
    "EventLogStorage": ["free_concurrency_slots_for_run", "get_maximum_record_id", "is_persistent", "store_event"],
    "ExecuteRunWithPlanIterable": ["__iter__"],
    "ExecutionPlan": ["step_keys_to_execute"],
    "Executor": ["execute", "retries", "step_dependency_config"],
    "InstanceConcurrencyContext": ["__enter__", "__exit__"],
    "InstanceRef": ["from_dir"],
    "LaunchRunContext": ["dagster_run", "workspace"],
    "LineCol": [],
    "LocalComputeLogManager": ["build_log_key_for_run", "complete_artifact_path", "open_log_stream"],
    "ModuleCodePointer": ["fn_name", "module", "working_directory"],
    "PlanExecutionContext": ["dagster_run", "for_step", "instance"],
    "PlanExecutionContextManager": ["get_context", "prepare_context", "shutdown_context"],
    "PlanOrchestrationContext": [
        "dagster_run", "execution_plan", "instance", "job", "output_capture", "raise_on_error", "retry_mode",
        "run_config", "run_id",
    ],
    "QueuedRunCoordinator": ["_instance", "cancel_run", "get_run_queue_config", "submit_run"],
    "ReconstructableRepository": ["get_reconstructable_job"],
    "RetryMode": ["ENABLED", "from_config"],
    "SourcePosition": [],
    "SourcePositionTree": [],
    "SqlEventLogStorage": ["is_persistent", "store_event"],
    "SqliteEventLogStorage": ["_connect", "conn_string_for_shard", "path_for_shard", "store_event"],
    "StepDependencyConfig": ["default"],
    "StepExecutionContext": [
        "fetch_external_input_asset_version_info", "instance", "log", "previous_attempt_count",
        "raise_on_error", "run_id", "step",
    ],
    "SubmitRunContext": ["dagster_run", "workspace"],
    "ValueAndSourcePositionTree": [],
    "YamlDecl": ["from_source_tree"],
    "YamlFileDecl": ["context", "decls", "loc", "source_positions"],
}  # fmt: skip

# How each function, class or method is called: its parameters.
PARAMETERS: dict[str, list[str]] = {
    "ActiveExecution": [
        "execution_plan", "instance_concurrency_context", "max_concurrent", "retry_mode", "step_dependency_config",
        "tag_concurrency_limits",
    ],
    "ActiveExecution.concurrency_event_iterator": ["plan_context"],
    "ActiveExecution.get_steps_to_execute": ["limit"],
    "ActiveExecution.handle_event": ["dagster_event"],
    "ActiveExecution.plan_events_iterator": ["job_context"],
    "ActiveExecution.verify_complete": ["job_context", "step_key"],
    "CapturedLogContext": ["log_key"],
    "ComponentPath.from_path": ["path", "instance_key"],
    "DagsterEvent.capture_logs": ["job_context", "log_context", "log_key", "step_keys"],
    "DagsterEvent.engine_event": ["event_specific_data", "message", "plan_context"],
    "DecoratedOpFunction": ["decorated_fn"],
    "DefaultRunLauncher.launch_run": ["context"],
    "DefaultRunLauncher.terminate": ["run_id"],
    "EventLogStorage.free_concurrency_slots_for_run": ["run_id"],
    "ExecuteRunWithPlanIterable": ["execution_context_manager", "execution_plan", "iterator"],
    "InstanceConcurrencyContext": ["dagster_run", "instance"],
    "LineCol": ["line", "col"],
    "LocalComputeLogManager.build_log_key_for_run": ["run_id", "step_key"],
    "LocalComputeLogManager.complete_artifact_path": ["log_key"],
    "LocalComputeLogManager.open_log_stream": ["io_type", "log_key"],
    "PlanExecutionContext.for_step": ["known_state", "step"],
    "PlanExecutionContextManager": [
        "dagster_run", "execution_plan", "instance", "job", "output_capture", "raise_on_error", "retry_mode",
        "run_config", "step_dependency_config",
    ],
    "QueuedRunCoordinator.submit_run": ["context"],
    "ReconstructableRepository": ["pointer"],
    "ReconstructableRepository.get_reconstructable_job": ["name"],
    "SourcePosition": ["filename", "start", "end"],
    "SourcePositionTree": ["position", "children"],
    "SqlEventLogStorage.store_event": ["event"],
    "SqliteEventLogStorage._connect": ["shard"],
    "SqliteEventLogStorage.conn_string_for_shard": ["shard_name"],
    "SqliteEventLogStorage.path_for_shard": ["run_id"],
    "ValueAndSourcePositionTree": ["value", "source_position_tree"],
    "YamlDecl.from_source_tree": ["context", "source_tree", "path"],
    "build_external_execution_context_data": ["context", "extras"],
    "capture_interrupts": [],
    "check_captured_interrupt": [],
    "core_execute_run": ["recon_job", "dagster_run", "instance", "inject_env_vars"],
    "dagster_event_sequence_for_step": ["step_context"],
    "deserialize_value": ["val", "as_type"],
    "execute_run_iterator": ["dagster_run", "instance", "job"],
    "extract_data_provenance_from_entry": ["entry"],
    "metadata_map_from_external": ["metadata"],
    "serializable_error_info_from_exc_info": ["exc_info"],
    "serialize_value": ["val"],
    "step_failure_event_from_exc_info": ["exc_info", "step_context"],
    "stringify_asset_key_to_input_name": ["asset_key"],
    "trigger_hooks": ["step_context", "step_event_list"],
}  # fmt: skip

# Single values, and what they are.
VALUES: dict[str, type] = {
    "EVENT_TYPE_TO_PIPELINE_RUN_STATUS": dict,
    "GRPC_INFO_TAG": str,
    "IN_PROGRESS_RUN_STATUSES": list,
    "SQLITE_BUSY_TIMEOUT_SECONDS": int,
}


def named(path: str) -> Any:
    found: Any = internals
    for word in path.split("."):
        found = getattr(found, word)
    return found


def test_every_private_name_is_listed_here_and_comes_from_the_pinned_version() -> None:
    listed = {*ATTRIBUTES, *VALUES, *(path for path in PARAMETERS if "." not in path)}
    assert (listed | {"SEEN_WITH"}, dg.__version__) == (set(internals.__all__), internals.SEEN_WITH)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_private_class_has_what_is_used_of_it(name: str) -> None:
    assert [attribute for attribute in ATTRIBUTES[name] if not hasattr(named(name), attribute)] == []


@pytest.mark.parametrize("path", PARAMETERS)
def test_a_private_part_is_called_as_it_was_read(path: str) -> None:
    assert set(PARAMETERS[path]) - set(inspect.signature(named(path)).parameters) == set()


@pytest.mark.parametrize("name", VALUES)
def test_a_private_value_is_what_it_was(name: str) -> None:
    value = named(name)
    assert isinstance(value, VALUES[name])
    assert value


def test_a_step_and_the_event_log_have_what_is_used_of_them() -> None:
    assert hasattr(ExecutionStep, "get_execution_dependency_keys")
    assert list(inspect.signature(EventLogStorage.free_concurrency_slots_for_run).parameters) == ["self", "run_id"]
