"""Catalogs besides SATCAT: GCAT of J. C. McDowell, the UCS Satellite Database, and the object classes of DISCOS."""

from __future__ import annotations

import os
import re
from typing import Literal, overload

import polars as pl

from ddcl_tab.errors import CatalogError
from ddcl_tab.space._content import separator_unless_page
from ddcl_tab.space._elements import period_from_semi_major_axis
from ddcl_tab.space._rules import OnError, check_on_error, good_or_error
from ddcl_tab.space._satcat import parse_satcat, satcat_error
from ddcl_tab.space._schema import DESIGNATOR, SATCAT_ORBIT
from ddcl_tab.space._tables import LINE, Table, read_csv, require
from ddcl_tab.space._text import read_text
from ddcl_tab.space._tle import LETTERS

DISCOS_TYPES: dict[str, str] = {
    "Payload": "PAYLOAD",
    "Payload Mission Related Object": "DEBRIS",
    "Payload Fragmentation Debris": "DEBRIS",
    "Payload Debris": "DEBRIS",
    "Rocket Body": "ROCKET BODY",
    "Rocket Mission Related Object": "DEBRIS",
    "Rocket Fragmentation Debris": "DEBRIS",
    "Rocket Debris": "DEBRIS",
    "Other Mission Related Object": "DEBRIS",
    "Other Debris": "DEBRIS",
    "Unknown": "UNKNOWN",
}
"""``objectClass`` of ESA's DISCOSweb -> OBJECT_TYPE. Covers, adapters and other mission-related objects are DEBRIS, as
they are in the SATCAT."""

GCAT_TYPES: dict[str, str] = {
    "P": "PAYLOAD",
    "S": "PAYLOAD",
    "R": "ROCKET BODY",
    "C": "DEBRIS",
    "D": "DEBRIS",
    "X": "UNKNOWN",
    "Z": "UNKNOWN",
}
"""First letter of GCAT's SatType -> OBJECT_TYPE: payload, suborbital payload, launch vehicle stage, component,
fragmentation debris, deleted entry, spurious entry. Components are DEBRIS, as they are in the SATCAT."""


def object_types_of_discos(classes: pl.Series) -> pl.Series:
    """OBJECT_TYPE of each DISCOS object class.

    Parameters
    ----------
    classes : polars.Series of str or categories
        ``objectClass`` of DISCOSweb, in any case; null means unknown.

    Returns
    -------
    polars.Series of str
        PAYLOAD, ROCKET BODY, DEBRIS or UNKNOWN; the name is OBJECT_TYPE.

    Raises
    ------
    CatalogError
        A class that DISCOS does not have.

    Notes
    -----
    ESA DISCOSweb, attribute ``objectClass`` of ``/api/objects``.

    Examples
    --------
    >>> object_types_of_discos(pl.Series(["Payload", "Rocket Mission Related Object", None])).to_list()
    ['PAYLOAD', 'DEBRIS', 'UNKNOWN']
    """
    known = {name.lower(): kind for name, kind in DISCOS_TYPES.items()}
    text = classes.cast(pl.String).fill_null("Unknown").str.strip_chars().str.to_lowercase()
    kinds = text.replace_strict(known, default=None, return_dtype=pl.String).alias("OBJECT_TYPE")
    if kinds.null_count():
        place = kinds.is_null().arg_true()[0]
        raise CatalogError(
            f"a DISCOS object class is one of {', '.join(DISCOS_TYPES)}",
            line=place + 1,
            column=classes.name or None,
            value=classes[place],
            remedy="Map it by hand, or ask DISCOS what it means.",
        )
    return kinds


_COLUMNS = (
    "#JCAT",
    "Satcat",
    "Piece",
    "Type",
    "Name",
    "LDate",
    "Primary",
    "DDate",
    "Status",
    "State",
    "Perigee",
    "Apogee",
    "Inc",
)
_MONTHS = {
    name: f"{number:02d}"
    for number, name in enumerate(re.findall("[A-Z][a-z]+", "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"), start=1)
}
_GREEK = re.findall(
    "[A-Z]+", "ALP BET GAM DEL EPS ZET ETA THE IOT KAP LAM MU NU XI OMI PI RHO SIG TAU UPS PHI CHI PSI OME"
)
_HARVARD = re.compile(rf"(\d{{4}}) (?:(A|B|{'|'.join(_GREEK)}) )?({'|'.join(_GREEK)}) (\d{{1,4}})", re.ASCII)


