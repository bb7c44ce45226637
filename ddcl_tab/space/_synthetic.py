"""A synthetic satellite catalog in Space-Track's SATCAT columns, for examples, tests and demonstrations.

Launches are drawn from a few programs (regime, owners, sites, years, what stays in orbit); break-ups around some of
them come from :mod:`ddcl_tab.space`. Every number comes from the distributions written here, none from a real
catalog. Left out on purpose: manoeuvres, and drag, except that fragments with a perigee below 300 km are taken
as decayed.
"""

from __future__ import annotations

import datetime
import operator
from dataclasses import dataclass, fields

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.space._breakup import fragment_orbits, sample_fragments
from ddcl_tab.space._elements import (
    apogee_altitude,
    eccentricity_from_altitudes,
    perigee_altitude,
    period_from_semi_major_axis,
    semi_major_axis_from_altitudes,
)
from ddcl_tab.space._other_catalogs import piece_letters
from ddcl_tab.space._schema import OBJECT_TYPES, SPACETRACK_COLUMNS
from ddcl_tab.space._states import KeplerianElements

Range = tuple[float, float]


@dataclass(frozen=True)
class Program:
    """Launches of one kind: what flies where, and what stays.

    Parameters
    ----------
    share : float
        Share of all payloads.
    payloads : tuple of int
        Least and most payloads per launch.
    years : tuple of int
        First and last launch year.
    perigee_km : tuple of float
        Range of the perigee altitude, km.
    spread_km : tuple of float
        Range of apogee minus perigee altitude, km.
    inclination_deg : tuple of float
        Range of the inclination, deg.
    area_m2 : float
        Median cross-section of a payload, m^2.
    rocket_bodies : float
        Weight of a launch when rocket bodies are handed out.
    rocket_orbit : tuple of ranges or None
        Perigee and apogee altitude (km) and inclination (deg) of the rocket body; None: beside its payloads.
    breakups : float
        Weight of a launch when break-ups are handed out.
    owners : dict of str to float
        ``"COUNTRY/SITE"`` and its weight.
    """

    share: float
    payloads: tuple[int, int]
    years: tuple[int, int]
    perigee_km: Range
    spread_km: Range
    inclination_deg: Range
    area_m2: float
    rocket_bodies: float
    rocket_orbit: tuple[Range, Range, Range] | None
    breakups: float
    owners: dict[str, float]


