"""Prototypes as cards: who their members are, what sets them apart, what they attend to, in physical units.

And figures of them and of their training, on matplotlib axes, readable in black and white.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import narwhals.stable.v2 as nw
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ddcl_tab.errors import ConfigurationError, InputError
from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._columns import NumericColumn, as_table, is_frame, to_columns
from ddcl_tab.estimators._domain import domain_of
from ddcl_tab.estimators._prototypes import LEVELS, CategorySummary, NumberSummary, interval, name_prototypes, summarise
from ddcl_tab.estimators._table import EncodedRows
from ddcl_tab.estimators._validation import display_names, is_unknown, read_labels, target_of
from ddcl_tab.interpret._model import FittedModel, ModelRows, exchange, take
from ddcl_tab.training._stability import CONDITIONS

#: Columns that a card says set the prototype apart, and columns that it says the prototype captures.
N_DISTINGUISHING, N_CAPTURED = 3, 4
#: Prototypes named as its nearest.
N_NEIGHBOURS = 3
#: Rows whose columns are exchanged to see which a prototype depends on.
CAPTURE_ROWS = 2000


@dataclass(frozen=True)
class Neighbour:
    """Another prototype that shares rows.

    Attributes
    ----------
    prototype : int
    overlap : float
        Share of the card's own memberships in rows where the other holds as much: ``sum min(q_k, q_j) / sum q_k``.
    """

    prototype: int
    overlap: float


@dataclass(frozen=True)
class PrototypeCard:
    """One prototype for a person to read.

    Attributes
    ----------
    prototype : int
        Its number, as in ``prototypes_`` and :meth:`DDCLClassifier.transform`.
    name : str
        One line, as in ``prototypes_``: "small debris, 760-880 km, 98.6 deg".
    share : float
        Of the memberships of all rows.
    says : dict of float
        Its own probability of each class.
    members : dict of float
        Recorded classes of its members, shares of those whose class is known; empty without recorded classes.
    medoid : str
        The row with the largest membership.
    typical : list of str
        The rows with the largest memberships, from different groups (launches) where those are known; the medoid first.
    columns : dict of NumberSummary and CategorySummary
        Every column against the whole table.
    distinguishing : list of str
        The columns that set it apart most, largest effect first, none saying the same as another.
    captured : dict of float
        The columns it depends on: share of its memberships lost when the column comes from another row.
    neighbours : list of Neighbour
        Most overlapping first.
    """

    prototype: int
    name: str
    share: float
    says: dict[str, float]
    members: dict[str, float]
    medoid: str
    typical: list[str]
    columns: dict[str, NumberSummary | CategorySummary]
    distinguishing: list[str]
    captured: dict[str, float]
    neighbours: list[Neighbour]

    @property
    def predicted_class(self) -> str:
        """The class that it holds most probable."""
        return max(self.says, key=lambda name: self.says[name])


def prototype_cards(
    classifier: DDCLClassifier, X: Any, y: Any = None, *, n_typical: int = 5, random_state: int = 0
) -> list[PrototypeCard]:
    """Cards of all prototypes over the rows of a table, largest prototype of the training rows first.

    Parameters
    ----------
    classifier : DDCLClassifier
        Fitted.
    X : frame or array, shape (n, p)
        Rows to describe the prototypes by, such as the whole catalog; names and catalog numbers in it are shown and
        never learned from.
    y : array-like, shape (n,), optional
        Recorded classes. Default: the classifier's target column, where ``X`` has it.
    n_typical : int, default=5
        Rows named on each card.
    random_state : int, default=0
        Of the exchanged rows that show which columns a prototype captures.

    Returns
    -------
    list of PrototypeCard

    Raises
    ------
    ConfigurationError
        ``n_typical`` is below 1, or the classifier is none.
    InputError
        ``y`` has not one class a row.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from ddcl_tab import DDCLClassifier
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = DDCLClassifier(n_prototypes=6, max_epochs=20, random_state=0).fit(X, y)
    >>> card = prototype_cards(clf, X, y)[0]
    >>> card.prototype, len(card.columns), len(card.typical)
    (0, 4, 5)
    """
    if n_typical < 1:
        raise ConfigurationError(f"n_typical must be at least 1, not {n_typical!r}")
    model, X = FittedModel(classifier), as_table(X)
    return cards_of(model, X, model.read(X), y, n_typical=n_typical, random_state=random_state)


def cards_of(
    model: FittedModel, X: Any, rows: ModelRows, y: Any = None, *, n_typical: int = 5, random_state: int = 0
) -> list[PrototypeCard]:
    """As :func:`prototype_cards`, of rows that the model has read before; ``X`` names them and knows their groups."""
    classifier, q = model.classifier, rows.prediction.q
    summaries = summarise(rows.columns, q, np.ones(len(q)))
    recorded = _recorded(classifier, X, y, len(q))
    named = name_prototypes([""] * q.shape[1], rows.columns, summaries, classifier.domain_)
    apart = [name.distinguishing for name in named]
    typical = _typical(q, display_names(X, len(q)), _groups(X), n_typical)
    captured = capture(model, rows.encoded, q, random_state)
    cards = []
    for k in range(q.shape[1]):
        own = {name: parts[k] for name, parts in summaries.items()}
        cards.append(
            PrototypeCard(
                prototype=k,
                name=classifier._prototype_table["name"][k],
                share=float(q[:, k].sum() / len(q)),
                says=_by_class(classifier.classes_, model.decide(np.eye(q.shape[1])[[k]])[0]),
                members=_members(recorded, q[:, k], classifier.classes_),
                medoid=typical[k][0],
                typical=typical[k],
                columns=own,
                distinguishing=apart[k][:N_DISTINGUISHING],
                captured=_largest(dict(zip(model.columns, captured[k].tolist(), strict=True)), N_CAPTURED),
                neighbours=_neighbours(q, k),
            )
        )
    return cards


def capture(
    model: FittedModel, encoded: EncodedRows, q: NDArray[np.float64], random_state: int, n_rows: int = CAPTURE_ROWS
) -> NDArray[np.float64]:
    """Share of its memberships that each prototype loses when a column comes from another row, shape (K, T).

    Measured on the rows with the largest memberships mixed evenly over prototypes, at most ``n_rows``. Column tokens
    are not assigned to prototypes one by one (training never asks for it); what a prototype captures of a column is
    measured by taking the column away.
    """
    random = np.random.default_rng(random_state)
    per_prototype = max(1, n_rows // q.shape[1])
    chosen = np.unique(np.argsort(-q, axis=0, kind="stable")[:per_prototype].ravel())
    rows, q = take(encoded, chosen), q[chosen]
    lost = np.empty((q.shape[1], len(model.columns)))
    held = np.maximum((q**2).sum(axis=0), np.finfo(float).tiny)
    for j in range(len(model.columns)):
        swapped = np.zeros((len(chosen), len(model.columns)), dtype=bool)
        swapped[:, j] = True
        other = take(encoded, random.integers(len(encoded.numeric), size=len(chosen)))
        after = model.predict(exchange(rows, other, swapped)).q
        lost[:, j] = 1.0 - (q * after).sum(axis=0) / held
    return np.clip(lost, 0.0, 1.0)


def _recorded(classifier: DDCLClassifier, X: Any, y: Any, n_rows: int) -> NDArray[Any] | None:
    """Recorded classes as objects, None where unknown."""
    if y is None and is_frame(X):
        frame = nw.from_native(X, eager_only=True)
        target = target_of(classifier.target, X)
        y = frame[target] if target in frame.columns else None
    if y is None:
        return None
    labels, missing = read_labels(y)
    if len(labels) != n_rows:
        raise InputError(f"y has {len(labels)} values for {n_rows} rows: give one for each row.")
    domain = classifier.domain_
    known = (None if gone or is_unknown(label, domain) else label for label, gone in zip(labels, missing, strict=True))
    return np.fromiter(known, dtype=object)


def _groups(X: Any) -> NDArray[np.object_] | None:
    groups = domain_of(X).group_of(X)
    return None if groups is None else groups.astype(object)


def _typical(
    q: NDArray[np.float64], names: Sequence[str], groups: NDArray[np.object_] | None, n_typical: int
) -> list[list[str]]:
    """Rows with the largest memberships of each prototype; one a group first, others of it only to fill up."""
    result = []
    for k in range(q.shape[1]):
        order = np.argsort(-q[:, k], kind="stable")[: 200 * n_typical]
        if groups is not None:
            _, first = np.unique(groups[order].astype(str), return_index=True)
            order = np.concatenate([order[np.sort(first)], np.delete(order, first)])
        result.append([names[i] for i in order[:n_typical]])
    return result


def _members(recorded: NDArray[Any] | None, mass: NDArray[np.float64], classes: NDArray[Any]) -> dict[str, float]:
    if recorded is None:
        return {}
    by_class = np.array([mass[recorded == name].sum() for name in classes])
    return _by_class(classes, by_class / max(by_class.sum(), np.finfo(float).tiny))


def _by_class(classes: NDArray[Any], values: NDArray[np.float64]) -> dict[str, float]:
    return {str(name): float(value) for name, value in zip(classes, values, strict=True)}


def _largest(values: dict[str, float], n: int) -> dict[str, float]:
    return dict(sorted(values.items(), key=lambda item: -item[1])[:n])


def _neighbours(q: NDArray[np.float64], k: int) -> list[Neighbour]:
    shared = np.minimum(q, q[:, [k]]).sum(axis=0) / max(q[:, k].sum(), np.finfo(float).tiny)
    order = [int(j) for j in np.argsort(-shared, kind="stable") if j != k]
    return [Neighbour(j, float(shared[j])) for j in order[:N_NEIGHBOURS]]


#: Marker and grey of each class, so that classes differ without colour; the hues differ in lightness, too.
MARKERS = "os^Dv*PX"
HUES = ("#1b6ca8", "#d1495b", "#7a7a7a", "#edae49", "#2a9d5c", "#6a3d9a", "#000000", "#8c564b")
#: Rows drawn at most; more hide each other.
MAX_POINTS = 20_000


def plot_card(card: PrototypeCard, *, ax: Axes | None = None) -> Axes:
    """Numeric columns of a prototype as bars on the percentiles of the whole table, largest effect on top.

    A thin line spans 5 to 95 % of the members, a thick one the middle half, a dot is the median; a prototype like the
    table itself would reach from 5 to 95. The text gives the middle half in the column's unit.
    """
    ax = axes_or_new(ax)
    numbers = [s for s in card.columns.values() if isinstance(s, NumberSummary) and not np.isnan(s.quantiles[2])]
    numbers.sort(key=lambda summary: summary.effect)
    for y, summary in enumerate(numbers):
        at = 100.0 * np.interp(summary.quantiles, summary.table_quantiles, LEVELS)
        ax.plot([5, 95], [y, y], color="0.85", lw=1, zorder=0)
        ax.plot(at[[0, -1]], [y, y], color=HUES[0], lw=1.5)
        ax.plot(at[[1, 3]], [y, y], color=HUES[0], lw=6, solid_capstyle="butt")
        ax.plot(at[2], y, "o", color="black", ms=5)
        words = interval("", summary.quantiles[1], summary.quantiles[3], summary.unit).strip()
        ax.annotate(words, (1.02, y), xycoords=("axes fraction", "data"), va="center")
    ax.set_yticks(range(len(numbers)), [summary.name for summary in numbers])
    ax.set(xlim=(0, 100), xlabel="percentile of the whole table", title=card.name)
    return ax


def plot_certificate(classifier: DDCLClassifier, *, ax: Axes | None = None) -> Axes:
    """Each figure of the certificate over its limit, epoch by epoch: sound training ends below the line at 1.

    Raises
    ------
    ConfigurationError
        The classifier was fitted with ``certify=False``.
    """
    epochs = FittedModel(classifier).classifier.stability_.epochs
    if not epochs:
        raise ConfigurationError("nothing was certified: fit with certify='epoch' to see the certificate")
    ax = axes_or_new(ax)
    styles = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)))
    for i, (name, condition) in enumerate(CONDITIONS.items()):
        values = [max(getattr(epoch, condition.figure) / condition.limit, 1e-4) for epoch in epochs]
        ax.plot([e.epoch for e in epochs], values, ls=styles[i % len(styles)], color=HUES[i % len(HUES)], label=name)
    ax.axhline(1.0, color="black", lw=0.8)
    ax.set(xlabel="epoch", ylabel="figure over its limit (drawn from 0.0001)", yscale="log")
    ax.legend(frameon=False, ncols=2)
    return ax


def plot_contributions(contributions: Any, *, row: int = 0, ax: Axes | None = None) -> Axes:
    """Contributions of the columns of one row as bars; hatched where a column speaks against the decision.

    Parameters
    ----------
    contributions : frame
        Of :func:`ddcl_tab.interpret.column_contributions`.
    row : int, default=0
    ax : matplotlib axes, optional

    Raises
    ------
    InputError
        The row is not among the contributions.
    """
    frame = nw.from_native(contributions, eager_only=True).filter(nw.col("row") == row)
    if not len(frame):
        raise InputError(f"there is no row {row!r} among the contributions")
    ax = axes_or_new(ax)
    value = frame["contribution"].to_numpy()[::-1]
    names = [f"{c} = {v}" for c, v in zip(frame["column"].to_list(), frame["value"].to_list(), strict=True)][::-1]
    bars = ax.barh(range(len(value)), value, color=[HUES[0] if v >= 0 else "white" for v in value], edgecolor="black")
    for bar, v in zip(bars, value, strict=True):
        bar.set_hatch("" if v >= 0 else "////")
    ax.set_yticks(range(len(value)), names)
    ax.axvline(0.0, color="black", lw=0.8)
    ax.set(xlabel=f"contribution to the probability of {frame['prediction'].to_list()[0]}")
    return ax


def layers(
    classifier: DDCLClassifier, X: Any, prototypes: Sequence[int]
) -> list[tuple[str, NDArray[np.intp], dict[str, Any]]]:
    """What to draw, pale rows first: label, rows, style."""
    model = FittedModel(classifier)
    prediction = model.predict(model.encode(X))
    strongest, decided = prediction.q.argmax(axis=1), prediction.probability.argmax(axis=1)
    unknown = [k for k in prototypes if not 0 <= k < prediction.q.shape[1]]
    if unknown:
        raise ConfigurationError(
            f"there are no prototypes {unknown}; they are numbered 0 to {prediction.q.shape[1] - 1}"
        )
    drawn = np.arange(len(strongest))
    if len(drawn) > MAX_POINTS:
        drawn = np.sort(np.random.default_rng(0).choice(drawn, MAX_POINTS, replace=False))
    groups = (
        [(f"prototype {k}", drawn[strongest[drawn] == k]) for k in prototypes]
        if prototypes
        else [(str(name), drawn[decided[drawn] == c]) for c, name in enumerate(classifier.classes_)]
    )
    pale = {"s": 3, "color": "0.85", "marker": ".", "linewidths": 0.3, "rasterized": True}
    layers = [("other objects", drawn[~np.isin(strongest[drawn], prototypes)], pale)] if prototypes else []
    for i, (label, rows) in enumerate(groups):
        style = {"s": 12, "color": HUES[i % len(HUES)], "marker": MARKERS[i % len(MARKERS)], "linewidths": 0.5}
        layers.append((label, rows, style | {"rasterized": True}))
    return layers


def read_numbers(X: Any, *names: str) -> list[NDArray[np.float64]]:
    X = as_table(X)
    there = nw.from_native(X, eager_only=True).columns if is_frame(X) else []
    absent = [name for name in names if name not in there]
    if absent:
        raise InputError(f"this figure draws the columns {', '.join(names)} of a frame; {absent} are missing")
    columns = to_columns(X, list(names))
    texts = [column.name for column in columns if not isinstance(column, NumericColumn)]
    if texts:
        raise InputError(f"this figure draws numbers; the columns {texts} hold texts")
    return [column.values for column in columns if isinstance(column, NumericColumn)]


def axes_or_new(ax: Axes | None) -> Axes:
    return plt.subplots(layout="constrained")[1] if ax is None else ax
