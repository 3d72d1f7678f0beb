"""The private parts of Dagster that execution touches, in one place.

Each is named by a test against the pinned version. `SEEN_WITH` is the version they were read in.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dagster._core.definitions.assets.definition.assets_definition import stringify_asset_key_to_input_name
from dagster._core.definitions.data_version import DataProvenance, extract_data_provenance_from_entry
from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction
from dagster._core.definitions.metadata import metadata_map_from_external
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import EVENT_TYPE_TO_PIPELINE_RUN_STATUS, DagsterEvent, DagsterEventType, EngineEventData
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.api import ExecuteRunWithPlanIterable, execute_run_iterator
from dagster._core.execution.context.system import PlanExecutionContext, PlanOrchestrationContext, StepExecutionContext
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.execute_plan import _trigger_hook as trigger_hooks
from dagster._core.execution.plan.execute_plan import dagster_event_sequence_for_step
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.objects import step_failure_event_from_exc_info
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.execution.step_dependency_config import StepDependencyConfig
from dagster._core.executor.base import Executor
from dagster._core.pipes.context import build_external_execution_context_data
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster._utils.interrupts import capture_interrupts, check_captured_interrupt
from dagster.components.core.decl import YamlDecl, YamlFileDecl
from dagster.components.core.defs_module import ComponentPath
from dagster_shared.yaml_utils.source_position import (
    LineCol,
    SourcePosition,
    SourcePositionTree,
    ValueAndSourcePositionTree,
)

if TYPE_CHECKING:
    from dagster._core.code_pointer import ModuleCodePointer
    from dagster._core.definitions.reconstruct import ReconstructableRepository
    from dagster._core.instance.ref import InstanceRef
    from dagster._core.launcher.base import LaunchRunContext
    from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
    from dagster._core.run_coordinator.base import SubmitRunContext
    from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator
    from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES
    from dagster._core.storage.event_log.base import EventLogStorage
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
    from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
    from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
    from dagster._core.storage.tags import GRPC_INFO_TAG
    from dagster._grpc.impl import core_execute_run
    from dagster._serdes import ConfigurableClassData, deserialize_value, serialize_value

SEEN_WITH = "1.13.27"

# What loading definitions does not need, and takes long to import: where it is found when it is asked for.
LATER = {
    "ConfigurableClassData": "dagster._serdes",
    "EventLogStorage": "dagster._core.storage.event_log.base",
    "DefaultRunLauncher": "dagster._core.launcher.default_run_launcher",
    "GRPC_INFO_TAG": "dagster._core.storage.tags",
    "IN_PROGRESS_RUN_STATUSES": "dagster._core.storage.dagster_run",
    "InstanceRef": "dagster._core.instance.ref",
    "LaunchRunContext": "dagster._core.launcher.base",
    "ModuleCodePointer": "dagster._core.code_pointer",
    "QueuedRunCoordinator": "dagster._core.run_coordinator.queued_run_coordinator",
    "ReconstructableRepository": "dagster._core.definitions.reconstruct",
    "SQLITE_BUSY_TIMEOUT_SECONDS": "dagster._core.storage.sqlite",
    "SqlEventLogStorage": "dagster._core.storage.event_log.sql_event_log",
    "SqliteEventLogStorage": "dagster._core.storage.event_log.sqlite.sqlite_event_log",
    "SubmitRunContext": "dagster._core.run_coordinator.base",
    "core_execute_run": "dagster._grpc.impl",
    "deserialize_value": "dagster._serdes",
    "serialize_value": "dagster._serdes",
}

__all__ = [
    "EVENT_TYPE_TO_PIPELINE_RUN_STATUS",
    "GRPC_INFO_TAG",
    "IN_PROGRESS_RUN_STATUSES",
    "SEEN_WITH",
    "SQLITE_BUSY_TIMEOUT_SECONDS",
    "ActiveExecution",
    "AssetCheckExecutionRecordStatus",
    "CapturedLogContext",
    "ComponentPath",
    "ComputeIOType",
    "ConfigurableClassData",
    "DagsterEvent",
    "DagsterEventType",
    "DagsterExecutionInterruptedError",
    "DataProvenance",
    "DecoratedOpFunction",
    "DefaultRunLauncher",
    "EngineEventData",
    "EventLogEntry",
    "EventLogStorage",
    "ExecuteRunWithPlanIterable",
    "ExecutionPlan",
    "Executor",
    "InstanceConcurrencyContext",
    "InstanceRef",
    "LaunchRunContext",
    "LineCol",
    "LocalComputeLogManager",
    "ModuleCodePointer",
    "PlanExecutionContext",
    "PlanExecutionContextManager",
    "PlanOrchestrationContext",
    "QueuedRunCoordinator",
    "ReconstructableRepository",
    "RetryMode",
    "SourcePosition",
    "SourcePositionTree",
    "SqlEventLogStorage",
    "SqliteEventLogStorage",
    "StepDependencyConfig",
    "StepExecutionContext",
    "SubmitRunContext",
    "ValueAndSourcePositionTree",
    "YamlDecl",
    "YamlFileDecl",
    "build_external_execution_context_data",
    "capture_interrupts",
    "check_captured_interrupt",
    "core_execute_run",
    "dagster_event_sequence_for_step",
    "deserialize_value",
    "execute_run_iterator",
    "extract_data_provenance_from_entry",
    "metadata_map_from_external",
    "serializable_error_info_from_exc_info",
    "serialize_value",
    "step_failure_event_from_exc_info",
    "stringify_asset_key_to_input_name",
    "trigger_hooks",
]


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(LATER[name]), name)


def put_off_input_versions(context: StepExecutionContext) -> Callable[[], None]:
    """Keep a step from reading the versions of its inputs before it starts; return what reads them."""
    read = context.fetch_external_input_asset_version_info
    # Shadows the method of its class, for this object alone.
    own: Any = context
    own.fetch_external_input_asset_version_info = lambda: None
    return read
