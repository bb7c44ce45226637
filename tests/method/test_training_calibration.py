"""Temperature scaling and the comparison of epochs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from ddcl_tab.training._callbacks import best_scale, is_worse, row_losses


def draws(seed: int, n: int = 4000):
    """Labels drawn from known probabilities: the logits are calibrated as they are."""
    rng = np.random.default_rng(seed)
    logits = 2.0 * rng.standard_normal((n, 3))
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    label = (rng.random((n, 1)) > probability.cumsum(axis=1)).sum(axis=1)
    return logits, label


def test_row_losses_are_scikit_learns():
    logits, label = draws(0)
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert row_losses(logits, label).mean() == pytest.approx(log_loss(label, probability))


@given(st.floats(0.2, 8.0))
def test_the_scale_undoes_over_and_underconfidence(factor):
    logits, label = draws(1)
    assert best_scale(factor * logits, label, np.ones(len(label))) * factor == pytest.approx(1.0, rel=0.06)


@pytest.mark.parametrize(("n", "n_classes"), [(2, 2), (30, 2), (30, 5)])
def test_rows_that_are_all_right_follow_laplaces_rule_of_succession(n, n_classes):
    logits = np.eye(n_classes)[np.arange(n) % n_classes]
    scaled = best_scale(logits, np.arange(n) % n_classes, np.ones(n)) * logits[0]
    said = np.exp(scaled[0]) / np.exp(scaled).sum()
    assert said == pytest.approx((n + 1) / (n + n_classes), rel=1e-3)


def test_weights_count():
    logits = np.array([[1.0, 0.0]] * 200)
    # The wrong rows weigh three times the right ones: sure of the wrong class, so the logits should vanish.
    assert best_scale(logits, np.repeat([0, 1], 100), np.repeat([1.0, 3.0], 100)) < 0.06
    right, wrong = np.array([[1.0, 0.0]] * 100), np.repeat([0, 1], (90, 10))
    twice = best_scale(right, wrong, np.full(100, 2.0))
    assert twice == pytest.approx(best_scale(right, wrong, np.ones(100)))  # weights are relative


def test_noise_is_no_evidence_and_a_shift_is():
    noise = np.random.default_rng(0).standard_normal(1000)
    noise -= noise.mean()
    group = np.arange(1000)
    assert not is_worse(noise, np.ones(1000), group)
    assert is_worse(noise + 0.1, np.ones(1000), group)
    assert not is_worse(noise - 0.1, np.ones(1000), group)


def test_one_large_group_cannot_decide_alone():
    # 900 rows of one launch got worse; the 100 rows of other launches did not change.
    difference = np.repeat([0.5, 0.0], [900, 100])
    rows, launches = np.arange(1000), np.repeat([0, 1], [900, 100]) * np.arange(1000)
    assert is_worse(difference, np.ones(1000), rows)
    assert not is_worse(difference, np.ones(1000), launches)
