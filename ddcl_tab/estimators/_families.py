"""What belongs together in a table: counts of the rows of each family, and the columns that follow for each row.

A family is the objects of one launch, the visits of one patient, the spectra of one instrument. Its rows are counted in
cells of their values, and all columns follow from the counts with the row itself taken out: the same rows give the same
columns alone or within a whole table, and a model file holds counts and no rows.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol, Self

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ddcl_tab._cells import grouped, hashes, quartiles
from ddcl_tab.errors import ConfigurationError, FamilyContextWarning, InputError, did_you_mean
from ddcl_tab.estimators._columns import (
    DEVIATION,
    SPREAD,
    CategoricalColumn,
    NumericColumn,
    as_numbers,
    as_table,
    is_frame,
    to_columns,
    to_polars,
)

#: Column that `GroupFamilies` makes besides deviations and spreads.
SIZE = "family size"
#: Cells of `GroupFamilies` in the interquartile range of a column.
CELLS_PER_RANGE = 64
#: Cells beyond this count as this, and no more rows than this are claimed by a file.
_LAST_CELL, _MOST = 2**52, 2**40
#: Values beyond this count as this, and no cell is wider or narrower.
_LARGEST, _NARROWEST = 1e100, 1e-300


class Families(Protocol):
    """Counts of the rows of a table by family, and what follows from them for each row.

    The same rows give the same columns alone or within the table that was counted. Frames here are of polars, with the
    columns ``NEEDED``, which need not be features. ``NAMES`` are the columns that are made, ``COUNTS`` those that
    ``family_counts`` adds.
    """

    NEEDED: tuple[str, ...]
    NAMES: tuple[str, ...]
    COUNTS: tuple[str, ...]

    def recount(self, catalog: pl.DataFrame) -> Self:
        """Counts of another frame in the same cells."""

    def including(self, frame: pl.DataFrame) -> Self:
        """These counts and the rows of a frame that were not counted yet."""

    def columns(self, frame: pl.DataFrame, *, counts: bool = False) -> pl.DataFrame:
        """The columns ``NAMES``, and with ``counts`` ``COUNTS``; rows not counted yet join their families."""

    def without_context(self, frame: pl.DataFrame) -> NDArray[np.bool_]:
        """Rows whose family neither was counted nor has another row in the frame, shape (n,)."""

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The counts, for a model file: nothing by which a single row could be known."""


