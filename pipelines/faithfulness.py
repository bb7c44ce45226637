"""Whether explanations are true: what happens to the decision once what they name is taken away.

Every figure here runs the network or its prototypes again; none of them trusts the explanation that it judges.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score

from ddcl_tab.errors import InputError
from ddcl_tab.estimators._table import EncodedRows
from ddcl_tab.interpret._model import FittedModel, exchange, take


class Removal(NamedTuple):
    """What happens to rows that lose their strongest prototype.

    Attributes
    ----------
    before, after : ndarray, shape (n,)
        Probability of the class for which that prototype speaks.
    changed : ndarray of bool, shape (n,)
        Rows that are decided otherwise afterwards.
    """

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    changed: NDArray[np.bool_]

    @property
    def falls(self) -> float:
        """Share of the rows in which the probability falls."""
        return float((self.after < self.before).mean())

    @property
    def changed_as_said(self) -> float:
        """Of the rows that are decided otherwise, the share in which it falls; NaN without such rows."""
        fell = (self.after < self.before)[self.changed]
        return float(fell.mean()) if len(fell) else float("nan")


def without(q: NDArray[np.float64], removed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Memberships ``(n, K)`` once the prototypes marked in ``removed`` ``(n, K)`` are gone.

    What they held goes to the others in proportion, as the softmax over fewer prototypes has it; a row that loses all
    of its memberships to rounding is shared out evenly.
    """
    left = np.where(removed, 0.0, q)
    total = left.sum(axis=1, keepdims=True)
    even = ~removed / np.maximum((~removed).sum(axis=1, keepdims=True), 1)
    return np.where(total > 0.0, left / np.where(total > 0.0, total, 1.0), even)


def remove_strongest(model: FittedModel, q: NDArray[np.float64]) -> Removal:
    """Take from each row ``(n, K)`` of memberships its strongest prototype and decide again."""
    rows, strongest = np.arange(len(q)), q.argmax(axis=1)
    removed = np.zeros(q.shape, dtype=bool)
    removed[rows, strongest] = True
    before, after = model.decide(q), model.decide(without(q, removed))
    said = model.prototype_logits.argmax(axis=1)[strongest]
    return Removal(before[rows, said], after[rows, said], before.argmax(axis=1) != after.argmax(axis=1))


def prototype_deletion(model: FittedModel, q: NDArray[np.float64], order: NDArray[np.intp]) -> NDArray[np.float64]:
    """Mean probability of the decided class once the first m prototypes of each row's order are gone.

    Parameters
    ----------
    model : FittedModel
    q : ndarray, shape (n, K)
    order : ndarray of int, shape (n, M)
        Prototypes in the order in which they go, M < K.

    Returns
    -------
    ndarray, shape (M + 1,)
    """
    rows = np.arange(len(q))
    decided = model.decide(q).argmax(axis=1)
    removed = np.zeros(q.shape, dtype=bool)
    curve = [model.decide(q)[rows, decided].mean()]
    for column in order.T:
        removed[rows, column] = True
        curve.append(model.decide(without(q, removed))[rows, decided].mean())
    return np.array(curve)


def column_curves(
    model: FittedModel,
    table: EncodedRows,
    background: EncodedRows,
    order: NDArray[np.intp],
    random_state: int,
    n_draws: int = 4,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Deletion and insertion curves over columns (Petsiuk et al., arXiv:1806.07421, for tables).

    Deletion exchanges the first m columns of each row's order for those of a background row; insertion exchanges all
    but them.

    Parameters
    ----------
    model : FittedModel
    table : EncodedRows
        n rows.
    background : EncodedRows
        Rows to draw from.
    order : ndarray of int, shape (n, T)
        Columns, the most important first.
    random_state : int
    n_draws : int, default=4
        Background rows for each row; the same for any order.

    Returns
    -------
    deletion, insertion : ndarray, shape (T + 1,)
        Mean probability of the class that is decided with all columns.
    """
    random = np.random.default_rng(random_state)
    n, n_columns = order.shape
    rows, position = np.arange(n), np.argsort(order, axis=1)
    decided = model.predict(table).probability.argmax(axis=1)
    deletion, insertion = np.zeros(n_columns + 1), np.zeros(n_columns + 1)
    for _ in range(n_draws):
        other = take(background, np.asarray(random.integers(len(background.numeric), size=n)))
        for m in range(n_columns + 1):
            gone = position < m
            deletion[m] += model.predict(exchange(table, other, gone)).probability[rows, decided].mean()
            insertion[m] += model.predict(exchange(table, other, ~gone)).probability[rows, decided].mean()
    return deletion / n_draws, insertion / n_draws


def area(curve: NDArray[np.float64]) -> float:
    """Mean height of a curve, by the trapezoidal rule.

    Examples
    --------
    >>> area(np.array([1.0, 0.5, 0.0]))
    0.5
    """
    return float(np.trapezoid(curve) / (len(curve) - 1))


class Matching(NamedTuple):
    """Prototypes of two models matched over the same rows.

    Attributes
    ----------
    pairs : list of (int, int, float)
        Prototype of the first model, of the second, and their overlap ``sum min(q, q') / sum max(q, q')``; best first.
    ari : float
        Adjusted Rand index of the strongest prototypes: 1 if both models group the rows alike, 0 as by chance.
    agreement : float
        Share of the rows whose strongest prototypes are matched.
    """

    pairs: list[tuple[int, int, float]]
    ari: float
    agreement: float


def match_prototypes(q: NDArray[np.float64], other: NDArray[np.float64]) -> Matching:
    """Match prototypes by the rows that they share (Hungarian assignment).

    Parameters
    ----------
    q, other : ndarray, shapes (n, K) and (n, L)
        Memberships of the same rows in two models.

    Returns
    -------
    Matching

    Raises
    ------
    InputError
        They are not about the same number of rows.

    Examples
    --------
    >>> q = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
    >>> matching = match_prototypes(q, q[:, ::-1])
    >>> sorted(matching.pairs), matching.ari, matching.agreement
    ([(0, 1, 1.0), (1, 0, 1.0)], 1.0, 1.0)
    """
    if len(q) != len(other):
        raise InputError(f"both memberships must be of the same rows; there are {len(q)} and {len(other)}")
    shared = np.array([np.minimum(q[:, [k]], other).sum(axis=0) for k in range(q.shape[1])])
    union = q.sum(axis=0)[:, None] + other.sum(axis=0)[None, :] - shared
    overlap = shared / np.maximum(union, np.finfo(float).tiny)
    first, second = linear_sum_assignment(-overlap)
    partner = np.full(q.shape[1], -1)
    partner[first] = second
    strongest, strongest_other = q.argmax(axis=1), other.argmax(axis=1)
    pairs = [(int(a), int(b), float(overlap[a, b])) for a, b in zip(first, second, strict=True)]
    return Matching(
        sorted(pairs, key=lambda pair: -pair[2]),
        float(adjusted_rand_score(strongest, strongest_other)),
        float((partner[strongest] == strongest_other).mean()),
    )


def decision_list(model: FittedModel, q: NDArray[np.float64]) -> NDArray[np.intp]:
    """Class index of each row if the strongest prototype alone decided, for which it speaks: rules a person can run."""
    return model.prototype_logits.argmax(axis=1)[q.argmax(axis=1)]
