"""Write a step that runs the same under the platform and alone on a laptop."""

from bulkhead_sdk.errors import BadParameter, MissingInput, TryAgain, WorkloadError
from bulkhead_sdk.parts import Dataset, Partition
from bulkhead_sdk.step import Step, open_step

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
