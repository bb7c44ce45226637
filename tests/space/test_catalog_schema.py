"""The canonical columns: roles, bounds, units, leaks."""

from __future__ import annotations

import polars as pl
import pytest

from ddcl_tab.space._schema import ELSET_COLUMNS, LEAKS, SATCAT_COLUMNS, UNITS, Column, polars_schema

BOTH = (*SATCAT_COLUMNS, *ELSET_COLUMNS)


def test_every_leak_or_identifier_has_a_reason_and_no_feature_does():
    for column in BOTH:
        assert (column.role in ("leak", "identifier")) == (column.name in LEAKS), column.name


def test_leaks_cover_the_names_listed_in_the_data_readme():
    # Raw provider names a user's own table may carry.
    listed = (
        "OBJECT_NAME SATNAME OBJECT_ID INTLDES LAUNCH_PIECE NORAD_CAT_ID OBJECT_NUMBER FILE COMMENT COMMENTCODE DECAY"
    )
    assert set(listed.split()) <= set(LEAKS)
    assert all(reason and "\n" not in reason for reason in LEAKS.values())


def test_the_target_is_object_type_alone():
    assert [column.name for column in BOTH if column.role == "target"] == ["OBJECT_TYPE"]


def test_columns_are_unique_and_shared_ones_agree():
    for columns in (SATCAT_COLUMNS, ELSET_COLUMNS):
        names = [column.name for column in columns]
        assert len(set(names)) == len(names)
    satcat, elsets = ({c.name: c for c in columns} for columns in (SATCAT_COLUMNS, ELSET_COLUMNS))
    for name in satcat.keys() & elsets.keys():
        assert (satcat[name].dtype, satcat[name].unit, satcat[name].role) == (
            elsets[name].dtype,
            elsets[name].unit,
            elsets[name].role,
        )


def test_every_physical_float_has_a_unit_but_eccentricity():
    without = {column.name for column in BOTH if column.dtype == pl.Float64() and column.name not in UNITS}
    assert without == {"ECCENTRICITY"}
    assert UNITS["PERIOD"] == "min"
    assert UNITS["RCS"] == "m^2"


def test_derived_columns_name_columns_that_exist():
    names = set(polars_schema(SATCAT_COLUMNS).names())
    derived = {column.name: column.derived_from for column in SATCAT_COLUMNS if column.derived_from}
    assert set(derived) == {"LAUNCH_YEAR", "SEMIMAJOR_AXIS", "ECCENTRICITY"}
    assert all(names.issuperset(sources) for sources in derived.values())


@pytest.mark.parametrize(
    ("bounds", "rule", "broken"),
    [
        ({"lower": 0, "upper": 1, "upper_open": True}, "V is in [0, 1) km", [True, False, False, True, True]),
        ({"lower": 0, "lower_open": True}, "V is above 0 km", [True, True, False, False, False]),
        ({"lower": 0}, "V is at least 0 km", [True, False, False, False, False]),
        ({"upper": 1}, "V is at most 1 km", [False, False, False, False, True]),
        ({"upper": 1, "upper_open": True}, "V is below 1 km", [False, False, False, True, True]),
        ({}, "", [False, False, False, False, False]),
    ],
)
def test_bounds_as_a_sentence_and_as_an_expression(bounds, rule, broken):
    column = Column("V", pl.Float64(), "km", "a length", "feature", **bounds)
    frame = pl.DataFrame({"V": [-1.0, 0.0, 0.5, 1.0, 2.0]})
    assert column.rule == rule
    assert frame.select(column.out_of_bounds()).to_series().to_list() == broken


def test_numbers_that_are_not_finite_break_the_bounds_and_null_does_not():
    column = Column("V", pl.Float64(), "km", "a length", "feature", lower=0)
    frame = pl.DataFrame({"V": [float("nan"), float("inf"), float("-inf"), None]})
    assert frame.select(column.out_of_bounds()).to_series().to_list() == [True, True, True, None]
