"""A catalog as the commands use it: read with its element sets, its objects decided with reasons and doubts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ddcl_tab.app._tables import HeldOut, held_out_arrays, rounded_shares
from ddcl_tab.errors import CatalogError, InputError, did_you_mean
from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._explain import N_WRITTEN, Explained, written_cells
from ddcl_tab.estimators._validation import target_of
from ddcl_tab.interpret._trust import N_NEIGHBOURS, ConformalSets, NoveltyScore
from ddcl_tab.space._families import Families
from ddcl_tab.space._gp import read_gp
from ddcl_tab.space._join import FROM_ELSETS, join_elsets, launch_of
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.space._schema import UNKNOWN

_IDENTIFIERS = ("NORAD_CAT_ID", "OBJECT_ID", "OBJECT_NAME")
#: How an object without a recorded class stands in tables.
NO_RECORD = "no record"
#: Coverage of the sets of classes, launch by launch.
LEVEL = 0.9
#: Share of the held-out objects that pass as ordinary.
ORDINARY = 0.99
#: What tables and pages call the two doubts, and a row that fits no class.
COULD_BE, UNLIKE, NONE_FITS = "could also be", "unlike the typed objects", "no class fits well"


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


class Inputs(NamedTuple):
    """What the model says of a catalog, computed once for all that is written of it.

    Attributes
    ----------
    classifier : DDCLClassifier
    frame : polars.DataFrame
        The catalog.
    target : str
        Its column of the classes.
    recorded : ndarray of str, shape (n,)
        Recorded classes, :data:`NO_RECORD` where there is none.
    said : Explained
        Of all objects.
    held_out : HeldOut or None
        None where no held-out rows are known.
    """

    classifier: DDCLClassifier
    frame: pl.DataFrame
    target: str
    recorded: NDArray[np.object_]
    said: Explained
    held_out: HeldOut | None

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return [str(name) for name in self.said.classes]

    @property
    def probability(self) -> NDArray[np.float64]:
        """Class probabilities, shape (n, C)."""
        return self.said.prediction.probability


def read_inputs(clf: DDCLClassifier, frame: pl.DataFrame, held_out: pl.DataFrame | None) -> Inputs:
    """Decide all objects of a catalog.

    Parameters
    ----------
    clf : DDCLClassifier
        Fitted.
    frame : polars.DataFrame
        Catalog with the columns of the model. Families are counted in it, and similar objects are sought in it.
    held_out : polars.DataFrame or None
        As :func:`ddcl_tab.app._tables.read_held_out` returns it.

    Returns
    -------
    Inputs
    """
    target = str(target_of(clf.target, frame))
    recorded = np.full(len(frame), NO_RECORD, dtype=object)
    if target in frame.columns:
        known = has_known_class(frame, target).to_numpy()
        recorded[known] = frame[target].cast(pl.String).to_numpy()[known]
    arrays = None if held_out is None else held_out_arrays(held_out, clf.classes_)
    return Inputs(clf, frame, target, recorded, clf.decide(frame), arrays)


@dataclass(frozen=True)
class Doubts:
    """Of each row asked about, what stands against taking its class for granted.

    Attributes
    ----------
    sets : ndarray of bool, shape (n, C), or None
        Classes that cannot be excluded at :data:`LEVEL`; None where the held-out launches are too few, or not known.
    unlike : ndarray of bool, shape (n,), or None
        Farther from the objects of known class than :data:`ORDINARY` of the held-out ones; None without those.
    """

    sets: NDArray[np.bool_] | None
    unlike: NDArray[np.bool_] | None

    def could_be(self, row: int, predicted: int, classes: list[str]) -> str | None:
        """Classes besides number ``predicted``; :data:`NONE_FITS`; empty without any; None where nobody knows."""
        if self.sets is None:
            return None
        others = [name for k, name in enumerate(classes) if self.sets[row, k] and k != predicted]
        return " or ".join(others) if others or self.sets[row, predicted] else NONE_FITS

    def is_unlike(self, row: int) -> str | None:
        """``"yes"`` or ``"no"``; None where nobody knows."""
        return None if self.unlike is None else "yes" if self.unlike[row] else "no"

    def notes(self, row: int, predicted: int, classes: list[str]) -> list[str]:
        """Remarks on a row whose predicted class is number ``predicted``."""
        other = self.could_be(row, predicted, classes)
        notes = [other if other == NONE_FITS else f"{COULD_BE} {other}"] if other else []
        return notes + [UNLIKE] * (self.is_unlike(row) == "yes")


def doubts_of(inputs: Inputs, rows: NDArray[np.intp]) -> Doubts:
    """Class sets and novelty of some rows of the catalog, calibrated on the held-out rows.

    Parameters
    ----------
    inputs : Inputs
    rows : ndarray of int, shape (n,)
        Rows asked about.
    """
    if inputs.held_out is None:
        return Doubts(None, None)
    return Doubts(_sets(inputs, inputs.held_out, rows), _unlike(inputs, inputs.held_out, rows))


def _sets(inputs: Inputs, held_out: HeldOut, rows: NDArray[np.intp]) -> NDArray[np.bool_] | None:
    known = np.isin(held_out.recorded.astype(str), inputs.classes)
    probability = held_out.probability[known]
    sets = ConformalSets(inputs.classifier, level=LEVEL)
    try:
        sets.fit(probability, held_out.recorded[known], groups=held_out.launch[known], probability=probability)
    except InputError:  # too few launches of a class
        return None
    return sets._sets_of(inputs.probability[rows])


def _unlike(inputs: Inputs, held_out: HeldOut, rows: NDArray[np.intp]) -> NDArray[np.bool_] | None:
    known = inputs.recorded != NO_RECORD
    spared = inputs.frame["NORAD_CAT_ID"].is_in(held_out.number).to_numpy() & known
    if not spared.any() or (known & ~spared).sum() < N_NEIGHBOURS:
        return None
    points = inputs.classifier.encoder_.coordinates(inputs.said.columns, inputs.said.encoded)
    score = NoveltyScore(inputs.classifier)._fit_points(points[known & ~spared])
    return score._novelty_at(points[rows]) > np.quantile(score._novelty_at(points[spared]), ORDINARY)


def classify_catalog(
    clf: DDCLClassifier, frame: pl.DataFrame, only: str | None, held_out: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Class, probabilities, the columns that decided, doubts and a sentence for each object, the surest first.

    Parameters
    ----------
    clf : DDCLClassifier
        Fitted.
    frame : polars.DataFrame
        Catalog with the columns of the model.
    only : str or None
        Keep the objects whose recorded class is this one, in any case of letters. The others count all the same: as
        members of launches, and as the typed objects that the chosen ones are compared with.
    held_out : polars.DataFrame, optional
        Rows that the model was not trained on. Without them nobody knows the doubts.

    Returns
    -------
    polars.DataFrame
        One row an object: identifiers, the recorded class as ``recorded``, ``class``, ``p(CLASS)`` for each class (six
        significant digits), ``runner_up``, ``baseline`` [nats], the strongest contributions as ``column_1``,
        ``value_1`` (the object's own), ``unit_1``, ``contribution_1`` [nats] to ``column_5`` and so on, ``siblings``
        (see :func:`siblings_of`), ``like`` (the most similar typed object of the class), ``could also be`` (other
        classes that cannot be excluded), ``unlike the typed objects`` (yes or no), ``reason``.

    Raises
    ------
    InputError
        No object has the recorded class ``only``; names those that are there.
    """
    target = str(target_of(clf.target, frame))
    recorded = frame[target] if target in frame.columns else pl.Series([None] * len(frame), dtype=pl.String)
    kept = np.ones(len(frame), dtype=bool) if only is None else _recorded_as(recorded, only, target).to_numpy()
    inputs = read_inputs(clf, frame, held_out)
    siblings = siblings_of(frame)
    rows = np.argsort(-inputs.said.reasons.probability, kind="stable")
    rows = rows[kept[rows]]
    said, doubts = inputs.said.take(rows), doubts_of(inputs, rows)
    probability, winner = rounded_shares(said.prediction.probability), said.reasons.winner.tolist()
    could_be = [doubts.could_be(i, c, inputs.classes) for i, c in enumerate(winner)]
    return pl.DataFrame(
        {name: frame[name][rows] for name in _IDENTIFIERS if name in frame.columns}
        | {"recorded": recorded[rows], "class": clf.classes_[winner]}
        | {f"p({name})": probability[:, i] for i, name in enumerate(clf.classes_)}
        | {"runner_up": clf.classes_[said.reasons.runner_up], "baseline": said.reasons.baseline}
        | _strongest(said)
        | ({} if siblings is None else {"siblings": siblings[rows]})
        | {
            "like": said.like(),
            COULD_BE: pl.Series(could_be, dtype=pl.String),
            UNLIKE: pl.Series([doubts.is_unlike(i) for i in range(len(rows))], dtype=pl.String),
            "reason": said.sentences(),
        }
    )


