"""What commands print, write and read back: text tables in Markdown, and CSV in which no name runs as a formula."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ddcl_tab._files import write_whole
from ddcl_tab.app._evaluation import OURS
from ddcl_tab.errors import CatalogError, InputError
from ddcl_tab.estimators._prototypes import without_number
from ddcl_tab.space._content import separator_of
from ddcl_tab.space._join import launch_of
from ddcl_tab.space._text import read_text

if TYPE_CHECKING:
    from ddcl_tab.estimators._classifier import DDCLClassifier

#: Text that begins so is a formula to some spreadsheet. Source: OWASP, "CSV Injection".
_FORMULA = r"^([=+\-@\t\r\n])"
_ESCAPED = r"^'([=+\-@\t\r\n])"
#: A negative number is none, whether it stands among numbers or among texts.
_NEGATIVE = r"^-[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?$"
#: Significant digits of probabilities and all other numbers below 1; decimals of larger ones.
DIGITS = 6
#: More than rounding leaves over, however many shares there are.
_LEFT_OVER = 1e-4


def write_csv(path: Path, table: pl.DataFrame) -> None:
    """Write a table with an apostrophe before every text that a spreadsheet would take for a formula.

    Negative numbers are no formulas, not even in a column of texts. Columns of numbers are rounded by :func:`rounded`.
    Missing values are empty.

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
    texts = [
        pl.when(pl.col(name).str.contains(_NEGATIVE)).then(name).otherwise(pl.col(name).str.replace(_FORMULA, "'${1}"))
        for name in table.select(pl.selectors.string()).columns
    ]
    table = table.with_columns(*texts, *numbers)
    write_whole(path, table.write_csv())


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


#: Prototypes that fit a screen.
N_PRINTED = 20


def prototype_table(prototypes: pl.DataFrame, classes: list[str]) -> str:
    """The largest prototypes: share of all column tokens, the class they vote for, classes of their rows, name, medoid.

    Parameters
    ----------
    prototypes : polars.DataFrame
        ``prototypes_`` of a classifier.
    classes : list of str
    """
    rows = []
    for row in prototypes.head(N_PRINTED).iter_rows(named=True):
        votes_for = max(classes, key=lambda name: row[f"votes {name}"])
        rows.append(
            {
                "#": row["prototype"],
                "share": f"{100 * row['share']:.1f} %",
                "votes for": f"{votes_for} {row[f'votes {votes_for}']:+.2f}",
                "its rows are": f"{votes_for} {100 * row[f'share {votes_for}']:.0f} %",
                "name": without_number(row["name"], row["prototype"]).removesuffix(f": {votes_for}"),
                "most typical": row["medoid"],
            }
        )
    rest = len(prototypes) - len(rows)
    return as_markdown(pl.DataFrame(rows)) + (f"\n\nand {rest} smaller ones in prototypes.csv" if rest else "")


def run_summary(metrics: dict[str, Any]) -> str:
    """The run in a few lines: rows, split, soundness."""
    lines = [SYNTHETIC_NOTE] if metrics["synthetic"] else []
    lines += [
        f"{metrics['n_train']} rows to train, {metrics['n_test']} to test, split {metrics['split']}; "
        f"{metrics['n_left_out']} rows without a known {metrics['target']} left out",
        f"features: {', '.join(metrics['features'])}",
        f"{metrics['prototypes_in_use']} of {metrics['n_prototypes']} prototypes in use (over 1/(4K) of the assignment "
        f"mass), {metrics['effective_prototypes']:.1f} effective prototypes per column; "
        f"identity |L_q - L_rec - V| / L_q at most {metrics['identity_residual_max']:.1e} over {metrics['epochs']} "
        f"epochs; epoch {metrics['best_epoch']} kept; training {metrics['stability']}",
    ]
    return "\n".join(lines)


