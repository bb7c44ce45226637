"""What follows from the elements of an orbit: position and velocity (two-body), drift by the Earth's oblateness, class.

Angles are geocentric, in the inertial equatorial frame of the elements; rates are in deg/day.
"""

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
    inclination, node_angle, perigee_angle, anomaly = (
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
    cos_node, sin_node = np.cos(node_angle), np.sin(node_angle)
    node = np.stack([cos_node, sin_node, np.zeros_like(cos_node)], axis=1)
    # In the orbital plane, 90 deg ahead of the node.
    ahead = np.stack([-sin_node * np.cos(inclination), cos_node * np.cos(inclination), np.sin(inclination)], axis=1)
    to_perigee = np.cos(perigee_angle)[:, None] * node + np.sin(perigee_angle)[:, None] * ahead
    along = -np.sin(perigee_angle)[:, None] * node + np.cos(perigee_angle)[:, None] * ahead
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


REGIMES: dict[str, str] = {
    "GEO": "geostationary: inclination 0..25 deg, perigee and apogee altitude 35586..35986 km",
    "IGO": "inclined geosynchronous: semi-major axis 37948..46380 km, eccentricity 0..0.25, inclination 25..180 deg",
    "EGO": "extended geostationary: semi-major axis 37948..46380 km, eccentricity 0..0.25, inclination 0..25 deg",
    "NSO": "navigation satellites: inclination 50..70 deg, perigee and apogee altitude 18100..24300 km",
    "GTO": "GEO transfer: inclination 0..90 deg, perigee altitude 0..2000 km, apogee altitude 31570..40002 km",
    "MEO": "medium Earth: perigee and apogee altitude 2000..31570 km",
    "GHO": "GEO-superGEO crossing: perigee altitude 31570..40002 km, apogee altitude above 40002 km",
    "LEO": "low Earth: perigee and apogee altitude 0..2000 km",
    "HAO": "high altitude Earth: perigee and apogee altitude above 40002 km",
    "MGO": "MEO-GEO crossing: perigee altitude 2000..31570 km, apogee altitude 31570..40002 km",
    "HEO": "highly eccentric Earth: perigee altitude 0..31570 km, apogee altitude above 40002 km",
    "LMO": "LEO-MEO crossing: perigee altitude 0..2000 km, apogee altitude 2000..31570 km",
    "UFO": "undefined: an orbit that meets no other line (for example a perigee altitude below 0 km)",
    "ESO": "escape: the orbit is open; here, an infinite apogee altitude (km)",
    "UNKNOWN": "an altitude (km) or the inclination (deg) is missing; not a class of the report",
}
"""Short name -> description with bounds and units, in the order of the report's table; ``UNKNOWN`` is ours."""


def _within(value: NDArray[np.float64], low: float, high: float) -> NDArray[np.bool_]:
    return (value >= low) & (value <= high)


def regime(
    perigee_altitude_km: ArrayLike, apogee_altitude_km: ArrayLike, inclination_deg: ArrayLike
) -> NDArray[np.str_]:
    """Orbit class of each object, by the first line of ESA's table that holds.

    The bounds are those of :data:`REGIMES` and both ends belong to the class. Altitudes and the semi-major axis
    count from the WGS-72 equatorial radius, as in the public catalog. Source: ESA Space Debris Office, *ESA's
    Annual Space Environment Report*, table "Ranges defining each orbital class".

    Parameters
    ----------
    perigee_altitude_km, apogee_altitude_km : array_like
        Altitudes in km; an apogee of ``inf`` is an escape orbit.
    inclination_deg : array_like
        Inclination in [0, 180] deg.

    Returns
    -------
    ndarray of str
        Short names, broadcast shape; ``"UNKNOWN"`` where an input is NaN.

    Raises
    ------
    ConfigurationError
        If an inclination is outside [0, 180] deg, a perigee is above its apogee, an altitude is not above
        the centre of the Earth, or the shapes do not match.

    Examples
    --------
    >>> regime([550, 250, 35780, 20180], [560, 35786, 35790, 20190], [53.0, 7.0, 0.1, 55.0]).tolist()
    ['LEO', 'GTO', 'GEO', 'NSO']
    """
    try:
        hp, ha, i = np.broadcast_arrays(
            *(np.asarray(value, np.float64) for value in (perigee_altitude_km, apogee_altitude_km, inclination_deg))
        )
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"altitudes and inclination are numbers of matching shapes: {error}") from None
    radius_km = WGS72.equatorial_radius_km
    checked("inclination_deg", i, "is in [0, 180]", _within(i, 0, 180))
    checked("perigee_altitude_km", hp, f"is above -{radius_km} km and finite", (hp > -radius_km) & (hp < np.inf))
    checked("perigee_altitude_km", hp, "is not above apogee_altitude_km", (hp <= ha) | np.isnan(ha))

    escape = np.isposinf(ha)
    closed_ha = np.where(escape, np.nan, ha)
    a = radius_km + (hp + closed_ha) / 2
    e = (closed_ha - hp) / (2 * a)
    geosynchronous = _within(a, 37948, 46380) & _within(e, 0, 0.25)
    low_perigee, mid_perigee, high_perigee = _within(hp, 0, 2000), _within(hp, 2000, 31570), _within(hp, 31570, 40002)
    mid_apogee, geo_apogee, above = _within(ha, 2000, 31570), _within(ha, 31570, 40002), ha > 40002
    lines = {
        "UNKNOWN": np.isnan(hp) | np.isnan(ha) | np.isnan(i),
        # First, or the table's open-ended lines (GHO, HAO, HEO) would claim the open orbits.
        "ESO": escape,
        "GEO": _within(i, 0, 25) & _within(hp, 35586, 35986) & _within(ha, 35586, 35986),
        "IGO": geosynchronous & _within(i, 25, 180),
        "EGO": geosynchronous & _within(i, 0, 25),
        "NSO": _within(i, 50, 70) & _within(hp, 18100, 24300) & _within(ha, 18100, 24300),
        "GTO": _within(i, 0, 90) & low_perigee & geo_apogee,
        "MEO": mid_perigee & mid_apogee,
        "GHO": high_perigee & above,
        "LEO": low_perigee & _within(ha, 0, 2000),
        "HAO": (hp > 40002) & above,
        "MGO": mid_perigee & geo_apogee,
        "HEO": _within(hp, 0, 31570) & above,
        "LMO": low_perigee & mid_apogee,
    }
    return np.select(list(lines.values()), list(lines), default="UFO")
