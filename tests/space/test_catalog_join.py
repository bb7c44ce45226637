"""Joining a SATCAT with element sets. All rows here are synthetic; the real catalogs are read where they are."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ddcl_tab.errors import CatalogError
from ddcl_tab.space._gp import read_elsets
from ddcl_tab.space._join import join_elsets, launch_of
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.space._schema import ELSET_COLUMNS, SATCAT_COLUMNS, polars_schema

EPOCH = datetime(2031, 4, 10, tzinfo=UTC)
ADDED = ["EPOCH", "MEAN_MOTION", "RA_OF_ASC_NODE", "ARG_OF_PERICENTER", "MEAN_ANOMALY", "BSTAR", "MEAN_MOTION_DOT"]


def satcat(*rows: dict) -> pl.DataFrame:
    base = {"OBJECT_TYPE": "DEBRIS", "PERIOD": 100.2, "INCLINATION": 98.61, "APOGEE": 830.0, "PERIGEE": 760.0}
    derived = {"SEMIMAJOR_AXIS": 7173.135, "ECCENTRICITY": 0.00488}
    return pl.DataFrame([base | derived | row for row in rows], schema=polars_schema(SATCAT_COLUMNS))


def elsets(*rows: dict) -> pl.DataFrame:
    base = {"EPOCH": EPOCH, "MEAN_MOTION": 14.3, "ECCENTRICITY": 0.0049123, "INCLINATION": 98.6054}
    angles = {"RA_OF_ASC_NODE": 10.0, "ARG_OF_PERICENTER": 20.0, "MEAN_ANOMALY": 30.0}
    drag = {"BSTAR": 1e-4, "MEAN_MOTION_DOT": 1e-6}
    return pl.DataFrame([base | angles | drag | row for row in rows], schema=polars_schema(ELSET_COLUMNS))


def test_rows_keep_their_order_and_only_matches_get_an_orbit():
    catalog = satcat({"NORAD_CAT_ID": 90003}, {"NORAD_CAT_ID": 90001}, {"NORAD_CAT_ID": 90002})
    joined = join_elsets(catalog, elsets({"NORAD_CAT_ID": 90002}, {"NORAD_CAT_ID": 90009}))
    assert joined.columns == [*catalog.columns, *ADDED]
    assert joined["NORAD_CAT_ID"].to_list() == [90003, 90001, 90002]
    assert joined["EPOCH"].to_list() == [None, None, EPOCH]
    assert joined["ECCENTRICITY"].to_list() == [0.00488, 0.00488, 0.0049123]
    untouched = [name for name in catalog.columns if name != "ECCENTRICITY"]
    assert_frame_equal(joined.select(untouched), catalog.select(untouched))


def test_the_newest_epoch_counts_wherever_it_stands():
    sets = elsets(
        {"NORAD_CAT_ID": 90001, "EPOCH": EPOCH, "MEAN_MOTION": 14.1},
        {"NORAD_CAT_ID": 90001, "EPOCH": EPOCH + timedelta(microseconds=1), "MEAN_MOTION": 14.2},
        {"NORAD_CAT_ID": 90001, "EPOCH": EPOCH - timedelta(days=900), "MEAN_MOTION": 14.3},
        {"NORAD_CAT_ID": 90002, "EPOCH": EPOCH, "MEAN_MOTION": 14.4},
        {"NORAD_CAT_ID": 90002, "EPOCH": EPOCH, "MEAN_MOTION": 14.5},
    )
    catalog = satcat({"NORAD_CAT_ID": 90001}, {"NORAD_CAT_ID": 90002})
    assert join_elsets(catalog, sets)["MEAN_MOTION"].to_list() == [14.2, 14.5]


def test_what_the_satcat_has_stays_and_what_it_lacks_follows_from_the_set():
    orbit = ("PERIOD", "INCLINATION", "APOGEE", "PERIGEE", "SEMIMAJOR_AXIS", "ECCENTRICITY")
    catalog = satcat({"NORAD_CAT_ID": 90001}, {"NORAD_CAT_ID": 90002, **dict.fromkeys(orbit)})
    # One sidereal day: the geostationary radius of textbooks is 42164 km (Vallado, Fundamentals of Astrodynamics).
    sets = elsets(*({"NORAD_CAT_ID": n, "MEAN_MOTION": 1.00273791, "ECCENTRICITY": 0.0} for n in (90001, 90002)))
    kept, filled = join_elsets(catalog, sets).iter_rows(named=True)
    assert [kept[name] for name in orbit[:5]] == [100.2, 98.61, 830.0, 760.0, 7173.135]
    assert filled["PERIOD"] == pytest.approx(1436.07, abs=0.01)
    assert filled["SEMIMAJOR_AXIS"] == pytest.approx(42164, abs=1)
    assert filled["APOGEE"] == filled["PERIGEE"] == pytest.approx(filled["SEMIMAJOR_AXIS"] - 6378.135)
    assert filled["INCLINATION"] == 98.6054


@given(mean_motion=st.floats(0.05, 17), eccentricity=st.floats(0, 0.99))
def test_filled_shape_is_consistent(mean_motion, eccentricity):
    orbit = ("PERIOD", "INCLINATION", "APOGEE", "PERIGEE", "SEMIMAJOR_AXIS", "ECCENTRICITY")
    sets = elsets({"NORAD_CAT_ID": 90001, "MEAN_MOTION": mean_motion, "ECCENTRICITY": eccentricity})
    row = join_elsets(satcat({"NORAD_CAT_ID": 90001, **dict.fromkeys(orbit)}), sets).row(0, named=True)
    a = row["SEMIMAJOR_AXIS"]
    assert (row["APOGEE"] + row["PERIGEE"]) / 2 + 6378.135 == pytest.approx(a, rel=1e-12)
    assert row["APOGEE"] - row["PERIGEE"] == pytest.approx(2 * a * eccentricity, abs=1e-9 * a)
    assert row["PERIOD"] * mean_motion == pytest.approx(1440)
    # Kepler's third law with GM of WGS-72, 398600.8 km^3/s^2 (Spacetrack Report No. 3).
    assert (2 * math.pi / (60 * row["PERIOD"])) ** 2 * a**3 == pytest.approx(398600.8)


def test_no_sets_at_all_adds_empty_columns():
    joined = join_elsets(satcat({"NORAD_CAT_ID": 90001}), elsets())
    assert joined.select(ADDED).null_count().row(0) == (1,) * 7
    assert joined["ECCENTRICITY"].to_list() == [0.00488]


def test_wrong_frames_are_named():
    catalog, sets = satcat({"NORAD_CAT_ID": 90001}), elsets({"NORAD_CAT_ID": 90001})
    with pytest.raises(CatalogError, match="satcat lacks APOGEE"):
        join_elsets(catalog.drop("APOGEE"), sets)
    with pytest.raises(CatalogError, match="elsets lacks EPOCH"):
        join_elsets(catalog, catalog)
    with pytest.raises(CatalogError, match="satcat has been joined before: it holds EPOCH"):
        join_elsets(join_elsets(catalog, sets), sets)
    with pytest.raises(CatalogError, match="frame lacks OBJECT_ID"):
        launch_of(catalog.drop("OBJECT_ID"))


def test_launch_groups_siblings_and_gives_strangers_their_own():
    frame = pl.DataFrame(
        {
            "NORAD_CAT_ID": [90001, 90002, 90003, 90004, 90005],
            "OBJECT_ID": ["2031-007A", "2031-007BCD", None, None, "2031-008A"],
        }
    )
    groups = launch_of(frame).to_list()
    assert groups == ["2031-007", "2031-007", "NORAD 90003", "NORAD 90004", "2031-008"]


@pytest.mark.parametrize(
    "designators",
    [[None, None], ["", " "], ["UNKNOWN", "unknown"], pl.Series([float("nan"), None], dtype=pl.Float64)],
)
def test_objects_without_designators_are_groups_of_their_own(designators):
    frame = pl.DataFrame({"NORAD_CAT_ID": [90001, 90002], "OBJECT_ID": designators})
    assert launch_of(frame).to_list() == ["NORAD 90001", "NORAD 90002"]


def test_real_catalog_and_its_element_sets(shared_data):
    catalog = read_satcat(shared_data / "satcat" / "spacetrack_satcat_current_2025-03-16.json.gz")
    sets = read_elsets(shared_data / "elsets" / "spacetrack_3le_2025-03-15.txt.gz")
    joined = join_elsets(catalog, sets)
    assert joined["NORAD_CAT_ID"].equals(catalog["NORAD_CAT_ID"])
    assert joined["EPOCH"].is_not_null().sum() == 26_528
    # Two providers' files agree on the same objects: the SATCAT's altitudes are rounded to 1 km.
    limits = {"PERIOD": 0.01, "INCLINATION": 0.01, "APOGEE": 0.5, "PERIGEE": 0.5, "SEMIMAJOR_AXIS": 0.5}
    filled = join_elsets(catalog.with_columns(pl.lit(None, pl.Float64).alias(name) for name in limits), sets)
    for name, limit in limits.items():
        assert (filled[name] - catalog[name]).abs().median() < limit, name
    assert (filled["ECCENTRICITY"] - catalog["ECCENTRICITY"]).abs().median() < 1e-4
    # The launch of 1999-025 is the largest family of the catalog.
    largest = launch_of(joined).value_counts(sort=True).row(0)
    assert largest == ("1999-025", 2_524)
