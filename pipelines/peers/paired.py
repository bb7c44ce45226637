"""Paired bootstrap: how far ours is from each peer on the same test rows, with launches as the independent units."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddcl_tab.app._evaluation import _aligned, _scores_of, _sums
from peers.tables import COMPARED

N_DRAWS = 1000


class Judged(NamedTuple):
    """What a model said of the test rows of a fold.

    Attributes
    ----------
    y : ndarray of str, shape (n,)
    unit : ndarray of str, shape (n,)
        What is drawn as a whole: the launch, or the row where the launch is the class.
    probability : ndarray, shape (n, C)
    classes : ndarray of str, shape (C,)
    """

    y: NDArray[Any]
    unit: NDArray[Any]
    probability: NDArray[np.floating]
    classes: NDArray[Any]


def keep(file: Path, judged: Judged) -> None:
    """Write what a model said; half-written files have another name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    begun = file.with_suffix(".part.npz")
    np.savez_compressed(begun, **judged._asdict())
    begun.replace(file)


def kept(file: Path) -> Judged:
    """Read what :func:`keep` wrote."""
    with np.load(file) as parts:
        return Judged(*(parts[name] for name in Judged._fields))


def paired_difference(ours: list[Judged], theirs: list[Judged], seed: int = 0) -> dict[str, dict[str, float]]:
    """Ours minus theirs, mean over folds, with the spread over test units drawn anew.

    A unit that is in several folds (the same test part under other seeds) is drawn alike in all of them. The spread is
    that of the test rows; how much a model differs from seed to seed is not in it.

    Parameters
    ----------
    ours, theirs : list of Judged
        One a fold, in the same order and of the same rows.
    seed : int, default=0

    Returns
    -------
    dict
        By figure of :data:`peers.tables.COMPARED`: ``difference``, ``standard_error``, ``low`` and ``high`` of the 95 %
        interval.

    Raises
    ------
    ValueError
        The rows of a fold are not the same.
    """
    units = np.unique(np.concatenate([fold.unit for fold in ours]))
    even = np.full(len(units), 1 / len(units))
    draws = np.random.default_rng(seed).multinomial(len(units), even, size=N_DRAWS)
    weights = np.vstack([np.ones(len(units)), draws])  # first all units as they are
    differences = []
    for a, b in zip(ours, theirs, strict=True):
        if not (np.array_equal(a.y, b.y) and np.array_equal(a.unit, b.unit)):
            raise ValueError("the two models judged different rows")
        there = np.unique(a.unit)
        of_fold = weights[:, np.searchsorted(units, there)]
        found = [_scores(fold, there, of_fold) for fold in (a, b)]
        differences.append(found[0] - found[1])
    mean = np.mean(differences, axis=0)
    low, high = np.quantile(mean[1:], (0.025, 0.975), axis=0)
    return {
        name: {
            "difference": float(mean[0, i]),
            "standard_error": float(mean[1:, i].std(ddof=1)),
            "low": float(low[i]),
            "high": float(high[i]),
        }
        for i, name in enumerate(COMPARED)
    }


def _scores(fold: Judged, units: NDArray[Any], weights: NDArray[np.floating]) -> NDArray[np.float64]:
    every, true, full = _aligned(fold.y, fold.probability, fold.classes)
    sums = _sums(true, full, np.searchsorted(units, fold.unit), len(units))
    found = _scores_of(weights @ sums, len(every))
    return np.concatenate([found[name] for name in COMPARED], axis=1)
