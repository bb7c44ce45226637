"""Constants of the Earth.

The public catalog is made with SGP4, whose constants are those of WGS-72. WGS-72 is therefore the default everywhere:
with any other radius the altitudes would be those of another Earth.
"""

from __future__ import annotations

from dataclasses import dataclass

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
