"""Decisions in terms of orbits: the smallest change of orbit that changes the class [m/s], and two diagrams."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.stats import qmc

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._columns import as_table
from ddcl_tab.estimators._families import family_rows
from ddcl_tab.estimators._table import EncodedRows
from ddcl_tab.estimators._validation import library_of
from ddcl_tab.interpret._cards import axes_or_new, layers, read_numbers
from ddcl_tab.interpret._model import FittedModel, take
from ddcl_tab.space._elements import (
    WGS72,
    eccentricity_from_altitudes,
    period_from_semi_major_axis,
    semi_major_axis_from_altitudes,
)
from ddcl_tab.space._families import Families
from ddcl_tab.space._schema import APSIDES_AND_INCLINATION

#: Orbits looked at for each row (a power of two), and halvings of the way to the nearest of them.
N_CANDIDATES, N_HALVINGS = 2048, 10
#: Smallest and largest change looked at: km for the altitudes, deg for the inclination.
ALTITUDE_STEPS, INCLINATION_STEPS = (1.0, 35_000.0), (0.05, 90.0)
#: Share of the candidates that leaves a column as it is.
KEPT = 0.4
#: Altitudes that are looked at, in km.
LOWEST, HIGHEST = 120.0, 60_000.0


class Orbits(NamedTuple):
    """Orbits; perigee and apogee altitude in km, inclination in deg, arrays of one shape."""

    perigee: NDArray[np.float64]
    apogee: NDArray[np.float64]
    inclination: NDArray[np.float64]


def counterfactuals(classifier: DDCLClassifier, X: Any, *, random_state: int = 0) -> Any:
    """Nearest orbit at which the model decides for another class, row by row.

    Perigee, apogee and inclination move; semi-major axis, eccentricity and period follow from them, and so does what
    family columns say of the own orbit; all other columns (size, country, drag terms, the siblings) stay as they are,
    so this asks the model and not the sky. The distance between two orbits is the velocity that impulsive manoeuvres
    between them take (:func:`delta_v`).

    Parameters
    ----------
    classifier : DDCLClassifier
        Fitted on the columns PERIGEE, APOGEE (km) and INCLINATION (deg), among others.
    X : frame, shape (n, p)
        Rows to ask for.
    random_state : int, default=0
        Of the candidate orbits.

    Returns
    -------
    frame
        One row each: ``row``, ``prediction``, ``becomes`` (null where no orbit looked at changes the class, or where
        the row has no orbit), ``probability`` (of ``becomes``, there), ``delta_v`` (m/s), ``change`` in words, and the
        orbit itself: ``PERIGEE``, ``APOGEE`` (km), ``INCLINATION`` (deg).

    Raises
    ------
    ConfigurationError
        The classifier does not learn from an orbit.

    Examples
    --------
    >>> import polars as pl
    >>> from ddcl_tab import DDCLClassifier
    >>> rng = np.random.default_rng(0)
    >>> perigee = np.append(rng.uniform(400, 600, 60), rng.uniform(1200, 1400, 60))
    >>> X = pl.DataFrame({"PERIGEE": perigee, "APOGEE": perigee + 20, "INCLINATION": rng.uniform(50, 99, 120)})
    >>> y = ["PAYLOAD"] * 60 + ["DEBRIS"] * 60
    >>> classifier = DDCLClassifier(n_prototypes=4, max_epochs=20, certify=False, random_state=0).fit(X, y)
    >>> counterfactuals(classifier, X[:1]).select("prediction", "becomes").row(0)
    ('PAYLOAD', 'DEBRIS')
    """
    model, X = FittedModel(classifier), as_table(X)
    names = [scale.name for scale in classifier.encoder_.numeric_]
    absent = [name for name in APSIDES_AND_INCLINATION if name not in names]
    if absent:
        raise ConfigurationError(
            f"counterfactual orbits need the columns {', '.join(APSIDES_AND_INCLINATION)}; {absent} were not in fit"
        )
    rows = model.read(X)
    orbits = Orbits(*(np.asarray(rows.columns[name].values, np.float64) for name in APSIDES_AND_INCLINATION))
    decided = rows.prediction.probability.argmax(axis=1)
    moved = _moved_families(classifier, X)
    unit = qmc.Sobol(7, rng=np.random.default_rng(random_state)).random(N_CANDIDATES)
    found = [
        _nearest(_Moved(model, take(rows.encoded, np.array([i])), partial(moved, i)), _row(orbits, i), decided[i], unit)
        for i in range(len(decided))
    ]
    result = {
        "row": list(range(len(found))),
        "prediction": classifier.classes_[decided].tolist(),
        "becomes": [None if f is None else classifier.classes_[f.label] for f in found],
        "probability": [None if f is None else f.probability for f in found],
        "delta_v": [None if f is None else f.delta_v for f in found],
        "change": [None if f is None else _words(_row(orbits, i), f.orbit) for i, f in enumerate(found)],
        **{
            name: [None if f is None else float(f.orbit[j][0]) for f in found]
            for j, name in enumerate(APSIDES_AND_INCLINATION)
        },
    }
    return classifier._frame_of(result, library_of(X))


def delta_v(start: Orbits, end: Orbits) -> NDArray[np.float64]:
    """Velocity in m/s for impulsive manoeuvres from one orbit to another.

    Perigee is moved by a burn at apogee, then apogee by a burn at the new perigee, and the plane is turned at the
    highest point on the way, where it costs least (vis-viva; Vallado, Fundamentals of Astrodynamics, chapter 6). It is
    a distance for comparing orbits, not the least that a mission planner would find.

    Examples
    --------
    >>> geo = Orbits(np.array(35_786.0), np.array(35_786.0), np.array(0.0))
    >>> gto = Orbits(np.array(250.0), np.array(35_786.0), np.array(0.0))
    >>> round(float(delta_v(gto, geo)), -1)
    1470.0
    """
    radius, mu = WGS72.equatorial_radius_km, WGS72.gm_km3_s2
    low, high = radius + start.perigee, radius + start.apogee
    new_low, new_high = radius + end.perigee, radius + end.apogee
    at_apogee = np.abs(_speed(high, new_low, mu) - _speed(high, low, mu))
    at_perigee = np.abs(_speed(new_low, new_high, mu) - _speed(new_low, high, mu))
    top = np.maximum(high, new_high)
    slowest = _speed(top, new_low, mu)
    turn = 2.0 * slowest * np.sin(np.radians(np.abs(end.inclination - start.inclination)) / 2.0)
    return 1000.0 * (at_apogee + at_perigee + turn)


def _speed(here: NDArray[np.float64], other: NDArray[np.float64], mu: float) -> NDArray[np.float64]:
    """Speed in km/s at one apsis of an orbit, radii in km."""
    return np.sqrt(2.0 * mu * other / (here * (here + other)))


class _Moved(NamedTuple):
    """A row that is asked about on other orbits, and what its family columns are there."""

    model: FittedModel
    row: EncodedRows
    family: Callable[[dict[str, NDArray[np.float64]]], Mapping[str, NDArray[np.float64]]]


def _moved_families(
    classifier: DDCLClassifier, X: Any
) -> Callable[[int, dict[str, NDArray[np.float64]]], Mapping[str, NDArray[np.float64]]]:
    """Number of a row and its orbits to the family columns that change with them."""
    families = classifier.families_
    if not isinstance(families, Families):
        return lambda _, __: {}
    frame = family_rows(Families, X)
    families = families.including(frame)
    return lambda i, orbits: {
        column.name: column.fill_null(np.nan).to_numpy() for column in families.moved(frame[i : i + 1], orbits)
    }


class _Found(NamedTuple):
    orbit: Orbits
    label: int
    probability: float
    delta_v: float


def _row(orbits: Orbits, i: int) -> Orbits:
    return Orbits(*(part[[i]] for part in orbits))


def _nearest(row: _Moved, orbit: Orbits, decided: int, unit: NDArray[np.float64]) -> _Found | None:
    if any(np.isnan(part[0]) for part in orbit):
        return None
    candidates = _candidates(orbit, unit)
    cost = delta_v(orbit, candidates)
    label = _classes_at(row, candidates).argmax(axis=1)
    other = np.flatnonzero(label != decided)
    if not len(other):
        return None
    best = _row(candidates, other[cost[other].argmin()])
    best = _simplify(row, orbit, best, decided)
    inside, outside = np.zeros(1), np.ones(1)
    for _ in range(N_HALVINGS):
        middle = (inside + outside) / 2.0
        flips = _classes_at(row, _between(orbit, best, middle)).argmax() != decided
        inside, outside = (inside, middle) if flips else (middle, outside)
    end = _between(orbit, best, outside)
    probability = _classes_at(row, end)[0]
    return _Found(end, int(probability.argmax()), float(probability.max()), float(delta_v(orbit, end)[0]))


def _candidates(orbit: Orbits, unit: NDArray[np.float64]) -> Orbits:
    """Orbits around one, near ones as dense as far ones; ``unit`` is (n, 7) in [0, 1)."""
    move = (unit[:, 3:6] >= KEPT) * np.where(unit[:, :3] < 0.5, -1.0, 1.0)
    size = np.abs(2.0 * unit[:, :3] - 1.0)
    altitude = ALTITUDE_STEPS[0] * (ALTITUDE_STEPS[1] / ALTITUDE_STEPS[0]) ** size[:, :2]
    turned = INCLINATION_STEPS[0] * (INCLINATION_STEPS[1] / INCLINATION_STEPS[0]) ** size[:, 2]
    # Round orbits stay round in a quarter of the candidates: perigee and apogee move together.
    together = unit[:, 6] < 0.25
    altitude[together, 1], move[together, 1] = altitude[together, 0], move[together, 0]
    low = np.clip(orbit.perigee + move[:, 0] * altitude[:, 0], LOWEST, HIGHEST)
    high = np.clip(orbit.apogee + move[:, 1] * altitude[:, 1], LOWEST, HIGHEST)
    inclination = np.clip(orbit.inclination + move[:, 2] * turned, 0.0, 180.0)
    return Orbits(np.minimum(low, high), np.maximum(low, high), inclination)


def _simplify(row: _Moved, start: Orbits, end: Orbits, decided: int) -> Orbits:
    """Put back each part of the change that is not needed, the dearest first."""
    parts = range(3)
    alone = [delta_v(start, _with(start, end, {part})) for part in parts]
    needed = set(parts)
    for part in sorted(parts, key=lambda p: -float(alone[p][0])):
        shorter = _with(start, end, needed - {part})
        valid = shorter.perigee[0] <= shorter.apogee[0]
        if needed != {part} and valid and _classes_at(row, shorter).argmax() != decided:
            needed -= {part}
    return _with(start, end, needed)


def _with(start: Orbits, end: Orbits, parts: set[int]) -> Orbits:
    return Orbits(*(end[i] if i in parts else start[i] for i in range(3)))


def _between(start: Orbits, end: Orbits, share: NDArray[np.float64]) -> Orbits:
    return Orbits(*(a + share * (b - a) for a, b in zip(start, end, strict=True)))


def _classes_at(row: _Moved, orbits: Orbits) -> NDArray[np.float64]:
    """Class probabilities, shape (m, C), of one row moved to m orbits."""
    axis = semi_major_axis_from_altitudes(orbits.perigee, orbits.apogee)
    moved = {
        **dict(zip(APSIDES_AND_INCLINATION, orbits, strict=True)),
        "SEMIMAJOR_AXIS": axis,
        "ECCENTRICITY": eccentricity_from_altitudes(orbits.perigee, orbits.apogee),
        "PERIOD": period_from_semi_major_axis(axis),
    }
    moved |= row.family(moved)
    numeric = np.repeat(row.row.numeric, len(axis), axis=0)
    for j, scale in enumerate(row.model.classifier.encoder_.numeric_):
        if scale.name in moved:
            numeric[:, j] = scale(moved[scale.name])
    return row.model.predict(EncodedRows(numeric, np.repeat(row.row.categorical, len(axis), axis=0))).probability


def _words(start: Orbits, end: Orbits) -> str:
    """The change in words, what does not move left out."""
    parts = []
    for name, unit, digits, a, b in zip(
        APSIDES_AND_INCLINATION, ("km", "km", "deg"), (0, 0, 2), start, end, strict=True
    ):
        before, after = f"{a[0]:.{digits}f}", f"{b[0]:.{digits}f}"
        if before != after:
            parts.append(f"{name} {before} to {after} {unit}")
    return ", ".join(parts) or "less than 1 km and 0.01 deg"


def plot_gabbard(classifier: DDCLClassifier, X: Any, *, ax: Axes | None = None) -> Axes:
    """Gabbard diagram: apogee and perigee altitude [km] against period [min], marked by predicted class.

    Parameters
    ----------
    classifier : DDCLClassifier
        Fitted.
    X : frame
        With the columns PERIOD, APOGEE and PERIGEE.
    ax : matplotlib axes, optional
        Default: a new figure.

    Returns
    -------
    matplotlib axes
        Apogees are filled, perigees hollow.

    Raises
    ------
    InputError
        A column is missing.
    """
    period, apogee, perigee = read_numbers(X, "PERIOD", "APOGEE", "PERIGEE")
    ax = axes_or_new(ax)
    for label, rows, style in layers(classifier, X):
        ax.scatter(period[rows], apogee[rows], label=label, **style)
        ax.scatter(period[rows], perigee[rows], **style | {"facecolors": "none", "edgecolors": style["color"]})
    ax.set(xlabel="period [min]", ylabel="apogee (filled) and perigee (hollow) altitude [km]")
    ax.set(xscale="log", yscale="log")
    ax.legend(frameon=False)
    return ax


def plot_altitude_inclination(classifier: DDCLClassifier, X: Any, *, ax: Axes | None = None) -> Axes:
    """Mean altitude [km] against inclination [deg], marked by predicted class.

    Parameters
    ----------
    classifier : DDCLClassifier
        Fitted.
    X : frame
        With the columns APOGEE, PERIGEE (km) and INCLINATION (deg).
    ax : matplotlib axes, optional
        Default: a new figure.

    Returns
    -------
    matplotlib axes

    Raises
    ------
    InputError
        A column is missing.
    """
    inclination, apogee, perigee = read_numbers(X, "INCLINATION", "APOGEE", "PERIGEE")
    ax = axes_or_new(ax)
    for label, rows, style in layers(classifier, X):
        ax.scatter(inclination[rows], (apogee[rows] + perigee[rows]) / 2, label=label, **style)
    ax.set(xlabel="inclination [deg]", ylabel="mean altitude [km]", yscale="log")
    ax.legend(frameon=False)
    return ax
