"""CSV tables that a person may open in a spreadsheet.

Names from a catalog must not run there as formulas, and numbers have the digits that mean something.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ddcl_tab.atomic import write_whole

#: Text that begins so is a formula to some spreadsheet. Source: OWASP, "CSV Injection".
_FORMULA = r"^([=+\-@\t\r\n])"
_ESCAPED = r"^'([=+\-@\t\r\n])"
#: Significant digits of probabilities and all other numbers below 1; decimals of larger ones.
DIGITS = 6
#: More than rounding leaves over, however many shares there are.
_LEFT_OVER = 1e-4


def write_table(path: Path, table: pl.DataFrame) -> None:
    """Write a table with an apostrophe before every text that a spreadsheet would take for a formula.

    Numbers are never texts, negative ones neither; they are rounded by :func:`rounded`. Missing ones are empty.

    Raises
    ------
    WriteError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_table(Path(folder) / "a.csv", pl.DataFrame({"name": ["=1+1", "A-1"], "x": [-1.0, 2.0]}))
    ...     print((Path(folder) / "a.csv").read_text())
    name,x
    '=1+1,-1.0
    A-1,2.0
    <BLANKLINE>
    """
    numbers = [
        pl.Series(column.name, [None if value is None else rounded(value) for value in column], dtype=pl.Float64)
        for column in table.fill_nan(None).select(pl.selectors.float())
    ]
    escaped = table.with_columns(pl.col(pl.String).str.replace(_FORMULA, "'${1}"), *numbers)
    write_whole(path, escaped.write_csv())


def rounded(value: float) -> float:
    """A number to six significant digits if it is below 1, as probabilities are, and else to six decimals.

    So a decimal year keeps its day and a large number its units; what rounding in binary has added goes.

    Examples
    --------
    >>> rounded(0.049985862620495446), rounded(1.234567891e-7), rounded(26480.135000000002), rounded(2024.123456789)
    (0.0499859, 1.23457e-07, 26480.135, 2024.123457)
    """
    return float(f"{value:.{DIGITS}g}") if abs(value) < 1.0 else round(value, DIGITS)


def rounded_shares(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities or shares as :func:`rounded` has them, whose sum in each row stays 1 to within 5e-7.

    The largest of a row takes what rounding each has left over.

    Parameters
    ----------
    shares : ndarray, shape (n, m)
        A row that does not sum to 1, such as that of a prototype without members, is only rounded.

    Examples
    --------
    >>> rounded_shares(np.array([[0.3333335, 0.3333335, 0.333333], [0.0, 0.0, 0.0]])).tolist()
    [[0.333333, 0.333334, 0.333333], [0.0, 0.0, 0.0]]
    """
    each = np.vectorize(rounded, otypes=[float])
    result = each(shares)
    left = 1.0 - result.sum(axis=1, keepdims=True)
    largest = shares.argmax(axis=1)[:, None]
    mended = np.take_along_axis(result, largest, axis=1) + np.where(np.abs(left) < _LEFT_OVER, left, 0.0)
    np.put_along_axis(result, largest, each(mended), axis=1)
    return result


def with_rounded_shares(table: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """A table in which some columns, that sum to 1 in each row, are as :func:`rounded_shares` has them."""
    return table.with_columns(
        pl.DataFrame(rounded_shares(table.select(names).to_numpy()), schema=list(names), orient="row")
    )


def without_empty_columns(table: pl.DataFrame) -> pl.DataFrame:
    """A table without the columns that say nothing in any row: null, NaN or an empty text.

    Examples
    --------
    >>> without_empty_columns(pl.DataFrame({"a": [1, None], "b": [None, None], "c": ["", None]})).columns
    ['a']
    """
    said = table.fill_nan(None).with_columns(pl.col(pl.String).replace("", None))
    return table.select(column.name for column in said if column.null_count() < len(column))


def as_written(text: pl.Expr) -> pl.Expr:
    """Texts of a table that :func:`write_table` wrote, without the apostrophes that it set."""
    return text.str.replace(_ESCAPED, "${1}")
