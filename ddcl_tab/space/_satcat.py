"""Read satellite catalogs (SATCAT) of Space-Track and CelesTrak into the canonical frame."""

from __future__ import annotations

import difflib
import os
import warnings
from typing import Literal, overload

import polars as pl

from ddcl_tab.errors import CatalogError, CatalogWarning
from ddcl_tab.space._content import content_of, names_in_header, refuse_page
from ddcl_tab.space._elements import eccentricity_from_altitudes, semi_major_axis_from_altitudes
from ddcl_tab.space._rules import (
    BAD_SCHEMA,
    OnError,
    Rule,
    broken_rules,
    check_on_error,
    first_error,
    good_or_error,
    rows_without,
)
from ddcl_tab.space._schema import (
    DESIGNATOR,
    EARTH_RADIUS_KM,
    OBJECT_TYPES,
    SATCAT_COLUMNS,
    SATCAT_ORBIT,
    polars_schema,
)
from ddcl_tab.space._tables import LINE, Table, read_csv, read_json, require
from ddcl_tab.space._text import read_text

# Canonical name -> names it has in the files, best first (Space-Track, then CelesTrak).
_REQUIRED = {
    "NORAD_CAT_ID": ("NORAD_CAT_ID", "OBJECT_NUMBER"),
    "OBJECT_NAME": ("OBJECT_NAME", "SATNAME"),
    "OBJECT_TYPE": ("OBJECT_TYPE",),
    "COUNTRY": ("COUNTRY", "OWNER"),
    "LAUNCH": ("LAUNCH", "LAUNCH_DATE"),
    "SITE": ("SITE", "LAUNCH_SITE"),
    "DECAY": ("DECAY", "DECAY_DATE"),
    "PERIOD": ("PERIOD",),
    "INCLINATION": ("INCLINATION",),
    "APOGEE": ("APOGEE",),
    "PERIGEE": ("PERIGEE",),
}
_OPTIONAL = {
    "OBJECT_ID": ("OBJECT_ID", "INTLDES"),
    **{name: (name,) for name in ("OPS_STATUS_CODE", "RCS", "RCS_SIZE", "COMMENT", "ORBIT_CENTER")},
}
_NAMES = _REQUIRED | _OPTIONAL
_ALIASES = frozenset(alias for aliases in _NAMES.values() for alias in aliases)
WRITTEN = tuple(_NAMES)
"""Columns that are read; ORBIT_CENTER is only looked at."""

_NAMES_COMPARED = 200
_NUMBERS = (*SATCAT_ORBIT, "RCS")
_DATES = ("LAUNCH", "DECAY")
_TYPES = {
    "PAY": "PAYLOAD",
    "R/B": "ROCKET BODY",
    "DEB": "DEBRIS",
    "UNK": "UNKNOWN",
    "TBA": "UNKNOWN",
    **{name: name for name in OBJECT_TYPES},
}
_SIZES = ("SMALL", "MEDIUM", "LARGE")
_REMEDY = "Correct the file, or read it with on_error='collect' to get the good rows and a list of the bad ones."


