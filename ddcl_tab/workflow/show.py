"""Results as text tables (Markdown, so that they can be pasted)."""

from __future__ import annotations

from typing import Any

import polars as pl

from ddcl_tab.estimators.naming import without_number
from ddcl_tab.workflow.train import OURS

SYNTHETIC_NOTE = "SYNTHETIC catalog: made by ddcl-tab synth, no real object in it"


def as_table(frame: pl.DataFrame) -> str:
    """Markdown table of a small frame; control characters, which could steer a terminal, become ``\ufffd``.

    Examples
    --------
    >>> print(as_table(pl.DataFrame({"prototype": [0], "share": [0.25]})))
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
    return as_table(pl.DataFrame(rows))


def class_table(metrics: dict[str, Any]) -> str:
    """Precision, recall and F1 of ours for each class."""
    rows = [
        {"class": name} | {c: f"{m[c]:.3f}" for c in ("precision", "recall", "f1")} | {"test rows": m["support"]}
        for name, m in metrics["per_class"].items()
    ]
    return as_table(pl.DataFrame(rows))


def prototype_table(prototypes: pl.DataFrame, classes: list[str]) -> str:
    """Prototypes: share of the rows, own class with its probability, name, medoid."""
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
    return as_table(pl.DataFrame(rows))


def summary(metrics: dict[str, Any]) -> str:
    """The run in a few lines: rows, split, soundness."""
    lines = [SYNTHETIC_NOTE] if metrics["synthetic"] else []
    lines += [
        f"{metrics['n_train']} rows to train, {metrics['n_test']} to test, split {metrics['split']}; "
        f"{metrics['n_left_out']} rows without a known {metrics['target']} left out",
        f"features: {', '.join(metrics['features'])}",
        f"{metrics['prototypes_in_use']} of {metrics['n_prototypes']} prototypes in use (over 1/(4K) of the assignment "
        f"mass), {metrics['effective_prototypes']:.1f} in play per row; "
        f"identity |L_q - L_rec - V| / L_q at most {metrics['identity_residual_max']:.1e} over {metrics['epochs']} "
        f"epochs; epoch {metrics['best_epoch']} kept; training {metrics['stability']}",
    ]
    return "\n".join(lines)
