"""What is said of prototypes is true of the column tokens that it is said of. All values are invented."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ddcl_tab.estimators._columns import CategoricalColumn, NumericColumn
from ddcl_tab.estimators._domain import GENERIC
from ddcl_tab.estimators._prototypes import (
    MISSING,
    N_CATEGORIES,
    SAID_OF,
    Members,
    default_prototypes,
    describe_prototypes,
    interval,
    name_of,
    statements,
)

_NUMBER = r"-?\d[\d.]*(?:e[+-]\d+)?"
_INTERVAL = re.compile(rf"(?P<low>{_NUMBER})(?:(?: to |-)(?P<high>{_NUMBER}))?")


def printed(text: str, unit: str) -> tuple[float, float]:
    """Ends of an interval as a reader of the text takes them."""
    shown = "" if unit == "year" else unit
    assert text.endswith(shown)
    found = _INTERVAL.fullmatch(text.removesuffix(f" {shown}") if shown else text)
    assert found is not None, text
    low = float(found["low"])
    return low, float(found["high"] or low)


#: Values near each other far from 0, over many orders of magnitude, alike, whole, negative, huge and tiny.
_SCALES = st.sampled_from([1e-300, 1e-20, 1e-12, 3e-6, 1e-3, 1.0, 17.3, 1e4, 1e9, 1e150, 1e300])
_FLOATS = st.one_of(
    st.floats(-1, 1),
    st.sampled_from([0.0, 0.1 + 0.2, 0.3, -0.0, 97.6, 9.999999]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.builds(lambda x, s: x * s, st.floats(-1, 1), _SCALES),
    st.builds(lambda x, s: 35786.0 + x * s, st.floats(-1, 1), st.sampled_from([1e-9, 1e-3, 1.0, 1e3])),
    st.integers(1957, 2026).map(float),
)


@st.composite
def weighted(draw, values):
    """Values, some of them missing, and a weight for each; at least one row weighs."""
    found = draw(st.lists(values, min_size=1, max_size=60))
    missing = draw(st.sampled_from([0.0, 0.03, 0.3, 0.97, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    gone = rng.random(len(found)) < missing
    weight = rng.choice(draw(st.sampled_from([[1.0], [0.0, 1.0, 5.0], [1e-3, 1e3]])), len(found))
    weight[0] = 1.0
    return found, gone, weight


@given(weighted(_FLOATS), st.sampled_from(["", "km", "rev/day^2", "year"]))
@example(([1.26e-20, 3.14e-20], np.zeros(2, bool), np.ones(2)), "")
@example(([-np.finfo(float).max, np.finfo(float).max], np.zeros(2, bool), np.ones(2)), "km")
@example(([0.1 + 0.2, 0.3], np.zeros(2, bool), np.ones(2)), "")
@example(([1998.7], np.zeros(1, bool), np.ones(1)), "year")
@settings(deadline=None, max_examples=300)
def test_a_printed_interval_holds_what_it_is_said_of(drawn, unit):
    found, gone, weight = drawn
    values = np.where(gone, np.nan, found)
    if unit == "year":
        values = np.clip(values, 1900.0, 2100.0)
    column = NumericColumn("x", unit, values)
    ((said,),) = statements({"x": column}, np.zeros((len(values), 1), dtype=int), weight, 1)
    assert said.share == 1.0
    assert said.held >= SAID_OF - 1e-9
    assert said.held_elsewhere == 0.0
    parts = said.values.split(" or ")
    assert (MISSING in parts) == said.with_missing == (weight[gone].sum() > (1 - SAID_OF) * weight.sum() * (1 + 1e-9))
    true = np.isnan(values) & said.with_missing
    if parts[0] != MISSING:
        low, high = printed(parts[0], unit)
        if low == high:  # six digits of it
            low, high = (low - 6e-6 * abs(low), high + 6e-6 * abs(high)) if unit != "year" else (low, high)
        else:
            largest = np.finfo(float).max  # is written 1.8e+308
            assert (max(low, -largest), min(high, largest)) == (said.low, said.high)
        with np.errstate(invalid="ignore"):
            true |= (values >= low) & (values <= high)
    assert weight[true].sum() >= (SAID_OF - 1e-9) * weight.sum()
    if said.low != said.high:  # six digits of one value hold more than the value
        np.testing.assert_array_equal(said.holds(column)[weight > 0].all(), true[weight > 0].all())


@given(weighted(st.sampled_from(["US", "PRC", "CIS", "FR", "JPN", "IND", "ESA", MISSING, "a or b"])))
@settings(deadline=None, max_examples=150)
def test_categories_hold_what_they_are_said_of_also_where_words_only_count_them(drawn):
    found, gone, weight = drawn
    column = CategoricalColumn(
        "COUNTRY", np.array([None if g else v for v, g in zip(found, gone, strict=True)], object)
    )
    ((said,),) = statements({"COUNTRY": column}, np.zeros((len(found), 1), dtype=int), weight, 1)
    assert said.held >= SAID_OF - 1e-9
    named = np.isin(np.array(found), said.categories) & ~gone | (gone & said.with_missing)
    assert weight[named].sum() / weight.sum() == pytest.approx(said.held)
    more = len(said.categories) - N_CATEGORIES
    assert (f"one of {more} others" in said.values) == (more > 0)
    assert all(category in said.values for category in said.categories[:N_CATEGORIES])


def test_the_shortest_interval_is_said_and_of_whom_it_is_true_elsewhere():
    values = np.concatenate([np.linspace(60.0, 62.0, 95), np.linspace(0.0, 50.0, 5), np.linspace(61.0, 99.0, 100)])
    prototype = np.repeat([0, 1], 100)[:, None]
    first, second = statements({"i": NumericColumn("i", "deg", values)}, prototype, np.ones(200), 2)
    assert first[0].values == "60.0-62.0 deg"
    assert first[0].held == 0.95
    assert first[0].held_elsewhere == pytest.approx(np.mean((values[100:] >= 60) & (values[100:] <= 62)))
    assert second[0].low >= 61.0


def test_columns_come_by_their_share_of_the_members_and_weights_are_repetitions():
    rng = np.random.default_rng(0)
    columns = {
        "a": NumericColumn("a", "km", rng.normal(size=40)),
        "b": CategoricalColumn("b", rng.choice(["x", "y"], 40).astype(object)),
    }
    prototype, weight = rng.integers(0, 3, (40, 2)), rng.integers(1, 4, 40)
    ours = statements(columns, prototype, weight.astype(float), 4)
    rows = np.repeat(np.arange(40), weight)
    again = statements({n: c.take(rows) for n, c in columns.items()}, prototype[rows], np.ones(len(rows)), 4)
    for one, other in zip(ours, again, strict=True):
        assert [s.values for s in one] == [s.values for s in other]
        assert [s.share for s in one] == pytest.approx([s.share for s in other])
        assert [s.share for s in one] == sorted((s.share for s in one), reverse=True)
        assert sum(s.share for s in one) == pytest.approx(1.0 if one else 0.0)
    assert ours[3] == []  # nobody's
    mass = np.array([weight[prototype[:, t] == 0].sum() for t in range(2)])
    assert {s.column: s.share for s in ours[0]} == pytest.approx(dict(zip("ab", mass / mass.sum(), strict=True)))


@given(
    low=_FLOATS,
    width=st.floats(0, 1e6),
    unit=st.sampled_from(["", "km"]),
)
@settings(deadline=None, max_examples=200)
def test_an_interval_is_short(low, width, unit):
    text = interval(low, low + width, unit)
    assert len(text) <= 60
    assert "nan" not in text


@pytest.mark.parametrize(
    ("low", "high", "unit", "text"),
    [
        (1957.0, 1957.0, "year", "1957"),
        (0.0, 3.1e300, "", "0 to 3.1e+300"),
        (-0.0, 0.02, "", "0.000-0.020"),
        (1.2e-20, 3.2e-20, "", "1.2e-20 to 3.2e-20"),
        (-5.0, 12.0, "deg", "-5 to 12 deg"),
        (20_000.0, 36_000.0, "km", "20000-36000 km"),
    ],
)
def test_intervals_in_words(low, high, unit, text):
    assert interval(low, high, unit) == text


def described(n: int = 90, seed: int = 0):
    """Members of five prototypes, the last of which has none."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 3
    columns = {
        "height": NumericColumn("height", "m", np.where(rng.random(n) < 0.2, np.nan, rng.normal(10.0 * label, 1.0))),
        "colour": CategoricalColumn("colour", rng.choice(["red", "green", "blue"], n).astype(object)),
    }
    q = rng.dirichlet(np.full(5, 0.3), n)
    q[:, 4] = 0.0
    q /= q.sum(axis=1, keepdims=True)
    votes = rng.normal(size=(5, 3))
    names, classes = [f"r{i}" for i in range(n)], np.array(["A", "B", "C"])
    prototype = rng.integers(0, 4, (n, 2))
    members = Members(columns, prototype, q, rng.uniform(0.5, 2, n), label, classes, names)
    return members, votes - votes.mean(axis=1, keepdims=True)


