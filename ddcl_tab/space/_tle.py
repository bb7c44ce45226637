"""Lines of two- and three-line element sets: where each field stands, how lines form sets, checksums, templates.

Format: Hoots and Roehrich, Spacetrack Report No. 3 (1980); columns, checksum and alpha-5 numbers as documented by
Space-Track and CelesTrak.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

LINE_LENGTH = 69
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Without I and O, which look like 1 and 0: first characters of alpha-5 numbers, and pieces of designators."""
LARGEST_NUMBER = 339_999
"""Largest catalog number that fits into a line: Z9999 in alpha-5."""
MICROSECONDS_PER_LAST_DIGIT = 864
"""The last digit of an epoch, 0.00000001 day; so epochs come out exact."""
LONGEST_NAME = 100
"""Characters of a name, in files that are read (unless it follows a 0) and in those that are written."""

# A line of the right length may hold anything; of others, what holds a word is prose ("2 10000 people").
_WHOLE = r"[12] [A-Z0-9 ][0-9 ]{4}[^\r\n]{61}[0-9](?=[ \t]*(?:[\r\n]|\Z|</(?i:pre)))"
_CUT = r"(?:1 [A-Z0-9 ][0-9 ]{3}[0-9][A-Z ]?|2 [A-Z0-9 ][0-9 ]{3}[0-9])(?: |(?![^\r\n]))(?![^\r\n]*[A-Za-z]{4})"
_ELEMENT_LINE = re.compile(f"{_WHOLE}|{_CUT}")
_FIRST_ELEMENT_LINE = re.compile(rf"(?:\A|[\r\n]|<(?i:pre)\b[^<>]{{0,200}}>)(?:{_WHOLE}|{_CUT})")
# A saved page may have the first or the last line of its sets on the line of the tag.
_PRE = re.compile(r"(</?pre\b[^<>]*>)", re.IGNORECASE)
_KINDS = {"1": "line 1", "2": "line 2"}
_ZERO = ("0", "0 ")
_COMMENT = re.compile(r"[#%;/<>]|--|[\W_]*$")
_END = re.compile(r"/EX\b|<|--|[\W_]*$", re.IGNORECASE)
_HALF_LINE = 30


@dataclass(frozen=True)
class Field:
    """One field of a line.

    Parameters
    ----------
    name : str
        Canonical column name.
    line : int
        1 or 2.
    first : int
        First character, counted from 1.
    form : str
        The field in the template; its length is the field's.
    pattern : str
        Regular expression that the whole field matches.
    rule : str
        The pattern in words.

    Examples
    --------
    >>> Field("ECCENTRICITY", 2, 27, "NNNNNNN", "[0-9]{7}", "ECCENTRICITY is seven digits").place
    'characters 27-33'
    """

    name: str
    line: int
    first: int
    form: str
    pattern: str
    rule: str

    @property
    def last(self) -> int:
        """Last character, counted from 1."""
        return self.first + len(self.form) - 1

    @property
    def place(self) -> str:
        """The characters in words."""
        return f"characters {self.first}-{self.last}" if self.last > self.first else f"character {self.first}"

    @property
    def written(self) -> pl.Expr:
        """Polars expression: the field as written, from the columns ``line 1`` and ``line 2``."""
        return pl.col(f"line {self.line}").str.slice(self.first - 1, len(self.form))


_NUMBER = r"(?:[A-HJ-NP-Z][0-9]{4}| *[0-9]+)"
_NUMBER_RULE = "NORAD_CAT_ID is five digits, or a letter other than I and O and four digits (alpha-5)"
# Sets from before 2000 may have a 0 for the exponent's plus, and the piece at the right end of its field.
_POWER, _COUNT = r"[ +-][0-9]{5}[+0-][0-9]", r" *[0-9]*"


def _angle(name: str, first: int) -> Field:
    return Field(name, 2, first, "NNN.NNNN", r" *[0-9]+\.[0-9]{4}", f"{name} is written NNN.NNNN, in deg")


def _power(name: str, first: int) -> Field:
    return Field(name, 1, first, "SNNNNNSN", _POWER, f"{name} is written SNNNNNSN (12345-3 is 0.12345e-3)")


