"""CSV tables that a person may open in a spreadsheet: names from a catalog must not run there as formulas."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ddcl_tab.atomic import write_whole

#: Text that begins so is a formula to some spreadsheet. Source: OWASP, "CSV Injection".
_FORMULA = r"^([=+\-@\t\r\n])"
_ESCAPED = r"^'([=+\-@\t\r\n])"


def write_table(path: Path, table: pl.DataFrame) -> None:
    """Write a table with an apostrophe before every text that a spreadsheet would take for a formula.

    Numbers stay as they are, negative ones too.

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
    write_whole(path, table.with_columns(pl.col(pl.String).str.replace(_FORMULA, "'${1}")).write_csv())


def as_written(text: pl.Expr) -> pl.Expr:
    """Texts of a table that :func:`write_table` wrote, without the apostrophes that it set."""
    return text.str.replace(_ESCAPED, "${1}")
