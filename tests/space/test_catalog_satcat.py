"""Reading SATCAT files. All rows here are synthetic; the real catalogs are read in place where they are."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import time
from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ddcl_tab.errors import CatalogError, CatalogWarning, ConfigurationError
from ddcl_tab.space._join import launch_of
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.space._scan import scan_satcat
from ddcl_tab.space._schema import SATCAT_COLUMNS, polars_schema
from tests.conftest import other_bytes

CELESTRAK = (
    "OBJECT_NAME,OBJECT_ID,NORAD_CAT_ID,OBJECT_TYPE,OPS_STATUS_CODE,OWNER,LAUNCH_DATE,LAUNCH_SITE,DECAY_DATE,PERIOD,"
    "INCLINATION,APOGEE,PERIGEE,RCS,DATA_STATUS_CODE,ORBIT_CENTER,ORBIT_TYPE"
)


def record(**changes: object) -> dict[str, object]:
    """One synthetic Space-Track record; every value a string or null."""
    return {
        "INTLDES": "2031-007C",
        "NORAD_CAT_ID": "90001",
        "OBJECT_TYPE": "DEBRIS",
        "SATNAME": "SYNTHETIC DEB",
        "COUNTRY": "XX",
        "LAUNCH": "2031-02-03",
        "SITE": "YY",
        "DECAY": None,
        "PERIOD": "100.20",
        "INCLINATION": "98.61",
        "APOGEE": "830",
        "PERIGEE": "760",
        "COMMENT": None,
        "COMMENTCODE": None,
        "RCSVALUE": "0",
        "RCS_SIZE": "SMALL",
        "FILE": "1",
        "OBJECT_NAME": "SYNTHETIC DEB",
        "OBJECT_ID": "2031-007C",
        "OBJECT_NUMBER": "90001",
    } | changes


def numbered(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{**row, "NORAD_CAT_ID": str(90001 + i)} for i, row in enumerate(rows)]


def as_csv(rows: list[dict[str, object]], **options: object) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), **options)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def save(tmp_path, content, name="synthetic.dat"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_all_forms_of_one_catalog_give_the_same_frame(tmp_path):
    rows = numbered([record(), record(OBJECT_TYPE="PAYLOAD", RCS_SIZE="LARGE", COMMENT="SYNTHETIC, WITH COMMA")])
    text, table = json.dumps(rows), as_csv(rows)
    expected = read_satcat(save(tmp_path, text))
    forms = {
        "pretty JSON": json.dumps(rows, indent=1),
        "BOM": b"\xef\xbb\xbf" + text.encode(),
        "leading blank lines": "\n\n" + text,
        "gzip": gzip.compress(text.encode()),
        "CSV": table,
        "CSV with BOM": b"\xef\xbb\xbf" + table.encode(),
        "CSV with LF": table.replace("\r\n", "\n"),
        "quoted CSV": as_csv(rows, quoting=csv.QUOTE_ALL),
        "gzip CSV": gzip.compress(table.encode()),
        "reversed columns": as_csv([dict(reversed(row.items())) for row in rows]),
        "two BOMs": b"\xef\xbb\xbf\xef\xbb\xbf" + table.encode(),
        "columns in small letters": as_csv([{name.lower(): value for name, value in row.items()} for row in rows]),
        "keys in small letters": json.dumps([{name.lower(): value for name, value in row.items()} for row in rows]),
        "numbers with a plus": as_csv([row | {"NORAD_CAT_ID": f"+{row['NORAD_CAT_ID']}"} for row in rows]),
        "trailing blank lines": table + "\r\n \r\n",
    }
    for form, content in forms.items():
        assert_frame_equal(read_satcat(save(tmp_path, content, form)), expected)
    assert expected.schema == polars_schema(SATCAT_COLUMNS)


@pytest.mark.parametrize("form", ["CSV", "JSON"])
def test_every_encoding_and_line_end_gives_the_same_rows_and_places(tmp_path, form):
    rows = numbered([record(), record(OBJECT_NAME="NÉ “Ω” 🛰"), record(PERIOD="-1")])
    text = as_csv(rows, lineterminator="\n") if form == "CSV" else json.dumps(rows, indent=1, ensure_ascii=False)
    expected = read_satcat(save(tmp_path, text), on_error="collect")
    assert (expected[0].height, expected[0]["OBJECT_NAME"][1]) == (2, "NÉ “Ω” 🛰")
    for name, content in other_bytes(text).items():
        path = save(tmp_path, content)
        good, bad = read_satcat(path, on_error="collect")
        assert_frame_equal(good, expected[0])
        shift = 3 if form == "CSV" and name == "blank lines first" else 0
        assert_frame_equal(bad, expected[1].with_columns(pl.col("line") + shift)), name


def test_a_name_in_other_letters_stands_aside_for_the_same_name_in_capitals(tmp_path):
    rows = numbered([record(), record()])
    expected = read_satcat(save(tmp_path, json.dumps(rows)))
    both = [row | {"period": "junk"} for row in rows]
    for content in (json.dumps(both), as_csv(both)):
        assert_frame_equal(read_satcat(save(tmp_path, content)), expected)


def test_only_line_feeds_and_returns_end_a_line(tmp_path):
    # What str.splitlines takes for line ends, in names.
    rows = numbered([record(OBJECT_NAME=f"MADE{mark}UP") for mark in "\v\f\x1c\x1d\x1e\x85\u2028\u2029"])
    for text in (as_csv(rows), json.dumps(rows)):
        frame = read_satcat(save(tmp_path, text))
        assert frame["OBJECT_NAME"].to_list() == [row["OBJECT_NAME"] for row in rows]


def test_a_satcat_without_the_column_of_designators(tmp_path):
    rows = numbered([record(), record(LAUNCH=None)])
    bare = [{k: v for k, v in row.items() if k not in ("OBJECT_ID", "INTLDES")} for row in rows]
    for text in (json.dumps(bare), as_csv(bare)):
        path = save(tmp_path, text)
        with pytest.warns(CatalogWarning, match="no column OBJECT_ID, .* no split by launch keeps siblings") as caught:
            frame = read_satcat(path)
        assert len(caught) == 1
        assert str(path) in str(caught[0].message)
        assert frame.schema == polars_schema(SATCAT_COLUMNS)
        assert frame["OBJECT_ID"].to_list() == [None, None]
        assert frame["LAUNCH_YEAR"].to_list() == [2031, None]
        assert launch_of(frame).to_list() == ["NORAD 90001", "NORAD 90002"]
        with pytest.warns(CatalogWarning, match="no split by launch"):
            assert_frame_equal(scan_satcat(path).collect(), frame)
    misspelt = as_csv([{"OBJECTID": "2031-007C", **row} for row in bare])
    with pytest.warns(CatalogWarning, match=r"Did you mean OBJECTID\?"):
        read_satcat(save(tmp_path, misspelt))


def test_designators_may_be_empty_in_some_rows(tmp_path):
    rows = numbered([record(), record(OBJECT_ID=""), record(OBJECT_ID=None), record(OBJECT_ID="2031-007D")])
    frame = read_satcat(save(tmp_path, json.dumps(rows)))
    assert frame["OBJECT_ID"].to_list() == ["2031-007C", None, None, "2031-007D"]
    assert launch_of(frame).to_list() == ["2031-007", "NORAD 90002", "NORAD 90003", "2031-007"]


def test_values_of_a_space_track_record(tmp_path):
    row = read_satcat(save(tmp_path, json.dumps([record()]))).row(0, named=True)
    assert row["NORAD_CAT_ID"] == 90001
    assert row["LAUNCH"] == date(2031, 2, 3)
    assert row["LAUNCH_YEAR"] == 2031
    assert row["SEMIMAJOR_AXIS"] == pytest.approx(6378.135 + 795)
    # (830 - 760) / (2 * 6378.135 + 830 + 760)
    assert row["ECCENTRICITY"] == pytest.approx(70 / 14346.27, rel=1e-14)
    assert row["RCS"] is None
    assert row["OPS_STATUS_CODE"] is None


def test_values_of_celestrak_rows(tmp_path):
    rows = [
        "SYNTHETIC A,2031-007A,90001,PAY,+,XX,2031-02-03,YY,,100.2,98.61,830,760,4.5,,EA,ORB",
        "SYNTHETIC R/B,2031-007B,90002,R/B,,XX,2031-02-03T01:02:03,YY,2033-01-01,100.2,98.61,830,760,1.0,,EA,IMP",
        "SYNTHETIC DEB,2031-007C,90003,DEB,,XX,2031-02-03,YY,,100.2,98.61,830,760,0.1,,,ORB",
        "SYNTHETIC D,2031-007D,90004,UNK,,XX,2031-02-03,YY,,100.2,98.61,830,760,0.0999,NCE,90001,DOC",
        "SYNTHETIC E,2031-007E,90005,,,XX,2031-02-03,YY,,700.1,12.5,900,400,,,MO,ORB",
    ]
    frame = read_satcat(save(tmp_path, "\n".join([CELESTRAK, *rows])))
    assert frame["OBJECT_TYPE"].to_list() == ["PAYLOAD", "ROCKET BODY", "DEBRIS", "UNKNOWN", "UNKNOWN"]
    assert frame["RCS_SIZE"].to_list() == ["LARGE", "MEDIUM", "MEDIUM", "SMALL", None]
    assert frame["OPS_STATUS_CODE"].to_list() == ["+", None, None, None, None]
    assert frame["LAUNCH"].to_list() == [date(2031, 2, 3)] * 5
    # 90004 is docked to 90001 and circles the Earth; 90005 circles the Moon, so its altitudes are not geocentric.
    assert frame["PERIOD"].to_list() == [100.2] * 4 + [None]
    assert frame["SEMIMAJOR_AXIS"].null_count() == 1


def test_fillers_mean_unknown(tmp_path):
    rows = numbered(
        [
            record(PERIOD="0.00", INCLINATION="0.00", APOGEE="0", PERIGEE="0"),
            record(PERIOD=None, INCLINATION=None, APOGEE=None, PERIGEE=None, LAUNCH="", OBJECT_TYPE=""),
            record(PERIOD="84.50", INCLINATION="0.00", APOGEE="0", PERIGEE="0"),
        ]
    )
    frame = read_satcat(save(tmp_path, json.dumps(rows)))
    assert frame["PERIOD"].to_list() == [None, None, 84.5]
    assert frame["ECCENTRICITY"].to_list() == [None, None, 0.0]
    assert frame["OBJECT_TYPE"].to_list() == ["DEBRIS", "UNKNOWN", "DEBRIS"]
    assert frame["LAUNCH_YEAR"].to_list() == [2031, 2031, 2031]  # the second from OBJECT_ID


BROKEN = [
    ({"INCLINATION": "181"}, "INCLINATION", "181", "INCLINATION is in [0, 180] deg"),
    ({"PERIOD": "0"}, "PERIOD", "0", "PERIOD is above 0 min"),
    ({"PERIOD": "ninety"}, "PERIOD", "ninety", "PERIOD is a finite number or empty"),
    ({"APOGEE": "nan"}, "APOGEE", "nan", "APOGEE is a finite number or empty"),
    ({"PERIOD": "inf"}, "PERIOD", "inf", "PERIOD is a finite number or empty"),
    ({"APOGEE": "-6400", "PERIGEE": None}, "APOGEE", "-6400", "APOGEE is above -6378.135 km"),
    ({"PERIGEE": "-6378.135"}, "PERIGEE", "-6378.135", "PERIGEE is above -6378.135 km"),
    ({"PERIGEE": "831"}, "PERIGEE", "PERIGEE 831, APOGEE 830", "PERIGEE is not above APOGEE"),
    ({"APOGEE": "1e300"}, "ECCENTRICITY", "PERIGEE 760, APOGEE 1e300", "ECCENTRICITY is in [0, 1)"),
    ({"RCS": "-0.5"}, "RCS", "-0.5", "RCS is above 0 m^2"),
    ({"LAUNCH": "2031-02-30"}, "LAUNCH", "2031-02-30", "LAUNCH is a date, YYYY-MM-DD, or empty"),
    ({"DECAY": "03/02/2031"}, "DECAY", "03/02/2031", "DECAY is a date, YYYY-MM-DD, or empty"),
    ({"OBJECT_TYPE": "BALLOON"}, "OBJECT_TYPE", "BALLOON", "OBJECT_TYPE is one of PAY"),
    ({"RCS_SIZE": "HUGE"}, "RCS_SIZE", "HUGE", "RCS_SIZE is one of SMALL, MEDIUM, LARGE"),
    ({"OBJECT_ID": "31007C"}, "OBJECT_ID", "31007C", "OBJECT_ID is written YYYY-NNNA"),
    ({"NORAD_CAT_ID": "0"}, "NORAD_CAT_ID", "0", "NORAD_CAT_ID is a positive integer"),
    ({"NORAD_CAT_ID": "5.0"}, "NORAD_CAT_ID", "5.0", "NORAD_CAT_ID is a positive integer"),
    ({"NORAD_CAT_ID": None}, "NORAD_CAT_ID", None, "NORAD_CAT_ID is a positive integer"),
]


@pytest.mark.parametrize(("change", "column", "value", "rule"), BROKEN)
def test_a_broken_rule_is_named_with_its_place(tmp_path, change, column, value, rule):
    path = save(tmp_path, json.dumps([record(NORAD_CAT_ID="90000"), record(**change), record(NORAD_CAT_ID="90002")]))
    with pytest.raises(CatalogError) as caught:
        read_satcat(path)
    error = caught.value
    assert (error.file, error.line, error.column, error.value) == (str(path), 2, column, value)
    assert error.rule.startswith(rule)
    assert "on_error='collect'" in str(error)
    good, bad = read_satcat(path, on_error="collect")
    assert good["NORAD_CAT_ID"].to_list() == [90000, 90002]
    assert bad.columns == ["file", "line", "NORAD_CAT_ID", "column", "value", "rule"]
    assert (bad["line"].unique().to_list(), bad["value"][0]) == ([2], value)


def test_duplicates_are_both_out_and_name_each_other(tmp_path):
    rows = [record(), record(NORAD_CAT_ID="90002"), record(NORAD_CAT_ID="090001")]
    path = save(tmp_path, as_csv(rows))
    with pytest.raises(
        CatalogError,
        match=r"line 2, column NORAD_CAT_ID: value '90001'.* line 4 has it too: neither row is kept.* read it with "
        r"on_error='collect' .* 1 more line",
    ):
        read_satcat(path)
    good, bad = read_satcat(path, on_error="collect")
    assert good["NORAD_CAT_ID"].to_list() == [90002]
    assert bad["line"].to_list() == [2, 4]
    assert "line 2 has it too" in bad["rule"][1]


def test_lines_are_counted_through_quoted_line_ends(tmp_path):
    rows = [record(COMMENT="SYNTHETIC\nON TWO LINES"), record(NORAD_CAT_ID="90002", PERIOD="-1")]
    with pytest.raises(CatalogError, match="line 4, column PERIOD: value '-1'"):
        read_satcat(save(tmp_path, as_csv(rows)))


JSON = json.dumps([record()])
TLE = "0 SYNTHETIC\n1 90001U 31007C   31100.50000000  .00000123  00000-0  12345-3 0  9994\n"
WRONG_FILES = {
    "empty": (b"", "the file is empty"),
    "blank": (b" \r\n \n", "the file is empty"),
    "empty gzip": (gzip.compress(b""), "the file is empty"),
    "cut gzip": (gzip.compress(JSON.encode())[:-20], "the gzip file is damaged or cut off"),
    "gzip magic only": (b"\x1f\x8b", "the gzip file is damaged or cut off"),
    "cut JSON": (JSON[:-30].encode(), "the JSON is damaged or cut off at character"),
    "deep JSON": (b"[" * 200_000, "the JSON cannot be read|the JSON is damaged"),
    "empty array": (b"[]", "the SATCAT holds no row"),
    "header only": (CELESTRAK.encode(), "the SATCAT holds no row"),
    "array of numbers": (b"[1, 2]", "line 1: value '1' breaks the rule: a catalog in JSON is an array"),
    "error object": (b'{"error": "You must be logged in"}', "The file has: error"),
    "nested value": (json.dumps([record(PERIOD=[1])]).encode(), "a value is a text, a number or null"),
    "half a surrogate pair": (json.dumps([record(OBJECT_NAME="\ud800")]).encode(), "surrogate pair"),
    "half a surrogate pair in a name": (b'[{"\\ud800": null}]', r"The file has: \\ud800"),
    "endless number": (b'[{"NORAD_CAT_ID": ' + b"9" * 5000 + b"}]", "the SATCAT lacks OBJECT_NAME"),
    "HTML": (b"<!DOCTYPE html>\n<html><body>Log in, please</body></html>", "HTML or XML page"),
    "binary": (bytes(range(256)), "UTF-8 text, but byte"),
    "zero bytes": (b"a\0b\0,c", "zero bytes"),
    "cut UTF-16": (JSON.encode("utf-16")[:-1], f"UTF-16 text, but byte {2 * len(JSON) + 1} is 0x5d"),
    "half a pair in UTF-16": (JSON.encode("utf-16") + b"\x00\xd8", "UTF-16 text, but byte"),
    "zero bytes in UTF-16": ("a,b\0\n".encode("utf-16"), "zero bytes"),
    "HTML in UTF-16": ("<html>Log in</html>".encode("utf-16"), "HTML or XML page"),
    "byte far into the file": (
        as_csv([record()] * 9_000).encode() + b"\xff",
        f"UTF-8 text, but byte {len(as_csv([record()] * 9_000)) + 1} is 0xff",
    ),
    "tabs": (as_csv([record()], delimiter="\t").encode(), r"line 1: value .* but the header has tabs \('\\t'\)"),
    "tabs, a comma in a name": (
        as_csv([{"Name, other names": "x", **record()}], delimiter="\t").encode(),
        "wants commas between the fields, but the header has tabs",
    ),
    "semicolons below a blank line": (
        b"\n" + as_csv([record()], delimiter=";", quoting=csv.QUOTE_ALL).encode(),
        r"line 2: value .* but the header has semicolons \(';'\)\. Save the file with commas, and with points in",
    ),
    "prose": (b"no catalog at all", "JSON array, a CSV with a header line"),
    "element sets": (TLE.encode(), "Read it with read_gp"),
    "short row": (
        as_csv([record()]).encode() + b"1,2,3\r\n",
        "line 3: a row has as many fields as the header: 20, not 3",
    ),
    "open quote": (as_csv([record()]).encode() + b'"1,2,3\r\n', "the CSV is damaged or cut off"),
    "double column": (b"PERIOD,PERIOD\n1,2\n", "each column of the header has a name of its own"),
    "missing column": (
        json.dumps([{k: v for k, v in record().items() if k != "APOGEE"}]).encode(),
        "the SATCAT lacks APOGEE",
    ),
    "misspelt": (as_csv([record()]).replace("PERIGEE", "PERIGE").encode(), "Did you mean PERIGE?"),
}


def test_a_name_is_asked_about_if_it_looks_mistyped_and_not_if_the_provider_has_it_so(tmp_path):
    text = as_csv([record()])
    wrong = text.replace("COUNTRY", "COUNTRY_CODE").replace("APOGEE", "APOAPSIS")
    for content, asked in ((wrong, None), (wrong.replace("PERIGEE", "PERIGE"), "Did you mean PERIGE?")):
        with pytest.raises(CatalogError, match="the SATCAT lacks COUNTRY, APOGEE") as caught:
            read_satcat(save(tmp_path, content.encode()))
        assert re.findall(r"Did you mean \w+\?", str(caught.value)) == ([] if asked is None else [asked])


@pytest.mark.parametrize("name", WRONG_FILES)
@pytest.mark.parametrize("on_error", ["raise", "collect"])
def test_a_wrong_file_is_an_error_that_names_it(tmp_path, name, on_error):
    content, message = WRONG_FILES[name]
    path = save(tmp_path, content)
    with pytest.raises(CatalogError, match=message) as caught:
        read_satcat(path, on_error=on_error)
    assert str(path) in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(CatalogError, match=r"nowhere\.csv: the file does not exist"):
        read_satcat(tmp_path / "nowhere.csv")
    with pytest.raises(CatalogError, match="a folder, not a file"):
        read_satcat(tmp_path)


def test_on_error_has_two_values(tmp_path):
    with pytest.raises(ConfigurationError, match="'raise' or 'collect', not 'skip'"):
        read_satcat(save(tmp_path, JSON), on_error="skip")


@given(
    perigee=st.floats(-6378, 1e5),
    height=st.floats(0, 1e5),
    inclination=st.floats(0, 180),
    period=st.floats(1e-3, 1e6),
)
def test_sound_orbits_pass_and_derived_columns_give_the_altitudes_back(
    tmp_path_factory, perigee, height, inclination, period
):
    apogee = perigee + height
    row = record(PERIGEE=repr(perigee), APOGEE=repr(apogee), INCLINATION=repr(inclination), PERIOD=repr(period))
    frame = read_satcat(save(tmp_path_factory.mktemp("sound"), json.dumps([row])))
    a, e = frame["SEMIMAJOR_AXIS"][0], frame["ECCENTRICITY"][0]
    assert 0 <= e < 1
    assert a * (1 - e) - 6378.135 == pytest.approx(perigee, abs=1e-9 * a)
    assert a * (1 + e) - 6378.135 == pytest.approx(apogee, abs=1e-9 * a)
    assert (frame["PERIOD"][0], frame["INCLINATION"][0]) == (period, inclination)


@given(content=st.binary(max_size=200))
def test_junk_never_gets_through(tmp_path_factory, content):
    with pytest.raises(CatalogError):
        read_satcat(save(tmp_path_factory.mktemp("junk"), content))


@pytest.mark.parametrize(("name", "rows", "without_orbit"), [("current", 30_142, 643), ("decayed", 32_966, 360)])
def test_every_row_of_the_real_catalogs_passes(shared_data, name, rows, without_orbit):
    path = shared_data / "satcat" / f"spacetrack_satcat_{name}_2025-03-16.json.gz"
    start = time.process_time()
    good, bad = read_satcat(path, on_error="collect")
    assert time.process_time() - start < 5  # 0.4 s where it was written
    assert (good.height, bad.height) == (rows, 0)
    # 34 decayed objects have the filler of four zeros, 326 have nulls.
    assert {good[name].null_count() for name in ("PERIOD", "INCLINATION", "APOGEE", "PERIGEE")} == {without_orbit}
    assert good["ECCENTRICITY"].is_between(0, 1, closed="left").all()


def test_classes_of_the_real_catalog(shared_data):
    frame = read_satcat(shared_data / "satcat" / "spacetrack_satcat_current_2025-03-16.json.gz")
    classes = dict(frame["OBJECT_TYPE"].value_counts().iter_rows())
    assert classes == {"PAYLOAD": 13_957, "DEBRIS": 13_222, "ROCKET BODY": 2_375, "UNKNOWN": 588}
    assert frame["LAUNCH_YEAR"].equals(frame["OBJECT_ID"].str.slice(0, 4).cast(pl.Int64), check_names=False)
