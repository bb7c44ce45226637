"""Catalogs of space objects as a domain: units, leaks, the launch of an object, values of columns in words.

Found through the entry point ``ddcl_tab.domains`` at the first fit on a frame; the method does not import it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddcl_tab.estimators._columns import to_polars
from ddcl_tab.estimators._domain import Domain
from ddcl_tab.space._families import Families
from ddcl_tab.space._join import launch_of
from ddcl_tab.space._schema import (
    ELSET_COLUMNS,
    FAMILY_COLUMNS,
    FAMILY_COUNTS,
    LEAKS,
    SATCAT_COLUMNS,
    UNITS,
    UNKNOWN,
)

_COLUMNS = (*SATCAT_COLUMNS, *ELSET_COLUMNS, *FAMILY_COLUMNS, *FAMILY_COUNTS)


def _launches(frame: Any) -> NDArray[Any]:
    return launch_of(to_polars(frame)).to_numpy()


#: Columns that sentences call otherwise than by their name in small letters.
_WORDS = {
    "RCS_SIZE": "RCS_SIZE", "COUNTRY": "country", "SITE": "launched from", "LAUNCH_YEAR": "launched in",
    "SEMIMAJOR_AXIS": "semi-major axis", "MEAN_MOTION_DOT": "mean motion changing by", "BSTAR": "drag term B*",
}  # fmt: skip
_ELEMENTS = {"SEMIMAJOR_AXIS": "semi-major axis", "INCLINATION": "inclination", "ECCENTRICITY": "eccentricity"}
#: What follows the share that a family column tells.
_SHARES = {
    "FAMILY_SMALL_SHARE": "of its launch small",
    "FAMILY_MEDIUM_SHARE": "of its launch medium-sized",
    "FAMILY_LARGE_SHARE": "of its launch large",
    "FAMILY_NEAR_SHARE": "of its launch within 10 km and 0.05 deg",
    "FAMILY_CELL_SHARE": "of its launch in its cell of 20 km and 0.1 deg",
    "FAMILY_DECAYED_SHARE": "of its launch decayed",
    "FAMILY_DECAYED_FAST_SHARE": "of the decayed ones of its launch fell within a year",
}


def _say(column: str, numbers: tuple[float, ...], text: str) -> str | None:
    """A value, or a range of values, of a catalog column in words."""
    if not numbers:
        return f"{_plain(column)} {text}"
    if column in _SHARES:
        low, high = np.floor(100 * numbers[0] + 1e-9), np.ceil(100 * numbers[-1] - 1e-9)
        share = (
            f"{100 * numbers[0]:.0f}" if len(numbers) == 1 else f"{low:.0f}-{high:.0f}" if low < high else f"{low:.0f}"
        )
        return f"{share} % {_SHARES[column]}"
    if column.endswith("_DEVIATION"):
        element = _ELEMENTS[column.removeprefix("FAMILY_").removesuffix("_DEVIATION")]
        if len(numbers) == 2:
            return f"{element} {text} from the median of its launch"
        amount = text.removeprefix("-")
        where = "above" if numbers[0] > 0 else "below" if numbers[0] < 0 else "from"
        return f"{element} {amount} {where} the median of its launch"
    return f"{_plain(column)} {text}"


def _plain(column: str) -> str:
    """A column's name in words.

    Examples
    --------
    >>> _plain("INCLINATION"), _plain("FAMILY_SEMIMAJOR_AXIS_SPREAD"), _plain("FAMILY_ECCENTRICITY_Q25")
    ('inclination', 'spread of its launch in semi-major axis', "lower quartile of its launch's eccentricity")
    """
    if column in _WORDS:
        return _WORDS[column]
    if not column.startswith("FAMILY_"):
        return column.lower().replace("_", " ")
    name = column.removeprefix("FAMILY_")
    for element, words in _ELEMENTS.items():
        if name.startswith(element):
            kind = name.removeprefix(f"{element}_")
            return {
                "DEVIATION": f"{words} from the median of its launch",
                "SPREAD": f"spread of its launch in {words}",
                "Q25": f"lower quartile of its launch's {words}",
                "Q75": f"upper quartile of its launch's {words}",
            }[kind]
    if column in _SHARES:
        return f"share {_SHARES[column]}"
    return {"DECAYED_LIFE": "mean life of the decayed ones of its launch"}.get(name, name.lower().replace("_", " "))


#: The size comes from radars that see an object for some time first. A launch that is new as a whole lacks all sizes.
_LATE = (("RCS_SIZE",), ("RCS_SIZE", "FAMILY_SMALL_SHARE", "FAMILY_MEDIUM_SHARE", "FAMILY_LARGE_SHARE"))

SPACE = Domain(
    name="space",
    columns=frozenset(column.name for column in _COLUMNS),
    units={column.name: UNITS.get(column.name, column.unit) for column in _COLUMNS},
    leaks=LEAKS,
    bookkeeping={
        column.name: f"about the record, not the object: {column.description}"
        for column in _COLUMNS
        if column.role == "bookkeeping"
    },
    target="OBJECT_TYPE",
    unknown=UNKNOWN,
    identifiers=("NORAD_CAT_ID", "OBJECT_ID", "OBJECT_NAME"),
    display=("NORAD_CAT_ID", "OBJECT_NAME"),
    group_columns=("OBJECT_ID", "NORAD_CAT_ID"),
    group=_launches,
    families=Families,
    late=_LATE,
    say=_say,
)
"""The domain of SATCAT, GP and other catalogs with their columns."""