def _strongest(said: Explained) -> dict[str, pl.Series]:
    """Columns, values, units and contributions of the strongest contributions, :data:`N_WRITTEN` of each."""
    strongest = said.strongest(N_WRITTEN)
    n, there = strongest.shape
    cells = written_cells(said.columns, said.domain, np.repeat(np.arange(n), there), strongest.ravel())
    names = np.array(list(said.columns), dtype=object)[strongest]
    value, unit = (np.array(texts, dtype=object).reshape(n, there) for texts in (cells.value, cells.unit))
    contribution = np.take_along_axis(said.reasons.contribution, strongest, axis=1)
    nothing = [None] * n
    table = {}
    for place in range(N_WRITTEN):
        for name, part in (("column", names), ("value", value), ("unit", unit)):
            texts = part[:, place].tolist() if place < there else nothing
            table[f"{name}_{place + 1}"] = pl.Series(texts, dtype=pl.String)
        numbers = contribution[:, place].tolist() if place < there else nothing
        table[f"contribution_{place + 1}"] = pl.Series(numbers, dtype=pl.Float64)
    return table


def unknown_doubts(table: pl.DataFrame, held_out: pl.DataFrame | None, where: str) -> str | None:
    """A line that says why nobody knows a doubt of the objects of :func:`classify_catalog`; None where all are known.

    Parameters
    ----------
    table : polars.DataFrame
    held_out : polars.DataFrame or None
    where : str
        File of the held-out rows.
    """
    empty = [f'"{name}"' for name in (COULD_BE, UNLIKE) if table[name].null_count() == len(table)]
    if not empty:
        return None
    reason = f"no {where} beside the model" if held_out is None else f"too few objects of {where} in this catalog"
    return f"{' and '.join(empty)} stay{'s' * (len(empty) == 1)} empty: {reason}"


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
    """The first ``n`` objects of :func:`classify_catalog`, the surest ones, in the columns that fit a screen."""
    return table.head(n).select(
        pl.selectors.by_name("NORAD_CAT_ID", "OBJECT_NAME", require_all=False),
        "class",
        pl.max_horizontal(pl.selectors.starts_with("p(")).round(4).alias("probability"),
        "reason",
    )