class DomainFamilies(Families, Protocol):
    """Families that a domain knows."""

    @classmethod
    def count(cls, catalog: pl.DataFrame) -> Self:
        """Count the rows of a frame."""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Counts from what `to_arrays` made; a ValueError or LookupError where they are none."""


def family_rows(families: Families | type[DomainFamilies], X: Any) -> pl.DataFrame:
    """The columns of a frame that families read.

    Raises
    ------
    InputError
        ``X`` is no frame, or names the columns that it lacks.
    """
    X = as_table(X)
    if not is_frame(X):
        raise InputError(
            f"families are found by the columns {', '.join(families.NEEDED)}: hand over a frame with them."
        )
    lacking = lacking_columns(families, X)
    if lacking:
        raise InputError(
            f"families need the columns {', '.join(lacking)}, which the frame lacks: hand them over as in fit. "
            "They find the other rows of a family and need not be features."
        )
    return to_polars(nw.from_native(X, eager_only=True).select(*families.NEEDED).to_native())


def lacking_columns(families: Families | type[DomainFamilies], X: Any) -> list[str]:
    """Columns that families read and a frame does not have."""
    there = nw.from_native(X, eager_only=True).columns
    return [name for name in families.NEEDED if name not in there]


def with_family_columns(X: Any, columns: pl.DataFrame) -> Any:
    """A frame with the columns of `Families.columns`, in the place of any of these names."""
    frame = nw.from_native(X, eager_only=True)
    made = {name: columns[name].fill_null(np.nan).to_numpy() for name in columns.columns}
    library = frame.implementation
    return frame.with_columns(*(nw.new_series(name, part, backend=library) for name, part in made.items())).to_native()


def warn_without_context(families: Families, rows: pl.DataFrame) -> None:
    """Warn once of rows of which no other member of the family is known.

    Warns
    -----
    FamilyContextWarning
    """
    number = int(families.without_context(rows).sum())
    if number:
        warnings.warn(
            f"{number} of {len(rows)} rows belong to families (launches) of which no other member is known, neither "
            "among what was counted nor among these rows: what siblings would say of them is missing. Hand over the "
            "whole table, or catalog=.",
            FamilyContextWarning,
            stacklevel=5,
        )


def family_groups(family: str | None, X: Any) -> NDArray[np.int64] | None:
    """Number of the family of each row, shape (n,), rows without one alone; None where no column names families."""
    if family in (None, "auto") or not is_frame(X):
        return None
    frame = nw.from_native(X, eager_only=True)
    if family not in frame.columns:
        return None
    label, known = _labels(to_polars(frame.select(family).to_native())[family])
    number = np.unique(label, return_inverse=True)[1].astype(np.int64)
    return np.where(known, number, len(number) + np.arange(len(number)))


#: What a file holds of `GroupFamilies`.
_ARRAYS = ("column", "widths", "families", "members", "cells", "counted", "times")


class _Rows(NamedTuple):
    """What is read of a frame: arrays with one entry a row."""

    family: NDArray[np.uint64]
    known: NDArray[np.bool_]
    values: NDArray[np.float64]
    hashes: NDArray[np.uint64]

    def take(self, rows: NDArray[Any]) -> _Rows:
        """Some rows, by number or mask."""
        return _Rows(*(part[rows] for part in self))


class GroupFamilies:
    """Counts of the rows of any table by the values of one of its columns, such as patients, clusters, instruments.

    The columns that follow are `SIZE` (number of the other members) and, for each column of numbers, the own value
    minus the median of the other members and their interquartile range, both in its unit and as exact as a cell is
    wide. Kept are hashes of the families, numbers of rows in cells of each column, and hashes of the rows, which tell
    what has been counted: rows with equal values are counted as often as they stand there.

    Parameters
    ----------
    column : str
        Its values name the families; a row without one belongs to none.
    widths : mapping of str to float
        Columns of numbers and the width of a cell of each.
    others : sequence of str
        Further features, by which rows are told apart.
    counts : mapping of str to ndarray, optional
        As `to_arrays` gives them; nothing is counted yet without them.
    """

    def __init__(
        self,
        column: str,
        widths: Mapping[str, float],
        others: Iterable[str] = (),
        counts: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        self.column, self.widths, self.others = column, dict(widths), tuple(others)
        self.NEEDED = (column, *self.widths, *self.others)
        self.NAMES = (SIZE, *(name + what for name in self.widths for what in (DEVIATION, SPREAD)))
        self.COUNTS: tuple[str, ...] = ()
        counts = counts or {
            "families": np.zeros(0, dtype=np.uint64),
            "members": np.zeros(0, dtype=np.int64),
            "cells": np.zeros((0, 4), dtype=np.int64),
            "counted": np.zeros(0, dtype=np.uint64),
            "times": np.zeros(0, dtype=np.int64),
        }
        self.families, self.members, self.cells = counts["families"], counts["members"], counts["cells"]
        self.counted, self.times = counts["counted"], counts["times"]

    @classmethod
    def of(cls, X: Any, column: str, features: list[str]) -> Self:
        """Count the rows of a frame by one of its columns; cells are a 64th of the interquartile range wide.

        Parameters
        ----------
        X : frame
        column : str
        features : list of str
            The columns that may be learned from.

        Raises
        ------
        ConfigurationError
            ``X`` is no frame, or has no such column.
        InputError
            A column of the frame is called as one of those that are made.
        """
        X = as_table(X)
        if not is_frame(X):
            raise ConfigurationError(
                f"family={column!r} names a column, and the rows are in no frame whose columns have names: hand over "
                "a frame, or set family=None."
            )
        there = nw.from_native(X, eager_only=True).columns
        if column not in there:
            raise ConfigurationError(
                f"family={column!r} is no column of the frame{did_you_mean(column, there) or '.'} It has "
                f"{', '.join(there)}; 'auto' takes the families that its domain knows."
            )
        taken = [name for name in there if name == SIZE or name.endswith((DEVIATION, SPREAD))]
        if taken:
            raise InputError(
                f"the frame has columns called as those that family={column!r} makes: {', '.join(taken)}. Rename them, "
                "or leave them out."
            )
        features = [name for name in features if name != column]
        read = to_columns(X, features)
        # Dates are decimal years there, and no number that a family could have a median of.
        widths = {one.name: _width(one.values) for one in read if isinstance(one, NumericColumn) and not one.unit}
        empty = cls(column, widths, [name for name in features if name not in widths])
        return empty.including(family_rows(empty, X))

    def recount(self, catalog: pl.DataFrame) -> Self:
        """Counts of another frame in the same cells."""
        return type(self)(self.column, self.widths, self.others).including(catalog)

    def including(self, frame: pl.DataFrame) -> Self:
        """These counts and the rows of a frame that were not counted yet."""
        return self._including(self._read(frame))

    def columns(self, frame: pl.DataFrame, *, counts: bool = False) -> pl.DataFrame:
        """The columns that are made, of each row; rows that were not counted yet join their families.

        The size is always among them: ``counts`` adds nothing.
        """
        rows = self._read(frame)
        whole, known = self._including(rows), np.flatnonzero(rows.known)
        family = np.searchsorted(whole.families, rows.family[known])
        made = np.full((len(rows.known), len(self.NAMES)), np.nan)
        made[known, 0] = whole.members[family] - 1
        for j, width in enumerate(self.widths.values()):
            value = rows.values[known, j]
            cells = whole.cells[whole.cells[:, 1] == j][:, [0, 2, 3]]
            is_there = ~np.isnan(value)
            low, middle, high = quartiles(
                cells, len(whole.families), family, _cells(value, width), is_there, width=width, centre=0.0
            )
            made[known, 2 * j + 1], made[known, 2 * j + 2] = value - middle, high - low
        return pl.DataFrame(dict(zip(self.NAMES, made.T, strict=True)), nan_to_null=True)

    def without_context(self, frame: pl.DataFrame) -> NDArray[np.bool_]:
        """Rows whose family neither was counted nor has another row in the frame, shape (n,)."""
        rows = self._read(frame)
        labels, number = np.unique(rows.family[rows.known], return_counts=True)
        return rows.known & np.isin(rows.family, labels[number == 1]) & ~np.isin(rows.family, self.families)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The counts as plain arrays."""
        column = np.frombuffer(self.column.encode(), dtype=np.uint8)
        widths = np.array(list(self.widths.values()), dtype=np.float64)
        counts = (self.families, self.members, self.cells, self.counted, self.times)
        return dict(zip(_ARRAYS, (column, widths, *counts), strict=True))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], column: str, features: list[str]) -> Self:
        """Counts from what `to_arrays` made; they may come from a stranger.

        Parameters
        ----------
        arrays : mapping of str to ndarray
        column : str
        features : list of str
            All columns that the model has learned from, those that were made included.

        Raises
        ------
        ValueError
            They are no counts: says which rule is broken.
        """
        made = [name for name in features if name == SIZE or name.endswith((DEVIATION, SPREAD))]
        own = [name for name in features if name not in made]
        numeric = [name for name in own if name + DEVIATION in made]
        types = dict.fromkeys(_ARRAYS, (np.int64, 1)) | {"column": (np.uint8, 1), "widths": (np.float64, 1)}
        types |= {"families": (np.uint64, 1), "cells": (np.int64, 2), "counted": (np.uint64, 1)}
        if set(arrays) != set(types):
            raise ValueError(f"families are the arrays {', '.join(types)}, not {', '.join(sorted(arrays))}")
        for name, (dtype, ndim) in types.items():
            if arrays[name].dtype != dtype or arrays[name].ndim != ndim:
                raise ValueError(f"{name} of the families must be {np.dtype(dtype)} in {ndim} dimensions")
        text, widths, families, members, cells, counted, times = (arrays[name] for name in types)
        others = [name for name in own if name not in numeric]
        result = cls(column, dict(zip(numeric, widths.tolist(), strict=False)), others, arrays)
        rules = {
            "they are those of the column": text.tobytes() == column.encode(),
            "each column of numbers has a width": len(widths) == len(numeric) and set(made) == set(result.NAMES),
            "widths are above 0 and finite": ((widths >= _NARROWEST) & (widths <= _LARGEST)).all(),
            "families are different and sorted": (families[1:] > families[:-1]).all(),
            "families have members": len(members) == len(families) and ((members >= 1) & (members <= _MOST)).all(),
            "cells are four numbers": cells.shape == (len(cells), 4),
            "hashes are different and sorted": (counted[1:] > counted[:-1]).all(),
            "hashes stand for rows": len(times) == len(counted) and ((times >= 1) & (times <= _MOST)).all(),
        }
        if all(rules.values()):
            inside = (cells[:, :2] >= 0) & (cells[:, :2] < [len(families), len(widths)])
            rules |= {
                "cells are of those families and columns": inside.all(),
                "cells are in range": (np.abs(cells[:, 2].astype(np.float64)) <= _LAST_CELL).all(),
                "cells hold rows": ((cells[:, 3] >= 1) & (cells[:, 3] <= _MOST)).all(),
                "cells are different and sorted": np.array_equal(np.unique(cells[:, :3], axis=0), cells[:, :3]),
                "rows are members of families": times.sum() == members.sum(),
            }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise ValueError(f"families break a rule: {broken[0]}")
        return result

    def _read(self, frame: pl.DataFrame) -> _Rows:
        family, known = _labels(frame[self.column])
        values = np.full((len(frame), len(self.widths)), np.nan)
        row = family.copy()
        for i, column in enumerate(to_columns(frame, [*self.widths, *self.others])):
            if i < len(self.widths):
                values[:, i] = np.clip(as_numbers(column, ""), -_LARGEST, _LARGEST)
                column = NumericColumn(column.name, "", values[:, i])
            row = hashes(row ^ hashes(_hashed(column) + np.uint64(i)))
        return _Rows(family, known, values, row)

    def _including(self, rows: _Rows) -> Self:
        """With the rows that stand in a frame more often than they were counted."""
        order = np.argsort(rows.hashes, kind="stable")
        _, first, place = np.unique(rows.hashes[order], return_index=True, return_inverse=True)
        occurrence = np.empty(len(order), dtype=np.int64)
        occurrence[order] = np.arange(len(order)) - first[place.ravel()]
        counted, times = np.append(self.counted, np.uint64(0)), np.append(self.times, 0)
        at = np.searchsorted(self.counted, rows.hashes)
        already = np.where(counted[at] == rows.hashes, times[at], 0)
        new = rows.known & (occurrence >= already)
        return self._joined(rows.take(new)) if new.any() else self

    def _joined(self, rows: _Rows) -> Self:
        families = np.union1d(self.families, rows.family)
        place, at = np.searchsorted(families, rows.family), np.searchsorted(families, self.families)
        members = np.bincount(place, minlength=len(families))
        members[at] += self.members
        cells = [np.column_stack([at[self.cells[:, 0]], self.cells[:, 1:]])]
        for j, width in enumerate(self.widths.values()):
            there = ~np.isnan(rows.values[:, j])
            cell = _cells(rows.values[there, j], width)
            cells.append(np.column_stack([place[there], np.full(len(cell), j), cell, np.ones_like(cell)]))
        stacked = np.concatenate(cells)
        keys, number = grouped(stacked[:, :3], stacked[:, 3])
        counted, times = np.unique(rows.hashes, return_counts=True)
        counted, times = _summed(np.append(self.counted, counted), np.append(self.times, times))
        counts = {"families": families, "members": members, "cells": np.column_stack([keys, number[:-1]])}
        return type(self)(self.column, self.widths, self.others, counts | {"counted": counted, "times": times})


