"""Read the columns of a frame or array: their kind, their unit, and whether they may be learned from."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from datetime import date
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from ddcl_tab.catalog.schema import ELSET_COLUMNS, LEAKS, SATCAT_COLUMNS, UNITS
from ddcl_tab.errors import InputError, LeakWarning

#: How columns end that `history_features` adds: in the unit of the column per year, and in its unit.
RATE, SCATTER = "_RATE", "_SCATTER"
SPAN = "SPAN_YEARS"

_CATALOG = {column.name for column in (*SATCAT_COLUMNS, *ELSET_COLUMNS)}
_BOOKKEEPING = {
    column.name: f"about the record, not the object: {column.description}"
    for column in (*SATCAT_COLUMNS, *ELSET_COLUMNS)
    if column.role == "bookkeeping"
}


@dataclass(frozen=True)
class NumericColumn:
    """Values of a numeric column: float64, NaN where missing; ``unit`` may be empty."""

    name: str
    unit: str
    values: NDArray[np.float64]


@dataclass(frozen=True)
class CategoricalColumn:
    """Values of a categorical column: objects of type str, None where missing."""

    name: str
    values: NDArray[np.object_]


def is_frame(X: object) -> bool:
    """Whether ``X`` is a data frame (pandas, polars, pyarrow) whose columns have names; numbers are no names."""
    frame = nw.from_native(X, pass_through=True)
    return isinstance(frame, nw.DataFrame) and all(isinstance(name, str) for name in frame.columns)


def select_features(names: list[str], *, allow_leaks: bool = False) -> list[str]:
    """Names of the columns that may be learned from, in their order.

    Columns about the record or the moment (dates, set numbers, angles at epoch) are left out silently; columns that
    give the class away are left out with a warning.

    Parameters
    ----------
    names : list of str
    allow_leaks : bool, default=False
        Keep the columns that give the class away; for experiments that want to measure the leak.

    Returns
    -------
    list of str

    Warns
    -----
    LeakWarning
        Names each refused column and why it is refused.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     select_features(["OBJECT_NAME", "PERIOD", "LAUNCH"])
    ['PERIOD']
    >>> print(caught[0].message)
    left out of the features because they give the class away: OBJECT_NAME (the name says DEB or R/B).
    allow_leaks=True keeps them.
    """
    if allow_leaks:
        return [name for name in names if name not in _BOOKKEEPING]
    leaks = [name for name in names if name in LEAKS]
    if leaks:
        reasons = "; ".join(f"{name} ({LEAKS[name]})" for name in leaks)
        warnings.warn(
            f"left out of the features because they give the class away: {reasons}. allow_leaks=True keeps them.",
            LeakWarning,
            stacklevel=4,
        )
    return [name for name in names if name not in LEAKS and name not in _BOOKKEEPING]


def to_columns(X: Any, names: list[str]) -> list[NumericColumn | CategoricalColumn]:
    """Read columns out of a frame or array.

    Numbers and booleans become numeric columns, dates decimal years, texts and categories categorical columns. A
    column of Python objects is numeric if all its values are numbers and categorical if all are texts.

    Parameters
    ----------
    X : pandas, polars or pyarrow frame, or ndarray, shape (n, p)
    names : list of str
        Columns to read; for an array, the names of all its columns.

    Returns
    -------
    list of NumericColumn and CategoricalColumn
        In the order of ``names``.

    Raises
    ------
    InputError
        A column is missing, is of a type that is neither number, text nor date, or holds an infinite value.
    TypeError
        A column of Python objects mixes texts and numbers, or holds something else.

    Examples
    --------
    >>> import polars as pl
    >>> columns = to_columns(pl.DataFrame({"PERIOD": [95.0, None], "SITE": ["TSC", None]}), ["PERIOD", "SITE"])
    >>> columns[0].unit, columns[0].values, columns[1].values
    ('min', array([95., nan]), array(['TSC', None], dtype=object))
    """
    if not is_frame(X):
        X = np.asarray(X)
        return [_from_array(name, X[:, i]) for i, name in enumerate(names)]
    frame = nw.from_native(X, eager_only=True)
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise InputError(
            f"columns {missing} were there in fit and are missing now; the frame has {frame.columns}. "
            "Add them (null where unknown) or fit without them."
        )
    return [_from_series(frame[name]) for name in names]


def _from_series(series: nw.Series) -> NumericColumn | CategoricalColumn:
    name, dtype = series.name, series.dtype
    if dtype.is_numeric() or dtype == nw.Boolean:
        return _numeric(name, series.cast(nw.Float64).to_numpy())
    if dtype in (nw.Date, nw.Datetime):
        return _numeric(name, _decimal_years(series), unit="year")
    if dtype in (nw.String, nw.Categorical, nw.Enum):
        return CategoricalColumn(name, _texts(series))
    if dtype == nw.Unknown and series.null_count() == len(series):
        return _numeric(name, np.full(len(series), np.nan))
    if dtype == nw.Object:
        return _from_array(name, np.asarray(series.to_list(), dtype=object))
    raise InputError(
        f"column {name!r} is of type {dtype}, which is neither number, text nor date; cast it or drop it before fit."
    )


def _from_array(name: str, values: NDArray[Any]) -> NumericColumn | CategoricalColumn:
    if values.dtype.kind in "fiub":
        return _numeric(name, values)
    if values.dtype.kind == "M":
        microseconds = values.astype("datetime64[us]")
        return _numeric(name, _decimal_years(nw.new_series(name, microseconds, backend="polars")), unit="year")
    if values.dtype.kind == "U":
        return CategoricalColumn(name, values.astype(object))
    values = np.array([None if _is_missing(value) else value for value in values], dtype=object)
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, str) for value in present):
        return CategoricalColumn(name, values)
    if present and all(type(value) is date for value in present):
        return _from_array(name, values.astype("datetime64[D]"))
    for row, value in enumerate(values):
        if value is not None and not _is_number(value):
            raise TypeError(
                f"argument must be a string or a number in every row of a column, not both and nothing else: "
                f"column {name!r}, row {row} holds {value!r} of type {type(value).__name__}"
            )
    return _numeric(name, np.array([np.nan if value is None else float(value) for value in values]))


def _is_missing(value: object) -> bool:
    return (
        value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ in ("NAType", "NaT")
    )


def _is_number(value: object) -> bool:
    # numpy counts durations among its integers.
    numbers = (int, float, np.integer, np.floating, np.bool_)
    return isinstance(value, numbers) and not isinstance(value, np.timedelta64)


def _texts(series: nw.Series) -> NDArray[np.object_]:
    # Value by value: pandas, asked to cast categories 1, 2 to text, says "1" or "1.0" as values are missing or not.
    return np.array([None if _is_missing(value) else str(value) for value in series.to_list()], dtype=object)


def _numeric(name: str, values: NDArray[Any], unit: str | None = None) -> NumericColumn:
    # A zero is added because -0.0 and 0.0 are one value but two bit patterns.
    values = np.asarray(values, dtype=np.float64) + 0.0
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise InputError(
            f"column {name!r} holds an infinite value (row {infinite[0]}, inf; {len(infinite)} in all): values are "
            "finite, or missing (null, NaN)."
        )
    return NumericColumn(name, _unit(name) if unit is None else unit, values)


def _decimal_years(series: nw.Series) -> NDArray[np.float64]:
    if getattr(series.dtype, "time_zone", None) is not None:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    microseconds = series.cast(nw.Datetime("us")).dt.timestamp("us").cast(nw.Float64)
    return 1970.0 + microseconds.to_numpy() / (86_400e6 * 365.2425)


def _unit(name: str) -> str:
    """Unit of a column of a catalog, or of one that a history adds to it."""
    base = name.removesuffix(RATE)
    if name != base and base in _CATALOG:
        return f"{UNITS.get(base, '1')} per yr"
    return "yr" if name == SPAN else UNITS.get(name.removesuffix(SCATTER), "")
