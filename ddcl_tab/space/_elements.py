"""Two-body orbital elements: altitudes and periods; constants of the Earth and checks of the inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ddcl_tab.errors import ConfigurationError

MINUTES_PER_DAY = 1440.0
SECONDS_PER_DAY = 86400.0


@dataclass(frozen=True)
class EarthModel:
    """Gravity and figure of the Earth.

    Parameters
    ----------
    name : str
        Name of the standard.
    gm_km3_s2 : float
        Gravitational parameter GM in km^3/s^2.
    equatorial_radius_km : float
        Equatorial radius in km; altitudes are counted from it.
    j2 : float
        Second zonal harmonic (oblateness), without unit.

    Examples
    --------
    >>> WGS72.equatorial_radius_km, WGS84.equatorial_radius_km
    (6378.135, 6378.137)
    """

    name: str
    gm_km3_s2: float
    equatorial_radius_km: float
    j2: float


WGS72 = EarthModel("WGS-72", gm_km3_s2=398600.8, equatorial_radius_km=6378.135, j2=0.001082616)
"""Constants of SGP4 and of the public catalog (Hoots and Roehrich 1980, Spacetrack Report No. 3; Vallado 2006)."""

WGS84 = EarthModel("WGS-84", gm_km3_s2=398600.4418, equatorial_radius_km=6378.137, j2=0.00108262998905)
"""Constants of WGS-84 with the refined GM (NIMA TR8350.2, third edition, 2000)."""


FloatArray = NDArray[np.float64]


def checked(name: str, value: ArrayLike, rule: str, valid: NDArray[np.bool_] | np.bool_) -> FloatArray:
    """Return the value as float64, or raise with the first value that is neither valid nor missing.

    Parameters
    ----------
    name : str
        Name of the quantity, for the message.
    value : array_like
        Values, any shape.
    rule : str
        The rule as the end of a sentence: ``"is in [0, 1)"``.
    valid : ndarray of bool, same shape
        Where the rule holds.

    Returns
    -------
    ndarray of float64, same shape

    Raises
    ------
    ConfigurationError
        Naming quantity, rule, value and index.

    Examples
    --------
    >>> checked("eccentricity", [0.1, 1.2], "is in [0, 1)", np.array([True, False]))
    Traceback (most recent call last):
    ddcl_tab.errors.ConfigurationError: eccentricity is in [0, 1), but value 1.2 at index 1 is not
    """
    numbers = np.asarray(value, dtype=np.float64)
    wrong = np.argwhere(~(valid | np.isnan(numbers)))
    if len(wrong):
        index = tuple(int(i) for i in wrong[0])
        place = f" at index {index[0] if len(index) == 1 else index}" if index else ""
        raise ConfigurationError(f"{name} {rule}, but value {float(numbers[index])}{place} is not")
    return numbers


def as_numbers(name: str, value: ArrayLike) -> FloatArray:
    """Values as float64; raises ConfigurationError for anything that is no number."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{name} is made of numbers: {error}") from None


def positive(name: str, value: ArrayLike) -> FloatArray:
    """Values above zero and finite, or missing."""
    numbers = as_numbers(name, value)
    return checked(name, numbers, "is positive and finite", (numbers > 0) & (numbers < np.inf))


def valid_eccentricity(value: ArrayLike) -> FloatArray:
    """Eccentricities of closed orbits, or missing."""
    numbers = as_numbers("eccentricity", value)
    return checked("eccentricity", numbers, "is in [0, 1)", (numbers >= 0) & (numbers < 1))


def inclination_rad(inclination_deg: ArrayLike) -> FloatArray:
    """Inclinations in radians, from degrees in [0, 180], or missing."""
    numbers = as_numbers("inclination_deg", inclination_deg)
    return np.radians(checked("inclination_deg", numbers, "is in [0, 180]", (numbers >= 0) & (numbers <= 180)))


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