@overload
def read_gcat(path: str | os.PathLike[str], *, on_error: Literal["raise"] = "raise") -> pl.DataFrame: ...
@overload
def read_gcat(path: str | os.PathLike[str], *, on_error: Literal["collect"]) -> tuple[pl.DataFrame, pl.DataFrame]: ...
def read_gcat(
    path: str | os.PathLike[str], *, on_error: OnError = "raise"
) -> pl.DataFrame | tuple[pl.DataFrame, pl.DataFrame]:
    r"""Read GCAT's ``satcat.tsv``, plain or gzip, old and new layout.

    - Rows without a catalog number of their own (JCAT of another letter than S) are left out.
    - OBJECT_TYPE follows the first letter of the SatType (`ddcl_tab.space._other_catalogs.GCAT_TYPES`).
    - OBJECT_ID is the piece; those of 1957 to 1962 (``1957 ALP 2``) become ``1957-001B``. Designations that are not
      international ones are null.
    - LAUNCH and DECAY are null where GCAT does not give the day; a question mark after it is dropped. DECAY is DDate
      where the status is R, D or L (re-entered, deorbited, landed); DDate also dates dockings and renamings.
    - PERIOD follows from the altitudes by Kepler's third law. Orbits about other bodies and escape orbits (an apogee
      that is no number or below the perigee) are null.
    - Rows with one catalog number break a rule, all of them, as in `read_satcat`.
    - COUNTRY is GCAT's State, whose codes are not Space-Track's. SITE, RCS and RCS_SIZE are null.

    Parameters
    ----------
    path : str or path-like
        The file.
    on_error : {"raise", "collect"}
        ``"raise"`` stops at the first row that breaks a rule; ``"collect"`` leaves such rows out and lists them.

    Returns
    -------
    polars.DataFrame
        Columns `ddcl_tab.space.SATCAT_COLUMNS`, units as in `read_satcat`.
    polars.DataFrame
        Only with ``"collect"``: one row per broken rule, as in `read_satcat`; dates and types are shown translated.

    Raises
    ------
    CatalogError
        A file that is no GCAT catalog, or (with ``"raise"``) the first row that breaks a rule.
    ConfigurationError
        Another `on_error`.

    Notes
    -----
    Columns, SatType, status and designations: planet4589.org/space/gcat, "Object catalogs" and "Definitions".

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> header = "#JCAT\tSatcat\tPiece\tType\tName\tLDate\tPrimary\tDDate\tStatus\tState\tPerigee\tApogee\tInc"
    >>> row = "S90001\t90001\t1962 ALP 2\tP\tSynthetic\t1962 Jan  7 1200\tEarth\t1963 Feb?\tR?\tXX\t760\t830\t98.6"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "satcat.tsv")
    ...     _ = path.write_text(f"{header}\n# Updated never\n{row}\n")
    ...     frame = read_gcat(path)
    >>> frame.select("OBJECT_ID", "OBJECT_TYPE", "LAUNCH", "DECAY", pl.col("PERIOD").round(1)).row(0)
    ('1962-001B', 'PAYLOAD', datetime.date(1962, 1, 7), None, 100.8)
    """
    check_on_error(on_error)
    table = _read_table(path)
    good, bad = parse_satcat(_translated(table.values), path)
    return good_or_error(_with_period(good), bad, on_error, satcat_error)


def cospar_of(piece: str) -> str | None:
    """International designator of a GCAT piece.

    Parameters
    ----------
    piece : str
        ``2020-056A``, or Greek letters and number as used until 1962 (24 letters, then pairs).

    Returns
    -------
    str or None
        ``YYYY-NNN`` and piece letters; None for what is no international designation.

    Examples
    --------
    >>> cospar_of("1957 ALP 2"), cospar_of("1961 A ALP 25"), cospar_of("2020-F03A")
    ('1957-001B', '1961-025AA', None)
    """
    if re.fullmatch(DESIGNATOR, piece):
        return piece
    match = _HARVARD.fullmatch(re.sub(" +", " ", piece))
    if match is None or match[4].strip("0") == "":
        return None
    year, first, second, number = match.groups()
    pair = 0 if first is None else "AB".index(first) + 1 if len(first) == 1 else _GREEK.index(first) + 1
    return f"{year}-{24 * pair + _GREEK.index(second) + 1:03d}{piece_letters(int(number))}"


