"""Lazy frames of large catalogs. All rows are synthetic or random; the real ones are read in place where they are."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ddcl_tab.errors import CatalogError
from ddcl_tab.space import _scan as scan_module
from ddcl_tab.space import _text as text_module
from ddcl_tab.space._elements import perigee_altitude, period_from_mean_motion, semi_major_axis_from_period
from ddcl_tab.space._gp import read_gp
from ddcl_tab.space._join import add_orbit_shape
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.space._scan import csv_batches, scan_gp, scan_satcat
from ddcl_tab.space._schema import ELSET_COLUMNS, SATCAT_COLUMNS, polars_schema
from ddcl_tab.space._write import write_gp

ROW = {
    "NORAD_CAT_ID": 799500123,
    "OBJECT_NAME": "SYNTHETIC, 1",
    "EPOCH": datetime(2031, 4, 10, 12, tzinfo=UTC),
    "MEAN_MOTION": 14.3,
    "ECCENTRICITY": 0.001,
    "INCLINATION": 98.6,
    "RA_OF_ASC_NODE": 10.0,
    "ARG_OF_PERICENTER": 20.0,
    "MEAN_ANOMALY": 30.0,
}


def sets(n=7):
    rows = [{**ROW, "NORAD_CAT_ID": 90001 + i, "INCLINATION": 10.0 * i} for i in range(n)]
    return pl.DataFrame(rows, schema=polars_schema(ELSET_COLUMNS))


@pytest.fixture(params=["gp.parquet", "gp.csv", "gp.csv.gz", "gp.json", "gp.tle", "zipped.dat"])
def path(request, tmp_path):
    path = tmp_path / request.param
    # Two-line sets need drag terms.
    drag = [pl.lit(0.0).alias(name) for name in ("BSTAR", "MEAN_MOTION_DOT", "MEAN_MOTION_DDOT")]
    if path.name == "zipped.dat":
        write_gp(sets().with_columns(drag), tmp_path / "a.csv")
        path.write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    else:
        write_gp(sets().with_columns(drag), path)
    return path


def test_queries_give_what_they_give_on_the_whole_frame(path, monkeypatch):
    monkeypatch.setattr(scan_module, "BATCH_ROWS", 3)
    lazy, whole = scan_gp(path), scan_gp(path).collect()
    assert whole.schema == polars_schema(ELSET_COLUMNS)
    assert_frame_equal(whole.select("NORAD_CAT_ID", "INCLINATION"), sets().select("NORAD_CAT_ID", "INCLINATION"))
    high = pl.col("INCLINATION") > 25
    for query in (
        lambda f: f.select(pl.len()),
        lambda f: f.filter(high).select("NORAD_CAT_ID"),
        lambda f: f.head(4).filter(high),
        lambda f: f.filter(high).head(2),
        lambda f: f.select("EPOCH", "BSTAR"),
        lambda f: f.group_by("EPOCH").agg(pl.col("INCLINATION").mean()),
        lambda f: add_orbit_shape(f).select("APOGEE"),
    ):
        for engine in ("in-memory", "streaming"):
            assert_frame_equal(query(lazy).collect(engine=engine), query(whole))


def test_large_files_come_in_batches(tmp_path, monkeypatch):
    write_gp(sets(), tmp_path / "gp.parquet")
    monkeypatch.setattr(scan_module, "BATCH_ROWS", 3)
    heights = []
    checked = scan_module._checked
    monkeypatch.setattr(scan_module, "_checked", lambda *a: heights.append(a[0].num_rows) or checked(*a))
    assert scan_gp(tmp_path / "gp.parquet").collect().height == 7
    assert heights == [3, 3, 1]


@pytest.mark.parametrize("form", ["gp.parquet", "gp.csv"])
def test_a_broken_row_is_an_error_when_it_is_reached(tmp_path, monkeypatch, form):
    monkeypatch.setattr(scan_module, "BATCH_ROWS", 3)
    broken = sets().with_columns(INCLINATION=pl.Series([0.0] * 5 + [181.0, 0.0]))
    path = tmp_path / form
    if form == "gp.parquet":
        broken.write_parquet(path)
    else:
        broken.with_columns(pl.col("EPOCH").dt.strftime("%FT%T")).write_csv(path)
    lazy = scan_gp(path)
    with pytest.raises(CatalogError, match=r"INCLINATION is in \[0, 180\] deg") as caught:
        lazy.collect()
    line = 6 if form == "gp.parquet" else 7  # a CSV has a header
    assert (caught.value.file, caught.value.line, caught.value.value) == (str(path), line, "181.0")
    with pytest.raises(CatalogError, match="INCLINATION is in"):
        lazy.sink_parquet(tmp_path / "out.parquet")


def test_parquet_of_other_types(tmp_path):
    frame = sets(2)
    other = frame.with_columns(
        pl.col("NORAD_CAT_ID").cast(pl.Int32),
        pl.col("EPOCH").dt.cast_time_unit("ns").dt.convert_time_zone("Asia/Tokyo"),
        pl.lit(float("nan")).alias("BSTAR"),
    ).drop("OBJECT_ID", "REV_AT_EPOCH")
    other.select(sorted(other.columns)).write_parquet(tmp_path / "a.parquet")
    assert_frame_equal(scan_gp(tmp_path / "a.parquet").collect(), frame)


def test_angles_of_parquet_are_those_of_read_gp(tmp_path):
    frame = sets(4).with_columns(RA_OF_ASC_NODE=pl.Series([-12.5, -1e-20, 360.0, 359.9]))
    frame.write_parquet(tmp_path / "foreign.parquet")
    assert scan_gp(tmp_path / "foreign.parquet").collect()["RA_OF_ASC_NODE"].to_list() == [347.5, 0.0, 0.0, 359.9]
    for name in ("a.parquet", "a.csv"):
        write_gp(frame, tmp_path / name)
        assert_frame_equal(
            scan_gp(tmp_path / name).collect(), scan_gp(tmp_path / "foreign.parquet").collect(), check_exact=True
        )
    frame.with_columns(MEAN_ANOMALY=pl.lit(-361.0)).write_parquet(tmp_path / "wrong.parquet")
    with pytest.raises(CatalogError, match=r"value '-361.0' breaks the rule: MEAN_ANOMALY is in \[-360, 360\] deg"):
        scan_gp(tmp_path / "wrong.parquet").collect()


def damaged(frame: pl.DataFrame, path: Path) -> None:
    frame.write_parquet(path)
    data = bytearray(path.read_bytes())
    path.write_bytes(data[: len(data) // 2])


WRONG = {
    "no column": (lambda f, p: f.drop("EPOCH", "INCLINATION").write_parquet(p), "the Parquet file lacks EPOCH, INCLIN"),
    "cut": (damaged, "the Parquet file is damaged or cut off"),
    "text": (lambda f, p: f.with_columns(INCLINATION=pl.lit("x")).write_parquet(p), "the columns have the types of"),
    "null": (lambda f, p: f.with_columns(EPOCH=pl.lit(None, pl.Datetime)).write_parquet(p), "line 1, .*EPOCH is given"),
    "CSV short row": (lambda f, p: p.write_text("A,B,EPOCH\n1\n"), "the GP file lacks NORAD_CAT_ID, MEAN_MOTION"),
    "absent": (lambda f, p: None, "the file does not exist"),
    "prose": (lambda f, p: p.write_text("hello"), "two- or three-line element sets"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_an_error_that_names_it(tmp_path, case):
    make, message = WRONG[case]
    path = tmp_path / "a.dat"
    make(sets(2), path)
    with pytest.raises(CatalogError, match=message) as caught:
        scan_gp(path).collect()
    assert str(path) in str(caught.value)


def test_a_cut_csv(tmp_path):
    path = tmp_path / "gp.csv"
    write_gp(sets(), path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CatalogError, match="the CSV is damaged or cut off"):
        scan_gp(path).collect()
    write_gp(sets(), tmp_path / "gp.csv.gz")
    path.write_bytes((tmp_path / "gp.csv.gz").read_bytes()[:-12])
    with pytest.raises(CatalogError):
        scan_gp(path).collect()


VALUES = {
    "NORAD_CAT_ID": st.integers(1, 10**9).map(str),
    "EPOCH": st.datetimes(datetime(1957, 1, 1), datetime(2999, 1, 1)).map(datetime.isoformat),
    "MEAN_MOTION": st.floats(0.1, 17).map(repr),
    "ECCENTRICITY": st.floats(0, 0.99).map(repr),
    "INCLINATION": st.floats(0, 180).map(repr),
    "RA_OF_ASC_NODE": st.floats(0, 360).map(repr),
    "ARG_OF_PERICENTER": st.just(" 20 "),
    "MEAN_ANOMALY": st.just("30"),
    "OBJECT_NAME": st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=6)
    | st.sampled_from(["MADE\nUP", "MADE\r\nUP", 'MADE "UP"', "SYNTHETIC, 1", "\u2028\x85", ""]),
    "BSTAR": st.sampled_from(["", "1e-4", "-.5E-3"]),
    "PERIOD": st.sampled_from(["", "90", "a,b", "\n"]),
}
SATCAT_VALUES = {
    "NORAD_CAT_ID": st.integers(1, 9).map(str),
    "OBJECT_ID": st.sampled_from(["2031-007C", ""]),
    "OBJECT_NAME": VALUES["OBJECT_NAME"],
    "OBJECT_TYPE": st.sampled_from(["DEB", "PAYLOAD", ""]),
    **dict.fromkeys(("COUNTRY", "LAUNCH", "SITE", "DECAY", "PERIOD", "INCLINATION"), st.just("")),
    "APOGEE": st.just("830"),
    "PERIGEE": st.just("760"),
}
BLANK = st.sampled_from(["", "", "", "\n", "\r\n", "\r", " \t\n", "\n\n"])


@st.composite
def files(draw, values):
    """Bytes of a CSV as people have them: any order, blank lines, line ends and encodings; some rows are wrong."""
    names = draw(st.permutations(list(values)))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    rows = [names, *([draw(values[name]) for name in names] for _ in range(draw(st.integers(0, 6))))]
    if len(rows) > 1 and draw(st.booleans()):
        row = rows[draw(st.integers(1, len(rows) - 1))]
        place = draw(st.integers(0, len(row) - 1))
        row[place : place + 1] = draw(st.sampled_from([["-1"], ["x"], [""], ["\0"], [], ["1", "2"]]))
    parts = [draw(BLANK)]
    for row in rows:
        file = io.StringIO(newline="")
        csv.writer(file, quoting=quoting, lineterminator=end).writerow(row)
        parts += [file.getvalue(), draw(BLANK)]
    text = "".join(parts) + draw(st.sampled_from(["", "", "", '"open', "1,2"]))
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])))
    content += draw(st.sampled_from([b"", b"", b"", b"\xff"]))
    return gzip.compress(content) if draw(st.booleans()) else content


def outcome(read, path):
    """The frame, or all that an error says."""
    try:
        return read(path)
    except CatalogError as error:
        return str(error), error.line, error.column, error.value


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(content=files(VALUES), batch=st.integers(1, 4), chunk=st.integers(1, 200))
def test_a_scan_gives_the_rows_and_the_errors_of_reading(tmp_path_factory, content, batch, chunk):
    path = tmp_path_factory.getbasetemp() / "both.csv"
    path.write_bytes(content)
    # Small pieces put line ends, quotes and characters on their borders.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan_module, "BATCH_ROWS", batch)
        patch.setattr(text_module, "_CHUNK_BYTES", chunk)
        patch.setattr(text_module, "_HEAD_BYTES", 8)
        read = outcome(read_gp, path)
        scanned = [outcome(lambda p: scan_gp(p).collect(), path)]
        scanned.append(outcome(lambda p: pl.concat(csv_batches(p, batch)), path))
    for other in scanned:
        assert type(other) is type(read)
        if isinstance(read, pl.DataFrame):
            assert_frame_equal(other, read)
        else:
            assert other == read


@settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck))
@given(content=files(SATCAT_VALUES))
def test_a_scan_of_a_satcat_gives_the_rows_and_the_errors_of_reading(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "satcat.csv"
    path.write_bytes(content)
    read, scanned = outcome(read_satcat, path), outcome(lambda p: scan_satcat(p).collect(), path)
    assert scanned.equals(read) if isinstance(read, pl.DataFrame) else scanned == read


def test_blank_lines_do_not_shift_a_scan(tmp_path):
    path = tmp_path / "gp.csv"
    write_gp(sets(), path)
    header, *rows = path.read_text().splitlines()
    path.write_text("\n" + header + "\n\n" + "\n \n".join(rows))
    assert_frame_equal(scan_gp(path).collect(), sets())
    path.write_text(path.read_text().replace("90003", "-3"))
    with pytest.raises(CatalogError, match="NORAD_CAT_ID") as caught:
        scan_gp(path).collect()
    assert (caught.value.line, caught.value.value) == (8, "-3")


def test_a_scan_counts_the_wrong_lines_of_all_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(scan_module, "BATCH_ROWS", 2)
    path = tmp_path / "gp.csv"
    write_gp(sets(), path)
    path.write_text(path.read_text().replace("9000", "x"))
    with pytest.raises(CatalogError, match=r"line 2, .*read_gp\(\.\.\., on_error='collect'\).* 6 more lines have"):
        scan_gp(path).collect()


def test_satcat(tmp_path, synthetic):
    synthetic.write_parquet(tmp_path / "satcat.parquet")
    lazy = scan_satcat(tmp_path / "satcat.parquet")
    assert_frame_equal(lazy.collect(), synthetic)
    debris = pl.col("OBJECT_TYPE") == "DEBRIS"
    assert lazy.filter(debris).select(pl.len()).collect().item() == synthetic.filter(debris).height
    wrong = synthetic.with_columns(OBJECT_TYPE=pl.lit("TEAPOT"))
    wrong.write_parquet(tmp_path / "wrong.parquet")
    with pytest.raises(CatalogError, match="value 'TEAPOT' breaks the rule: OBJECT_TYPE is one of"):
        scan_satcat(tmp_path / "wrong.parquet").collect()
    assert lazy.collect_schema() == polars_schema(SATCAT_COLUMNS)


def test_satcat_of_another_form_is_read_whole():
    path = Path(__file__).parents[2] / "data" / "synthetic_satcat.csv.gz"
    assert_frame_equal(scan_satcat(path).collect(), read_satcat(path))


def test_orbit_shape_is_that_of_the_orbit_functions():
    rng = np.random.default_rng(0)
    motion, eccentricity = rng.uniform(0.1, 17, 100), rng.uniform(0, 0.9, 100)
    frame = add_orbit_shape(pl.DataFrame({"MEAN_MOTION": motion, "ECCENTRICITY": eccentricity}))
    axis = semi_major_axis_from_period(period_from_mean_motion(motion))
    np.testing.assert_allclose(frame["SEMIMAJOR_AXIS"], axis, rtol=1e-14)
    np.testing.assert_allclose(frame["PERIGEE"], perigee_altitude(axis, eccentricity), rtol=1e-10)


def test_real_sets(shared_data, tmp_path):
    frame = read_gp(shared_data / "elsets" / "spacetrack_3le_2025-03-15.txt.gz")
    for name in ("gp.parquet", "gp.csv"):
        write_gp(frame, tmp_path / name)
        assert_frame_equal(scan_gp(tmp_path / name).collect(), frame, check_exact=True)


def test_memory_stays_small(tmp_path):
    """Small form of pipelines/stream_check.py: 300,000 sets are 50 MB as a frame; the limit of 10 million is 2 GB."""
    script = Path(__file__).parents[2] / "pipelines" / "stream_check.py"
    command = [sys.executable, str(script), str(tmp_path), "--rows", "300000", "--folder", str(tmp_path), "--step"]
    peaks = {}
    for step in ("make", "features"):
        done = subprocess.run([*command, step], check=True, capture_output=True, text=True)
        peaks[step] = json.loads(done.stdout)["peak_gb"]
    assert max(peaks.values()) < 1.0  # 0.35 where it was written, most of it the libraries
    features = pl.read_parquet(tmp_path / "features.parquet")
    assert features.height == 300_000
    assert {"ECCENTRICITY", "INCLINATION", "BSTAR", "PERIOD", "SEMIMAJOR_AXIS", "APOGEE", "PERIGEE"} <= set(
        features.columns
    )
