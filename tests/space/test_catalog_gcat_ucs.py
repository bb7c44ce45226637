"""Reading GCAT and the UCS database, and DISCOS classes.

No file of either is here: all rows are synthetic, in the column layouts that their authors publish.
"""

from __future__ import annotations

import gzip
import re
from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddcl_tab.errors import CatalogError, ConfigurationError
from ddcl_tab.space._join import launch_of
from ddcl_tab.space._other_catalogs import DISCOS_TYPES, cospar_of, object_types_of_discos, read_gcat, read_ucs
from ddcl_tab.space._schema import SATCAT_COLUMNS, polars_schema
from tests.conftest import other_bytes

GCAT = re.findall(
    r"\S+",
    "#JCAT Satcat Launch_Tag Piece Type Name PLName LDate Parent SDate Primary DDate Status Dest Owner State "
    "Manufacturer Bus Motor Mass MassFlag DryMass DryFlag TotMass TotFlag Length LFlag Diameter DFlag Span SpanFlag "
    "Shape ODate Perigee PF Apogee AF Inc IF OpOrbit OQUAL AltNames",
)
OBJECT = {
    **dict.fromkeys(GCAT, "-"),
    "#JCAT": "S90001",
    "Satcat": "90001",
    "Piece": "2031-007A",
    "Type": "P",
    "Name": 'Made "up"',
    "LDate": "2031 Feb  3 1928:34",
    "Primary": "Earth",
    "DDate": "-",
    "Status": "O",
    "State": "XX",
    "Perigee": "760",
    "Apogee": "830",
    "Inc": " 98.61",
}
UCS = [
    "Name of Satellite, Alternate Names",
    "Current Official Name of Satellite",
    "Country/Org of UN Registry",
    "Country of Operator/Owner",
    "Operator/Owner",
    "Users",
    "Purpose",
    "Detailed Purpose",
    "Class of Orbit",
    "Type of Orbit",
    "Longitude of GEO (degrees)",
    "Perigee (km)",
    "Apogee (km)",
    "Eccentricity",
    "Inclination (degrees)",
    "Period (minutes)",
    "Launch Mass (kg.)",
    "Dry Mass (kg.)",
    "Power (watts)",
    "Date of Launch",
    "Expected Lifetime (yrs.)",
    "Contractor",
    "Country of Contractor",
    "Launch Site",
    "Launch Vehicle",
    "COSPAR Number",
    "NORAD Number",
    "Comments",
    "",
    "Source Used for Orbital Data",
    "Source",
    "Source",
]
SATELLITE = {
    **dict.fromkeys(UCS, ""),
    "Current Official Name of Satellite": "Synthetic 1 (“né” Ä)",
    "Country of Operator/Owner": "Nowhere",
    "Perigee (km)": '"35,778"',
    "Apogee (km)": '"35,795"',
    "Inclination (degrees)": "0.05",
    "Period (minutes)": '"1,436.07"',
    "Date of Launch": "2/3/2031",
    "Launch Site": "The Sea",
    "COSPAR Number": "2031-007A ",
    "NORAD Number": "90001",
}


