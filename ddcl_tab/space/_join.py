"""Give each object of a SATCAT its newest element set, its shape of orbit and its launch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
import polars as pl

from ddcl_tab.errors import CatalogError
from ddcl_tab.space._elements import MINUTES_PER_DAY, WGS72
from ddcl_tab.space._schema import ANGLES, ORBIT_COLUMNS

FROM_ELSETS = ("EPOCH", "MEAN_MOTION", *ANGLES, "BSTAR", "MEAN_MOTION_DOT")
"""Columns that `join_elsets` adds."""
_FILLED = tuple(name for name in ORBIT_COLUMNS if name != "ECCENTRICITY")

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


def join_elsets(satcat: pl.DataFrame, elsets: pl.DataFrame) -> pl.DataFrame:
    """Add to each object the orbit of its newest element set.

    - New columns, null for objects without a set: EPOCH, MEAN_MOTION (rev/day), RA_OF_ASC_NODE, ARG_OF_PERICENTER and
      MEAN_ANOMALY (deg), BSTAR (1/earth radius), MEAN_MOTION_DOT (rev/day^2).
    - ECCENTRICITY is the element set's where there is one; the SATCAT's follows from altitudes rounded to 1 km.
    - PERIOD (min), INCLINATION (deg), APOGEE, PERIGEE and SEMIMAJOR_AXIS (km) are filled where the SATCAT has none:
      PERIOD is 1440 over MEAN_MOTION, the others follow by Kepler's third law with the constants of WGS-72. Against the
      SATCAT's own rounded values this is good to about 1 km in low orbits.

    Parameters
    ----------
    satcat : polars.DataFrame
        From `read_satcat`.
    elsets : polars.DataFrame
        From `read_gp`; several sets of one object may occur, the newest EPOCH counts (the later row of equal ones).

    Returns
    -------
    polars.DataFrame
        Rows of `satcat` in their order, with the columns above.

    Raises
    ------
    CatalogError
        A frame lacks a column, or `satcat` has been joined before.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> satcat = pl.DataFrame(
    ...     {"NORAD_CAT_ID": [90002, 90001], "ECCENTRICITY": [0.002, None], "PERIOD": [95.0, None],
    ...      "INCLINATION": [51.6, None], "APOGEE": [560.0, None], "PERIGEE": [532.0, None],
    ...      "SEMIMAJOR_AXIS": [6924.135, None]})
    >>> elsets = pl.DataFrame(
    ...     {"NORAD_CAT_ID": [90001], "EPOCH": [datetime(2031, 4, 10, tzinfo=UTC)], "MEAN_MOTION": [15.0],
    ...      "ECCENTRICITY": [0.01], "INCLINATION": [98.6], "RA_OF_ASC_NODE": [10.0], "ARG_OF_PERICENTER": [20.0],
    ...      "MEAN_ANOMALY": [30.0], "BSTAR": [1e-4], "MEAN_MOTION_DOT": [1e-6]})
    >>> joined = join_elsets(satcat, elsets)
    >>> joined.select("NORAD_CAT_ID", "PERIOD", "ECCENTRICITY", "MEAN_MOTION").rows()
    [(90002, 95.0, 0.002, None), (90001, 96.0, 0.01, 15.0)]
    """
    _require(satcat, "satcat", ("NORAD_CAT_ID", "ECCENTRICITY", *_FILLED))
    _require(elsets, "elsets", ("NORAD_CAT_ID", "ECCENTRICITY", "INCLINATION", *FROM_ELSETS))
    again = [name for name in FROM_ELSETS if name in satcat.columns]
    if again:
        raise CatalogError(
            f"satcat has been joined before: it holds {', '.join(again)}", remedy="Join a frame from read_satcat once."
        )
    newest = elsets.sort("EPOCH", maintain_order=True).unique("NORAD_CAT_ID", keep="last", maintain_order=True)
    kept = add_orbit_shape(newest).select(
        "NORAD_CAT_ID", *FROM_ELSETS, *(pl.col(n).alias(f"{n} set") for n in ("ECCENTRICITY", *_FILLED))
    )
    joined = satcat.join(kept, on="NORAD_CAT_ID", how="left", maintain_order="left", validate="m:1")
    return joined.with_columns(
        pl.coalesce("ECCENTRICITY set", "ECCENTRICITY").alias("ECCENTRICITY"),
        *(pl.coalesce(name, f"{name} set").alias(name) for name in _FILLED),
    ).drop(pl.selectors.ends_with(" set"))


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
    `period_from_mean_motion`, `semi_major_axis_from_period`, `apogee_altitude` and `perigee_altitude` give the same for
    arrays, to rounding. The mean motion is Kozai's, as in the catalog's PERIOD.

    Examples
    --------
    >>> frame = add_orbit_shape(pl.DataFrame({"MEAN_MOTION": [15.0], "ECCENTRICITY": [0.01]}))
    >>> [round(value, 1) for value in frame.select("PERIOD", "SEMIMAJOR_AXIS", "APOGEE", "PERIGEE").row(0)]
    [96.0, 6945.0, 636.4, 497.5]
    """
    period, eccentricity = MINUTES_PER_DAY / pl.col("MEAN_MOTION"), pl.col("ECCENTRICITY")
    axis = (WGS72.gm_km3_s2 * (60.0 * period / (2 * np.pi)) ** 2).cbrt()
    return elsets.with_columns(
        period.alias("PERIOD"),
        axis.alias("SEMIMAJOR_AXIS"),
        (axis * (1 + eccentricity) - WGS72.equatorial_radius_km).alias("APOGEE"),
        (axis * (1 - eccentricity) - WGS72.equatorial_radius_km).alias("PERIGEE"),
    )


def launch_of(frame: pl.DataFrame) -> pl.Series:
    """Launch of each object, the group key for splits.

    Objects of one launch share an orbit, so a split that separates them flatters every model.

    Parameters
    ----------
    frame : polars.DataFrame
        With OBJECT_ID and NORAD_CAT_ID, from `read_satcat`, `read_gp` or `join_elsets`.

    Returns
    -------
    polars.Series of str
        The first eight characters of OBJECT_ID, ``"YYYY-NNN"``; where it is null, blank or UNKNOWN ``"NORAD 270288"``,
        a group of the object's own. No nulls; one per row. Where no object has an OBJECT_ID these are objects, not
        launches: siblings are in different groups.

    Raises
    ------
    CatalogError
        The frame lacks one of the columns.

    Examples
    --------
    >>> frame = pl.DataFrame({"NORAD_CAT_ID": [90001, 270288], "OBJECT_ID": ["2031-007C", None]})
    >>> launch_of(frame).to_list()
    ['2031-007', 'NORAD 270288']
    """
    _require(frame, "frame", ("OBJECT_ID", "NORAD_CAT_ID"))
    own = pl.format("NORAD {}", pl.col("NORAD_CAT_ID"))
    # A column without any value has no type of text: null in polars, NaN from pandas.
    floating = frame.schema["OBJECT_ID"].is_float()
    designator = pl.col("OBJECT_ID").fill_nan(None) if floating else pl.col("OBJECT_ID")
    text = designator.cast(pl.String).str.strip_chars()
    known = text.is_not_null() & ~text.str.to_uppercase().is_in(["", "UNKNOWN"])
    return frame.select(pl.when(known).then(text.str.slice(0, 8)).otherwise(own).alias("LAUNCH_GROUP")).to_series()


def _require(frame: pl.DataFrame, name: str, columns: Iterable[str]) -> None:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise CatalogError(
            f"{name} lacks {', '.join(missing)}", remedy="Hand over frames from read_satcat and read_gp."
        )
