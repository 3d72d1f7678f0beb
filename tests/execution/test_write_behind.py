"""A run's events, stored behind their makers: all of them, in order, and never without saying so."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import DagsterEventType
from sqlalchemy.exc import DatabaseError

from orchestrator.execution.write_behind import MAX_BATCH, write_behind
from tests.execution.event_log import RUN, entry, materialized, refuse, status, stored


@pytest.fixture
def storage(instance: dg.DagsterInstance) -> Any:
    return instance.event_log_storage


def words(count: int, word: str = "event") -> list[str]:
    return [f"{word} {number}" for number in range(count)]


def test_at_the_end_of_the_block_all_events_are_stored_in_order(storage: Any) -> None:
    texts = words(3 * MAX_BATCH + 7)
    with write_behind(storage):
        for text in texts:
            storage.store_event(entry(text))
    assert stored(storage) == texts


def test_what_was_stored_before_the_block_stays_and_what_comes_after_follows(storage: Any) -> None:
    storage.store_event(entry("before"))
    with write_behind(storage):
        storage.store_event(entry("within"))
    storage.store_event(entry("after"))
    assert stored(storage) == ["before", "within", "after"]


def test_every_read_sees_what_was_put_before_it(storage: Any) -> None:
    with write_behind(storage):
        for number in range(20):
            storage.store_event(entry(f"event {number}"))
            assert len(storage.get_logs_for_run(RUN)) == number + 1
            storage.store_event(materialized(f"asset_{number}"))
            assert storage.has_asset_key(dg.AssetKey(f"asset_{number}"))
            storage.wipe_asset(dg.AssetKey(f"asset_{number}"))
            assert not storage.has_asset_key(dg.AssetKey(f"asset_{number}"))
            storage.store_event_batch([entry("a"), entry("b")])
            storage.delete_events(RUN)
            storage.store_event_batch([entry(text) for text in words(number + 1)])
            assert stored_now(storage) == words(number + 1)


def test_what_settles_waits_until_all_that_was_put_is_in_the_database(storage: Any) -> None:
    with write_behind(storage) as settle:
        for text in words(MAX_BATCH + 1):
            storage.store_event(entry(text))
        settle()
        assert stored(storage) == words(MAX_BATCH + 1)
        settle()


def test_what_settles_says_that_an_event_could_not_be_stored(storage: Any) -> None:
    storage.store_event(entry("before"))
    refuse(storage, "bad")
    with pytest.raises(DatabaseError, match="refused on purpose"), write_behind(storage) as settle:
        storage.store_event(entry("bad"))
        with pytest.raises(DatabaseError, match="refused on purpose"):
            settle()


def stored_now(storage: Any) -> list[str]:
    return [one.user_message for one in storage.get_logs_for_run(RUN)]


@pytest.mark.parametrize(
    "kind",
    [
        DagsterEventType.RUN_START,
        DagsterEventType.RUN_SUCCESS,
        DagsterEventType.RUN_FAILURE,
        DagsterEventType.RUN_CANCELING,
        DagsterEventType.RUN_CANCELED,
    ],
)
def test_an_event_that_changes_the_runs_status_is_stored_before_the_call_returns(storage: Any, kind: Any) -> None:
    with write_behind(storage):
        storage.store_event(entry("earlier"))
        storage.store_event(status(kind))
        assert stored(storage) == ["earlier", kind.value]


def test_threads_that_write_and_read_at_once_lose_nothing_and_each_keeps_its_order(storage: Any) -> None:
    def write(name: str) -> None:
        for text in words(50, name):
            storage.store_event(entry(text))
        seen.append(len(storage.get_logs_for_run(RUN)) >= 50)

    seen: list[bool] = []
    names = [f"thread-{number}" for number in range(40)]
    with write_behind(storage):
        threads = [threading.Thread(target=write, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = stored(storage)
    assert (len(found), seen) == (40 * 50, [True] * 40)
    assert all([text for text in found if text.startswith(f"{name} ")] == words(50, name) for name in names)


def test_events_of_several_runs_and_of_assets_go_where_they_belong(storage: Any) -> None:
    with write_behind(storage):
        for number in range(30):
            storage.store_event(entry(f"one {number}", run="one"))
            storage.store_event(entry(f"two {number}", run="two"))
        storage.store_event(materialized("things"))
    assert (stored(storage, "one"), stored(storage, "two")) == (words(30, "one"), words(30, "two"))
    assert (stored(storage), stored(storage, "index")) == (["things"], ["things"])


def test_an_event_that_the_database_refuses_is_told_at_the_next_one_and_at_the_end_and_costs_no_other(
    storage: Any,
) -> None:
    storage.store_event(entry("before"))
    refuse(storage, "bad")
    with pytest.raises(DatabaseError, match="refused on purpose"), write_behind(storage):
        storage.store_event(entry("good 1"))
        storage.store_event(entry("bad"))
        storage.store_event(entry("good 2"))
        storage.get_logs_for_run(RUN)
        for text in ("good 3", "good 4"):
            with pytest.raises(DatabaseError, match="refused on purpose"):
                storage.store_event(entry(text))
    assert stored(storage) == ["before", "good 1", "good 2", "good 3", "good 4"]


def test_an_event_that_the_index_refuses_is_told(storage: Any) -> None:
    refuse(storage, "things", "index")
    with pytest.raises(DatabaseError, match="refused on purpose"), write_behind(storage):
        storage.store_event(entry("good"))
        storage.store_event(materialized("things"))
    assert (stored(storage)[0], stored(storage, "index")) == ("good", [])


def test_a_status_that_cannot_be_stored_is_told_at_once(storage: Any) -> None:
    storage.store_event(entry("before"))
    refuse(storage, "PIPELINE_SUCCESS")
    raised = pytest.raises(DatabaseError, match="refused on purpose")
    with pytest.raises(DatabaseError, match="refused on purpose"), write_behind(storage), raised:
        storage.store_event(status(DagsterEventType.RUN_SUCCESS))
    assert stored(storage) == ["before"]


@pytest.mark.parametrize("how", ["removed", "without its table"])
def test_a_database_that_is_taken_away_is_told_and_swallows_nothing(storage: Any, how: str) -> None:
    with pytest.raises(DatabaseError, match="no such table: event_logs"), write_behind(storage):
        storage.store_event(entry("before"))
        storage.get_logs_for_run(RUN)
        if how == "removed":
            for file in Path(storage.path_for_shard(RUN)).parent.glob(f"{RUN}.db*"):
                file.unlink()
        else:
            with closing(sqlite3.connect(storage.path_for_shard(RUN))) as database, database:
                database.execute("drop table event_logs")
        storage.store_event(entry("lost"))


def test_after_the_block_the_storage_is_its_class_again_even_if_the_block_raised(storage: Any) -> None:
    with pytest.raises(LookupError, match=r"^from within$"), write_behind(storage):
        storage.store_event(entry("kept"))
        raise LookupError("from within")
    assert {"store_event", "_connect"} & set(vars(storage)) == set()
    assert [thread.name for thread in threading.enumerate() if thread.name == "event writer"] == []
    assert stored(storage) == ["kept"]


def test_no_file_of_the_database_stays_open_after_the_block(storage: Any) -> None:
    with write_behind(storage):
        storage.store_event(entry("event"))
        storage.get_logs_for_run(RUN)
        assert open_files(Path(storage.path_for_shard(RUN)).parent) != []
    assert open_files(Path(storage.path_for_shard(RUN)).parent) == []


def open_files(folder: Path) -> list[str]:
    """Return the files of a folder that this process has open."""
    found = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [name for name in found if name.startswith(f"{folder}/")]


def test_whoever_kept_the_way_to_store_events_can_use_it_after_the_block(storage: Any) -> None:
    with write_behind(storage):
        kept = storage.store_event
    kept(entry("late"))
    assert stored(storage) == ["late"]


def test_a_block_within_a_block_changes_nothing(storage: Any) -> None:
    with write_behind(storage):
        with write_behind(storage):
            storage.store_event(entry("inner"))
        storage.store_event(entry("outer"))
    assert stored(storage) == ["inner", "outer"]


@pytest.fixture
def in_memory() -> Iterator[Any]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made.event_log_storage


def test_an_event_log_in_memory_is_left_alone(in_memory: Any) -> None:
    own = set(vars(in_memory))
    with write_behind(in_memory):
        assert set(vars(in_memory)) == own
        in_memory.store_event(entry("event"))
        assert [one.user_message for one in in_memory.get_logs_for_run(RUN)] == ["event"]