def save(tmp_path, content, name="synthetic.dat"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def as_gcat(*records, names=GCAT):
    lines = ["\t".join(names), "# Updated 2031 Feb 30", *("\t".join(r[n] for n in names) for r in records)]
    return "\n".join(lines) + "\n"


def as_ucs(*records):
    return "\r\n".join(["\t".join(UCS), *("\t".join(record[n] for n in UCS) for record in records), "\t" * 31]) + "\r\n"


def test_gcat_row(tmp_path):
    frame = read_gcat(save(tmp_path, as_gcat(OBJECT)))
    assert frame.schema == polars_schema(SATCAT_COLUMNS)
    row = frame.row(0, named=True)
    assert row.pop("PERIOD") == pytest.approx(100.77, abs=0.01)
    assert row.pop("ECCENTRICITY") == pytest.approx(70 / 2 / 7173.135)
    assert {name: value for name, value in row.items() if value is not None} == {
        "NORAD_CAT_ID": 90001,
        "OBJECT_ID": "2031-007A",
        "OBJECT_NAME": 'Made "up"',
        "OBJECT_TYPE": "PAYLOAD",
        "COUNTRY": "XX",
        "LAUNCH": date(2031, 2, 3),
        "LAUNCH_YEAR": 2031,
        "INCLINATION": 98.61,
        "PERIGEE": 760.0,
        "APOGEE": 830.0,
        "SEMIMAJOR_AXIS": 7173.135,
    }


def test_gcat_old_layout_gzip_and_line_ends(tmp_path):
    old = [name for name in GCAT if name != "Launch_Tag"]
    expected = read_gcat(save(tmp_path, as_gcat(OBJECT)))
    for text in (as_gcat(OBJECT, names=old), as_gcat(OBJECT, names=GCAT[::-1]).replace("\n", "\r\n")):
        assert read_gcat(save(tmp_path, gzip.compress(text.encode()))).equals(expected)


@pytest.mark.parametrize(
    ("sat_type", "expected"),
    [
        ("P  A", "PAYLOAD"),
        ("PH", "PAYLOAD"),
        ("R2", "ROCKET BODY"),
        ("C", "DEBRIS"),
        ("D  C", "DEBRIS"),
        ("Z", "UNKNOWN"),
    ],
)
def test_gcat_types(tmp_path, sat_type, expected):
    assert read_gcat(save(tmp_path, as_gcat({**OBJECT, "Type": sat_type})))["OBJECT_TYPE"].to_list() == [expected]


@pytest.mark.parametrize(
    ("piece", "expected"),
    [
        ("1999-025EYS", "1999-025EYS"),
        ("1957 ALP 1", "1957-001A"),
        ("1957 BET  1", "1957-002A"),
        ("1960 OME 9", "1960-024J"),  # no piece I
        ("1961 A ALP 1", "1961-025A"),
        ("1962 BET THE 24", "1962-056Z"),
        ("1961 OMI 3449", "1961-015EYS"),  # GCAT's own example of the 3449th piece
        ("2020-F03A", None),
        ("2031-U01", None),
        ("1957 ALP 0", None),
        ("-", None),
    ],
)
def test_gcat_pieces(tmp_path, piece, expected):
    assert cospar_of(piece) == expected
    frame = read_gcat(save(tmp_path, as_gcat({**OBJECT, "Piece": piece})))
    assert frame["OBJECT_ID"].to_list() == [expected]
    assert launch_of(frame).to_list() == [expected[:8] if expected else "NORAD 90001"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2031 Mar  1", date(2031, 3, 1)),
        ("2031 Mar 15 0430?", date(2031, 3, 15)),
        ("2031 Mar 15?", date(2031, 3, 15)),
        ("2031 Mar 15.5", date(2031, 3, 15)),
        ("2031 Mar", None),
        ("2031 Mar?", None),
        ("2031 Q2", None),
        ("2031s", None),
        ("-", None),
        ("*", None),
    ],
)
def test_gcat_vague_dates(tmp_path, written, expected):
    frame = read_gcat(save(tmp_path, as_gcat({**OBJECT, "DDate": written, "Status": "R?"})))
    assert frame["DECAY"].to_list() == [expected]


@pytest.mark.parametrize(("status", "gone"), [("R", True), ("D", True), ("L?", True), ("O", False), ("DK", False)])
def test_gcat_ddate_is_a_decay_only_where_the_object_came_down(tmp_path, status, gone):
    frame = read_gcat(save(tmp_path, as_gcat({**OBJECT, "DDate": "2032 Jan  1", "Status": status})))
    assert frame["DECAY"].is_not_null().to_list() == [gone]


@pytest.mark.parametrize("change", [{"Primary": "Sun"}, {"Apogee": "Inf"}, {"Apogee": "-90000"}, {"Perigee": "-"}])
def test_gcat_orbits_that_are_no_ellipse_about_the_earth_are_null(tmp_path, change):
    frame = read_gcat(save(tmp_path, as_gcat({**OBJECT, **change})))
    assert frame.select("PERIOD", "APOGEE", "PERIGEE", "SEMIMAJOR_AXIS", "ECCENTRICITY").row(0) == (None,) * 5


def test_gcat_numbers_of_nine_digits_and_objects_without(tmp_path):
    part = {**OBJECT, "#JCAT": "A00046"}
    none = {**OBJECT, "#JCAT": "S00002", "Satcat": "NNA"}
    big = {**OBJECT, "#JCAT": "S000100000", "Satcat": "000100000"}
    frame = read_gcat(save(tmp_path, as_gcat(part, OBJECT, none, big)))
    assert frame["NORAD_CAT_ID"].to_list() == [90001, 100000]


