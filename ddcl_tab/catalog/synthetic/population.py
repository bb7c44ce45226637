"""The objects of the synthetic catalog as numbers: launches, payloads, rocket bodies, debris and break-up clouds."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ddcl_tab.catalog.synthetic.programs import PROGRAMS
from ddcl_tab.orbit import (
    KeplerianElements,
    apogee_altitude,
    eccentricity_from_altitudes,
    fragment_orbits,
    perigee_altitude,
    sample_fragments,
    semi_major_axis_from_altitudes,
)

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
