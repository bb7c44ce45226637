"""Made-up rows and the trees that label them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddcl_tab.training._distillation import (
    MAX_CODE,
    MIN_ROWS,
    SWAPPED,
    AugmentedRows,
    Teacher,
    can_distil,
    hard_targets,
    training_rows,
)
from ddcl_tab.training._rows import Batches, Late, Rows, RowsDataset

CPU = torch.device("cpu")


def rows_of(n: int = MIN_ROWS, seed: int = 0) -> Rows:
    """Made-up rows: the class is whether the first number is above zero; the second number and the code are noise."""
    rng = np.random.default_rng(seed)
    numeric = rng.standard_normal((n, 2)).astype(np.float32)
    label = (numeric[:, 0] > 0).astype(np.int64)
    return Rows(numeric, rng.integers(2, 300, (n, 1)), label, np.ones(n), np.arange(n))


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher(rows_of(), seed=0)


def augmented(teacher: Teacher, share: float = 0.7) -> AugmentedRows:
    return AugmentedRows(rows_of(), 2, teacher, share, CPU)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_teacher_knows_rows_that_it_has_not_seen(teacher):
    unseen = rows_of(seed=1)
    probability = teacher.predict_proba(unseen.numeric, unseen.categorical)
    np.testing.assert_allclose(probability.sum(axis=1), 1.0, atol=1e-6)
    assert (probability.argmax(axis=1) == unseen.label).mean() > 0.98


def test_the_teacher_says_the_geometric_mean_of_its_models(teacher):
    unseen = rows_of(200, seed=2)
    columns = np.concatenate([unseen.numeric, np.where(unseen.categorical < MAX_CODE, unseen.categorical, 1)], axis=1)
    boosting, randomised = (model.predict_proba(columns).clip(1e-4) for model in teacher.models)
    odds = np.sqrt(boosting[:, 1] * randomised[:, 1] / (boosting[:, 0] * randomised[:, 0]))
    said = teacher.predict_proba(unseen.numeric, unseen.categorical)
    np.testing.assert_allclose(said[:, 1] / said[:, 0], odds, rtol=1e-4)
    assert said.min() > 0.0


LATE = Late(np.array([[False, True, False], [False, True, True]]), share=0.4)


def test_late_columns_are_hidden_in_their_share_of_the_rows_and_no_others():
    epoch, rows = AugmentedRows(rows_of(), 2, None, 0.7, CPU, LATE).epoch(generator()), rows_of()
    number, code = epoch.numeric[:, 1].isnan().numpy(), (epoch.categorical[:, 0] == 0).numpy()
    assert number.mean() == pytest.approx(0.4, abs=0.05)
    assert code.mean() == pytest.approx(0.2, abs=0.04)  # the second set of columns, never by itself
    assert number[code].all()
    np.testing.assert_array_equal(epoch.numeric[:, 0], rows.numeric[:, 0])
    np.testing.assert_array_equal(epoch.numeric[~number, 1], rows.numeric[~number, 1])
    np.testing.assert_array_equal(epoch.target, hard_targets(rows, 2))


def test_trees_judge_augmented_rows_as_they_are_hidden():
    dataset = training_rows(rows_of(), 2, 1.0, 0, CPU, LATE)
    assert isinstance(dataset, AugmentedRows)
    # They have seen each row with and without its late columns.
    assert dataset.teacher.models[1].estimators_[0].tree_.weighted_n_node_samples[0] == 2 * MIN_ROWS
    epoch = dataset.epoch(generator())
    assert bool(epoch.numeric[:, 1].isnan().any())
    said = dataset.teacher.predict_proba(epoch.numeric.numpy(), epoch.categorical.numpy())
    np.testing.assert_allclose(epoch.target, said)


def test_small_tables_hide_late_columns_too():
    rows = rows_of(200)
    assert type(training_rows(rows, 2, 0.7, 0, CPU)) is RowsDataset
    dataset = training_rows(rows, 2, 0.7, 0, CPU, LATE)
    assert isinstance(dataset, AugmentedRows)
    assert dataset.teacher is None
    assert bool(dataset.epoch(generator()).numeric[:, 1].isnan().any())


def test_trees_of_large_tables_see_a_part_each(monkeypatch):
    whole = Teacher(rows_of(), seed=0).models[1]
    monkeypatch.setattr("ddcl_tab.training._distillation.MAX_TREE_ROWS", 100)
    part = Teacher(rows_of(), seed=0)
    assert {tree.tree_.weighted_n_node_samples[0] for tree in whole.estimators_} == {MIN_ROWS}
    assert {tree.tree_.weighted_n_node_samples[0] for tree in part.models[1].estimators_} == {100}
    unseen = rows_of(seed=1)
    assert (part.predict_proba(unseen.numeric, unseen.categorical).argmax(axis=1) == unseen.label).mean() > 0.95


def test_augmented_rows_carry_the_teachers_opinion_and_the_others_their_label(teacher):
    epoch, rows = augmented(teacher).epoch(generator()), rows_of()
    numeric, categorical = epoch.numeric.numpy(), epoch.categorical.numpy()
    moved = (numeric != rows.numeric).any(axis=1) | (categorical != rows.categorical).any(axis=1)
    np.testing.assert_allclose(epoch.target[moved].numpy(), teacher.predict_proba(numeric[moved], categorical[moved]))
    np.testing.assert_array_equal(augmented(teacher, 0.0).epoch(generator()).target, hard_targets(rows, 2))
    assert (epoch.target.numpy()[~moved] == hard_targets(rows, 2)[~moved]).all(axis=1).mean() > 0.5


def test_share_of_augmented_rows_and_of_swapped_columns(teacher):
    epoch, rows = augmented(teacher, 0.5).epoch(generator()), rows_of()
    moved = (epoch.numeric.numpy() != rows.numeric).mean(axis=0)
    assert moved == pytest.approx(0.5 * (1 / 3 + 2 / 3 * SWAPPED), abs=0.05)  # one of the three columns, or another
    # Every number stands in the column that it comes from.
    for i in range(2):
        assert set(epoch.numeric[:, i].tolist()) <= set(rows.numeric[:, i].tolist())


def test_every_epoch_is_another_one_and_the_same_seed_gives_the_same_epochs(teacher):
    first, again = generator(), generator()
    a, b = augmented(teacher).epoch(first), augmented(teacher).epoch(first)
    assert not torch.equal(a.numeric, b.numeric)
    c, d = augmented(teacher).epoch(again), augmented(teacher).epoch(again)
    for x, y in ((a, c), (b, d)):
        assert torch.equal(x.numeric, y.numeric)
        assert torch.equal(x.target, y.target)
    same = Teacher(rows_of(), seed=0)
    assert torch.equal(AugmentedRows(rows_of(), 2, same, 0.7, CPU).epoch(generator()).target, a.target)


def test_batches_train_on_the_epoch_and_measure_on_the_table(teacher):
    dataset = augmented(teacher, 1.0)
    inputs, target, _ = dataset.batch(slice(None))
    assert torch.equal(inputs["numeric"], torch.from_numpy(rows_of().numeric))
    assert torch.equal(target, torch.from_numpy(hard_targets(rows_of(), 2)))
    targets = torch.cat([batch.target for batch in Batches(dataset, 100, generator())])
    assert len(targets) == MIN_ROWS
    assert not bool(((targets == 0) | (targets == 1)).all())


def test_a_augmented_row_keeps_the_weight_of_its_first_parent(teacher):
    rows = rows_of()._replace(weight=np.linspace(1.0, 3.0, MIN_ROWS))
    epoch = AugmentedRows(rows, 2, teacher, 1.0, CPU).epoch(generator())
    np.testing.assert_allclose(epoch.weight.numpy(), rows.weight / rows.weight.mean(), rtol=1e-6)


def test_weights_teach_as_repetitions_do():
    # Three quarters of the rows at one place say class 1, but the others weigh ten times as much.
    n = MIN_ROWS
    label = (np.arange(n) % 4 > 0).astype(np.int64)
    rows = Rows(np.zeros((n, 1), np.float32), np.zeros((n, 0), np.int64), label, np.where(label, 1.0, 10.0), label)
    assert Teacher(rows, 0).predict_proba(rows.numeric[:1], rows.categorical[:1])[0] == pytest.approx(
        [10 / 13, 3 / 13], abs=0.02
    )


def test_categories_beyond_what_boosting_takes_count_as_unseen(teacher):
    rows = rows_of()
    far = np.full_like(rows.categorical, MAX_CODE)
    np.testing.assert_array_equal(
        teacher.predict_proba(rows.numeric, far), teacher.predict_proba(rows.numeric, far + 1000)
    )


def test_missing_numbers_may_be_learned_from():
    rows = rows_of()
    numeric = rows.numeric.copy()
    numeric[rows.label == 1, 1] = np.nan
    probability = Teacher(rows._replace(numeric=numeric), 0).predict_proba(
        np.array([[0.0, np.nan]], np.float32), rows.categorical[:1]
    )
    assert probability[0, 1] > 0.7


@pytest.mark.parametrize(
    ("rows", "n_classes", "share"),
    [
        (rows_of(MIN_ROWS - 1), 2, 0.7),
        (rows_of(), 3, 0.7),  # a class without a row
        (rows_of()._replace(label=np.zeros(MIN_ROWS, np.int64)), 1, 0.7),
        (rows_of(), 2, 0.0),
    ],
)
def test_no_teacher_where_there_is_too_little_to_learn_or_none_is_asked_for(rows, n_classes, share):
    assert not (share and can_distil(rows, n_classes))
    dataset = training_rows(rows, n_classes, share, 0, CPU)
    assert type(dataset) is RowsDataset
    assert dataset.epoch(generator()) is dataset


def test_a_teacher_where_there_is_enough():
    assert type(training_rows(rows_of(), 2, 0.7, 0, CPU)) is AugmentedRows
