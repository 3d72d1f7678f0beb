"""Measurements with a known truth and known dirt."""

from __future__ import annotations

import numpy as np
import polars as pl

COEFFICIENTS = {"x_1": 10.0, "x_2": 100.0, "x_3": 1000.0, "x_4": 0.5}
INTERCEPT = 2.2
TRUTH = "y = 10 x_1 + 100 x_2 + 1000 x_3 + 0.5 x_4 + 2.2"


def clean_rows(rows: int, generator: np.random.Generator, noise: float) -> pl.DataFrame:
    """Draw x_1 to x_4 uniformly from [0, 1) and add y, with gaussian noise of that standard deviation."""
    columns = {name: generator.random(rows) for name in COEFFICIENTS}
    y = np.full(rows, INTERCEPT)
    for name, factor in COEFFICIENTS.items():
        y += factor * columns[name]
    if noise:
        y += generator.normal(0.0, noise, rows)
    return pl.DataFrame({**columns, "y": y})


def measurements(rows: int, seed: int, noise: float, nulls: float, duplicates: float) -> pl.DataFrame:
    """Return `rows` distinct clean rows, with rows of nulls and exact duplicates on top, shuffled.

    `nulls` and `duplicates` are fractions of `rows`. Of the rows with nulls one half is null in every column,
    the other in one column. The same arguments give the same frame.
    """
    generator = np.random.default_rng(seed)
    clean = clean_rows(rows, generator, noise)
    null_rows, copies = round(rows * nulls), round(rows * duplicates)
    spoiled = clean_rows(null_rows - null_rows // 2, generator, noise)
    column = pl.Series(generator.integers(0, clean.width, spoiled.height))
    spoiled = spoiled.select(
        pl.when(column != number).then(pl.col(name)).alias(name)
        for number, name in enumerate(spoiled.columns)
    )
    empty = clean.clear(null_rows // 2)
    repeated = clean[generator.integers(0, max(rows, 1), copies)]
    dirty = pl.concat([clean, spoiled, empty, repeated])
    return dirty[generator.permutation(dirty.height)]
