"""Reading element sets. All sets here are synthetic; the real ones are read in place where they are."""

from __future__ import annotations

import gzip
import math
import random
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from sgp4.api import Satrec
from sgp4.conveniences import sat_epoch_datetime
from sgp4.exporter import export_tle
from sgp4.io import compute_checksum

from ddcl_tab.errors import CatalogError, ConfigurationError
from ddcl_tab.space._gp import read_elsets, read_gp
from ddcl_tab.space._scan import scan_gp
from ddcl_tab.space._schema import ELSET_COLUMNS, polars_schema
from tests.conftest import other_bytes

REV_PER_DAY_PER_RAD_PER_MIN = 1440 / (2 * math.pi)


def signed(line: str) -> str:
    """The line with the checksum that python-sgp4 computes."""
    return f"{line[:68]}{compute_checksum(line)}"


LINE_1 = signed("1 90001U 31007C   31100.50000000  .00000123  00000-0  12345-3 0  999 ")
LINE_2 = signed("2 90001  98.6000  10.0000 0010000  20.0000  30.0000 14.30000000    1 ")
OTHER_1, OTHER_2 = (signed(line.replace("90001", "90002")) for line in (LINE_1, LINE_2))
TWO, OTHER = f"{LINE_1}\n{LINE_2}\n", f"{OTHER_1}\n{OTHER_2}\n"


