"""What a server said instead of a catalog: the words of error pages in HTML, XML, JSON or plain text, for messages."""

from __future__ import annotations

import difflib
import html
import json
import re
from collections.abc import Collection, Iterable

from ddcl_tab.errors import CatalogError

# A page says what is wrong near its top; a text made to be slow to read is cut.
_LOOKED_AT = 20_000
_QUOTED = 160
_ALIKE = 0.75
# A file of a million names must not take minutes to be refused.
_NAMES_COMPARED = 200
_TELLING = re.compile(
    r"\b(error|must|denied|forbidden|unauthori[sz]ed|log(ged)? ?in|not found|no .{1,60} (found|match)|invalid|"
    r"unavailable|limit|exceeded|expired|failed|has not updated|too many|maintenance)\b",
    re.IGNORECASE,
)
_TELLING_KEYS = re.compile(r"error|message|msg|detail|reason|title|description", re.IGNORECASE)
# No part can be matched in two ways, so that no text takes long.
_TOKEN = re.compile(r"(<!--|-->|<!\[CDATA\[|\]\]>|<(?=[A-Za-z/!?])[^<>]*>)")
_TAG = re.compile(r"<[A-Za-z/!?][^<>]*>")
_FRAME = {"-->", "<![CDATA[", "]]>"}
_UNSHOWN = {"script", "style", "nav", "noscript", "template", "svg"}
_INLINE = {"a", "abbr", "b", "code", "em", "font", "i", "mark", "small", "span", "strong", "sub", "sup", "tt", "u"}


def quote_of(text: str) -> str:
    r"""Short quote of what a page says, without tags.

    The title comes first, then passages that tell of an error, then the others; in JSON the values of keys such as
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
    return sorted(shown or unshown, key=lambda p: 0 if p == title else 1 if _TELLING.search(p) else 2)


def _json_passages(text: str) -> list[str] | None:
    """Values of a small JSON text, those under telling keys first; None where it is no JSON."""
    if len(text) > _LOOKED_AT or text.lstrip()[:1] not in ("{", "[", '"'):
        return None
    try:
        left: list[tuple[str, object]] = [("", json.loads(text, parse_float=str, parse_int=str))]
    except (ValueError, RecursionError):
        return None
    telling: list[str] = []
    others: list[str] = []
    while left:
        key, value = left.pop()
        if isinstance(value, dict):
            left += [(str(name), inner) for name, inner in reversed(value.items())]
        elif isinstance(value, list):
            left += [(key, inner) for inner in reversed(value)]
        elif isinstance(value, str):
            plain = value.encode("utf-8", "backslashreplace").decode()
            (telling if _TELLING_KEYS.search(key) else others).extend(_passages(plain))
    return telling + others
