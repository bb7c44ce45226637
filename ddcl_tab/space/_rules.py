"""Rules on the rows of a catalog: which rows break which, and what a reader does about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from ddcl_tab.errors import CatalogError, ConfigurationError

OnError = Literal["raise", "collect"]

BAD_SCHEMA = pl.Schema(
    {
        "file": pl.String(),
        "line": pl.Int64(),
        "NORAD_CAT_ID": pl.String(),
        "column": pl.String(),
        "value": pl.String(),
        "rule": pl.String(),
    }
)
"""Columns of the frame of broken rules: one row per broken rule, values as written in the file."""


@dataclass(frozen=True)
class Rule:
    """One rule that rows of a frame have to obey.

    Parameters
    ----------
    column : str
        Name shown in the error.
    text : str or polars.Expr
        The rule as a sentence; an expression where the sentence differs by row.
    broken : polars.Expr
        True where a row breaks it; null counts as obeyed.
    value : polars.Expr
        The value as written.
    line : polars.Expr
        Line (or record number) in the file.
    """

    column: str
    text: str | pl.Expr
    broken: pl.Expr
    value: pl.Expr
    line: pl.Expr


def check_on_error(on_error: str) -> None:
    """Raise `ConfigurationError` unless `on_error` is one of its two values.

    Parameters
    ----------
    on_error : str
        ``"raise"`` or ``"collect"``.

    Raises
    ------
    ConfigurationError
        Any other value.

    Examples
    --------
    >>> check_on_error("skip")
    Traceback (most recent call last):
    ddcl_tab.errors.ConfigurationError: on_error is 'raise' or 'collect', not 'skip'
    """
    if on_error not in ("raise", "collect"):
        raise ConfigurationError(f"on_error is 'raise' or 'collect', not {on_error!r}")


def broken_rules(frame: pl.DataFrame, rules: Sequence[Rule], *, file: object, number: pl.Expr) -> pl.DataFrame:
    """Find every broken rule of every row.

    Parameters
    ----------
    frame : polars.DataFrame
        Rows to check.
    rules : sequence of Rule
        What to check.
    file : object
        Name of the file, repeated in each row of the result.
    number : polars.Expr
        The catalog number as written.

    Returns
    -------
    polars.DataFrame
        Columns of `BAD_SCHEMA` and ``row``, the index (from 0) of the row in `frame`; sorted by row, then by rule.

    Examples
    --------
    >>> frame = pl.DataFrame({"line": [2, 3], "n": ["5", "11"], "PERIOD": ["90.1", "-1"]})
    >>> period = pl.col("PERIOD")
    >>> rule = Rule("PERIOD", "PERIOD is above 0 min", period.cast(float) <= 0, period, pl.col("line"))
    >>> broken_rules(frame, [rule], file="a.csv", number=pl.col("n")).row(0)
    (1, 'a.csv', 3, '11', 'PERIOD', '-1', 'PERIOD is above 0 min')
    """
    masks = frame.select(rule.broken.fill_null(False).alias(str(i)) for i, rule in enumerate(rules))
    found = [pl.DataFrame(schema={"row": pl.Int64(), **BAD_SCHEMA})]
    for mask, rule in zip(masks.iter_columns(), rules, strict=True):
        if not mask.any():
            continue
        found.append(
            frame.with_row_index("row")
            .filter(mask)
            .select(
                pl.col("row").cast(pl.Int64),
                pl.lit(str(file)).alias("file"),
                rule.line.cast(pl.Int64).alias("line"),
                number.cast(pl.String).alias("NORAD_CAT_ID"),
                pl.lit(rule.column).alias("column"),
                rule.value.cast(pl.String).alias("value"),
                (pl.lit(rule.text) if isinstance(rule.text, str) else rule.text).alias("rule"),
            )
        )
    return pl.concat(found).sort("row", maintain_order=True)


def rows_without(frame: pl.DataFrame, bad: pl.DataFrame) -> pl.DataFrame:
    """Rows of a frame that break no rule, in their order; `bad` is from `broken_rules`."""
    return frame.with_row_index("row").filter(~pl.col("row").is_in(bad["row"].unique().implode())).drop("row")


def good_or_error(
    good: pl.DataFrame, bad: pl.DataFrame, on_error: OnError, error: Callable[[pl.DataFrame], CatalogError]
) -> pl.DataFrame | tuple[pl.DataFrame, pl.DataFrame]:
    """What a reader returns: the good rows, with the broken rules where they are collected.

    Parameters
    ----------
    good, bad : polars.DataFrame
        Rows that obey the rules, and the broken rules of the others.
    on_error : {"raise", "collect"}
    error : callable
        Makes of `bad` the error of its first rule.

    Returns
    -------
    polars.DataFrame or tuple of two

    Raises
    ------
    CatalogError
        With ``"raise"``, the first broken rule.

    Examples
    --------
    >>> good_or_error(pl.DataFrame({"A": [1]}), pl.DataFrame(), "raise", lambda bad: first_error(bad, "")).height
    1
    """
    if on_error == "collect":
        return good, bad
    if not bad.is_empty():
        raise error(bad)
    return good


def first_error(bad: pl.DataFrame, remedy: str, *, n_lines: int | None = None) -> CatalogError:
    """Error that shows the first broken rule and counts the others.

    Parameters
    ----------
    bad : polars.DataFrame
        Result of `broken_rules`, not empty.
    remedy : str
        What to do about the first one.
    n_lines : int, optional
        How many lines of the file have errors; default: those of `bad`.

    Returns
    -------
    CatalogError
        To be raised.

    Examples
    --------
    >>> row = {"file": "a.csv", "line": 3, "NORAD_CAT_ID": "11", "column": "PERIOD", "value": "-1", "rule": "above 0"}
    >>> str(first_error(pl.DataFrame([row]), "Correct it."))
    "a.csv, line 3, column PERIOD: value '-1' breaks the rule: above 0. Correct it."
    """
    first = bad.row(0, named=True)
    others = (bad["line"].n_unique() if n_lines is None else n_lines) - 1
    more = f" {others} more {'line has' if others == 1 else 'lines have'} errors." if others else ""
    return CatalogError(
        first["rule"],
        file=first["file"],
        line=first["line"],
        column=first["column"],
        value=first["value"],
        remedy=remedy + more,
    )
