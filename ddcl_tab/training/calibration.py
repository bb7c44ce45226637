"""What a validation part can say: the scale of the logits, and whether one epoch is worse than another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

#: Scales are looked for between these.
MIN_SCALE, MAX_SCALE = 0.05, 20.0


def row_losses(logits: NDArray[np.float64], label: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cross-entropy of each row in nats, from logits ``(n, C)`` and labels ``(n,)``.

    Examples
    --------
    >>> row_losses(np.zeros((1, 2)), np.array([0])).round(4)
    array([0.6931])
    """
    return logsumexp(logits, axis=1) - logits[np.arange(len(label)), label]


def best_scale(logits: NDArray[np.float64], label: NDArray[np.int64], weight: NDArray[np.float64]) -> float:
    """Factor on the logits with the lowest weighted cross-entropy: temperature scaling (Guo et al., arXiv:1706.04599).

    Examples
    --------
    >>> logits = np.log(np.array([[0.99, 0.01]] * 4))  # 99 % sure, right three times out of four
    >>> scale = best_scale(logits, np.array([0, 0, 0, 1]), np.ones(4))
    >>> round(float(np.exp(scale * logits[0, 0]) / np.exp(scale * logits[0]).sum()), 3)
    0.75
    """
    found = minimize_scalar(
        lambda t: np.average(row_losses(np.exp(t) * logits, label), weights=weight),
        bounds=(np.log(MIN_SCALE), np.log(MAX_SCALE)),
        method="bounded",
    )
    return float(np.exp(found.x))


def is_worse(difference: NDArray[np.float64], weight: NDArray[np.float64], group: NDArray[np.int64]) -> bool:
    """Whether a mean loss difference is positive by more than its standard error, with groups as independent units.

    Parameters
    ----------
    difference, weight, group : ndarray, shape (n,)
        Loss minus reference loss of each row, its weight, the number of its group.

    Examples
    --------
    >>> is_worse(np.array([1.0, 1.1, 0.9, 1.0]), np.ones(4), np.arange(4))
    True
    >>> is_worse(np.array([1.0, 1.1, 0.9, 1.0]), np.ones(4), np.zeros(4, dtype=int))  # one group is no evidence
    False
    """
    by_group = np.bincount(np.unique(group, return_inverse=True)[1], weights=weight * difference)
    # Standard error of the sum if the groups' differences are independent with mean zero.
    return float(by_group.sum()) > float(np.sqrt((by_group**2).sum()))
