"""Period and altitudes of element sets, in eager and lazy frames."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import polars as pl

from ddcl_tab.orbit.earth import WGS72

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)
_MINUTES_PER_DAY = 1440.0


def add_orbit_shape(elsets: Frame) -> Frame:
    """Add PERIOD (min), SEMIMAJOR_AXIS, APOGEE and PERIGEE (km) to element sets, row by row, so that it streams.

    PERIOD is 1440 over MEAN_MOTION; the axis follows by Kepler's third law, a = (GM (T / 2 pi)^2)^(1/3), with the
    constants of WGS-72; APOGEE and PERIGEE are altitudes above 6378.135 km.

    Parameters
    ----------
    elsets : polars.DataFrame or polars.LazyFrame
        With MEAN_MOTION (rev/day) and ECCENTRICITY, from `read_gp` or `scan_gp`.

    Returns
    -------
    polars.DataFrame or polars.LazyFrame
        As `elsets`, with the four columns; null where one of the two is.

    Notes
    -----
    The same as `ddcl_tab.orbit.elements`, to rounding; the mean motion is Kozai's, as in the catalog's PERIOD.

    Examples
    --------
    >>> frame = add_orbit_shape(pl.DataFrame({"MEAN_MOTION": [15.0], "ECCENTRICITY": [0.01]}))
    >>> [round(value, 1) for value in frame.select("PERIOD", "SEMIMAJOR_AXIS", "APOGEE", "PERIGEE").row(0)]
    [96.0, 6945.0, 636.4, 497.5]
    """
    period, eccentricity = _MINUTES_PER_DAY / pl.col("MEAN_MOTION"), pl.col("ECCENTRICITY")
    axis = (WGS72.gm_km3_s2 * (60.0 * period / (2 * np.pi)) ** 2).cbrt()
    return elsets.with_columns(
        period.alias("PERIOD"),
        axis.alias("SEMIMAJOR_AXIS"),
        (axis * (1 + eccentricity) - WGS72.equatorial_radius_km).alias("APOGEE"),
        (axis * (1 - eccentricity) - WGS72.equatorial_radius_km).alias("PERIGEE"),
    )
