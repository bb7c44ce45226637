"""Values of Orbit Mean-elements Messages as written to the canonical frame, and the rules that they obey."""

from __future__ import annotations

import polars as pl

from ddcl_tab.catalog.rules import BAD_SCHEMA, Rule, broken_rules
from ddcl_tab.catalog.schema import ANGLES, ELSET_COLUMNS, Column, polars_schema, rule_as_written, within_turn
from ddcl_tab.catalog.tables import LINE

REQUIRED = (
    "NORAD_CAT_ID",
    "EPOCH",
    "MEAN_MOTION",
    "ECCENTRICITY",
    "INCLINATION",
    "RA_OF_ASC_NODE",
    "ARG_OF_PERICENTER",
    "MEAN_ANOMALY",
)
"""Keywords that every message has (CCSDS 502.0-B-3, tables 4-2 and 4-3, and the number that says which object)."""

# The frame's columns say nothing about these, so each has the one value that the columns mean.
_FRAME = {
    "CENTER_NAME": ("CENTER_NAME is EARTH or empty", "^EARTH$"),
    "REF_FRAME": ("REF_FRAME is TEME or empty", "^TEME"),
    "TIME_SYSTEM": ("TIME_SYSTEM is UTC or empty", "^UTC$"),
    # The CCSDS's example of an OMM in XML says TLE: two-line sets are made for SGP4.
    "MEAN_ELEMENT_THEORY": (
        "MEAN_ELEMENT_THEORY is SGP4 or a kin (SGP, SGP/SGP4, SGP4-XP, SDP4, PPT3, or TLE) or empty",
        "^(SGP|SDP|PPT|TLE$)",
    ),
}

WANTED = (*(column.name for column in ELSET_COLUMNS), *_FRAME)
"""Keywords that are read."""

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_EPOCH = (
    r"^([0-9]{4})-(?:([0-9]{2}-[0-9]{2})|([0-9]{3}))[T ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]*))?(?:Z|\+00:?00)?$"
)
_EPOCH_RULE = "EPOCH is a time in UTC, YYYY-MM-DDThh:mm:ss.f or YYYY-DDDThh:mm:ss.f; second 60 only on 30 June, 31 Dec"
_FIRST_YEAR, _LAST_YEAR = 1957, 2999
_LEAP_DAYS = ("06-30", "12-31")