GTO_KOUROU = ((220, 800), (28000, 36000), (4, 8))
GTO_CAPE = ((180, 1500), (20000, 36500), (18, 28))
GTO_XICHANG = ((170, 600), (30000, 42000), (18, 29))
DISPOSED = ((250, 480), (480, 620), (53.0, 53.4))
PROGRAMS: tuple[Program, ...] = (
    # Sun-synchronous observation, cubesats on shared rides, two large constellations
    Program(0.12, (1, 4), (1978, 2025), (480, 850), (1, 25), (97.4, 99.1), 4.0, 0.9, None, 3.0,
             {"US/AFWTR": 3, "PRC/TSC": 4, "IND/SRI": 1, "FR/FRGUI": 1, "CIS/PKMTR": 1, "PRC/JSC": 1}),
    Program(0.08, (15, 50), (2014, 2025), (470, 560), (1, 20), (97.3, 97.8), 0.12, 0.6, None, 0.0,
             {"US/AFWTR": 2, "US/AFETR": 3, "IND/SRI": 1}),
    Program(0.40, (20, 56), (2019, 2025), (535, 565), (0, 4), (53.0, 53.25), 12.0, 0.15, DISPOSED, 0.0,
             {"US/AFETR": 4, "US/AFWTR": 1}),
    Program(0.05, (15, 36), (2019, 2024), (1180, 1225), (0, 5), (87.8, 87.95), 2.0, 0.1, None, 0.0,
             {"UK/VOSTO": 3, "UK/TTMTR": 2, "UK/FRGUI": 1}),
    # Soviet and Russian low orbits
    Program(0.07, (1, 3), (1966, 2010), (940, 1005), (5, 50), (82.5, 83.1), 3.0, 1.4, None, 1.5, {"CIS/PKMTR": 1}),
    Program(0.04, (6, 8), (1970, 1992), (1390, 1500), (5, 120), (73.9, 74.1), 0.8, 1.4, None, 0.3, {"CIS/PKMTR": 1}),
    Program(0.03, (1, 2), (1967, 2007), (820, 960), (5, 80), (64.8, 71.1), 6.0, 1.5, None, 1.5,
             {"CIS/TTMTR": 2, "CIS/PKMTR": 1}),
    # Geostationary, launched through transfer orbits or (Baikonur) directly
    Program(0.03, (1, 2), (1980, 2025), (35700, 36100), (0, 40), (0.0, 9.0), 18.0, 1.1, GTO_KOUROU, 0.1,
             {"ESA/FRGUI": 1, "FR/FRGUI": 1, "ITSO/FRGUI": 2, "SES/FRGUI": 1, "IND/FRGUI": 1}),
    Program(0.04, (1, 1), (1966, 2025), (35650, 36200), (0, 60), (0.0, 14.5), 18.0, 0.9, GTO_CAPE, 0.3,
             {"US/AFETR": 6, "ITSO/AFETR": 1, "SES/AFETR": 1}),
    Program(0.02, (1, 1), (1984, 2025), (35700, 36100), (0, 40), (0.0, 8.0), 18.0, 1.3, GTO_XICHANG, 0.6,
             {"PRC/XSC": 4, "JPN/TNSTA": 1}),
    Program(0.02, (1, 2), (1975, 2020), (35600, 36300), (0, 90), (0.1, 15.0), 18.0, 1.6, None, 0.0, {"CIS/TTMTR": 1}),
    # Navigation
    Program(0.01, (1, 1), (1978, 2025), (19900, 20450), (5, 500), (53.5, 56.5), 12.0, 0.8,
             ((200, 1000), (19000, 20400), (34, 40)), 0.1, {"US/AFETR": 1}),
    Program(0.014, (2, 3), (1982, 2023), (19050, 19180), (2, 60), (63.5, 66.0), 10.0, 1.5, None, 0.1,
             {"CIS/TTMTR": 4, "CIS/PKMTR": 1}),
    Program(0.008, (2, 2), (2007, 2024), (21480, 21560), (5, 70), (54.5, 56.5), 10.0, 1.4, None, 0.0, {"PRC/XSC": 1}),
    # Molniya, and low inclined orbits of many kinds
    Program(0.012, (1, 1), (1965, 2010), (500, 5000), (33000, 39000), (61.5, 65.0), 8.0, 1.5, None, 0.3,
             {"CIS/PKMTR": 3, "CIS/TTMTR": 1}),
    Program(0.06, (1, 6), (1960, 2025), (380, 1100), (2, 500), (28.0, 52.0), 1.5, 0.8, None, 0.5,
             {"US/AFETR": 5, "JPN/KSCUT": 1, "IND/SRI": 1, "US/WLPIS": 1}),
)  # fmt: skip
"""Launch programs; shares need not sum to one. Sites and owners are written with Space-Track's codes."""


DECAYED_BELOW_KM = 300.0
LOST_ABOVE_KM = 300_000.0  # towards the Moon no orbit is Keplerian for long
PAYLOAD, ROCKET_BODY, DEBRIS = range(3)


