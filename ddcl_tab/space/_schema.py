"""The canonical catalog frame: its columns, units, bounds, and which of them give the class away.

Column names are the keywords of Space-Track's SATCAT class and of the CCSDS Orbit Mean-elements Message (CCSDS
502.0-B-3), in capitals. Every reader of this package returns exactly these columns, in this order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

from ddcl_tab.space._elements import WGS72

UNKNOWN = "UNKNOWN"
"""OBJECT_TYPE of an object that nobody has classified yet."""
OBJECT_TYPES = ("PAYLOAD", "ROCKET BODY", "DEBRIS", UNKNOWN)
"""Values of OBJECT_TYPE."""
SATCAT_ORBIT = ("PERIOD", "INCLINATION", "APOGEE", "PERIGEE")
"""Columns of an orbit that SATCAT files hold: min, deg, km, km."""
ORBIT_COLUMNS = (*SATCAT_ORBIT, "SEMIMAJOR_AXIS", "ECCENTRICITY")
"""The same and those that readers compute from them: km, without unit."""
APSIDES_AND_INCLINATION = ("PERIGEE", "APOGEE", "INCLINATION")
"""Columns from which the other ones of an orbit follow: km, km, deg."""
ANGLES = ("RA_OF_ASC_NODE", "ARG_OF_PERICENTER", "MEAN_ANOMALY")
"""Columns of angles that go round: in [0, 360) deg in a frame, in [-360, 360] deg in OMM."""
SIZES = ("SMALL", "MEDIUM", "LARGE")
"""Values of RCS_SIZE."""
DESIGNATOR = r"^[0-9]{4}-[0-9]{3}[A-Z]{0,3}$"
"""Pattern of OBJECT_ID: launch and piece letters."""

Role = Literal["feature", "identifier", "leak", "target", "bookkeeping"]

EARTH_RADIUS_KM = WGS72.equatorial_radius_km
"""Equatorial radius of WGS-72 in km; SATCAT apogees and perigees are altitudes above it."""


@dataclass(frozen=True)
class Column:
    """One column of the canonical frame.

    Parameters
    ----------
    name : str
        Keyword in capitals.
    dtype : polars.DataType
        Type in the frame.
    unit : str
        Unit of the values; empty for text, dates, counts and pure numbers.
    description : str
        What the column holds.
    role : {"feature", "identifier", "leak", "target", "bookkeeping"}
        ``"feature"`` may be learned from; ``"identifier"`` and ``"leak"`` give the class away and never may (`LEAKS`
        says why); ``"bookkeeping"`` is about the record or the moment, not the object.
    lower, upper : float, optional
        Bounds in `unit`.
    lower_open, upper_open : bool
        Whether the bound itself is excluded.
    nullable : bool
        Whether a value may be missing.
    derived_from : tuple of str
        The columns that the reader computes this one from; empty where the file holds it.

    Examples
    --------
    >>> Column("INCLINATION", pl.Float64(), "deg", "inclination", "feature", 0, 180).rule
    'INCLINATION is in [0, 180] deg'
    """

    name: str
    dtype: pl.DataType
    unit: str
    description: str
    role: Role
    lower: float | None = None
    upper: float | None = None
    lower_open: bool = False
    upper_open: bool = False
    nullable: bool = True
    derived_from: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        """The bounds as a sentence; empty where there are none.

        Examples
        --------
        >>> Column("PERIOD", pl.Float64(), "min", "time of one revolution", "feature", 0, lower_open=True).rule
        'PERIOD is above 0 min'
        """
        unit = f" {self.unit}" if self.unit else ""
        if self.lower is None and self.upper is None:
            return ""
        if self.upper is None:
            return f"{self.name} is {'above' if self.lower_open else 'at least'} {self.lower:.10g}{unit}"
        if self.lower is None:
            return f"{self.name} is {'below' if self.upper_open else 'at most'} {self.upper:.10g}{unit}"
        left, right = "(" if self.lower_open else "[", ")" if self.upper_open else "]"
        return f"{self.name} is in {left}{self.lower:.10g}, {self.upper:.10g}{right}{unit}"

    def out_of_bounds(self) -> pl.Expr:
        """Polars expression, true where the column's value breaks its bounds (NaN and infinity included).

        Returns
        -------
        polars.Expr
            Boolean; null where the value is null.

        Examples
        --------
        >>> column = Column("ECCENTRICITY", pl.Float64(), "", "eccentricity", "feature", 0, 1, upper_open=True)
        >>> frame = pl.DataFrame({"ECCENTRICITY": [0.0, 0.999, 1.0, float("nan"), None]})
        >>> frame.select(column.out_of_bounds()).to_series().to_list()
        [False, False, True, True, None]
        """
        value = pl.col(self.name)
        broken = ~value.is_finite() if self.dtype.is_float() else value != value
        if self.lower is not None:
            broken = broken | ((value <= self.lower) if self.lower_open else (value < self.lower))
        if self.upper is not None:
            broken = broken | ((value >= self.upper) if self.upper_open else (value > self.upper))
        return broken


_INTEGER, _NUMBER, _TEXT, _DATE = pl.Int64(), pl.Float64(), pl.String(), pl.Date()
_ALTITUDE = f"altitude above {EARTH_RADIUS_KM} km"

_CATALOG_NUMBER = Column(
    "NORAD_CAT_ID", _INTEGER, "", "catalog number", "identifier", 0, lower_open=True, nullable=False
)
_DESIGNATOR = Column("OBJECT_ID", _TEXT, "", "international designator, YYYY-NNN and piece letters", "identifier")
_NAME = Column("OBJECT_NAME", _TEXT, "", "common name", "leak")
_ECCENTRICITY = Column("ECCENTRICITY", _NUMBER, "", "eccentricity", "feature", 0, 1, upper_open=True)
_INCLINATION = Column("INCLINATION", _NUMBER, "deg", "inclination to the equator", "feature", 0, 180)


def _angle(name: str, description: str) -> Column:
    return Column(name, _NUMBER, "deg", description, "bookkeeping", 0, 360, upper_open=True)


SATCAT_COLUMNS: tuple[Column, ...] = (
    _CATALOG_NUMBER,
    _DESIGNATOR,
    _NAME,
    Column("OBJECT_TYPE", _TEXT, "", "PAYLOAD, ROCKET BODY, DEBRIS or UNKNOWN", "target", nullable=False),
    Column("OPS_STATUS_CODE", _TEXT, "", "operational status, CelesTrak only", "leak"),
    Column("COUNTRY", _TEXT, "", "owner, the provider's code", "feature"),
    Column("LAUNCH", _DATE, "", "day of launch, UTC", "bookkeeping"),
    Column("SITE", _TEXT, "", "launch site, the provider's code", "feature"),
    Column("DECAY", _DATE, "", "day of re-entry, UTC", "leak"),
    Column("PERIOD", _NUMBER, "min", "time of one revolution", "feature", 0, lower_open=True),
    _INCLINATION,
    Column("APOGEE", _NUMBER, "km", f"apogee, {_ALTITUDE}", "feature", -EARTH_RADIUS_KM, lower_open=True),
    Column("PERIGEE", _NUMBER, "km", f"perigee, {_ALTITUDE}", "feature", -EARTH_RADIUS_KM, lower_open=True),
    Column("RCS", _NUMBER, "m^2", "radar cross-section, CelesTrak only", "feature", 0, lower_open=True),
    Column("RCS_SIZE", _TEXT, "", "SMALL below 0.1 m^2, MEDIUM to 1 m^2, LARGE above", "feature"),
    Column("COMMENT", _TEXT, "", "remark of the provider, Space-Track only", "leak"),
    Column("LAUNCH_YEAR", _INTEGER, "year", "year of launch", "feature", derived_from=("LAUNCH", "OBJECT_ID")),
    replace(
        Column(
            "SEMIMAJOR_AXIS", _NUMBER, "km", "semi-major axis from the Earth's centre", "feature", 0, lower_open=True
        ),
        derived_from=("APOGEE", "PERIGEE"),
    ),
    replace(_ECCENTRICITY, derived_from=("APOGEE", "PERIGEE")),
)
"""Columns of `read_satcat`, `read_gcat` and `read_ucs`, in order."""

SPACETRACK_COLUMNS = (
    *("INTLDES", "NORAD_CAT_ID", "OBJECT_TYPE", "SATNAME", "COUNTRY", "LAUNCH", "SITE", "DECAY", "PERIOD"),
    *("INCLINATION", "APOGEE", "PERIGEE", "COMMENT", "COMMENTCODE", "RCSVALUE", "RCS_SIZE", "FILE", "LAUNCH_YEAR"),
    *("LAUNCH_NUM", "LAUNCH_PIECE", "CURRENT", "OBJECT_NAME", "OBJECT_ID", "OBJECT_NUMBER"),
)
"""Columns of Space-Track's SATCAT class, in its order."""

