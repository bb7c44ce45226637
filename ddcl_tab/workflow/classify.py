"""Apply a trained model to a catalog."""

from __future__ import annotations

import polars as pl

from ddcl_tab.errors import InputError
from ddcl_tab.estimators import DDCLClassifier

_IDENTIFIERS = ("NORAD_CAT_ID", "OBJECT_ID", "OBJECT_NAME")


def classify_catalog(clf: DDCLClassifier, frame: pl.DataFrame, only: str | None) -> pl.DataFrame:
    """Class, probabilities, top prototype and a one-sentence reason for each object.

    Parameters
    ----------
    clf : DDCLClassifier
        Fitted.
    frame : polars.DataFrame
        Catalog with the columns of the model.
    only : str or None
        Keep the objects whose recorded class is this one.

    Returns
    -------
    polars.DataFrame
        One row an object: identifiers, the recorded class as ``recorded``, ``class``, ``p(CLASS)`` for each class,
        ``prototype``, ``prototype_weight``, ``reason``.

    Raises
    ------
    InputError
        No object has the recorded class ``only``.
    """
    recorded = frame[clf.target] if clf.target in frame.columns else pl.Series([None] * len(frame), dtype=pl.String)
    if only is not None:
        chosen = (recorded == only).fill_null(False)
        if not chosen.any():
            known = ", ".join(sorted(str(value) for value in recorded.unique().drop_nulls()))
            raise InputError(f"no object has {clf.target} {only!r}; the catalog has {known}")
        frame, recorded = frame.filter(chosen), recorded.filter(chosen)
    probability, q, reasons = clf.decide(frame)
    return pl.DataFrame(
        {name: frame[name] for name in _IDENTIFIERS if name in frame.columns}
        | {"recorded": recorded, "class": clf.classes_[probability.argmax(axis=1)]}
        | {f"p({name})": probability[:, i] for i, name in enumerate(clf.classes_)}
        | {"prototype": q.argmax(axis=1), "prototype_weight": q.max(axis=1), "reason": reasons}
    )


def surest(table: pl.DataFrame, n: int) -> pl.DataFrame:
    """The ``n`` objects with the highest class probability, in the columns that fit a screen."""
    probability = pl.max_horizontal(pl.selectors.starts_with("p("))
    shown = table.with_columns(probability=probability).sort("probability", descending=True).head(n)
    return shown.select(
        pl.selectors.by_name("NORAD_CAT_ID", "OBJECT_NAME", require_all=False),
        "class",
        pl.col("probability").round(4),
        "reason",
    )
