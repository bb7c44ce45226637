"""Catalogs of space objects as a domain: units, leaks, the launch of an object, names of prototypes as orbits.

Found through the entry point ``ddcl_tab.domains`` at the first fit on a frame; the method does not import it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddcl_tab.estimators._columns import to_polars
from ddcl_tab.estimators._domain import Domain
from ddcl_tab.estimators._prototypes import MISSING, CategorySummary, NumberSummary, common_category
from ddcl_tab.space._families import Families
from ddcl_tab.space._join import launch_of
from ddcl_tab.space._schema import (
    APSIDES_AND_INCLINATION,
    ELSET_COLUMNS,
    FAMILY_COLUMNS,
    FAMILY_COUNTS,
    LEAKS,
    ORBIT_COLUMNS,
    SATCAT_COLUMNS,
    UNITS,
    UNKNOWN,
)

#: Columns that a prototype's name speaks of, or that follow from those.
_NAMED = frozenset((*ORBIT_COLUMNS, "MEAN_MOTION", "RCS_SIZE"))
#: Apogee and perigee further apart than this share of the larger one are named apart.
ROUND = 0.25

_COLUMNS = (*SATCAT_COLUMNS, *ELSET_COLUMNS, *FAMILY_COLUMNS, *FAMILY_COUNTS)


def _launches(frame: Any) -> NDArray[Any]:
    return launch_of(to_polars(frame)).to_numpy()


def _name_prototype(label: str, own: Mapping[str, NumberSummary | CategorySummary]) -> str | None:
    """An orbit in words, "small debris, 760-880 km, 98.6 deg"; None without the columns that say it."""
    if not all(name in own for name in APSIDES_AND_INCLINATION):
        return None
    size = common_category(own.get("RCS_SIZE"))
    words = [f"{size.lower()} {label.lower()}" if size and size != MISSING else label.lower()]
    perigee, apogee, inclination = (own[name].quantiles for name in APSIDES_AND_INCLINATION)  # type: ignore[union-attr]
    if not np.isnan(perigee[2]):
        words.append(_altitudes(perigee, apogee))
        words.append(_angle(inclination))
    return ", ".join(words)


def _altitudes(perigee: tuple[float, ...], apogee: tuple[float, ...]) -> str:
    if apogee[2] - perigee[2] <= ROUND * apogee[2]:
        return f"{_range(perigee[1], apogee[3])} km"
    return f"{_range(perigee[1], perigee[3])} x {_range(apogee[1], apogee[3])} km"


def _angle(inclination: tuple[float, ...]) -> str:
    if inclination[3] - inclination[1] < 1.0:
        return f"{inclination[2]:.1f} deg"
    return f"{_range(inclination[1], inclination[3])} deg"


def _range(low: float, high: float) -> str:
    """Both ends to two or three digits, as far as they differ.

    Examples
    --------
    >>> _range(761.2, 878.0), _range(35_771.0, 35_802.0), _range(-3.0, 12.0)
    ('760-880', '35770-35800', '-3 to 12')
    """
    step = 10.0 if max(abs(low), abs(high)) >= 200.0 else 1.0
    ends = [f"{step * round(end / step):.0f}" for end in (low, high)]
    return ends[0] if ends[0] == ends[1] else (" to " if low < 0 else "-").join(ends)


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
    name_prototype=_name_prototype,
    named_columns=_NAMED,
)
"""The domain of SATCAT, GP and other catalogs with their columns."""
