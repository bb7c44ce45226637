"""Read element sets ("general perturbations", GP) in every form in which they are served: OMM, TLE, 3LE."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from functools import partial
from typing import Literal, overload

import polars as pl

from ddcl_tab.errors import CatalogError
from ddcl_tab.space._content import content_of, gp_content_of, names_in_header, quote_of, refuse_page
from ddcl_tab.space._omm import REQUIRED, WANTED, parse_omm, read_kvn, read_xml
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
from ddcl_tab.space._schema import ANGLES, ELSET_COLUMNS, polars_schema
from ddcl_tab.space._tables import Table, read_csv, read_json, require
from ddcl_tab.space._text import read_text
from ddcl_tab.space._tle import (
    FIELDS,
    LINE_LENGTH,
    MICROSECONDS_PER_LAST_DIGIT,
    Field,
    checksum,
    layout_pattern,
    number_of_alpha5,
    pair_lines,
    template,
)

# Line 1 holds the number that counts; line 2 only repeats it.
_FIELDS = {field.name: field for field in reversed(FIELDS) if field.name != "checksum"}
_REMEDY = "Download the set again, or read with on_error='collect' to get the good sets and a list of the bad ones."


@overload
def read_elsets(path: str | os.PathLike[str], *, on_error: Literal["raise"] = "raise") -> pl.DataFrame: ...
@overload
def read_elsets(path: str | os.PathLike[str], *, on_error: Literal["collect"]) -> tuple[pl.DataFrame, pl.DataFrame]: ...
def read_elsets(
    path: str | os.PathLike[str], *, on_error: OnError = "raise"
) -> pl.DataFrame | tuple[pl.DataFrame, pl.DataFrame]:
    r"""Read a file of two- or three-line element sets, plain or gzip.

    Line 0 is a name, with Space-Track's leading ``0`` or without as CelesTrak has it. Text around the sets is skipped,
    and is no error: a header of any length above the first set (such as that of a bulletin or a mail), comments that
    begin with ``#``, rulers, and what follows ``/EX``. A name or a line without the rest of its set is an error.

    Catalog numbers may be alpha-5. Years 57 to 99 are 19xx, 00 to 56 are 20xx. Checksums are verified. Several sets of
    one object are kept. Angles of 360 deg are 0.

    The drag columns hold the printed numbers, as OMM files of Space-Track and CelesTrak do: MEAN_MOTION_DOT is half
    the first derivative of the mean motion (rev/day^2), MEAN_MOTION_DDOT a sixth of the second (rev/day^3).

    Parameters
    ----------
    path : str or path-like
        The file.
    on_error : {"raise", "collect"}
        ``"raise"`` stops at the first set that breaks a rule; ``"collect"`` leaves such sets out and lists them.

    Returns
    -------
    polars.DataFrame
        Columns `ddcl_tab.space.ELSET_COLUMNS`: angles in deg, MEAN_MOTION in rev/day, BSTAR in 1/earth radius, EPOCH
        in UTC to the microsecond. Sets in the file's order.
    polars.DataFrame
        Only with ``"collect"``: one row per broken rule with file, line, NORAD_CAT_ID, column, value (as written)
        and rule.

    Raises
    ------
    CatalogError
        A file that holds no element sets, or (with ``"raise"``) the first set that breaks a rule.
    ConfigurationError
        Another `on_error`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> line_1 = "1 A0001U 31007C   31100.50000000  .00000123  00000-0  12345-3 0  9996"
    >>> line_2 = "2 A0001  98.6000  10.0000 0010000  20.0000  30.0000 14.30000000    12"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "synthetic.tle")
    ...     _ = path.write_text(f"0 SYNTHETIC DEB\n{line_1}\n{line_2}\n")
    ...     frame = read_elsets(path)
    >>> frame.select("NORAD_CAT_ID", "OBJECT_ID", "MEAN_MOTION", "BSTAR").row(0)
    (100001, '2031-007C', 14.3, 0.00012345)
    >>> str(frame["EPOCH"][0])
    '2031-04-10 12:00:00+00:00'
    """
    check_on_error(on_error)
    text = read_text(path)
    if content_of(text, path) != "elsets":
        raise CatalogError(
            "this is JSON or CSV, not two- or three-line element sets",
            file=path,
            value=quote_of(text),
            remedy="Read a SATCAT with read_satcat, element sets in other forms with read_gp.",
        )
    return good_or_error(*parse_elsets(text, path), on_error, lambda bad: elset_error(bad, text))


def parse_elsets(text: str, file: object) -> tuple[pl.DataFrame, pl.DataFrame]:
    r"""Good sets of a text, and the broken rules of the others.

    Parameters
    ----------
    text : str
        Two- or three-line element sets.
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
    >>> good, bad = parse_elsets("2 90001  98.6000\n", "a.tle")
    >>> good.height, bad["rule"].to_list()
    (0, ['line 2 follows line 1 of its set'])
    """
    text = _line_feeds(text)
    sets, lost = pair_lines(text)
    sets, broken_lines = _split(sets, _layout_rules(), file)
    parsed, broken_fields = _split(_parse(sets), _field_rules(), file)
    out_of_turn = pl.DataFrame([{"file": str(file), **row} for row in lost], schema=BAD_SCHEMA)
    bad = pl.concat([out_of_turn, broken_lines, broken_fields]).sort("line", maintain_order=True)
    return parsed.select(polars_schema(ELSET_COLUMNS).names()), bad


def elset_error(bad: pl.DataFrame, text: str) -> CatalogError:
    r"""Error that shows the first broken line below the template.

    Parameters
    ----------
    bad : polars.DataFrame
        From `parse_elsets`, not empty.
    text : str
        The text that was parsed.

    Returns
    -------
    CatalogError
        To be raised.

    Examples
    --------
    >>> text = "2 90001  98.6000\n"
    >>> print(elset_error(parse_elsets(text, "a.tle")[1], text))
    a.tle, line 1, column line 2: value '2 90001  98.6000' breaks the rule: line 2 follows line 1 of its set.
        2 NNNNN NNN.NNNN NNN.NNNN NNNNNNN NNN.NNNN NNN.NNNN NN.NNNNNNNNNNNNNK
        2 90001  98.6000
    Download the set again, or read with on_error='collect' to get the good sets and a list of the bad ones.
    """
    return first_error(bad, _shown(bad.row(0, named=True), _line_feeds(text)))


def _line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _split(sets: pl.DataFrame, rules: list[Rule], file: object) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sets that obey the rules, and the broken rules of the others."""
    bad = broken_rules(sets, rules, file=file, number=_FIELDS["NORAD_CAT_ID"].written.str.strip_chars())
    return rows_without(sets, bad), bad.select(BAD_SCHEMA.names())


