"""What a catalog file holds, by its content, and what a server said instead: errors quote its words."""

from __future__ import annotations

import difflib
import html
import json
import re
from collections.abc import Collection, Iterable
from typing import Literal

from ddcl_tab.errors import CatalogError
from ddcl_tab.space._omm import FIRST_KEYWORD
from ddcl_tab.space._tle import has_element_line

# A page says what is wrong near its top; a text made to be slow to read is cut.
_LOOKED_AT = 20_000
_QUOTED = 160
_ALIKE = 0.75
# A file of a million names must not take minutes to be refused.
_NAMES_COMPARED = 200
_ERROR_WORDS = re.compile(
    r"\b(error|must|denied|forbidden|unauthori[sz]ed|log(ged)? ?in|not found|no .{1,60} (found|match)|invalid|"
    r"unavailable|limit|exceeded|expired|failed|has not updated|too many|maintenance)\b",
    re.IGNORECASE,
)
_ERROR_KEYS = re.compile(r"error|message|msg|detail|reason|title|description", re.IGNORECASE)
# No part can be matched in two ways, so that no text takes long.
_TOKEN = re.compile(r"(<!--|-->|<!\[CDATA\[|\]\]>|<(?=[A-Za-z/!?])[^<>]*>)")
_TAG = re.compile(r"<[A-Za-z/!?][^<>]*>")
_FRAME = {"-->", "<![CDATA[", "]]>"}
_UNSHOWN = {"script", "style", "nav", "noscript", "template", "svg"}
_INLINE = {"a", "abbr", "b", "code", "em", "font", "i", "mark", "small", "span", "strong", "sub", "sup", "tt", "u"}


def quote_of(text: str) -> str:
    r"""Short quote of what a page says, without tags.

    The title comes first, then passages about an error, then the others; in JSON the values of keys such as
    ``error`` or ``message`` come first.

    Parameters
    ----------
    text : str
        HTML, XML, JSON or plain text; only its beginning is looked at.

    Returns
    -------
    str
        At most 160 characters on one line; empty where the page says nothing.

    Examples
    --------
    >>> quote_of("<html><title>Log in</title><body><p>You <b>must</b> be logged&nbsp;in.</p></body></html>")
    'Log in - You must be logged in.'
    >>> quote_of('[{"status": 401, "error": "You must be logged in"}]')
    'You must be logged in - 401'
    """
    # What stands in another passage, as a title may, is not said twice.
    values = _json_passages(text)
    passages = list(dict.fromkeys(_passages(text) if values is None else values))[:_QUOTED]
    quote = " - ".join(p for p in passages if not any(p != other and p in other for other in passages))
    return quote if len(quote) <= _QUOTED else quote[: _QUOTED - 3].rstrip() + "..."


def refuse_page(text: str, names: Iterable[str], wanted: Collection[str], what: str, file: object) -> None:
    """Raise the error that quotes a text in which no column or keyword is a catalog's.

    Parameters
    ----------
    text : str
        The file.
    names : iterable of str
        The columns or keywords that it has.
    wanted : collection of str
        Those of which a catalog has at least one, whatever the case of its letters.
    what : str
        What the file should be.
    file : object
        Its name.

    Raises
    ------
    CatalogError
        None of `names` is wanted or like a wanted one, and the text says something.

    Examples
    --------
    >>> refuse_page('{"error": "You must be logged in"}', ["error"], {"EPOCH"}, "a GP file", "a.json")
    Traceback (most recent call last):
    ddcl_tab.errors.CatalogError: a.json: value 'You must be logged in' breaks the rule: the file is a GP file, but it \
has none of its columns or keywords. The file has: error. If a server wrote this, do what it says and ask again.
    """
    there = list(names)
    # A misspelt name is one of a catalog: another message says which name it resembles.
    if any(difflib.get_close_matches(name.upper(), wanted, 1, _ALIKE) for name in there[:_NAMES_COMPARED]):
        return
    quote = "" if {name.upper() for name in there} & set(wanted) else quote_of(text)
    if not quote:
        return
    # JSON may escape one half of a surrogate pair, which nothing can print.
    shown = ", ".join(there[:20]).encode("utf-8", "backslashreplace").decode()[:_QUOTED]
    raise CatalogError(
        f"the file is {what}, but it has none of its columns or keywords",
        file=file,
        value=quote,
        remedy=(f"The file has: {shown}. " if shown else "") + "If a server wrote this, do what it says and ask again.",
    )


def _passages(text: str) -> list[str]:
    """Passages of HTML, XML or plain text in the order in which they are quoted."""
    title = ""
    shown: list[str] = []
    unshown: list[str] = []
    within: list[str] = []
    parts: list[str] = []
    comment = False
    # A block at the end closes the last passage.
    for token in (*_TOKEN.split(text[:_LOOKED_AT]), "<p>"):
        if comment or token == "<!--":
            comment = token != "-->"
            continue
        if not _TAG.fullmatch(token):
            parts.append("" if token in _FRAME else token)
            continue
        name = re.split(r"[\s/>]", token.lstrip("</"), maxsplit=1)[0].lower()
        if name in _INLINE:
            continue
        passage, parts = " ".join(html.unescape("".join(parts)).split()), []
        if passage:
            (unshown if within and within[-1] in _UNSHOWN else shown).append(passage)
            title = title or (passage if within and within[-1] == "title" else "")
        if token.startswith("</"):
            within = within[:-1] if within and within[-1] == name else within
        elif (name in _UNSHOWN or name == "title") and not token.endswith("/>"):
            within.append(name)
    return sorted(shown or unshown, key=lambda p: 0 if p == title else 1 if _ERROR_WORDS.search(p) else 2)