@overload
def read_satcat(path: str | os.PathLike[str], *, on_error: Literal["raise"] = "raise") -> pl.DataFrame: ...
@overload
def read_satcat(path: str | os.PathLike[str], *, on_error: Literal["collect"]) -> tuple[pl.DataFrame, pl.DataFrame]: ...
def read_satcat(
    path: str | os.PathLike[str], *, on_error: OnError = "raise"
) -> pl.DataFrame | tuple[pl.DataFrame, pl.DataFrame]:
    r"""Read a SATCAT file: Space-Track JSON or CSV, or CelesTrak CSV or JSON, plain or gzip.

    The form is recognised by content, not by the file's name; the text is UTF-8 or UTF-16, with any line ends. Columns
    may come in any order and their names in any case of letters; unknown ones are ignored. Values that mean "not known"
    become null:

    - PERIOD, INCLINATION, APOGEE and PERIGEE where all four are 0, Space-Track's filler for objects without elements;
    - the same four where CelesTrak's ORBIT_CENTER is not the Earth, since the columns are geocentric;
    - an RCS of 0 m^2.

    OBJECT_TYPE is UNKNOWN where it is empty. RCS_SIZE is computed from RCS where the file gives only a number.

    OBJECT_ID is null where it is empty, and in all rows where the file has no such column, as some exports of debris.
    An object without it has a launch of its own (`launch_of`): no split by launch keeps it with its siblings.

    Rows with one catalog number break a rule, all of them: which one holds the object is not known.

    Parameters
    ----------
    path : str or path-like
        The file.
    on_error : {"raise", "collect"}
        ``"raise"`` stops at the first row that breaks a rule; ``"collect"`` leaves such rows out and lists them.

    Returns
    -------
    polars.DataFrame
        Columns `ddcl_tab.space.SATCAT_COLUMNS`: angles in deg, PERIOD in min, lengths in km (APOGEE and PERIGEE
        are altitudes above 6378.135 km), RCS in m^2. Rows in the file's order.
    polars.DataFrame
        Only with ``"collect"``: one row per broken rule with file, line (record number in JSON, from 1),
        NORAD_CAT_ID, column, value (all as written) and rule.

    Raises
    ------
    CatalogError
        A file that is no SATCAT, or (with ``"raise"``) the first row that breaks a rule.
    ConfigurationError
        Another `on_error`.

    Warns
    -----
    CatalogWarning
        The file has no column OBJECT_ID, so there is no split by launch.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> header = "OBJECT_NAME,OBJECT_ID,NORAD_CAT_ID,OBJECT_TYPE,OWNER,LAUNCH_DATE,LAUNCH_SITE,DECAY_DATE"
    >>> orbit = "PERIOD,INCLINATION,APOGEE,PERIGEE,RCS"
    >>> row = "SYNTHETIC DEB,2031-007C,90001,DEB,XX,2031-02-03,YY,,100.2,98.61,830,760,0.02"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "satcat.csv")
    ...     _ = path.write_text(f"{header},{orbit}\n{row}\n")
    ...     frame = read_satcat(path)
    >>> frame.select("OBJECT_TYPE", "PERIGEE", "RCS_SIZE", "SEMIMAJOR_AXIS").row(0)
    ('DEBRIS', 760.0, 'SMALL', 7173.135)
    """
    check_on_error(on_error)
    table = _read_table(path)
    written = _canonical_names(table, path)
    result = good_or_error(*parse_satcat(written, path), on_error, satcat_error)
    if {"OBJECT_ID", "INTLDES"}.isdisjoint(table.names):
        unread = [name for name in table.names if name not in _ALIASES][:_NAMES_COMPARED]
        near = difflib.get_close_matches("OBJECT_ID", unread, n=1, cutoff=0.8)
        warnings.warn(
            f"{path}: the SATCAT has no column OBJECT_ID, so which objects share a launch is not known: each counts as "
            "a launch of its own, and no split by launch keeps siblings together, which flatters every model. Add the "
            "column, or split by time." + (f" Did you mean {near[0]}?" if near else ""),
            CatalogWarning,
            stacklevel=2,
        )
    return result