def save(tmp_path, content, name="synthetic.tle"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def put(line: str, first: int, text: str) -> str:
    """The line with other characters from `first` (from 1) on, and the right checksum."""
    return signed(line[: first - 1] + text + line[first - 1 + len(text) :])


def test_all_forms_of_one_file_give_the_same_sets(tmp_path):
    three = f"0 SYNTHETIC\n{TWO}0 1 SYNTHETIC\n{OTHER}"
    expected = read_elsets(save(tmp_path, three))
    assert expected["OBJECT_NAME"].to_list() == ["SYNTHETIC", "1 SYNTHETIC"]
    assert expected.schema == polars_schema(ELSET_COLUMNS)
    forms = {
        "bare names": f"SYNTHETIC             \n{TWO}1 SYNTHETIC\n{OTHER}",
        "CRLF": three.replace("\n", "\r\n"),
        "CR": three.replace("\n", "\r"),
        "BOM": b"\xef\xbb\xbf" + three.encode(),
        "gzip": gzip.compress(three.encode()),
        "blank lines": three.replace("\n0 1 MADE", "\n\n \n0 1 MADE") + "\n\n",
        "no last line end": three.rstrip("\n"),
    }
    for form, content in forms.items():
        assert_frame_equal(read_elsets(save(tmp_path, content, form)), expected)
    for content in other_bytes(three).values():
        assert_frame_equal(read_elsets(save(tmp_path, content)), expected)
    two = read_elsets(save(tmp_path, TWO + OTHER))
    assert two["OBJECT_NAME"].to_list() == [None, None]
    assert_frame_equal(two.drop("OBJECT_NAME"), expected.drop("OBJECT_NAME"))


def test_only_line_feeds_and_returns_end_a_line(tmp_path):
    names = [f"MADE{mark}UP" for mark in "\v\f\x1c\x1d\x1e\x85\u2028\u2029"]
    frame = read_elsets(save(tmp_path, "".join(f"0 {name}\r{TWO}" for name in names)))
    assert frame["OBJECT_NAME"].to_list() == names


def test_a_broken_line_of_a_utf_16_file_is_shown_with_its_place(tmp_path):
    text = f"0 SYNTHETIC\r{TWO}0 SYNTHETIC TOO\r{OTHER}".replace("\n", "\r").replace("98.6000", "198.6000")
    with pytest.raises(CatalogError, match=r"(?s)line 3, .*\n    2 90001  198\.6000"):
        read_elsets(save(tmp_path, text.encode("utf-16")))


def test_values_are_those_printed(tmp_path):
    row = read_elsets(save(tmp_path, TWO)).row(0, named=True)
    assert row == {
        "NORAD_CAT_ID": 90001,
        "OBJECT_NAME": None,
        "OBJECT_ID": "2031-007C",
        "CLASSIFICATION_TYPE": "U",
        "EPOCH": datetime(2031, 4, 10, 12, tzinfo=UTC),
        "MEAN_MOTION": 14.3,
        "ECCENTRICITY": 0.001,
        "INCLINATION": 98.6,
        "RA_OF_ASC_NODE": 10.0,
        "ARG_OF_PERICENTER": 20.0,
        "MEAN_ANOMALY": 30.0,
        "BSTAR": 0.12345e-3,
        "MEAN_MOTION_DOT": 1.23e-6,
        "MEAN_MOTION_DDOT": 0.0,
        "EPHEMERIS_TYPE": 0,
        "ELEMENT_SET_NO": 999,
        "REV_AT_EPOCH": 1,
    }


def test_blank_fields_are_null(tmp_path):
    line_1 = put(put(put(put(LINE_1, 8, " "), 10, " " * 8), 63, " "), 65, "    ")
    line_2 = put(LINE_2, 64, "     ")
    frame = read_elsets(save(tmp_path, f"0\n{line_1}\n{line_2}\n"))
    blank = ("OBJECT_NAME", "OBJECT_ID", "CLASSIFICATION_TYPE", "EPHEMERIS_TYPE", "ELEMENT_SET_NO", "REV_AT_EPOCH")
    assert [frame[name][0] for name in blank] == [None] * 6


def test_old_ways_of_writing(tmp_path):
    line_1 = put(put(put(LINE_1, 10, "31007  C"), 45, "+1234500"), 54, "-4321001")
    row = read_elsets(save(tmp_path, f"{line_1}\n{put(LINE_2, 9, '098.6000')}\n")).row(0, named=True)
    assert (row["OBJECT_ID"], row["MEAN_MOTION_DDOT"], row["BSTAR"]) == ("2031-007C", 0.12345, -4.321)
    assert row["INCLINATION"] == 98.6
    plus = put(put(LINE_1, 34, "+.00000123"), 54, "+12345-3")
    row = read_elsets(save(tmp_path, f"{plus}\n{LINE_2}\n")).row(0, named=True)
    assert (row["MEAN_MOTION_DOT"], row["BSTAR"]) == (1.23e-6, 0.12345e-3)


@pytest.mark.parametrize(
    ("written", "number"),
    # Space-Track's alpha-5 table: I and O are not used.
    [("A0000", 100000), ("H9999", 179999), ("J0000", 180000), ("N0000", 220000), ("P0000", 230000), ("Z9999", 339999)],
)
def test_alpha_5(tmp_path, written, number):
    text = f"{put(LINE_1, 3, written)}\n{put(LINE_2, 3, written)}\n"
    assert read_elsets(save(tmp_path, text))["NORAD_CAT_ID"].to_list() == [number]


@pytest.mark.parametrize(("written", "year"), [("57", 1957), ("99", 1999), ("00", 2000), ("56", 2056)])
def test_two_digit_years(tmp_path, written, year):
    line_1 = put(put(LINE_1, 19, written), 10, written)
    row = read_elsets(save(tmp_path, f"{line_1}\n{LINE_2}\n")).row(0, named=True)
    assert (row["EPOCH"].year, row["OBJECT_ID"]) == (year, f"{year}-007C")


@given(
    ecc=st.floats(0, 0.9),
    angles=st.tuples(st.floats(0, math.pi), *[st.floats(0, 2 * math.pi)] * 3),
    bstar=st.floats(-0.09, 0.09).filter(lambda b: b == 0 or abs(b) > 1e-8),
    mean_motion=st.floats(0.01, 17.0),
    day=st.floats(2558, 36000),
    # From 180000 on sgp4 2.27 writes the letters I and O, which the standard leaves out: see test_alpha_5.
    number=st.integers(1, 179999),
)
def test_reads_what_python_sgp4_writes(tmp_path_factory, ecc, angles, bstar, mean_motion, day, number):
    satellite, per_minute = Satrec(), mean_motion / REV_PER_DAY_PER_RAD_PER_MIN
    inclination, node, perigee, anomaly = angles
    satellite.sgp4init(0, "i", number, day, bstar, 0.0, 0.0, ecc, perigee, inclination, anomaly, per_minute, node)
    satellite.classification, satellite.intldesg = "U", "31007C"
    line_1, line_2 = export_tle(satellite)
    row = read_elsets(save(tmp_path_factory.mktemp("written"), f"{line_1}\n{line_2}\n")).row(0, named=True)
    assert row["NORAD_CAT_ID"] == number
    assert row["ECCENTRICITY"] == pytest.approx(ecc, abs=1e-7)
    assert row["INCLINATION"] == pytest.approx(math.degrees(inclination), abs=1e-4)
    for name, angle in (("RA_OF_ASC_NODE", node), ("ARG_OF_PERICENTER", perigee), ("MEAN_ANOMALY", anomaly)):
        assert 0 <= row[name] < 360  # sgp4 writes 360.0000
        assert math.remainder(row[name] - math.degrees(angle), 360) == pytest.approx(0, abs=1e-4)
    assert row["MEAN_MOTION"] == pytest.approx(mean_motion, abs=1e-8)
    assert row["BSTAR"] == pytest.approx(bstar, rel=1e-4, abs=1e-9)
    # sgp4init counts days from 1949 December 31, 00:00 UT (2558 is 1957 January 1); 1e-8 day is 864 microseconds.
    assert abs(row["EPOCH"] - datetime(1949, 12, 31, tzinfo=UTC) - timedelta(days=day)) < timedelta(microseconds=1000)


BROKEN = [
    (1, put(LINE_1, 3, "O0001"), "NORAD_CAT_ID (characters 3-7)", "O0001", "NORAD_CAT_ID is five digits, or a letter"),
    (1, put(LINE_1, 3, "00000"), "NORAD_CAT_ID (characters 3-7)", "00000", "NORAD_CAT_ID is above 0"),
    (1, put(LINE_1, 8, "X"), "CLASSIFICATION_TYPE (character 8)", "X", "CLASSIFICATION_TYPE is U, C, S or blank"),
    (
        1,
        put(LINE_1, 10, "31-07C"),
        "OBJECT_ID (characters 10-17)",
        "31-07C  ",
        "OBJECT_ID is written YYNNNPPP or blank",
    ),
    (1, put(LINE_1, 19, "31100,5"), "EPOCH (characters 19-32)", "31100,50000000", "EPOCH is written YYDDD.DDDDDDDD"),
    (1, put(LINE_1, 19, "31000.5"), "EPOCH (characters 19-32)", "31000.50000000", "the day of the year is in [1, 367)"),
    (1, put(LINE_1, 19, "31367.5"), "EPOCH (characters 19-32)", "31367.50000000", "the day of the year is in [1, 367)"),
    (1, put(LINE_1, 36, "O"), "MEAN_MOTION_DOT (characters 34-43)", " .O0000123", "MEAN_MOTION_DOT is written"),
    (1, put(LINE_1, 60, "e"), "BSTAR (characters 54-61)", " 12345e3", "BSTAR is written SNNNNNSN"),
    (1, LINE_1[:68] + "7", "checksum (character 69)", "7", f"the checksum of the line is {LINE_1[68]}"),
    (1, LINE_1[:-1], "line 1", LINE_1[:-1], "a line has 69 characters, not 68"),
    (1, put(LINE_1, 34, "x"), "MEAN_MOTION_DOT (characters 34-43)", "x.00000123", "MEAN_MOTION_DOT is written"),
    (2, put(LINE_2, 9, "181.0000"), "INCLINATION (characters 9-16)", "181.0000", "INCLINATION is in [0, 180] deg"),
    (2, put(LINE_2, 18, "360.0001"), "RA_OF_ASC_NODE (characters 18-25)", "360.0001", "RA_OF_ASC_NODE is in [0, 360)"),
    (2, put(LINE_2, 27, " 010000"), "ECCENTRICITY (characters 27-33)", " 010000", "ECCENTRICITY is seven digits"),
    (
        2,
        put(LINE_2, 53, " 0.00000000"),
        "MEAN_MOTION (characters 53-63)",
        " 0.00000000",
        "MEAN_MOTION is above 0 rev/day",
    ),
    (2, OTHER_2, "NORAD_CAT_ID (characters 3-7)", "90002", "NORAD_CAT_ID is the same in lines 1 and 2, but line 1 has"),
    (2, LINE_2[:68] + "3", "checksum (character 69)", "3", f"the checksum of the line is {LINE_2[68]}"),
    (2, LINE_2[:40], "line 2", LINE_2[:40], "a line has 69 characters, not 40"),
    (2, put(LINE_2, 17, "1"), "line 2", put(LINE_2, 17, "1"), "the line is ASCII and blank where the template is"),
    (2, LINE_2[:-2] + "é0", "line 2", LINE_2[:-2] + "é0", "the line is ASCII"),
]


@pytest.mark.parametrize(("which", "line", "column", "value", "rule"), BROKEN)
def test_a_broken_rule_is_named_with_its_place_and_shown(tmp_path, which, line, column, value, rule):
    lines = [OTHER_1, OTHER_2, *([line, LINE_2] if which == 1 else [LINE_1, line]), OTHER_1, OTHER_2]
    path = save(tmp_path, "\n".join(lines))
    with pytest.raises(CatalogError) as caught:
        read_elsets(path)
    error = caught.value
    assert (error.file, error.line) == (str(path), 2 + which)
    template = {1: "\n    1 NNNNNC YYNNNPPP ", 2: "\n    2 NNNNN NNN.NNNN "}[which]
    assert template in str(error)
    assert f"\n    {line}\n" in str(error)
    good, bad = read_elsets(path, on_error="collect")
    assert good["NORAD_CAT_ID"].to_list() == [90002, 90002]
    assert (error.column, error.value) == (column, value)
    assert error.rule.startswith(rule)
    assert (column, value) in bad.select("column", "value").rows()


def test_the_mark_stands_under_the_field(tmp_path):
    with pytest.raises(CatalogError) as caught:
        read_elsets(save(tmp_path, f"{LINE_1}\n{put(LINE_2, 9, '181.0000')}\n"))
    _, form, line, mark, _ = str(caught.value).split("\n")
    assert [text[4 + 8 : 4 + 16] for text in (form, line, mark)] == ["NNN.NNNN", "181.0000", "^^^^^^^^"]
    assert mark.strip() == "^" * 8


OUT_OF_TURN = {
    "line 2 missing at the end": (f"{OTHER}{LINE_1}\n", [(3, "line 1 is followed by line 2 of its set")]),
    "line 2 missing inside": (f"{LINE_1}\n{OTHER}", [(1, "line 1 is followed by line 2 of its set")]),
    "line 2 missing before a name": (f"{LINE_1}\n0 NAME\n{OTHER}", [(1, "line 1 is followed by line 2 of its set")]),
    "line 1 missing": (f"{OTHER}{LINE_2}\n", [(3, "line 2 follows line 1 of its set")]),
    "only a name at the end": (f"{OTHER}0 NAME\n", [(3, "a name is followed by line 1 of its set")]),
    "two names": (f"0 A\n0 B\n{OTHER}", [(1, "a name is followed by line 1 of its set")]),
    "name without line 1": (
        f"{OTHER}0 NAME\n{LINE_2}\n",
        [(3, "a name is followed by line 1 of its set"), (4, "line 2 follows line 1 of its set")],
    ),
}


@pytest.mark.parametrize("case", OUT_OF_TURN)
def test_lines_out_of_turn_are_errors_and_cost_no_other_set(tmp_path, case):
    text, expected = OUT_OF_TURN[case]
    path = save(tmp_path, text)
    with pytest.raises(CatalogError, match=expected[0][1]) as caught:
        read_elsets(path)
    assert caught.value.line == expected[0][0]
    good, bad = read_elsets(path, on_error="collect")
    assert good["NORAD_CAT_ID"].to_list() == [90002]
    assert bad.select("line", "rule").rows() == expected


@given(st.data())
def test_one_wrong_digit_or_sign_never_gets_through(tmp_path_factory, data):
    # The checksum sees every change of one digit by less than 10, and a minus that comes or goes.
    which = data.draw(st.sampled_from([0, 1]))
    lines = [LINE_1, LINE_2]
    places = [i for i, character in enumerate(lines[which]) if character.isdigit() or character in "-."]
    at = data.draw(st.sampled_from(places))
    new = data.draw(st.characters(min_codepoint=33, max_codepoint=126).filter(lambda c: c != lines[which][at]))
    lines[which] = lines[which][:at] + new + lines[which][at + 1 :]
    path = save(tmp_path_factory.mktemp("wrong"), OTHER + "\n".join(lines))
    good, bad = read_elsets(path, on_error="collect")
    assert bad.height
    assert good["NORAD_CAT_ID"].to_list() == [90002]


KEY = (
    "DECODE 2-LINE ELSETS WITH THE FOLLOWING KEY:\n"
    "1 AAAAAU 00  0  0 BBBBB.BBBBBBBB  .CCCCCCCC  00000-0  00000-0 0  DDDZ\n"
    "2 AAAAA EEE.EEEE FFF.FFFF GGGGGGG HHH.HHHH III.IIII JJ.JJJJJJJJKKKKKZ\n"
    "KEY: A-CATALOGNUM B-EPOCHTIME, C-DECAY\n"
)
HEADERS = {
    "bulletin": f"SB KEPS @ SYNTHETIC $KEPS-100.D\n2Line Orbital Elements 100\n\nTO ALL RADIO AMATEURS BT\n{KEY}\n",
    "mail": "From: A Person <a@example.org>, another\nSubject: [keps] sets = new\nDate: 10 Apr 2031 12:00:00 +0000\n\n",
    "list's name in brackets": "[KEPS] the sets of this week, as received\n\n",
    "braces": '{"kept"} by hand\n',
    "comment with commas": "# as received, " + "synthetic, " * 200 + "\n",
    "one long line": "as received, " + "synthetic, " * 200 + "\n",
    "longer than what a scan looks at": ("synthetic, " * 1_000 + "\n") * 9,
    "keyword": "SOURCE = somewhere\n=====\n",
    "columns in prose": "Epoch, name and elements\n\n",
    "numbered list": "1 2031 was a good year\n2 10000 people read this\n1 90001 is the number of the first\n\n",
    "template": "1 NNNNNU YYLLLPPP YYDDD.DDDDDDDD +.NNNNNNNN +NNNNN-N\n2 NNNNN NNN.NNNN\n-----\n",
    "tags": "<pre>\n",
    "columns in a comment": "# NORAD_CAT_ID, OBJECT_NAME, EPOCH\n",
    "part of a mail": "--part-1\nContent-Type: text/plain\n\n",
    "page, with sets on the line of the tag": "<!DOCTYPE html><html><body>\n<h1>Sets, synthetic</h1><PRE class='sets'>",
    "CRLF": "SB KEPS\r\n\r\nBT, BT\r\n",
}


BODIES = {
    f"0 SYNTHETIC\n{TWO}0 1 SYNTHETIC\n{OTHER}": "/EX\n",
    f"SYNTHETIC\n{TWO}# others\nNOT SYNTHETIC\n{OTHER}": "-----\nkept by hand\n",
    TWO + OTHER: "</pre>\n</html>\n",
    TWO + OTHER + "\n": "--part-1--\nkept by hand\n",
    (TWO + OTHER).strip(): "</pre><p>kept by hand</p>\nas received\n",
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_is_skipped(tmp_path, header):
    for body, end in BODIES.items():
        expected = read_elsets(save(tmp_path, body))
        path = save(tmp_path, HEADERS[header] + body + end)
        assert_frame_equal(read_elsets(path), expected)
        assert_frame_equal(scan_gp(path).collect(), expected)
        good, bad = read_gp(path, on_error="collect")
        assert_frame_equal(good, expected)
        assert bad.is_empty()


PROSE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Nd", "Nl", "No"]), max_size=60)


@settings(max_examples=30)
@given(header=st.lists(PROSE, max_size=8), end=st.lists(PROSE, max_size=3))
def test_no_header_without_digits_changes_what_is_read(tmp_path_factory, header, end):
    path = tmp_path_factory.getbasetemp() / "header.tle"
    body = f"0 SYNTHETIC\n{TWO}0 1 SYNTHETIC\n{OTHER}/EX\n"
    path.write_text("\n".join([*header, body, *end]), encoding="utf-8")
    good, bad = read_gp(path, on_error="collect")
    assert good["OBJECT_NAME"].to_list() == ["SYNTHETIC", "1 SYNTHETIC"]
    assert bad.is_empty()


def test_the_second_bulletin_of_a_file_has_a_header_too(tmp_path):
    bulletin = f"SB KEPS\n{KEY}\n"
    path = save(tmp_path, f"{bulletin}SYNTHETIC\n{TWO}/EX\n{bulletin}NOT SYNTHETIC\n{OTHER}/EX\n")
    assert read_gp(path)["OBJECT_NAME"].to_list() == ["SYNTHETIC", "NOT SYNTHETIC"]


def test_which_line_is_a_name(tmp_path):
    for above, name in {
        "A": "A",
        "A\n": "A",  # double-spaced
        "bulletin\nA": "A",
        "bulletin\nA\n": None,
        "bulletin\n0 A\n": "A",
        "A" * 101: None,
        "0 " + "A" * 101: "A" * 101,
        "-----": None,
        "# A": None,
        "0 # A": "# A",
        "东方红": "东方红",
    }.items():
        assert read_elsets(save(tmp_path, f"{above}\n{TWO}"))["OBJECT_NAME"].to_list() == [name]


def test_a_broken_set_below_a_header_is_still_an_error(tmp_path):
    head, cut = HEADERS["bulletin"], LINE_2[:30]
    cases = {
        f"{head}{LINE_1}\n{cut}\n": (f"line 2 {cut}", "a line has 69 characters, not 30"),
        f"{head}0 A\n0 B\n{TWO}": ("name 0 A", "a name is followed by line 1 of its set"),
        f"{head}{TWO}B\n/EX\n": ("name B", "a name is followed by line 1 of its set"),
        f"{TWO}A\nB\n{OTHER}": ("name A", "a name is followed by line 1 of its set"),
        f"{head}{'l' + LINE_1[1:]}\n{TWO}": (f"line {'l' + LINE_1[1:]}", "a line of a set begins with 1 or 2, a blank"),
    }
    for text, (what, rule) in cases.items():
        path = save(tmp_path, text)
        with pytest.raises(CatalogError) as caught:
            read_elsets(path)
        assert f"{caught.value.column} {caught.value.value}" == what
        assert caught.value.rule.startswith(rule)
        assert text.split("\n")[caught.value.line - 1] == caught.value.value


def test_a_whole_turn_is_zero(tmp_path):
    line_2 = put(put(put(LINE_2, 18, "360.0000"), 35, "359.9999"), 44, "360.0000")
    row = read_elsets(save(tmp_path, f"{LINE_1}\n{line_2}\n")).row(0, named=True)
    assert (row["RA_OF_ASC_NODE"], row["ARG_OF_PERICENTER"], row["MEAN_ANOMALY"]) == (0, 359.9999, 0)


WRONG_FILES = {
    "empty": (b"", "the file is empty"),
    "cut gzip": (gzip.compress((TWO * 50).encode())[:-9], "the gzip file is damaged or cut off"),
    "HTML": (b"<html>Log in</html>", "HTML or XML page"),
    "JSON": (b'[{"NORAD_CAT_ID": "5"}]', "Read a SATCAT with read_satcat"),
    "CSV": (b"NORAD_CAT_ID,PERIOD\n5,90\n", "Read a SATCAT with read_satcat"),
    "prose": (b"no sets here", "two- or three-line element sets"),
    "binary": (bytes(range(256)), "UTF-8 text, but byte"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
@pytest.mark.parametrize("on_error", ["raise", "collect"])
def test_a_wrong_file_is_an_error_that_names_it(tmp_path, name, on_error):
    content, message = WRONG_FILES[name]
    path = save(tmp_path, content)
    with pytest.raises(CatalogError, match=message) as caught:
        read_elsets(path, on_error=on_error)
    assert str(path) in str(caught.value)


def test_on_error_has_two_values(tmp_path):
    with pytest.raises(ConfigurationError, match="'raise' or 'collect', not 'skip'"):
        read_elsets(save(tmp_path, TWO), on_error="skip")


REAL = {
    "elsets/spacetrack_3le_2019-12-19.txt.gz": 18_470,
    "elsets/spacetrack_3le_2021-05-29.txt.gz": 21_584,
    "elsets/spacetrack_3le_2022-01-22.txt.gz": 23_939,
    "elsets/spacetrack_3le_2025-03-15.txt.gz": 27_106,
    "clouds/fengyun-1c_1999-025_2021-10.tle": 2_686,
    "clouds/cosmos-2251_1993-036_2021-10.tle": 1_048,
    "clouds/iridium-33_1997-051_2021-10.tle": 332,
}


@pytest.mark.parametrize("name", REAL)
def test_real_sets_agree_with_python_sgp4(shared_data, name):
    path = shared_data / name
    start = time.process_time()
    frame = read_elsets(path)
    assert time.process_time() - start < 5  # 0.2 s where it was written
    assert frame.height == REAL[name]
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    lines = [line.rstrip() for line in text.split("\n") if line[:2] in ("1 ", "2 ")]
    for index in random.Random(0).sample(range(frame.height), min(500, frame.height)):
        compare(frame.row(index, named=True), Satrec.twoline2rv(lines[2 * index], lines[2 * index + 1]))


def compare(row: dict, satellite: Satrec) -> None:
    scale = REV_PER_DAY_PER_RAD_PER_MIN
    exact = ("NORAD_CAT_ID", "EPHEMERIS_TYPE", "ELEMENT_SET_NO", "REV_AT_EPOCH", "CLASSIFICATION_TYPE")
    theirs = (satellite.satnum, satellite.ephtype, satellite.elnum, satellite.revnum, satellite.classification)
    assert tuple(row[name] for name in exact) == theirs
    assert (row["OBJECT_ID"] or "")[2:].replace("-", "") == satellite.intldesg
    expected = {
        "MEAN_MOTION": satellite.no_kozai * scale,
        "ECCENTRICITY": satellite.ecco,
        "INCLINATION": math.degrees(satellite.inclo),
        "RA_OF_ASC_NODE": math.degrees(satellite.nodeo),
        "ARG_OF_PERICENTER": math.degrees(satellite.argpo),
        "MEAN_ANOMALY": math.degrees(satellite.mo),
        "BSTAR": satellite.bstar,
        "MEAN_MOTION_DOT": satellite.ndot * scale * 1440,
        "MEAN_MOTION_DDOT": satellite.nddot * scale * 1440**2,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-14, abs=0)
    assert abs(row["EPOCH"] - sat_epoch_datetime(satellite)) <= timedelta(microseconds=2)
