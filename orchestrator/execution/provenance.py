"""What the assets of a run were made from before it, read for many assets at once."""

import threading
from collections.abc import Iterable
from typing import Any

import dagster as dg

from orchestrator.execution.dagster_internals import DataProvenance, extract_data_provenance_from_entry

CHUNK = 200


class Provenance:
    """The provenance of the newest materialization of each asset of a run, as it was when the run came to it."""

    def __init__(self) -> None:
        self._known: dict[dg.AssetKey, DataProvenance | None] = {}
        self._guard = threading.Lock()

    def of(self, context: dg.AssetExecutionContext, key: dg.AssetKey) -> DataProvenance | None:
        """Return an asset's provenance; None if it was never made, or so long ago that it has none."""
        with self._guard:
            if key not in self._known:
                self._read(context, key)
            return self._known[key]

    def _read(self, context: dg.AssetExecutionContext, key: dg.AssetKey) -> None:
        keys = [key]
        for other in _of_the_run(context):
            if len(keys) == CHUNK:
                break
            if other != key and other not in self._known:
                keys.append(other)
        self._known |= dict.fromkeys(keys)
        for record in context.instance.get_asset_records(keys):
            newest = record.asset_entry.last_materialization_record
            if newest is not None:
                self._known[record.asset_entry.asset_key] = extract_data_provenance_from_entry(newest.event_log_entry)


class WithProvenance:
    """A step's context that takes provenance from what its run has read; all else is the context's own."""

    def __init__(self, context: dg.AssetExecutionContext, provenance: Provenance) -> None:
        self._context, self._provenance = context, provenance

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def get_asset_provenance(self, asset_key: dg.AssetKey) -> DataProvenance | None:
        """Return an asset's provenance; a later attempt reads it again, for the one before may have made the asset."""
        if self._context.retry_number:
            again: DataProvenance | None = self._context.get_asset_provenance(asset_key)
            return again
        return self._provenance.of(self._context, asset_key)


def _of_the_run(context: dg.AssetExecutionContext) -> Iterable[dg.AssetKey]:
    chosen = context.run.asset_selection
    return context.job_def.asset_layer.selected_asset_keys if chosen is None else chosen
