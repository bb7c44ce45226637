"""Figures of prototypes and their training, on matplotlib axes, readable in black and white."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import narwhals.stable.v2 as nw
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ddcl_tab.errors import ConfigurationError, InputError
from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._columns import NumericColumn, as_table, is_frame, to_columns
from ddcl_tab.estimators._prototypes import LEVELS, NumberSummary, interval
from ddcl_tab.interpret._cards import PrototypeCard
from ddcl_tab.interpret._model import FittedModel
from ddcl_tab.training._stability import CONDITIONS

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