ELSET_COLUMNS: tuple[Column, ...] = (
    _CATALOG_NUMBER,
    _NAME,
    _DESIGNATOR,
    Column("CLASSIFICATION_TYPE", _TEXT, "", "U, C or S", "bookkeeping"),
    Column("EPOCH", pl.Datetime("us", "UTC"), "", "epoch of the elements, UTC", "bookkeeping", nullable=False),
    # PERIOD says the same in minutes.
    Column("MEAN_MOTION", _NUMBER, "rev/day", "mean motion (Kozai)", "bookkeeping", 0, lower_open=True, nullable=False),
    _ECCENTRICITY,
    _INCLINATION,
    # The three angles say where the object stood at the epoch, not what it is; they lower held-out scores.
    _angle("RA_OF_ASC_NODE", "right ascension of the ascending node (TEME)"),
    _angle("ARG_OF_PERICENTER", "argument of perigee"),
    _angle("MEAN_ANOMALY", "mean anomaly"),
    Column("BSTAR", _NUMBER, "1/earth radius", "SGP4 drag term", "feature"),
    Column("MEAN_MOTION_DOT", _NUMBER, "rev/day^2", "half the rate of the mean motion, as printed", "feature"),
    Column("MEAN_MOTION_DDOT", _NUMBER, "rev/day^3", "sixth of its second derivative, as printed", "feature"),
    Column("EPHEMERIS_TYPE", _INTEGER, "", "orbital model, 0 for SGP4", "bookkeeping"),
    Column("ELEMENT_SET_NO", _INTEGER, "", "running number of the element set", "bookkeeping"),
    Column("REV_AT_EPOCH", _INTEGER, "rev", "revolution number at epoch, modulo 100000", "bookkeeping"),
)
"""Columns of `read_gp` and `read_elsets`, in order."""


