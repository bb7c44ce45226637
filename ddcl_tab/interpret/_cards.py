"""Prototypes as cards: of which columns they speak, which of their values, for which class; typical rows.

And figures of cards, contributions and training, on matplotlib axes, readable in black and white.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
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
from ddcl_tab.estimators._explain import Explained
from ddcl_tab.estimators._prototypes import Statement, named_statements, statements
from ddcl_tab.estimators._validation import display_names, known_labels, read_labels, recorded_classes
from ddcl_tab.interpret._model import FittedModel
from ddcl_tab.training._stability import CONDITIONS


@dataclass(frozen=True)
class PrototypeCard:
    """One prototype for a person to read.

    Its members are the column tokens of which it is the strongest prototype: a row has one token a column, so its
    columns may be members of different prototypes.

    Attributes
    ----------
    prototype : int
        Its number, as in ``prototypes_`` and :meth:`DDCLClassifier.transform`.
    name : str
        One line, as in ``prototypes_``: ``"inclination 97.6-98.9 deg: PAYLOAD"``.
    share : float
        Of all column tokens.
    says : str
        The class that it votes for.
    votes : dict of float
        What a column at it adds to the log-odds of each class against the mean of the classes, more than columns do on
        average [nats], as in ``prototypes_``.
    members : dict of float
        Recorded classes of the rows, each counted by how much of it the prototype makes; empty without recorded
        classes.
    statements : list of Statement
        The columns of its members, largest share first, and which of their values they have; empty without members.
    typical : list of str
        Of the rows of the class that it votes for, those most made of it, from different groups (launches) first where
        those are known. Of the predicted class without recorded ones.
    """

    prototype: int
    name: str
    share: float
    says: str
    votes: dict[str, float]
    members: dict[str, float]
    statements: list[Statement]
    typical: list[str]

    @property
    def medoid(self) -> str:
        """The first of the typical rows; empty without any."""
        return self.typical[0] if self.typical else ""


def prototype_cards(classifier: DDCLClassifier, X: Any, y: Any = None, *, n_typical: int = 5) -> list[PrototypeCard]:
    """Cards of all prototypes over the rows of a table, largest prototype of the training rows first.

    Names and votes are those of ``prototypes_``, made of the training rows. All else is counted in the rows of known
    class, or in all rows where no class is known: over the table of ``fit`` a card says what ``prototypes_`` says.

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
    >>> card.prototype, len(card.typical), card.name == clf.prototypes_["name"][0]
    (0, 5, True)
    """
    if n_typical < 1:
        raise ConfigurationError(f"n_typical must be at least 1, not {n_typical!r}")
    model, X = FittedModel(classifier), as_table(X)
    return cards_of(model, X, model.read(X), y, n_typical=n_typical)


def cards_of(model: FittedModel, X: Any, rows: Explained, y: Any = None, *, n_typical: int = 5) -> list[PrototypeCard]:
    """As :func:`prototype_cards`, of rows that the model has read before; ``X`` names them and knows their groups."""
    classifier = model.classifier
    names = np.array(display_names(X, len(rows.reasons.winner)), dtype=object)
    groups = domain_of(X).group_of(X)
    recorded = _recorded(classifier, X, y, len(names))
    if recorded is not None and any(label is not None for label in recorded):
        known = np.flatnonzero([label is not None for label in recorded])
        rows, names, recorded = rows.take(known), names[known], recorded[known]
        groups = None if groups is None else groups[known]
        label = recorded
    else:
        recorded, label = None, classifier.classes_[rows.reasons.winner]
    q, table = rows.prediction.q, classifier._prototype_table
    said = statements(rows.columns, rows.decision.prototype, np.ones(len(q)), q.shape[1])
    cards = []
    for k in range(q.shape[1]):
        votes = np.array([table[f"votes {name}"][k] for name in classifier.classes_])
        winner = classifier.classes_[votes.argmax()]
        cards.append(
            PrototypeCard(
                prototype=k,
                name=table["name"][k],
                share=float(q[:, k].sum() / len(q)),
                says=str(winner),
                votes=_by_class(classifier.classes_, votes),
                members=_members(recorded, q[:, k], classifier.classes_),
                statements=said[k],
                typical=_typical(np.where(label == winner, q[:, k], 0.0), names, groups, n_typical),
            )
        )
    return cards


def name_truth(classifier: DDCLClassifier, X: Any, cards: Sequence[PrototypeCard]) -> NDArray[np.float64]:
    """Of how many column tokens of a table the names of cards are true: members, and others.

    A name is true of a token if it names the token's column and the value lies in what it says of it.

    Parameters
    ----------
    classifier : DDCLClassifier
        Fitted.
    X : frame or array, shape (n, p)
        Also rows that the cards have not been made from.
    cards : sequence of PrototypeCard
        Over the training rows, so that their statements are those of their names.

    Returns
    -------
    ndarray, shape (len(cards), 2)
        Share of the prototype's members that the name is true of, and share of the other tokens of the columns that it
        names (those of other columns would be no test). NaN where there are no such tokens.
    """
    rows = FittedModel(classifier).read(X)
    result = np.full((len(cards), 2), np.nan)
    order = list(rows.columns)
    for i, card in enumerate(cards):
        member = rows.decision.prototype == card.prototype
        named = named_statements(card.statements)
        columns = [order.index(one.column) for one in named]
        true = np.zeros_like(member)
        for t, one in zip(columns, named, strict=True):
            true[:, t] = one.holds(rows.columns[one.column])
        other = ~member[:, columns]
        if member.any():
            result[i, 0] = true[member].mean()
        if other.any():
            result[i, 1] = true[:, columns][other].mean()
    return result


def _recorded(classifier: DDCLClassifier, X: Any, y: Any, n_rows: int) -> NDArray[np.object_] | None:
    """Recorded classes as objects, None where unknown."""
    if y is None:
        return recorded_classes(X, classifier.target)
    labels, missing = read_labels(y)
    if len(labels) != n_rows:
        raise InputError(f"y has {len(labels)} values for {n_rows} rows: give one for each row.")
    return known_labels(labels, missing, classifier.domain_)


def _typical(
    made: NDArray[np.float64], names: NDArray[np.object_], groups: NDArray[Any] | None, n_typical: int
) -> list[str]:
    """Rows most made of a prototype, none that is not at all; one a group first, others of it only to fill up."""
    order = np.argsort(-made, kind="stable")[: 200 * n_typical]
    order = order[made[order] > 0.0]
    if groups is not None:
        _, first = np.unique(groups[order].astype(str), return_index=True)
        order = np.concatenate([order[np.sort(first)], np.delete(order, first)])
    return [str(name) for name in names[order[:n_typical]]]


def _members(recorded: NDArray[Any] | None, mass: NDArray[np.float64], classes: NDArray[Any]) -> dict[str, float]:
    if recorded is None:
        return {}
    by_class = np.array([mass[recorded == name].sum() for name in classes])
    return _by_class(classes, by_class / max(by_class.sum(), np.finfo(float).tiny))


def _by_class(classes: NDArray[Any], values: NDArray[np.float64]) -> dict[str, float]:
    return {str(name): float(value) for name, value in zip(classes, values, strict=True)}


#: Marker and grey of each class, so that classes differ without colour; the hues differ in lightness, too.
MARKERS = "os^Dv*PX"
HUES = ("#1b6ca8", "#d1495b", "#7a7a7a", "#edae49", "#2a9d5c", "#6a3d9a", "#000000", "#8c564b")
#: Rows drawn at most; more hide each other.
MAX_POINTS = 20_000


def plot_card(card: PrototypeCard, *, ax: Axes | None = None) -> Axes:
    """What a prototype says of its columns, as bars: how many of its members, and of the other tokens, it is true of.

    One pair of bars for each column that the name names, with values and unit, largest share of the members on top:
    filled for the members of this column, hollow for the column's other tokens. The shorter the hollow bar, the more
    the values say.

    Parameters
    ----------
    card : PrototypeCard
    ax : matplotlib axes, optional
        Default: a new figure.

    Returns
    -------
    matplotlib axes
    """
    ax = axes_or_new(ax)
    said = named_statements(card.statements)[::-1]
    for y, one in enumerate(said):
        ax.barh(y + 0.15, 100.0 * one.held, height=0.3, color=HUES[0], edgecolor="black")
        ax.barh(y - 0.15, 100.0 * one.held_elsewhere, height=0.3, color="white", edgecolor="black")
    words = [
        f"{one.column}, {100.0 * one.share:.0f} % of members\n{fill(one.values, 40, break_on_hyphens=False)}"
        for one in said
    ]
    ax.set_yticks(range(len(said)), words)
    ax.set(xlim=(0, 100))
    ax.set_xlabel("true of % of members (filled) and of others (hollow)", loc="right")
    ax.set_title(fill(card.name, 60, break_on_hyphens=False), loc="right", fontsize="medium")
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


def plot_contributions(explained: Any, *, row: int = 0, n_columns: int = 12, ax: Axes | None = None) -> Axes:
    """Contributions of the columns of one row as bars [nats]; hatched where they speak against its class.

    The last bar, grey, is the baseline: all bars sum to the log-odds of the class against the runner-up.

    Parameters
    ----------
    explained : frame
        Of :meth:`DDCLClassifier.explain`.
    row : int, default=0
    n_columns : int, default=12
        Strongest ones, which have a bar of their own; the others share one.
    ax : matplotlib axes, optional

    Returns
    -------
    matplotlib axes

    Raises
    ------
    InputError
        The row is not among the explained ones.
    """
    frame = nw.from_native(explained, eager_only=True).filter(nw.col("row") == row).sort("rank")
    if not len(frame):
        raise InputError(f"there is no row {row!r} among the explained ones: give the number of a row of explain's X.")
    ax = axes_or_new(ax)
    contribution = frame["contribution"].to_numpy()
    cells = zip(*(frame[name].to_list() for name in ("column", "value", "unit")), strict=True)
    names = [f"{column} = {value} {unit}".rstrip() for column, value, unit in cells]
    if len(names) > n_columns:
        names = [*names[:n_columns], f"{len(names) - n_columns} others"]
        contribution = np.append(contribution[:n_columns], contribution[n_columns:].sum())
    said, second, probability, baseline = (
        frame[name].to_list()[0] for name in ("prediction", "runner_up", "probability", "baseline")
    )
    value, names = np.append(contribution, baseline)[::-1], [*names, "baseline"][::-1]
    fills = ["0.8", *[HUES[0] if v >= 0 else "white" for v in value[1:]]]
    bars = ax.barh(range(len(value)), value, color=fills, edgecolor="black")
    for bar, v in zip(bars, value, strict=True):
        bar.set_hatch("" if v >= 0 else "////")
    ax.set_yticks(range(len(value)), names)
    ax.axvline(0.0, color="black", lw=0.8)
    ax.set_xlabel(f"contribution to {said}{'' if second is None else f' against {second}'} [nats]", loc="right")
    ax.set_title(f"{said} {probability:.2f}", loc="right")
    return ax


def layers(classifier: DDCLClassifier, X: Any) -> list[tuple[str, NDArray[np.intp], dict[str, Any]]]:
    """What to draw, one layer a predicted class: label, rows, style."""
    model = FittedModel(classifier)
    decided = model.predict(model.encode(X)).probability.argmax(axis=1)
    drawn = np.arange(len(decided))
    if len(drawn) > MAX_POINTS:
        drawn = np.sort(np.random.default_rng(0).choice(drawn, MAX_POINTS, replace=False))
    found = []
    for c, name in enumerate(classifier.classes_):
        style = {"s": 12, "color": HUES[c % len(HUES)], "marker": MARKERS[c % len(MARKERS)], "linewidths": 0.5}
        found.append((str(name), drawn[decided[drawn] == c], style | {"rasterized": True}))
    return found


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