@given(seed=st.integers(0, 200))
@settings(deadline=None, max_examples=30)
def test_a_medoid_is_of_the_class_that_its_prototype_votes_for(seed):
    members, votes = described(seed=seed)
    table = describe_prototypes(members, votes, GENERIC)
    for k, medoid in enumerate(table["medoid"]):
        row, winner = int(medoid[1:]), int(votes[k].argmax())
        assert members.label[row] == winner
        assert members.q[row, k] == members.q[members.label == winner, k].max()
        assert table["name"][k].removesuffix(f" (prototype {k})").endswith(f": {members.classes[winner]}")


def test_the_table_says_what_the_statements_say_and_shares_add_up():
    members, votes = described()
    table = describe_prototypes(members, votes, GENERIC)
    said = statements(members.columns, members.prototype, members.weight, 5)
    assert len(set(table["name"])) == 5
    for k, parts in enumerate(said):
        assert [table[f"column_{i + 1}"][k] for i in range(len(parts))] == [s.column for s in parts]
        assert [table[f"column_{i + 1}_values"][k] for i in range(len(parts))] == [s.values for s in parts]
        assert all(f"{s.column} {s.values}" in table["name"][k] for s in parts)
    assert table["column_1"][4] == ""
    assert table["name"][4].startswith("no column: ")
    assert sum(table["share"]) == pytest.approx(1.0)
    by_class = np.array([table[f"share {name}"] for name in "ABC"])
    np.testing.assert_allclose(by_class.sum(axis=0)[:4], 1.0)
    np.testing.assert_allclose(np.array([table[f"votes {name}"] for name in "ABC"]), votes.T)


def test_a_name_goes_on_until_it_speaks_of_nearly_all_members():
    columns = {name: NumericColumn(name, "", np.arange(100.0)) for name in "abcdef"}
    prototype = np.ones((100, 6), dtype=int)
    for t, n in enumerate((60, 37, 2, 1, 0, 0)):
        prototype[:n, t] = 0  # 97 of 100 members are tokens of a and b; 95 % of them are said
    first, _ = statements(columns, prototype, np.ones(100), 2)
    assert name_of(first, "A", GENERIC) == "a 0-56 / b 0-35: A"


def test_the_default_number_of_prototypes_follows_the_columns():
    numbers = [default_prototypes(n) for n in range(1, 60)]
    assert numbers == sorted(numbers)
    assert (numbers[0], numbers[10], numbers[-1]) == (32, 44, 128)