def held_out_frame(
    frame: pl.DataFrame, target: str, probability: NDArray[np.float64], classes: NDArray[Any]
) -> pl.DataFrame:
    """What the model said of the rows that it was not trained on, for whoever scores it later.

    Parameters
    ----------
    frame : polars.DataFrame
        The rows held out.
    target : str
        Column of the recorded classes.
    probability : ndarray, shape (n, C)
    classes : ndarray, shape (C,)

    Returns
    -------
    polars.DataFrame
        ``NORAD_CAT_ID``, ``launch``, the recorded class as ``recorded``, ``p(CLASS)`` for each class.

    Examples
    --------
    >>> frame = pl.DataFrame({"NORAD_CAT_ID": [90001], "OBJECT_ID": ["2031-007C"], "OBJECT_TYPE": ["DEBRIS"]})
    >>> held_out_frame(frame, "OBJECT_TYPE", np.array([[0.9, 0.1]]), np.array(["DEBRIS", "PAYLOAD"])).row(0)
    (90001, '2031-007', 'DEBRIS', 0.9, 0.1)
    """
    return pl.DataFrame(
        {"NORAD_CAT_ID": frame["NORAD_CAT_ID"], "launch": launch_of(frame), "recorded": frame[target]}
        | {f"p({name})": probability[:, i] for i, name in enumerate(classes)}
    )


class HeldOut(NamedTuple):
    """What ``train`` wrote of the rows held out, as arrays.

    Attributes
    ----------
    number : list of int
        Catalog numbers.
    launch, recorded : ndarray of str, shape (n,)
    probability : ndarray, shape (n, C)
    """

    number: list[int]
    launch: NDArray[np.object_]
    recorded: NDArray[np.object_]
    probability: NDArray[np.float64]

    @property
    def predicted(self) -> NDArray[np.intp]:
        """Index of the predicted class of each row."""
        return self.probability.argmax(axis=1)


def held_out_arrays(table: pl.DataFrame, classes: NDArray[Any]) -> HeldOut:
    """The rows that :func:`held_out_frame` made, as arrays.

    Parameters
    ----------
    table : polars.DataFrame
    classes : ndarray, shape (C,)
        Their order is that of the probabilities.

    Returns
    -------
    HeldOut
    """
    return HeldOut(
        table["NORAD_CAT_ID"].to_list(),
        table["launch"].to_numpy(),
        table["recorded"].cast(pl.String).to_numpy(),
        table.select([f"p({name})" for name in classes]).to_numpy(),
    )


def read_held_out(path: Path, clf: DDCLClassifier) -> pl.DataFrame | None:
    """What ``train`` wrote of the rows held out; None without the file.

    Parameters
    ----------
    path : path
    clf : DDCLClassifier
        The model beside the file.

    Returns
    -------
    polars.DataFrame or None
        As :func:`held_out_frame` makes it.

    Raises
    ------
    InputError
        It is no such table, or of a model with other classes.
    """
    if not path.is_file():
        return None
    wanted = {"NORAD_CAT_ID": pl.Int64, "launch": pl.String, "recorded": pl.String}
    wanted |= {f"p({name})": pl.Float64 for name in clf.classes_}
    try:
        text = read_text(path)
        separator_of(text, path, ",")  # a spreadsheet may have saved it again
        table = pl.read_csv(io.BytesIO(text.encode()), schema_overrides=wanted)
        table = table.with_columns(as_written(pl.col(pl.String)))
    except (pl.exceptions.PolarsError, CatalogError) as error:
        raise InputError(f"{path}: not a table as ddcl-tab train writes it ({error}). Train again.") from error
    if table.columns != list(wanted) or not len(table) or sum(table.null_count().row(0)):
        raise InputError(
            f"{path}: a table of held-out rows has the columns {', '.join(wanted)} and no gaps; this one has "
            f"{', '.join(table.columns)} and {len(table)} rows. Put the file of this model's training there."
        )
    return table
