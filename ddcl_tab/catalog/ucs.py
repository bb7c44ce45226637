"""Read the Satellite Database of the Union of Concerned Scientists (UCS) into the canonical SATCAT frame."""

from __future__ import annotations

import os
from typing import Literal, overload

import polars as pl

from ddcl_tab.catalog.files import separator_unless_page
from ddcl_tab.catalog.rules import OnError, check_on_error
from ddcl_tab.catalog.satcat import good_or_error, parse_satcat
from ddcl_tab.catalog.tables import LINE, read_csv, require
from ddcl_tab.catalog.text import read_text
from ddcl_tab.errors import CatalogError

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
_NUMBERS = ("NORAD_CAT_ID", "PERIOD", "INCLINATION", "APOGEE", "PERIGEE")


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
        Columns `ddcl_tab.catalog.SATCAT_COLUMNS`, units as in `read_satcat`; DECAY, RCS, RCS_SIZE and COMMENT are null.
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
    >>> row = ["90001", "2031-007A", "Made up", "Nowhere", "2/3/2031", "Sea", "1,436.1", "0.1", '"35,790"', "35,780"]
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
        *(_translated(name, str(alias)).alias(f"{name} written") for name, alias in found.items()),
        pl.lit("PAYLOAD").alias("OBJECT_TYPE written"),
    )
    return good_or_error(*parse_satcat(written, path, keep_first=True), on_error)


def _translated(name: str, alias: str) -> pl.Expr:
    value = pl.col(alias)
    if name in _NUMBERS:
        return value.str.replace_all(",", "")
    if name == "LAUNCH":
        part = value.str.extract_groups(r"^([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})$").struct
        iso = pl.format("{}-{}-{}", part.field("3"), part.field("1").str.zfill(2), part.field("2").str.zfill(2))
        return pl.coalesce(iso, value)
    return value
