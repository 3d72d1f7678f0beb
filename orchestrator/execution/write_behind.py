"""Writes a run's events behind the steps that make them, in batches, so that no step waits for the database.

While a run executes, its worker's event log takes events into a queue, and a thread stores them in their order.
Dagster's own code stores each of them; what changes is when, and that many share a connection and a transaction. Every
read waits for what was written before it, and so does the end of the run. An event that cannot be stored is not passed
over: from then on every event says so.

In Postgres each event is a transaction, on a connection that is kept: readers go by the numbers of events, and would
pass over what is committed late. A Postgres that is gone for a moment is waited for.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from orchestrator.execution.dagster_internals import (
    EVENT_TYPE_TO_PIPELINE_RUN_STATUS,
    SQLITE_BUSY_TIMEOUT_SECONDS,
    DagsterEventType,
    EventLogEntry,
    EventLogStorage,
    SqlEventLogStorage,
    SqliteEventLogStorage,
)

T = TypeVar("T")
MAX_BATCH = 200
# What comes within this time is stored together, and not while a step that has just ended makes way for the next.
LINGER_SECONDS = 0.2
# Whoever waits for the queue looks this often whether its thread still lives.
PATIENCE_SECONDS = 5.0
# A database server that restarts is back within this time, or events cannot be stored.
ABSENCE_SECONDS, RETRY_SECONDS = 60.0, 0.2


@contextmanager
def write_behind(storage: EventLogStorage) -> Iterator[Callable[[], None]]:
    """Store events behind their makers until the block ends; then all of them are stored.

    Yields what waits until all events so far are stored; it raises what the database raised.

    An event log that is in no SQL database, or in memory alone, is left as it is. So is one in such a block already.

    Raises:
        Exception: whatever the database raised for an event that could not be stored.
    """
    own: Any = storage
    if not isinstance(storage, SqlEventLogStorage) or not storage.is_persistent or "store_event" in vars(storage):
        yield lambda: None
        return
    writer = EventWriter(storage)
    # These shadow the methods of its class, for this object alone.
    own.store_event, own._connect = writer.put, writer.connect
    # Both ask the database about its schema for each event; the schema stays as it is while a run executes.
    own.has_table, own.has_secondary_index = cache(storage.has_table), cache(storage.has_secondary_index)
    try:
        yield writer.settle
    finally:
        try:
            writer.close()
        finally:
            del own.store_event, own._connect, own.has_table, own.has_secondary_index


class EventWriter:
    """The queue, and the thread that empties it."""

    def __init__(self, storage: SqlEventLogStorage) -> None:
        self._storage = storage
        self._store = storage.store_event
        self._connections = _connections(storage)
        self._open: Any = self._connections.open if self._connections else _own_way(storage)
        # Within it, an event is stored as a whole or not at all.
        self._begin: Any = self._connections.begin if self._connections else self._open
        self._most = 1 if isinstance(self._connections, _PooledConnections) else MAX_BATCH
        self._condition = threading.Condition()
        self._queue: list[EventLogEntry] = []
        self._put = self._stored = self._wanted = 0
        self._failure: BaseException | None = None
        self._closed = False
        self._held: dict[tuple[Any, ...], Connection] = {}
        self._stack: ExitStack | None = None
        self._thread = threading.Thread(target=self._work, name="event writer", daemon=True)
        self._thread.start()

    def put(self, event: EventLogEntry) -> None:
        """Take an event; return at once, but for one that changes the run's status, which is stored first.

        Raises:
            Exception: an event could not be stored.
        """
        if threading.current_thread() is self._thread:
            self._store(event)
            return
        with self._condition:
            late = self._closed
            if not late:
                self._queue.append(event)
                self._put += 1
                # The thread wakes by itself: it would take Python's lock from the step.
                if len(self._queue) >= MAX_BATCH:
                    self._condition.notify_all()
        if late:
            self._store(event)
        if _of_the_run(event):
            self.flush()
        self._complain()

    def flush(self) -> None:
        """Wait until all that was put so far is stored, or was tried."""
        if threading.current_thread() is self._thread:
            return
        with self._condition:
            until = self._wanted = self._put
            self._condition.notify_all()
            while self._stored < until and self._thread.is_alive():
                self._condition.wait(PATIENCE_SECONDS)

    def settle(self) -> None:
        """Wait until all that was put so far is stored.

        Raises:
            Exception: an event could not be stored.
        """
        self.flush()
        self._complain()

    def close(self) -> None:
        """Store what is left, and end.

        Raises:
            Exception: an event could not be stored.
        """
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        self._thread.join()
        if self._connections is not None:
            self._connections.close()
        self._complain()

    @contextmanager
    def connect(self, *shard: Any) -> Iterator[Connection]:
        """Open a connection that sees all that was put; in a batch, the connection of the batch."""
        if threading.current_thread() is not self._thread or self._stack is None:
            self.flush()
            with self._open(*shard) as connection:
                yield connection
            return
        if shard not in self._held:
            self._held[shard] = self._stack.enter_context(self._begin(*shard))
        yield self._held[shard]

    def _complain(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(self._may_not_linger, LINGER_SECONDS)
                batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
                if self._closed and not batch:
                    return
            for start in range(0, len(batch), self._most):
                part = batch[start : start + self._most]
                self._store_batch(part)
                with self._condition:
                    self._stored += len(part)
                    self._condition.notify_all()

    def _may_not_linger(self) -> bool:
        return self._closed or self._wanted > self._stored or len(self._queue) >= MAX_BATCH

    def _store_batch(self, batch: list[EventLogEntry]) -> None:
        try:
            with ExitStack() as self._stack:
                for event in batch:
                    self._store(event)
        except BaseException:  # noqa: BLE001 (which event it was, is found below)
            self._leave_batch()
            self._store_one_by_one(batch)
        finally:
            self._leave_batch()

    def _store_one_by_one(self, batch: list[EventLogEntry]) -> None:
        for event in batch:
            try:
                self._store_patiently(event)
            except BaseException as error:  # noqa: BLE001 (told to whoever puts the next event)
                self._failure = error

    def _store_patiently(self, event: EventLogEntry) -> None:
        """Store one event, again and again if the connection is lost; what was not committed is not there."""
        if isinstance(self._connections, _PooledConnections):
            _patiently(lambda: self._store_alone(event))
        else:
            self._store(event)

    def _store_alone(self, event: EventLogEntry) -> None:
        try:
            with ExitStack() as self._stack:
                self._store(event)
        finally:
            self._leave_batch()

    def _leave_batch(self) -> None:
        self._stack = None
        self._held.clear()


def _of_the_run(event: EventLogEntry) -> bool:
    kind = event.dagster_event_type
    return kind in EVENT_TYPE_TO_PIPELINE_RUN_STATUS or kind is DagsterEventType.RUN_CANCELING


def _own_way(storage: SqlEventLogStorage) -> Any:
    """Return how a storage itself opens a connection in a transaction."""
    own: Any = storage
    return own._connect


def _connections(storage: SqlEventLogStorage) -> "_KeptConnections | _PooledConnections | None":
    if isinstance(storage, SqliteEventLogStorage):
        return _KeptConnections(storage)
    return _PooledConnections(storage) if hasattr(storage, "postgres_url") else None


def _patiently(do: Callable[[], T]) -> T:
    """Do something in the database, and again while its server is away.

    Raises:
        DBAPIError: it stayed away too long, or something else is wrong.
    """
    until = time.monotonic() + ABSENCE_SECONDS
    while True:
        try:
            return do()
        except DBAPIError as error:
            lost = error.connection_invalidated or getattr(error.orig, "pgcode", "") is None
            if not lost or time.monotonic() > until:
                raise
            time.sleep(RETRY_SECONDS)


class _PooledConnections:
    """Opens connections to an event log in Postgres, and keeps them for the next time."""

    def __init__(self, storage: Any) -> None:
        from dagster_postgres.utils import create_pg_engine

        self._engine = create_pg_engine(
            storage.postgres_url,
            storage._token_provider,
            isolation_level="AUTOCOMMIT",
            poolclass=QueuePool,
            max_overflow=-1,
            pool_pre_ping=True,
        )

    @contextmanager
    def open(self) -> Iterator[Connection]:
        """Open a connection as the storage itself does: each statement is a transaction."""
        with _patiently(self._engine.connect) as connection:
            yield connection

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        with _patiently(self._engine.connect) as connection:
            connection.execution_options(isolation_level="READ COMMITTED")
            with connection.begin():
                yield connection

    def close(self) -> None:
        self._engine.dispose()


class _KeptConnections:
    """Opens connections to an event log in SQLite, and keeps them for the next time, as long as their file is there."""

    def __init__(self, storage: SqliteEventLogStorage) -> None:
        self._storage, self._connect = storage, _own_way(storage)
        self._engines: dict[str, tuple[Engine, tuple[int, int]]] = {}
        self._guard = threading.Lock()

    @contextmanager
    def open(self, shard: str) -> Iterator[Connection]:
        with self._engine(shard).begin() as connection:
            yield connection

    begin = open

    def close(self) -> None:
        for engine, _ in self._engines.values():
            engine.dispose()
        self._engines.clear()

    def _engine(self, shard: str) -> Engine:
        with self._guard:
            if shard in self._engines:
                engine, file = self._engines[shard]
                if self._file(shard) == file:
                    return engine
                # What a connection writes to a file that was removed, nobody reads.
                engine.dispose()
            # Its own way makes the file and its tables.
            with self._connect(shard):
                pass
            engine = create_engine(
                self._storage.conn_string_for_shard(shard),
                poolclass=QueuePool,
                max_overflow=-1,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
            )
            self._engines[shard] = engine, self._file(shard)
            return engine

    def _file(self, shard: str) -> tuple[int, int]:
        """Return what tells a shard's file from every other; (0, 0) if there is none."""
        try:
            status = Path(self._storage.path_for_shard(shard)).stat()
        except FileNotFoundError:
            return (0, 0)
        return status.st_dev, status.st_ino
