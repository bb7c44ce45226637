"""Open catalog files: plain or gzip, recognised by content, with errors that say what the file is instead."""

from __future__ import annotations

import gzip
import io
import os
import re
import zlib
from pathlib import Path
from typing import Literal

from ddcl_tab.catalog.pages import quote_of
from ddcl_tab.catalog.tle import has_element_line
from ddcl_tab.errors import CatalogError

Content = Literal["json", "csv", "elsets"]
GPContent = Literal["json", "csv", "elsets", "xml", "kvn"]

_GZIP_MAGIC = b"\x1f\x8b"
# Catalogs shrink 3- to 30-fold; what grows further than this is made to fill the memory.
_LARGEST_EXPANSION = 100
_ALWAYS_ALLOWED_BYTES = 1 << 26
_CHUNK_BYTES = 1 << 20
_LINE, _COMMENT = re.compile(r"[^\r\n]+"), re.compile(r"COMMENT\b", re.IGNORECASE)
_KEYWORD = re.compile(r"(USER_DEFINED[^=,]*|[A-Z][A-Z0-9_]*)\s*=", re.IGNORECASE)
_HTML = re.compile(r"\s*(<\?xml[^>]*>\s*)?<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_MESSAGES = re.compile(r"<([A-Za-z_][\w.-]*:)?(omm|ndm|item|xml)[\s/>]")
# Longer than the header of any provider; JSON may be one line of megabytes.
_HEADER_CHARACTERS = 1 << 16
_NAMES = {"NORAD_CAT_ID", "OBJECT_NUMBER", "OBJECT_ID", "OBJECT_NAME", "INTLDES", "SATNAME", "EPOCH"}


def read_text(path: str | os.PathLike[str], *, other_encoding: str | None = None) -> str:
    r"""Text of a file, decompressed where it is gzip, without a byte-order mark.

    Parameters
    ----------
    path : str or path-like
        A UTF-8 text file, plain or gzip (by its first two bytes, not its name).
    other_encoding : str, optional
        Encoding of files that are no UTF-8; default: they are errors.

    Returns
    -------
    str
        The whole text; line ends as they stand.

    Raises
    ------
    CatalogError
        Missing or empty file, directory, gzip that is damaged or grows beyond any catalog, or bytes that are no UTF-8
        text.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.csv")
    ...     _ = path.write_bytes(gzip.compress(b"\xef\xbb\xbfNORAD_CAT_ID\n5\n"))
    ...     read_text(path)
    'NORAD_CAT_ID\n5\n'
    """
    data = _read_bytes(Path(path))
    try:
        text = _decoded(data, other_encoding)
    except UnicodeDecodeError as error:
        raise CatalogError(
            f"the file is UTF-8 text, but byte {error.start + 1} is 0x{data[error.start]:02x}",
            file=path,
            remedy="Download it again, or save it as UTF-8 text; zip archives must be unpacked first.",
        ) from error
    if "\0" in text:
        raise CatalogError(
            "the file is text, but it holds zero bytes", file=path, remedy="Download it again; this is binary data."
        )
    if not text.strip():
        raise CatalogError("the file is empty", file=path, remedy="Download it again.")
    return text


def content_of(text: str, file: object) -> Content:
    """Recognise what a text holds: by its first characters, or by element sets below any header.

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
        An HTML or XML page, or a text of no known form; the message quotes what it says.

    Examples
    --------
    >>> content_of('[{"NORAD_CAT_ID": "5"}]', "a.json"), content_of("NORAD_CAT_ID,PERIOD", "a.csv")
    ('json', 'csv')
    """
    body = text.lstrip()
    if _is_elsets(body):
        return "elsets"
    if body[0] in "[{":
        return "json"
    if body[0] == "<":
        data = "<NORAD_CAT_ID" in body
        raise CatalogError(
            "the file is a catalog, but it " + ("is one in XML" if data else "starts like an HTML or XML page"),
            file=file,
            line=1,
            value=_first_line(body) if data else quote_of(body) or _first_line(body),
            remedy="Read element sets in XML with read_gp; download a SATCAT as JSON or CSV."
            if data
            else "It is probably a login or error page. Do what it says, and download the data as JSON, CSV or TLE.",
        )
    if "," in re.split("[\r\n]", body, maxsplit=1)[0]:
        return "csv"
    raise CatalogError(
        "the file is a JSON array, a CSV with a header line, or two- or three-line element sets",
        file=file,
        line=1,
        value=quote_of(body),
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
    if _is_messages(text.lstrip()):
        return "xml"
    lines = (match[0].strip() for match in _LINE.finditer(text))
    first = next((line for line in lines if line and not _COMMENT.match(line)), "")
    keyword = _KEYWORD.match(first)
    # A header above element sets may hold an equals sign too.
    if keyword and (first.upper().startswith("CCSDS_OMM_VERS") or not _is_elsets(text.lstrip())):
        return "kvn"
    return content_of(text, file)


def names_in_header(text: str) -> set[str]:
    """Columns that the first line of a table names, in capitals, whatever stands between them.

    Parameters
    ----------
    text : str
        A text, not blank.

    Returns
    -------
    set of str

    Examples
    --------
    >>> sorted(names_in_header('"EPOCH","Norad_Cat_Id"'))
    ['EPOCH', 'NORAD_CAT_ID']
    """
    first = re.split("[\r\n]", text.lstrip()[:_HEADER_CHARACTERS], maxsplit=1)[0]
    return {name.strip(' "').upper() for name in re.split("[,;\t|]", first)}


def _is_messages(body: str) -> bool:
    return body[0] == "<" and not _HTML.match(body) and _MESSAGES.search(body) is not None


def _is_elsets(body: str) -> bool:
    """Whether there are lines of element sets, and they are no comment or field of another form; JSON has no such."""
    table = len(names_in_header(body) & _NAMES) > 1
    return not table and not _is_messages(body) and has_element_line(body)


def _first_line(text: str) -> str:
    return re.split("[\r\n]", text[:10_000], maxsplit=1)[0].rstrip()[:80]


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise CatalogError("the file does not exist", file=path, remedy="Check the path.") from error
    except IsADirectoryError as error:
        raise CatalogError("this is a folder, not a file", file=path, remedy="Name one file in it.") from error
    except (OSError, ValueError) as error:
        raise CatalogError(f"the file cannot be opened: {error}", file=path) from error
    if not data.startswith(_GZIP_MAGIC):
        return data
    try:
        return _decompressed(data, path)
    except (EOFError, OSError, zlib.error) as error:
        raise CatalogError(
            f"the gzip file is damaged or cut off: {error}", file=path, remedy="Download it again."
        ) from error


def _decoded(data: bytes, other_encoding: str | None) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        if other_encoding is None:
            raise
        return data.decode(other_encoding)


def _decompressed(data: bytes, path: Path) -> bytes:
    """Content of a gzip file (several members are joined), refused as soon as it grows beyond all catalogs."""
    limit = max(_ALWAYS_ALLOWED_BYTES, _LARGEST_EXPANSION * len(data))
    out = bytearray()
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        while chunk := file.read(_CHUNK_BYTES):
            out += chunk
            if len(out) > limit:
                raise CatalogError(
                    f"a gzip file grows at most {_LARGEST_EXPANSION}-fold, or to {_ALWAYS_ALLOWED_BYTES >> 20} MiB",
                    file=path,
                    value=f"{len(data)} bytes grow to more than {limit}",
                    remedy="No catalog does so. If you trust the file, unpack it first.",
                )
    return bytes(out)
