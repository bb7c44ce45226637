"""Read element sets ("general perturbations", GP) in any of the forms in which they are served."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from functools import partial
from typing import Literal, overload

import polars as pl

from ddcl_tab.catalog.elsets import elset_error, parse_elsets
from ddcl_tab.catalog.files import gp_content_of, names_in_header
from ddcl_tab.catalog.messages import read_kvn, read_xml
from ddcl_tab.catalog.omm import REQUIRED, WANTED, parse_omm
from ddcl_tab.catalog.pages import refuse_page
from ddcl_tab.catalog.rules import OnError, check_on_error, first_error
from ddcl_tab.catalog.tables import Table, read_csv, read_json, require
from ddcl_tab.catalog.text import read_text
from ddcl_tab.errors import CatalogError

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
    - A reference frame other than TEME, a centre other than the Earth, a time system other than UTC, a theory that is
      no kin of SGP4 (TLE means SGP4) and a unit that is not the standard's are errors, since the columns could not show
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
        Columns `ddcl_tab.catalog.ELSET_COLUMNS`: angles in deg, MEAN_MOTION in rev/day, BSTAR in 1/earth radius, EPOCH
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
    >>> row = "MADE UP,,2031-04-10T12:00:00.000864,14.30000001,.001,98.6,10,20"
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
    good, bad = parse_elsets(text, path) if content == "elsets" else _parse_messages(text, content, path)
    if on_error == "collect":
        return good, bad
    if not bad.is_empty():
        raise elset_error(bad, text) if content == "elsets" else first_error(bad, REMEDY)
    return good


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
