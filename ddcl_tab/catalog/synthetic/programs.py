"""The launch programs that the synthetic catalog is drawn from, in round numbers."""

from __future__ import annotations

from dataclasses import dataclass

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