def _family_column(name: str, unit: str, description: str) -> Column:
    return Column(f"FAMILY_{name}", _NUMBER, unit, description, "feature")


FAMILY_COLUMNS: tuple[Column, ...] = (
    *(
        _family_column(f"{size}_SHARE", "", f"share of {size.lower()} ones among the siblings whose size is known")
        for size in SIZES
    ),
    *(
        _family_column(f"{name}_DEVIATION", unit, f"own {words} minus the median of the siblings")
        for name, unit, words in (
            ("SEMIMAJOR_AXIS", "km", "semi-major axis"),
            ("INCLINATION", "deg", "inclination"),
            ("ECCENTRICITY", "", "eccentricity"),
        )
    ),
    *(
        _family_column(f"{name}_SPREAD", unit, f"interquartile range of the siblings' {words}")
        for name, unit, words in (
            ("SEMIMAJOR_AXIS", "km", "semi-major axes"),
            ("INCLINATION", "deg", "inclinations"),
            ("ECCENTRICITY", "", "eccentricities"),
        )
    ),
    _family_column(
        "NEAR_SHARE", "", "share of the siblings within 10 km in semi-major axis and 0.05 deg in inclination"
    ),
    _family_column(
        "CELL_SHARE", "", "share of the siblings in the own cell of 20 km in semi-major axis and 0.1 deg in inclination"
    ),
    _family_column("DECAYED_SHARE", "", "share of decayed ones among all siblings"),
    _family_column("DECAYED_LIFE", "yr", "mean time from launch to decay of the decayed siblings"),
    _family_column("DECAYED_FAST_SHARE", "", "share of the decayed siblings that fell within a year of launch"),
    *(
        _family_column(f"{name}_Q{level}", unit, f"{words} quartile of the siblings' {what}")
        for name, unit, what in (("SEMIMAJOR_AXIS", "km", "semi-major axes"), ("ECCENTRICITY", "", "eccentricities"))
        for level, words in ((25, "lower"), (75, "upper"))
    ),
)
"""The columns of `family_columns`, with units and meaning. Null where no sibling has what a column tells of."""

