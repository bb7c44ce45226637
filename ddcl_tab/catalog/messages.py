"""Orbit Mean-elements Messages in XML and KVN (keyword = value) to a frame of the values as written.

Forms: CCSDS 502.0-B-3 section 7 (KVN) and section 8 (XML), CCSDS 505.0-B-3 (the ``ndm`` list).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from xml.parsers import expat

from ddcl_tab.catalog.schema import ELSET_COLUMNS
from ddcl_tab.catalog.tables import LINE, Table, table_of
from ddcl_tab.errors import CatalogError

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
    >>> text = "COMMENT made up\nCCSDS_OMM_VERS = 3.0\nINCLINATION = 98.60 [deg]\nX = 1\n"
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
