"""A synthetic satellite catalog in Space-Track's SATCAT columns, for examples, tests and demonstrations.

Launches are drawn from a few programs (regime, owners, sites, years, what stays in orbit); break-ups around some of
them come from :mod:`ddcl_tab.space`. Every number comes from the distributions written here, none from a real
catalog. Left out on purpose: manoeuvres, and drag, except that fragments with a perigee below 300 km are taken
as decayed.
"""

from __future__ import annotations

import datetime
import operator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.space._elements import period_from_semi_major_axis, semi_major_axis_from_altitudes
from ddcl_tab.space._other_catalogs import piece_letters
from ddcl_tab.space._population import (
    DEBRIS,
    PAYLOAD,
    ROCKET_BODY,
    Launches,
    Objects,
    draw_launches,
    fragments,
    joined,
    mission_debris,
    payloads,
    rocket_bodies,
)
from ddcl_tab.space._schema import OBJECT_TYPES, SPACETRACK_COLUMNS

MIN_ROWS, MAX_ROWS = 50, 100_000
# Beyond the numbers in use, so that no row can be taken for a real object.
FIRST_CATALOG_NUMBER = 900_000_001
UNKNOWN = 3
TYPES = np.array(OBJECT_TYPES)
NAMES = np.array(["SAT", "R/B", "DEB", "OBJECT"])


