"""How good predicted probabilities are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_recall_fscore_support

#: Bins of equal width of the expected calibration error.
N_BINS = 15


def expected_calibration_error(correct: NDArray[np.bool_], confidence: NDArray[np.float64]) -> float:
    """Expected calibration error of the predicted class, 15 bins of equal width (Guo et al., arXiv:1706.04599).

    Parameters
    ----------
    correct : ndarray of bool, shape (n,)
    confidence : ndarray, shape (n,)
        Probability of the predicted class.

    Examples
    --------
    >>> round(expected_calibration_error(np.array([True, False]), np.array([0.9, 0.9])), 3)
    0.4
    """
    edges = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    count = np.bincount(edges, minlength=N_BINS)
    gap = np.bincount(edges, weights=correct - confidence, minlength=N_BINS)
    return float(np.abs(gap[count > 0]).sum() / len(correct))


def score(y: NDArray[Any], probability: NDArray[np.float64], classes: NDArray[Any]) -> dict[str, Any]:
    """Score class probabilities.

    Parameters
    ----------
    y : ndarray, shape (n,)
        True classes.
    probability : ndarray, shape (n, C)
    classes : ndarray, shape (C,)
        Class of each column; a true class that is not among them counts as wrong and as probability zero.

    Returns
    -------
    dict
        ``accuracy``, ``balanced_accuracy``, ``macro_f1``, ``log_loss`` (nats), ``ece``, and ``per_class`` with
        precision, recall, f1 and support.
    """
    every = np.unique(np.concatenate([y, classes]))
    full = np.zeros((len(y), len(every)))
    full[:, np.searchsorted(every, classes)] = probability
    predicted = every[full.argmax(axis=1)]
    precision, recall, f1, support = precision_recall_fscore_support(y, predicted, labels=every, zero_division=0.0)
    clipped = np.clip(full, 1e-15, None)
    return {
        "accuracy": float(accuracy_score(y, predicted)),
        "balanced_accuracy": float(np.mean(recall[support > 0])),
        "macro_f1": float(f1_score(y, predicted, labels=np.unique(y), average="macro", zero_division=0.0)),
        "log_loss": float(log_loss(y, clipped / clipped.sum(axis=1, keepdims=True), labels=every)),
        "ece": expected_calibration_error(predicted == y, full.max(axis=1)),
        "per_class": {
            str(name): {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(support[i]),
            }
            for i, name in enumerate(every)
        },
    }
