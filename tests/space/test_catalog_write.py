"""Writing element sets and reading them back. All sets here are synthetic; the real ones are read where they are."""

from __future__ import annotations

import gzip
import json
import math
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from sgp4.api import Satrec

from ddcl_tab.errors import CatalogError, ConfigurationError
from ddcl_tab.space._gp import read_gp
from ddcl_tab.space._schema import ELSET_COLUMNS, polars_schema
from ddcl_tab.space._write import write_gp

ROW = {
    "NORAD_CAT_ID": 100001,
    "OBJECT_NAME": "SYNTHETIC DEB",
    "OBJECT_ID": "2031-007C",
    "CLASSIFICATION_TYPE": "U",
    "EPOCH": datetime(2031, 4, 10, 12, tzinfo=UTC),
    "MEAN_MOTION": 14.3,
    "ECCENTRICITY": 0.001,
    "INCLINATION": 98.6,
    "RA_OF_ASC_NODE": 10.0,
    "ARG_OF_PERICENTER": 20.0,
    "MEAN_ANOMALY": 30.0,
    "BSTAR": 1.2345e-4,
    "MEAN_MOTION_DOT": 1.23e-6,
    "MEAN_MOTION_DDOT": 0.0,
    "EPHEMERIS_TYPE": 0,
    "ELEMENT_SET_NO": 999,
    "REV_AT_EPOCH": 1,
}


def frame_of(*rows):
    return pl.DataFrame(list(rows) or [ROW], schema=polars_schema(ELSET_COLUMNS))


ANGLE, SMALL = st.floats(0, 360, exclude_max=True), st.floats(-10, 10)
NAME = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=24).map(str.strip).map(lambda n: n or None)
EPOCH = st.datetimes(datetime(1957, 1, 1), datetime(2999, 12, 31)).map(lambda t: t.replace(tzinfo=UTC))
SETS = st.fixed_dictionaries(
    {
        "NORAD_CAT_ID": st.integers(1, 999_999_999),
        "OBJECT_NAME": NAME,
        "OBJECT_ID": st.none() | st.from_regex(r"[0-9]{4}-[0-9]{3}[A-Z]{0,3}", fullmatch=True),
        "CLASSIFICATION_TYPE": st.sampled_from([None, "U", "C", "S"]),
        "EPOCH": EPOCH,
        "MEAN_MOTION": st.floats(0, 1e300, exclude_min=True),
        "ECCENTRICITY": st.floats(0, 1, exclude_max=True),
        "INCLINATION": st.floats(0, 180),
        "RA_OF_ASC_NODE": ANGLE,
        "ARG_OF_PERICENTER": ANGLE,
        "MEAN_ANOMALY": ANGLE,
        "BSTAR": st.none() | SMALL,
        "MEAN_MOTION_DOT": st.none() | SMALL,
        "MEAN_MOTION_DDOT": st.none() | SMALL,
        "EPHEMERIS_TYPE": st.none() | st.integers(0, 9),
        "ELEMENT_SET_NO": st.none() | st.integers(0, 999_999_999),
        "REV_AT_EPOCH": st.none() | st.integers(0, 999_999_999),
    }
)


@settings(deadline=None, max_examples=40)
@given(rows=st.lists(SETS, min_size=1, max_size=4), name=st.sampled_from(["a.json", "a.csv", "a.json.gz", "a.csv.gz"]))
def test_omm_keeps_every_value(tmp_path_factory, rows, name):
    path = tmp_path_factory.mktemp("omm") / name
    frame = frame_of(*rows)
    write_gp(frame, path)
    assert_frame_equal(read_gp(path), frame, check_exact=True)


@settings(deadline=None, max_examples=40)
@given(rows=st.lists(SETS, min_size=1, max_size=3), pandas=st.booleans())
def test_pandas_and_polars_write_the_same(tmp_path_factory, rows, pandas):
    folder = tmp_path_factory.mktemp("pandas")
    frame = frame_of(*rows)
    # Columns with gaps are floats in pandas.
    write_gp(frame.to_pandas() if pandas else frame.select(sorted(frame.columns)), folder / "a.csv")
    write_gp(frame, folder / "b.csv")
    assert (folder / "a.csv").read_bytes() == (folder / "b.csv").read_bytes()


def test_what_rounds_to_a_whole_turn_is_written_as_zero(tmp_path):
    path = tmp_path / "a.tle"
    write_gp(frame_of({**ROW, "RA_OF_ASC_NODE": 359.99996, "MEAN_ANOMALY": 359.9999, "ARG_OF_PERICENTER": -1e-9}), path)
    assert path.read_text().split("\n")[2][17:51] == "  0.0000 0010000   0.0000 359.9999"


