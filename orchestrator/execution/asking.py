"""What a run asks of a step: which assets, checks and partitions, and what lies upstream of it outside the run."""

from dataclasses import dataclass
from typing import Any

import dagster as dg

from orchestrator.contract.model import Contract, Step
from orchestrator.execution.report import Asked


@dataclass(frozen=True)
class Partition:
    """The partitions asked for: their keys, and each key's dimensions by name (empty for one dimension)."""

    keys: tuple[str, ...]
    dimensions: tuple[dict[str, str], ...]


def asked_of(context: dg.AssetExecutionContext, step: Step) -> Asked:
    """Return what a step owes in this run.

    A blocking check of a selected asset is owed even if the run left it out: nothing is published unchecked.
    """
    selected = {key.to_escaped_user_string() for key in context.selected_asset_keys}
    chosen = {(key.asset_key.to_escaped_user_string(), key.name) for key in context.selected_asset_check_keys}
    declared = [(_escaped(check.asset), check.name, check.blocking is True) for check in step.checks]
    assets = [_escaped(asset.key) for asset in step.assets]
    return Asked(
        assets=[key for key in assets if key in selected],
        checks=[(a, n) for a, n, blocking in declared if (a, n) in chosen or (blocking and a in selected)],
        declared_assets=frozenset(assets),
        declared_checks=frozenset((a, n) for a, n, _ in declared),
        blocking=frozenset((a, n) for a, n, blocking in declared if blocking),
    )


def partition_of(context: dg.AssetExecutionContext) -> Partition | None:
    """Return the partitions of this run, or None for a step without partitions.

    Raises:
        ValueError: the step is partitioned and the run names no partition.
    """
    if context.assets_def.partitions_def is None:
        return None
    if not context.has_partition_key and not context.has_partition_key_range:
        raise ValueError("its assets are partitioned, and the run names no partition")
    keys = tuple(context.partition_keys)
    if not keys:
        raise ValueError("its assets are partitioned, and the run's range holds no partition")
    dimensions = tuple(dict(key.keys_by_dimension) for key in keys if isinstance(key, dg.MultiPartitionKey))
    return Partition(tuple(str(key) for key in keys), dimensions)


def upstream_of(
    context: dg.AssetExecutionContext, step: Step, partition: Partition | None
) -> list[tuple[str, str | None]]:
    """Return (asset, partition) of every dependency that this run does not make itself."""
    in_run = context.run.asset_selection
    made = context.job_def.asset_layer.selected_asset_keys if in_run is None else in_run
    graph = context.job_def.asset_layer.asset_graph
    selected = {key.to_escaped_user_string() for key in context.selected_asset_keys}
    found: dict[tuple[str, str | None], None] = {}
    for asset in step.assets:
        if _escaped(asset.key) not in selected:
            continue
        for dep in asset.deps or []:
            key = dg.AssetKey.from_user_string(dep)
            if key in made:
                continue
            same = graph.has(key) and graph.get(key).partitions_def == context.assets_def.partitions_def
            keys: tuple[str | None, ...] = partition.keys if partition and same else (None,)
            found |= dict.fromkeys((dep, one) for one in keys)
    return list(found)


def pipes_extras(
    contract: Contract, step: Step, asked: Asked, partition: Partition | None, attempt: int
) -> dict[str, Any]:
    """Return what a workload finds in the `extras` of its Pipes context."""
    return {
        "team": contract.team,
        "step": step.name,
        "attempt": attempt,
        "accepts": ["log_timestamp"],
        "checks": [{"asset": a, "name": n, "blocking": (a, n) in asked.blocking} for a, n in asked.checks],
        "declared": {
            "assets": sorted(asked.declared_assets),
            "checks": [{"asset": a, "name": n} for a, n in sorted(asked.declared_checks)],
        },
        "partition": {"keys": list(partition.keys), "dimensions": list(partition.dimensions)} if partition else None,
    }


def _escaped(key: str) -> str:
    return dg.AssetKey.from_user_string(key).to_escaped_user_string()
