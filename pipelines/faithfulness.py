"""Whether explanations are true: what happens to the decision once what they name is taken away.

Every figure here runs the network or its prototypes again; none of them trusts the explanation that it judges.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import softmax
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import adjusted_rand_score

from ddcl_tab.errors import InputError
from ddcl_tab.estimators._table import EncodedRows
from ddcl_tab.interpret._model import FittedModel, exchange, take
from ddcl_tab.nn._network import TableNetwork
from ddcl_tab.training._rows import CHUNK, MISSING, Prediction

#: Values of other rows that a column takes in turn when it is hidden.
N_HIDDEN = 16
#: Probabilities below this are as good as none: logarithms stay finite.
_LEAST = 1e-300


class Predictor(Protocol):
    """What is judged: a `FittedModel`, or anything else that decides encoded rows."""

    def predict(self, encoded: EncodedRows) -> Prediction:
        """Class probabilities of encoded rows."""


def token_memberships(model: FittedModel, table: EncodedRows) -> NDArray[np.float64]:
    """Memberships of each column's token, shape (n, T, K)."""
    return memberships_of(model.classifier.network_, table)


def memberships_of(network: TableNetwork, table: EncodedRows) -> NDArray[np.float64]:
    """Memberships of the tokens that a network's readout assigns, shape (n, T, K)."""
    found = []
    for start in range(0, len(table.numeric), CHUNK):
        rows = slice(start, start + CHUNK)
        with torch.no_grad():
            output = network(torch.from_numpy(table.numeric[rows]), torch.from_numpy(table.categorical[rows]))
        found.append(output.reading.assignment.q.double().numpy())
    q = np.concatenate(found)
    return q / q.sum(axis=2, keepdims=True)


