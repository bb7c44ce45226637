"""Cards: distributions against SciPy's, names, what a prototype captures, both frame libraries."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ks_2samp

from ddcl_tab.errors import ConfigurationError, InputError
from ddcl_tab.estimators._columns import CategoricalColumn, NumericColumn
from ddcl_tab.estimators._prototypes import CategorySummary, NumberSummary, summarise
from ddcl_tab.interpret._cards import capture, prototype_cards
from ddcl_tab.interpret._model import FittedModel
from ddcl_tab.space._domain import SPACE


@pytest.fixture(scope="module")
def cards(small_model):
    return prototype_cards(*small_model)


def test_shares_and_distributions_sum_to_one(cards):
    assert sum(card.share for card in cards) == pytest.approx(1.0)
    for card in cards:
        assert sum(card.says.values()) == pytest.approx(1.0)
        assert sum(card.members.values()) == pytest.approx(1.0)
        assert card.predicted_class in ("PAYLOAD", "ROCKET BODY", "DEBRIS")


def test_names_say_the_class_and_the_orbit_and_no_two_are_the_same(cards):
    names = [card.name for card in cards]
    assert len(set(names)) == len(names)
    for card in cards:
        assert card.predicted_class.lower() in card.name
        assert re.search(r"\d km, .*\d deg", card.name), card.name


def test_typical_members_are_named_and_come_from_different_launches(small_model, cards):
    _, rows = small_model
    launch = dict(
        zip([f"{i} {n}" for i, n in rows.select("NORAD_CAT_ID", "OBJECT_NAME").rows()], rows["OBJECT_ID"], strict=True)
    )
    for card in cards:
        assert card.medoid == card.typical[0]
        launches = [(launch[name] or name)[:8] for name in card.typical]
        assert len(set(launches)) == len(launches)


def test_neighbours_share_rows_and_columns_that_set_apart_have_the_largest_effect(cards):
    for card in cards:
        overlaps = [neighbour.overlap for neighbour in card.neighbours]
        assert overlaps == sorted(overlaps, reverse=True)
        assert card.prototype not in [neighbour.prototype for neighbour in card.neighbours]
        largest = max(card.columns.values(), key=lambda summary: summary.effect)
        assert card.distinguishing[0] == largest.name
        assert "PERIOD" not in card.distinguishing or "SEMIMAJOR_AXIS" not in card.distinguishing  # the same thing


def test_pandas_gives_the_same_cards(small_model, cards):
    clf, rows = small_model
    assert [card.name for card in prototype_cards(clf, rows.to_pandas())] == [card.name for card in cards]


@pytest.mark.parametrize("empty", [np.nan, None, ""])
def test_objects_without_designators_are_no_siblings(small_model, empty):
    _, rows = small_model
    launches = SPACE.group_of(rows.to_pandas().assign(OBJECT_ID=empty))
    assert len(set(launches)) == len(rows)


def test_without_recorded_classes_members_stay_open(small_model):
    clf, rows = small_model
    assert prototype_cards(clf, rows.drop("OBJECT_TYPE").head(50))[0].members == {}


def test_missing_classes_and_names_of_pandas_are_unknown(small_model, cards):
    clf, rows = small_model
    frame = rows.to_pandas()
    hidden = np.arange(len(frame)) % 4 == 0
    unknown = prototype_cards(clf, frame.assign(OBJECT_TYPE=frame["OBJECT_TYPE"].mask(hidden, "UNKNOWN")))
    y = frame["OBJECT_TYPE"].astype("string").mask(hidden)
    nullable = frame.convert_dtypes().assign(OBJECT_TYPE=y)
    nullable["OBJECT_NAME"] = nullable["OBJECT_NAME"].mask(hidden)
    nullable["OBJECT_ID"] = nullable["OBJECT_ID"].mask(hidden)
    read = prototype_cards(clf, nullable)
    assert [card.members for card in read] == [card.members for card in unknown]
    assert [card.members for card in prototype_cards(clf, rows, y)] == [card.members for card in unknown]
    assert not any("NA" in name.split() for card in read for name in card.typical)
    assert [card.name for card in prototype_cards(clf, rows.lazy())] == [card.name for card in cards]
    with pytest.raises(InputError, match="y has 599 values for 600 rows"):
        prototype_cards(clf, rows, y[1:])


def test_what_is_no_classifier_is_refused(small_model):
    with pytest.raises(ConfigurationError, match="need a fitted DDCLClassifier, not str"):
        prototype_cards("model", small_model[1])
    with pytest.raises(ConfigurationError, match="n_typical must be at least 1, not 0"):
        prototype_cards(*small_model, n_typical=0)


def test_a_column_that_is_the_same_everywhere_captures_nothing(small_model):
    clf, rows = small_model
    model = FittedModel(clf)
    constant = rows.with_columns(pl.lit("LARGE").alias("RCS_SIZE"))
    table = model.encode(constant)
    lost = capture(model, table, model.predict(table).q, random_state=0)
    assert lost[:, model.columns.index("RCS_SIZE")].max() < 1e-6
    assert lost.max() > 0.1


values = arrays(float, st.integers(2, 60), elements=st.floats(-100, 100) | st.just(float("nan")))


@settings(max_examples=80)
@given(values=values, seed=st.integers(0, 99))
def test_the_effect_of_a_number_is_the_kolmogorov_smirnov_distance(values, seed):
    member = np.random.default_rng(seed).random(len(values)) < 0.5
    present = ~np.isnan(values)
    summary = summarise({"x": NumericColumn("x", "km", values)}, member[:, None].astype(float), np.ones(len(values)))[
        "x"
    ][0]
    if (member & present).any():
        assert summary.effect == pytest.approx(ks_2samp(values[member & present], values[present]).statistic)
        assert summary.quantiles[2] in values[member & present]
    else:
        assert np.isnan(summary.quantiles).all()
        assert summary.effect == 0.0


def test_the_effect_of_a_category_is_the_total_variation_distance():
    column = CategoricalColumn("SITE", np.array(["A", "A", "B", None], dtype=object))
    summary = summarise({"SITE": column}, np.array([[1.0], [1.0], [0.0], [0.0]]), np.ones(4))["SITE"][0]
    assert isinstance(summary, CategorySummary)
    assert summary.top[0] == ("A", 1.0, 0.5)
    assert summary.effect == 0.5


def test_permuting_prototypes_permutes_summaries():
    rng = np.random.default_rng(0)
    columns = {"x": NumericColumn("x", "", rng.normal(size=40))}
    q = rng.dirichlet(np.ones(3), size=40)
    one, other = summarise(columns, q, np.ones(40))["x"], summarise(columns, q[:, [2, 0, 1]], np.ones(40))["x"]
    assert [one[2], one[0], one[1]] == other
    assert isinstance(one[0], NumberSummary)
