"""Soft targets out of fold."""

from __future__ import annotations

import numpy as np
import pytest

from ddcl_tab.training.rows import Rows
from ddcl_tab.training.teacher import MIN_ROWS, hard_targets, soft_targets


def rows_of(n_groups: int, per_group: int, seed: int = 0) -> Rows:
    """Made-up rows: the second number follows the class, the first one only names the group."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n_groups), per_group)
    label = rng.integers(0, 2, n_groups)[group]
    numeric = np.stack([group, label + 0.3 * rng.standard_normal(len(group))], axis=1).astype(np.float32)
    return Rows(numeric, np.zeros((len(group), 1), np.int64), label, np.ones(len(group)), group)


def test_targets_mix_label_and_opinion():
    rows = rows_of(200, 10)
    label, half, opinion = (soft_targets(rows, 2, weight, seed=0) for weight in (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(label, hard_targets(rows, 2))
    np.testing.assert_allclose(half, (label + opinion) / 2, atol=1e-6)
    np.testing.assert_allclose(opinion.sum(axis=1), 1.0, atol=1e-6)


def test_the_opinion_of_a_group_does_not_know_the_group():
    # The group's number gives its label away to whoever has seen the group. With pure noise beside it, an opinion that
    # had seen it would be right nearly always; one that has not is right half of the time.
    rows = rows_of(200, 10)
    rng = np.random.default_rng(1)
    noise = rows._replace(numeric=np.stack([rows.group, rng.standard_normal(2000)], axis=1).astype(np.float32))
    opinion = soft_targets(noise, 2, 1.0, seed=0)
    assert abs((opinion.argmax(axis=1) == rows.label).mean() - 0.5) < 0.15
    knowing = soft_targets(rows, 2, 1.0, seed=0)
    assert (knowing.argmax(axis=1) == rows.label).mean() > 0.7


def test_the_same_seed_gives_the_same_targets():
    rows = rows_of(150, 10)
    np.testing.assert_array_equal(soft_targets(rows, 2, 0.5, seed=3), soft_targets(rows, 2, 0.5, seed=3))


@pytest.mark.parametrize("n_groups", [2, MIN_ROWS // 10 - 1])
def test_small_tables_have_no_teacher(n_groups):
    rows = rows_of(n_groups, 10)
    np.testing.assert_array_equal(soft_targets(rows, 2, 0.9, seed=0), hard_targets(rows, 2))


def test_too_few_groups_or_classes_have_no_teacher():
    rows = rows_of(200, 10)
    few = rows._replace(group=rows.group % 3)
    np.testing.assert_array_equal(soft_targets(few, 2, 0.9, seed=0), hard_targets(few, 2))
    one = rows._replace(label=np.zeros_like(rows.label))
    np.testing.assert_array_equal(soft_targets(one, 1, 0.9, seed=0), hard_targets(one, 1))


def test_folds_that_know_one_class_say_that_class():
    # Class 1 stands in a single group: the trees that judge it have only seen class 0.
    rows = rows_of(200, 10)
    label = (rows.group == 7).astype(np.int64)
    opinion = soft_targets(rows._replace(label=label), 2, 1.0, seed=0)
    assert (opinion[rows.group == 7, 0] == 1.0).all()


def test_many_categories_and_unknown_classes_are_no_trouble():
    rows = rows_of(200, 10)
    codes = np.arange(2000)[:, None] % 400
    label = np.where(rows.group == 0, 2, rows.label)  # a class that one group holds alone
    opinion = soft_targets(rows._replace(categorical=codes, label=label), 3, 1.0, seed=0)
    np.testing.assert_allclose(opinion.sum(axis=1), 1.0, atol=1e-6)
    assert (opinion[rows.group == 0, 2] == 0).all()
