"""Reasons: sentences, contributions of columns and counterfactual orbits, each checked by asking the model."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import permutations

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from ddcl_tab import DDCLClassifier
from ddcl_tab.errors import ConfigurationError
from ddcl_tab.interpret import column_contributions
from ddcl_tab.interpret._model import FittedModel, exchange, shapley_values, take
from ddcl_tab.interpret._trust import NoveltyScore, prototype_distances
from ddcl_tab.space._elements import (
    eccentricity_from_altitudes,
    period_from_semi_major_axis,
    semi_major_axis_from_altitudes,
)
from ddcl_tab.space._explanations import Orbits, counterfactuals, delta_v


@pytest.fixture(scope="module")
def model(small_model) -> FittedModel:
    return FittedModel(small_model[0])


# --- sentences ------------------------------------------------------------------------------------------------------


def test_a_sentence_names_the_strongest_columns_for_and_against_with_the_rows_own_values(small_model):
    clf, rows = small_model
    some = rows.head(60)
    said = clf.decide(some, examples=rows)
    table = pl.DataFrame(said.table())
    for i, sentence in enumerate(said.sentences()):
        own = table.filter(pl.col("row") == i).sort("contribution", descending=True)
        head, _, rest = sentence.partition(": ")
        assert head == f"{own['prediction'][0]} {min(own['probability'][0], 0.99):.2f}"
        parts = re.findall(r"\(([+-]\d+\.\d)\)", rest)
        strong = own["contribution"].to_list()
        expected = [c for c in strong[:3] if c >= 0.1] + [c for c in strong[:-3:-1] if c <= -0.1]
        assert parts == [f"{c:+.1f}" for c in expected]
        assert ("; against: " in rest) == any(c < 0 for c in expected)
        assert rest.endswith(f"; like {own['like'][0]}")
        for column, word, unit in (("PERIGEE", "perigee", "km"), ("INCLINATION", "inclination", "deg")):
            found = re.search(rf"(?:: |, ){word} ([\d.]+) {unit} \(", sentence)
            assert found is None or float(found[1]) == pytest.approx(some[column][i], rel=1e-3)
        size = re.search(r"RCS_SIZE (\w+)", sentence)
        assert size is None or size[1] == (some["RCS_SIZE"][i] or "missing")


def test_the_example_is_another_row_of_the_class_that_is_said(small_model):
    clf, rows = small_model
    kind = {f"{i} {n}": k for i, n, k in rows.select("NORAD_CAT_ID", "OBJECT_NAME", "OBJECT_TYPE").rows()}
    some = rows.head(80)
    for said in (clf.decide(some, examples=rows), clf.decide(some)):
        winner = clf.classes_[said.reasons.winner]
        names = [f"{i} {n}" for i, n in some.select("NORAD_CAT_ID", "OBJECT_NAME").rows()]
        assert [kind[like] for like in said.like()] == winner.tolist()
        assert not any(like == name for like, name in zip(said.like(), names, strict=True))
    assert clf.decide(some.drop("OBJECT_TYPE")).like() == [""] * 80


# --- tables of every kind -------------------------------------------------------------------------------------------


def test_lazy_frames_and_numbers_as_objects_have_the_same_reasons(small_model):
    clf, rows = small_model
    some = rows.head(3)
    objects = some.to_pandas()
    for name in ("PERIGEE", "APOGEE", "INCLINATION"):
        objects[name] = pd.Series([Decimal(v) for v in some[name]], dtype=object)
    score = NoveltyScore(clf).fit(rows.lazy())
    for reason in (
        lambda X: clf.explain(X)["contribution"],
        lambda X: [change if isinstance(change, str) else None for change in counterfactuals(clf, X)["change"]],
        score.novelty,
        lambda X: prototype_distances(clf, X).ravel(),
    ):
        assert list(reason(some.lazy())) == list(reason(some)) == list(reason(objects))
    assert isinstance(clf.explain(some.lazy()), pl.DataFrame)


# --- columns --------------------------------------------------------------------------------------------------------


def test_baseline_and_contributions_are_the_log_odds(small_model):
    clf, rows = small_model
    table = clf.explain(rows)
    total = table.group_by("row").agg(pl.col("baseline").first() + pl.col("contribution").sum()).sort("row")["baseline"]
    two = np.sort(clf.predict_proba(rows), axis=1)[:, -2:]
    np.testing.assert_allclose(total, np.log(two[:, 1] / two[:, 0]), atol=1e-5)
    ranked = table.with_columns(pl.col("contribution").abs().rank("ordinal", descending=True).over("row").alias("own"))
    np.testing.assert_array_equal(ranked["rank"], ranked["own"])


def test_contributions_are_what_prototypes_say_of_each_token_less_the_mean_of_the_training_rows(small_model, model):
    clf, rows = small_model
    known = rows.filter(pl.col("OBJECT_TYPE") != "UNKNOWN")
    network, table = clf.network_, model.encode(known)
    with torch.no_grad():
        q = network(*(torch.from_numpy(part) for part in table)).reading.assignment.q.double().numpy()
    said = clf.decide(known)
    network = model.classifier.network_
    logits = (network.readout.prototypes @ network.head.weight.mT).detach().double().numpy()
    each = np.einsum("itk,kc->itc", q, logits) / q.shape[1]
    each -= each.mean(axis=0)
    at = np.arange(len(known))
    own = each[at, :, said.reasons.winner] - each[at, :, said.reasons.runner_up]
    np.testing.assert_allclose(said.reasons.contribution, own, atol=1e-5)
    assert (said.decision.prototype == q.argmax(axis=2)).all()


def test_values_and_units_are_the_rows_own(small_model):
    clf, rows = small_model
    some = rows.head(50)
    table = clf.explain(some)
    for column, unit in (("PERIGEE", "km"), ("INCLINATION", "deg"), ("PERIOD", "min")):
        part = table.filter(pl.col("column") == column).sort("row")
        for value, said, own in zip(part["value"], part["unit"], some[column], strict=True):
            if own is None:
                assert (value, said) == ("missing", "")
            else:
                assert (float(value), said) == (pytest.approx(own, rel=1e-4), unit)
    part = table.filter(pl.col("column") == "RCS_SIZE").sort("row")
    assert part["value"].to_list() == [size or "missing" for size in some["RCS_SIZE"]]


def test_both_frame_libraries_have_the_same_bits(small_model):
    clf, rows = small_model
    one, other = clf.explain(rows.head(5)), clf.explain(rows.head(5).to_pandas())
    assert isinstance(other, pd.DataFrame)
    assert one.equals(pl.from_pandas(other).cast(dict(one.schema)))


# --- orbits ---------------------------------------------------------------------------------------------------------


def test_the_model_decides_otherwise_at_the_orbit_found(small_model):
    clf, rows = small_model
    some = rows.filter(pl.col("PERIGEE").is_not_null()).head(25)
    table = counterfactuals(clf, some)
    found = table.filter(pl.col("becomes").is_not_null())
    assert len(found) >= 3
    low, high = found["PERIGEE"].to_numpy(), found["APOGEE"].to_numpy()
    axis = semi_major_axis_from_altitudes(low, high)
    moved = some[found["row"].to_list()].with_columns(
        found["PERIGEE"],
        found["APOGEE"],
        found["INCLINATION"],
        pl.Series("SEMIMAJOR_AXIS", axis),
        pl.Series("ECCENTRICITY", eccentricity_from_altitudes(low, high)),
        pl.Series("PERIOD", period_from_semi_major_axis(axis)),
    )
    # Each object moves alone: its siblings, counted in the whole table, stay where they are.
    decided = []
    for one in moved.iter_slices(1):
        others = rows.filter(pl.col("NORAD_CAT_ID") != one["NORAD_CAT_ID"][0])
        decided += clf.predict(one, catalog=pl.concat([others, one])).tolist()
    assert decided == found["becomes"].to_list()
    assert (found["becomes"] != found["prediction"]).all()
    assert (found["delta_v"] > 0).all()


def test_rows_without_an_orbit_have_no_counterfactual(small_model):
    clf, rows = small_model
    blank = rows.head(1).with_columns(pl.lit(None, pl.Float64).alias(n) for n in ("PERIGEE", "APOGEE", "INCLINATION"))
    assert counterfactuals(clf, blank)["becomes"].to_list() == [None]


def test_a_table_without_orbits_is_told_so():
    clf = DDCLClassifier(n_prototypes=3, d_token=8, n_heads=2, max_epochs=1, certify=False, random_state=0)
    X = np.random.default_rng(0).normal(size=(40, 2))
    with pytest.raises(ConfigurationError, match="need the columns PERIGEE, APOGEE, INCLINATION"):
        counterfactuals(clf.fit(X, (X[:, 0] > 0).astype(int)), X)


def orbit(perigee: float, apogee: float, inclination: float) -> Orbits:
    return Orbits(np.array(perigee), np.array(apogee), np.array(inclination))


def test_delta_v_agrees_with_textbook_transfers():
    # Vallado (2013), example 6-1: Hohmann transfer from 191.34411 km to 35781.34857 km takes 3.935224 km/s.
    assert delta_v(orbit(191.34411, 191.34411, 0), orbit(35781.34857, 35781.34857, 0)) == pytest.approx(3935.2, abs=1)
    same = orbit(500.0, 700.0, 51.6)
    assert delta_v(same, same) == 0.0
    # Turning a circular orbit by 60 deg takes its own speed: 7.67 km/s at 400 km.
    assert delta_v(orbit(400, 400, 0), orbit(400, 400, 60)) == pytest.approx(7669, abs=5)


# --- sampled Shapley values ------------------------------------------------------------------------------------------


def test_sampled_contributions_sum_to_the_probability_over_that_of_the_background_row(small_model, model):
    clf, rows = small_model
    some, one = rows.head(40), rows[100:101]
    table = column_contributions(clf, some, one)
    total = table.group_by("row").agg(pl.col("contribution").sum()).sort("row")["contribution"].to_numpy()
    probability, at_one = clf.predict_proba(some), clf.predict_proba(one)[0]
    decided = probability.argmax(axis=1)
    np.testing.assert_allclose(total, probability.max(axis=1) - at_one[decided], atol=1e-6)


def test_a_column_that_row_and_background_share_contributes_nothing(small_model):
    clf, rows = small_model
    one = rows[100:101]
    same = rows.head(20).with_columns(pl.lit(one["INCLINATION"][0]).alias("INCLINATION"))
    table = column_contributions(clf, same, one)
    assert table.filter(pl.col("column") == "INCLINATION")["contribution"].abs().max() == 0.0
    assert table["contribution"].abs().max() > 0.01


def test_sampled_contributions_are_close_to_all_orders():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    y = (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 0)
    clf = DDCLClassifier(n_prototypes=6, d_token=16, n_heads=2, max_epochs=10, certify=False, random_state=0).fit(X, y)
    model = FittedModel(clf)
    table, background = model.encode(X[:10]), model.encode(X[50:51])
    decided = model.predict(table).probability.argmax(axis=1)
    exact = np.zeros((10, 4))
    orders = list(permutations(range(4)))
    for order in orders:
        kept = np.zeros((10, 4), dtype=bool)
        other = take(background, np.zeros(10, dtype=int))
        before = model.predict(exchange(table, other, ~kept)).probability[np.arange(10), decided]
        for column in order:
            kept[:, column] = True
            after = model.predict(exchange(table, other, ~kept)).probability[np.arange(10), decided]
            exact[:, column] += (after - before) / len(orders)
            before = after
    sampled = shapley_values(model, table, background, decided, random_state=0)
    assert np.abs(sampled - exact).mean() < 0.03
    assert np.corrcoef(sampled.ravel(), exact.ravel())[0, 1] > 0.95


def test_of_sampled_contributions_the_same_seed_gives_the_same_bits_in_both_frame_libraries(small_model):
    clf, rows = small_model
    one = column_contributions(clf, rows.head(5), rows, random_state=3)
    other = column_contributions(clf, rows.head(5).to_pandas(), rows.to_pandas(), random_state=3)
    assert one["contribution"].to_list() == other["contribution"].tolist()
    assert one["value"].to_list() == other["value"].tolist()
    assert any(value.endswith(" km") for value in one["value"])


def test_a_background_without_rows_is_refused(small_model):
    clf, rows = small_model
    with pytest.raises(ConfigurationError, match="background has no rows"):
        column_contributions(clf, rows.head(3), rows.head(0))
