"""The private DuckDB file."""

from __future__ import annotations

import polars as pl
import pytest
from bulkhead_sdk import MissingInput, TryAgain

from etl import store
from etl.source import COLUMNS

FRAME = pl.DataFrame({name: [1.0, None, float("nan")] for name in COLUMNS})


def test_tables_are_created_once_and_their_rows_are_kept(tmp_path):
    assert store.create_tables(tmp_path) == {"raw_measurements": "created"}
    store.replace_rows(tmp_path, "raw_measurements", FRAME)
    assert store.create_tables(tmp_path) == {"raw_measurements": "kept"}
    assert store.read_rows(tmp_path, "raw_measurements").equals(FRAME)


def test_a_second_load_replaces_the_first(tmp_path):
    store.create_tables(tmp_path)
    store.replace_rows(tmp_path, "raw_measurements", pl.concat([FRAME, FRAME]))
    store.replace_rows(tmp_path, "raw_measurements", FRAME)
    assert store.read_rows(tmp_path, "raw_measurements").equals(FRAME)


def test_a_load_that_fails_leaves_the_rows_as_they_were(tmp_path):
    store.create_tables(tmp_path)
    store.replace_rows(tmp_path, "raw_measurements", FRAME)
    with pytest.raises(Exception, match="Could not convert string 'a'"):
        store.replace_rows(tmp_path, "raw_measurements", FRAME.with_columns(y=pl.lit("a")))
    assert store.read_rows(tmp_path, "raw_measurements").equals(FRAME)


@pytest.mark.parametrize("act", ["read_rows", "replace_rows"])
def test_a_missing_table_is_told_with_the_step_to_run(tmp_path, act):
    arguments = [FRAME] if act == "replace_rows" else []
    with pytest.raises(MissingInput) as caught:
        getattr(store, act)(tmp_path, "raw_measurements", *arguments)
    step = {"read_rows": "raw_measurements", "replace_rows": "create_tables"}[act]
    assert str(caught.value) == (
        f"the store has no table 'raw_measurements': run the step {step} (job etl_job) first"
    )


def test_a_file_that_another_process_holds_means_try_again(tmp_path):
    import subprocess
    import sys

    store.create_tables(tmp_path)
    hold = (
        f"import duckdb; c = duckdb.connect(r'{tmp_path / store.FILE}'); print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout and other.stdout.readline() == b"held\n"
        with pytest.raises(TryAgain) as caught:
            store.read_rows(tmp_path, "raw_measurements")
        other.communicate(b"\n")
    assert str(caught.value) == "etl.duckdb is in use by another process"