def _layout_rules() -> list[Rule]:
    rules: list[Rule] = []
    for line in (1, 2):
        name, written = f"line {line}", pl.col(f"line {line}")
        length = written.str.len_chars()
        blank = f"the line is ASCII and blank where the template is: {template(line)}"
        laid_out = (length != LINE_LENGTH) | written.str.contains(layout_pattern(line))
        place = pl.col(f"place {line}")
        rules.append(
            Rule(name, pl.format("a line has 69 characters, not {}", length), length != LINE_LENGTH, written, place)
        )
        rules.append(Rule(name, blank, ~laid_out, written, place))
    return rules


def _field_rules() -> list[Rule]:
    rules = [_field_rule(field, field.rule, _unlike(field)) for field in _FIELDS.values()]
    for column in ELSET_COLUMNS:
        if column.rule:
            rules.append(_field_rule(_FIELDS[column.name], column.rule, column.out_of_bounds()))
    day = (pl.col("day") < 1) | (pl.col("day") > 366)
    rules.append(_field_rule(_FIELDS["EPOCH"], "the day of the year is in [1, 367)", day))
    first, second = (field for field in FIELDS if field.name == "NORAD_CAT_ID")
    same = pl.format("NORAD_CAT_ID is the same in lines 1 and 2, but line 1 has '{}'", first.written)
    rules.append(_field_rule(second, same, first.written != second.written))
    for field in FIELDS:
        if field.name == "checksum":
            right = pl.col(f"line {field.line}").map_batches(checksum, return_dtype=pl.Int64).cast(pl.String)
            rules.append(_field_rule(field, pl.format("the checksum of the line is {}", right), field.written != right))
    return rules


def _field_rule(field: Field, text: str | pl.Expr, broken: pl.Expr) -> Rule:
    return Rule(_label(field), text, broken, field.written, pl.col(f"place {field.line}"))


def _unlike(field: Field) -> pl.Expr:
    return ~field.written.str.contains(f"^{field.pattern}$")


