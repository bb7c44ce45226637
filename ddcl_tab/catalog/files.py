"""Recognise what a catalog file holds by its content, with errors that say what it is instead."""

from __future__ import annotations

import re
from typing import Literal

from ddcl_tab.errors import CatalogError

Content = Literal["json", "csv", "elsets"]
GPContent = Literal["json", "csv", "elsets", "xml", "kvn"]

_SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "vertical bars"}
_ELEMENT_LINE = re.compile(r"^(1 [A-Z0-9 ][0-9 ]{3}[0-9][A-Z ]? |2 [A-Z0-9 ][0-9 ]{3}[0-9] )", re.MULTILINE)
_LINE, _COMMENT, _KEYWORD = re.compile(r"[^\r\n]+"), re.compile(r"COMMENT\b"), re.compile(r"[A-Z][A-Z0-9_]*\s*=")
_HTML = re.compile(r"\s*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)


def content_of(text: str, file: object) -> Content:
    """Recognise what a text holds by its first characters.

    Parameters
    ----------
    text : str
        Text of a file, not blank.
    file : object
        Its name, for the error.

    Returns
    -------
    {"json", "csv", "elsets"}
        ``"csv"`` is every text with a comma in its first line that is none of the others.

    Raises
    ------
    CatalogError
        An HTML or XML page, a table with another separator than commas, or a text of no known form.

    Examples
    --------
    >>> content_of('[{"NORAD_CAT_ID": "5"}]', "a.json"), content_of("NORAD_CAT_ID,PERIOD", "a.csv")
    ('json', 'csv')
    """
    body = text.lstrip()
    if body[0] in "[{":
        return "json"
    if body[0] == "<":
        raise CatalogError(
            "the file is a catalog, but it starts like an HTML or XML page",
            file=file,
            line=1,
            value=_first_line(body),
            remedy="Open it in a browser: it is probably a login or error page. Download the data as JSON, CSV or TLE.",
        )
    if _ELEMENT_LINE.search(body[:400].replace("\r", "\n")):
        return "elsets"
    separator_of(text, file, ",")
    if "," in re.split("[\r\n]", body, maxsplit=1)[0]:
        return "csv"
    raise CatalogError(
        "the file is a JSON array, a CSV with a header line, or two- or three-line element sets",
        file=file,
        line=1,
        value=_first_line(body),
        remedy="Download it again from Space-Track or CelesTrak in one of these forms.",
    )


def gp_content_of(text: str, file: object) -> GPContent:
    r"""Recognise in which form a text holds element sets.

    Parameters
    ----------
    text : str
        Text of a file, not blank.
    file : object
        Its name, for the error.

    Returns
    -------
    {"json", "csv", "elsets", "xml", "kvn"}
        ``"kvn"`` is a text whose first line that is neither blank nor a comment reads ``KEYWORD =``.

    Raises
    ------
    CatalogError
        An HTML page, or a text of no known form.

    Examples
    --------
    >>> gp_content_of("<ndm><omm/></ndm>", "a.xml"), gp_content_of("COMMENT made up\nCCSDS_OMM_VERS = 3.0", "a.kvn")
    ('xml', 'kvn')
    """
    if text.lstrip()[0] == "<" and not _HTML.match(text):
        return "xml"
    lines = (match[0].strip() for match in _LINE.finditer(text))
    first = next((line for line in lines if line and not _COMMENT.match(line)), "")
    return "kvn" if _KEYWORD.match(first) else content_of(text, file)


def separator_of(text: str, file: object, *allowed: str) -> str:
    r"""What stands between the names of a table's header, the first line that is not blank.

    Parameters
    ----------
    text : str
        The file.
    file : object
        Its name, for the error.
    *allowed : str
        Separators that the reader takes; the first one is returned where there is none.

    Returns
    -------
    str
        The separator that stands most often outside of quotes.

    Raises
    ------
    CatalogError
        It is a comma, tab, semicolon or vertical bar (at least two of them), and not allowed.

    Examples
    --------
    >>> separator_of('\nPERIOD\t"A, B"\tAPOGEE\n', "a.txt", ",", "\t")
    '\t'
    >>> separator_of("PERIOD", "a.csv", ",")
    ','
    """
    lead = text[: len(text) - len(text.lstrip())]
    header = text[lead.rfind("\n") + 1 :].split("\n", 1)[0]
    bare = re.sub(r'"[^"]*"', "", header)
    counts = {mark: bare.count(mark) for mark in (*allowed, *(m for m in (",", *_SEPARATORS) if m not in allowed))}
    found = max(counts, key=lambda mark: counts[mark])
    if found in allowed:
        return found
    if counts[found] < 2:
        return allowed[0]
    names = {",": "commas"} | _SEPARATORS
    wanted = " or ".join(names[mark] for mark in allowed)
    tables = " GCAT is read with read_gcat, the UCS database with read_ucs." if found == "\t" else ""
    raise CatalogError(
        f"this reader wants {wanted} between the fields, but the header has {names[found]} ({found!r})",
        file=file,
        line=lead.count("\n") + 1,
        value=header[:80],
        remedy=f"Save the file with {wanted}, and with points in numbers.{tables}",
    )


def _first_line(text: str) -> str:
    return re.split("[\r\n]", text[:10_000], maxsplit=1)[0].rstrip()[:80]
