"""What a step used and ran under: as metadata, and in one line."""

from typing import Any

import dagster as dg
import pytest

from orchestrator.backends.launch import Limits, Outcome, Usage
from orchestrator.execution.usage import Circumstances, in_words, known, measured

USAGE = Usage(
    memory=271 << 20, cpu_seconds=1.23456, pids=7, open_files=12, output=2048, output_lost=0, starting=0.0414, seconds=12.3456
)  # fmt: skip


def values(metadata: dict[str, dg.MetadataValue]) -> dict[str, Any]:
    return {name: value.value for name, value in metadata.items()}


def test_what_is_known_of_a_step_before_it_ends() -> None:
    assert values(known(Circumstances("bwrap", "0123456789abcdef", "fedcba9876543210", 1.23456))) == {
        "bulkhead/sandbox": "bwrap",
        "bulkhead/contract": "0123456789abcdef",
        "bulkhead/environment": "fedcba9876543210",
        "bulkhead/queued_seconds": 1.235,
    }


def test_a_step_without_a_lock_file_has_no_environment_to_tell_of() -> None:
    found = known(Circumstances("none (switched off)", "0123456789abcdef", None, 0.0))
    assert "bulkhead/environment" not in found


@pytest.mark.parametrize(
    ("outcome", "end"),
    [
        (Outcome(exit_code=0, usage=USAGE), {"bulkhead/exit_code": 0}),
        (Outcome(exit_code=75, usage=USAGE), {"bulkhead/exit_code": 75}),
        (Outcome(signal=9, usage=USAGE), {"bulkhead/signal": 9}),
        (Outcome(lost="gone", usage=USAGE), {}),
    ],
)
def test_what_was_measured_of_a_step_and_how_it_ended(outcome: Outcome, end: dict[str, int]) -> None:
    assert values(measured(outcome)) == {
        "bulkhead/peak_memory_bytes": 271 << 20,
        "bulkhead/cpu_seconds": 1.235,
        "bulkhead/peak_pids": 7,
        "bulkhead/output_bytes": 2048,
        "bulkhead/starting_seconds": 0.041,
        "bulkhead/run_seconds": 12.346,
        **end,
    }


def test_measurements_are_numbers_so_that_the_ui_plots_them() -> None:
    kinds = {type(value) for value in measured(Outcome(exit_code=0, usage=USAGE)).values()}
    assert kinds == {dg.IntMetadataValue, dg.FloatMetadataValue}


def test_usage_without_limits_is_told_in_one_line() -> None:
    assert in_words(USAGE, Limits()) == "memory 271Mi, cpu 1.2s, pids 7, output 2Ki, time 12.3s"


def test_usage_is_told_beside_each_limit() -> None:
    limits = Limits(timeout=300, memory=1 << 30, cpu_time=60, pids=40, open_files=100, output=1 << 20)
    assert in_words(USAGE, limits) == (
        "memory 271Mi of 1Gi, cpu 1.2s of 1m, pids 7 of 40, open files 12 of 100, output 2Ki of 1Mi, time 12.3s of 5m"
    )


def test_a_step_that_used_nothing_is_told_as_such() -> None:
    assert in_words(Usage(), Limits(cores=2)) == "memory 0B, cpu 0s, pids 0, output 0B, time 0s"