def _parse(sets: pl.DataFrame) -> pl.DataFrame:
    """Add the typed columns; what cannot be parsed is null there and caught by a rule."""
    written = {name: field.written.str.strip_chars() for name, field in _FIELDS.items()}
    epoch, designator = written["EPOCH"], written["OBJECT_ID"]
    day, fraction = epoch.str.slice(2, 3).str.strip_chars(), epoch.str.slice(6)
    frame = sets.with_columns(
        number_of_alpha5(written["NORAD_CAT_ID"]).alias("NORAD_CAT_ID"),
        pl.col("name").alias("OBJECT_NAME"),
        pl.when(designator != "")
        .then(pl.format("{}-{}", _year(designator), designator.str.slice(2).str.replace_all(" ", "")))
        .alias("OBJECT_ID"),
        written["CLASSIFICATION_TYPE"].replace("", None).alias("CLASSIFICATION_TYPE"),
        _year(epoch).alias("year"),
        day.cast(pl.Int64, strict=False).alias("day"),
        (fraction.cast(pl.Int64, strict=False) * MICROSECONDS_PER_LAST_DIGIT).alias("microseconds"),
        pl.format("0.{}", written["ECCENTRICITY"]).cast(pl.Float64, strict=False).alias("ECCENTRICITY"),
        *(_power_of_ten(written[name]).alias(name) for name in ("BSTAR", "MEAN_MOTION_DDOT")),
        *(
            written[name].cast(pl.Float64, strict=False).alias(name)
            for name in ("INCLINATION", "MEAN_MOTION", "MEAN_MOTION_DOT")
        ),
        # The form has no sign.
        *(written[name].cast(pl.Float64, strict=False).replace(360.0, 0.0).alias(name) for name in ANGLES),
        *(
            written[name].cast(pl.Int64, strict=False).alias(name)
            for name in ("EPHEMERIS_TYPE", "ELEMENT_SET_NO", "REV_AT_EPOCH")
        ),
    )
    new_year = pl.datetime("year", 1, 1, time_unit="us", time_zone="UTC")
    passed = pl.duration(days=pl.col("day") - 1, microseconds="microseconds", time_unit="us")
    return frame.with_columns((new_year + passed).alias("EPOCH"))


def _year(written: pl.Expr) -> pl.Expr:
    two_digits = written.str.slice(0, 2).cast(pl.Int64, strict=False)
    return two_digits + pl.when(two_digits < 57).then(2000).otherwise(1900)


def _power_of_ten(written: pl.Expr) -> pl.Expr:
    parts = written.str.extract_groups(r"^([+-]?)([0-9]{5})([+0-][0-9])$").struct
    text = pl.format("{}0.{}e{}", parts.field("1"), parts.field("2"), parts.field("3"))
    return text.cast(pl.Float64, strict=False)


def _shown(first: dict[str, str | int], text: str) -> str:
    """Template, the user's line and a mark under the field."""
    line = text.split("\n")[int(first["line"]) - 1].rstrip()
    if line[:2] not in ("1 ", "2 "):
        return _REMEDY
    number = int(line[0])
    mark = next((field for field in FIELDS if field.line == number and _label(field) == first["column"]), None)
    under = "" if mark is None else f"\n    {' ' * (mark.first - 1)}{'^' * len(mark.form)}"
    return f"\n    {template(number)}\n    {line[:80]}{under}\n{_REMEDY}"


def _label(field: Field) -> str:
    return f"{field.name} ({field.place})"


_READERS: dict[str, Callable[[str, Collection[str], object], Table]] = {
    "json": read_json,
    "csv": partial(read_csv, required=REQUIRED, what="the GP file"),
    "xml": read_xml,
    "kvn": read_kvn,
}
REMEDY = "Correct the file, or read it with read_gp(..., on_error='collect'): the good sets and a list of the bad ones."
"""What to do about a set that breaks a rule."""