def piece_letters(number: int) -> str:
    """Letters of a piece of a launch: A to Z without I and O, then AA, AB, ...

    Parameters
    ----------
    number : int
        Which piece, from 1.

    Returns
    -------
    str

    Examples
    --------
    >>> piece_letters(1), piece_letters(24), piece_letters(25)
    ('A', 'Z', 'AA')
    """
    letters = ""
    while number:
        number, digit = divmod(number - 1, len(LETTERS))
        letters = LETTERS[digit] + letters
    return letters


def _read_table(path: str | os.PathLike[str]) -> Table:
    text = read_text(path)
    separator_unless_page(text, _COLUMNS, "GCAT's satcat.tsv", path, "\t")
    # Comments become blank lines, so that line numbers stay; the header begins with # too.
    lines = text.split("\n")
    first = next(place for place, line in enumerate(lines) if line.strip())
    if "\t" not in lines[first]:
        raise CatalogError(
            "the first line of a GCAT catalog names its columns, with tabs between them",
            file=path,
            line=first + 1,
            value=lines[first][:80],
            remedy="Download satcat.tsv (not satcat.html).",
        )
    comment = [place > first and line.startswith("#") for place, line in enumerate(lines)]
    text = "\n".join("" if skipped else line for line, skipped in zip(lines, comment, strict=True))
    table = read_csv(text, _COLUMNS, path, delimiter="\t", quoted=False)
    require(table, [name for name in _COLUMNS if name not in table.values.columns], "the GCAT catalog", path)
    own = pl.col("#JCAT").str.starts_with("S") & pl.col("Satcat").str.contains("^[0-9]+$")
    kept = table.values.filter(own.fill_null(False))
    if kept.is_empty():
        raise CatalogError("the GCAT catalog holds no object with a catalog number", file=path)
    return Table(kept, table.names)


def _translated(values: pl.DataFrame) -> pl.DataFrame:
    """Columns ``NAME written`` in the words of a SATCAT; what has no translation stays as it is, for the rules."""
    kind = pl.col("Type").str.slice(0, 1)
    perigee, apogee = (pl.when(pl.col(name).str.contains("[0-9]")).then(pl.col(name)) for name in ("Perigee", "Apogee"))
    closed = apogee.cast(pl.Float64, strict=False) >= perigee.cast(pl.Float64, strict=False)
    gone = pl.col("Status").str.contains(r"^[RDL]\??$")
    columns = {
        "NORAD_CAT_ID": pl.col("Satcat"),
        "OBJECT_ID": pl.col("Piece").map_elements(cospar_of, return_dtype=pl.String),
        "OBJECT_NAME": pl.col("Name"),
        "OBJECT_TYPE": kind.replace_strict(GCAT_TYPES, default=pl.col("Type")),
        "COUNTRY": _known("State"),
        "LAUNCH": _day("LDate"),
        "DECAY": pl.when(gone).then(_day("DDate")),
        "INCLINATION": _known("Inc"),
        "APOGEE": pl.when(closed.fill_null(False)).then(apogee),
        "PERIGEE": pl.when(closed.fill_null(False)).then(perigee),
        "ORBIT_CENTER": pl.when(pl.col("Primary") == "Earth").then(pl.lit("EA")).otherwise(_known("Primary")),
    }
    return values.select(LINE, *(value.alias(f"{name} written") for name, value in columns.items()))


def _known(name: str) -> pl.Expr:
    """Text, null where it is one of GCAT's signs for nothing."""
    return pl.when(~pl.col(name).is_in(["-", "*", "?"])).then(pl.col(name))


def _day(name: str) -> pl.Expr:
    """A vague date as YYYY-MM-DD; null where it does not give the day."""
    part = pl.col(name).str.extract_groups(r"^([0-9]{4}) +([A-Z][a-z]{2}) +([0-9]{1,2})(?:[^0-9].*)?$").struct
    month = part.field("2").replace_strict(_MONTHS, default=None)
    return pl.format("{}-{}-{}", part.field("1"), month, part.field("3").str.zfill(2))


def _with_period(frame: pl.DataFrame) -> pl.DataFrame:
    period = period_from_semi_major_axis(frame["SEMIMAJOR_AXIS"].to_numpy())
    return frame.with_columns(pl.Series("PERIOD", period, nan_to_null=True))


