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


def pair_lines(text: str) -> tuple[pl.DataFrame, list[dict[str, object]]]:
    r"""Sort the lines of a file into element sets.

    A line is line 1 or 2 if it begins with that digit, a blank and what can be a catalog number; any other is a name.
    Blank lines are skipped. After a line out of turn the search goes on with the next set.

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
    >>> sets, lost = pair_lines("0 MADE UP\n2 90001  98.6\n")
    >>> [(row["line"], row["rule"]) for row in lost]
    [(1, 'a name is followed by line 1 of its set'), (2, 'line 2 follows line 1 of its set')]
    """
    sets: list[tuple[str | None, str, str, int, int]] = []
    lost: list[dict[str, object]] = []
    name: tuple[int, str] | None = None
    first: tuple[int, str] | None = None
    for place, line, kind in (*_kinds(text), (0, "", "end")):
        if kind == "line 2" and first:
            sets.append((_plain_name(name), first[1], line, first[0], place))
            name = first = None
            continue
        if first:
            lost.append(_lost(*first, "line 1", "line 1 is followed by line 2 of its set"))
        elif name and kind != "line 1":
            lost.append(_lost(*name, "name", "a name is followed by line 1 of its set"))
        if kind == "line 2":
            lost.append(_lost(place, line, "line 2", "line 2 follows line 1 of its set"))
        name = (place, line) if kind == "name" else name if kind == "line 1" and not first else None
        first = (place, line) if kind == "line 1" else None
    columns = {"name": pl.String(), "line 1": pl.String(), "line 2": pl.String()}
    return pl.DataFrame(sets, schema={**columns, "place 1": pl.Int64(), "place 2": pl.Int64()}, orient="row"), lost


def _kinds(text: str) -> Iterable[tuple[int, str, str]]:
    """Line number, line and kind of each line that is not blank."""
    numbered = re.compile(r"[12] [A-Z0-9 ][0-9 ]{4}").match
    for place, raw in enumerate(text.split("\n"), start=1):
        line = raw.rstrip()
        if line:
            yield place, line, f"line {line[0]}" if numbered(line) else "name"


def _plain_name(name: tuple[int, str] | None) -> str | None:
    """Name without Space-Track's leading 0."""
    if name is None:
        return None
    text = name[1].strip()
    return (text[1:].strip() if text[:2] in ("0", "0 ") else text) or None


def _lost(place: int, line: str, column: str, rule: str) -> dict[str, object]:
    number = None if column == "name" else line[2:7]
    return {"line": place, "NORAD_CAT_ID": number, "column": column, "value": line[:80], "rule": rule}
