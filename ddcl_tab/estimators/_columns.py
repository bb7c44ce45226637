"""Read the columns of a frame or array: their kind, their unit, their values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
from narwhals.exceptions import DuplicateError
from numpy.typing import NDArray

from ddcl_tab.errors import ColumnTypeError, InputError

#: How columns end that `history_features` adds: in the unit of the column per year, and in its unit.
RATE, SCATTER = "_RATE", "_SCATTER"
SPAN = "SPAN_YEARS"
#: How columns end that families by a column add, in the unit of the column.
DEVIATION, SPREAD = " family deviation", " family spread"


@dataclass(frozen=True)
class NumericColumn:
    """Values of a numeric column: float64, NaN where missing; ``unit`` may be empty."""

    name: str
    unit: str
    values: NDArray[np.float64]

    def take(self, rows: NDArray[np.intp]) -> NumericColumn:
        """Some values, in that order."""
        return replace(self, values=self.values[rows])


@dataclass(frozen=True)
class CategoricalColumn:
    """Values of a categorical column: objects of type str, None where missing."""

    name: str
    values: NDArray[np.object_]

    def take(self, rows: NDArray[np.intp]) -> CategoricalColumn:
        """Some values, in that order."""
        return replace(self, values=self.values[rows])


def as_table(X: Any) -> Any:
    """``X`` as everything here reads it: a lazy frame collected, a masked array with its masked values missing.

    Raises
    ------
    InputError
        Two columns of a frame have one name, or ``X`` is a structured array of numpy.

    Examples
    --------
    >>> import polars as pl
    >>> as_table(pl.LazyFrame({"PERIOD": [95.0]})).shape
    (1, 1)
    >>> as_table(np.ma.array([[95.0, 0.0]], mask=[[False, True]]))
    array([[95., nan]])
    """
    frame = _wrapped(X)
    if isinstance(frame, nw.LazyFrame):
        return frame.collect().to_native()
    if isinstance(X, np.ndarray) and X.dtype.names:
        raise InputError(
            f"a structured array (fields {list(X.dtype.names)}) is no table here: hand over a frame, such as "
            "pandas.DataFrame({name: X[name] for name in X.dtype.names})."
        )
    if isinstance(X, (list, tuple)) and any(isinstance(row, np.ma.MaskedArray) and row.ndim for row in X):
        X = np.ma.array(X)  # of which numpy would forget the masks
    if not isinstance(X, np.ma.MaskedArray):
        return X
    mask, values = np.ma.getmaskarray(X), np.asarray(X.data)
    if not mask.any():
        return values
    if values.dtype.kind in "fiub":
        return np.where(mask, np.nan, values)
    if values.dtype.kind == "M":
        return np.where(mask, np.datetime64("NaT"), values)
    values = values.astype(object)
    values[mask] = None
    return values


def is_frame(X: object) -> bool:
    """Whether ``X`` is a data frame (pandas, polars, pyarrow) whose columns have names; numbers are no names.

    Raises
    ------
    InputError
        Two of its columns have one name.
    """
    frame = _wrapped(X)
    return isinstance(frame, nw.DataFrame) and all(isinstance(name, str) for name in frame.columns)


def _wrapped(X: Any) -> Any:
    try:
        return nw.from_native(X, pass_through=True)
    except DuplicateError:
        names = Counter(X.column_names if type(X).__module__.startswith("pyarrow") else X.columns)
        twice = [name for name, count in names.items() if count > 1]
        raise InputError(
            f"columns must have different names, but {twice} occur more than once among the {names.total()}: rename "
            "them, or keep one of each."
        ) from None


def to_polars(X: Any) -> pl.DataFrame:
    """A frame in polars; columns of Python objects become booleans, numbers, texts, or UTC dates.

    Raises
    ------
    InputError
        A column of Python objects is none of these; see :func:`to_columns`.
    """
    frame = nw.from_native(as_table(X), eager_only=True)
    if not any(_holds_objects(frame[name]) for name in frame.columns):
        return frame.to_polars()
    series = (frame[name] for name in frame.columns)
    return pl.DataFrame([_typed(one) if _holds_objects(one) else one.to_polars() for one in series])


def to_columns(
    X: Any, names: list[str], units: Mapping[str, str] | None = None
) -> list[NumericColumn | CategoricalColumn]:
    """Read columns out of a frame or array.

    Numbers and booleans become numeric columns, dates decimal years (without a time zone they are UTC), texts and
    categories categorical columns. A column of Python objects is one of them if all its values are: numbers are also
    ``Decimal`` and ``Fraction``, dates ``date``, ``datetime``, ``Timestamp`` and ``datetime64``. Missing are None, NaN
    (also that of ``Decimal``), NaT, ``pandas.NA`` and what is masked.

    Parameters
    ----------
    X : pandas, polars or pyarrow frame (also a lazy one), or ndarray, shape (n, p)
    names : list of str
        Columns to read; for an array, the names of all its columns.
    units : mapping of str to str, optional
        Unit of a column by its name, as in `Domain`.

    Returns
    -------
    list of NumericColumn and CategoricalColumn
        In the order of ``names``.

    Raises
    ------
    InputError
        A column is missing or has the name of another, is of a type that is neither number, text nor date, or holds a
        value that is infinite or too large for a float.
    ColumnTypeError
        An InputError and TypeError: a column of Python objects mixes texts, numbers and dates, or holds something else.

    Examples
    --------
    >>> import polars as pl
    >>> frame = pl.DataFrame({"PERIOD": [95.0, None], "SITE": ["TSC", None]})
    >>> columns = to_columns(frame, ["PERIOD", "SITE"], {"PERIOD": "min"})
    >>> columns[0].unit, columns[0].values, columns[1].values
    ('min', array([95., nan]), array(['TSC', None], dtype=object))
    """
    X = as_table(X)
    if not is_frame(X):
        X = np.asarray(X)
        return [_with_unit(_from_array(name, X[:, i]), units) for i, name in enumerate(names)]
    frame = nw.from_native(X, eager_only=True)
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise InputError(
            f"columns {missing} were there in fit and are missing now; the frame has {frame.columns}. "
            "Add them (null where unknown) or fit without them."
        )
    return [_with_unit(_from_series(frame[name]), units) for name in names]


def _with_unit(
    column: NumericColumn | CategoricalColumn, units: Mapping[str, str] | None
) -> NumericColumn | CategoricalColumn:
    """A number in the unit of its column; dates keep theirs."""
    if not isinstance(column, NumericColumn) or column.unit:
        return column
    return replace(column, unit=unit_of(column.name, units or {}))


def unit_of(name: str, units: Mapping[str, str]) -> str:
    """Unit of a column of numbers, also of one that `history_features` or families add; empty where none is known.

    Examples
    --------
    >>> unit_of("PERIGEE", {"PERIGEE": "km"}), unit_of("PERIGEE_RATE", {"PERIGEE": "km"}), unit_of("HEART_RATE", {})
    ('km', 'km per yr', '')
    """
    name = name.removesuffix(DEVIATION).removesuffix(SPREAD)
    base = name.removesuffix(RATE)
    if base != name and base in units:
        return f"{units[base] or '1'} per yr"
    return "yr" if name == SPAN else units.get(name.removesuffix(SCATTER), "")


def as_numbers(column: NumericColumn | CategoricalColumn, unit: str) -> NDArray[np.float64]:
    """Values of a column that held numbers in fit, or dates where its ``unit`` is "year".

    Raises
    ------
    InputError
        It holds texts now, or dates for numbers, or numbers for dates.
    """
    if isinstance(column, NumericColumn):
        # Dates are decimal years, which mean nothing among other numbers.
        if (column.unit == "year") != (unit == "year") and not np.isnan(column.values).all():
            now, before = ("dates", "numbers") if column.unit == "year" else ("numbers", "dates")
            raise InputError(
                f"column {column.name!r} held {before} in fit and holds {now} now: hand it over as in fit, or fit "
                "again."
            )
        return column.values
    row = next((i for i, value in enumerate(column.values) if value is not None), None)
    if row is None:
        return np.full(len(column.values), np.nan)
    raise InputError(
        f"column {column.name!r} held numbers in fit; row {row} now holds the text {column.values[row]!r}."
    )


def _from_series(series: nw.Series) -> NumericColumn | CategoricalColumn:
    name, dtype = series.name, series.dtype
    if _holds_objects(series):
        return _from_array(name, _objects(series.to_list()))
    if dtype.is_numeric() or dtype == nw.Boolean:
        return _numeric(name, series.cast(nw.Float64).to_numpy())
    if dtype in (nw.Date, nw.Datetime):
        return _numeric(name, _decimal_years(series), unit="year")
    if dtype in (nw.String, nw.Categorical, nw.Enum):
        return CategoricalColumn(name, _texts(series))
    try:
        # Types that narwhals has no name for, such as decimals of 256 bits, and columns without any value.
        return _from_array(name, _objects(series.to_list()))
    except ColumnTypeError:
        raise InputError(
            f"column {name!r} is of type {dtype}, which is neither number, text nor date; cast it or drop it before "
            "fit."
        ) from None


def _holds_objects(series: nw.Series) -> bool:
    # What narwhals says of a pandas column of objects, it has from the first hundred values.
    return series.dtype == nw.Object or str(getattr(series.to_native(), "dtype", "")) == "object"


def _objects(values: Iterable[Any]) -> NDArray[np.object_]:
    return np.fromiter(values, dtype=object)


def _typed(series: nw.Series) -> pl.Series:
    """A column of Python objects as a polars one."""
    kind, values = _sorted_out(series.name, _objects(series.to_list()))
    present = [value for value in values if value is not None]
    if kind == "date":
        return pl.Series(series.name, _instants(values))
    if kind == "text" or not present:
        return pl.Series(series.name, values.tolist())
    if all(isinstance(value, (bool, np.bool_)) for value in present):
        return pl.Series(series.name, values.tolist(), dtype=pl.Boolean)
    if all(isinstance(value, Integral) and abs(int(value)) < 2**63 for value in present):
        return pl.Series(series.name, [None if value is None else int(value) for value in values], dtype=pl.Int64)
    return pl.Series(series.name, _floats(series.name, values), nan_to_null=True)


def _from_array(name: str, values: NDArray[Any]) -> NumericColumn | CategoricalColumn:
    if values.dtype.kind in "fiub":
        return _numeric(name, values)
    if values.dtype.kind == "M":
        microseconds = values.astype("datetime64[us]")
        return _numeric(name, _decimal_years(nw.new_series(name, microseconds, backend="polars")), unit="year")
    if values.dtype.kind == "U":
        return CategoricalColumn(name, values.astype(object))
    kind, values = _sorted_out(name, values)
    if kind == "text":
        return CategoricalColumn(name, values)
    if kind == "date":
        return _from_array(name, _instants(values))
    return _numeric(name, _floats(name, values))


def _sorted_out(name: str, values: NDArray[Any]) -> tuple[str | None, NDArray[np.object_]]:
    """Python objects with None where one is missing, and what the others are: "number", "date" or "text", all alike."""
    values = _objects(None if is_missing(value) else value for value in values)
    kinds = [None if value is None else _kind(value) for value in values]
    kind = next((one for one, value in zip(kinds, values, strict=True) if value is not None), None)
    for row, value in enumerate(values):
        if value is not None and (kinds[row] is None or kinds[row] != kind):
            raise ColumnTypeError(
                "argument must be a string or a number in every row of a column, or a date in every row, not both and "
                f"nothing else: column {name!r}, row {row} holds {value!r} of type {type(value).__name__}"
            )
    return kind, values


def is_missing(value: object) -> bool:
    """Whether a single value says that nothing is known: None, NaN, NaT, ``pandas.NA``, or a masked one.

    Examples
    --------
    >>> from decimal import Decimal
    >>> [is_missing(value) for value in (None, float("nan"), Decimal("NaN"), np.datetime64("NaT"), 0, "")]
    [True, True, True, True, False, False]
    """
    if isinstance(value, (float, np.floating)):
        return math.isnan(value)
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    return value is None or value is np.ma.masked or type(value).__name__ in ("NAType", "NaTType")


def _kind(value: object) -> str | None:
    if isinstance(value, str):
        return "text"
    if isinstance(value, (date, np.datetime64)):
        return "date"
    # numpy counts durations among its integers.
    is_number = isinstance(value, (Real, Decimal, np.bool_)) and not isinstance(value, np.timedelta64)
    return "number" if is_number else None


def _instants(values: NDArray[np.object_]) -> NDArray[np.datetime64]:
    """Dates as UTC, to the microsecond."""
    return np.array([_instant(value) for value in values], dtype="datetime64[us]")


def _instant(value: Any) -> np.datetime64:
    if not isinstance(value, datetime):
        return np.datetime64("NaT" if value is None else value, "us")
    # pandas rounds no nanoseconds here, and differences of numpy do not end at the year 9999.
    offset = value.utcoffset()
    instant = np.datetime64(value.replace(tzinfo=None), "us")
    return instant if offset is None else instant - np.timedelta64(offset, "us")


def _floats(name: str, values: NDArray[np.object_]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else _float(name, row, value) for row, value in enumerate(values)])


def _float(name: str, row: int, value: Any) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    is_infinite = value.is_infinite() if isinstance(value, Decimal) else isinstance(value, (float, np.floating))
    if math.isinf(number) and not is_infinite:
        raise InputError(
            f"column {name!r} holds a number too large for a float (row {row}, of type {type(value).__name__}): the "
            "largest is 1.8e308; take its logarithm, or set it to missing."
        )
    return number


def _texts(series: nw.Series) -> NDArray[np.object_]:
    # Value by value: pandas, asked to cast categories 1, 2 to text, says "1" or "1.0" as values are missing or not.
    return _objects(None if is_missing(value) else str(value) for value in series.to_list())


def _numeric(name: str, values: NDArray[Any], unit: str = "") -> NumericColumn:
    # A zero is added because -0.0 and 0.0 are one value but two bit patterns.
    values = np.asarray(values, dtype=np.float64) + 0.0
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise InputError(
            f"column {name!r} holds an infinite value (row {infinite[0]}, inf; {len(infinite)} in all): values are "
            "finite, or missing (null, NaN)."
        )
    return NumericColumn(name, unit, values)


def _decimal_years(series: nw.Series) -> NDArray[np.float64]:
    if getattr(series.dtype, "time_zone", None) is not None:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    microseconds = series.cast(nw.Datetime("us")).dt.timestamp("us").cast(nw.Float64)
    return 1970.0 + microseconds.to_numpy() / (86_400e6 * 365.2425)
