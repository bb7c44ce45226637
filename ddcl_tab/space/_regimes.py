"""Orbit classes of ESA's Annual Space Environment Report (table of orbit classes, section 1.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.space._elements import WGS72, checked

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
