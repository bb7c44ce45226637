"""Frame to arrays, on pandas and polars alike. All values are invented."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddcl_tab.errors import DDCLTabError, InputError, LeakWarning
from ddcl_tab.estimators._columns import (
    CategoricalColumn,
    NumericColumn,
    as_table,
    is_frame,
    to_columns,
)
from ddcl_tab.estimators._table import N_PIECES, NARROWEST, TableEncoder
from ddcl_tab.space._domain import SPACE
from ddcl_tab.space._schema import LEAKS

N = 40
finite = st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture(params=["pandas", "polars"])
def frame(request):
    return pd.DataFrame if request.param == "pandas" else pl.DataFrame


def column(X):
    return to_columns(X, ["A"])[0]


def encode(values, X=pl.DataFrame):
    encoder = TableEncoder(columns=["A"]).fit(X({"A": values}))
    return encoder.transform(X({"A": values})).numeric[:, 0]


def invented(X):
    rng = np.random.default_rng(0)
    period = [None if i % 7 == 0 else float(v) for i, v in enumerate(rng.normal(100, 5, N))]
    site = [None if i % 9 == 0 else "TSC" if i % 3 else "KOU" for i in range(N)]
    site[1] = "ONCE"
    launched = [None if i == 4 else date(2031, 1, 1) + timedelta(days=i) for i in range(N)]
    seen = [None if i == 2 else i % 2 == 0 for i in range(N)]
    return X({"PERIOD": period, "SITE": site, "LAUNCHED": launched, "SEEN": seen, "COUNT": list(range(N))})


NAMES = ["PERIOD", "SITE", "LAUNCHED", "SEEN", "COUNT"]


# Leaks


def test_columns_that_give_the_class_away_are_refused_by_name_and_reason():
    names = ["PERIOD", "OBJECT_NAME", "LAUNCH_PIECE", "NORAD_CAT_ID", "RCS_SIZE"]
    with pytest.warns(LeakWarning) as caught:
        assert SPACE.features_among(names) == ["PERIOD", "RCS_SIZE"]
    (message,) = [str(warning.message) for warning in caught]
    for name in ("OBJECT_NAME", "LAUNCH_PIECE", "NORAD_CAT_ID"):
        assert f"{name} ({LEAKS[name]})" in message
    assert message.startswith("left out of the features because they give the class away: ")
    assert message.endswith("allow_leaks=True keeps them.")


def test_allow_leaks_keeps_them_and_says_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert SPACE.features_among(["OBJECT_NAME", "EPOCH", "PERIOD"], allow_leaks=True) == ["OBJECT_NAME", "PERIOD"]
        assert SPACE.features_among(["LAUNCH", "PERIOD"]) == ["PERIOD"]  # bookkeeping goes without a word


@pytest.mark.parametrize("name", sorted(LEAKS))
def test_every_known_leak_is_refused(name):
    with pytest.warns(LeakWarning, match=name):
        assert SPACE.features_among([name, "PERIOD"]) == ["PERIOD"]


# Reading columns


def test_pandas_and_polars_give_the_same_arrays():
    left, right = to_columns(invented(pd.DataFrame), NAMES), to_columns(invented(pl.DataFrame), NAMES)
    for one, other in zip(left, right, strict=True):
        assert type(one) is type(other)
        np.testing.assert_array_equal(one.values, other.values)
    encoded = [
        TableEncoder(columns=NAMES).fit(X).transform(X) for X in (invented(pd.DataFrame), invented(pl.DataFrame))
    ]
    np.testing.assert_array_equal(encoded[0].numeric, encoded[1].numeric)
    np.testing.assert_array_equal(encoded[0].categorical, encoded[1].categorical)


def test_units_come_from_the_schema(frame):
    known = {"PERIOD": "min", "INCLINATION": "deg", "APOGEE": "km", "PERIGEE": "km", "ECCENTRICITY": "", "MADE_UP": ""}
    columns = to_columns(frame({name: [1.0] for name in known}), list(known), SPACE.units)
    assert {c.name: c.unit for c in columns} == known


def test_dates_are_decimal_years(frame):
    # 365.2425 days to the year from 1970: 2030-01-01 is day 21915, 21915 / 365.2425 = 60.001232.
    read = column(frame({"A": [datetime(2030, 1, 1), None, datetime(2030, 1, 2)]}))
    assert read.unit == "year"
    np.testing.assert_allclose(read.values, [1970 + 21915 / 365.2425, np.nan, 1970 + 21916 / 365.2425], rtol=1e-14)
    np.testing.assert_array_equal(column(frame({"A": [date(2030, 1, 1), None, date(2030, 1, 2)]})).values, read.values)


def test_time_zones_are_read_as_the_same_instant(frame):
    tokyo = datetime(2030, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))
    read = column(frame({"A": pd.to_datetime([tokyo, None], utc=False)} if frame is pd.DataFrame else {"A": [tokyo]}))
    assert read.values[0] == column(pl.DataFrame({"A": [datetime(2030, 1, 1)]})).values[0]


def test_arrays_of_dates_need_no_frame():
    years = [
        to_columns(np.array([["2030", "NaT"]], dtype=f"M8[{unit}]").T, ["A"])[0].values for unit in ("Y", "D", "ns")
    ]
    np.testing.assert_allclose(years[0], [1970 + 21915 / 365.2425, np.nan], rtol=1e-14)
    np.testing.assert_array_equal(years[0], years[1])
    np.testing.assert_array_equal(years[0], years[2])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.array([1, None], dtype="Int64"), [1, np.nan]),
        (pd.array([1.5, None], dtype="Float64"), [1.5, np.nan]),
        (pd.array([True, None], dtype="boolean"), [1, np.nan]),
        (pd.array([1, None], dtype="int64[pyarrow]"), [1, np.nan]),
        (pd.Series([True, None], dtype=object), [1, np.nan]),
        (pd.Series([1, pd.NA, 2.5, None], dtype=object), [1, np.nan, 2.5, np.nan]),
        (np.array([-0.0, 3.0], dtype=np.float32), [0, 3]),
    ],
)
def test_numeric_kinds_of_pandas(values, expected):
    read = column(pd.DataFrame({"A": values}))
    assert isinstance(read, NumericColumn)
    np.testing.assert_array_equal(read.values, expected)
    assert not np.signbit(read.values[0])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.array(["a", None], dtype="string"), ["a", None]),
        (pd.array(["a", None], dtype="string[pyarrow]"), ["a", None]),
        (pd.Categorical(["a", None, "b"]), ["a", None, "b"]),
        (pd.Series(["a", pd.NA, np.nan, None], dtype=object), ["a", None, None, None]),
        (pd.Categorical([1, 2]), ["1", "2"]),
        (pd.Categorical([1, None, 2]), ["1", None, "2"]),  # one category, one text, whether values are missing or not
    ],
)
def test_categorical_kinds_of_pandas(values, expected):
    read = column(pd.DataFrame({"A": values}))
    assert isinstance(read, CategoricalColumn)
    assert read.values.tolist() == expected


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Enum(["a", "b"])])
def test_categorical_kinds_of_polars(dtype):
    assert column(pl.DataFrame({"A": pl.Series(["a", None, "b"], dtype=dtype)})).values.tolist() == ["a", None, "b"]


def as_objects(values, where):
    """The values as a column of Python objects of a frame or of an array."""
    array = np.fromiter(values, dtype=object)
    if where == "pandas":
        return pd.DataFrame({"A": pd.Series(array, dtype=object)})
    return pl.DataFrame({"A": pl.Series(list(values), dtype=pl.Object)}) if where == "polars" else array[:, None]


HOLDERS = ["pandas", "polars", "array"]


@pytest.mark.parametrize("where", HOLDERS)
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([Decimal("0.5"), None, Decimal("-1E+2")], [0.5, np.nan, -100]),
        ([Decimal("NaN"), Decimal("sNaN"), pd.NA, pd.NaT, Decimal(3)], [np.nan] * 4 + [3]),
        ([Fraction(1, 4), float("nan"), 2], [0.25, np.nan, 2]),
        ([np.float32(0.5), np.int8(-3), True, np.bool_(False), np.float64("nan"), 7], [0.5, -3, 1, 0, np.nan, 7]),
        ([None] * 120 + [Decimal("0.5")], [np.nan] * 120 + [0.5]),  # the first hundred tell nothing
    ],
)
def test_objects_that_are_numbers_are_numbers(where, values, expected):
    read = column(as_objects(values, where))
    assert isinstance(read, NumericColumn)
    np.testing.assert_array_equal(read.values, expected)


@pytest.mark.parametrize("where", HOLDERS)
@pytest.mark.parametrize(
    "day",
    [
        datetime(2030, 1, 1),
        date(2030, 1, 1),
        datetime(2030, 1, 1, 9, tzinfo=timezone(timedelta(hours=9))),
        pd.Timestamp("2030-01-01"),
        pd.Timestamp("2029-12-31 19:00", tz="America/New_York"),
        np.datetime64("2030-01-01"),
        np.datetime64("2030-01-01T00:00:00.000000001"),
    ],
)
def test_objects_that_are_dates_are_decimal_years(where, day):
    others = [None, pd.NaT, pd.NA, np.datetime64("NaT"), float("nan"), datetime(1, 1, 1, tzinfo=UTC)]
    read = column(as_objects([day, *others], where))
    assert read.unit == "year"
    # From 0001-01-01 to 1970 are 719162 days.
    expected = [1970 + 21915 / 365.2425, *[np.nan] * 5, 1970 - 719162 / 365.2425]
    np.testing.assert_allclose(read.values, expected, rtol=1e-14)


@given(values=st.lists(finite, min_size=1, max_size=12))
@settings(max_examples=40)
def test_exact_types_say_what_floats_say(values):
    expected = to_columns(np.array(values)[:, None], ["A"])[0].values
    for kind in (Decimal, Fraction):
        np.testing.assert_array_equal(column(as_objects([kind(v) for v in values], "pandas")).values, expected)


@pytest.mark.parametrize("dtype", [pa.decimal128(20, 2), pa.decimal256(60, 2)])
def test_decimals_of_arrow_are_numbers(dtype):
    values = pa.array([Decimal("1.25"), None], type=dtype)
    for X in (pa.table({"A": values}), pd.DataFrame({"A": pd.Series(values, dtype=pd.ArrowDtype(dtype))})):
        np.testing.assert_array_equal(column(X).values, [1.25, np.nan])


@pytest.mark.parametrize("where", HOLDERS)
@pytest.mark.parametrize(
    "huge", [10**400, -(10**400), 10**5000, Fraction(10**400), Decimal("1e400")], ids=lambda v: type(v).__name__
)
def test_numbers_that_no_float_holds_are_named(where, huge):
    kind = type(huge).__name__
    with pytest.raises(InputError, match=rf"'A' holds a number too large for a float \(row 1, of type {kind}\)"):
        column(as_objects([1, huge], where))


def test_an_infinite_decimal_is_infinite():
    with pytest.raises(InputError, match=r"column 'A' holds an infinite value \(row 1"):
        column(as_objects([Decimal(1), Decimal("-Infinity")], "pandas"))


@pytest.mark.parametrize("where", HOLDERS)
@pytest.mark.parametrize("odd", [1.0, date(2030, 1, 1), timedelta(1)])
def test_a_value_of_another_kind_is_found_behind_a_hundred_texts(where, odd):
    with pytest.raises(InputError, match=r"column 'A', row 150 holds"):
        column(as_objects(["u"] * 150 + [odd], where))
    with pytest.raises(DDCLTabError, match=r"column 'A', row 1 holds"):
        column(as_objects([datetime(2030, 1, 1), 5], where))


@pytest.mark.parametrize("dtype", ["f4", "i8", "?", object, "M8[D]", "U3"])
def test_what_is_masked_is_missing(dtype):
    values = np.array([["1", "1"], ["0", "0"]]).astype("i8").astype(dtype)
    read = to_columns(np.ma.array(values, mask=[[False, True], [False, False]]), ["A", "B"])
    assert [v is None or v != v for c in read for v in c.values] == [False, False, True, False]
    assert read[0].values[1] == read[1].values[1]
    whole = to_columns(np.ma.array(values), ["A", "B"])
    np.testing.assert_array_equal(whole[0].values, to_columns(values, ["A", "B"])[0].values)


def test_rows_that_are_masked_arrays_keep_their_masks():
    rows = [np.ma.array([95.0, 1e9], mask=[False, True]), np.ma.array([97.0, 3.0])]
    for table in (rows, tuple(rows), np.ma.stack(rows)):
        np.testing.assert_array_equal(as_table(table), [[95.0, np.nan], [97.0, 3.0]])
    assert as_table([[95.0, 1e9]]) == [[95.0, 1e9]]
    assert as_table(["DEB", np.ma.masked])[1] is np.ma.masked


def test_lazy_frames_are_collected():
    X = invented(pl.DataFrame)
    encoder = TableEncoder(columns=NAMES).fit(X.lazy())
    assert encoder.to_json() == TableEncoder(columns=NAMES).fit(X).to_json()
    np.testing.assert_array_equal(encoder.transform(X.lazy()).numeric, encoder.transform(X).numeric)


def test_names_that_stand_twice_are_named():
    numbers = np.ones((3, 4))
    for X in (
        pd.DataFrame(numbers, columns=["PERIOD", "SITE", "PERIOD", "column_names"]),
        pa.table([pa.array([1.0])] * 3, names=["PERIOD", "SITE", "PERIOD"]),
    ):
        for read in (lambda X: to_columns(X, ["SITE"]), TableEncoder().fit, is_frame):
            with pytest.raises(InputError, match=r"must have different names, but \['PERIOD'\] occur more than once"):
                read(X)


def test_texts_that_look_missing_are_texts(frame):
    assert column(frame({"A": ["nan", "", "None"]})).values.tolist() == ["nan", "", "None"]


@pytest.mark.parametrize("odd", ["text", b"bytes", 1 + 2j, timedelta(1), np.timedelta64(1, "D"), [1.0]])
def test_objects_that_are_not_all_numbers_name_the_row(odd):
    values = np.empty(4, dtype=object)
    values[:] = [1.0, None, 2, 0]
    values[3] = odd
    for X in (pd.DataFrame({"A": values}), values[:, None]):
        with pytest.raises(TypeError, match=r"must be a string or a number.*column 'A', row 3 holds") as caught:
            column(X)
        assert type(odd).__name__ in str(caught.value)
        assert isinstance(caught.value, InputError)


@pytest.mark.parametrize("values", [np.array([[1 + 2j]]), np.array([[1]], dtype="m8[D]"), np.array([[b"a"]])])
def test_arrays_of_other_kinds_are_refused(values):
    with pytest.raises(TypeError, match="column 'A', row 0"):
        column(values)


def test_types_that_are_no_values_are_refused(frame):
    with pytest.raises(InputError, match=r"column 'A' is of type Duration.*neither number, text nor date"):
        column(frame({"A": [timedelta(1), timedelta(2)]}))
    with pytest.raises(InputError, match="column 'A' is of type List"):
        column(pl.DataFrame({"A": [[1], [2]]}))


@pytest.mark.parametrize("infinite", [np.inf, -np.inf])
def test_infinite_values_name_the_row(frame, infinite):
    with pytest.raises(InputError, match=r"column 'PERIOD' holds an infinite value \(row 2, inf; 2 in all\)"):
        to_columns(frame({"PERIOD": [1.0, None, infinite, 3.0, infinite]}), ["PERIOD"])


def test_a_column_that_is_gone_is_named(frame):
    encoder = TableEncoder(columns=NAMES).fit(invented(frame))
    with pytest.raises(
        InputError, match=r"columns \['SITE'\] were there in fit and are missing now.*null where unknown"
    ):
        encoder.transform(frame({name: [None] for name in NAMES if name != "SITE"}))


def test_frames_have_names():
    assert is_frame(pd.DataFrame({"a": [1]}))
    assert is_frame(pl.DataFrame({"a": [1]}))
    assert not is_frame(pd.DataFrame([[1, 2]]))  # numbers are no names
    assert not is_frame(np.ones((2, 2)))
    assert not is_frame([[1.0]])


# Encoding


def test_missing_unseen_and_rare_categories_have_codes_of_their_own(frame):
    site = ["TSC"] * 5 + ["KOU"] * 6 + ["FEW"] * 4 + [None] * 2
    encoder = TableEncoder(columns=["SITE"]).fit(frame({"SITE": site}))
    assert encoder.categorical_[0].categories == ("KOU", "TSC")
    assert encoder.cardinalities_ == [4]
    codes = encoder.transform(frame({"SITE": [None, "NEW", "FEW", "KOU", "TSC"]})).categorical[:, 0]
    assert codes.tolist() == [0, 1, 1, 2, 3]
    assert codes.dtype == np.int64


def test_missing_numbers_stay_missing_and_the_rest_is_standardised(frame):
    X = invented(frame)
    table = TableEncoder(columns=NAMES).fit(X).transform(X)
    assert table.numeric.dtype == np.float32
    assert table.numeric.shape == (N, 4)
    np.testing.assert_array_equal(np.isnan(table.numeric[:, 0]), np.arange(N) % 7 == 0)
    np.testing.assert_allclose(np.nanmean(table.numeric, axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.nanstd(table.numeric, axis=0), 1, rtol=1e-5)


def test_constant_columns_are_zero_and_empty_ones_left_out(frame):
    X = frame({"A": [5.0, 5.0, None], "B": [None, None, None], "C": [float("nan")] * 3})
    encoder = TableEncoder(columns=["A", "B", "C"]).fit(X)
    assert encoder.feature_names_ == ["A"]
    assert encoder.empty_ == ["B", "C"]
    np.testing.assert_array_equal(encoder.transform(X).numeric, np.array([[0], [0], [np.nan]], dtype=np.float32))
    later = encoder.transform(frame({"A": [5.0, 1e30], "B": ["text", None], "C": [1.0, 2.0]}))
    np.testing.assert_array_equal(later.numeric[:, 0], [0, 0])  # as trees: no value but one is known
    with pytest.raises(InputError, match=r"nothing to learn from: none of the columns \['B', 'C'\] holds a value"):
        TableEncoder(columns=["B", "C"]).fit(X)


@pytest.mark.parametrize("scale", [1e-310, 1e-30, 1.0, 1e30, 1e300, 1.7e308])
@pytest.mark.parametrize("power", [1, 9])
def test_any_size_of_values_is_scaled(scale, power):
    x = np.linspace(-1, 1, 201) ** power
    scaled = encode(x * scale)
    assert np.isfinite(scaled).all()
    assert scaled.std() == pytest.approx(1, rel=1e-3)
    assert (np.diff(scaled) >= 0).all()


@given(values=st.lists(finite, min_size=1, max_size=30), later=st.lists(finite, min_size=1, max_size=5))
@settings(max_examples=150)
def test_scaling_is_finite_and_keeps_order_for_all_floats(values, later):
    encoder = TableEncoder(columns=["A"]).fit(np.array(values)[:, None])
    x = np.sort(np.array(values + later))
    scaled = encoder.transform(x[:, None]).numeric[:, 0]
    assert np.isfinite(scaled).all()
    assert np.abs(scaled).max() <= 8
    assert (np.diff(scaled) >= 0).all()


def test_heavy_tails_keep_low_orbits_apart():
    # Most invented perigees lie between 400 and 900 km, one in ten at 35,780 km, a few beyond.
    perigee = np.concatenate([np.linspace(400, 900, 900), np.full(100, 35_780.0), [120_000.0, 300_000.0]])
    encoder = TableEncoder(columns=["PERIGEE"]).fit(perigee[:, None])
    assert encoder.numeric_[0].heavy
    at = encoder.transform(np.array([[500.0], [550.0], [35_780.0], [300_000.0]])).numeric[:, 0]
    assert (np.diff(at) > 0.05).all()
    linear = 50 / perigee.std()
    assert at[1] - at[0] > 5 * linear


def test_a_sentinel_at_the_largest_float_does_not_blank_the_column():
    scaled = encode(np.append(np.arange(50.0), np.finfo(float).max))
    assert np.isfinite(scaled).all()
    assert (np.diff(scaled) > 0).all()


def test_a_row_of_weight_two_is_the_row_twice(frame):
    rng = np.random.default_rng(3)
    weight = rng.integers(0, 4, N).astype(float)
    repeated = np.repeat(np.arange(N), weight.astype(int))
    X = invented(frame)
    weighted = TableEncoder(columns=NAMES).fit(X, sample_weight=weight)
    plain = TableEncoder(columns=NAMES).fit(X.iloc[repeated] if frame is pd.DataFrame else X[repeated])
    assert weighted.to_json() == plain.to_json()
    assert weighted.to_json() != TableEncoder(columns=NAMES).fit(X).to_json()


def test_neither_order_of_rows_nor_of_columns_matters(frame):
    X = invented(frame)
    encoder = TableEncoder(columns=NAMES).fit(X)
    table = encoder.transform(X)
    shuffled = encoder.transform(X[NAMES[::-1]])
    np.testing.assert_array_equal(table.numeric, shuffled.numeric)
    np.testing.assert_array_equal(table.categorical, shuffled.categorical)
    order = np.random.default_rng(1).permutation(N)
    permuted = X.iloc[order] if frame is pd.DataFrame else X[order]
    assert TableEncoder(columns=NAMES).fit(permuted).to_json() == encoder.to_json()
    np.testing.assert_array_equal(encoder.transform(permuted).numeric, table.numeric[order])


def test_a_column_that_changed_kind_is_named(frame):
    encoder = TableEncoder(columns=["A", "S"]).fit(frame({"A": [1.0, 2.0], "S": ["x", "y"]}))
    with pytest.raises(InputError, match="column 'A' held numbers in fit; row 1 now holds the text 'many'"):
        encoder.transform(frame({"A": [None, "many"], "S": ["x", "y"]}))
    with pytest.raises(InputError, match=r"column 'S' held texts in fit; row 1 now holds the number .*7\.0"):
        encoder.transform(frame({"A": [1.0, 2.0], "S": [None, 7.0]}))
    blank = encoder.transform(frame({"A": [None, None], "S": [None, None]}))
    assert np.isnan(blank.numeric).all()
    assert (blank.categorical == 0).all()


@pytest.mark.parametrize("read_again", [False, True])
def test_dates_and_numbers_do_not_stand_for_each_other(read_again):
    """2031.5 among kilometres means nothing, and neither do nanoseconds since 1970 among decimal years."""
    days = [datetime(2031, 1, 1) + timedelta(days=i) for i in range(N)]
    dates, numbers = pd.DataFrame({"SEEN": days}), pd.DataFrame({"SEEN": np.arange(N) * 10**9})
    for before, now, said in ((dates, numbers, "dates in fit and holds numbers"), (numbers, dates, "numbers in fit")):
        encoder = TableEncoder().fit(before)
        if read_again:
            encoder = TableEncoder.from_json(json.loads(json.dumps(encoder.to_json())), encoder.domain_)
        with pytest.raises(InputError, match=f"column 'SEEN' held {said}"):
            encoder.transform(now)
        nothing = encoder.transform(pd.DataFrame({"SEEN": [None, np.nan]}))
        assert np.isnan(nothing.numeric).all()
        same = encoder.transform(before.astype(object)).numeric
        np.testing.assert_array_equal(same, encoder.transform(before).numeric)


@pytest.mark.parametrize("masked", [False, True])
def test_structured_arrays_are_refused_by_their_fields(masked):
    values = np.array([(95.0, 3)] * 4, dtype=[("PERIOD", float), ("SIZE", int)])
    if masked:
        values = np.ma.array(values, mask=[(False, True)] * 4)
    with pytest.raises(InputError, match=r"structured array \(fields \['PERIOD', 'SIZE'\]\).*pandas.DataFrame"):
        TableEncoder().fit(values)
    remedy = TableEncoder().fit(pd.DataFrame({name: values[name] for name in values.dtype.names}))
    assert remedy.feature_names_ == (["PERIOD"] if masked else ["PERIOD", "SIZE"])


def test_json_keeps_everything(frame):
    X = invented(frame)
    encoder = TableEncoder(columns=NAMES).fit(X)
    again = TableEncoder.from_json(json.loads(json.dumps(encoder.to_json())), encoder.domain_)
    assert again.to_json() == encoder.to_json()
    assert again.feature_names_ == encoder.feature_names_
    assert [scale.unit for scale in again.numeric_] == ["min", "year", "", ""]
    for one, other in zip(again.transform(X), encoder.transform(X), strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_row_and_no_row(frame):
    encoder = TableEncoder(columns=NAMES).fit(invented(frame))
    one = encoder.transform(invented(frame)[:1])
    assert one.numeric.shape == (1, 4)
    none = encoder.transform(invented(frame)[:0])
    assert none.numeric.shape == (0, 4)
    assert none.categorical.shape == (0, 1)


def test_values_beyond_the_training_range_count_as_its_ends(frame):
    encoder = TableEncoder(columns=["YEAR"]).fit(frame({"YEAR": np.linspace(1957.0, 2014.0, 58)}))
    years = encoder.transform(frame({"YEAR": [1900.0, 1957.0, 2014.0, 2025.0, 1e300]})).numeric[:, 0]
    assert years[0] == years[1] < years[2] == years[3] == years[4]


# Edges of the pieces of the embedding


@given(st.lists(st.one_of(finite, st.none(), st.integers(-3, 3).map(float)), min_size=1, max_size=150))
@settings(max_examples=200, deadline=None)
def test_edges_increase_within_the_training_range(values):
    X = pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64), "y": 1.0})
    for scale in TableEncoder().fit(X).numeric_:
        assert 3 <= len(scale.edges) <= N_PIECES + 1
        assert (np.diff(scale.edges) >= NARROWEST / 2).all()
        assert scale.edges[0] == scale.low
        assert scale.edges[-1] <= max(scale.high, scale.low + 1.0)


def test_edges_are_quantiles():
    """Oracle: ``np.quantile(scaled, np.arange(49) / 48, method="inverted_cdf")``."""
    x = np.random.default_rng(0).normal(size=1001)
    encoder = TableEncoder().fit(x[:, None])
    scaled = encoder.numeric_[0](x)
    wanted = np.quantile(scaled, np.arange(N_PIECES + 1) / N_PIECES, method="inverted_cdf")
    np.testing.assert_allclose(encoder.edges_[0], wanted)
    assert TableEncoder.from_json(json.loads(json.dumps(encoder.to_json())), encoder.domain_).edges_ == encoder.edges_
