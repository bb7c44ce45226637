"""Two-body orbital elements: altitudes, periods, energies.

Plain float64 numpy functions. The unit of every quantity is in its name or its docstring. All functions broadcast;
NaN stands for a missing value and comes out as NaN; impossible values raise
:class:`~ddcl_tab.errors.ConfigurationError`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.orbit.checks import FloatArray, as_numbers, checked, positive, valid_eccentricity
from ddcl_tab.orbit.earth import MINUTES_PER_DAY, WGS72, EarthModel


def _altitudes(perigee_altitude_km: ArrayLike, apogee_altitude_km: ArrayLike, radius_km: float) -> list[FloatArray]:
    perigee = as_numbers("perigee_altitude_km", perigee_altitude_km)
    apogee = as_numbers("apogee_altitude_km", apogee_altitude_km)
    try:
        perigee, apogee = np.broadcast_arrays(perigee, apogee)
    except ValueError:
        raise ConfigurationError(
            f"perigee_altitude_km {perigee.shape} and apogee_altitude_km {apogee.shape} have shapes that do not match"
        ) from None
    rule = f"is above the centre of the Earth (-{radius_km} km) and finite"
    checked("perigee_altitude_km", perigee, rule, (perigee > -radius_km) & (perigee < np.inf))
    checked("apogee_altitude_km", apogee, "is finite", np.isfinite(apogee))
    checked("perigee_altitude_km", perigee, "is not above apogee_altitude_km", (perigee <= apogee) | np.isnan(apogee))
    return [perigee, apogee]


def semi_major_axis_from_altitudes(
    perigee_altitude_km: ArrayLike, apogee_altitude_km: ArrayLike, earth: EarthModel = WGS72
) -> FloatArray:
    """Semi-major axis in km from the two altitudes, a = R + (h_p + h_a) / 2.

    Parameters
    ----------
    perigee_altitude_km, apogee_altitude_km : array_like
        Altitudes above the equatorial radius in km.
    earth : EarthModel
        Radius to count from; the catalog's is WGS-72.

    Returns
    -------
    ndarray
        Semi-major axis in km, broadcast shape.

    Raises
    ------
    ConfigurationError
        If a perigee is above its apogee or below the centre of the Earth.

    Examples
    --------
    >>> float(semi_major_axis_from_altitudes(400.0, 420.0))
    6788.135
    """
    perigee, apogee = _altitudes(perigee_altitude_km, apogee_altitude_km, earth.equatorial_radius_km)
    return earth.equatorial_radius_km + (perigee + apogee) / 2


def eccentricity_from_altitudes(
    perigee_altitude_km: ArrayLike, apogee_altitude_km: ArrayLike, earth: EarthModel = WGS72
) -> FloatArray:
    """Eccentricity from the two altitudes, e = (h_a - h_p) / (2 a).

    Parameters
    ----------
    perigee_altitude_km, apogee_altitude_km : array_like
        Altitudes above the equatorial radius in km.
    earth : EarthModel
        Radius to count from; the catalog's is WGS-72.

    Returns
    -------
    ndarray
        Eccentricity in [0, 1), without unit, broadcast shape.

    Raises
    ------
    ConfigurationError
        If a perigee is above its apogee or below the centre of the Earth.

    Examples
    --------
    >>> round(float(eccentricity_from_altitudes(250.0, 35786.0)), 4)
    0.7283
    """
    perigee, apogee = _altitudes(perigee_altitude_km, apogee_altitude_km, earth.equatorial_radius_km)
    return (apogee - perigee) / (2 * earth.equatorial_radius_km + perigee + apogee)


def perigee_altitude(semi_major_axis_km: ArrayLike, eccentricity: ArrayLike, earth: EarthModel = WGS72) -> FloatArray:
    """Perigee altitude in km, h_p = a (1 - e) - R; negative where the orbit dips below the surface.

    Parameters
    ----------
    semi_major_axis_km : array_like
        Semi-major axis in km.
    eccentricity : array_like
        Eccentricity in [0, 1).
    earth : EarthModel
        Radius to count from.

    Returns
    -------
    ndarray
        Altitude in km, broadcast shape.

    Raises
    ------
    ConfigurationError
        If a semi-major axis is not positive or an eccentricity is outside [0, 1).

    Examples
    --------
    >>> round(float(perigee_altitude(7000.0, 0.01)), 3)
    551.865
    """
    return positive("semi_major_axis_km", semi_major_axis_km) * (1 - valid_eccentricity(eccentricity)) - (
        earth.equatorial_radius_km
    )


def apogee_altitude(semi_major_axis_km: ArrayLike, eccentricity: ArrayLike, earth: EarthModel = WGS72) -> FloatArray:
    """Apogee altitude in km, h_a = a (1 + e) - R.

    Parameters
    ----------
    semi_major_axis_km : array_like
        Semi-major axis in km.
    eccentricity : array_like
        Eccentricity in [0, 1).
    earth : EarthModel
        Radius to count from.

    Returns
    -------
    ndarray
        Altitude in km, broadcast shape.

    Raises
    ------
    ConfigurationError
        If a semi-major axis is not positive or an eccentricity is outside [0, 1).

    Examples
    --------
    >>> round(float(apogee_altitude(7000.0, 0.01)), 3)
    691.865
    """
    return positive("semi_major_axis_km", semi_major_axis_km) * (1 + valid_eccentricity(eccentricity)) - (
        earth.equatorial_radius_km
    )


def period_from_semi_major_axis(semi_major_axis_km: ArrayLike, earth: EarthModel = WGS72) -> FloatArray:
    """Period in minutes by Kepler's third law, T = 2 pi sqrt(a^3 / GM).

    Parameters
    ----------
    semi_major_axis_km : array_like
        Semi-major axis in km.
    earth : EarthModel
        Gives GM.

    Returns
    -------
    ndarray
        Period in minutes.

    Raises
    ------
    ConfigurationError
        If a semi-major axis is not positive and finite.

    Examples
    --------
    >>> round(float(period_from_semi_major_axis(42164.17)), 1)
    1436.1
    """
    a = positive("semi_major_axis_km", semi_major_axis_km)
    return 2 * np.pi * a * np.sqrt(a / earth.gm_km3_s2) / 60.0


def semi_major_axis_from_period(period_min: ArrayLike, earth: EarthModel = WGS72) -> FloatArray:
    """Semi-major axis in km by Kepler's third law, a = (GM (T / 2 pi)^2)^(1/3).

    Parameters
    ----------
    period_min : array_like
        Period in minutes (SATCAT's PERIOD).
    earth : EarthModel
        Gives GM.

    Returns
    -------
    ndarray
        Semi-major axis in km.

    Raises
    ------
    ConfigurationError
        If a period is not positive and finite.

    Examples
    --------
    >>> round(float(semi_major_axis_from_period(92.9)))
    6795
    """
    seconds = 60.0 * positive("period_min", period_min)
    return np.cbrt(earth.gm_km3_s2 * np.square(seconds / (2 * np.pi)))


def mean_motion_from_period(period_min: ArrayLike) -> FloatArray:
    """Mean motion in revolutions per day (1440 min) from the period in minutes.

    Parameters
    ----------
    period_min : array_like
        Period in minutes.

    Returns
    -------
    ndarray
        Mean motion in rev/day. Element sets give Kozai's mean motion; the catalog's PERIOD is 1440 over it.

    Raises
    ------
    ConfigurationError
        If a period is not positive and finite.

    Examples
    --------
    >>> float(mean_motion_from_period(96.0))
    15.0
    """
    return MINUTES_PER_DAY / positive("period_min", period_min)


def period_from_mean_motion(mean_motion_rev_per_day: ArrayLike) -> FloatArray:
    """Period in minutes from the mean motion in revolutions per day (1440 min).

    Parameters
    ----------
    mean_motion_rev_per_day : array_like
        Mean motion in rev/day.

    Returns
    -------
    ndarray
        Period in minutes.

    Raises
    ------
    ConfigurationError
        If a mean motion is not positive and finite.

    Examples
    --------
    >>> float(period_from_mean_motion(15.0))
    96.0
    """
    return MINUTES_PER_DAY / positive("mean_motion_rev_per_day", mean_motion_rev_per_day)


def specific_energy(semi_major_axis_km: ArrayLike, earth: EarthModel = WGS72) -> FloatArray:
    """Specific orbital energy in km^2/s^2 (= MJ/kg), -GM / (2 a).

    Parameters
    ----------
    semi_major_axis_km : array_like
        Semi-major axis in km.
    earth : EarthModel
        Gives GM.

    Returns
    -------
    ndarray
        Energy per mass in km^2/s^2, negative.

    Raises
    ------
    ConfigurationError
        If a semi-major axis is not positive and finite.

    Examples
    --------
    >>> round(float(specific_energy(7000.0)), 3)
    -28.471
    """
    return -earth.gm_km3_s2 / (2 * positive("semi_major_axis_km", semi_major_axis_km))


def specific_angular_momentum(
    semi_major_axis_km: ArrayLike, eccentricity: ArrayLike, earth: EarthModel = WGS72
) -> FloatArray:
    """Specific angular momentum in km^2/s, sqrt(GM a (1 - e^2)).

    Parameters
    ----------
    semi_major_axis_km : array_like
        Semi-major axis in km.
    eccentricity : array_like
        Eccentricity in [0, 1).
    earth : EarthModel
        Gives GM.

    Returns
    -------
    ndarray
        Angular momentum per mass in km^2/s.

    Raises
    ------
    ConfigurationError
        If a semi-major axis is not positive or an eccentricity is outside [0, 1).

    Examples
    --------
    >>> round(float(specific_angular_momentum(7000.0, 0.0)))
    52822
    """
    a, e = positive("semi_major_axis_km", semi_major_axis_km), valid_eccentricity(eccentricity)
    return np.sqrt(earth.gm_km3_s2 * a * (1 - e) * (1 + e))
