"""Figures that judge explanations, and prototypes matched between models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from faithfulness import (
    agreement,
    area,
    column_curves,
    decide_tokens,
    hiding_effects,
    match_prototypes,
    missing_effects,
    prototype_deletion,
    prototype_logits,
    prototype_parts,
    remove_strongest,
    scorecard,
    token_memberships,
    without,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ddcl_tab.errors import InputError
from ddcl_tab.estimators._table import EncodedRows
from ddcl_tab.interpret._model import FittedModel, shapley_values
from ddcl_tab.training._rows import Prediction

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(small_model) -> FittedModel:
    return FittedModel(small_model[0])


@pytest.fixture(scope="module")
def rows(small_model):
    return small_model[1].head(150)


@pytest.fixture(scope="module")
def table(model, rows):
    return model.encode(rows)


@pytest.fixture(scope="module")
def q(model, table):
    return token_memberships(model, table)


class Additive:
    """Log-odds of two classes that are a sum of one term a column: the terms of an oracle."""

    def __init__(self, n_numeric: int) -> None:
        self.weight = np.arange(1.0, n_numeric + 1.0)

    def terms(self, encoded: EncodedRows) -> np.ndarray:
        codes = np.array([0.5, -0.5, 1.0, -2.0])[encoded.categorical]
        return np.concatenate([np.nan_to_num(encoded.numeric) * self.weight, codes], axis=1)

    def predict(self, encoded: EncodedRows) -> Prediction:
        first = 1.0 / (1.0 + np.exp(-self.terms(encoded).sum(axis=1)))
        return Prediction(np.stack([first, 1.0 - first], axis=1), np.ones((len(first), 1)))


def made_up(n: int, seed: int = 0) -> EncodedRows:
    rng = np.random.default_rng(seed)
    return EncodedRows(rng.normal(size=(n, 2)).astype(np.float32), rng.integers(0, 4, (n, 1)))


def test_memberships_of_the_tokens_decide_what_the_network_decides(model, table, q):
    prediction = model.predict(table)
    np.testing.assert_allclose(decide_tokens(model, q), prediction.probability, atol=1e-6)
    np.testing.assert_allclose(q.mean(axis=1), prediction.q, atol=1e-6)


def test_parts_of_prototypes_sum_to_the_log_odds_without_the_bias(model, q):
    probability = decide_tokens(model, q)
    a, b = np.argsort(-probability, axis=1)[:, :2].T
    rows = np.arange(len(q))
    _, bias = prototype_logits(model)
    said = np.log(probability[rows, a] / probability[rows, b]) - bias[a] + bias[b]
    np.testing.assert_allclose(prototype_parts(model, q).sum(axis=1), said, atol=1e-6)


def test_a_scorecard_is_the_model_where_each_token_has_one_prototype(model, q):
    hard = np.eye(q.shape[2])[q.argmax(axis=2)]
    np.testing.assert_allclose(scorecard(model, q), decide_tokens(model, hard))


def test_what_is_taken_away_was_there(model, q):
    removal = remove_strongest(model, q)
    assert ((removal.after >= 0) & (removal.after <= 1)).all()
    np.testing.assert_allclose(removal.before, decide_tokens(model, q).max(axis=1))
    assert (removal.after < removal.before)[removal.changed].all()  # another class leads only if this one has lost
    assert removal.falls == (removal.after < removal.before).mean()


def test_prototypes_that_add_most_hurt_more_than_those_that_add_least(model, q):
    parts = prototype_parts(model, q)
    strong, weak = (prototype_deletion(model, q, np.argsort(sign * parts, axis=1)[:, :3]) for sign in (-1, 1))
    assert strong[0] == weak[0]
    assert area(strong) < area(weak)


def test_contributions_order_columns_better_than_chance(model, rows, table):
    decided = model.predict(table).probability.argmax(axis=1)
    chance = np.random.default_rng(0).random((len(decided), len(model.columns)))
    values = (model.read(rows).reasons.contribution, shapley_values(model, table, table, decided, 0), chance)
    exact, sampled, random = (column_curves(model, table, table, np.argsort(-v, axis=1), 0) for v in values)
    for ours in (exact, sampled):
        assert area(ours[0]) < area(random[0])
        assert area(ours[1]) > area(random[1])
        assert ours[0][0] == ours[1][-1]  # nothing gone is everything there


def test_sampled_shapley_values_of_a_row_sum_to_its_gain_over_the_background():
    oracle, table = Additive(2), made_up(40)
    one = EncodedRows(np.zeros((1, 2), np.float32), np.zeros((1, 1), np.int64))
    probability = oracle.predict(table).probability
    values = shapley_values(oracle, table, one, probability.argmax(axis=1), 0)
    np.testing.assert_allclose(
        values.sum(axis=1),
        np.where(
            probability[:, 0] >= 0.5,
            probability[:, 0] - oracle.predict(one).probability[0, 0],
            probability[:, 1] - oracle.predict(one).probability[0, 1],
        ),
        atol=1e-12,
    )


def test_hiding_a_column_of_a_sum_takes_its_term_away():
    oracle, table, background = Additive(2), made_up(50), made_up(300, seed=1)
    sign = np.where(oracle.predict(table).probability[:, [0]] >= 0.5, 1.0, -1.0)
    effect = hiding_effects(oracle, table, background, 0, n_draws=400)
    expected = sign * (oracle.terms(table) - oracle.terms(background).mean(axis=0))
    np.testing.assert_allclose(effect, expected, atol=0.5)  # 400 draws of a deviation up to 2
    found = agreement(expected, effect)
    assert min(found.pooled, found.per_row) > 0.97
    assert found.first > 0.9
    gone = EncodedRows(np.full_like(table.numeric, np.nan), np.zeros_like(table.categorical))
    np.testing.assert_allclose(
        missing_effects(oracle, table), sign * (oracle.terms(table) - oracle.terms(gone)), atol=1e-9
    )


def test_agreement_is_none_by_chance_and_turns_with_the_sign():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 400, 6))
    assert abs(agreement(a, b).pooled) < 0.06
    assert agreement(-a, a).per_row == pytest.approx(-1.0)


def test_tokens_that_lose_everything_are_shared_out_evenly():
    q = np.array([[[1.0, 0, 0, 0, 0, 0]]])
    removed = q > 0
    assert without(q, removed).tolist() == [[[0.0, 0.2, 0.2, 0.2, 0.2, 0.2]]]


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 999), k=st.integers(2, 6))
def test_matching_finds_any_permutation(seed, k):
    rng = np.random.default_rng(seed)
    q = rng.dirichlet(np.full(k, 0.1), size=(100, 2))
    order = rng.permutation(k)
    matching = match_prototypes(q, q[..., order])
    used = {(int(order[b]), b) for b in range(k)}
    assert matching.ari == matching.ari_within == 1.0
    assert matching.agreement == 1.0
    assert {(a, b) for a, b, overlap in matching.pairs if overlap > 0.99} <= used


def test_telling_columns_apart_is_not_yet_agreeing_on_their_values():
    rng = np.random.default_rng(0)
    q, other = (np.eye(4)[np.array([0, 2]) + rng.integers(0, 2, (500, 2))] for _ in range(2))
    matching = match_prototypes(q, other)
    assert matching.ari > 0.3
    assert abs(matching.ari_within) < 0.05


def test_memberships_of_other_rows_are_refused():
    with pytest.raises(InputError, match=r"there are \(3, 1\) and \(4, 1\)"):
        match_prototypes(np.ones((3, 1, 2)) / 2, np.ones((4, 1, 2)) / 2)


def test_the_study_runs_from_its_command(tmp_path):
    command = [sys.executable, "pipelines/faithfulness_study.py", "nowhere", str(tmp_path), "--short"]
    done = subprocess.run([*command, "--cache", str(tmp_path / "models")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "faithfulness_short" / "report.md").read_text()
    assert "SYNTHETIC catalog" in text
    assert "## The same prototypes from other seeds" in text
    assert len((tmp_path / "faithfulness_short" / "data.json").read_text()) > 1000
