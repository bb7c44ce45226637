"""Read reasons as a person would, from their words, and hold them against the object's own row of the catalog.

Nothing here calls the code that writes reasons: what a phrase means is spelled out below, and what no rule reads counts
as a contradiction.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

Row = Mapping[str, Any]

#: What a reason may call a column, beside its name in small letters with spaces.
CALLED = {
    "RCS_SIZE": "RCS_SIZE",
    "launched from": "SITE",
    "launched in": "LAUNCH_YEAR",
    "semi-major axis": "SEMIMAJOR_AXIS",
    "mean motion changing by": "MEAN_MOTION_DOT",
    "drag term B*": "BSTAR",
    "mean life of the decayed ones of its launch": "FAMILY_DECAYED_LIFE",
    "spread of its launch in semi-major axis": "FAMILY_SEMIMAJOR_AXIS_SPREAD",
    "spread of its launch in inclination": "FAMILY_INCLINATION_SPREAD",
    "spread of its launch in eccentricity": "FAMILY_ECCENTRICITY_SPREAD",
    "lower quartile of its launch's semi-major axis": "FAMILY_SEMIMAJOR_AXIS_Q25",
    "upper quartile of its launch's semi-major axis": "FAMILY_SEMIMAJOR_AXIS_Q75",
    "lower quartile of its launch's eccentricity": "FAMILY_ECCENTRICITY_Q25",
    "upper quartile of its launch's eccentricity": "FAMILY_ECCENTRICITY_Q75",
}
#: What stands after "96 % " or "share ".
SHARES = {
    "of its launch small": "FAMILY_SMALL_SHARE",
    "of its launch medium-sized": "FAMILY_MEDIUM_SHARE",
    "of its launch large": "FAMILY_LARGE_SHARE",
    "of its launch within 10 km and 0.05 deg": "FAMILY_NEAR_SHARE",
    "of its launch in its cell of 20 km and 0.1 deg": "FAMILY_CELL_SHARE",
    "of its launch decayed": "FAMILY_DECAYED_SHARE",
    "of the decayed ones of its launch fell within a year": "FAMILY_DECAYED_FAST_SHARE",
}
DEVIATIONS = {
    "semi-major axis": "FAMILY_SEMIMAJOR_AXIS_DEVIATION",
    "inclination": "FAMILY_INCLINATION_DEVIATION",
    "eccentricity": "FAMILY_ECCENTRICITY_DEVIATION",
}
_DEVIATION = re.compile(
    r"(?P<what>[a-z -]+?) (?P<value>\S+)(?P<unit> \S+)? (?P<side>above|below|from) the median of its launch"
)
_MISSING_DEVIATION = re.compile(r"(?P<what>[a-z -]+) from the median of its launch missing")
_SENTENCE = re.compile(
    r"(?P<cls>.+?) (?P<p>\d\.\d\d): (?P<speaks>.*?)(?:; against: (?P<against>.*?))?(?:; like (?P<like>.*))?", re.DOTALL
)
_ITEM = re.compile(r"(?P<phrase>.+?) \((?P<contribution>[+-]\d+\.\d)\)(?:, |(?=; )|$)")
NOTHING = "no column says much for it"
MISSING = "missing"
#: Significant digits of numbers in tables and in sentences; a share in a sentence is in whole percent.
TABLE_DIGITS, SENTENCE_DIGITS = 6, 4
#: Kinds of contradictions, by the column that they are about.
KINDS = {
    "altitude": ("APOGEE", "PERIGEE", "SEMIMAJOR_AXIS", "PERIOD", "MEAN_MOTION"),
    "inclination": ("INCLINATION",),
    "size": ("RCS_SIZE", "RCS"),
    "country": ("COUNTRY",),
}
EXAMPLE, FAMILY, OTHER, DECISION, WORDS = "class of the example", "launch", "other column", "decision", "not understood"


class Contradiction(NamedTuple):
    """Something that is said of an object and is not so.

    Attributes
    ----------
    kind : str
        Of :data:`KINDS` or the names after it.
    said, true : str
        What is said, and what the catalog has.
    """

    kind: str
    said: str
    true: str


def kind_of(column: str) -> str:
    """Kind of a contradiction about a column."""
    named = (kind for kind, columns in KINDS.items() if column in columns)
    return next(named, FAMILY if column.startswith("FAMILY_") else OTHER)


def agrees(text: str, true: Any, digits: int) -> bool:
    """Whether a written value is the true one, numbers to the digits that are written.

    Examples
    --------
    >>> agrees("65", 65.0012, 4), agrees("65", 65.4, 4), agrees("SMALL", "LARGE", 4), agrees("missing", None, 4)
    (True, False, False, True)
    >>> agrees("35786", 35786.4, 4), agrees("1998", 1999, 6), agrees("-0.0012", 0.0012, 4)
    (True, False, False)
    """
    if true is None or (isinstance(true, float) and math.isnan(true)):
        return text == MISSING
    if isinstance(true, str):
        return text == true
    try:
        said = float(text)
    except ValueError:
        return False
    if true == 0:
        return said == 0
    last = 10.0 ** (math.floor(math.log10(abs(true))) - digits + 1)
    return abs(said - true) <= 0.5 * min(last, 1.0) * (1 + 1e-6)


def n_columns(written: Row) -> int:
    """How many columns a row of unknown.csv names."""
    return sum(bool(text) for name, text in written.items() if name.startswith("column_"))


def n_phrases(sentence: str) -> int:
    """How many columns a sentence names."""
    return len(_ITEM.findall(sentence))


def table_contradictions(written: Row, row: Row, units: Row, classes: Mapping[str, str]) -> list[Contradiction]:
    """What the columns of a row of unknown.csv say of an object that is not so.

    Parameters
    ----------
    written : mapping
        The row of the file, texts.
    row : mapping
        The object's own row of the catalog, with family columns.
    units : mapping
        Unit of each column that has one.
    classes : mapping
        Recorded class of each typed object, by its name as tables have it: number and name.
    """
    found = []
    for i in range(1, n_columns(written) + 1):
        column, value, unit = (written[f"{part}_{i}"] for part in ("column", "value", "unit"))
        said, true = f"{column} {value} {unit or ''}".strip(), row.get(column)
        wanted = "" if value == MISSING or column == "LAUNCH_YEAR" else units.get(column) or ""
        if column not in row or not agrees(value or "", true, TABLE_DIGITS) or (unit or "") != wanted:
            found.append(Contradiction(kind_of(column), said, f"{true} {wanted}"))
    found += _of_example(written.get("like"), written["class"], row, classes)
    probability = {name[2:-1]: float(p) for name, p in written.items() if name.startswith("p(")}
    order = sorted(probability, key=lambda name: -probability[name])
    if probability[written["class"]] < probability[order[0]]:
        found.append(Contradiction(DECISION, f"class {written['class']}", order[0]))
    if len(order) > 1 and probability[written["runner_up"]] < probability[order[1]]:
        found.append(Contradiction(DECISION, f"runner-up {written['runner_up']}", order[1]))
    return found


def sentence_contradictions(sentence: str, written: Row, row: Row, units: Row, classes: Row) -> list[Contradiction]:
    """What the words of a reason say of an object that is not so; parameters as of :func:`table_contradictions`."""
    match = _SENTENCE.fullmatch(sentence)
    if match is None:
        return [Contradiction(WORDS, sentence, "CLASS 0.98: column value (+1.9), ...")]
    found = []
    own = min(float(written.get(f"p({match['cls']})") or "nan"), 0.99)  # sentences never say 1.00
    if match["cls"] != written["class"] or not abs(own - float(match["p"])) <= 0.005 + 1e-5:
        found.append(Contradiction(DECISION, f"{match['cls']} {match['p']}", f"{written['class']} {own}"))
    listed = {written[f"column_{i}"]: float(written[f"contribution_{i}"]) for i in range(1, n_columns(written) + 1)}
    for part, sign in ((match["speaks"], "+"), (match["against"] or "", "-")):
        items = list(_ITEM.finditer(part)) if part != NOTHING else []
        if "".join(item.group() for item in items) != part.replace(NOTHING, ""):
            found.append(Contradiction(WORDS, part, "column value (+1.9), ..."))
        for item in items:
            found += _of_phrase(item["phrase"], row, units)
            read = read_phrase(item["phrase"], row)
            amount = float(item["contribution"])
            listed_amount = listed.get(read.column if read else "", amount)
            if item["contribution"][0] != sign or abs(listed_amount - amount) > 0.05 + 1e-3:
                found.append(Contradiction(DECISION, item.group().strip(", "), f"{listed_amount:+.3f}"))
    return found + _of_example(match["like"], written["class"], row, classes)


class Phrase(NamedTuple):
    """A phrase of a reason, understood: a column, its value as text, and whether that is the object's own."""

    column: str
    said: str
    unit: str
    is_true: bool


