"""What a study was made for, so that it is not continued with something else."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from sklearn.base import BaseEstimator

from ddcl_tab.features import is_frame, is_missing

#: Parameters that do not decide what a trial gives, or are kept apart.
_LEFT_OUT = ("verbose", "device", "random_state")


def fingerprint(X: Any, y: Any, folds: Any, estimator: BaseEstimator, search: dict[str, Any]) -> dict[str, str]:
    """Short hashes of all that makes trials comparable.

    Parameters
    ----------
    X : frame or array
        The same in pandas, in polars and after a new start.
    y : array-like
    folds : list of (ndarray, ndarray)
    estimator : estimator
        Of its parameters, ``verbose``, ``device`` and ``random_state`` do not count.
    search : dict
        Everything else that decides.

    Returns
    -------
    dict
        ``"rows"``, ``"folds"``, ``"estimator parameters"`` and ``"search settings"``.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> fingerprint(np.eye(2), [0, 1], [], DummyClassifier(), {})["folds"]
    '4f53cda18c2b'
    """
    parameters = sorted(
        (name, _text(value)) for name, value in estimator.get_params().items() if name.split("__")[-1] not in _LEFT_OUT
    )
    return {
        "rows": digest([_columns(X), np.asarray(y).tolist()]),
        "folds": digest([(train.tolist(), test.tolist()) for train, test in folds]),
        "estimator parameters": digest([type(estimator).__name__, parameters]),
        "search settings": digest(sorted((name, _text(value)) for name, value in search.items())),
    }


def _columns(X: Any) -> Any:
    if not is_frame(X):
        return np.asarray(X).tolist()
    frame = nw.from_native(X, eager_only=True)
    # pandas says NaN or NA where polars says null.
    return [(name, [None if is_missing(v) else v for v in frame[name].to_list()]) for name in frame.columns]


def _text(value: Any) -> str:
    """Text of a parameter that is the same in another process: no address in memory; of an estimator its class."""
    return type(value).__name__ if isinstance(value, BaseEstimator) else re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def digest(value: Any) -> str:
    """Short hash of the text of a value."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]