def test_gcat_rules_are_those_of_a_satcat(tmp_path):
    path = save(tmp_path, as_gcat(OBJECT, {**OBJECT, "Satcat": "90002", "Inc": "181", "Type": "Q"}))
    with pytest.raises(CatalogError, match=r"line 4, column OBJECT_TYPE: value 'Q' breaks the rule") as caught:
        read_gcat(path)
    assert str(path) in str(caught.value)
    good, bad = read_gcat(path, on_error="collect")
    assert good["NORAD_CAT_ID"].to_list() == [90001]
    assert bad.select("line", "column", "value").rows() == [(4, "OBJECT_TYPE", "Q"), (4, "INCLINATION", "181")]


def test_ucs_row_in_both_encodings_and_with_commas(tmp_path):
    text = as_ucs(SATELLITE)
    frame = read_ucs(save(tmp_path, text))
    assert frame.schema == polars_schema(SATCAT_COLUMNS)
    row = frame.row(0, named=True)
    assert row.pop("ECCENTRICITY") == pytest.approx(2.016e-4, rel=1e-3)
    assert {name: value for name, value in row.items() if value is not None} == {
        "NORAD_CAT_ID": 90001,
        "OBJECT_ID": "2031-007A",
        "OBJECT_NAME": "Synthetic 1 (“né” Ä)",
        "OBJECT_TYPE": "PAYLOAD",
        "COUNTRY": "Nowhere",
        "LAUNCH": date(2031, 2, 3),
        "SITE": "The Sea",
        "PERIOD": 1436.07,
        "INCLINATION": 0.05,
        "APOGEE": 35795.0,
        "PERIGEE": 35778.0,
        "LAUNCH_YEAR": 2031,
        "SEMIMAJOR_AXIS": 42164.635,
    }
    assert read_ucs(save(tmp_path, text.encode("cp1252"))).equals(frame)
    commas = "\n".join(
        line.replace(UCS[0], f'"{UCS[0]}"').replace("\t", ",") for line in as_ucs(SATELLITE).splitlines()
    )
    assert read_ucs(save(tmp_path, gzip.compress(commas.encode()))).equals(frame)


@pytest.mark.parametrize("written", ["2031-02-03", "2031-02-03 00:00:00", "02/03/2031"])
def test_ucs_dates(tmp_path, written):
    frame = read_ucs(save(tmp_path, as_ucs({**SATELLITE, "Date of Launch": written})))
    assert frame["LAUNCH"].to_list() == [date(2031, 2, 3)]


def test_ucs_rules(tmp_path):
    rows = [SATELLITE, {**SATELLITE, "NORAD Number": ""}, {**SATELLITE, "NORAD Number": "7", "Date of Launch": "2031"}]
    path = save(tmp_path, as_ucs(*rows))
    with pytest.raises(CatalogError, match="line 3, column NORAD_CAT_ID: NORAD_CAT_ID is a positive integer"):
        read_ucs(path)
    good, bad = read_ucs(path, on_error="collect")
    assert good.height == 1
    assert bad.select("line", "column", "value").rows() == [(3, "NORAD_CAT_ID", None), (4, "LAUNCH", "2031")]


@pytest.mark.parametrize(("read", "form"), [(read_gcat, "gcat"), (read_ucs, "ucs"), (read_ucs, "ucs with commas")])
def test_every_encoding_and_line_end_gives_the_same_rows_and_places(tmp_path, read, form):
    if form == "gcat":
        text = as_gcat({**OBJECT, "Name": "NÉ\u2028Ω"}, {**OBJECT, "Satcat": "90002", "Inc": "181"})
    else:
        rows = [{**SATELLITE, UCS[1]: "NÉ\u2028Ω"}, {**SATELLITE, "NORAD Number": "7", "Date of Launch": "2031"}]
        text = as_ucs(*rows).replace("\r\n", "\n")
    if form == "ucs with commas":
        text = text.replace(UCS[0], f'"{UCS[0]}"').replace("\t", ",")
    expected = read(save(tmp_path, text), on_error="collect")
    assert (expected[0]["OBJECT_NAME"].to_list(), expected[1].height) == (["NÉ\u2028Ω"], 1)
    for name, content in other_bytes(text).items():
        good, bad = read(save(tmp_path, content), on_error="collect")
        assert good.equals(expected[0]), name
        assert bad["line"].to_list() == [expected[1]["line"][0] + 3 * (name == "blank lines first")], name


