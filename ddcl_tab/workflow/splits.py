"""Hold out a test part of a catalog without flattering anyone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from ddcl_tab.catalog import launch_of
from ddcl_tab.errors import InputError

#: One fold of this many is the test part.
N_FOLDS = 5
#: ``time`` trains on launches before this year and tests on later ones.
TIME_SPLIT_YEAR = 2015
SPLITS = ("launch", "time", "random")


class Split(NamedTuple):
    """Row numbers of the two parts, ascending, and how they were made in words."""

    train: NDArray[np.intp]
    test: NDArray[np.intp]
    description: str


def split_catalog(frame: pl.DataFrame, target: str, kind: str, seed: int) -> Split:
    """Split a catalog into training and test rows.

    Parameters
    ----------
    frame : polars.DataFrame
        Catalog whose ``target`` has no missing values.
    target : str
        Column of the classes.
    kind : {"launch", "time", "random"}
        ``launch``: the first of five stratified folds, whole launches together; objects without OBJECT_ID are alone, so
        where none has one this is ``random`` in other words. ``time``: launched before 2015 and
        from 2015 on. ``random``: the first of five stratified folds; objects of one launch share an orbit, so this
        flatters every model.
    seed : int
        Shuffles the folds; ``time`` does not use it.

    Returns
    -------
    Split

    Raises
    ------
    InputError
        One part would be empty, no class has five rows, or ``time`` finds no column LAUNCH_YEAR.
    CatalogError
        ``launch`` finds no column OBJECT_ID or NORAD_CAT_ID.
    """
    y = frame[target].to_numpy()
    _, counts = np.unique(y, return_counts=True)
    if len(counts) < 2 or counts.max() < N_FOLDS:
        raise InputError(
            f"column {target!r} has {len(counts)} classes with at most {max(counts, default=0)} rows: a split needs "
            f"two classes and {N_FOLDS} rows of one."
        )
    if kind == "time":
        return _by_time(frame)
    rows = np.zeros((len(y), 1))
    if kind == "launch":
        groups = launch_of(frame).to_numpy()
        if len(np.unique(groups)) < N_FOLDS:
            raise InputError(f"the catalog holds {len(np.unique(groups))} launches: a split by launch needs {N_FOLDS}.")
        folds = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=seed).split(rows, y, groups)
        words = f"by launch, first of {N_FOLDS} stratified folds, seed {seed}"
        if pl.Series(groups).str.starts_with("NORAD ").all():
            words += " (no object has an OBJECT_ID, so siblings are on both sides: flatters)"
    elif kind == "random":
        folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(rows, y)
        words = f"at random, first of {N_FOLDS} stratified folds, seed {seed} (siblings on both sides: flatters)"
    else:
        raise InputError(f"split must be one of {', '.join(SPLITS)}, not {kind!r}")
    train, test = next(iter(folds))
    return Split(train, test, words)


def _by_time(frame: pl.DataFrame) -> Split:
    if "LAUNCH_YEAR" not in frame.columns:
        raise InputError("a split by time needs the column LAUNCH_YEAR, which the catalog lacks. Use --split launch.")
    late = (frame["LAUNCH_YEAR"] >= TIME_SPLIT_YEAR).fill_null(False).to_numpy()
    if late.all() or not late.any():
        side = "from" if late.all() else "before"
        raise InputError(
            f"a split by time trains on launches before {TIME_SPLIT_YEAR} and tests on later ones; all of this catalog "
            f"is {side} {TIME_SPLIT_YEAR}. Use --split launch."
        )
    words = f"by time: trained on launches before {TIME_SPLIT_YEAR}, tested on launches from {TIME_SPLIT_YEAR} on"
    return Split(np.flatnonzero(~late), np.flatnonzero(late), words)