def _count(name: str, line: int, first: int, width: int) -> Field:
    return Field(name, line, first, "N" * width, _COUNT, f"{name} is a whole number or blank")


FIELDS: tuple[Field, ...] = (
    Field("NORAD_CAT_ID", 1, 3, "NNNNN", _NUMBER, _NUMBER_RULE),
    Field("CLASSIFICATION_TYPE", 1, 8, "C", "[UCS ]", "CLASSIFICATION_TYPE is U, C, S or blank"),
    Field(
        "OBJECT_ID", 1, 10, "YYNNNPPP", r"(?: {8}|[0-9]{5} {0,2}[A-Z]{0,3} *)", "OBJECT_ID is written YYNNNPPP or blank"
    ),
    Field("EPOCH", 1, 19, "YYDDD.DDDDDDDD", r"[0-9]{2} *[0-9]+\.[0-9]{8}", "EPOCH is written YYDDD.DDDDDDDD"),
    Field("MEAN_MOTION_DOT", 1, 34, "S.NNNNNNNN", r"[ 0+-]\.[0-9]{8}", "MEAN_MOTION_DOT is written S.NNNNNNNN"),
    _power("MEAN_MOTION_DDOT", 45),
    _power("BSTAR", 54),
    _count("EPHEMERIS_TYPE", 1, 63, 1),
    _count("ELEMENT_SET_NO", 1, 65, 4),
    Field("checksum", 1, 69, "K", ".", ""),
    Field("NORAD_CAT_ID", 2, 3, "NNNNN", _NUMBER, _NUMBER_RULE),
    _angle("INCLINATION", 9),
    _angle("RA_OF_ASC_NODE", 18),
    Field("ECCENTRICITY", 2, 27, "NNNNNNN", "[0-9]{7}", "ECCENTRICITY is seven digits, those after the decimal point"),
    _angle("ARG_OF_PERICENTER", 35),
    _angle("MEAN_ANOMALY", 44),
    Field("MEAN_MOTION", 2, 53, "NN.NNNNNNNN", r" *[0-9]+\.[0-9]{8}", "MEAN_MOTION is written NN.NNNNNNNN, in rev/day"),
    _count("REV_AT_EPOCH", 2, 64, 5),
    Field("checksum", 2, 69, "K", ".", ""),
)
"""All fields of both lines, in order."""


def template(line: int) -> str:
    """Form of a line, to be shown above a wrong one.

    Parameters
    ----------
    line : int
        1 or 2.

    Returns
    -------
    str
        69 characters: N digit, S sign, Y year, D day of the year, P piece, C classification, K checksum.

    Examples
    --------
    >>> template(2)
    '2 NNNNN NNN.NNNN NNN.NNNN NNNNNNN NNN.NNNN NNN.NNNN NN.NNNNNNNNNNNNNK'
    """
    characters = [str(line)] + [" "] * (LINE_LENGTH - 1)
    for field in FIELDS:
        if field.line == line:
            characters[field.first - 1 : field.last] = field.form
    return "".join(characters)


def layout_pattern(line: int) -> str:
    """Regular expression of a line that has its length, printable ASCII, and blanks where the template has them.

    Parameters
    ----------
    line : int
        1 or 2.

    Returns
    -------
    str
        Pattern without look-around.

    Examples
    --------
    >>> bool(re.fullmatch(layout_pattern(2), "2 90001  98.6000  10.0000 0010000  20.0000  30.0000 14.30000000    11"))
    True
    """
    runs = re.findall(r" +|[^ ]+", template(line))
    return "^" + "".join(run if run.isspace() else f"[ -~]{{{len(run)}}}" for run in runs) + "$"


