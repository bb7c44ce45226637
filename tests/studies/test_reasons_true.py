"""Reasons held against the catalog: what is true passes, and nothing else. All objects are made up."""

from __future__ import annotations

import polars as pl
import pytest
import reasons_true
from reasons import DECISION, EXAMPLE, WORDS, kind_of, n_phrases, read_phrase, sentence_contradictions
from reasons import table_contradictions as of_table

ROW = {
    "NORAD_CAT_ID": 90001, "OBJECT_NAME": "OBJECT A", "OBJECT_TYPE": "UNKNOWN", "COUNTRY": "US", "SITE": "AFETR",
    "RCS_SIZE": "SMALL", "LAUNCH_YEAR": 1981, "PERIGEE": 560.3, "APOGEE": 35786.4, "INCLINATION": 65.0012,
    "ECCENTRICITY": 0.0012345678, "SEMIMAJOR_AXIS": 7000.25, "PERIOD": 97.1, "BSTAR": 3.2e-7, "MEAN_MOTION_DOT": -2e-5,
    "FAMILY_SMALL_SHARE": 0.957, "FAMILY_NEAR_SHARE": float("nan"), "FAMILY_DECAYED_FAST_SHARE": 0.25,
    "FAMILY_INCLINATION_DEVIATION": -0.23456, "FAMILY_SEMIMAJOR_AXIS_DEVIATION": 0.0,
    "FAMILY_ECCENTRICITY_DEVIATION": None, "FAMILY_SEMIMAJOR_AXIS_Q25": 6990.5, "FAMILY_DECAYED_LIFE": 2.5,
}  # fmt: skip
UNITS = {
    "PERIGEE": "km", "APOGEE": "km", "INCLINATION": "deg", "SEMIMAJOR_AXIS": "km", "PERIOD": "min",
    "LAUNCH_YEAR": "year", "BSTAR": "1/earth radius", "MEAN_MOTION_DOT": "rev/day^2",
    "FAMILY_INCLINATION_DEVIATION": "deg",
    "FAMILY_SEMIMAJOR_AXIS_DEVIATION": "km", "FAMILY_SEMIMAJOR_AXIS_Q25": "km", "FAMILY_DECAYED_LIFE": "yr",
}  # fmt: skip
CLASSES = {"90002 OBJECT B DEB": "DEBRIS", "90003 OBJECT C": "PAYLOAD", "90001 OBJECT A": "UNKNOWN"}
WRITTEN = {
    "class": "DEBRIS", "p(DEBRIS)": "0.981234", "p(PAYLOAD)": "0.0181", "p(ROCKET BODY)": "0.000666",
    "runner_up": "PAYLOAD", "like": "90002 OBJECT B DEB",
    "column_1": "RCS_SIZE", "value_1": "SMALL", "unit_1": None, "contribution_1": "1.93",
    "column_2": "INCLINATION", "value_2": "65.0012", "unit_2": "deg", "contribution_2": "0.71",
    "column_3": "PERIGEE", "value_3": "560.3", "unit_3": "km", "contribution_3": "-0.42",
    "column_4": "FAMILY_NEAR_SHARE", "value_4": "missing", "unit_4": None, "contribution_4": "0.2",
    "column_5": "LAUNCH_YEAR", "value_5": "1981", "unit_5": None, "contribution_5": "-0.1",
}  # fmt: skip
#: The same for a table that lists no columns, so that a sentence may give them any contribution.
UNLISTED = {name: text for name, text in WRITTEN.items() if not name.startswith("column_")}
SENTENCE = (
    "DEBRIS 0.98: RCS_SIZE SMALL (+1.9), 96 % of its launch small (+1.2), inclination 65 deg (+0.7); against: perigee "
    "560.3 km (-0.4), launched in 1981 (-0.1); like 90002 OBJECT B DEB"
)
TRUE = [
    "country US", "launched from AFETR", "apogee 35786 km", "eccentricity 0.001235", "semi-major axis 7000 km",
    "drag term B* 3.2e-07 1/earth radius", "mean motion changing by -2e-05 rev/day^2",
    "share of its launch within 10 km and 0.05 deg missing", "inclination 0.2346 deg below the median of its launch",
    "semi-major axis 0 km from the median of its launch", "eccentricity from the median of its launch missing",
    "lower quartile of its launch's semi-major axis 6990 km", "mean life of the decayed ones of its launch 2.5 yr",
    "25 % of the decayed ones of its launch fell within a year",
]  # fmt: skip
FALSE = [
    "country PRC", "launched from TTMTR", "apogee 35785 km", "eccentricity 0.001236", "inclination 74-83 deg",
    "95 % of its launch small", "0 % of its launch within 10 km and 0.05 deg", "perigee missing", "perigee 560.3 m",
    "inclination 0.2346 deg above the median of its launch", "launched in 1982", "RCS_SIZE LARGE", "RCS_SIZE missing",
    "semi-major axis 3 km above the median of its launch", "eccentricity 0 from the median of its launch",
    "inclination 65.1 deg", "perigee 560 to 570 km",
]  # fmt: skip