@pytest.mark.parametrize(
    ("read", "names", "wanted"), [(read_gcat, GCAT, "tabs"), (read_ucs, UCS[3:], "tabs or commas")]
)
def test_another_separator_is_named(tmp_path, read, names, wanted):
    path = save(tmp_path, "\n" + ";".join(names) + "\n")
    with pytest.raises(CatalogError, match=f"line 2: .* wants {wanted} between .* the header has semicolons"):
        read(path)
    if wanted == "tabs":
        with pytest.raises(CatalogError, match="wants tabs between the fields, but the header has commas"):
            read(save(tmp_path, ",".join(names) + "\n"))


def test_of_ucs_rows_with_one_number_the_first_sound_one_stays(tmp_path):
    rows = [
        SATELLITE,
        {**SATELLITE, "NORAD Number": "90002", "Date of Launch": "2031"},
        {**SATELLITE, "NORAD Number": "90001 ", UCS[1]: "Second"},
        {**SATELLITE, "NORAD Number": '"90,002"', UCS[1]: "Sound"},
        {**SATELLITE, UCS[1]: "Third"},
    ]
    path = save(tmp_path, as_ucs(*rows))
    good, bad = read_ucs(path, on_error="collect")
    assert good.select("NORAD_CAT_ID", "OBJECT_NAME").rows() == [(90001, SATELLITE[UCS[1]]), (90002, "Sound")]
    assert bad.select("line", "NORAD_CAT_ID", "column").rows() == [
        (3, "90002", "LAUNCH"),
        (4, "90001", "NORAD_CAT_ID"),
        (6, "90001", "NORAD_CAT_ID"),
    ]
    assert bad["rule"].to_list()[1:] == 2 * [
        "each NORAD_CAT_ID stands once, but line 2 has it too: the first row is kept"
    ]
    path = save(tmp_path, as_ucs(rows[0], rows[2]))
    with pytest.raises(CatalogError, match=r"line 3, column NORAD.* '90001'.*line 2 has it.*on_error='collect'"):
        read_ucs(path)


def test_gcat_rows_with_one_number_are_all_out(tmp_path):
    path = save(tmp_path, as_gcat(OBJECT, {**OBJECT, "#JCAT": "S90002"}, {**OBJECT, "Satcat": "90003"}))
    with pytest.raises(CatalogError, match=r"line 3, .* line 4 has it too: neither row is kept.*on_error='collect'"):
        read_gcat(path)
    good, bad = read_gcat(path, on_error="collect")
    assert (good["NORAD_CAT_ID"].to_list(), bad["line"].to_list()) == ([90003], [3, 4])


WRONG_FILES = {
    "empty": (b"", "the file is empty"),
    "prose": (b"hello", "value 'hello' .*has none of its columns"),
    "JSON": (b'[{"NORAD_CAT_ID": "5"}]', "value '5' .*has none of its columns"),
    "only names": ("\t".join(GCAT).encode(), "holds no|lacks"),
    "only UCS names": ("\t".join(UCS).encode(), "holds no|lacks"),
    "short row": (as_gcat(OBJECT).encode() + b"S1\t1\n", "a row has as many fields|lacks"),
    "workbook": (b"PK\x03\x04" + bytes(20), "zero bytes"),
    "cut gzip": (gzip.compress(as_gcat(OBJECT).encode())[:-9], "the gzip file is damaged or cut off"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
@pytest.mark.parametrize("read", [read_gcat, read_ucs])
def test_a_wrong_file_is_an_error_that_names_it(tmp_path, name, read):
    content, message = WRONG_FILES[name]
    path = save(tmp_path, content)
    with pytest.raises(CatalogError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_on_error_has_two_values(tmp_path):
    for read in (read_gcat, read_ucs):
        with pytest.raises(ConfigurationError, match="'raise' or 'collect', not 'skip'"):
            read(tmp_path, on_error="skip")


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(sorted(DISCOS_TYPES)) | st.none(), min_size=1))
def test_discos_classes(classes):
    kinds = object_types_of_discos(pl.Series("objectClass", classes, dtype=pl.String)).to_list()
    assert object_types_of_discos(pl.Series(classes, dtype=pl.Categorical)).to_list() == kinds
    for written, kind in zip(classes, kinds, strict=True):
        assert kind == ("UNKNOWN" if written is None else DISCOS_TYPES[written])
        assert (kind == "PAYLOAD") == (written == "Payload")
        assert (kind == "ROCKET BODY") == (written == "Rocket Body")


def test_a_class_that_discos_does_not_have(tmp_path):
    with pytest.raises(
        CatalogError, match="line 2, column objectClass: value 'Teapot' breaks the rule: a DISCOS object"
    ):
        object_types_of_discos(pl.Series("objectClass", ["payload ", "Teapot"]))
