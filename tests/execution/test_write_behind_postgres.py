"""Events stored behind their makers in Postgres: all of them, once, in order, also when the server restarts meanwhile."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.events import DagsterEventType
from sqlalchemy.exc import DBAPIError

from orchestrator.execution.write_behind import MAX_BATCH, write_behind
from tests.conftest import Project, needs_postgres, one_step, wait_for, workload
from tests.execution.event_log import RUN, entry, materialized, status
from tests.execution.postgres import Postgres
from tests.execution.test_write_behind import words
from tests.execution.test_write_behind_runs import names, waiting

pytestmark = [pytest.mark.engine, pytest.mark.postgres]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres(needs_postgres())
    yield server
    server.remove()


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.database()


@pytest.fixture
def storage(url: str, tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(records_in(url)))
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made.event_log_storage


def records_in(url: str) -> dict[str, Any]:
    """Return the configuration of an instance that keeps its records in a database."""
    return {"telemetry": {"enabled": False}, "storage": {"postgres": {"postgres_url": url}}}


def test_at_the_end_of_the_block_all_events_are_stored_in_order(postgres: Postgres, url: str, storage: Any) -> None:
    texts = words(MAX_BATCH + 7)
    with write_behind(storage):
        for text in texts:
            storage.store_event(entry(text))
    assert postgres.stored(url, RUN) == texts


def test_every_read_sees_what_was_put_before_it(storage: Any) -> None:
    with write_behind(storage):
        for number in range(5):
            storage.store_event(entry(f"event {number}"))
            assert len(storage.get_logs_for_run(RUN)) == 1
            storage.store_event(materialized(f"asset_{number}"))
            assert storage.has_asset_key(dg.AssetKey(f"asset_{number}"))
            storage.wipe_asset(dg.AssetKey(f"asset_{number}"))
            assert not storage.has_asset_key(dg.AssetKey(f"asset_{number}"))
            storage.delete_events(RUN)
            storage.store_event_batch([materialized("batch"), materialized("batch")])
            assert [one.user_message for one in storage.get_logs_for_run(RUN)] == ["batch", "batch"]
            storage.delete_events(RUN)


def test_an_event_that_changes_the_runs_status_is_stored_before_the_call_returns(
    postgres: Postgres, url: str, storage: Any
) -> None:
    with write_behind(storage):
        storage.store_event(entry("earlier"))
        storage.store_event(status(DagsterEventType.RUN_SUCCESS))
        assert postgres.stored(url, RUN) == ["earlier", "PIPELINE_SUCCESS"]


def test_threads_that_write_and_read_at_once_lose_nothing_and_each_keeps_its_order(
    postgres: Postgres, url: str, storage: Any
) -> None:
    def write(name: str) -> None:
        for text in words(20, name):
            storage.store_event(entry(text))
        seen.append(len(storage.get_logs_for_run(RUN)) >= 20)

    seen: list[bool] = []
    makers = [f"thread-{number}" for number in range(10)]
    with write_behind(storage):
        threads = [threading.Thread(target=write, args=(name,)) for name in makers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = postgres.stored(url, RUN)
    assert (len(found), seen) == (10 * 20, [True] * 10)
    assert all([text for text in found if text.startswith(f"{name} ")] == words(20, name) for name in makers)


def test_an_event_that_the_database_refuses_is_told_and_costs_no_other(
    postgres: Postgres, url: str, storage: Any
) -> None:
    postgres.refuse("bad", url)
    with pytest.raises(DBAPIError, match="refused on purpose"), write_behind(storage):
        storage.store_event(entry("good 1"))
        storage.store_event(entry("bad"))
        storage.store_event(entry("good 2"))
        storage.get_logs_for_run(RUN)
        with pytest.raises(DBAPIError, match="refused on purpose"):
            storage.store_event(entry("good 3"))
    assert postgres.stored(url, RUN) == ["good 1", "good 2", "good 3"]


def test_an_event_that_the_index_refuses_is_told_and_is_not_stored_by_half(
    postgres: Postgres, url: str, storage: Any
) -> None:
    postgres.refuse("things", url, "asset_keys")
    with pytest.raises(DBAPIError, match="refused on purpose"), write_behind(storage):
        storage.store_event(entry("good"))
        storage.store_event(materialized("things"))
    assert postgres.stored(url, RUN) == ["good"]


def test_an_event_is_in_the_index_and_can_be_read_as_without_the_block(storage: Any) -> None:
    with write_behind(storage):
        storage.store_event(materialized("within"))
    storage.store_event(materialized("after"))
    within, after = (storage.get_asset_records([dg.AssetKey(key)])[0] for key in ("within", "after"))
    assert within.asset_entry.last_run_id == after.asset_entry.last_run_id == RUN


def test_connections_that_the_server_ends_cost_no_event(postgres: Postgres, url: str, storage: Any) -> None:
    texts = words(60)
    with write_behind(storage):
        for number, text in enumerate(texts):
            storage.store_event(entry(text))
            if number % 20 == 0:
                storage.get_logs_for_run(RUN)
                assert postgres.end_connections(url) >= 1
    assert postgres.stored(url, RUN) == texts


def test_a_server_that_restarts_meanwhile_costs_no_event(postgres: Postgres, url: str, storage: Any) -> None:
    texts = words(200)
    with write_behind(storage) as settle:
        for text in texts[:100]:
            storage.store_event(entry(text))
        postgres.restart()
        for text in texts[100:]:
            storage.store_event(entry(text))
        settle()
        assert len(storage.get_logs_for_run(RUN)) == 200
    assert postgres.stored(url, RUN) == texts


def test_no_connection_stays_after_the_block(postgres: Postgres, url: str, storage: Any) -> None:
    with write_behind(storage):
        storage.store_event(entry("event"))
        storage.get_logs_for_run(RUN)
        assert postgres.connections(url) >= 1
    wait_for(lambda: postgres.connections(url) == 0, "the connections are closed")
    assert {"store_event", "_connect"} & set(vars(storage)) == set()


def in_postgres(project: Project, url: str) -> Project:
    """Let a project keep its records in Postgres."""
    file = project.root / "deployment" / "dagster.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **records_in(url)}))
    return project


def test_a_run_leaves_its_events_in_the_database_in_the_order_of_its_steps(project: Project, url: str) -> None:
    in_postgres(project, url).team(
        "team", [one_step("first", workload()), one_step("second", workload(), deps=["first"])]
    )
    ran = project.run("team_job")
    assert (ran.code, ran.steps("STEP_SUCCESS")) == (0, ["first", "second"])
    with project.instance() as made:
        found = names(made, ran.run_id)
        assert made.get_run_by_id(ran.run_id).status.value == "SUCCESS"
        assert made.get_latest_materialization_event(dg.AssetKey("second")).run_id == ran.run_id
    assert [name for name in found if name in ("STEP_START", "ASSET_MATERIALIZATION", "STEP_SUCCESS")] == [
        "STEP_START", "ASSET_MATERIALIZATION", "STEP_SUCCESS",
    ] * 2  # fmt: skip
    assert found[-1] == "PIPELINE_SUCCESS"


def test_a_run_goes_on_when_the_server_restarts_meanwhile(postgres: Postgres, project: Project, url: str) -> None:
    started, run = waiting(in_postgres(project, url))
    postgres.restart()
    (project.home / "stores" / "team" / "gate" / "go").touch()
    ran = started.end()
    assert (ran.code, ran.steps("STEP_SUCCESS")) == (0, ["waits"])
    with project.instance() as made:
        assert made.get_run_by_id(run).status.value == "SUCCESS"
        assert names(made, run).count("STEP_SUCCESS") == 1