# Canonical name -> names it has had over the editions, best first.
_NAMES = {
    "NORAD_CAT_ID": ("NORAD Number", "Norad Number"),
    "OBJECT_ID": ("COSPAR Number",),
    "OBJECT_NAME": ("Current Official Name of Satellite", "Name of Satellite, Alternate Names"),
    "COUNTRY": ("Country of Operator/Owner",),
    "LAUNCH": ("Date of Launch",),
    "SITE": ("Launch Site",),
    "PERIOD": ("Period (minutes)",),
    "INCLINATION": ("Inclination (degrees)",),
    "APOGEE": ("Apogee (km)",),
    "PERIGEE": ("Perigee (km)",),
}
_NUMBERS = ("NORAD_CAT_ID", *SATCAT_ORBIT)


@overload
def read_ucs(path: str | os.PathLike[str], *, on_error: Literal["raise"] = "raise") -> pl.DataFrame: ...
@overload
def read_ucs(path: str | os.PathLike[str], *, on_error: Literal["collect"]) -> tuple[pl.DataFrame, pl.DataFrame]: ...
def read_ucs(
    path: str | os.PathLike[str], *, on_error: OnError = "raise"
) -> pl.DataFrame | tuple[pl.DataFrame, pl.DataFrame]:
    r"""Read the UCS Satellite Database as text (tabs or commas), plain or gzip, in UTF-8, UTF-16 or Windows-1252.

    The database lists operational satellites, so every OBJECT_TYPE is PAYLOAD. Commas in numbers are dropped, dates are
    month/day/year or ISO. COUNTRY and SITE are names, not codes. The Excel workbook has to be saved as text first. Of
    sound rows with one catalog number the first holds; the others break a rule.

    Parameters
    ----------
    path : str or path-like
        The file.
    on_error : {"raise", "collect"}
        ``"raise"`` stops at the first row that breaks a rule; ``"collect"`` leaves such rows out and lists them (a
        database kept by hand has some).

    Returns
    -------
    polars.DataFrame
        Columns `ddcl_tab.space.SATCAT_COLUMNS`, units as in `read_satcat`; DECAY, RCS, RCS_SIZE and COMMENT are null.
    polars.DataFrame
        Only with ``"collect"``: one row per broken rule, as in `read_satcat`.

    Raises
    ------
    CatalogError
        A file that is not the database, or (with ``"raise"``) the first row that breaks a rule.
    ConfigurationError
        Another `on_error`.

    Notes
    -----
    Union of Concerned Scientists, "UCS Satellite Database", last edition of 2023-05-01, and its user's manual.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> names = [aliases[0] for aliases in _NAMES.values()]
    >>> row = ["90001", "2031-007A", "Synthetic", "Nowhere", "2/3/2031", "Sea", "1,436.1", "0.1", '"35,790"', "35,780"]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "ucs.txt")
    ...     _ = path.write_text("\n".join("\t".join(line) for line in (names, row)))
    ...     frame = read_ucs(path)
    >>> frame.select("NORAD_CAT_ID", "OBJECT_TYPE", "LAUNCH", "PERIOD", "APOGEE").row(0)
    (90001, 'PAYLOAD', datetime.date(2031, 2, 3), 1436.1, 35790.0)
    """
    check_on_error(on_error)
    text = read_text(path, other_encoding="cp1252")
    aliases = [alias for names in _NAMES.values() for alias in names]
    separator = separator_unless_page(text, aliases, "the UCS database", path, "\t", ",")
    table = read_csv(text, aliases, path, delimiter=separator)
    there = table.values.columns
    found = {name: next((a for a in names if a in there), None) for name, names in _NAMES.items()}
    lacking = [_NAMES[name][0] for name, alias in found.items() if alias is None]
    require(table, lacking, "the UCS database", path)
    # Spreadsheets save empty rows below the table.
    values = table.values.filter(pl.any_horizontal(pl.exclude(LINE).is_not_null()))
    if values.is_empty():
        raise CatalogError("the UCS database holds no row", file=path, remedy="Download it again.")
    written = values.select(
        LINE,
        *(_translated_ucs(name, str(alias)).alias(f"{name} written") for name, alias in found.items()),
        pl.lit("PAYLOAD").alias("OBJECT_TYPE written"),
    )
    return good_or_error(*parse_satcat(written, path, keep_first=True), on_error, satcat_error)


def _translated_ucs(name: str, alias: str) -> pl.Expr:
    value = pl.col(alias)
    if name in _NUMBERS:
        return value.str.replace_all(",", "")
    if name == "LAUNCH":
        part = value.str.extract_groups(r"^([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})$").struct
        iso = pl.format("{}-{}-{}", part.field("3"), part.field("1").str.zfill(2), part.field("2").str.zfill(2))
        return pl.coalesce(iso, value)
    return value
