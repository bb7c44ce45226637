"""Histories: several rows an object become one, its newest state and how that changes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import polars as pl

from ddcl_tab.errors import InputError, LeakWarning
from ddcl_tab.features.columns import RATE, SCATTER, SPAN, as_table, is_frame, select_features, to_polars

DAYS_PER_YEAR = 365.25
#: Column that counts the epochs.
N_EPOCHS = "N_EPOCHS"


def history_features(X: Any, id: str = "norad_cat_id", time: str = "epoch") -> pl.DataFrame:
    """One row an object out of one row an object and epoch.

    The newest row of an object is kept as it is. For each numeric feature ``NAME``, ``NAME_RATE`` is the slope of the
    least-squares line through the object's epochs (per year; null under two epochs) and ``NAME_SCATTER`` the root mean
    square about that line (null under three). ``N_EPOCHS`` counts the epochs, ``SPAN_YEARS`` lies between first and
    last. Gaps need nothing special, and the order of the rows does not matter.

    Parameters
    ----------
    X : pandas or polars frame
        Long: one row an object and epoch.
    id, time : str, default "norad_cat_id", "epoch"
        Columns of the object and of the epoch (a date), found whatever their case.

    Returns
    -------
    polars.DataFrame
        Sorted by object.

    Raises
    ------
    InputError
        ``X`` is no frame, a column is missing or of the wrong type, an object or epoch is missing, or an object has two
        rows of one epoch.

    Examples
    --------
    >>> from datetime import datetime
    >>> frame = pl.DataFrame({
    ...     "NORAD_CAT_ID": [5, 5, 7],
    ...     "EPOCH": [datetime(2024, 1, 1), datetime(2023, 1, 1), datetime(2024, 1, 1)],
    ...     "PERIGEE": [500.0, 510.0, 800.0],
    ... })
    >>> history_features(frame).select("NORAD_CAT_ID", "PERIGEE", pl.col("PERIGEE_RATE").round(2), "N_EPOCHS").rows()
    [(5, 500.0, -10.01, 2), (7, 800.0, None, 1)]
    """
    return _wide(*check_long(X, id, time))


def training_histories(
    X: Any, id: str = "norad_cat_id", time: str = "epoch", *, n_thinned: int = 2, seed: int = 0
) -> pl.DataFrame:
    """Rows to learn from: every history as it is, and with random earlier epochs left out.

    A model that only sees whole histories is misled by gaps: with three of four epochs missing, gradient boosting falls
    below what it reaches on newest epochs alone (pipelines/results/history.md). Two thinned copies mend that.

    Parameters
    ----------
    X, id, time
        As for :func:`history_features`.
    n_thinned : int, default 2
        Copies of each history that keep the newest epoch and a random number of the others; equal rows are kept once.
    seed : int, default 0
        Of the draws.

    Returns
    -------
    polars.DataFrame
        As from :func:`history_features`, with up to ``1 + n_thinned`` rows an object.

    Raises
    ------
    InputError
        As :func:`history_features`.

    Examples
    --------
    >>> from datetime import datetime
    >>> epochs = [datetime(2020 + i, 1, 1) for i in range(4)]
    >>> frame = pl.DataFrame({"NORAD_CAT_ID": 5, "EPOCH": epochs, "PERIGEE": [530.0, 520.0, 510.0, 500.0]})
    >>> training_histories(frame, seed=1).select("PERIGEE", "N_EPOCHS").rows()
    [(500.0, 4), (500.0, 2), (500.0, 2)]
    """
    frame, id, time = check_long(X, id, time)
    frame = frame.sort(id, time)
    rng = np.random.default_rng(seed)
    thinned = (_thin(frame, id, rng) for _ in range(n_thinned))
    return pl.concat(_wide(part, id, time) for part in (frame, *thinned)).unique(maintain_order=True)


def find_column(frame: pl.DataFrame, name: str) -> str:
    """The column ``name``, whatever its case.

    Raises
    ------
    InputError
        No column, or more than one, has that name.
    """
    found = [name] if name in frame.columns else [c for c in frame.columns if c.lower() == name.lower()]
    if len(found) != 1:
        raise InputError(f"one column must be named {name!r}, found {found or 'none'} among {frame.columns}.")
    return found[0]


def check_long(X: Any, id: str, time: str) -> tuple[pl.DataFrame, str, str]:
    """The long frame in polars, its rows in their order, and the names of its columns of object and epoch.

    Raises
    ------
    InputError
        As :func:`history_features`.
    """
    X = as_table(X)
    if not is_frame(X):
        raise InputError(
            f"X must be a pandas or polars frame with one row an object and epoch, got {type(X).__name__}."
        )
    frame = to_polars(X)
    id, time = find_column(frame, id), find_column(frame, time)
    if not frame[time].dtype.is_temporal():
        raise InputError(f"column {time!r} must hold dates, got {frame[time].dtype}: convert it first.")
    for name in (id, time):
        if missing := frame[name].null_count():
            raise InputError(f"column {name!r} is empty in {missing} rows: leave them out.")
    twice = frame.select(id, time).filter(pl.struct(id, time).is_duplicated())
    if len(twice):
        first = twice.sort(id, time).row(0)
        raise InputError(
            f"{id} {first[0]} has two rows of {time} {first[1]}: keep one ({len(twice)} such rows in all)."
        )
    return frame, id, time


def _wide(frame: pl.DataFrame, id: str, time: str) -> pl.DataFrame:
    """One row an object of a checked frame."""
    frame = frame.sort(id, time)
    numeric = [name for name in _features(frame.drop(id, time)) if frame[name].dtype.is_numeric()]
    years = pl.col(time).dt.epoch("us") / (86_400e6 * DAYS_PER_YEAR)
    lines = [part for name in numeric for part in _line(name, years)]
    span = (years.max() - years.min()).alias(SPAN)
    history = frame.group_by(id, maintain_order=True).agg(pl.len().alias(N_EPOCHS), span, *lines)
    newest = frame.group_by(id, maintain_order=True).last()
    return newest.drop(time).join(history, on=id, how="left", maintain_order="left")


def _thin(frame: pl.DataFrame, id: str, rng: np.random.Generator) -> pl.DataFrame:
    """Keep the last row of each object and a random number of its others, from none to all; sorted by object, time."""
    last = pl.int_range(pl.len()).over(id) == pl.len().over(id) - 1
    drawn = frame.with_columns(_order=pl.Series(rng.random(len(frame))), _share=pl.Series(rng.random(len(frame))))
    order = pl.when(last).then(-1.0).otherwise("_order").rank("ordinal").over(id)
    kept = drawn.filter(order <= 1 + (pl.col("_share").first() * pl.len()).floor().over(id))
    return kept.drop("_order", "_share")


def _features(frame: pl.DataFrame) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakWarning)  # whoever learns from the result says it
        return select_features(frame.columns)


def _line(name: str, years: pl.Expr) -> list[pl.Expr]:
    """Slope and scatter of the line through the values that are there."""
    value = pl.col(name).cast(pl.Float64).fill_nan(None)
    there = value.is_not_null()
    t = years.filter(there)
    t, x = t - t.mean(), value.filter(there)
    x = x - x.mean()
    several = t.abs().max() > 0
    slope = (t * x).sum() / t.pow(2).sum()
    scatter = (x - slope * t).pow(2).mean().sqrt()
    return [
        pl.when(several).then(slope).alias(name + RATE),
        pl.when(several & (there.sum() > 2)).then(scatter).alias(name + SCATTER),
    ]