@overload
def read_gp(path: str | os.PathLike[str], *, on_error: Literal["raise"] = "raise") -> pl.DataFrame: ...
@overload
def read_gp(path: str | os.PathLike[str], *, on_error: Literal["collect"]) -> tuple[pl.DataFrame, pl.DataFrame]: ...
def read_gp(
    path: str | os.PathLike[str], *, on_error: OnError = "raise"
) -> pl.DataFrame | tuple[pl.DataFrame, pl.DataFrame]:
    r"""Read a file of element sets: OMM in CSV, JSON, XML or KVN, or two- and three-line sets; plain or gzip.

    The form is recognised by content, not by the file's name. Columns and keywords come in any order and (not in XML)
    in any case of letters, unknown ones are skipped, optional ones may be absent. XML may be Space-Track's list of
    ``item``s. Text around two- and three-line sets is skipped, as `read_elsets` says. Where a server's error page was
    saved, the message quotes it.

    - RA_OF_ASC_NODE, ARG_OF_PERICENTER and MEAN_ANOMALY are in [0, 360) deg; OMM may have them in [-360, 360] deg.
    - NORAD_CAT_ID is required: CCSDS makes it optional in general but requires it for SGP4, and without it nothing says
      which object a set belongs to. A set without it breaks a rule.
    - Catalog numbers have up to nine digits. Only two- and three-line sets squeeze them into five characters (alpha-5,
      up to 339999); in the other forms nothing is cut.
    - EPOCH is rounded to the microsecond; two- and three-line sets give it to 864 microseconds. A leap second
      (23:59:60) counts as the first second of the next day; in two lines it cannot be written (a day has 86400 s).
    - MEAN_MOTION_DOT is half the first derivative of the mean motion (rev/day^2) and MEAN_MOTION_DDOT a sixth of the
      second (rev/day^3) in every form. CCSDS calls them derivatives, but Space-Track and CelesTrak write the numbers of
      the two-line set.
    - Sets of EPHEMERIS_TYPE 4 (SGP4-XP) in two lines have other drag terms at the places of BSTAR and MEAN_MOTION_DDOT;
      they are given as they stand.
    - OBJECT_ID is null where it is empty or UNKNOWN (analyst objects).
    - A reference frame other than TEME, a centre other than the Earth, a time system other than UTC, a theory not
      akin to SGP4 (TLE means SGP4) and a unit that is not the standard's are errors, since the columns could not show
      them. These values may be in small letters.
    - Numbers are the floats nearest to what is written: up to 15 digits come back as they were.

    Parameters
    ----------
    path : str or path-like
        The file.
    on_error : {"raise", "collect"}
        ``"raise"`` stops at the first set that breaks a rule; ``"collect"`` leaves such sets out and lists them. A file
        that is damaged as a whole is an error either way.

    Returns
    -------
    polars.DataFrame
        Columns `ddcl_tab.space.ELSET_COLUMNS`: angles in deg, MEAN_MOTION in rev/day, BSTAR in 1/earth radius, EPOCH
        in UTC. Sets in the file's order; several of one object are kept.
    polars.DataFrame
        Only with ``"collect"``: one row per broken rule with file, line (record number in JSON, first line of the
        message in XML and KVN), NORAD_CAT_ID, column, value (as written) and rule.

    Raises
    ------
    CatalogError
        A file that holds no element sets, or (with ``"raise"``) the first set that breaks a rule.
    ConfigurationError
        Another `on_error`.

    Notes
    -----
    CCSDS 502.0-B-3, section 4 (Orbit Mean-elements Message); T. S. Kelso, "A New Way to Obtain GP Data", CelesTrak.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> header = "OBJECT_NAME,OBJECT_ID,EPOCH,MEAN_MOTION,ECCENTRICITY,INCLINATION,RA_OF_ASC_NODE,ARG_OF_PERICENTER"
    >>> row = "SYNTHETIC,,2031-04-10T12:00:00.000864,14.30000001,.001,98.6,10,20"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "gp.csv")
    ...     _ = path.write_text(f"{header},MEAN_ANOMALY,NORAD_CAT_ID,BSTAR\n{row},30,799500123,.12345E-3\n")
    ...     frame = read_gp(path)
    >>> frame.select("NORAD_CAT_ID", "OBJECT_ID", "MEAN_MOTION", "BSTAR").row(0)
    (799500123, None, 14.30000001, 0.00012345)
    """
    check_on_error(on_error)
    text = read_text(path)
    content = gp_content_of(text, path)
    if content == "elsets":
        return good_or_error(*parse_elsets(text, path), on_error, lambda bad: elset_error(bad, text))
    return good_or_error(*_parse_messages(text, content, path), on_error, lambda bad: first_error(bad, REMEDY))


def _parse_messages(text: str, content: str, file: object) -> tuple[pl.DataFrame, pl.DataFrame]:
    if content == "csv":
        refuse_page(text, names_in_header(text), WANTED, "a GP file", file)
    table = _READERS[content](text, WANTED, file)
    refuse_page(text, table.names, WANTED, "a GP file", file)
    if table.values.is_empty():
        raise no_element_set(file)
    missing = [name for name in REQUIRED if name not in table.names]
    # A message is a unit of its own: one without a number is a broken rule of that message, whatever the others have.
    if content in ("csv", "json") or missing != ["NORAD_CAT_ID"]:
        require(table, missing, "the GP file", file)
    return parse_omm(table.values, file)


def no_element_set(file: object) -> CatalogError:
    """Error of a file without rows or messages.

    Parameters
    ----------
    file : object
        Its name.

    Returns
    -------
    CatalogError
        To be raised.

    Examples
    --------
    >>> str(no_element_set("a.csv"))
    'a.csv: the file holds no element set. Widen the query that made it, or download it again.'
    """
    return CatalogError(
        "the file holds no element set", file=file, remedy="Widen the query that made it, or download it again."
    )
