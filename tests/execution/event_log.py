"""Events for an event log in SQLite, and what its database has of them."""

import logging
import sqlite3
import time
from contextlib import closing
from typing import Any

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
from dagster._core.events.log import EventLogEntry

RUN = "a-run"


def entry(text: str, event: DagsterEvent | None = None, run: str = RUN) -> EventLogEntry:
    return EventLogEntry(
        error_info=None, level=logging.INFO, user_message=text, run_id=run, timestamp=time.time(), dagster_event=event
    )


def status(kind: DagsterEventType) -> EventLogEntry:
    return entry(kind.value, DagsterEvent(event_type_value=kind.value, job_name="job"))


def materialized(key: str) -> EventLogEntry:
    data = StepMaterializationData(dg.AssetMaterialization(key))
    event = DagsterEvent("ASSET_MATERIALIZATION", "job", event_specific_data=data)
    return entry(key, event)


def stored(storage: Any, run: str = RUN) -> list[str]:
    """Return the text of each event of a run, in order, as another process reads them."""
    with closing(sqlite3.connect(storage.path_for_shard(run))) as database:
        rows = database.execute("select event from event_logs order by id").fetchall()
    return [dg.deserialize_value(row[0], EventLogEntry).user_message for row in rows]


def refuse(storage: Any, what: str, shard: str = RUN) -> None:
    """Let the database itself refuse every event with a text, or of a type."""
    with closing(sqlite3.connect(storage.path_for_shard(shard))) as database, database:
        database.execute(
            f"create trigger refusal before insert on event_logs when new.dagster_event_type = '{what}' "
            f"or instr(new.event, '\"user_message\": \"{what}') begin select raise(abort, 'refused on purpose'); end"
        )
