"""Cleaning, over frames that hypothesis invents."""

from __future__ import annotations

import math
import random

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from etl import checks, cleaning
from etl.source import COLUMNS

VALUES = st.one_of(st.none(), st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf]), st.floats())
ROWS = st.lists(st.tuples(*[VALUES] * len(COLUMNS)), max_size=30)
FEW_VALUES = st.lists(st.tuples(*[st.sampled_from([0.0, 1.0, None])] * len(COLUMNS)), max_size=60)


def frame(rows: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.Float64), orient="row")


def whole(row: tuple) -> bool:
    return all(value is not None and not math.isnan(value) for value in row)


@given(st.one_of(ROWS, FEW_VALUES))
def test_exactly_the_distinct_whole_rows_are_kept(rows):
    clean, removed = cleaning.clean(frame(rows))
    expected = {row for row in rows if whole(row)}
    assert set(clean.rows()) == expected
    assert clean.height == len(expected)
    assert clean.height + sum(removed.values()) == len(rows)
    assert removed["null"] == sum(None in row for row in rows)


@given(st.one_of(ROWS, FEW_VALUES))
def test_a_clean_frame_passes_its_checks_and_stays_as_it_is(rows):
    clean, _ = cleaning.clean(frame(rows))
    assert checks.no_nulls(clean)[0]
    assert checks.no_duplicates(clean)[0]
    again, removed = cleaning.clean(clean)
    assert again.equals(clean)
    assert removed == {"null": 0, "nan": 0, "duplicate": 0}


@given(st.one_of(ROWS, FEW_VALUES), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(rows, shuffler: random.Random):
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    texts = [[repr(row) for row in cleaning.clean(frame(given))[0].rows()] for given in (rows, shuffled)]
    assert texts[0] == texts[1]


def test_minus_zero_counts_as_zero_and_becomes_it():
    clean, removed = cleaning.clean(frame([(-0.0,) * 5, (0.0,) * 5, (-0.0, 1.0, 1.0, 1.0, 1.0)]))
    assert repr(clean.rows()) == "[(0.0, 0.0, 0.0, 0.0, 0.0), (0.0, 1.0, 1.0, 1.0, 1.0)]"
    assert removed["duplicate"] == 1


def test_rows_are_counted_by_the_first_reason_that_removes_them():
    one, spoiled, gone = (1.0,) * 5, (1.0,) * 4 + (math.nan,), (None,) * 5
    clean, removed = cleaning.clean(frame([one, one, spoiled, spoiled, gone, gone, gone]))
    assert clean.rows() == [one]
    assert removed == {"null": 3, "nan": 2, "duplicate": 1}


def test_the_same_frame_is_written_as_the_same_bytes(tmp_path):
    rows = [(float(number), 0.5, 1.5, 2.5, 3.5) for number in range(1000)]
    files = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        parts = pl.concat([frame(rows[:300]), frame(rows[300:])], rechunk=name == "a")
        files.append(cleaning.write(parts, tmp_path / name).read_bytes())
    assert files[0] == files[1]