TLE_SETS = st.fixed_dictionaries(
    {
        "NORAD_CAT_ID": st.integers(1, 339_999),
        "OBJECT_NAME": NAME,
        "OBJECT_ID": st.none()
        | st.tuples(st.integers(1957, 2056), st.integers(0, 999), st.sampled_from(["", "A", "ZZ", "ABC"])).map(
            lambda t: f"{t[0]}-{t[1]:03d}{t[2]}"
        ),
        "CLASSIFICATION_TYPE": st.sampled_from([None, "U", "C", "S"]),
        "EPOCH": st.tuples(st.integers(1957, 2056), st.integers(0, 365 * 10**8 - 1)).map(
            lambda t: datetime(t[0], 1, 1, tzinfo=UTC) + timedelta(microseconds=864 * t[1])
        ),
        "MEAN_MOTION": st.integers(1, 10**10 - 1).map(lambda n: float(f"{n}e-8")),
        "ECCENTRICITY": st.integers(0, 10**7 - 1).map(lambda n: float(f"{n}e-7")),
        "INCLINATION": st.integers(0, 180 * 10**4).map(lambda n: float(f"{n}e-4")),
        **{
            name: st.integers(0, 360 * 10**4 - 1).map(lambda n: float(f"{n}e-4"))
            for name in ("RA_OF_ASC_NODE", "ARG_OF_PERICENTER", "MEAN_ANOMALY")
        },
        **{
            name: st.tuples(st.integers(-99999, 99999), st.integers(-14, 3)).map(lambda t: float(f"{t[0]}e{t[1]}"))
            for name in ("BSTAR", "MEAN_MOTION_DDOT")
        },
        "MEAN_MOTION_DOT": st.integers(1 - 10**8, 10**8 - 1).map(lambda n: float(f"{n}e-8")),
        "EPHEMERIS_TYPE": st.none() | st.integers(0, 9),
        "ELEMENT_SET_NO": st.none() | st.integers(0, 9999),
        "REV_AT_EPOCH": st.none() | st.integers(0, 99999),
    }
)


