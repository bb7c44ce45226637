"""Keplerian elements to position and velocity and back (two-body), and secular drift by the Earth's oblateness."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.space._elements import (
    SECONDS_PER_DAY,
    WGS72,
    EarthModel,
    FloatArray,
    checked,
    inclination_rad,
    positive,
    valid_eccentricity,
)

# Below this, node or perigee are not defined by float64 states and the conventions of state_to_elements apply.
SINGULAR = 1e-11


@dataclass(frozen=True, eq=False)
class KeplerianElements:
    """Osculating elements of n closed orbits.

    Parameters
    ----------
    semi_major_axis_km : ndarray, shape (n,)
        Semi-major axis in km.
    eccentricity : ndarray, shape (n,)
        Eccentricity in [0, 1).
    inclination_deg : ndarray, shape (n,)
        Inclination in [0, 180] deg.
    raan_deg : ndarray, shape (n,)
        Right ascension of the ascending node in deg.
    argument_of_perigee_deg : ndarray, shape (n,)
        Argument of perigee in deg.
    true_anomaly_deg : ndarray, shape (n,)
        True anomaly in deg.

    Scalars become arrays of one element.

    Raises
    ------
    ConfigurationError
        If an element is missing or impossible, or the lengths differ.

    Examples
    --------
    >>> KeplerianElements(7000.0, 0.01, 98.0, 10.0, 20.0, 30.0).eccentricity
    array([0.01])
    """

    semi_major_axis_km: FloatArray
    eccentricity: FloatArray
    inclination_deg: FloatArray
    raan_deg: FloatArray
    argument_of_perigee_deg: FloatArray
    true_anomaly_deg: FloatArray

    def __post_init__(self) -> None:
        names = [field.name for field in fields(self)]
        try:
            arrays = np.broadcast_arrays(*(np.atleast_1d(np.asarray(getattr(self, n), np.float64)) for n in names))
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"orbital elements are numbers of one length: {error}") from None
        a, e, i = arrays[:3]
        rules = {
            "semi_major_axis_km": ("is positive and finite", (a > 0) & (a < np.inf)),
            "eccentricity": ("is in [0, 1)", (e >= 0) & (e < 1)),
            "inclination_deg": ("is in [0, 180]", (i >= 0) & (i <= 180)),
        }
        for name, array in zip(names, arrays, strict=True):
            rule, valid = rules.get(name, ("is finite", np.isfinite(array)))
            checked(name, array, rule, valid)
            if array.ndim != 1 or np.isnan(array).any():
                raise ConfigurationError(f"{name} is one-dimensional and has no missing values")
            object.__setattr__(self, name, array)


def elements_to_state(elements: KeplerianElements, earth: EarthModel = WGS72) -> tuple[FloatArray, FloatArray]:
    """Position and velocity from elements.

    Parameters
    ----------
    elements : KeplerianElements
        n orbits.
    earth : EarthModel
        Gives GM.

    Returns
    -------
    position_km, velocity_km_s : ndarray, shape (n, 3)
        Inertial equatorial frame, km and km/s (Vallado, *Fundamentals of Astrodynamics*, algorithm COE2RV).

    Examples
    --------
    >>> r, v = elements_to_state(KeplerianElements(7000.0, 0.0, 0.0, 0.0, 0.0, 90.0))
    >>> r.round(6) + 0.0
    array([[   0., 7000.,    0.]])
    """
    i, raan, argp, anomaly = (
        np.radians(angle)
        for angle in (
            elements.inclination_deg,
            elements.raan_deg,
            elements.argument_of_perigee_deg,
            elements.true_anomaly_deg,
        )
    )
    e = elements.eccentricity
    semi_latus_rectum = elements.semi_major_axis_km * (1 - e) * (1 + e)
    node = np.stack([np.cos(raan), np.sin(raan), np.zeros_like(raan)], axis=1)
    # In the orbital plane, 90 deg ahead of the node.
    ahead = np.stack([-np.sin(raan) * np.cos(i), np.cos(raan) * np.cos(i), np.sin(i)], axis=1)
    to_perigee = np.cos(argp)[:, None] * node + np.sin(argp)[:, None] * ahead
    along = -np.sin(argp)[:, None] * node + np.cos(argp)[:, None] * ahead
    radius = semi_latus_rectum / (1 + e * np.cos(anomaly))
    speed = np.sqrt(earth.gm_km3_s2 / semi_latus_rectum)
    position = (radius * np.cos(anomaly))[:, None] * to_perigee + (radius * np.sin(anomaly))[:, None] * along
    velocity = (-speed * np.sin(anomaly))[:, None] * to_perigee + (speed * (e + np.cos(anomaly)))[:, None] * along
    return position, velocity


def orbital_energy(position_km: FloatArray, velocity_km_s: FloatArray, earth: EarthModel = WGS72) -> FloatArray:
    """Specific orbital energy in km^2/s^2 of states, v^2/2 - GM/r; closed orbits have a negative one.

    Parameters
    ----------
    position_km, velocity_km_s : ndarray, shape (n, 3)
        Inertial states in km and km/s.
    earth : EarthModel
        Gives GM.

    Returns
    -------
    ndarray, shape (n,)
        Energy per mass in km^2/s^2.

    Examples
    --------
    >>> orbital_energy(np.array([[7000.0, 0, 0]]), np.array([[0, 7.5, 0]])).round(3)
    array([-28.818])
    """
    return 0.5 * np.sum(velocity_km_s**2, axis=1) - earth.gm_km3_s2 / np.linalg.norm(position_km, axis=1)


def state_to_elements(
    position_km: FloatArray, velocity_km_s: FloatArray, earth: EarthModel = WGS72
) -> KeplerianElements:
    """Elements of closed orbits from position and velocity.

    Where the orbit is equatorial the node is put on the x axis; where it is circular the perigee is put on the
    node, so that the true anomaly is the argument of latitude. All angles come out in [0, 360) deg.

    Parameters
    ----------
    position_km, velocity_km_s : ndarray, shape (n, 3)
        Inertial states in km and km/s.
    earth : EarthModel
        Gives GM.

    Returns
    -------
    KeplerianElements
        n orbits (Vallado, *Fundamentals of Astrodynamics*, algorithm RV2COE).

    Raises
    ------
    ConfigurationError
        If a state is not on a closed orbit, has no angular momentum, or the shapes are wrong.

    Examples
    --------
    >>> r, v = elements_to_state(KeplerianElements(7000.0, 0.01, 98.0, 10.0, 20.0, 30.0))
    >>> state_to_elements(r, v).argument_of_perigee_deg.round(6)
    array([20.])
    """
    r, v = np.asarray(position_km, np.float64), np.asarray(velocity_km_s, np.float64)
    if r.ndim != 2 or r.shape[1] != 3 or r.shape != v.shape:
        raise ConfigurationError(f"position and velocity have the shape (n, 3), not {r.shape} and {v.shape}")
    energy = orbital_energy(r, v, earth)
    momentum = np.cross(r, v)
    size = np.linalg.norm(momentum, axis=1)
    bad = np.flatnonzero(~((energy < 0) & (size > 0)))
    if len(bad):
        raise ConfigurationError(f"a state is on a closed orbit, but energy {energy[bad[0]]} at index {bad[0]} is not")
    normal = momentum / size[:, None]
    outward = r / np.linalg.norm(r, axis=1)[:, None]
    eccentricity_vector = np.cross(v, momentum) / earth.gm_km3_s2 - outward
    eccentricity = np.linalg.norm(eccentricity_vector, axis=1)
    node = _direction(np.stack([-normal[:, 1], normal[:, 0], np.zeros(len(r))], axis=1), np.array([1.0, 0.0, 0.0]))
    perigee = _direction(eccentricity_vector, node)
    return KeplerianElements(
        -earth.gm_km3_s2 / (2 * energy),
        eccentricity,
        np.degrees(np.arctan2(np.hypot(normal[:, 0], normal[:, 1]), normal[:, 2])),
        np.degrees(np.arctan2(node[:, 1], node[:, 0])) % 360,
        _angle_deg(node, perigee, normal),
        _angle_deg(perigee, outward, normal),
    )


def _direction(vectors: FloatArray, otherwise: FloatArray) -> FloatArray:
    """Normalise vectors; where one vanishes, take the other direction."""
    size: NDArray[np.float64] = np.linalg.norm(vectors, axis=1)[:, None]
    return np.where(size > SINGULAR, vectors / np.maximum(size, SINGULAR), otherwise)


def _angle_deg(start: FloatArray, end: FloatArray, normal: FloatArray) -> FloatArray:
    """Angle in [0, 360) deg from one unit vector to another, counted around the normal."""
    ahead = np.cross(normal, start)
    return np.degrees(np.arctan2(np.sum(ahead * end, axis=1), np.sum(start * end, axis=1))) % 360


def _drift_deg_per_day(a: FloatArray, e: FloatArray, earth: EarthModel) -> FloatArray:
    """J2 drift scale n J2 (R / p)^2 in deg/day, with p = a (1 - e^2)."""
    mean_motion_deg_per_day = np.degrees(np.sqrt(earth.gm_km3_s2 / a**3)) * SECONDS_PER_DAY
    return mean_motion_deg_per_day * earth.j2 * np.square(earth.equatorial_radius_km / (a * (1 - e) * (1 + e)))


def raan_rate(
    semi_major_axis_km: ArrayLike, eccentricity: ArrayLike, inclination_deg: ArrayLike, earth: EarthModel = WGS72
) -> FloatArray:
    """Secular J2 rate of the right ascension of the ascending node in deg/day.

    First order (Vallado, *Fundamentals of Astrodynamics and Applications*, section 9.6):
    -3/2 n J2 (R / p)^2 cos i, with p = a (1 - e^2).

    Parameters
    ----------
    semi_major_axis_km : array_like
        Semi-major axis in km.
    eccentricity : array_like
        Eccentricity in [0, 1).
    inclination_deg : array_like
        Inclination in [0, 180] deg.
    earth : EarthModel
        Gives GM, radius and J2.

    Returns
    -------
    ndarray
        Rate in deg/day; negative (westwards) below 90 deg.

    Raises
    ------
    ConfigurationError
        If an element is impossible.

    Examples
    --------
    A Sun-synchronous orbit turns by 360 deg in a year:

    >>> round(float(raan_rate(7178.0, 0.001, 98.6)) * 365.2422)
    360
    """
    a, e = positive("semi_major_axis_km", semi_major_axis_km), valid_eccentricity(eccentricity)
    return -1.5 * _drift_deg_per_day(a, e, earth) * np.cos(inclination_rad(inclination_deg))


def argument_of_perigee_rate(
    semi_major_axis_km: ArrayLike, eccentricity: ArrayLike, inclination_deg: ArrayLike, earth: EarthModel = WGS72
) -> FloatArray:
    """Secular J2 rate of the argument of perigee in deg/day.

    First order (Vallado, *Fundamentals of Astrodynamics and Applications*, section 9.6):
    3/4 n J2 (R / p)^2 (4 - 5 sin^2 i), with p = a (1 - e^2).

    Parameters
    ----------
    semi_major_axis_km : array_like
        Semi-major axis in km.
    eccentricity : array_like
        Eccentricity in [0, 1).
    inclination_deg : array_like
        Inclination in [0, 180] deg.
    earth : EarthModel
        Gives GM, radius and J2.

    Returns
    -------
    ndarray
        Rate in deg/day; zero at the critical inclination, 63.43 deg.

    Raises
    ------
    ConfigurationError
        If an element is impossible.

    Examples
    --------
    >>> abs(round(float(argument_of_perigee_rate(26560.0, 0.74, 63.4349)), 5))
    0.0
    """
    a, e = positive("semi_major_axis_km", semi_major_axis_km), valid_eccentricity(eccentricity)
    return 0.75 * _drift_deg_per_day(a, e, earth) * (4 - 5 * np.square(np.sin(inclination_rad(inclination_deg))))