def _json_passages(text: str) -> list[str] | None:
    """Values of a small JSON text, those under keys such as ``error`` first; None where it is no JSON."""
    if len(text) > _LOOKED_AT or text.lstrip()[:1] not in ("{", "[", '"'):
        return None
    try:
        left: list[tuple[str, object]] = [("", json.loads(text, parse_float=str, parse_int=str))]
    except (ValueError, RecursionError):
        return None
    errors: list[str] = []
    others: list[str] = []
    while left:
        key, value = left.pop()
        if isinstance(value, dict):
            left += [(str(name), inner) for name, inner in reversed(value.items())]
        elif isinstance(value, list):
            left += [(key, inner) for inner in reversed(value)]
        elif isinstance(value, str):
            plain = value.encode("utf-8", "backslashreplace").decode()
            (errors if _ERROR_KEYS.search(key) else others).extend(_passages(plain))
    return errors + others


Content = Literal["json", "csv", "elsets"]
GPContent = Literal["json", "csv", "elsets", "xml", "kvn"]

_SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "vertical bars"}
_LINE, _COMMENT = re.compile(r"[^\r\n]+"), re.compile(r"COMMENT\b", re.IGNORECASE)
_KEYWORD = re.compile(r"(USER_DEFINED[^=,]*|[A-Z][A-Z0-9_]*)\s*=", re.IGNORECASE)
_HTML = re.compile(r"\s*(<\?xml[^>]*>\s*)?<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_MESSAGES = re.compile(r"<([A-Za-z_][\w.-]*:)?(omm|ndm|item|xml)[\s/>]")
# Longer than the header of any provider; JSON may be one line of megabytes.
_HEADER_CHARACTERS = 1 << 16
_NAMES = {"NORAD_CAT_ID", "OBJECT_NUMBER", "OBJECT_ID", "OBJECT_NAME", "INTLDES", "SATNAME", "EPOCH"}


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
        An HTML or XML page, a table with another separator than commas, or a text of no known form; the message quotes
        what it says.

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
    separator_of(text, file, ",")
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
        ``"kvn"`` is a text whose first line that is neither blank nor a comment reads ``KEYWORD =``, or that has a line
        ``CCSDS_OMM_VERS =`` below a header.

    Raises
    ------
    CatalogError
        An HTML page, or a text of no known form.

    Examples
    --------
    >>> gp_content_of("<ndm><omm/></ndm>", "a.xml"), gp_content_of("COMMENT synthetic\nCCSDS_OMM_VERS = 3.0", "a.kvn")
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
    # Neither markup nor a table has such a line; what has sets in two lines as well is taken for these.
    below_header = text.lstrip()[0] not in "<[{" and FIRST_KEYWORD.search(text) and not _is_elsets(text.lstrip())
    return "kvn" if below_header else content_of(text, file)


def names_in_header(text: str) -> list[str]:
    """Columns that the first line of a table names, whatever stands between them.

    Parameters
    ----------
    text : str
        A text, not blank.

    Returns
    -------
    list of str
        In their order.

    Examples
    --------
    >>> names_in_header('"EPOCH","Norad_Cat_Id"')
    ['EPOCH', 'Norad_Cat_Id']
    """
    first = re.split("[\r\n]", text.lstrip()[:_HEADER_CHARACTERS], maxsplit=1)[0]
    return [name.strip(' "') for name in re.split("[,;\t|]", first)]


def _is_messages(body: str) -> bool:
    return body[0] == "<" and not _HTML.match(body) and _MESSAGES.search(body) is not None


def _is_elsets(body: str) -> bool:
    """Whether there are lines of element sets, and they are no comment or field of another form; JSON has no such."""
    table = body[0] not in "#%;" and len(_NAMES.intersection(name.upper() for name in names_in_header(body))) > 1
    return not table and not _is_messages(body) and has_element_line(body)


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


def separator_unless_page(text: str, wanted: Collection[str], what: str, file: object, *allowed: str) -> str:
    r"""Separator of a table; the error of a page that a server sent in its place quotes the page.

    Parameters
    ----------
    text, file, *allowed
        As in `separator_of`.
    wanted : collection of str
        Names of columns, of which the table has at least one, in any case of letters.
    what : str
        What the file should be.

    Returns
    -------
    str
        As `separator_of`.

    Raises
    ------
    CatalogError
        That of `separator_of`, or that the text is a page.

    Examples
    --------
    >>> separator_unless_page("<p>No data, sorry</p>", {"Name"}, "a GCAT catalog", "a.tsv", "\t")
    Traceback (most recent call last):
    ddcl_tab.errors.CatalogError: a.tsv: value 'No data, sorry' breaks the rule: the file is a GCAT catalog, but it...
    """
    markup = text.lstrip()[0] in "<[{"
    separator = allowed[0] if markup else separator_of(text, file, *allowed)
    # What has tabs in its first line is a table, if another one.
    if markup or "\t" not in text.lstrip().split("\n", 1)[0]:
        refuse_page(text, [] if markup else names_in_header(text), {name.upper() for name in wanted}, what, file)
    return separator


def _first_line(text: str) -> str:
    return re.split("[\r\n]", text[:10_000], maxsplit=1)[0].rstrip()[:80]