@settings(deadline=None, max_examples=40)
@given(rows=st.lists(TLE_SETS, min_size=1, max_size=4))
def test_two_line_sets_keep_what_has_their_digits(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("tle") / "a.tle"
    frame = frame_of(*rows)
    write_gp(frame, path)
    assert_frame_equal(read_gp(path), frame, check_exact=True)


@settings(deadline=None, max_examples=40)
@given(rows=st.lists(SETS, min_size=1, max_size=4))
def test_two_line_sets_round_or_refuse(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("tle") / "a.tle"
    frame = frame_of(*rows)
    try:
        write_gp(frame, path)
    except CatalogError:
        assert not path.exists()
        return
    for row, back in zip(rows, read_gp(path).to_dicts(), strict=True):
        for name, digits in (("MEAN_MOTION", 8), ("ECCENTRICITY", 7), ("INCLINATION", 4)):
            assert back[name] == pytest.approx(row[name], abs=0.51 * 10**-digits)
        # What rounds to a whole turn is 0.
        assert abs((back["MEAN_ANOMALY"] - row["MEAN_ANOMALY"] + 180) % 360 - 180) < 0.51e-4
        assert 0 <= back["MEAN_ANOMALY"] < 360
        assert back["BSTAR"] == pytest.approx(row["BSTAR"], rel=0.5e-4, abs=0.51e-14)
        assert abs(back["EPOCH"] - row["EPOCH"]) <= timedelta(microseconds=432)


@pytest.mark.parametrize(
    ("epoch", "written", "back"),
    [
        (datetime(2031, 12, 31, 23, 59, 59, 999_999), "32001.00000000", datetime(2032, 1, 1)),
        (datetime(2032, 12, 31, 23, 59, 59), "32366.99998843", datetime(2032, 12, 31, 23, 59, 59, 352)),
        (datetime(2056, 12, 31), "56366.00000000", datetime(2056, 12, 31)),
        (datetime(1957, 1, 1), "57001.00000000", datetime(1957, 1, 1)),
    ],
)
def test_epochs_at_the_ends_of_years(tmp_path, epoch, written, back):
    path = tmp_path / "a.tle"
    write_gp(frame_of({**ROW, "EPOCH": epoch.replace(tzinfo=UTC)}), path)
    assert path.read_text().split("\n")[1][18:32] == written
    assert read_gp(path)["EPOCH"].to_list() == [back.replace(tzinfo=UTC)]


REFUSED = {
    "NORAD_CAT_ID": (340_000, r"catalog numbers up to 339999 \(alpha-5\)"),
    "OBJECT_NAME": ("x" * 101, "names of at most 100 characters"),
    "OBJECT_ID": ("2057-001A", "launch years 1957 to 2056"),
    "EPOCH": (datetime(2056, 12, 31, 23, 59, 59, 999_999, UTC), "epochs from 1957 to 2056"),
    "MEAN_MOTION": (100.0, "MEAN_MOTION from 0.00000001 to 99.99999999 rev/day"),
    "ECCENTRICITY": (0.99999999, "ECCENTRICITY up to 0.9999999"),
    "MEAN_MOTION_DOT": (-1.0, "MEAN_MOTION_DOT below 1"),
    "MEAN_MOTION_DDOT": (None, "a value for MEAN_MOTION_DDOT, which is missing"),
    "BSTAR": (1e9, "BSTAR below 0.99999e9"),
    "REV_AT_EPOCH": (100_000, "REV_AT_EPOCH up to 99999"),
    "ELEMENT_SET_NO": (10_000, "ELEMENT_SET_NO up to 9999"),
}


@pytest.mark.parametrize("column", REFUSED)
def test_two_line_sets_refuse_what_they_cannot_carry(tmp_path, column):
    value, rule = REFUSED[column]
    path = tmp_path / "a.tle"
    with pytest.raises(CatalogError, match=f"a two-line set holds {rule}.*Write OMM instead") as caught:
        write_gp(frame_of(ROW, {**ROW, column: value}), path)
    assert (caught.value.file, caught.value.line, caught.value.column) == (str(path), 2, column)
    assert not path.exists()
    write_gp(frame_of(ROW, {**ROW, column: value}), path.with_suffix(".json"))


@pytest.mark.parametrize("number", [9999, 99_999, 100_000, 179_999, 180_000, 229_999, 230_000, 339_999])
def test_python_sgp4_reads_what_is_written(tmp_path, number):
    path = tmp_path / "a.tle"
    write_gp(frame_of({**ROW, "NORAD_CAT_ID": number, "MEAN_MOTION_DOT": -1.23e-6}), path)
    _, line_1, line_2 = path.read_text().splitlines()
    satellite = Satrec.twoline2rv(line_1, line_2)
    assert (satellite.satnum, satellite.intldesg) == (number, "31007C")
    assert satellite.bstar == pytest.approx(1.2345e-4, rel=1e-15)
    assert math.degrees(satellite.inclo) == pytest.approx(98.6, rel=1e-14)


def test_a_broken_frame_is_refused(tmp_path):
    path = tmp_path / "a.json"
    cases = [
        (pl.DataFrame({"A": [1]}), "the frame lacks NORAD_CAT_ID, EPOCH"),
        (frame_of().clear(), "a file holds at least one element set"),
        (frame_of().with_columns(pl.lit("x").alias("EPOCH")), "EPOCH is a datetime"),
        (frame_of({**ROW, "INCLINATION": 181.0}), "line 1, column INCLINATION: value '181.0' breaks the rule"),
        (frame_of({**ROW, "MEAN_MOTION": math.nan}), "MEAN_MOTION is given in each message"),
        (frame_of({**ROW, "BSTAR": math.inf}), "BSTAR is a finite number"),
        (frame_of({**ROW, "OBJECT_NAME": "A\nB"}), "OBJECT_NAME has no control characters"),
        (frame_of().with_columns(REV_AT_EPOCH=pl.lit(1.5)), "value '1.5' breaks the rule: REV_AT_EPOCH is a whole"),
    ]
    for frame, message in cases:
        with pytest.raises(CatalogError, match=message):
            write_gp(frame, path)
    assert not path.exists()
    with pytest.raises(CatalogError, match="the file cannot be written"):
        write_gp(frame_of(), tmp_path / "no folder" / "a.json")


@pytest.mark.parametrize(("name", "form"), [("a.xml", None), ("a", None), ("a.json", "kvn"), ("a.parquet.gz", None)])
def test_an_unknown_form_is_refused(tmp_path, name, form):
    with pytest.raises(ConfigurationError, match="form is 'json', 'csv', 'tle' or 'parquet'"):
        write_gp(frame_of(), tmp_path / name, form=form)


def test_other_time_zones_and_resolutions(tmp_path):
    path = tmp_path / "a.json"
    for epoch in (
        pl.col("EPOCH").dt.replace_time_zone(None),
        pl.col("EPOCH").dt.convert_time_zone("Asia/Tokyo"),
        pl.col("EPOCH").dt.cast_time_unit("ns"),
    ):
        write_gp(frame_of().with_columns(epoch), path)
        assert_frame_equal(read_gp(path), frame_of())


def test_json_looks_like_celestraks(tmp_path):
    path = tmp_path / "a.json"
    write_gp(frame_of(), path)
    record = json.loads(path.read_text())[0]
    assert list(record)[:4] == ["OBJECT_NAME", "OBJECT_ID", "EPOCH", "MEAN_MOTION"]
    assert record["EPOCH"] == "2031-04-10T12:00:00.000000"


@pytest.mark.parametrize("name", ["elsets/spacetrack_3le_2025-03-15.txt.gz", "clouds/fengyun-1c_1999-025_2021-10.tle"])
def test_real_sets_come_back(shared_data, tmp_path, name):
    frame = read_gp(shared_data / name)
    for form in ("a.tle", "a.json.gz", "a.csv"):
        write_gp(frame, tmp_path / form)
        assert_frame_equal(read_gp(tmp_path / form), frame, check_exact=True)
    data = (shared_data / name).read_bytes()
    text = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
    theirs = [line.rstrip() for line in text.splitlines() if line[:2] in ("1 ", "2 ")]
    ours = [line for line in (tmp_path / "a.tle").read_text().splitlines() if line[:2] in ("1 ", "2 ")]
    # The rest differ in optional plus signs, zeros in front, and the sign of a zero exponent.
    assert sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(ours) > 0.95