def parse_omm(written: pl.DataFrame, file: object) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Good sets of a table, and the broken rules of the others.

    Parameters
    ----------
    written : polars.DataFrame
        `ddcl_tab.catalog.tables.LINE` and any of `WANTED`, as text; nulls where empty.
    file : object
        Name of the file, for the list of broken rules.

    Returns
    -------
    good : polars.DataFrame
        Columns `ddcl_tab.catalog.ELSET_COLUMNS`.
    bad : polars.DataFrame
        Columns `ddcl_tab.catalog.rules.BAD_SCHEMA`.

    Examples
    --------
    >>> good, bad = parse_omm(pl.DataFrame({"#line": [2], "NORAD_CAT_ID": ["100000"], "EPOCH": ["yesterday"]}), "a.csv")
    >>> bad.select("column", "value").rows()[:2]
    [('EPOCH', 'yesterday'), ('MEAN_MOTION', None)]
    """
    absent = [name for name in WANTED if name not in written.columns]
    table = written.select(
        LINE,
        *(pl.col(name).alias(f"{name} written") for name in WANTED if name in written.columns),
        *(pl.lit(None, pl.String()).alias(f"{name} written") for name in absent),
    )
    parsed = table.with_columns(_typed(column).alias(column.name) for column in ELSET_COLUMNS)
    bad = broken_rules(parsed, _rules(), file=file, number=_written("NORAD_CAT_ID"))
    if not bad.is_empty():
        parsed = parsed.with_row_index("row").filter(~pl.col("row").is_in(bad["row"].unique().implode()))
    return parsed.select(polars_schema(ELSET_COLUMNS).names()), bad.select(BAD_SCHEMA.names())


def epoch_of(written: pl.Expr) -> pl.Expr:
    """Moments in UTC from ISO 8601 text (calendar date or day of the year), rounded to the microsecond.

    A leap second counts as the first second of the next day, as in POSIX time: a frame's calendar has none.

    Parameters
    ----------
    written : polars.Expr
        Text; CCSDS 301.0-B-4, time codes A and B.

    Returns
    -------
    polars.Expr
        Datetime in microseconds, UTC; null where the text is no such time.

    Examples
    --------
    >>> texts = ["2016-12-31T23:59:60.25", "2024-060T12:00:00", "2031-01-02T03:04:05.12345678", "2023-02-29T00:00:00"]
    >>> for epoch in pl.select(epoch_of(pl.lit(pl.Series(texts)))).to_series():
    ...     print(epoch)
    2017-01-01 00:00:00.250000+00:00
    2024-02-29 12:00:00+00:00
    2031-01-02 03:04:05.123457+00:00
    None
    """
    part = written.str.extract_groups(_EPOCH).struct
    year, day = part.field("1"), part.field("2")
    hour, minute, second = (part.field(str(number)).cast(pl.Int64) for number in (4, 5, 6))
    date = pl.coalesce(
        pl.format("{}-{}", year, day).str.to_date("%Y-%m-%d", strict=False),
        pl.format("{}-{}", year, part.field("3")).str.to_date("%Y-%j", strict=False),
    )
    leap = (second == 60) & (minute == 59) & (hour == 23) & date.dt.strftime("%m-%d").is_in(_LEAP_DAYS)
    # Seven digits decide how the sixth is rounded.
    tenths = pl.format("{}0000000", part.field("7").fill_null("")).str.slice(0, 7).cast(pl.Int64)
    passed = pl.duration(hours=hour, minutes=minute, seconds=second, microseconds=(tenths + 5) // 10, time_unit="us")
    in_range = year.cast(pl.Int64).is_between(_FIRST_YEAR, _LAST_YEAR)
    valid = in_range & (hour < 24) & (minute < 60) & ((second < 60) | leap)
    return pl.when(valid).then(date.cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + passed)


def _written(name: str) -> pl.Expr:
    return pl.col(f"{name} written")


def _typed(column: Column) -> pl.Expr:
    """Value of the column's type; null where the text cannot be read, which a rule catches."""
    text = _written(column.name)
    if column.name == "EPOCH":
        return epoch_of(text)
    if column.name == "OBJECT_ID":
        # What CCSDS 502.0-B-3 (table 4-2) asks to be written for an object without designator.
        return pl.when(text.str.to_uppercase() != "UNKNOWN").then(text)
    if column.dtype == pl.Int64:
        return text.str.extract(r"^\+?([0-9]{1,9})$").cast(pl.Int64, strict=False)
    if column.dtype == pl.Float64:
        number = pl.when(text.str.contains(_NUMBER)).then(text.str.strip_prefix("+")).cast(pl.Float64, strict=False)
        finite = pl.when(number.is_finite()).then(number)
        return within_turn(finite) if column.name in ANGLES else finite
    # Values of the standard are all in capitals or all in small letters.
    return text.str.to_uppercase() if column.name == "CLASSIFICATION_TYPE" else text


def _rules() -> list[Rule]:
    rules: list[Rule] = []
    for column in ELSET_COLUMNS:
        name, value, text = column.name, pl.col(column.name), _written(column.name)
        if name in REQUIRED:
            why = " (CCSDS 502.0-B-3 requires it for SGP4; it says whose the set is)" if name == "NORAD_CAT_ID" else ""
            rules.append(_rule(name, f"{name} is given in each message{why}", text.is_null()))
        if column.dtype.is_numeric() or name == "EPOCH":
            rules.append(_rule(name, _reading(column), text.is_not_null() & value.is_null()))
        if column.rule:
            rules.append(_rule(name, rule_as_written(column), column.out_of_bounds()))
    piece, kind = pl.col("OBJECT_ID"), pl.col("CLASSIFICATION_TYPE")
    rules.append(
        _rule(
            "OBJECT_ID",
            "OBJECT_ID is written YYYY-NNNA, or is UNKNOWN or empty",
            ~piece.str.contains(r"^[0-9]{4}-[0-9]{3}[A-Z]{0,3}$"),
        )
    )
    rules.append(_rule("CLASSIFICATION_TYPE", "CLASSIFICATION_TYPE is U, C, S or empty", ~kind.is_in(["U", "C", "S"])))
    rules.extend(
        _rule(name, text, ~_written(name).str.to_uppercase().str.contains(form))
        for name, (text, form) in _FRAME.items()
    )
    return rules


def _rule(name: str, text: str, broken: pl.Expr) -> Rule:
    return Rule(name, text, broken, _written(name), pl.col(LINE))


def _reading(column: Column) -> str:
    if column.name == "EPOCH":
        return f"{_EPOCH_RULE}, in {_FIRST_YEAR} to {_LAST_YEAR}"
    if column.dtype.is_integer():
        return f"{column.name} is a whole number of at most 9 digits"
    return f"{column.name} is a finite number" + (f" in {column.unit}" if column.unit else "")
