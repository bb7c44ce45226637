"""Take apart what is handed to ``fit``: features, labels, groups, and names for display."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, column_or_1d

from ddcl_tab.catalog import launch_of
from ddcl_tab.errors import InputError
from ddcl_tab.features import is_frame

#: Value of a target column that means "nobody knows yet".
UNKNOWN = "UNKNOWN"


class Labelled(NamedTuple):
    """A frame whose labels stood in a column of it.

    Attributes
    ----------
    X : frame
        Rows with a label, without the target column.
    y : ndarray, shape (n,)
    kept : ndarray of bool, shape (all rows,)
        Which rows have a label.
    """

    X: Any
    y: NDArray[Any]
    kept: NDArray[np.bool_]


def take_target(X: Any, target: str) -> Labelled:
    """Split a frame into features and the labels in its column ``target``.

    Rows whose label is missing or ``"UNKNOWN"`` are left out.

    Raises
    ------
    InputError
        ``X`` is no frame, lacks the column, or has no labelled row.
    """
    if not is_frame(X):
        raise InputError(
            "DDCLClassifier requires y to be passed, but the target y is None: call fit(X, y), or fit(df) with a "
            f"pandas or polars frame that holds the target column {target!r}."
        )
    frame = nw.from_native(X, eager_only=True)
    if target not in frame.columns:
        raise InputError(
            f"the target column {target!r} is not among the columns {frame.columns}: "
            "set target=... to the column that holds the classes, or call fit(X, y)."
        )
    labels = np.array(frame[target].to_list(), dtype=object)
    kept = np.array([label is not None and label == label and label != UNKNOWN for label in labels], dtype=bool)
    if not kept.any():
        raise InputError(f"column {target!r} holds no label: every row is missing or {UNKNOWN!r}.")
    y = np.array([*labels[kept]])
    return Labelled(frame.drop(target).filter(kept.tolist()).to_native(), y, kept)


def check_labels(X: Any, y: Any) -> NDArray[Any]:
    """Labels as a one-dimensional array that fits ``X``.

    Raises
    ------
    ValueError
        Labels are continuous, missing, or not as many as rows.
    """
    y = column_or_1d(np.asarray(y), warn=True)
    if any(label is None or label != label for label in y):
        raise InputError("Input y contains NaN or missing labels: leave those rows out, or call fit(df).")
    if y.dtype.kind == "f" and np.isinf(y).any():
        raise InputError("Input y contains infinity: classes are finite numbers, texts or booleans.")
    check_consistent_length(X, y)
    check_classification_targets(y)
    return y


def check_weight(sample_weight: Any, n_rows: int) -> NDArray[np.float64]:
    """Weights as float64, shape (n_rows,): non-negative, finite, not all zero."""
    if sample_weight is None:
        return np.ones(n_rows)
    rows = np.empty((n_rows, 1))
    return _check_sample_weight(sample_weight, rows, dtype=np.float64, ensure_non_negative=True)


def check_groups(groups: Any, X: Any, n_rows: int) -> NDArray[np.int64] | None:
    """Group number of each row, or None where there are no groups.

    Without ``groups``, a frame with the columns ``OBJECT_ID`` and ``NORAD_CAT_ID`` is grouped by launch, for objects of
    one launch share an orbit.
    """
    if groups is None:
        named = {"OBJECT_ID", "NORAD_CAT_ID"}
        if not is_frame(X) or not named <= set(nw.from_native(X, eager_only=True).columns):
            return None
        groups = launch_of(nw.from_native(X, eager_only=True).select(*named).to_polars()).to_numpy()
    groups = column_or_1d(np.asarray(groups).astype(str))
    if len(groups) != n_rows:
        raise InputError(f"groups has {len(groups)} values for {n_rows} rows: give one group a row.")
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def library_of(X: Any) -> Literal["pandas", "polars"]:
    """Frame library of results for ``X``: ``"polars"`` for polars, else ``"pandas"``."""
    return "polars" if is_frame(X) and nw.from_native(X, eager_only=True).implementation.is_polars() else "pandas"


def display_names(X: Any, n_rows: int) -> list[str]:
    """What to call each row in tables for people; never a feature."""
    if is_frame(X):
        frame = nw.from_native(X, eager_only=True)
        known = [name for name in ("NORAD_CAT_ID", "OBJECT_NAME") if name in frame.columns]
        if known:
            columns = [frame[name].to_list() for name in known]
            return [" ".join(str(part) for part in row if part is not None) for row in zip(*columns, strict=True)]
    return [f"row {i}" for i in range(n_rows)]
