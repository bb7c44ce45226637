"""Orbit Mean-elements Messages: XML and KVN (keyword = value), and values of every form to the canonical frame."""

from __future__ import annotations

import re
from collections.abc import Collection
from xml.parsers import expat

import polars as pl

from ddcl_tab.errors import CatalogError
from ddcl_tab.space._rules import BAD_SCHEMA, Rule, broken_rules, rows_without
from ddcl_tab.space._schema import (
    ANGLES,
    DESIGNATOR,
    ELSET_COLUMNS,
    Column,
    polars_schema,
    rule_as_written,
    within_turn,
)
from ddcl_tab.space._tables import LINE, Table, table_of

REQUIRED = (
    "NORAD_CAT_ID",
    "EPOCH",
    "MEAN_MOTION",
    "ECCENTRICITY",
    "INCLINATION",
    *ANGLES,
)
"""Keywords that every message has (CCSDS 502.0-B-3, tables 4-2 and 4-3, and the number that says which object)."""

# The frame's columns say nothing about these, so each has the one value that the columns mean.
_FRAME = {
    "CENTER_NAME": ("CENTER_NAME is EARTH or empty", "^EARTH$"),
    "REF_FRAME": ("REF_FRAME is TEME or empty", "^TEME"),
    "TIME_SYSTEM": ("TIME_SYSTEM is UTC or empty", "^UTC$"),
    # The CCSDS's example of an OMM in XML says TLE: two-line sets are made for SGP4.
    "MEAN_ELEMENT_THEORY": (
        "MEAN_ELEMENT_THEORY is SGP4, a theory akin to it (SGP, SGP/SGP4, SGP4-XP, SDP4, PPT3), TLE, or empty",
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
        `ddcl_tab.space._tables.LINE` and any of `WANTED`, as text; nulls where empty.
    file : object
        Name of the file, for the list of broken rules.

    Returns
    -------
    good : polars.DataFrame
        Columns `ddcl_tab.space.ELSET_COLUMNS`.
    bad : polars.DataFrame
        Columns `ddcl_tab.space._rules.BAD_SCHEMA`.

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
    good = parsed if bad.is_empty() else rows_without(parsed, bad)
    return good.select(polars_schema(ELSET_COLUMNS).names()), bad.select(BAD_SCHEMA.names())


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
            why = (
                " (CCSDS 502.0-B-3 requires it for SGP4; it says which object the set belongs to)"
                if name == "NORAD_CAT_ID"
                else ""
            )
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
            ~piece.str.contains(DESIGNATOR),
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


# The unit may be left out (CCSDS 502.0-B-3, 7.7.1.2); it is never another one.
_UNITS = {column.name: column.unit for column in ELSET_COLUMNS if column.unit} | {"BSTAR": "1/er"}
_USERS = "USER_DEFINED"
_KEYWORD, _COMMENT = re.compile(r"([^=]+)=(.*)"), re.compile(r"COMMENT\b", re.IGNORECASE)
FIRST_KEYWORD = re.compile(r"^[ \t]*CCSDS_OMM_VERS[ \t]*=", re.IGNORECASE | re.MULTILINE)
"""The line with which a message in KVN begins."""


def read_kvn(text: str, wanted: Collection[str], file: object) -> Table:
    r"""Read one or more messages in KVN.

    A message begins with CCSDS_OMM_VERS, or where the first keyword of a message without it comes again. Keywords may
    be in small letters. Comments, blank lines, unknown keywords, lines that begin with USER_DEFINED and, above the
    first CCSDS_OMM_VERS, all lines that hold no wanted keyword (such as the header of a mail) are skipped. The unit in
    brackets is dropped if it is the standard's, and kept with the value if it is another one, so that the value is
    refused.

    Parameters
    ----------
    text : str
        The file.
    wanted : collection of str
        Keywords to read.
    file : object
        Its name, for errors.

    Returns
    -------
    Table
        One row a message; `LINE` is the message's first line.

    Raises
    ------
    CatalogError
        A line without an equals sign, or a wanted keyword twice in a message.

    Examples
    --------
    >>> text = "COMMENT synthetic\nCCSDS_OMM_VERS = 3.0\nINCLINATION = 98.60 [deg]\nX = 1\n"
    >>> read_kvn(text, {"INCLINATION"}, "a.kvn").values.rows()
    [(2, '98.60')]
    """
    names: dict[str, None] = {}
    rows: list[dict[str, str | int]] = []
    first = ""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    start = FIRST_KEYWORD.search(text)
    n_above = 0 if start is None else text.count("\n", 0, start.start())
    for place, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        # A keyword of the user's may hold anything, and is not read.
        if not line or _COMMENT.match(line) or line[: len(_USERS)].upper() == _USERS:
            continue
        match = _KEYWORD.fullmatch(line)
        if place <= n_above and (match is None or match[1].strip().upper() not in wanted):
            continue
        if match is None:
            raise CatalogError(
                "a line is a comment or reads KEYWORD = value",
                file=file,
                line=place,
                value=line[:80],
                remedy="Correct the line, or download the file again.",
            )
        name, value = match[1].strip().upper(), match[2].strip()
        if name == "CCSDS_OMM_VERS" or not rows or name == first:
            rows.append({LINE: place})
            first = name
        names[name] = None
        if name in wanted:
            _put(rows[-1], name, _without_unit(name, value), place, file)
    return table_of(rows, wanted, tuple(names))


def read_xml(text: str, wanted: Collection[str], file: object) -> Table:
    """Read a message ``omm``, or all of them in an ``ndm``, or the ``item``s of Space-Track's ``xml``, in XML.

    No entity is expanded and no other file is opened: a document type declaration is refused. Namespace prefixes,
    unknown elements and other messages of the ``ndm`` are skipped. Units count as in `read_kvn`.

    Parameters
    ----------
    text : str
        The file.
    wanted : collection of str
        Names of the elements to read.
    file : object
        Its name, for errors.

    Returns
    -------
    Table
        One row a message; `LINE` is that of its ``omm`` or ``item`` tag.

    Raises
    ------
    CatalogError
        Damaged XML, a document type declaration, or a wanted element twice in a message.

    Examples
    --------
    >>> data = '<data><INCLINATION units="deg">98.60</INCLINATION></data>'
    >>> read_xml(f"<ndm><omm>{data}</omm></ndm>", {"INCLINATION"}, "a.xml").values.rows()
    [(1, '98.60')]
    """
    # A declaration stands first; blank lines above it may stand within, where they still count.
    body = text.lstrip()
    if body is not text and body.startswith("<?xml"):
        text = "<?xml" + "\n" * text[: len(text) - len(body)].count("\n") + body[5:]
    # The text has been decoded: an encoding that the declaration names no longer holds.
    parser = expat.ParserCreate("utf-8")
    reader = _XMLReader(parser, wanted, file)
    try:
        parser.Parse(text.encode("utf-8"), True)
    except expat.ExpatError as error:
        raise CatalogError(
            f"the XML is damaged or cut off: {expat.ErrorString(error.code)}",
            file=file,
            line=error.lineno,
            remedy="Download it again.",
        ) from error
    return table_of(reader.rows, wanted, tuple(reader.names))


class _XMLReader:
    """Collects the wanted elements while expat goes through the text."""

    def __init__(self, parser: expat.XMLParserType, wanted: Collection[str], file: object) -> None:
        self.parser, self.wanted, self.file = parser, wanted, file
        self.rows: list[dict[str, str | int]] = []
        self.names: dict[str, None] = {}
        self.inside = ""
        self.name = self.unit = ""
        self.parts: list[str] = []
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self.refuse
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.text

    def refuse(self, name: str, *_: object) -> None:
        raise CatalogError(
            "a message in XML has no document type declaration (it could make a small file expand without bound)",
            file=self.file,
            line=self.parser.CurrentLineNumber,
            value=f"<!DOCTYPE {name[:60]}",
            remedy="Download it again from the provider, or remove the declaration.",
        )

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        local = tag.rpartition(":")[2]
        if local == "omm" or (local == "item" and self.inside != "omm"):
            self.inside = local
            self.rows.append({LINE: self.parser.CurrentLineNumber})
        self.name = local if self.inside else ""
        self.unit = attributes.get("units", "")
        self.parts = []

    def text(self, data: str) -> None:
        if self.name in self.wanted:
            self.parts.append(data)

    def end(self, tag: str) -> None:
        local = tag.rpartition(":")[2]
        if local == self.name:
            self.names[local] = None
            if local in self.wanted:
                written = "".join(self.parts).strip() + (f" [{self.unit}]" if self.unit else "")
                place = self.parser.CurrentLineNumber
                _put(self.rows[-1], local, _without_unit(local, written), place, self.file)
        self.inside = "" if local == self.inside else self.inside
        self.name = ""


def _without_unit(name: str, value: str) -> str:
    if name not in _UNITS or not value.endswith("]"):
        return value
    number, _, unit = value[:-1].rpartition("[")
    return number if unit.replace(" ", "").replace("**", "^").lower() == _UNITS[name] else value


def _put(row: dict[str, str | int], name: str, value: str, place: int, file: object) -> None:
    if name in row:
        raise CatalogError(
            "a keyword stands once in a message",
            file=file,
            line=place,
            column=name,
            value=value[:80],
            remedy="Begin each message with CCSDS_OMM_VERS.",
        )
    row[name] = value
