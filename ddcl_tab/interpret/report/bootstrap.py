"""Scores of held-out rows with intervals over launches: objects of one launch are no independent proof."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Resamples of the launches.
N_RESAMPLES = 2000
#: Part of the resamples inside an interval.
LEVEL = 0.95
#: Bins of equal width of the expected calibration error, as in ``metrics.json``.
N_BINS = 15
#: Probabilities below this count as this in the log loss.
FLOOR = 1e-15


@dataclass(frozen=True)
class Estimate:
    """A score with its interval.

    Attributes
    ----------
    value : float
        Of the rows as they are.
    low, high : float
        Ends of the percentile interval over resampled launches.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class.

    Attributes
    ----------
    name : str
    support : int
        Held-out rows recorded as this class.
    precision, recall, f1 : Estimate
    """

    name: str
    support: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True)
class Scores:
    """Scores of held-out rows.

    Attributes
    ----------
    figures : dict of Estimate
        ``macro_f1``, ``accuracy``, ``balanced_accuracy``, ``log_loss`` (nats), ``ece``.
    classes : list of ClassScore
    confusion : ndarray of int, shape (C, C)
        Rows are recorded classes, columns the model's, in the order of ``classes``.
    n_rows, n_clusters : int
    """

    figures: dict[str, Estimate]
    classes: list[ClassScore]
    confusion: NDArray[np.int64]
    n_rows: int
    n_clusters: int


def bootstrap_scores(
    recorded: NDArray[Any],
    probability: NDArray[np.float64],
    classes: NDArray[Any],
    cluster: NDArray[Any],
    *,
    random_state: int = 0,
) -> Scores:
    """Score class probabilities, with 95 % intervals over clusters drawn with replacement.

    Parameters
    ----------
    recorded : ndarray, shape (n,)
    probability : ndarray, shape (n, C)
    classes : ndarray, shape (C,)
        Class of each column; a recorded class that is not among them counts as wrong and as probability zero.
    cluster : ndarray, shape (n,)
        Rows of one cluster are drawn together.
    random_state : int, default=0

    Returns
    -------
    Scores

    Examples
    --------
    >>> y = np.array(["a", "a", "b", "b"])
    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    >>> scores = bootstrap_scores(y, p, np.array(["a", "b"]), np.array([0, 1, 2, 3]))
    >>> scores.figures["accuracy"].value, scores.confusion.tolist()
    (0.75, [[2, 0], [1, 1]])
    """
    every = np.unique(np.concatenate([recorded.astype(str), classes.astype(str)]))
    full = np.zeros((len(recorded), len(every)))
    full[:, np.searchsorted(every, classes.astype(str))] = probability
    true, n = np.searchsorted(every, recorded.astype(str)), len(every)
    names, group = np.unique(cluster.astype(str), return_inverse=True)
    sums = _per_cluster(true, full, group, len(names))
    draws = np.random.default_rng(random_state).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=N_RESAMPLES
    )
    point = _figures(sums.sum(axis=0, keepdims=True), n)
    drawn = _figures(draws.astype(np.float64) @ sums, n)
    estimates = {name: _estimate(point[name], drawn[name]) for name in point}
    confusion = sums[:, : n * n].sum(axis=0).reshape(n, n).astype(np.int64)
    return Scores(
        figures={name: part[0] for name, part in estimates.items() if len(part) == 1},
        classes=[
            ClassScore(
                str(name),
                int(confusion[i].sum()),
                estimates["precision"][i],
                estimates["recall"][i],
                estimates["f1"][i],
            )
            for i, name in enumerate(every)
        ],
        confusion=confusion,
        n_rows=len(recorded),
        n_clusters=len(names),
    )


def _per_cluster(
    true: NDArray[np.intp], full: NDArray[np.float64], group: NDArray[np.intp], n_clusters: int
) -> NDArray[np.float64]:
    """What all scores follow from, summed in each cluster: confusion counts, log loss, calibration gap of each bin."""
    n, predicted, confidence = full.shape[1], full.argmax(axis=1), full.max(axis=1)
    clipped = np.clip(full, FLOOR, None)
    loss = -np.log(clipped[np.arange(len(true)), true] / clipped.sum(axis=1))
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    sums = np.zeros((n_clusters, n * n + 1 + N_BINS))
    np.add.at(sums, (group, true * n + predicted), 1.0)
    np.add.at(sums, (group, n * n), loss)
    np.add.at(sums, (group, n * n + 1 + bins), (predicted == true) - confidence)
    return sums


def _figures(sums: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
    """Scores of each resample, shape (B, 1) or by class (B, C)."""
    confusion = sums[:, : n * n].reshape(-1, n, n)
    hit, support, said = np.einsum("bii->bi", confusion), confusion.sum(axis=2), confusion.sum(axis=1)
    rows = support.sum(axis=1)
    present = support > 0
    recall, precision = hit / np.maximum(support, 1), hit / np.maximum(said, 1)
    f1 = 2 * hit / np.maximum(support + said, 1)
    return {
        "macro_f1": _mean_of(f1, present),
        "accuracy": (hit.sum(axis=1) / rows)[:, None],
        "balanced_accuracy": _mean_of(recall, present),
        "log_loss": (sums[:, n * n] / rows)[:, None],
        "ece": (np.abs(sums[:, n * n + 1 :]).sum(axis=1) / rows)[:, None],
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }


def _mean_of(values: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    return ((values * present).sum(axis=1) / present.sum(axis=1))[:, None]


def _estimate(point: NDArray[np.float64], drawn: NDArray[np.float64]) -> list[Estimate]:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return [Estimate(float(v), float(a), float(b)) for v, a, b in zip(point[0], low, high, strict=True)]
