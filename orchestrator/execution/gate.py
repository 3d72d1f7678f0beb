"""The gate: nothing is launched on upstream data that is missing, unfinished or failed its blocking checks.

Inside a run Dagster orders the steps and its blocking checks stop what follows. Across runs it does not; this does:
each upstream asset outside the run must have been materialized by a step that ended green, and each of its blocking
checks must have passed on that very materialization.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg
from dagster import DagsterInstance

from orchestrator.contract.catalog import Catalog
from orchestrator.errors import listed
from orchestrator.execution.dagster_internals import AssetCheckExecutionRecordStatus

CHECK_HISTORY = 200


@dataclass(frozen=True)
class Closed:
    """Why the gate is closed for one upstream asset, and what opens it."""

    asset: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.asset} {self.reason}: {self.remedy}"


def closed_gates(
    instance: DagsterInstance, catalog: Catalog, upstream: Sequence[tuple[str, str | None]]
) -> list[Closed]:
    """Return the gates that are closed among (asset key, partition key or None) pairs; empty means go."""
    found = (_closed(instance, catalog, asset, partition) for asset, partition in upstream)
    return [gate for gate in found if gate is not None]


def _closed(instance: DagsterInstance, catalog: Catalog, asset: str, partition: str | None) -> Closed | None:
    team = catalog.owner_of(asset)
    if team is None:
        broken = listed(catalog.problems)
        return Closed(
            asset, f"has no owner: no valid contract makes it (broken contracts: {broken})", "mend the contract"
        )
    jobs = catalog.jobs_of(asset)
    run_job = f"run {jobs[0]}" if jobs else f"materialize {asset}"
    key = dg.AssetKey.from_user_string(asset)
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition] if partition else None), limit=1
    ).records
    which = f" for partition {partition!r}" if partition else ""
    if not records:
        return Closed(asset, f"has never been materialized{which}", run_job)
    latest = records[0]
    unfinished = _unfinished(instance, latest.run_id, latest.event_log_entry.step_key)
    for name in catalog.sound[team].blocking_checks(asset):
        passed = _passed_on(instance, dg.AssetCheckKey(key, name), latest.storage_id)
        if passed is None:
            return Closed(
                asset, f"was materialized{which}, and its blocking check {name!r} has no result on it", run_job
            )
        if not passed:
            return Closed(asset, f"failed its blocking check {name!r}{which}", f"mend the data and {run_job}")
    if unfinished:
        return Closed(asset, f"was last materialized{which} by a step that {unfinished}", run_job)
    return None


def _passed_on(instance: DagsterInstance, check: dg.AssetCheckKey, materialization: int) -> bool | None:
    """Return the newest result of a check on one materialization, or None if it has none."""
    history = instance.event_log_storage.get_asset_check_execution_history(check, limit=CHECK_HISTORY)
    for record in history:
        evaluation = record.evaluation if record.status is not AssetCheckExecutionRecordStatus.PLANNED else None
        target = evaluation.target_materialization_data if evaluation else None
        if target is not None and target.storage_id == materialization:
            return record.status is AssetCheckExecutionRecordStatus.SUCCEEDED
    return None


def _unfinished(instance: DagsterInstance, run_id: str, step_key: str | None) -> str | None:
    """Return how the step that made a materialization failed to end green, or None if it did end green."""
    if not run_id or not step_key:
        return None
    stats = instance.get_run_step_stats(run_id, [step_key])
    status = stats[0].status.value if stats and stats[0].status else "IN_PROGRESS"
    words = {"SUCCESS": None, "FAILURE": "failed", "IN_PROGRESS": "has not ended yet", "SKIPPED": "was skipped"}
    return words.get(status, "has not ended yet")
