"""Bulkhead's control plane: thin Dagster Pipes assets, and the execution layer that believes no workload."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.graph.component import Workload

__all__ = ["Workload"]


def __getattr__(name: str) -> Any:
    """Import the component on first use, so that the command line starts without Dagster."""
    if name == "Workload":
        from orchestrator.graph.component import Workload

        return Workload
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