@dataclass(frozen=True, eq=False)
class Launches:
    """Launches in the order of their dates; one value each."""

    program: NDArray[np.int64]
    payloads: NDArray[np.int64]
    year: NDArray[np.int64]
    day: NDArray[np.int64]
    number: NDArray[np.int64]  # in its year, from 1
    owner: NDArray[np.str_]
    perigee_km: NDArray[np.float64]
    apogee_km: NDArray[np.float64]
    inclination_deg: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects in orbit: index of the launch, true kind, orbit and cross-section."""

    launch: NDArray[np.int64]
    kind: NDArray[np.int64]
    perigee_km: NDArray[np.float64]
    apogee_km: NDArray[np.float64]
    inclination_deg: NDArray[np.float64]
    area_m2: NDArray[np.float64]


def _uniform(rng: np.random.Generator, ranges: list[tuple[float, float]]) -> NDArray[np.float64]:
    low, high = np.array(ranges, np.float64).T
    return rng.uniform(low, high)


def _integers(rng: np.random.Generator, ranges: list[tuple[int, int]]) -> NDArray[np.int64]:
    low, high = np.array(ranges).T
    return rng.integers(low, high, endpoint=True)


def _of(programs: NDArray[np.int64], field: str) -> list:
    return [getattr(PROGRAMS[p], field) for p in programs]


def draw_launches(rng: np.random.Generator, n_payloads: int) -> Launches:
    """Launches with exactly n payloads between them."""
    rate = np.array([p.share / np.mean(p.payloads) for p in PROGRAMS])
    program = rng.choice(len(PROGRAMS), n_payloads, p=rate / rate.sum())
    n_each = _integers(rng, _of(program, "payloads"))
    last = int(np.searchsorted(np.cumsum(n_each), n_payloads)) + 1
    program, n_each = program[:last], n_each[:last]
    n_each[-1] -= n_each.sum() - n_payloads
    year = _integers(rng, _of(program, "years"))
    day = rng.integers(0, 365, last)
    order = np.lexsort((day, year))
    program, n_each, year, day = program[order], n_each[order], year[order], day[order]
    number = np.arange(last) - np.searchsorted(year, year) + 1
    perigee = _uniform(rng, _of(program, "perigee_km"))
    owners = [rng.choice(list(o), p=np.array(list(o.values())) / sum(o.values())) for o in _of(program, "owners")]
    apogee = perigee + _uniform(rng, _of(program, "spread_km"))
    inclination = _uniform(rng, _of(program, "inclination_deg"))
    return Launches(program, n_each, year, day, number, np.array(owners), perigee, apogee, inclination)


def _beside(
    rng: np.random.Generator, launches: Launches, launch: NDArray[np.int64], shift_km: float, tilt_deg: float
) -> list[NDArray[np.float64]]:
    """Orbits near their launch's: perigee and apogee altitude in km, inclination in deg."""
    n = len(launch)
    altitudes = np.stack([launches.perigee_km[launch], launches.apogee_km[launch]]) + rng.normal(0, shift_km, (2, n))
    altitudes = np.sort(np.maximum(altitudes, 200.0), axis=0)
    inclination = np.abs(launches.inclination_deg[launch] + rng.normal(0, tilt_deg, n))
    return [altitudes[0], altitudes[1], inclination]


def _kind(launch: NDArray[np.int64], kind: int) -> NDArray[np.int64]:
    return np.full(len(launch), kind)


def payloads(rng: np.random.Generator, launches: Launches) -> Objects:
    """Payloads of all launches."""
    launch = np.repeat(np.arange(len(launches.year)), launches.payloads)
    perigee, apogee, inclination = _beside(rng, launches, launch, 1.5, 0.02)
    # Constellations: some are still climbing to their orbit or already on their way down.
    lowered = rng.random(len(launch)) < np.where(launches.payloads[launch] > 10, 0.12, 0.0)
    circular = rng.uniform(300, np.maximum(perigee, 301))
    perigee, apogee = np.where(lowered, circular, perigee), np.where(lowered, circular + 2, apogee)
    area = np.array(_of(launches.program[launch], "area_m2")) * 10 ** rng.normal(0, 0.3, len(launch))
    return Objects(launch, _kind(launch, PAYLOAD), perigee, apogee, inclination, area)


def _drawn_launches(rng: np.random.Generator, launches: Launches, n: int, field: str) -> NDArray[np.int64]:
    weights = np.array(_of(launches.program, field), np.float64)
    return np.sort(rng.choice(len(weights), n, p=weights / weights.sum()))


