"""Apply a trained model to a catalog."""

from __future__ import annotations

import polars as pl

from ddcl_tab.errors import InputError
from ddcl_tab.estimators import DDCLClassifier
from ddcl_tab.workflow.spreadsheet import rounded_shares
from ddcl_tab.workflow.train import did_you_mean

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
        Keep the objects whose recorded class is this one, in any case of letters.

    Returns
    -------
    polars.DataFrame
        One row an object: identifiers, the recorded class as ``recorded``, ``class``, ``p(CLASS)`` for each class
        (six significant digits), ``prototype``, ``prototype_weight``, ``reason``.

    Raises
    ------
    InputError
        No object has the recorded class ``only``; names those that are there.
    """
    recorded = frame[clf.target] if clf.target in frame.columns else pl.Series([None] * len(frame), dtype=pl.String)
    if only is not None:
        chosen = _recorded_as(recorded, only, clf.target)
        frame, recorded = frame.filter(chosen), recorded.filter(chosen)
    probability, q, reasons = clf.decide(frame)
    written = rounded_shares(probability)
    return pl.DataFrame(
        {name: frame[name] for name in _IDENTIFIERS if name in frame.columns}
        | {"recorded": recorded, "class": clf.classes_[probability.argmax(axis=1)]}
        | {f"p({name})": written[:, i] for i, name in enumerate(clf.classes_)}
        | {"prototype": q.argmax(axis=1), "prototype_weight": q.max(axis=1), "reason": reasons}
    )


def _recorded_as(recorded: pl.Series, only: str, target: str) -> pl.Series:
    """Which objects are recorded as a class that the user typed, in any case of letters."""
    names = recorded.cast(pl.String)
    known = names.unique().drop_nulls().sort().to_list()
    if not known:
        raise InputError(f"no object has a recorded class in {target}: leave --only out")
    # Two classes may differ in case alone: as typed comes first.
    typed = " ".join(only.split()).casefold()
    meant = [only] if only in known else [name for name in known if name.casefold() == typed]
    if not meant:
        raise InputError(
            f"no object has {target} {only!r}; the catalog has {', '.join(known)}{did_you_mean(only, known)}"
        )
    return names.is_in(meant).fill_null(False)


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