FAMILY_COUNTS: tuple[Column, ...] = (
    _family_column("SIBLINGS", "", "number of the other objects of the launch, decayed ones included"),
    _family_column("NEAR_SIBLINGS", "", "number of the siblings in orbit that NEAR_SHARE counts"),
    _family_column("CELL_SIBLINGS", "", "number of the siblings in orbit that CELL_SHARE counts"),
)
"""The columns that ``counts=True`` adds. A large launch in tight shells was a break-up before 2015 and is a
constellation since: they are for catalogs that are not asked about launches later than those learned from."""

UNITS: dict[str, str] = {c.name: c.unit for c in (*SATCAT_COLUMNS, *ELSET_COLUMNS) if c.unit}
"""Unit of each column that has one."""

_NAMES_CLASS = "the name says DEB or R/B"
_PIECE = "piece letters follow the class: payloads come first, debris last"
_NUMBERED = "numbers are given in order, so neighbours are siblings of one launch or breakup"
_FATE = "what became of an object depends on its class"
_SOURCE_LINE = "holds the name, designator or catalog number"

LEAKS: dict[str, str] = {
    "OBJECT_NAME": _NAMES_CLASS,
    "SATNAME": _NAMES_CLASS,
    "OBJECT_ID": _PIECE,
    "INTLDES": _PIECE,
    "LAUNCH_PIECE": _PIECE,
    "NORAD_CAT_ID": _NUMBERED,
    "OBJECT_NUMBER": _NUMBERED,
    "FILE": "batch of the provider's processing; batches hold siblings",
    "GP_ID": "running number of the provider's records; neighbours are siblings",
    "COMMENT": _FATE,
    "COMMENTCODE": _FATE,
    "DECAY": _FATE,
    "DECAY_DATE": _FATE,
    "DATA_STATUS_CODE": _FATE,
    "ORBIT_TYPE": _FATE,
    "OPS_STATUS_CODE": "only payloads carry an operational status",
    "TLE_LINE0": _NAMES_CLASS,
    "TLE_LINE1": _SOURCE_LINE,
    "TLE_LINE2": _SOURCE_LINE,
}
"""Columns that give the class away, by canonical or provider's name, with the reason: never features."""


def rule_as_written(column: Column) -> str:
    """Bounds of the values in OMM and Parquet files as a sentence: `Column.rule`, but for angles that go round.

    Parameters
    ----------
    column : Column

    Returns
    -------
    str
        Empty where there are none.

    Examples
    --------
    >>> [rule_as_written(column) for column in ELSET_COLUMNS if column.name in ("INCLINATION", "MEAN_ANOMALY")]
    ['INCLINATION is in [0, 180] deg', 'MEAN_ANOMALY is in [-360, 360] deg']
    """
    return f"{column.name} is in [-360, 360] deg" if column.name in ANGLES else column.rule


def within_turn(angle: pl.Expr) -> pl.Expr:
    """Angles of [-360, 360] deg in [0, 360) deg; others are left as they are, for a rule to find.

    Parameters
    ----------
    angle : polars.Expr
        Floats, deg.

    Returns
    -------
    polars.Expr
        Floats, deg. Values in [0, 360) are not changed; those that round to 360 are 0.

    Examples
    --------
    >>> pl.select(within_turn(pl.lit(pl.Series([-12.5, -1e-20, -0.0, 359.9, 360.0, -361.0])))).to_series().to_list()
    [347.5, 0.0, 0.0, 359.9, 0.0, -361.0]
    """
    turned = pl.when(angle.is_between(-360, 0, closed="left")).then(angle + 360).otherwise(angle)
    return turned.replace([360.0, -0.0], [0.0, 0.0])


def polars_schema(columns: Iterable[Column]) -> pl.Schema:
    """Names and types of a canonical frame.

    Parameters
    ----------
    columns : iterable of Column
        `SATCAT_COLUMNS` or `ELSET_COLUMNS`.

    Returns
    -------
    polars.Schema
        In the order of `columns`.

    Examples
    --------
    >>> list(polars_schema(SATCAT_COLUMNS).items())[:2]
    [('NORAD_CAT_ID', Int64), ('OBJECT_ID', String)]
    """
    return pl.Schema({column.name: column.dtype for column in columns})
