"""Write a step that runs the same under the platform and alone on a laptop."""

from bulkhead_sdk.errors import BadParameter, MissingInput, TryAgain, WorkloadError
from bulkhead_sdk.step import Step, open_step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bulkhead_sdk.parts import Dataset, Partition
else:

    def __getattr__(name):
        """Load the dataclasses when they are asked for: `dataclasses` is slow to import."""
        if name not in ("Dataset", "Partition"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from bulkhead_sdk import parts

        return getattr(parts, name)


__all__ = [
    "BadParameter",
    "Dataset",
    "MissingInput",
    "Partition",
    "Step",
    "TryAgain",
    "WorkloadError",
    "open_step",
]
