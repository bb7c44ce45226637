"""Temperature scaling: one factor on all logits, fitted on validation rows (Guo et al., arXiv:1706.04599)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

#: Scales are looked for between these.
MIN_SCALE, MAX_SCALE = 0.05, 20.0


def weighted_loss(logits: NDArray[np.float64], label: NDArray[np.int64], weight: NDArray[np.float64]) -> float:
    """Weighted mean cross-entropy in nats of logits ``(n, C)``, labels ``(n,)``, weights ``(n,)``.

    Examples
    --------
    >>> round(weighted_loss(np.zeros((1, 2)), np.array([0]), np.ones(1)), 4)
    0.6931
    """
    entropy = logsumexp(logits, axis=1) - logits[np.arange(len(label)), label]
    return float(np.average(entropy, weights=weight))


def best_scale(
    logits: NDArray[np.float64], label: NDArray[np.int64], weight: NDArray[np.float64]
) -> tuple[float, float]:
    """Factor on the logits with the lowest cross-entropy, and that cross-entropy in nats.

    Examples
    --------
    >>> logits = np.log(np.array([[0.99, 0.01]] * 4))  # 99 % sure, right three times out of four
    >>> scale, loss = best_scale(logits, np.array([0, 0, 0, 1]), np.ones(4))
    >>> round(float(np.exp(scale * logits[0, 0]) / np.exp(scale * logits[0]).sum()), 3)
    0.75
    """
    found = minimize_scalar(
        lambda t: weighted_loss(np.exp(t) * logits, label, weight),
        bounds=(np.log(MIN_SCALE), np.log(MAX_SCALE)),
        method="bounded",
    )
    return float(np.exp(found.x)), float(found.fun)
