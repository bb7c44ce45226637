"""What commands print and write: text tables in Markdown, and CSV in which no name runs as a formula."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ddcl_tab._files import write_whole
from ddcl_tab.app._evaluation import OURS
from ddcl_tab.estimators._prototypes import without_number

#: Text that begins so is a formula to some spreadsheet. Source: OWASP, "CSV Injection".
_FORMULA = r"^([=+\-@\t\r\n])"
_ESCAPED = r"^'([=+\-@\t\r\n])"
#: Significant digits of probabilities and all other numbers below 1; decimals of larger ones.
DIGITS = 6
#: More than rounding leaves over, however many shares there are.
_LEFT_OVER = 1e-4


def write_csv(path: Path, table: pl.DataFrame) -> None:
    """Write a table with an apostrophe before every text that a spreadsheet would take for a formula.

    Numbers are never texts, negative ones neither; they are rounded by :func:`rounded`. Missing ones are empty.

    Parameters
    ----------
    path : path
    table : polars.DataFrame

    Raises
    ------
    WriteError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_csv(Path(folder) / "a.csv", pl.DataFrame({"name": ["=1+1", "A-1"], "x": [-1.0, 2.0]}))
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
    """Texts of a table that :func:`write_csv` wrote, without the apostrophes that it set."""
    return text.str.replace(_ESCAPED, "${1}")


SYNTHETIC_NOTE = "SYNTHETIC catalog: made by ddcl-tab synth, no real object in it"


def as_markdown(frame: pl.DataFrame) -> str:
    """Markdown table of a small frame; control characters, which could steer a terminal, become ``\ufffd``.

    Examples
    --------
    >>> print(as_markdown(pl.DataFrame({"prototype": [0], "share": [0.25]})))
    | prototype | share |
    |-----------|-------|
    | 0         | 0.25  |
    """
    with pl.Config(
        tbl_formatting="MARKDOWN",
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_width_chars=1000,
        fmt_str_lengths=500,
        float_precision=None,
    ):
        return str(frame.with_columns(pl.col(pl.String).str.replace_all(r"\p{C}", "\ufffd")))


def score_table(metrics: dict[str, Any]) -> str:
    """Ours beside the peers: one line a model."""
    models = {OURS: metrics} | metrics["peers"]
    columns = ("macro_f1", "accuracy", "balanced_accuracy", "log_loss", "ece")
    rows = [
        {"model": name} | {c: f"{m[c]:.3f}" for c in columns} | {"fit": f"{m['fit_seconds']:.0f} s"}
        for name, m in models.items()
    ]
    return as_markdown(pl.DataFrame(rows))


def class_table(metrics: dict[str, Any]) -> str:
    """Precision, recall and F1 of ours for each class."""
    rows = [
        {"class": name} | {c: f"{m[c]:.3f}" for c in ("precision", "recall", "f1")} | {"test rows": m["support"]}
        for name, m in metrics["per_class"].items()
    ]
    return as_markdown(pl.DataFrame(rows))


def prototype_table(prototypes: pl.DataFrame, classes: list[str]) -> str:
    """Prototypes: share of the rows, own class with its probability, name, medoid.

    Parameters
    ----------
    prototypes : polars.DataFrame
        ``prototypes_`` of a classifier.
    classes : list of str
    """
    rows = []
    for row in prototypes.iter_rows(named=True):
        says = max(classes, key=lambda name: row[f"says {name}"])
        rows.append(
            {
                "#": row["prototype"],
                "share": f"{100 * row['share']:.1f} %",
                "says": f"{says} {100 * row[f'says {says}']:.0f} %",
                "members are": f"{says} {100 * row[f'share {says}']:.0f} %",
                "name": without_number(row["name"], row["prototype"]).removeprefix(f"{says}, "),
                "most typical": row["medoid"],
            }
        )
    return as_markdown(pl.DataFrame(rows))


def run_summary(metrics: dict[str, Any]) -> str:
    """The run in a few lines: rows, split, soundness."""
    lines = [SYNTHETIC_NOTE] if metrics["synthetic"] else []
    lines += [
        f"{metrics['n_train']} rows to train, {metrics['n_test']} to test, split {metrics['split']}; "
        f"{metrics['n_left_out']} rows without a known {metrics['target']} left out",
        f"features: {', '.join(metrics['features'])}",
        f"{metrics['prototypes_in_use']} of {metrics['n_prototypes']} prototypes in use (over 1/(4K) of the assignment "
        f"mass), {metrics['effective_prototypes']:.1f} effective prototypes per row; "
        f"identity |L_q - L_rec - V| / L_q at most {metrics['identity_residual_max']:.1e} over {metrics['epochs']} "
        f"epochs; epoch {metrics['best_epoch']} kept; training {metrics['stability']}",
    ]
    return "\n".join(lines)