def parse_satcat(written: pl.DataFrame, file: object, *, keep_first: bool = False) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Good rows of a table, and the broken rules of the others.

    Parameters
    ----------
    written : polars.DataFrame
        `ddcl_tab.space._tables.LINE` and, for each of `WRITTEN`, a text column ``NAME written``; absent ones are null.
    file : object
        Name of the file, for the list of broken rules.
    keep_first : bool
        Of the rows with one catalog number that break no other rule, keep the first; otherwise all of them are bad.

    Returns
    -------
    good : polars.DataFrame
        Columns `ddcl_tab.space.SATCAT_COLUMNS`.
    bad : polars.DataFrame
        Columns `ddcl_tab.space._rules.BAD_SCHEMA`.

    Examples
    --------
    >>> good, bad = parse_satcat(pl.DataFrame({"#line": [2], "NORAD_CAT_ID written": ["90001"]}), "a.csv")
    >>> good.select("NORAD_CAT_ID", "OBJECT_TYPE", "PERIOD").row(0)
    (90001, 'UNKNOWN', None)
    """
    absent = [f"{name} written" for name in WRITTEN if f"{name} written" not in written.columns]
    parsed = _parse(written.with_columns(pl.lit(None, pl.String()).alias(name) for name in absent))
    number = _written("NORAD_CAT_ID")
    bad = broken_rules(parsed, _rules(alone=not keep_first), file=file, number=number)
    good = rows_without(parsed, bad)
    if keep_first:
        good = good.with_columns(pl.col(LINE).min().over("NORAD_CAT_ID").alias("first line"))
        again = broken_rules(good, [_first()], file=file, number=number)
        good, bad = rows_without(good, again), pl.concat([bad, again]).sort("line", maintain_order=True)
    return good.select(polars_schema(SATCAT_COLUMNS).names()), bad.select(BAD_SCHEMA.names())


def satcat_error(bad: pl.DataFrame) -> CatalogError:
    """Error of the first broken rule; `bad` is from `parse_satcat`."""
    return first_error(bad, _REMEDY)


def _read_table(path: str | os.PathLike[str]) -> Table:
    text = read_text(path)
    content = content_of(text, path)
    if content == "elsets":
        raise CatalogError(
            "this is a file of element sets, not a SATCAT", file=path, line=1, remedy="Read it with read_gp."
        )
    if content == "csv":
        refuse_page(text, names_in_header(text), _ALIASES, "a SATCAT", path)
    table = (read_json if content == "json" else read_csv)(text, _ALIASES, path)
    refuse_page(text, table.names, _ALIASES, "a SATCAT", path)
    if table.values.is_empty():
        raise CatalogError("the SATCAT holds no row", file=path, remedy="Download it again.")
    return table


def _canonical_names(table: Table, file: object) -> pl.DataFrame:
    """For each column that is read ``NAME written``, under its canonical name."""
    there = table.values.columns
    found = {name: next((a for a in aliases if a in there), None) for name, aliases in _NAMES.items()}
    require(table, [name for name in _REQUIRED if found[name] is None], "the SATCAT", file)
    return table.values.select(
        LINE,
        *(
            (pl.lit(None, pl.String()) if alias is None else pl.col(alias)).alias(f"{name} written")
            for name, alias in found.items()
        ),
    )


def _written(name: str) -> pl.Expr:
    return pl.col(f"{name} written")


def _parse(written: pl.DataFrame) -> pl.DataFrame:
    """Add the typed columns; what cannot be parsed is null there and caught by a rule."""
    number = _written("NORAD_CAT_ID")
    kind = _written("OBJECT_TYPE").str.to_uppercase().fill_null("UNKNOWN")
    frame = written.with_columns(
        number.str.extract(r"^\+?([0-9]{1,9})$").cast(pl.Int64).alias("NORAD_CAT_ID"),
        kind.replace_strict(_TYPES, default=None).alias("OBJECT_TYPE"),
        _written("RCS_SIZE").str.to_uppercase().alias("RCS_SIZE"),
        # CelesTrak's CSV may add a time of day.
        *(
            _written(name)
            .str.extract(r"^([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ].*)?$")
            .str.to_date(strict=False)
            .alias(name)
            for name in _DATES
        ),
        *(_finite(name).alias(name) for name in _NUMBERS),
        *(
            _written(name).alias(name)
            for name in ("OBJECT_ID", "OBJECT_NAME", "OPS_STATUS_CODE", "COUNTRY", "SITE", "COMMENT")
        ),
    )
    center = _written("ORBIT_CENTER")
    # An object docked to another (its centre is a catalog number) still circles the Earth.
    elsewhere = center.is_not_null() & (center != "EA") & ~center.str.contains(r"^[0-9]+$")
    filler = pl.all_horizontal(pl.col(name) == 0 for name in SATCAT_ORBIT)
    frame = frame.with_columns(
        pl.when(~(elsewhere | filler).fill_null(False)).then(pl.col(*SATCAT_ORBIT)).name.keep(),
        pl.when(pl.col("RCS") != 0).then(pl.col("RCS")).alias("RCS"),
    )
    return _derive(frame)


def _derive(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the columns computed from others; wrong altitudes leave SEMIMAJOR_AXIS and ECCENTRICITY null."""
    rcs, year = pl.col("RCS"), pl.col("OBJECT_ID").str.extract(r"^([0-9]{4})-").cast(pl.Int64)
    size = (
        pl.when(rcs < 0.1)
        .then(pl.lit("SMALL"))
        .when(rcs <= 1)
        .then(pl.lit("MEDIUM"))
        .when(rcs > 1)
        .then(pl.lit("LARGE"))
    )
    altitudes = frame.select(
        pl.when(
            (pl.col("PERIGEE") > -EARTH_RADIUS_KM)
            & (pl.col("PERIGEE") <= pl.col("APOGEE"))
            & pl.col("APOGEE").is_finite()
        )
        .then(pl.col("PERIGEE", "APOGEE"))
        .name.keep()
    )
    perigee, apogee = (altitudes[name].to_numpy() for name in ("PERIGEE", "APOGEE"))
    return frame.with_columns(
        pl.col("RCS_SIZE").fill_null(size),
        pl.col("LAUNCH").dt.year().cast(pl.Int64).fill_null(year).alias("LAUNCH_YEAR"),
        pl.Series("SEMIMAJOR_AXIS", semi_major_axis_from_altitudes(perigee, apogee), nan_to_null=True),
        pl.Series("ECCENTRICITY", eccentricity_from_altitudes(perigee, apogee), nan_to_null=True),
    )


