"""What a step used and ran under, as metadata and in words. All metadata of the platform begins with `bulkhead/`."""

from dataclasses import dataclass
from typing import Any

import dagster as dg

from orchestrator.backends.launch import Limits, Outcome, Usage
from orchestrator.contract.units import format_duration, format_memory

PREFIX = "bulkhead/"


@dataclass(frozen=True)
class Circumstances:
    """What is known of a step before it ends.

    Attributes:
        sandbox: how it is kept apart.
        contract: hash of its contract.
        environment: hash of its lock file, or None.
        queued: seconds it waited for its turn, from the end of what it depends on to its launch.
    """

    sandbox: str
    contract: str
    environment: str | None
    queued: float


def known(circumstances: Circumstances) -> dict[str, dg.MetadataValue]:
    """Return what can be said of a step while it runs."""
    found: dict[str, dg.MetadataValue] = {
        "sandbox": dg.MetadataValue.text(circumstances.sandbox),
        "contract": dg.MetadataValue.text(circumstances.contract),
        "queued_seconds": dg.MetadataValue.float(round(circumstances.queued, 3)),
    }
    if circumstances.environment is not None:
        found["environment"] = dg.MetadataValue.text(circumstances.environment)
    return {f"{PREFIX}{name}": value for name, value in found.items()}


def measured(outcome: Outcome) -> dict[str, dg.MetadataValue]:
    """Return what was measured of a step that has ended; numbers, so that the UI plots them."""
    usage = outcome.usage
    found: dict[str, dg.MetadataValue] = {
        "peak_memory_bytes": dg.MetadataValue.int(usage.memory),
        "cpu_seconds": dg.MetadataValue.float(round(usage.cpu_seconds, 3)),
        "peak_pids": dg.MetadataValue.int(usage.pids),
        "output_bytes": dg.MetadataValue.int(usage.output),
        "starting_seconds": dg.MetadataValue.float(round(usage.starting, 3)),
        "run_seconds": dg.MetadataValue.float(round(usage.seconds, 3)),
    }
    if outcome.exit_code is not None:
        found["exit_code"] = dg.MetadataValue.int(outcome.exit_code)
    if outcome.signal is not None:
        found["signal"] = dg.MetadataValue.int(outcome.signal)
    return {f"{PREFIX}{name}": value for name, value in found.items()}


def in_words(usage: Usage, limits: Limits) -> str:
    """Return one line: each peak, and the limit it stayed below or broke."""
    parts = [
        _part(f"memory {format_memory(usage.memory)}", limits.memory and format_memory(limits.memory)),
        _part(f"cpu {format_duration(usage.cpu_seconds)}", limits.cpu_time and format_duration(limits.cpu_time)),
        _part(f"pids {usage.pids}", limits.pids),
        _part(f"open files {usage.open_files}", limits.open_files) if limits.open_files else "",
        _part(f"output {format_memory(usage.output)}", limits.output and format_memory(limits.output)),
        _part(f"time {format_duration(usage.seconds)}", limits.timeout and format_duration(limits.timeout)),
    ]
    return ", ".join(part for part in parts if part)


def _part(used: str, limit: Any) -> str:
    return f"{used} of {limit}" if limit else used