def _rocket_orbits(
    rng: np.random.Generator, launches: Launches, launch: NDArray[np.int64], shift_km: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Orbits of what the rocket leaves: where its program says, or beside the payloads with a lowered perigee."""
    perigee, apogee, inclination = _beside(rng, launches, launch, shift_km, 0.05)
    perigee = np.maximum(perigee - rng.uniform(20, 160, len(launch)), 200.0)
    orbits = _of(launches.program[launch], "rocket_orbit")
    own = np.array([orbit is not None for orbit in orbits])
    drawn = [_uniform(rng, [((0, 0) if orbit is None else orbit[axis]) for orbit in orbits]) for axis in range(3)]
    return (
        np.where(own, drawn[0], perigee),
        np.where(own, drawn[1], apogee),
        np.where(own, drawn[2], inclination),
    )


def rocket_bodies(rng: np.random.Generator, launches: Launches, n: int) -> Objects:
    """Rocket bodies, n in all, handed out to the launches by weight."""
    launch = _drawn_launches(rng, launches, n, "rocket_bodies")
    orbits = _rocket_orbits(rng, launches, launch, 12.0)
    return Objects(launch, _kind(launch, ROCKET_BODY), *orbits, 10.0 * 10 ** rng.normal(0, 0.35, n))


def mission_debris(rng: np.random.Generator, launches: Launches, n: int) -> Objects:
    """Covers, adapters and the like: n in all, near the rocket bodies' orbits."""
    launch = _drawn_launches(rng, launches, n, "rocket_bodies")
    orbits = _rocket_orbits(rng, launches, launch, 60.0)
    return Objects(launch, _kind(launch, DEBRIS), *orbits, 0.15 * 10 ** rng.normal(0, 0.45, n))


def fragments(rng: np.random.Generator, launches: Launches, n: int) -> Objects:
    """Fragments of a handful of break-ups, n in all, a few large clouds and many smaller ones."""
    n_clouds = min(max(2, n // 60), 14, len(launches.year))
    weights = np.array(_of(launches.program, "breakups"), np.float64) + 1e-6
    parents = rng.choice(len(weights), n_clouds, replace=False, p=weights / weights.sum())
    sizes = rng.multinomial(n, (1 / np.arange(2, n_clouds + 2)) / np.sum(1 / np.arange(2, n_clouds + 2)))
    return joined(*(_cloud(rng, launches, int(p), int(k)) for p, k in zip(parents, sizes, strict=True) if k))


def _cloud(rng: np.random.Generator, launches: Launches, parent: int, n: int) -> Objects:
    """One break-up; n of its fragments larger than 10 cm that are still up, however many there would be."""
    collision = rng.random() < 0.4
    launch = np.full(n, parent)
    perigee_km, apogee_km, inclination = (float(x[0]) for x in _rocket_orbits(rng, launches, launch[:1], 10.0))
    while True:
        pieces = sample_fragments(
            4 * n,
            event="collision" if collision else "explosion",
            parent="spacecraft" if collision else "rocket_body",
            rng=rng,
        )
        parent_orbit = _parent_orbit(rng, perigee_km, apogee_km, inclination)
        cloud = fragment_orbits(parent_orbit, pieces.delta_v_m_s, rng)
        a, e = cloud.elements.semi_major_axis_km, cloud.elements.eccentricity
        perigee, apogee = perigee_altitude(a, e), apogee_altitude(a, e)
        up = np.flatnonzero((perigee >= DECAYED_BELOW_KM) & (apogee < LOST_ABOVE_KM))[:n]
        if len(up) == n:
            area = pieces.area_m2[cloud.kept[up]]
            orbits = (perigee[up], apogee[up], cloud.elements.inclination_deg[up])
            return Objects(launch, _kind(launch, DEBRIS), *orbits, area)
        # Too few stay up around a low parent: the higher one keeps more, so the loop ends.
        perigee_km, apogee_km = perigee_km + 100.0, apogee_km + 100.0


def _parent_orbit(
    rng: np.random.Generator, perigee_km: float, apogee_km: float, inclination_deg: float
) -> KeplerianElements:
    a = semi_major_axis_from_altitudes(perigee_km, apogee_km)
    e = eccentricity_from_altitudes(perigee_km, apogee_km)
    return KeplerianElements(a, e, *np.array([inclination_deg, *rng.uniform(0, 360, 2), 0.0]))


def joined(*parts: Objects) -> Objects:
    """Append objects to objects."""
    names = [field.name for field in fields(Objects)]
    return Objects(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


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
