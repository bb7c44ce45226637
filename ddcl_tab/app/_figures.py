"""Geometry of the figures: the template draws what stands here and computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ddcl_tab.app._svg import N_TICKS, Ink, Scale, Tick, line_path, number, points_path, tick_label
from ddcl_tab.space._schema import SATCAT_ORBIT
from ddcl_tab.training._stability import CONDITIONS, Condition, Stability

#: Size of a panel of an orbit figure, and its margins left, right, top, bottom.
PANEL, MARGIN = (720, 480), (110, 28, 44, 66)
#: Most ticks of a linear horizontal axis of a panel.
N_ACROSS = 9
#: Period [min] and mean altitude [km] up to which the panels of low orbits reach.
LOW_PERIOD, LOW_ALTITUDE = 130.0, 2000.0
#: Size and margins of a curve of the certificate.
CURVE, CURVE_MARGIN = (360, 200), (52, 12, 12, 28)


@dataclass(frozen=True)
class Axis:
    """An axis.

    Attributes
    ----------
    name, unit : str
    ticks : list of Tick
    """

    name: str
    unit: str
    ticks: list[Tick]


@dataclass(frozen=True)
class Panel:
    """Objects on two axes, one path a group.

    Attributes
    ----------
    id : str
    title : str
    x, y : Axis
    paths : dict of str
        Group to its path. Dots come first, the largest group of each kind of mark before the others: so small groups
        lie on top, and all other marks on dots.
    counts : dict of int
        Group to its objects in this panel.
    n_objects : int
    """

    id: str
    title: str
    x: Axis
    y: Axis
    paths: dict[int, str]
    counts: dict[int, int]
    n_objects: int


@dataclass(frozen=True)
class OrbitFigures:
    """Both orbit figures.

    Attributes
    ----------
    gabbard, map : list of Panel
        Low orbits, then all others.
    n_without : int
        Objects left out because their orbit is not known.
    """

    gabbard: list[Panel]
    map: list[Panel]
    n_without: int

    def count(self, group: int) -> int:
        """Objects of a group that are drawn."""
        return sum(panel.counts.get(group, 0) for panel in self.map)


@dataclass(frozen=True)
class Curve:
    """A figure of the certificate over the epochs.

    Attributes
    ----------
    title, words : str
    lines : list of (str, str)
        Name and path of each line; the first is drawn solid, the second dashed.
    ends : list of str
        Last value of each line.
    x, y : list of Tick
    limit : float or None
        Where the limit lies, if there is one.
    limit_words : str
    """

    title: str
    words: str
    lines: list[tuple[str, str]]
    ends: list[str]
    x: list[Tick]
    y: list[Tick]
    limit: float | None
    limit_words: str


def orbit_figures(frame: pl.DataFrame, group: NDArray[np.intp], inks: Sequence[Ink]) -> OrbitFigures | None:
    """Gabbard diagram and inclination-altitude map, each in two panels, every object in one of them.

    Parameters
    ----------
    frame : polars.DataFrame
    group : ndarray of int, shape (n,)
        Of each object.
    inks : sequence of Ink
        Of each group.

    Returns
    -------
    OrbitFigures or None
        None if the catalog lacks a column of `SATCAT_ORBIT`, or all orbits.
    """
    if not set(SATCAT_ORBIT) <= set(frame.columns):
        return None
    orbit = frame.select(SATCAT_ORBIT).to_numpy().astype(np.float64)
    known = np.isfinite(orbit).all(axis=1)
    if not known.any():
        return None
    period, inclination, apogee, perigee = orbit[known].T
    group, middle = group[known], (apogee + perigee) / 2
    low_period, low = period < LOW_PERIOD, middle < LOW_ALTITUDE
    markers = [ink.marker for ink in inks]
    both = np.concatenate([apogee, perigee])
    top = _round_up(apogee[low_period].max(initial=1000.0), 500.0)
    far = max(float(apogee.max()), 50_000.0)
    gabbard = [
        _panel(
            ("g0", "Low orbits, period below 130 min"),
            ("period", "min", Scale(86.0, LOW_PERIOD, *_across())),
            ("apogee and perigee altitude", "km", Scale(0.0, top, *_down())),
            (np.tile(period, 2), both, np.tile(group, 2), np.tile(low_period, 2)),
            markers,
        ),
        _panel(
            ("g1", "All others, logarithmic"),
            ("period", "min", Scale(LOW_PERIOD, max(float(period.max()), 3000.0), *_across(), log=True)),
            ("apogee and perigee altitude", "km", Scale(100.0, far, *_down(), log=True)),
            (np.tile(period, 2), both, np.tile(group, 2), np.tile(~low_period, 2)),
            markers,
        ),
    ]
    steep = Scale(0.0, max(120.0, _round_up(float(inclination.max()), 10.0)), *_across())
    both_axes = (inclination, middle, group)
    inclination_map = [
        _panel(
            ("m0", f"Low orbits, below {LOW_ALTITUDE:,.0f} km"),
            ("inclination", "deg", steep),
            ("mean altitude", "km", Scale(0.0, LOW_ALTITUDE, *_down())),
            (*both_axes, low),
            markers,
        ),
        _panel(
            ("m1", f"Above {LOW_ALTITUDE:,.0f} km, logarithmic"),
            ("inclination", "deg", steep),
            ("mean altitude", "km", Scale(LOW_ALTITUDE, max(float(middle.max()), 50_000.0), *_down(), log=True)),
            (*both_axes, ~low),
            markers,
        ),
    ]
    return OrbitFigures(gabbard, inclination_map, int((~known).sum()))


def _across() -> tuple[float, float]:
    return float(MARGIN[0]), float(PANEL[0] - MARGIN[1])


def _down() -> tuple[float, float]:
    return float(PANEL[1] - MARGIN[3]), float(MARGIN[2])


def _round_up(value: float, step: float) -> float:
    return step * float(np.ceil(value / step))


def _panel(
    named: tuple[str, str],
    x: tuple[str, str, Scale],
    y: tuple[str, str, Scale],
    points: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp], NDArray[np.bool_]],
    markers: list[str],
) -> Panel:
    values_x, values_y, group, here = points
    at_x, at_y, group = x[2](values_x[here]), y[2](values_y[here]), group[here]
    n_each = np.bincount(group, minlength=len(markers))
    twice = 2 if named[0].startswith("g") else 1  # a Gabbard diagram has every object twice
    drawn = [k for k in range(len(markers)) if n_each[k]]
    order = sorted(drawn, key=lambda k: (markers[k] != "dot", -n_each[k]))
    return Panel(
        *named,
        x=Axis(x[0], x[1], x[2].ticks(N_TICKS if x[2].log else N_ACROSS)),
        y=Axis(y[0], y[1], y[2].ticks()),
        paths={k: points_path(at_x[group == k], at_y[group == k], markers[k]) for k in order},
        counts={k: int(n_each[k]) // twice for k in order},
        n_objects=int(n_each.sum()) // twice,
    )


#: Title, words, figures of the certificate, condition that limits the first, whether logarithmic.
_CURVES: tuple[tuple[str, str, tuple[tuple[str, str], ...], str | None, bool], ...] = (
    ("Identity residual", "|L_q - L_rec - V| / L_q", (("identity_residual", "residual"),), "identity", True),
    (
        "Temperature",
        "over the critical one of the whole objective",
        (("tau_joint", "tau_joint"),),
        "supercritical",
        True,
    ),
    ("Sharpness", "prototypes' step over the largest stable one", (("sharpness", "step"),), "fast_step", True),
    ("Lag", "share of their way that prototypes still have to go", (("lag", "lag"),), "tracking", False),
    (
        "Separation",
        "distance of prototypes over the spread of the tokens",
        (("mean_separation", "all pairs, mean"), ("min_separation", "nearest two")),
        None,
        False,
    ),
    (
        "Usage",
        "number of prototypes",
        (
            ("usage_perplexity", "effective number over all columns"),
            ("effective_prototypes", "effective number per column"),
        ),
        None,
        False,
    ),
    ("Dead prototypes", "share of prototypes without members", (("dead_share", "dead"),), "alive", False),
)


def certificate_curves(stability: Stability) -> list[Curve]:
    """Curves of the certificate over the epochs; empty if the fit was not certified."""
    if not stability.epochs:
        return []
    epochs = np.array([float(epoch.epoch) for epoch in stability.epochs])
    curves = []
    for title, words, figures, condition, log in _CURVES:
        if all(hasattr(stability.epochs[0], name) for name, _ in figures):
            values = [np.array([float(getattr(e, name)) for e in stability.epochs]) for name, _ in figures]
            limited_by = None if condition is None else CONDITIONS.get(condition)
            curves.append(_curve((title, words), [name for _, name in figures], epochs, values, limited_by, log))
    return curves


def _curve(
    words: tuple[str, str],
    names: list[str],
    epochs: NDArray[np.float64],
    values: list[NDArray[np.float64]],
    condition: Condition | None,
    log: bool,
) -> Curve:
    limit = None if condition is None else condition.limit
    when = "" if condition is None or condition.every_epoch else ", in the epoch kept"
    across = Scale(min(1.0, epochs[0]), max(epochs[-1], epochs[0] + 1.0), CURVE_MARGIN[0], CURVE[0] - CURVE_MARGIN[1])
    scale = _curve_scale(np.concatenate([*values, [] if limit is None else [limit]]), log)
    # The logarithm of 0 lies at the bottom edge: a residual can round to nothing.
    shown = [np.where(v > 0, v, np.where(v == 0, scale.low, np.nan)) if log else v for v in values]
    lines = [np.where(np.isfinite(v), scale(v), np.nan) for v in shown]
    return Curve(
        *words,
        lines=[(name, line_path(across(epochs), line)) for name, line in zip(names, lines, strict=True)],
        ends=[number(float(v[-1])) for v in values],
        x=across.ticks(),
        y=scale.ticks(5),
        limit=None if limit is None else float(scale(np.array([limit]))[0]),
        limit_words="" if limit is None else f"limit {tick_label(limit)}{when}",
    )


def _curve_scale(values: NDArray[np.float64], log: bool) -> Scale:
    down = (float(CURVE[1] - CURVE_MARGIN[3]), float(CURVE_MARGIN[2]))
    finite = values[np.isfinite(values) & ((values > 0) | (not log))]
    if not log:
        return Scale(min(0.0, float(finite.min(initial=0.0))), 1.08 * float(finite.max(initial=1e-9)), *down)
    low, high = float(finite.min(initial=1.0)), float(finite.max(initial=1e-12))
    return Scale(10.0 ** np.floor(np.log10(low) - 0.05), 10.0 ** np.ceil(np.log10(high) + 0.05), *down, log=True)
