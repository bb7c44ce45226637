"""A catalog as the commands use it: read with its element sets, its rows of known class, its objects classified."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from ddcl_tab.app._tables import rounded_shares
from ddcl_tab.errors import CatalogError, InputError, did_you_mean
from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._validation import target_of
from ddcl_tab.space._families import Families
from ddcl_tab.space._gp import read_gp
from ddcl_tab.space._join import FROM_ELSETS, join_elsets, launch_of
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.space._schema import UNKNOWN

_IDENTIFIERS = ("NORAD_CAT_ID", "OBJECT_ID", "OBJECT_NAME")


def load_catalog(catalog: Path, elsets: Path | None) -> pl.DataFrame:
    """Read a catalog, with the newest element set of each object where a file of them is given.

    Parameters
    ----------
    catalog : path
        A SATCAT, JSON or CSV, also with .gz.
    elsets : path or None
        OMM or TLE.

    Returns
    -------
    polars.DataFrame
        One row an object, columns as :data:`ddcl_tab.space.SATCAT_COLUMNS` has them.

    Raises
    ------
    CatalogError
        A file cannot be read.
    InputError
        One of the files is what the other should be.
    """
    try:
        frame = read_satcat(catalog)
    except CatalogError as error:
        if not _is_read_by(read_gp, catalog):
            raise
        raise InputError(
            f"{catalog}: these are element sets, not a SATCAT: pass it as --elsets, and a SATCAT as CATALOG"
        ) from error
    if elsets is None:
        return frame
    try:
        return join_elsets(frame, read_gp(elsets))
    except CatalogError as error:
        if not _is_read_by(read_satcat, elsets):
            raise
        raise InputError(
            f"{elsets}: this is a SATCAT, not element sets: pass it as CATALOG, and OMM or TLE as --elsets"
        ) from error


def load_catalog_for(clf: DDCLClassifier, catalog: Path, elsets: Path | None) -> pl.DataFrame:
    """As :func:`load_catalog`, with the columns that a fitted classifier asks for.

    Parameters
    ----------
    clf : DDCLClassifier
        Fitted.
    catalog, elsets : path
        As in :func:`load_catalog`.

    Returns
    -------
    polars.DataFrame

    Raises
    ------
    InputError
        It learned from element sets, and none are given.
    """
    frame = load_catalog(catalog, elsets)
    missing = [name for name in clf.encoder_.columns_ if name in FROM_ELSETS and name not in frame.columns]
    if missing:
        raise InputError(
            f"this model was trained with element sets: add --elsets FILE ({', '.join(missing)} come from there)"
        )
    return frame


def _is_read_by(reader: Callable[..., object], file: Path) -> bool:
    """Whether a file is of the form that a reader of catalogs reads, with or without rows that break rules."""
    try:
        reader(file, on_error="collect")
    except CatalogError:
        return False
    return True


def require_target(frame: pl.DataFrame, target: str) -> None:
    """Raise the error that a catalog lacks the column of the classes.

    Parameters
    ----------
    frame : polars.DataFrame
    target : str
        Name of the column.

    Raises
    ------
    InputError
        Names the columns that are there.
    """
    if target not in frame.columns:
        there = ", ".join(frame.columns)
        raise InputError(f"the catalog has no column {target!r}; it has {there}{did_you_mean(target, frame.columns)}")


def has_known_class(frame: pl.DataFrame, target: str) -> pl.Series:
    """Whether each row has a class in the column ``target``: one that is neither missing nor ``UNKNOWN``.

    Parameters
    ----------
    frame : polars.DataFrame
    target : str
        A column of the frame.

    Returns
    -------
    polars.Series of bool

    Examples
    --------
    >>> has_known_class(pl.DataFrame({"OBJECT_TYPE": ["DEBRIS", "UNKNOWN", None]}), "OBJECT_TYPE").to_list()
    [True, False, False]
    """
    return (frame[target].cast(pl.String) != UNKNOWN).fill_null(False)


def is_synthetic(frame: pl.DataFrame) -> bool:
    """Whether ``ddcl-tab synth`` made any row of the catalog."""
    return bool("COMMENT" in frame.columns and frame["COMMENT"].str.starts_with("SYNTHETIC").any())


def siblings_of(frame: pl.DataFrame) -> pl.Series | None:
    """Number of other objects of the launch of each row that stand in a catalog, a fact that no model needs to know.

    Parameters
    ----------
    frame : polars.DataFrame
        The whole catalog.

    Returns
    -------
    polars.Series of Int64 or None
        Null for objects without OBJECT_ID; None where the frame lacks a column that families are counted by.
    """
    if not set(Families.NEEDED) <= set(frame.columns):
        return None
    number = pl.Series("siblings", Families.count(frame).siblings(frame))
    return number.set(launch_of(frame).str.starts_with("NORAD "), None)


def classify_catalog(clf: DDCLClassifier, frame: pl.DataFrame, only: str | None) -> pl.DataFrame:
    """Class, probabilities, top prototype and a one-sentence reason for each object.

    Parameters
    ----------
    clf : DDCLClassifier
        Fitted.
    frame : polars.DataFrame
        Catalog with the columns of the model.
    only : str or None
        Keep the objects whose recorded class is this one, in any case of letters.

    Returns
    -------
    polars.DataFrame
        One row an object: identifiers, ``siblings`` (see :func:`siblings_of`; ``only`` takes none of them away), the
        recorded class as ``recorded``, ``class``, ``p(CLASS)`` for each class (six significant digits), ``prototype``,
        ``prototype_weight``, ``reason``.

    Raises
    ------
    InputError
        No object has the recorded class ``only``; names those that are there.
    """
    target = str(target_of(clf.target, frame))
    recorded = frame[target] if target in frame.columns else pl.Series([None] * len(frame), dtype=pl.String)
    if only is not None:
        chosen = _recorded_as(recorded, only, target)
    siblings = siblings_of(frame)
    # Objects that are not asked about are siblings of those that are, where the model counts families.
    decide_all = only is None or clf.families_ is not None
    if not decide_all:
        frame, recorded = frame.filter(chosen), recorded.filter(chosen)
        siblings = None if siblings is None else siblings.filter(chosen)
    probability, q, reasons = clf.decide(frame)
    written = rounded_shares(probability)
    table = pl.DataFrame(
        {name: frame[name] for name in _IDENTIFIERS if name in frame.columns}
        | ({} if siblings is None else {"siblings": siblings})
        | {"recorded": recorded, "class": clf.classes_[probability.argmax(axis=1)]}
        | {f"p({name})": written[:, i] for i, name in enumerate(clf.classes_)}
        | {"prototype": q.argmax(axis=1), "prototype_weight": q.max(axis=1), "reason": reasons}
    )
    return table.filter(chosen) if decide_all and only is not None else table


def _recorded_as(recorded: pl.Series, only: str, target: str) -> pl.Series:
    """Which objects are recorded as a class that the user typed, in any case of letters."""
    names = recorded.cast(pl.String)
    known = names.unique().drop_nulls().sort().to_list()
    if not known:
        raise InputError(f"no object has a recorded class in {target}: leave --only out")
    # Two classes may differ in case alone: as typed comes first.
    typed = " ".join(only.split()).casefold()
    meant = [only] if only in known else [name for name in known if name.casefold() == typed]
    if not meant:
        raise InputError(
            f"no object has {target} {only!r}; the catalog has {', '.join(known)}{did_you_mean(only, known)}"
        )
    return names.is_in(meant).fill_null(False)


def most_probable(table: pl.DataFrame, n: int) -> pl.DataFrame:
    """The ``n`` objects with the highest class probability, in the columns that fit a screen."""
    probability = pl.max_horizontal(pl.selectors.starts_with("p("))
    shown = table.with_columns(probability=probability).sort("probability", descending=True).head(n)
    return shown.select(
        pl.selectors.by_name("NORAD_CAT_ID", "OBJECT_NAME", require_all=False),
        "class",
        pl.col("probability").round(4),
        "reason",
    )
