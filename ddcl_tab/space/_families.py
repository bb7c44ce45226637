"""An object within its launch: columns about its siblings, from their orbits, sizes and fates; no label is needed.

Siblings are the other objects of the launch; the object itself is left out. They are counted in cells of orbit and size
(`CELLS`), and all that the columns say follows from those counts: the same rows give the same columns alone or within
a whole catalog, and what a model has to keep of a catalog are counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ddcl_tab._cells import find, grouped, hashes, quartiles
from ddcl_tab.errors import CatalogError
from ddcl_tab.space._join import launch_of
from ddcl_tab.space._schema import FAMILY_COLUMNS, FAMILY_COUNTS, SIZES

#: Width of a cell: semi-major axis [km], inclination [deg], eccentricity.
CELLS = {"SEMIMAJOR_AXIS": 10.0, "INCLINATION": 0.05, "ECCENTRICITY": 0.002}
#: Siblings in cells whose centres are at most so far away are near: km, deg.
NEAR_KM, NEAR_DEG = 10.0, 0.05
#: Decayed siblings that lived no longer than this fell fast, in years.
FAST_YEARS = 1.0
_YEAR_DAYS = 365.25
_NEEDED = ("NORAD_CAT_ID", "OBJECT_ID", "DECAY", "LAUNCH", "RCS_SIZE", *CELLS)
_NO_CELL = -1
#: Cells beyond this count as this: files write the largest float for "unknown".
_LAST_CELL = 2**31
#: Launch of the objects without one: they are counted, and know no siblings.
_NO_LAUNCH = ""
#: Longest launch [bytes of UTF-8], most objects, and days of their lives that a file may claim.
_LAUNCH_BYTES, _MOST, _MOST_DAYS = 32, 2**31, 2**40


class Families:
    """What a catalog says of each launch: numbers of objects in cells of orbit and size, and of decayed ones.

    Nothing else of a row is kept: no name, no class, no orbit finer than a cell; of the catalog numbers only hashes,
    which tell whether an object has been counted.

    Parameters
    ----------
    launches : ndarray of str, shape (L,)
        Sorted; empty text for all objects without a launch.
    cells : ndarray of int64, shape (n, 6)
        Launch (its place in ``launches``), cells of semi-major axis, inclination and eccentricity (-1 where unknown),
        code of the size, number of objects.
    decayed : ndarray of int64, shape (L, 4)
        Number of decayed objects, number of those whose life is known, sum of their lives [days], number of those that
        fell fast.
    counted : ndarray of uint64
        Hashes of the catalog numbers that were counted, sorted.
    """

    #: Columns of a frame that are read.
    NEEDED: tuple[str, ...] = _NEEDED
    #: Names of the columns that are made.
    NAMES: tuple[str, ...] = tuple(column.name for column in FAMILY_COLUMNS)
    #: Those that are made where counts are asked for.
    COUNTS: tuple[str, ...] = tuple(column.name for column in FAMILY_COUNTS)

    def __init__(
        self,
        launches: NDArray[Any],
        cells: NDArray[np.int64],
        decayed: NDArray[np.int64],
        counted: NDArray[np.uint64],
    ) -> None:
        self.launches, self.cells, self.decayed, self.counted = launches, cells, decayed, counted

    @classmethod
    def count(cls, catalog: pl.DataFrame) -> Self:
        """Count the objects of a catalog.

        Parameters
        ----------
        catalog : polars.DataFrame
            From `read_satcat` or `join_elsets`; decayed objects may stand in it.

        Raises
        ------
        CatalogError
            A column is missing.
        """
        return cls._count(_read(catalog))

    @classmethod
    def _count(cls, rows: _Rows) -> Self:
        rows = rows.take(np.unique(rows.hashes, return_index=True)[1])  # an object that stands there twice counts once
        launches, launch = np.unique(rows.launch, return_inverse=True)
        there = ~rows.decayed
        keys, number = np.unique(np.column_stack([launch, rows.cells, rows.size])[there], axis=0, return_counts=True)
        decayed = np.zeros((len(launches), rows.decayed_as.shape[1]), dtype=np.int64)
        np.add.at(decayed, launch, rows.decayed_as)
        cells = np.column_stack([keys.reshape(-1, 5), number]).astype(np.int64)
        return cls(launches, cells, decayed, np.unique(rows.hashes))

    def joined(self, other: Self) -> Self:
        """Both counts in one."""
        launches = np.union1d(self.launches, other.launches)
        cells, decayed = [], np.zeros((len(launches), self.decayed.shape[1]), dtype=np.int64)
        for part in (self, other):
            place = np.searchsorted(launches, part.launches)
            cells.append(np.column_stack([place[part.cells[:, 0]], part.cells[:, 1:]]))
            decayed[place] += part.decayed
        stacked = np.concatenate(cells)
        keys, number = grouped(stacked[:, :5], stacked[:, 5])
        return type(self)(
            launches, np.column_stack([keys, number[:-1]]), decayed, np.union1d(self.counted, other.counted)
        )

    def recount(self, catalog: pl.DataFrame) -> Self:
        """The counts of another catalog."""
        return type(self).count(catalog)

    def columns(self, frame: pl.DataFrame, *, counts: bool = False) -> pl.DataFrame:
        """`FAMILY_COLUMNS` of each row of a frame; rows that were not counted yet join their launches.

        Parameters
        ----------
        frame : polars.DataFrame
            As in `count`.
        counts : bool, default=False
            `FAMILY_COUNTS`, too.

        Returns
        -------
        polars.DataFrame
            One row a row of ``frame``, in its order.
        """
        rows = _read(frame)
        made = _columns(self._including(rows), rows)
        return made if counts else made.select(self.NAMES)

    def siblings(self, frame: pl.DataFrame) -> NDArray[np.int64]:
        """Number of other objects of the launch, in orbit or decayed; 0 where none is known.

        A fact to tell of an object, and no feature: what a launch of many pieces is has changed over the years.

        Parameters
        ----------
        frame : polars.DataFrame
            As in `count`; rows that were not counted yet join their launches.

        Returns
        -------
        ndarray of int64, shape (n,)
        """
        rows = _read(frame)
        whole = self._including(rows)
        number = _siblings(whole, np.searchsorted(whole.launches, rows.launch), rows)
        return np.where(rows.launch != _NO_LAUNCH, number, 0)

    def including(self, frame: pl.DataFrame) -> Self:
        """These counts and the rows of a frame (as in `count`) that were not counted yet."""
        return self._including(_read(frame))

    def _including(self, rows: _Rows) -> Self:
        new = ~np.isin(rows.hashes, self.counted) | ~np.isin(rows.launch, self.launches)
        return self.joined(self._count(rows.take(new))) if new.any() else self

    def without_context(self, frame: pl.DataFrame) -> NDArray[np.bool_]:
        """Rows whose launch is not counted here, and that no other object of the frame shares, shape (n,)."""
        rows = _read(frame)
        new = ~np.isin(rows.launch, np.append(self.launches, _NO_LAUNCH))
        first = np.unique(rows.hashes, return_index=True)[1]
        launches, objects = np.unique(rows.launch[first], return_counts=True)
        return new & np.isin(rows.launch, launches[objects == 1])

    def moved(self, frame: pl.DataFrame, orbits: Mapping[str, NDArray[np.float64]]) -> pl.DataFrame:
        """What changes of `columns` were an object on other orbits, and its siblings where they are.

        Parameters
        ----------
        frame : polars.DataFrame
            As in `count`; one row.
        orbits : mapping of str to ndarray, shape (m,)
            The columns SEMIMAJOR_AXIS (km), INCLINATION (deg), ECCENTRICITY.

        Returns
        -------
        polars.DataFrame
            m rows: the columns that depend on the own orbit.
        """
        row, n = _read(frame), len(orbits["INCLINATION"])
        whole = self._including(row)
        place = np.searchsorted(whole.launches, row.launch[:1])
        cells = whole.cells[whole.cells[:, 0] == place]
        itself = (cells[:, 1:5] == [*row.cells[0], row.size[0]]).all(axis=1) & ~row.decayed[0]
        cells = cells - np.outer(itself, [0, 0, 0, 0, 0, 1])
        cells[:, 0] = 0
        siblings = Families(row.launch[:1], cells[cells[:, 5] > 0], whole.decayed[place], whole.counted)
        own = {name: np.asarray(orbits[name], dtype=np.float64) for name in CELLS}
        rows = row.take(np.zeros(n, dtype=np.intp))._replace(own=own, cells=_cells(own), decayed=np.ones(n, dtype=bool))
        depend = [f"FAMILY_{name}_DEVIATION" for name in CELLS] + ["FAMILY_NEAR_SHARE", "FAMILY_CELL_SHARE"]
        return _columns(siblings, rows).select(depend)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The counts as plain arrays; launches as UTF-8 in lines of one width."""
        text = np.char.encode(self.launches.astype(str), "utf-8").astype(f"S{_LAUNCH_BYTES}")
        launches = text.view(np.uint8).reshape(len(text), _LAUNCH_BYTES)
        return {"launches": launches, "cells": self.cells, "decayed": self.decayed, "counted": self.counted}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Counts from what `to_arrays` made; they may come from a stranger.

        Raises
        ------
        ValueError
            They are no counts: says which rule is broken.
        """
        shapes = {"launches": (np.uint8, _LAUNCH_BYTES), "cells": (np.int64, 6), "decayed": (np.int64, 4)}
        if set(arrays) != {*shapes, "counted"}:
            raise ValueError(
                f"families are the arrays {', '.join([*shapes, 'counted'])}, not {', '.join(sorted(arrays))}"
            )
        for name, (dtype, width) in shapes.items():
            if arrays[name].dtype != dtype or arrays[name].shape != (len(arrays[name]), width):
                raise ValueError(f"{name} of the families must be {np.dtype(dtype)} of {width} columns")
        cells, decayed, counted = (arrays[name] for name in ("cells", "decayed", "counted"))
        text = np.ascontiguousarray(arrays["launches"]).view(f"S{_LAUNCH_BYTES}").ravel()
        launches = np.char.decode(text, "utf-8").astype(str)
        number, known, days, fast = decayed.T
        rules = {
            "launches are different and sorted": (launches[1:] > launches[:-1]).all(),
            "there is a row of decayed objects for each launch": len(decayed) == len(launches),
            "cells are of those launches": ((cells[:, 0] >= 0) & (cells[:, 0] < len(launches))).all(),
            "cells are in range": ((cells[:, 1:4] >= _NO_CELL) & (cells[:, 1:4] <= _LAST_CELL)).all(),
            "sizes are known codes": ((cells[:, 4] >= 0) & (cells[:, 4] <= len(SIZES))).all(),
            "cells hold objects": ((cells[:, 5] >= 1) & (cells[:, 5] <= _MOST)).all(),
            "cells are different and sorted": np.array_equal(np.unique(cells[:, :5], axis=0), cells[:, :5]),
            "decayed objects are counts": ((fast >= 0) & (fast <= known) & (known <= number) & (number <= _MOST)).all(),
            "lives are in range": (np.abs(days.astype(np.float64)) <= _MOST_DAYS).all(),
            "hashes are different and sorted": counted.dtype == np.uint64
            and counted.ndim == 1
            and (counted[1:] > counted[:-1]).all(),
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise ValueError(f"families of the launches break a rule: {broken[0]}")
        return cls(launches, cells, decayed, counted)


def family_columns(frame: pl.DataFrame, *, counts: bool = False) -> pl.DataFrame:
    """Columns about the siblings of each object: what else came from its launch, and where it flies.

    Parameters
    ----------
    frame : polars.DataFrame
        From `read_satcat` or `join_elsets`: the whole catalog, since a part of it knows a part of the siblings. Decayed
        objects may stand in it.
    counts : bool, default=False
        `FAMILY_COUNTS`, too.

    Returns
    -------
    polars.DataFrame
        The columns `FAMILY_COLUMNS`, one row a row of ``frame``, in its order; null where nothing is known: for objects
        alone in their launch, or without OBJECT_ID.

    Raises
    ------
    CatalogError
        A column is missing.

    Examples
    --------
    >>> from datetime import date
    >>> axis = [7178.0, 7181.0, 7178.0, 7400.0]
    >>> catalog = pl.DataFrame(
    ...     {"NORAD_CAT_ID": [1, 2, 3, 4], "OBJECT_ID": [f"2031-007{piece}" for piece in "ABCD"], "DECAY": None,
    ...      "LAUNCH": date(2031, 2, 3), "RCS_SIZE": ["LARGE", "SMALL", "SMALL", "SMALL"], "SEMIMAJOR_AXIS": axis,
    ...      "INCLINATION": 98.61, "ECCENTRICITY": 0.001},
    ...     schema_overrides={"DECAY": pl.Date})
    >>> siblings = family_columns(catalog)
    >>> siblings["FAMILY_SMALL_SHARE"].round(2).to_list()
    [1.0, 0.67, 0.67, 0.67]
    >>> siblings["FAMILY_SEMIMAJOR_AXIS_DEVIATION"].to_list()
    [-7.0, 6.0, -7.0, 225.0]
    """
    return Families.count(frame).columns(frame, counts=counts)


class _Rows(NamedTuple):
    """What is read of a frame: arrays with one entry a row."""

    launch: NDArray[Any]
    cells: NDArray[np.int64]
    own: dict[str, NDArray[np.float64]]
    size: NDArray[np.int64]
    decayed: NDArray[np.bool_]
    decayed_as: NDArray[np.int64]
    hashes: NDArray[np.uint64]

    def take(self, rows: NDArray[Any]) -> _Rows:
        """Some rows, by number or mask."""
        own = {name: values[rows] for name, values in self.own.items()}
        parts = {name: part[rows] for name, part in self._asdict().items() if name != "own"}
        return _Rows(own=own, **parts)


def _read(frame: pl.DataFrame) -> _Rows:
    missing = [name for name in _NEEDED if name not in frame.columns]
    if missing:
        raise CatalogError(f"the catalog lacks {', '.join(missing)}", remedy="Hand over a frame of read_satcat.")
    try:
        return _read_columns(frame)
    except pl.exceptions.PolarsError as error:
        raise CatalogError(
            f"a column of the catalog is not what it should be ({error})", remedy="Hand over a frame of read_satcat."
        ) from error


def _read_columns(frame: pl.DataFrame) -> _Rows:
    own = {name: frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in CELLS}
    size = (
        frame["RCS_SIZE"]
        .cast(pl.String)
        .replace_strict(list(SIZES), list(range(len(SIZES))), default=len(SIZES), return_dtype=pl.Int64)
    )
    decay, launched = (_dates(frame[name]) for name in ("DECAY", "LAUNCH"))
    days = (decay - launched).dt.total_days()
    gone = decay.is_not_null()
    fast = (days <= FAST_YEARS * _YEAR_DAYS).fill_null(False)
    parts = (gone, days.is_not_null(), days.fill_null(0), fast)
    decayed_as = np.column_stack([part.cast(pl.Int64).to_numpy() for part in parts])
    launch = launch_of(frame)
    launch = launch.set(launch.str.starts_with("NORAD "), _NO_LAUNCH)  # no catalog number is kept
    number = frame["NORAD_CAT_ID"].cast(pl.UInt64)
    if number.null_count():
        raise CatalogError("each object has a NORAD_CAT_ID", remedy="Leave rows without one out.")
    return _Rows(
        launch.to_numpy().astype(str),
        _cells(own),
        own,
        size.to_numpy(),
        gone.to_numpy(),
        decayed_as,
        # An object that gets its designator later is one that was not counted in its launch yet.
        hashes(2 * number.to_numpy() + (launch != _NO_LAUNCH).cast(pl.UInt64).to_numpy()),
    )


def _dates(column: pl.Series) -> pl.Series:
    """Dates; a column without any has no type of dates: NaN from pandas."""
    return (column.fill_nan(None) if column.dtype.is_float() else column).cast(pl.Date)


def _cells(values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.int64]:
    return np.column_stack([_cell(values[name], width) for name, width in CELLS.items()])


def _cell(values: NDArray[np.float64], width: float) -> NDArray[np.int64]:
    cell = np.clip(np.floor(np.nan_to_num(values) / width), 0, _LAST_CELL)
    return np.where(np.isnan(values), _NO_CELL, cell).astype(np.int64)


def _columns(families: Families, rows: _Rows) -> pl.DataFrame:
    launch = np.searchsorted(families.launches, rows.launch)
    is_counted = ~rows.decayed  # decayed objects are no siblings in orbit, so there is nothing of theirs to take out
    result: dict[str, NDArray[np.float64]] = {}
    result |= _size_shares(families, launch, rows.size, is_counted)
    for place, (name, width) in enumerate(CELLS.items(), start=1):
        cells = families.cells[families.cells[:, place] != _NO_CELL][:, [0, place, 5]]
        low, middle, high = quartiles(
            cells, len(families.launches), launch, rows.cells[:, place - 1], is_counted, width=width, centre=0.5
        )
        result[f"{name}_DEVIATION"] = rows.own[name] - middle
        result[f"{name}_SPREAD"] = high - low
        result[f"{name}_Q25"], result[f"{name}_Q75"] = low, high
    result |= _near(families, launch, rows, is_counted)
    result |= _decayed(families, launch, rows)
    known, names = rows.launch != _NO_LAUNCH, (*families.NAMES, *families.COUNTS)
    return pl.DataFrame(
        {name: np.where(known, result[name.removeprefix("FAMILY_")], np.nan) for name in names},
        nan_to_null=True,
    )


def _share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def _size_shares(
    families: Families, launch: NDArray[np.intp], size: NDArray[np.int64], is_counted: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    number = np.zeros((len(families.launches), len(SIZES) + 1))
    np.add.at(number, (families.cells[:, 0], families.cells[:, 4]), families.cells[:, 5])
    own = (size[:, None] == np.arange(len(SIZES))) & is_counted[:, None]
    siblings = np.maximum(number[launch, : len(SIZES)] - own, 0)
    known = siblings.sum(axis=1)
    return {f"{name}_SHARE": _share(siblings[:, code], known) for code, name in enumerate(SIZES)}


def _near(
    families: Families, launch: NDArray[np.intp], rows: _Rows, is_counted: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """Siblings with an orbit that are near, and that are in the own cell of twice the width: shares and numbers."""
    there = (families.cells[:, [1, 2]] != _NO_CELL).all(axis=1)
    cells = families.cells[there]
    total = np.bincount(cells[:, 0], weights=cells[:, 5], minlength=len(families.launches))[launch]
    own = rows.cells[:, :2]
    known = (own != _NO_CELL).all(axis=1)
    keys, number = grouped(cells[:, [0, 1, 2]], cells[:, 5])
    at = find(keys, np.column_stack([launch, own]))
    leaves = is_counted & known & (at >= 0)
    near = np.zeros(len(launch))
    widths = list(CELLS.values())[:2]
    values = [rows.own["SEMIMAJOR_AXIS"], rows.own["INCLINATION"]]
    for step in np.ndindex(3, 3):
        other = own + np.array(step) - 1
        distance = [np.abs((other[:, i] + 0.5) * widths[i] - values[i]) for i in (0, 1)]
        within = (distance[0] <= NEAR_KM) & (distance[1] <= NEAR_DEG)
        found = find(keys, np.column_stack([launch, other]))
        near += np.where(within, number[found], 0)
    wide, wide_number = grouped(np.column_stack([cells[:, 0], cells[:, [1, 2]] // 2]), cells[:, 5])
    found = find(wide, np.column_stack([launch, own // 2]))
    same = wide_number[found]
    siblings = np.where(known, total - leaves, 0)
    result = {}
    for name, number in {"NEAR": near - leaves, "CELL": same - leaves}.items():
        result[f"{name}_SHARE"] = _share(number, siblings)
        result[f"{name}_SIBLINGS"] = np.where(known, number, np.nan)
    return result


def _decayed_siblings(families: Families, launch: NDArray[np.intp], rows: _Rows) -> NDArray[np.int64]:
    """Decayed siblings as in `Families.decayed`, shape (4, n)."""
    # An object that decayed since it was counted is not among the decayed ones, and not taken out of them.
    siblings = families.decayed[launch] - rows.decayed_as
    return np.where((siblings[:, [0, 1, 3]] < 0).any(axis=1), families.decayed[launch].T, siblings.T)


def _siblings(families: Families, launch: NDArray[np.intp], rows: _Rows) -> NDArray[np.int64]:
    """Number of the siblings, in orbit and decayed, shape (n,)."""
    in_orbit = np.zeros(len(families.launches), dtype=np.int64)
    np.add.at(in_orbit, families.cells[:, 0], families.cells[:, 5])
    return np.maximum(in_orbit[launch] - ~rows.decayed, 0) + _decayed_siblings(families, launch, rows)[0]


def _decayed(families: Families, launch: NDArray[np.intp], rows: _Rows) -> dict[str, NDArray[np.float64]]:
    number, known, days, fast = _decayed_siblings(families, launch, rows)
    anywhere = families.decayed[:, 0].any()  # a catalog without decayed objects does not say that none decayed
    siblings = _siblings(families, launch, rows)
    share = _share(number, siblings)
    return {
        "SIBLINGS": siblings.astype(np.float64),
        "DECAYED_SHARE": share if anywhere else np.full(len(launch), np.nan),
        "DECAYED_LIFE": _share(days / _YEAR_DAYS, known),
        "DECAYED_FAST_SHARE": _share(fast, known),
    }