def checksum(lines: pl.Series) -> pl.Series:
    """Sum of the digits of each line, a minus counting 1, modulo 10.

    Parameters
    ----------
    lines : polars.Series of str
        Lines of 69 printable ASCII characters.

    Returns
    -------
    polars.Series of int
        What character 69 has to be.

    Examples
    --------
    >>> checksum(pl.Series(["2 90001  98.6000  10.0000 0010000  20.0000  30.0000 14.30000000    11"])).to_list()
    [1]
    """
    codes = np.frombuffer("".join(lines).encode("ascii"), dtype=np.uint8).reshape(-1, LINE_LENGTH)[:, :-1]
    digits = np.where((codes >= ord("0")) & (codes <= ord("9")), codes - ord("0"), codes == ord("-"))
    return pl.Series(lines.name, digits.sum(axis=1, dtype=np.int64) % 10)


def number_of_alpha5(written: pl.Expr) -> pl.Expr:
    """Catalog numbers from five digits, or from a letter (A to Z without I and O for 10 to 33) and four digits.

    Parameters
    ----------
    written : polars.Expr
        Text without blanks around it.

    Returns
    -------
    polars.Expr
        Integers; null where the text is no such number.

    Examples
    --------
    >>> pl.select(number_of_alpha5(pl.lit(pl.Series(["5", "90001", "A0001", "Z9999", "I0001"])))).to_series().to_list()
    [5, 90001, 100001, 339999, None]
    """
    letter = written.str.slice(0, 1)
    values = {name: str(number) for number, name in enumerate(LETTERS, start=10)}
    number = letter.replace_strict(values, default=letter) + written.str.slice(1)
    return number.cast(pl.Int64, strict=False)


def alpha5_of_number(number: int) -> str:
    """Five characters of a catalog number; the inverse of `number_of_alpha5`.

    Parameters
    ----------
    number : int
        From 0 to 339999.

    Returns
    -------
    str

    Examples
    --------
    >>> alpha5_of_number(5), alpha5_of_number(100001), alpha5_of_number(339999)
    ('00005', 'A0001', 'Z9999')
    """
    first, rest = divmod(number, 10_000)
    return f"{number:05d}" if first < 10 else f"{LETTERS[first - 10]}{rest:04d}"


def has_element_line(text: str) -> bool:
    r"""Whether some line of a text is line 1 or 2 of an element set, complete or cut.

    Parameters
    ----------
    text : str
        A file, with any line ends; a header of any length may stand above the sets.

    Returns
    -------
    bool

    Examples
    --------
    >>> has_element_line("BULLETIN\n1 AAAAAU 00  0  0 BBBBB.BBBBBBBB\n2 10000 people read this\n")
    False
    >>> has_element_line("BULLETIN\r\n\r\n2 90001  98.6000\r\n")
    True
    """
    return _FIRST_ELEMENT_LINE.search(text) is not None