def _summed(keys: NDArray[np.uint64], number: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    distinct, where = np.unique(keys, return_inverse=True)
    summed = np.zeros(len(distinct), dtype=np.int64)
    np.add.at(summed, where.ravel(), number)
    return distinct, summed


def _width(values: NDArray[np.float64]) -> float:
    """Width of a cell; without an interquartile range the mean distance from the median stands in its place."""
    values = np.clip(values[~np.isnan(values)], -_LARGEST, _LARGEST)
    if not len(values):
        return 1.0
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    spread = high - low if high > low else np.abs(values - middle).mean()
    return float(np.clip(spread / CELLS_PER_RANGE, _NARROWEST, _LARGEST)) if spread > 0 else 1.0


def _cells(values: NDArray[np.float64], width: float) -> NDArray[np.int64]:
    with np.errstate(over="ignore"):
        return np.clip(np.rint(np.nan_to_num(values) / width), -_LAST_CELL, _LAST_CELL).astype(np.int64)


def _labels(column: pl.Series) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Hash of the family of each row, and whether it has one; 3, 3.0 and "3" are one family."""
    if column.dtype.is_integer():
        texts = column.cast(pl.String).to_list()  # of 64 bits, more than a float holds
    else:
        (read,) = to_columns(column.to_frame(), [column.name])
        texts = _as_texts(read.values) if isinstance(read, NumericColumn) else read.values.tolist()
    labels = CategoricalColumn(column.name, np.fromiter(texts, dtype=object))
    return _hashed(labels), np.array([text is not None for text in labels.values], dtype=bool)


def _as_texts(numbers: NDArray[np.float64]) -> list[str | None]:
    whole = (np.abs(numbers) < 2**53) & (numbers == np.floor(numbers))
    return [
        None if number != number else str(int(number)) if exact else repr(number)
        for number, exact in zip(numbers.tolist(), whole, strict=True)
    ]


def _hashed(column: NumericColumn | CategoricalColumn) -> NDArray[np.uint64]:
    """Hash of each value; of a missing one 0, whatever else stands in the column."""
    if isinstance(column, NumericColumn):
        return np.where(np.isnan(column.values), np.uint64(0), hashes(column.values.view(np.uint64) + np.uint64(1)))
    code = {
        text: int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
        for text in set(column.values) - {None}
    }
    return np.array([0 if text is None else code[text] for text in column.values], dtype=np.uint64)
