"""Figures that judge explanations, and prototypes matched between models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from faithfulness import (
    area,
    column_curves,
    decision_list,
    match_prototypes,
    prototype_deletion,
    remove_strongest,
    without,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ddcl_tab.errors import InputError
from ddcl_tab.interpret._model import FittedModel, shapley_values

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(small_model) -> FittedModel:
    return FittedModel(small_model[0])


@pytest.fixture(scope="module")
def table(small_model, model):
    return model.encode(small_model[1].head(150))


def test_memberships_alone_decide_what_the_network_decides(model, table):
    prediction = model.predict(table)
    np.testing.assert_allclose(model.decide(prediction.q), prediction.probability, atol=1e-6)


def test_a_changed_decision_is_one_that_the_strongest_prototype_had_made(model, table):
    q = model.predict(table).q
    removal = remove_strongest(model, q)
    assert ((removal.after >= 0) & (removal.after <= 1)).all()
    if removal.changed.any():
        assert removal.changed_as_said >= 0.9


def test_strong_prototypes_gone_hurt_more_than_any(model, table):
    q = model.predict(table).q
    strong = prototype_deletion(model, q, np.argsort(-q, axis=1)[:, :3])
    weak = prototype_deletion(model, q, np.argsort(q, axis=1)[:, :3])
    assert strong[0] == weak[0]
    assert area(strong) < area(weak)


def test_contributions_order_columns_better_than_chance(model, table):
    decided = model.predict(table).probability.argmax(axis=1)
    values = shapley_values(model, table, table, decided, 0)
    random = np.random.default_rng(0).random(values.shape)
    ours, chance = (column_curves(model, table, table, np.argsort(-v, axis=1), 0) for v in (values, random))
    assert area(ours[0]) < area(chance[0])
    assert area(ours[1]) > area(chance[1])
    assert ours[0][0] == ours[1][-1]  # nothing gone is everything there


def test_rows_that_lose_everything_are_shared_out_evenly():
    q = np.array([[1.0, 0, 0, 0, 0, 0]])
    removed = q > 0
    assert without(q, removed).tolist() == [[0.0, 0.2, 0.2, 0.2, 0.2, 0.2]]


def test_a_decision_list_takes_the_word_of_the_strongest(model):
    assert decision_list(model, np.eye(6)).tolist() == model.prototype_logits.argmax(axis=1).tolist()


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 999), k=st.integers(2, 6))
def test_matching_finds_any_permutation(seed, k):
    rng = np.random.default_rng(seed)
    q = rng.dirichlet(np.full(k, 0.1), size=200)
    order = rng.permutation(k)
    matching = match_prototypes(q, q[:, order])
    used = {(int(order[b]), b) for b in range(k)}
    assert matching.ari == 1.0
    assert matching.agreement == 1.0
    assert {(a, b) for a, b, overlap in matching.pairs if overlap > 0.99} <= used


def test_memberships_of_other_rows_are_refused():
    with pytest.raises(InputError, match="there are 3 and 4"):
        match_prototypes(np.ones((3, 2)) / 2, np.ones((4, 2)) / 2)


def test_the_study_runs_from_its_command(tmp_path):
    command = [sys.executable, "pipelines/faithfulness_study.py", "nowhere", str(tmp_path), "--short"]
    done = subprocess.run([*command, "--cache", str(tmp_path / "models")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "faithfulness_short" / "report.md").read_text()
    assert "SYNTHETIC catalog" in text
    assert "## The same prototypes from other seeds" in text
    assert len((tmp_path / "faithfulness_short" / "data.json").read_text()) > 1000