def of_sentence(sentence: str, written: dict[str, str | None] = WRITTEN) -> list[str]:
    return [one.kind for one in sentence_contradictions(sentence, written, ROW, UNITS, CLASSES)]


def test_a_true_reason_passes():
    assert of_table(WRITTEN, ROW, UNITS, CLASSES) == []
    assert of_sentence(SENTENCE) == []
    assert n_phrases(SENTENCE) == 5
    assert of_sentence("DEBRIS 0.98: no column says much for it; against: perigee 560.3 km (-0.4)") == []
    assert of_sentence("DEBRIS 0.98: no column says much for it") == []


@pytest.mark.parametrize("phrase", TRUE)
def test_true_phrases_are_read(phrase):
    assert of_sentence(f"DEBRIS 0.98: {phrase} (+3.3)", UNLISTED) == []


@pytest.mark.parametrize("phrase", FALSE)
def test_false_phrases_are_found(phrase):
    assert of_sentence(f"DEBRIS 0.98: {phrase} (+3.3)", UNLISTED) == [kind_of(read_phrase(phrase, ROW).column)]


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("like 90002 OBJECT B DEB", "like 90003 OBJECT C", EXAMPLE),
        ("like 90002 OBJECT B DEB", "like 90001 OBJECT A", EXAMPLE),
        ("like 90002 OBJECT B DEB", "like 90009 NOBODY", EXAMPLE),
        ("DEBRIS 0.98", "DEBRIS 0.97", DECISION),
        ("DEBRIS 0.98", "PAYLOAD 0.98", DECISION),
        ("SMALL (+1.9)", "SMALL (+1.8)", DECISION),
        ("560.3 km (-0.4)", "560.3 km (+0.4)", DECISION),
        ("RCS_SIZE SMALL", "sized SMALL", WORDS),
        ("96 % of its launch small", "most of its launch small", WORDS),
    ],
)
def test_false_parts_of_a_sentence_are_found(old, new, kind):
    assert kind in of_sentence(SENTENCE.replace(old, new))


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"value_1": "LARGE"}, "size"),
        ({"value_1": "missing"}, "size"),
        ({"value_2": "65.0022"}, "inclination"),
        ({"unit_2": "rad"}, "inclination"),
        ({"unit_3": None}, "altitude"),
        ({"value_4": "0"}, "launch"),
        ({"value_5": "1982"}, "other column"),
        ({"column_1": "COUNTRY"}, "country"),
        ({"like": "90003 OBJECT C"}, EXAMPLE),
        ({"class": "PAYLOAD", "like": None}, DECISION),
        ({"runner_up": "ROCKET BODY"}, DECISION),
    ],
)
def test_false_columns_of_a_table_are_found(changed, kind):
    assert [one.kind for one in of_table(WRITTEN | changed, ROW, UNITS, CLASSES)] == [kind]


def test_the_study_finds_nothing_in_what_is_written_and_much_in_what_is_not(synthetic, tmp_path, monkeypatch, capsys):
    """The second time the catalog that the reasons are held against has its objects' values in another order."""
    rows = synthetic.sample(1200, seed=0)
    clf = reasons_true.fitted(rows, short=True)
    monkeypatch.setattr(reasons_true, "load_catalog", lambda catalog, elsets: rows)
    monkeypatch.setattr(reasons_true, "fitted", lambda frame, short: clf)
    monkeypatch.setattr(reasons_true, "N_TYPED", 100)
    assert reasons_true.main(["satcat.csv", "--short", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "reasons_true_short" / "report.md").read_text()
    assert "SYNTHETIC" in text
    assert "100 typed, drawn at random" in text
    capsys.readouterr()

    judged = reasons_true.judged
    fixed = ("NORAD_CAT_ID", "OBJECT_NAME", "OBJECT_TYPE")

    def shifted(objects, file, frame):
        others = pl.all().exclude(*fixed)
        return judged(objects, file, frame.select(*fixed, others.gather((pl.int_range(pl.len()) + 1) % pl.len())))

    monkeypatch.setattr(reasons_true, "judged", shifted)
    assert reasons_true.main(["satcat.csv", "--short"]) == 1
    lines = capsys.readouterr().out.splitlines()
    table = [line.split("|") for line in lines if "| 22 unknown" in line or "| 100 typed" in line]
    assert len(table) == 4
    for _, objects, source, _, contradicted, *_ in table:
        # A sentence of a small network may say no more than that no column says much.
        least = 0.9 if "columns" in source else 0.3
        assert int(contradicted) > least * int(objects.split()[0])