def prototype_logits(model: FittedModel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each prototype says without the bias of the head, shape (K, C), and that bias; rows are their ``q``-mean."""
    network = model.classifier.network_
    with torch.no_grad():
        logits = network.readout.prototypes @ network.head.weight.mT
    return logits.double().numpy(), network.head.bias.detach().double().numpy()


def decide_tokens(model: FittedModel, q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Class probabilities ``(n, C)`` of memberships ``(n, T, K)`` of the columns' tokens."""
    logits, bias = prototype_logits(model)
    return softmax(q.mean(axis=1) @ logits + bias, axis=1)


def scorecard(model: FittedModel, q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Class probabilities ``(n, C)`` if each column's token were its strongest prototype alone.

    A sum of one entry a column out of a table of ``K`` rows: what a person can do by hand.
    """
    logits, bias = prototype_logits(model)
    return softmax(logits[q.argmax(axis=2)].mean(axis=1) + bias, axis=1)


def prototype_parts(model: FittedModel, q: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each prototype adds to the log-odds of a row's class against its runner-up, shape (n, K) [nats].

    Parameters
    ----------
    model : FittedModel
    q : ndarray, shape (n, T, K)
    """
    order = np.argsort(-decide_tokens(model, q), axis=1, kind="stable")
    logits = prototype_logits(model)[0].T
    return q.mean(axis=1) * (logits[order[:, 0]] - logits[order[:, 1]])


class Removal(NamedTuple):
    """What happens to rows that lose the prototype that adds most to their decision.

    Attributes
    ----------
    before, after : ndarray, shape (n,)
        Probability of the class decided with all prototypes.
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


def without(q: NDArray[np.float64], removed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Memberships ``(..., K)`` once the prototypes marked in ``removed`` are gone.

    What they held goes to the others in proportion, as the softmax over fewer prototypes has it; a token that loses all
    of its memberships to rounding is shared out evenly.
    """
    removed = np.broadcast_to(removed, q.shape)
    left = np.where(removed, 0.0, q)
    total = left.sum(axis=-1, keepdims=True)
    even = ~removed / np.maximum((~removed).sum(axis=-1, keepdims=True), 1)
    return np.where(total > 0.0, left / np.where(total > 0.0, total, 1.0), even)


def remove_strongest(model: FittedModel, q: NDArray[np.float64]) -> Removal:
    """Take from all tokens of each row ``(n, T, K)`` the prototype that adds most to its decision; decide again."""
    rows = np.arange(len(q))
    removed = np.zeros((len(q), 1, q.shape[2]), dtype=bool)
    removed[rows, 0, prototype_parts(model, q).argmax(axis=1)] = True
    before, after = decide_tokens(model, q), decide_tokens(model, without(q, removed))
    decided = before.argmax(axis=1)
    return Removal(before[rows, decided], after[rows, decided], after.argmax(axis=1) != decided)


def prototype_deletion(model: FittedModel, q: NDArray[np.float64], order: NDArray[np.intp]) -> NDArray[np.float64]:
    """Mean probability of the decided class once the first m prototypes of each row's order are gone.

    Parameters
    ----------
    model : FittedModel
    q : ndarray, shape (n, T, K)
    order : ndarray of int, shape (n, M)
        Prototypes in the order in which they go, M < K.

    Returns
    -------
    ndarray, shape (M + 1,)
    """
    rows, probability = np.arange(len(q)), decide_tokens(model, q)
    decided = probability.argmax(axis=1)
    removed = np.zeros((len(q), 1, q.shape[2]), dtype=bool)
    curve = [probability[rows, decided].mean()]
    for column in order.T:
        removed[rows, 0, column] = True
        curve.append(decide_tokens(model, without(q, removed))[rows, decided].mean())
    return np.array(curve)


def column_curves(
    model: Predictor,
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
    model : FittedModel or another Predictor
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
    gone = position < np.arange(n_columns + 1)[:, None, None]
    for _ in range(n_draws):
        other = take(background, np.asarray(random.integers(len(background.numeric), size=n)))
        for curve, exchanged in ((deletion, gone), (insertion, ~gone)):
            curve += predict_all(model, table, other, exchanged)[:, rows, decided].mean(axis=1)
    return deletion / n_draws, insertion / n_draws


def predict_all(
    model: Predictor, table: EncodedRows, other: EncodedRows, exchanged: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Class probabilities ``(M, n, C)`` of rows whose marked columns come from ``other``, for each of M marks.

    In one go: a network reads rows by the hundred.

    Parameters
    ----------
    model : FittedModel or another Predictor
    table, other : EncodedRows
        n rows each.
    exchanged : ndarray of bool, shape (M, n, T), or (M, 1, T) for the same columns in all rows
    """
    parts = [exchange(table, other, one) for one in exchanged]
    together = EncodedRows(np.concatenate([p.numeric for p in parts]), np.concatenate([p.categorical for p in parts]))
    return model.predict(together).probability.reshape(len(exchanged), len(table.numeric), -1)


def area(curve: NDArray[np.float64]) -> float:
    """Mean height of a curve, by the trapezoidal rule.

    Examples
    --------
    >>> area(np.array([1.0, 0.5, 0.0]))
    0.5
    """
    return float(np.trapezoid(curve) / (len(curve) - 1))


def hiding_effects(
    model: Predictor, table: EncodedRows, background: EncodedRows, random_state: int, n_draws: int = N_HIDDEN
) -> NDArray[np.float64]:
    """What hiding one column takes from the log-odds of each row's class against its runner-up, shape (n, T) [nats].

    The column takes the values that it has in ``n_draws`` other rows, one after another; the effect is the mean.

    Parameters
    ----------
    model : FittedModel or another Predictor
    table : EncodedRows
        n rows.
    background : EncodedRows
        Rows to draw from.
    random_state : int
    n_draws : int, default=16
    """
    random, n = np.random.default_rng(random_state), len(table.numeric)
    draws = [take(background, np.asarray(random.integers(len(background.numeric), size=n))) for _ in range(n_draws)]
    return np.mean([_effects(model, table, other) for other in draws], axis=0)


def missing_effects(model: Predictor, table: EncodedRows) -> NDArray[np.float64]:
    """As :func:`hiding_effects`, with the column set to missing instead."""
    gone = EncodedRows(np.full_like(table.numeric, np.nan), np.full_like(table.categorical, MISSING))
    return _effects(model, table, gone)


def _effects(model: Predictor, table: EncodedRows, other: EncodedRows) -> NDArray[np.float64]:
    """Log-odds of rows, less those with one column after another from ``other``, shape (n, T)."""
    probability, rows = model.predict(table).probability, np.arange(len(table.numeric))
    n_columns = table.numeric.shape[1] + table.categorical.shape[1]
    a, b = np.argsort(-probability, axis=1, kind="stable")[:, :2].T
    hidden = predict_all(model, table, other, np.eye(n_columns, dtype=bool)[:, None])
    whole, left = (np.log(np.maximum(part, _LEAST)) for part in (probability, hidden))
    return (whole[rows, a] - whole[rows, b] - left[:, rows, a] + left[:, rows, b]).T


class Agreement(NamedTuple):
    """How well contributions predict effects, as rank correlations.

    Attributes
    ----------
    pooled : float
        Over all rows and columns at once.
    per_row : float
        Over the columns of a row, median over the rows.
    first : float
        Share of the rows whose largest contribution is the largest effect.
    """

    pooled: float
    per_row: float
    first: float


def agreement(contribution: NDArray[np.float64], effect: NDArray[np.float64]) -> Agreement:
    """Spearman's correlation of contributions with effects; both of shape (n, T).

    Examples
    --------
    >>> effect = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
    >>> [round(float(value), 6) for value in agreement(2.0 * effect, effect)]
    [1.0, 1.0, 1.0]
    """
    ranks = [rankdata(part, axis=1) - (part.shape[1] + 1) / 2 for part in (contribution, effect)]
    length = np.prod([np.linalg.norm(part, axis=1) for part in ranks], axis=0)
    rows = (ranks[0] * ranks[1]).sum(axis=1)[length > 0] / length[length > 0]
    pooled = float(spearmanr(contribution.ravel(), effect.ravel()).statistic)
    first = float((contribution.argmax(axis=1) == effect.argmax(axis=1)).mean())
    return Agreement(pooled, float(np.median(rows)), first)


class Matching(NamedTuple):
    """Prototypes of two models matched over the same tokens.

    Attributes
    ----------
    pairs : list of (int, int, float)
        Prototype of the first model, of the second, and their overlap ``sum min(q, q') / sum max(q, q')``; best first.
    ari : float
        Adjusted Rand index of the strongest prototypes of all tokens: 1 if both models group them alike, 0 as by
        chance. It is high where prototypes tell columns apart, whatever they say of the values.
    ari_within : float
        The same among the tokens of one column, mean over the columns in which either model uses more than one.
    agreement : float
        Share of the tokens whose strongest prototypes are matched.
    """

    pairs: list[tuple[int, int, float]]
    ari: float
    ari_within: float
    agreement: float


def match_prototypes(q: NDArray[np.float64], other: NDArray[np.float64]) -> Matching:
    """Match prototypes by the tokens that they share (Hungarian assignment).

    Parameters
    ----------
    q, other : ndarray, shapes (n, T, K) and (n, T, L)
        Memberships of the tokens of the same rows in two models.

    Returns
    -------
    Matching

    Raises
    ------
    InputError
        They are not about the same tokens.

    Examples
    --------
    >>> q = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])[:, None]
    >>> matching = match_prototypes(q, q[..., ::-1])
    >>> sorted(matching.pairs), matching.ari, matching.ari_within, matching.agreement
    ([(0, 1, 1.0), (1, 0, 1.0)], 1.0, 1.0, 1.0)
    """
    if q.shape[:2] != other.shape[:2]:
        raise InputError(
            f"both memberships must be of the same rows and columns; there are {q.shape[:2]} and {other.shape[:2]}"
        )
    strongest, strongest_other = q.argmax(axis=2), other.argmax(axis=2)
    within = [
        float(adjusted_rand_score(mine, theirs))
        for mine, theirs in zip(strongest.T, strongest_other.T, strict=True)
        if len(np.unique(mine)) > 1 or len(np.unique(theirs)) > 1
    ]
    q, other = q.reshape(-1, q.shape[2]), other.reshape(-1, other.shape[2])
    shared = np.array([np.minimum(q[:, [k]], other).sum(axis=0) for k in range(q.shape[1])])
    union = q.sum(axis=0)[:, None] + other.sum(axis=0)[None, :] - shared
    overlap = shared / np.maximum(union, np.finfo(float).tiny)
    first, second = linear_sum_assignment(-overlap)
    partner = np.full(q.shape[1], -1)
    partner[first] = second
    pairs = [(int(a), int(b), float(overlap[a, b])) for a, b in zip(first, second, strict=True)]
    return Matching(
        sorted(pairs, key=lambda pair: -pair[2]),
        float(adjusted_rand_score(strongest.ravel(), strongest_other.ravel())),
        float(np.mean(within)) if within else 1.0,
        float((partner[strongest] == strongest_other).mean()),
    )
