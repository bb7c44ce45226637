"""Reasons per row: what each column adds to the decision, with the row's own values; what a notebook shows of a fit."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from ddcl_tab.estimators._columns import CategoricalColumn, NumericColumn
from ddcl_tab.estimators._domain import Domain
from ddcl_tab.estimators._prototypes import MISSING, without_number
from ddcl_tab.training._certificate import in_use
from ddcl_tab.training._rows import Decision

if TYPE_CHECKING:
    from ddcl_tab.estimators._classifier import DDCLClassifier

#: Columns that a sentence names for the class, and against it; smaller contributions than this [nats] are not worth it.
N_FOR, N_AGAINST, WORTH_NAMING = 3, 2, 0.1
#: Columns in which `classify` writes the strongest contributions.
N_WRITTEN = 5
#: Significant digits of a number in a sentence.
DIGITS = 4


class Reasons(NamedTuple):
    """Why rows are of a class and not of the runner-up.

    Attributes
    ----------
    winner, runner_up : ndarray of int, shape (n,)
        Index of the most probable class ``a`` and of the second, ``b``; the same where there is one class.
    probability : ndarray, shape (n,)
        Of the most probable class.
    baseline : ndarray, shape (n,)
        Log-odds of ``a`` against ``b`` of a row whose columns say what they say on average [nats].
    contribution : ndarray, shape (n, T)
        What each column adds to them [nats]: ``baseline + contribution.sum(axis=1) = log(p_a / p_b)``.
    """

    winner: NDArray[np.intp]
    runner_up: NDArray[np.intp]
    probability: NDArray[np.float64]
    baseline: NDArray[np.float64]
    contribution: NDArray[np.float64]


def reasons_of(decision: Decision, means: NDArray[np.float64], bias: NDArray[np.float64]) -> Reasons:
    """Split the log-odds of each row's two most probable classes among its columns.

    Parameters
    ----------
    decision : Decision
    means : ndarray, shape (T, C)
        Weighted mean of ``decision.contribution`` over the training rows.
    bias : ndarray, shape (C,)
        Of the head.

    Returns
    -------
    Reasons
    """
    probability = decision.prediction.probability
    order = np.argsort(-probability, axis=1, kind="stable")
    a, b, rows = order[:, 0], order[:, min(1, order.shape[1] - 1)], np.arange(len(order))
    own = decision.contribution[rows, :, a] - decision.contribution[rows, :, b]
    average = means.T[a] - means.T[b]
    return Reasons(a, b, probability[rows, a], bias[a] - bias[b] + average.sum(axis=1), own - average)


class Values(NamedTuple):
    """Values of one column as a person reads them: lists of n texts.

    Attributes
    ----------
    value, unit, said : list of str
        Value and unit apart, and a phrase with the column's name: ``"65"``, ``"deg"``, ``"inclination 65 deg"``.
    """

    value: list[str]
    unit: list[str]
    said: list[str]


def written_values(columns: dict[str, NumericColumn | CategoricalColumn], domain: Domain) -> dict[str, Values]:
    """Values of all columns as a person reads them, by column."""
    return {name: _written(column, domain) for name, column in columns.items()}


def _written(column: NumericColumn | CategoricalColumn, domain: Domain) -> Values:
    if isinstance(column, NumericColumn):
        is_year = column.unit == "year"
        form = ".0f" if is_year else f".{DIGITS + 2}g"
        value = [MISSING if np.isnan(v) else f"{v:{form}}" for v in column.values]
        unit = ["" if is_year or text == MISSING else column.unit for text in value]
        said = [domain.say_value(column.name, float(v), "" if is_year else column.unit) for v in column.values]
    else:
        value = [MISSING if v is None else str(v) for v in column.values]
        unit = [""] * len(value)
        said = [domain.say_value(column.name, v, "") for v in column.values]
    return Values(value, unit, said)


def similar_rows(
    points: NDArray[np.float64], among: NDArray[np.float64], label: NDArray[np.intp], winner: NDArray[np.intp],
    itself: NDArray[np.intp],
) -> NDArray[np.intp]:
    """The row nearest to each among those of its class; -1 without any.

    Parameters
    ----------
    points : ndarray, shape (n, D)
        Coordinates of the rows asked about.
    among : ndarray, shape (m, D)
        Of the rows of known class.
    label : ndarray of int, shape (m,)
        Their classes.
    winner : ndarray of int, shape (n,)
        Class wanted for each row.
    itself : ndarray of int, shape (n,)
        Where the row itself stands in ``among``, -1 where it does not: it is not like itself.

    Returns
    -------
    ndarray of int, shape (n,)
        Row of ``among``.
    """
    found = np.full(len(points), -1, dtype=np.intp)
    for c in np.unique(winner):
        rows, candidates = np.flatnonzero(winner == c), np.flatnonzero(label == c)
        if not len(candidates):
            continue
        n = min(2, len(candidates))
        near = candidates[NearestNeighbors(n_neighbors=n, algorithm="brute").fit(among[candidates]).kneighbors(
            points[rows], return_distance=False
        )]
        own = near[:, 0] == itself[rows]
        found[rows] = np.where(own, near[:, -1] if n > 1 else -1, near[:, 0])
    return found


def sentences(
    reasons: Reasons, values: list[Values], classes: NDArray[Any], like: list[str]
) -> list[str]:
    """One sentence a row: its class, the columns that decided with its own values, what spoke against, a similar row.

    Parameters
    ----------
    reasons : Reasons
    values : list of Values
        Of each column.
    classes : ndarray, shape (C,)
    like : list of str
        Names of similar rows, empty where there is none.
    """
    result = []
    for i, (a, probability, own) in enumerate(
        zip(reasons.winner, reasons.probability, reasons.contribution, strict=True)
    ):
        order = np.argsort(-own, kind="stable")
        parts = [_listed(values, i, own, [t for t in order if own[t] >= WORTH_NAMING][:N_FOR])]
        against = [t for t in order[::-1] if own[t] <= -WORTH_NAMING][:N_AGAINST]
        sentence = f"{classes[a]} {probability:.2f}" + (f": {parts[0]}" if parts[0] else ": no column says much")
        if against:
            sentence += f"; against: {_listed(values, i, own, against)}"
        result.append(sentence + (f"; like {like[i]}" if like[i] else ""))
    return result


def _listed(values: list[Values], i: int, own: NDArray[np.float64], columns: list[np.intp]) -> str:
    return ", ".join(f"{values[t].said[i]} ({own[t]:+.1f})" for t in columns)


def reasons_table(
    reasons: Reasons, values: dict[str, Values], classes: NDArray[Any], prototype: NDArray[np.int64], like: list[str]
) -> dict[str, list[Any]]:
    """Long table of the columns of each row, strongest contribution first: the columns of ``DDCLClassifier.explain``."""
    n, n_columns = reasons.contribution.shape
    order = np.argsort(-np.abs(reasons.contribution), axis=1, kind="stable")
    row, column = np.repeat(np.arange(n), n_columns), order.ravel()
    names, written = list(values), list(values.values())
    labels = classes.tolist()
    is_alone = reasons.winner == reasons.runner_up
    return {
        "row": row.tolist(),
        "prediction": [labels[c] for c in reasons.winner[row]],
        "probability": reasons.probability[row].tolist(),
        "runner_up": [None if is_alone[i] else labels[reasons.runner_up[i]] for i in row],
        "baseline": reasons.baseline[row].tolist(),
        "rank": np.tile(np.arange(1, n_columns + 1), n).tolist(),
        "column": [names[t] for t in column],
        "value": [written[t].value[i] for i, t in zip(row, column, strict=True)],
        "unit": [written[t].unit[i] for i, t in zip(row, column, strict=True)],
        "contribution": reasons.contribution[row, column].tolist(),
        "prototype": prototype[row, column].tolist(),
        "like": [like[i] for i in row],
    }


#: Prototypes named.
N_SHOWN = 5


def fitted_html(clf: DDCLClassifier) -> str:
    """Classes, columns, soundness and the largest prototypes of a fitted classifier as an HTML table.

    Every text that may come from a table of the user's is escaped.
    """
    table = clf._prototype_table
    share = table["share"]
    rows = {
        "classes": ", ".join(str(name) for name in clf.classes_),
        "columns": ", ".join(clf.encoder_.feature_names_),
        "training": f"{clf.stability_.verdict}; epoch {clf.best_epoch_} of {clf.n_iter_} kept",
        "prototypes": f"{in_use(np.array(share)).sum()} of {len(share)} in use",
    } | {
        f"prototype {k}": f"{100 * share[k]:.1f} %: {without_number(table['name'][k], k)}, such as {table['medoid'][k]}"
        for k in range(min(N_SHOWN, len(share)))
    }
    cells = "".join(
        f'<tr><th style="text-align:left;vertical-align:top">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(text)}</td></tr>'
        for name, text in rows.items()
    )
    return f"<table><caption>Fitted</caption>{cells}</table>"
