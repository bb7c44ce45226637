"""Secular drift of an orbit by the Earth's oblateness (J2, first order)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ddcl_tab.orbit.checks import FloatArray, inclination_rad, positive, valid_eccentricity
from ddcl_tab.orbit.earth import SECONDS_PER_DAY, WGS72, EarthModel


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