def _alone() -> Rule:
    line, number = pl.col(LINE), pl.col("NORAD_CAT_ID")
    first, last = line.min().over(number), line.max().over(number)
    other = pl.when(line == first).then(last).otherwise(first)
    text = pl.format("each NORAD_CAT_ID stands once, but line {} has it too: neither row is kept", other)
    return Rule("NORAD_CAT_ID", text, number.is_not_null() & number.is_duplicated(), _written("NORAD_CAT_ID"), line)


def _first() -> Rule:
    line, first = pl.col(LINE), pl.col("first line")
    text = pl.format("each NORAD_CAT_ID stands once, but line {} has it too: the first row is kept", first)
    return Rule("NORAD_CAT_ID", text, line != first, _written("NORAD_CAT_ID"), line)


def _rules(*, alone: bool) -> list[Rule]:
    line, number = pl.col(LINE), pl.col("NORAD_CAT_ID")

    def rule(column: str, text: str | pl.Expr, broken: pl.Expr, value: pl.Expr | None = None) -> Rule:
        return Rule(column, text, broken, _written(column) if value is None else value, line)

    def unread(column: str, text: str) -> Rule:
        return rule(column, text, _written(column).is_not_null() & pl.col(column).is_null())

    altitudes = pl.format("PERIGEE {}, APOGEE {}", _written("PERIGEE"), _written("APOGEE"))
    bounded = [column for column in SATCAT_COLUMNS if column.name in _NUMBERS]
    (eccentricity,) = (column for column in SATCAT_COLUMNS if column.name == "ECCENTRICITY")
    return [
        rule(
            "NORAD_CAT_ID", "NORAD_CAT_ID is a positive integer of at most 9 digits", number.is_null() | (number <= 0)
        ),
        *([_alone()] if alone else []),
        rule(
            "OBJECT_ID",
            "OBJECT_ID is written YYYY-NNNA",
            ~_written("OBJECT_ID").str.contains(DESIGNATOR),
        ),
        unread("OBJECT_TYPE", f"OBJECT_TYPE is one of {', '.join(_TYPES)}, or empty"),
        rule("RCS_SIZE", f"RCS_SIZE is one of {', '.join(_SIZES)}, or empty", ~pl.col("RCS_SIZE").is_in(_SIZES)),
        *(unread(name, f"{name} is a date, YYYY-MM-DD, or empty") for name in _DATES),
        *(
            rule(name, f"{name} is a finite number or empty", _written(name).is_not_null() & _finite(name).is_null())
            for name in _NUMBERS
        ),
        *(rule(column.name, column.rule, column.out_of_bounds()) for column in bounded),
        rule("PERIGEE", "PERIGEE is not above APOGEE", pl.col("PERIGEE") > pl.col("APOGEE"), altitudes),
        rule("ECCENTRICITY", eccentricity.rule, eccentricity.out_of_bounds(), altitudes),
    ]


def _finite(name: str) -> pl.Expr:
    number = _written(name).cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)