def read_phrase(phrase: str, row: Row) -> Phrase | None:
    """What a phrase says, and whether it is so; None where no rule reads it."""
    share = re.fullmatch(r"(?P<value>\d+) % (?P<what>.+)", phrase)
    if share and share["what"] in SHARES:
        column = SHARES[share["what"]]
        true = row.get(column)
        is_true = true is not None and not math.isnan(true) and abs(100 * true - int(share["value"])) <= 0.5 + 1e-6
        return Phrase(column, share["value"], "%", is_true)
    deviation = _DEVIATION.fullmatch(phrase)
    if deviation and deviation["what"] in DEVIATIONS:
        column, sign = DEVIATIONS[deviation["what"]], {"above": "", "below": "-", "from": ""}[deviation["side"]]
        is_true = agrees(sign + deviation["value"], row.get(column), SENTENCE_DIGITS)
        is_true &= (deviation["side"] == "from") == (row.get(column) == 0)
        return Phrase(column, deviation["value"], (deviation["unit"] or "").strip(), is_true)
    gone = _MISSING_DEVIATION.fullmatch(phrase)
    if gone and gone["what"] in DEVIATIONS:
        column = DEVIATIONS[gone["what"]]
        return Phrase(column, MISSING, "", agrees(MISSING, row.get(column), SENTENCE_DIGITS))
    names = CALLED | {f"share {what}": column for what, column in SHARES.items()}
    names |= {column.lower().replace("_", " "): column for column in row if column not in CALLED.values()}
    for name in sorted(names, key=len, reverse=True):
        if phrase.startswith(f"{name} "):
            return _plain(names[name], phrase.removeprefix(f"{name} "), row)
    return None