def pair_lines(text: str) -> tuple[pl.DataFrame, list[dict[str, object]]]:
    r"""Sort the lines of a file into element sets; what is text around them is left out.

    A line is line 1 or 2 if it begins with that digit, a blank and what can be a catalog number, and is not prose.
    Blank lines are skipped. After a line out of turn the search goes on with the next set. What stands before or after
    a tag ``<pre>`` or ``</pre>`` is a line of its own.

    The name of a set is the line directly above its line 1, or the only line between it and the set before; it is no
    name if it is longer than 100 characters, begins like a comment (``#``, ``%``, ``;``, ``/``, ``<``, ``>``, ``--``)
    or has neither letter nor digit (a ruler). In a file of several sets where only the first one has such a line above
    it and it lacks Space-Track's leading 0, it is the header's last line.

    Other lines are text if they stand above the first set, below an ``/EX``, a tag, a ruler or a mail's ``--``, or
    begin like a comment. Lines that begin with Space-Track's 0, that consist of digits as an element set does, or that
    stand between two sets as a name does belong to a set that is not there, and are out of turn.

    Parameters
    ----------
    text : str
        The file; lines end with a line feed.

    Returns
    -------
    sets : polars.DataFrame
        Columns ``name`` (null in two-line sets), ``line 1``, ``line 2`` and ``place 1``, ``place 2``, the line numbers
        from 1.
    out_of_turn : list of dict
        Lines that belong to no set: keys line, NORAD_CAT_ID, column, value, rule.

    Examples
    --------
    >>> sets, lost = pair_lines("BULLETIN, SYNTHETIC\n\n0 SYNTHETIC\n2 90001  98.6\n/EX\n")
    >>> [(row["line"], row["rule"]) for row in lost]
    [(3, 'a name is followed by line 1 of its set'), (4, 'line 2 follows line 1 of its set')]
    """
    sets: list[tuple[str | None, str, str, int, int]] = []
    lost: list[dict[str, object]] = []
    first: tuple[int, str] | None = None
    name: tuple[int, str] | None = None
    between: list[tuple[int, str]] = []
    header, name_from_header = True, False
    for place, line, kind in (*_kinds(text), (0, "", "end")):
        if kind == "text":
            between.append((place, line))
            continue
        if kind == "line 2" and first and not between:
            name_from_header |= not sets and name is not None and name[1].strip()[:2] not in _ZERO
            sets.append((_plain_name(name), first[1], line, first[0], place))
            name = first = None
            continue
        if first:
            lost.append(_lost(*first, "line 1", "line 1 is followed by line 2 of its set"))
        name = _name_above(between, place) if kind == "line 1" else None
        if others := between[:-1] if name else between:
            lost.extend(_out_of_turn(others, header))
        if kind == "line 2":
            lost.append(_lost(place, line, "line 2", "line 2 follows line 1 of its set"))
        first = (place, line) if kind == "line 1" else None
        between, header = [], False
    if name_from_header and len(sets) > 1 and not any(one[0] for one in sets[1:]):
        sets[0] = (None, *sets[0][1:])
    columns = {"name": pl.String(), "line 1": pl.String(), "line 2": pl.String()}
    return pl.DataFrame(sets, schema={**columns, "place 1": pl.Int64(), "place 2": pl.Int64()}, orient="row"), lost


def _kinds(text: str) -> Iterable[tuple[int, str, str]]:
    """Line number, line and kind of each line that is not blank."""
    is_line = _ELEMENT_LINE.match
    for place, raw in enumerate(text.split("\n"), start=1):
        for part in _PRE.split(raw) if "<" in raw else (raw,):
            line = part.rstrip()
            if line:
                yield place, line, _KINDS[line[0]] if line[0] in _KINDS and is_line(line) else "text"


def _name_above(between: list[tuple[int, str]], place: int) -> tuple[int, str] | None:
    """Which of the lines above the line 1 at `place` is its name."""
    if not between:
        return None
    line = between[-1][1].strip()
    if line[:2] in _ZERO:
        return between[-1]
    close = len(between) == 1 or between[-1][0] == place - 1
    unlike = len(line) > LONGEST_NAME or _COMMENT.match(line) or _is_digits(line)
    return between[-1] if close and not unlike else None


def _out_of_turn(between: list[tuple[int, str]], header: bool) -> list[dict[str, object]]:
    """Those of the lines between two sets that belong to a set that is not there."""
    lost: list[dict[str, object]] = []
    for place, written in between:
        line = written.strip()
        if line[:2] not in _ZERO and _is_digits(line):
            rule = "a line of a set begins with 1 or 2, a blank and the catalog number"
            lost.append(_lost(place, written, "line", rule) | {"NORAD_CAT_ID": None})
        elif line[:2] in _ZERO or not (header or _COMMENT.match(line)):
            lost.append(_lost(place, written, "name", "a name is followed by line 1 of its set"))
        header = header or _END.match(line) is not None
    return lost


def _is_digits(line: str) -> bool:
    """Whether a line consists of digits as half a line of a set does, or a whole one."""
    if len(line) < _HALF_LINE:
        return False
    return sum(character.isdigit() for character in line) > 0.7 * len(line.replace(" ", ""))


def _plain_name(name: tuple[int, str] | None) -> str | None:
    """Name without Space-Track's leading 0."""
    if name is None:
        return None
    text = name[1].strip()
    return (text[1:].strip() if text[:2] in _ZERO else text) or None


def _lost(place: int, line: str, column: str, rule: str) -> dict[str, object]:
    number = None if column == "name" else line[2:7]
    return {"line": place, "NORAD_CAT_ID": number, "column": column, "value": line[:80], "rule": rule}
