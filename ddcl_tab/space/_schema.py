"""The canonical catalog frame: its columns, units, bounds, which of them give the class away; rules on its rows.

Column names are the keywords of Space-Track's SATCAT class and of the CCSDS Orbit Mean-elements Message (CCSDS
502.0-B-3), in capitals. Every reader of this package returns exactly these columns, in this order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from ddcl_tab.errors import CatalogError, ConfigurationError
from ddcl_tab.space._elements import WGS72

UNKNOWN = "UNKNOWN"
"""OBJECT_TYPE of an object that nobody has classified yet."""

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
ANGLES = ("RA_OF_ASC_NODE", "ARG_OF_PERICENTER", "MEAN_ANOMALY")
"""Columns of angles that go round: in [0, 360) deg in a frame, in [-360, 360] deg in OMM."""
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
    Column(
        "SEMIMAJOR_AXIS",
        _NUMBER,
        "km",
        "semi-major axis from the Earth's centre",
        "feature",
        0,
        lower_open=True,
        derived_from=("APOGEE", "PERIGEE"),
    ),
    Column(
        "ECCENTRICITY",
        _NUMBER,
        "",
        "eccentricity",
        "feature",
        0,
        1,
        upper_open=True,
        derived_from=("APOGEE", "PERIGEE"),
    ),
)
"""Columns of `read_satcat`, `read_gcat` and `read_ucs`, in order."""

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


OnError = Literal["raise", "collect"]

BAD_SCHEMA = pl.Schema(
    {
        "file": pl.String(),
        "line": pl.Int64(),
        "NORAD_CAT_ID": pl.String(),
        "column": pl.String(),
        "value": pl.String(),
        "rule": pl.String(),
    }
)
"""Columns of the frame of broken rules: one row per broken rule, values as written in the file."""


@dataclass(frozen=True)
class Rule:
    """One rule that rows of a frame have to obey.

    Parameters
    ----------
    column : str
        Name shown in the error.
    text : str or polars.Expr
        The rule as a sentence; an expression where the sentence differs by row.
    broken : polars.Expr
        True where a row breaks it; null counts as obeyed.
    value : polars.Expr
        The value as written.
    line : polars.Expr
        Line (or record number) in the file.
    """

    column: str
    text: str | pl.Expr
    broken: pl.Expr
    value: pl.Expr
    line: pl.Expr


def check_on_error(on_error: str) -> None:
    """Raise `ConfigurationError` unless `on_error` is one of its two values.

    Parameters
    ----------
    on_error : str
        ``"raise"`` or ``"collect"``.

    Raises
    ------
    ConfigurationError
        Any other value.

    Examples
    --------
    >>> check_on_error("skip")
    Traceback (most recent call last):
    ddcl_tab.errors.ConfigurationError: on_error is 'raise' or 'collect', not 'skip'
    """
    if on_error not in ("raise", "collect"):
        raise ConfigurationError(f"on_error is 'raise' or 'collect', not {on_error!r}")


def broken_rules(frame: pl.DataFrame, rules: Sequence[Rule], *, file: object, number: pl.Expr) -> pl.DataFrame:
    """Find every broken rule of every row.

    Parameters
    ----------
    frame : polars.DataFrame
        Rows to check.
    rules : sequence of Rule
        What to check.
    file : object
        Name of the file, repeated in each row of the result.
    number : polars.Expr
        The catalog number as written.

    Returns
    -------
    polars.DataFrame
        Columns of `BAD_SCHEMA` and ``row``, the index (from 0) of the row in `frame`; sorted by row, then by rule.

    Examples
    --------
    >>> frame = pl.DataFrame({"line": [2, 3], "n": ["5", "11"], "PERIOD": ["90.1", "-1"]})
    >>> period = pl.col("PERIOD")
    >>> rule = Rule("PERIOD", "PERIOD is above 0 min", period.cast(float) <= 0, period, pl.col("line"))
    >>> broken_rules(frame, [rule], file="a.csv", number=pl.col("n")).row(0)
    (1, 'a.csv', 3, '11', 'PERIOD', '-1', 'PERIOD is above 0 min')
    """
    masks = frame.select(rule.broken.fill_null(False).alias(str(i)) for i, rule in enumerate(rules))
    found = [pl.DataFrame(schema={"row": pl.Int64(), **BAD_SCHEMA})]
    for mask, rule in zip(masks.iter_columns(), rules, strict=True):
        if not mask.any():
            continue
        found.append(
            frame.with_row_index("row")
            .filter(mask)
            .select(
                pl.col("row").cast(pl.Int64),
                pl.lit(str(file)).alias("file"),
                rule.line.cast(pl.Int64).alias("line"),
                number.cast(pl.String).alias("NORAD_CAT_ID"),
                pl.lit(rule.column).alias("column"),
                rule.value.cast(pl.String).alias("value"),
                (pl.lit(rule.text) if isinstance(rule.text, str) else rule.text).alias("rule"),
            )
        )
    return pl.concat(found).sort("row", maintain_order=True)


def first_error(bad: pl.DataFrame, remedy: str, *, n_lines: int | None = None) -> CatalogError:
    """Error that shows the first broken rule and counts the others.

    Parameters
    ----------
    bad : polars.DataFrame
        Result of `broken_rules`, not empty.
    remedy : str
        What to do about the first one.
    n_lines : int, optional
        How many lines of the file have errors; default: those of `bad`.

    Returns
    -------
    CatalogError
        To be raised.

    Examples
    --------
    >>> row = {"file": "a.csv", "line": 3, "NORAD_CAT_ID": "11", "column": "PERIOD", "value": "-1", "rule": "above 0"}
    >>> str(first_error(pl.DataFrame([row]), "Correct it."))
    "a.csv, line 3, column PERIOD: value '-1' breaks the rule: above 0. Correct it."
    """
    first = bad.row(0, named=True)
    others = (bad["line"].n_unique() if n_lines is None else n_lines) - 1
    more = f" {others} more {'line has' if others == 1 else 'lines have'} errors." if others else ""
    return CatalogError(
        first["rule"],
        file=first["file"],
        line=first["line"],
        column=first["column"],
        value=first["value"],
        remedy=remedy + more,
    )
