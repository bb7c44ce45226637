"""Reasons per row: what each column adds to the decision, with the row's own values; what a notebook shows of a fit."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from ddcl_tab.estimators._columns import CategoricalColumn, NumericColumn
from ddcl_tab.estimators._domain import Domain
from ddcl_tab.estimators._prototypes import MISSING, Columns, without_number
from ddcl_tab.estimators._table import EncodedRows
from ddcl_tab.training._certificate import in_use
from ddcl_tab.training._rows import Decision, Prediction

if TYPE_CHECKING:
    from ddcl_tab.estimators._classifier import DDCLClassifier

#: Columns that a sentence names for the class, and against it; smaller contributions than this [nats] are not worth it.
N_FOR, N_AGAINST, WORTH_NAMING = 3, 2, 0.1
#: Columns in which `classify` writes the strongest contributions.
N_WRITTEN = 5
#: Largest probability that a sentence writes: two digits would call 0.997 certain.
CERTAIN = 0.99
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

    def take(self, rows: NDArray[np.intp]) -> Reasons:
        """Some rows, in that order."""
        a, b, *numbers = self
        return Reasons(a[rows], b[rows], *(part[rows] for part in numbers))


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


class Cells(NamedTuple):
    """Values of some cells of a table as a person reads them: lists of texts.

    Attributes
    ----------
    value, unit, said : list of str
        Value and unit apart, and a phrase with the column's name: ``"65"``, ``"deg"``, ``"inclination 65 deg"``.
    """

    value: list[str]
    unit: list[str]
    said: list[str]


def written_cells(columns: Columns, domain: Domain, row: NDArray[np.intp], column: NDArray[np.intp]) -> Cells:
    """Cells in the given rows and columns, one text each.

    Parameters
    ----------
    columns : dict of NumericColumn and CategoricalColumn
    domain : Domain
    row, column : ndarray of int, shape (m,)
    """
    texts = np.empty((3, len(row)), dtype=object)
    for t, one in enumerate(columns.values()):
        here = np.flatnonzero(column == t)
        for j, v in zip(here, one.values[row[here]], strict=True):
            texts[:, j] = _written(one, v, domain)
    return Cells(*texts.tolist())


def _written(column: NumericColumn | CategoricalColumn, value: Any, domain: Domain) -> tuple[str, str, str]:
    """Value, unit and phrase of one cell."""
    if isinstance(column, CategoricalColumn) or np.isnan(value):
        is_missing = value is None or not isinstance(value, str)
        text = MISSING if is_missing else value
        return text, "", domain.phrase(column.name, (), text)
    if column.unit == "year":
        year = f"{np.floor(value):.0f}"  # a date is a decimal year
        return year, "", domain.phrase(column.name, (float(value),), year)
    text = number_text(float(value), column.unit)
    return f"{value:.{DIGITS + 2}g}", column.unit, domain.phrase(column.name, (float(value),), text)


def number_text(value: float, unit: str) -> str:
    """A number in a sentence, to :data:`DIGITS` digits or all before the point, with its unit.

    Examples
    --------
    >>> number_text(65.0012, "deg"), number_text(35786.4, "km"), number_text(3.2e-7, ""), number_text(float("nan"), "m")
    ('65 deg', '35786 km', '3.2e-07', 'missing')
    """
    if np.isnan(value):
        return MISSING
    whole = 10.0**DIGITS - 0.5 <= abs(value) < 1e9
    return f"{value:.0f}" * whole + f"{value:.{DIGITS}g}" * (not whole) + (f" {unit}" if unit else "")


class Examples(NamedTuple):
    """Rows of known class among which similar ones are found.

    Attributes
    ----------
    points : ndarray, shape (n, D)
        Coordinates of the rows that are explained.
    itself : ndarray of int, shape (n,)
        Where each of them stands among the examples, -1 where it does not: no row is like itself.
    among : ndarray, shape (m, D); label, names : ndarray, shape (m,)
        Coordinates, classes and names of the examples.
    """

    points: NDArray[np.float64]
    itself: NDArray[np.intp]
    among: NDArray[np.float64]
    label: NDArray[Any]
    names: NDArray[np.object_]

    def take(self, rows: NDArray[np.intp]) -> Examples:
        """Some of the rows that are explained, in that order."""
        return self._replace(points=self.points[rows], itself=self.itself[rows])

    def nearest(self, wanted: NDArray[Any]) -> list[str]:
        """Name of the example nearest to each row among those of the class wanted, shape (n,); empty without any."""
        found = np.full(len(self.points), "", dtype=object)
        for label in np.unique(wanted):
            rows, candidates = np.flatnonzero(wanted == label), np.flatnonzero(self.label == label)
            n = min(2, len(candidates))
            if not n:
                continue
            # A tree answers for each row alone: products of matrices break ties by which rows stand beside it.
            _, near = KDTree(self.among[candidates]).query(self.points[rows], k=np.arange(1, n + 1))
            near = candidates[near]
            is_own = near[:, 0] == self.itself[rows]
            found[rows] = np.where(is_own, self.names[near[:, 1]] if n > 1 else "", self.names[near[:, 0]])
        return found.tolist()


class Explained(NamedTuple):
    """Everything that is said of rows.

    Attributes
    ----------
    encoded : EncodedRows
    decision : Decision
    reasons : Reasons
    columns : dict of NumericColumn and CategoricalColumn
        Of each token, with the rows' own values.
    examples : Examples or None
        None where no classes are recorded.
    classes : ndarray, shape (C,)
    domain : Domain
    """

    encoded: EncodedRows
    decision: Decision
    reasons: Reasons
    columns: Columns
    examples: Examples | None
    classes: NDArray[Any]
    domain: Domain

    @property
    def prediction(self) -> Prediction:
        """Class probabilities and memberships."""
        return self.decision.prediction

    def like(self) -> list[str]:
        """Name of the most similar row of known class that has the predicted one; empty without any."""
        if self.examples is None:
            return [""] * len(self.reasons.winner)
        return self.examples.nearest(self.classes[self.reasons.winner])

    def take(self, rows: NDArray[np.intp]) -> Explained:
        """Some rows, in that order."""
        return self._replace(
            encoded=EncodedRows(self.encoded.numeric[rows], self.encoded.categorical[rows]),
            decision=self.decision.take(rows),
            reasons=self.reasons.take(rows),
            columns={name: one.take(rows) for name, one in self.columns.items()},
            examples=None if self.examples is None else self.examples.take(rows),
        )

    def strongest(self, n: int) -> NDArray[np.intp]:
        """Columns of the strongest contributions of each row, strongest first, shape (rows, n)."""
        return np.argsort(-np.abs(self.reasons.contribution), axis=1, kind="stable")[:, :n]

    def sentences(self) -> list[str]:
        """One sentence a row: its class, the columns that decided with the row's own values, what spoke against."""
        own = self.reasons.contribution
        order = np.argsort(-own, axis=1, kind="stable")
        named = [
            (
                [t for t in ranked[:N_FOR] if c[t] >= WORTH_NAMING],
                [t for t in ranked[: -N_AGAINST - 1 : -1] if c[t] <= -WORTH_NAMING],
            )
            for ranked, c in zip(order, own, strict=True)
        ]
        flat = [(i, int(t)) for i, parts in enumerate(named) for part in parts for t in part]
        row, column = np.array(flat, dtype=np.intp).reshape(-1, 2).T
        said = iter(written_cells(self.columns, self.domain, row, column).said)
        result, like = [], self.like()
        for i, (speaks_for, against) in enumerate(named):
            texts = [", ".join(f"{next(said)} ({own[i, t]:+.1f})" for t in part) for part in (speaks_for, against)]
            sentence = f"{self.classes[self.reasons.winner[i]]} {min(self.reasons.probability[i], CERTAIN):.2f}"
            sentence += f": {texts[0] or 'no column says much for it'}" + (f"; against: {texts[1]}" if against else "")
            result.append(sentence + (f"; like {like[i]}" if like[i] else ""))
        return result

    def table(self) -> dict[str, list[Any]]:
        """Long table of the columns of each row, strongest contribution first, as `DDCLClassifier.explain` has it."""
        reasons = self.reasons
        n, n_columns = reasons.contribution.shape
        row, column = np.repeat(np.arange(n), n_columns), self.strongest(n_columns).ravel()
        cells = written_cells(self.columns, self.domain, row, column)
        names, labels, like = list(self.columns), self.classes.tolist(), self.like()
        second = [None if a == b else labels[b] for a, b in zip(reasons.winner, reasons.runner_up, strict=True)]
        return {
            "row": row.tolist(),
            "prediction": [labels[c] for c in reasons.winner[row]],
            "probability": reasons.probability[row].tolist(),
            "runner_up": [second[i] for i in row],
            "baseline": reasons.baseline[row].tolist(),
            "rank": np.tile(np.arange(1, n_columns + 1), n).tolist(),
            "column": [names[t] for t in column],
            "value": cells.value,
            "unit": cells.unit,
            "contribution": reasons.contribution[row, column].tolist(),
            "prototype": self.decision.prototype[row, column].tolist(),
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