def _plain(column: str, text: str, row: Row) -> Phrase:
    """A column's name followed by its value: all of the text for categories, else a number and its unit."""
    true = row.get(column)
    if isinstance(true, str) or text == MISSING:
        return Phrase(column, text, "", agrees(text, true, SENTENCE_DIGITS))
    value, _, unit = text.partition(" ")
    return Phrase(column, value, unit, agrees(value, true, SENTENCE_DIGITS))


def _of_phrase(phrase: str, row: Row, units: Row) -> list[Contradiction]:
    read = read_phrase(phrase, row)
    if read is None:
        return [Contradiction(WORDS, phrase, "")]
    wanted = "" if read.said == MISSING or read.column == "LAUNCH_YEAR" else units.get(read.column) or ""
    if read.is_true and (isinstance(row[read.column], str) or read.unit in (wanted, "%")):
        return []
    return [Contradiction(kind_of(read.column), phrase, f"{row.get(read.column)} {wanted}".strip())]


def _of_example(like: str | None, said: str, row: Row, classes: Mapping[str, str]) -> list[Contradiction]:
    """What is wrong with the typed object that an object is said to be like."""
    if not like:
        return []
    own = " ".join(str(part) for part in (row["NORAD_CAT_ID"], row.get("OBJECT_NAME")) if part is not None)
    if like == own:
        return [Contradiction(EXAMPLE, f"like {like}", "the object itself")]
    recorded = classes.get(like)
    return [] if recorded == said else [Contradiction(EXAMPLE, f"{said}, like {like}", str(recorded))]
