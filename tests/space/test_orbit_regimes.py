"""Orbit classes: one example per line of ESA's table, order, missing and impossible input."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.space import REGIMES, regime

# Synthetic orbits, one per line of the table in ESA's Annual Space Environment Report ("Ranges defining each orbital
# class"): (perigee altitude km, apogee altitude km, inclination deg).
EXAMPLES = {
    "GEO": (35780, 35794, 5.0),
    "IGO": (35500, 36100, 55.0),
    "EGO": (36100, 36300, 12.0),
    "NSO": (20150, 20220, 55.0),
    "GTO": (250, 35786, 7.0),
    "MEO": (8060, 8070, 0.1),
    "GHO": (35786, 60000, 10.0),
    "LEO": (780, 790, 98.6),
    "HAO": (60000, 120000, 40.0),
    "MGO": (10000, 35786, 20.0),
    "HEO": (1000, 120000, 63.0),
    "LMO": (700, 5000, 49.0),
    "UFO": (-20, 1500, 98.0),
    "ESO": (300, np.inf, 30.0),
    "UNKNOWN": (np.nan, 35786, 7.0),
}


def test_every_class_has_an_example_and_a_description():
    assert set(EXAMPLES) == set(REGIMES)
    assert all("km" in text for text in REGIMES.values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_of_each_class(name):
    assert regime(*EXAMPLES[name]) == name


def test_first_line_of_the_table_wins():
    # Both GEO and EGO hold; both NSO and MEO hold; a bound belongs to both lines.
    assert regime(35786, 35786, 0.0) == "GEO"
    assert regime(35786, 35786, 25.0) == "GEO"
    assert regime(36300, 36300, 25.0) == "IGO"
    assert regime(20000, 20000, 60.0) == "NSO"
    assert regime(20000, 20000, 49.9) == "MEO"
    assert regime(2000, 2000, 50.0) == "MEO"
    assert regime(35586, 35586, 0.0) == "GEO"
    assert regime(35585, 35586, 0.0) == "EGO"


def test_a_retrograde_transfer_orbit_is_undefined():
    assert regime(250, 35786, 98.0) == "UFO"


def test_missing_values_broadcast():
    names = regime([500.0, np.nan, 500.0], 600.0, [[50.0], [np.nan]])
    assert names.tolist() == [["LEO", "UNKNOWN", "LEO"], ["UNKNOWN"] * 3]


@given(st.floats(-6000, 400_000), st.floats(0, 400_000), st.floats(0, 180))
def test_every_closed_orbit_has_a_class(perigee, extra, inclination):
    name = str(regime(perigee, perigee + extra, inclination))
    assert name in REGIMES
    assert name not in ("UNKNOWN", "ESO")


@pytest.mark.parametrize(
    ("perigee", "apogee", "inclination", "message"),
    [
        ([500, 700], [600, 600], 50, r"perigee_altitude_km is not above apogee_altitude_km.* 700.0 at index 1"),
        (500, 600, [10, -1], r"inclination_deg is in \[0, 180\], but value -1.0 at index 1"),
        (-7000, 600, 10, r"perigee_altitude_km is above -6378.135 km"),
        ([1, 2], [3, 4, 5], 10, r"numbers of matching shapes"),
        ("low", 600, 10, r"numbers of matching shapes"),
    ],
)
def test_impossible_input(perigee, apogee, inclination, message):
    with pytest.raises(ConfigurationError, match=message):
        regime(perigee, apogee, inclination)


def test_classes_of_the_real_catalog(shared_data: Path):
    rows = json.loads(
        gzip.decompress((shared_data / "satcat/spacetrack_satcat_current_2025-03-16.json.gz").read_bytes())
    )
    perigee, apogee, inclination = (
        np.array([np.nan if row[column] is None else float(row[column]) for row in rows])
        for column in ("PERIGEE", "APOGEE", "INCLINATION")
    )
    names = regime(perigee, apogee, inclination)
    share = {name: float(np.mean(names == name)) for name in REGIMES}
    assert share["UNKNOWN"] == np.mean(np.isnan(perigee))
    assert share["UFO"] == 0
    assert 0.75 < share["LEO"] < 0.82  # 78 % of the catalog
    assert 0.02 < share["GTO"] < 0.03