def synthetic_catalog(n_rows: int = 5000, random_state: int = 0) -> pl.DataFrame:
    """Synthetic satellite catalog in Space-Track's SATCAT columns.

    Classes in the shares of the real catalog: 46 % payloads, 44 % debris, 8 % rocket bodies and 2 % unknown (objects
    of the other three with their type hidden and mostly without a known owner). Orbit columns are missing together
    in 2 % of the rows, RCS_SIZE in 5 %. Most debris comes from a handful of break-ups (NASA standard breakup model,
    Johnson et al. 2001), so a split by launch (``YYYY-NNN``) is as necessary as with real data.

    Parameters
    ----------
    n_rows : int
        Number of rows, 50 to 100000.
    random_state : int
        Seed, not negative; the same arguments give the same catalog.

    Returns
    -------
    polars.DataFrame
        Columns :data:`SPACETRACK_COLUMNS`, all of them text or null as Space-Track serves them: PERIOD in min,
        INCLINATION in deg, APOGEE and PERIGEE in km above 6378.135 km, RCS_SIZE by cross-section (SMALL below
        0.1 m^2, LARGE above 1 m^2). Catalog numbers start at 900000001, names with ``SYNTHETIC``.

    Raises
    ------
    ConfigurationError
        If ``n_rows`` is no integer in range or ``random_state`` no integer from 0.

    Examples
    --------
    >>> frame = synthetic_catalog(200, random_state=1)
    >>> frame.height, frame["OBJECT_TYPE"].value_counts().sort("OBJECT_TYPE").rows()
    (200, [('DEBRIS', 88), ('PAYLOAD', 92), ('ROCKET BODY', 16), ('UNKNOWN', 4)])
    """
    n_rows = _integer("n_rows", n_rows, MIN_ROWS, MAX_ROWS)
    seed = _integer("random_state", random_state, 0, 2**63 - 1)
    rng = np.random.default_rng(seed)
    n_unknown, n_rockets, n_debris = round(0.02 * n_rows), round(0.08 * n_rows), round(0.44 * n_rows)
    # The hidden objects by what they are: mostly fragments not yet linked to their launch.
    hidden = np.array([n_unknown - round(0.7 * n_unknown) - n_unknown // 10, n_unknown // 10, round(0.7 * n_unknown)])
    counts = hidden + np.array([n_rows - n_unknown - n_rockets - n_debris, n_rockets, n_debris])

    launches = draw_launches(rng, int(counts[PAYLOAD]))
    n_mission_debris = round(0.15 * counts[DEBRIS])
    objects = joined(
        payloads(rng, launches),
        rocket_bodies(rng, launches, int(counts[ROCKET_BODY])),
        mission_debris(rng, launches, n_mission_debris),
        fragments(rng, launches, int(counts[DEBRIS]) - n_mission_debris),
    )
    shown = _hide(rng, objects, launches, hidden)
    return _frame(rng, objects, launches, shown, f"SYNTHETIC: made by ddcl-tab synth --rows {n_rows} --seed {seed}")


def _integer(name: str, value: object, low: int, high: int) -> int:
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = low - 1
    if isinstance(value, bool | np.bool_) or not low <= number <= high:
        raise ConfigurationError(f"{name} is an integer from {low} to {high}, not {value!r}")
    return number


def _hide(
    rng: np.random.Generator, objects: Objects, launches: Launches, hidden: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Types as the catalog shows them: some objects, mostly recent ones, are not identified."""
    shown = objects.kind.copy()
    recent = np.where(launches.year[objects.launch] >= 2010, 6.0, 1.0)
    for kind, n in enumerate(hidden):
        rows = np.flatnonzero(objects.kind == kind)
        shown[rng.choice(rows, n, replace=False, p=recent[rows] / recent[rows].sum())] = UNKNOWN
    return shown


def _frame(
    rng: np.random.Generator, objects: Objects, launches: Launches, shown: NDArray[np.int64], comment: str
) -> pl.DataFrame:
    n = len(shown)
    order = np.lexsort((rng.random(n), objects.kind, objects.launch))
    launch, shown = objects.launch[order], shown[order]
    piece = [piece_letters(int(k)) for k in np.arange(n) - np.searchsorted(launch, launch) + 1]
    year, number = launches.year[launch], launches.number[launch]
    identity = [f"{y}-{k:03d}{letters}" for y, k, letters in zip(year, number, piece, strict=True)]
    name = [f"SYNTHETIC {NAMES[kind]} {of}" for kind, of in zip(shown, identity, strict=True)]
    country, site = np.array([owner.split("/") for owner in launches.owner[launch]]).T
    # Owner to be determined: most unidentified objects and a few others.
    country = np.where(rng.random(n) < np.where(shown == UNKNOWN, 0.85, 0.003), "TBD", country)
    date = [
        datetime.date(int(y), 1, 1) + datetime.timedelta(int(d))
        for y, d in zip(year, launches.day[launch], strict=True)
    ]
    catalog_number = [str(FIRST_CATALOG_NUMBER + k) for k in range(n)]
    constant = {"DECAY": None, "COMMENT": comment, "COMMENTCODE": None, "RCSVALUE": "0", "FILE": "1", "CURRENT": "Y"}
    columns: dict[str, object] = {
        **{key: [value] * n for key, value in constant.items()},
        **{"INTLDES": identity, "OBJECT_ID": identity, "SATNAME": name, "OBJECT_NAME": name},
        **{"NORAD_CAT_ID": catalog_number, "OBJECT_NUMBER": catalog_number, "OBJECT_TYPE": TYPES[shown].tolist()},
        **{"COUNTRY": country.tolist(), "SITE": site.tolist(), "LAUNCH": [day.isoformat() for day in date]},
        **{"LAUNCH_YEAR": [str(y) for y in year], "LAUNCH_NUM": [str(k) for k in number], "LAUNCH_PIECE": piece},
        **_orbit_columns(rng, objects, order),
        "RCS_SIZE": _sizes(rng, objects.area_m2[order]),
    }
    return pl.DataFrame(
        {c: columns[c] for c in SPACETRACK_COLUMNS}, schema=dict.fromkeys(SPACETRACK_COLUMNS, pl.String)
    )


def _orbit_columns(rng: np.random.Generator, objects: Objects, order: NDArray[np.int64]) -> dict[str, list[str | None]]:
    perigee, apogee = objects.perigee_km[order], objects.apogee_km[order]
    missing = np.zeros(len(order), bool)
    missing[rng.choice(len(order), round(0.02 * len(order)), replace=False)] = True
    values = {
        "PERIOD": (period_from_semi_major_axis(semi_major_axis_from_altitudes(perigee, apogee)), ".2f"),
        "INCLINATION": (objects.inclination_deg[order], ".2f"),
        "APOGEE": (apogee, ".0f"),
        "PERIGEE": (perigee, ".0f"),
    }
    return {
        name: [None if gone else format(x, form) for x, gone in zip(numbers, missing, strict=True)]
        for name, (numbers, form) in values.items()
    }


def _sizes(rng: np.random.Generator, area_m2: NDArray[np.float64]) -> list[str | None]:
    """Radar size class; the radar cross-section scatters around the geometric one."""
    measured = area_m2 * 10 ** rng.normal(0, 0.2, len(area_m2))
    sizes: list[str | None] = np.select([measured < 0.1, measured <= 1], ["SMALL", "MEDIUM"], "LARGE").tolist()
    for row in rng.choice(len(sizes), round(0.05 * len(sizes)), replace=False):
        sizes[row] = None
    return sizes
