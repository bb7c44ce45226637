"""Rows, batches, temperature, probe and inference. All rows are invented."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skorch.callbacks import Callback

from ddcl_tab.errors import InputError
from ddcl_tab.nn._network import DDCLReadout, TableNetwork
from ddcl_tab.nn._quantization import duplicate_prototypes
from ddcl_tab.training._certificate import dead_prototypes, effective_prototypes, in_use, measure_reading, usage
from ddcl_tab.training._net import train_network
from ddcl_tab.training._objective import MIN_TEMPERATURE, MOMENTUM, Objective, TokenCovariance, annealed
from ddcl_tab.training._rows import (
    CHUNK,
    MIN_VALIDATION_ROWS,
    Batches,
    Rows,
    RowsDataset,
    decide_rows,
    merge_equal,
    predict_rows,
    split_validation,
    token_distances,
)

CPU = torch.device("cpu")


def random_rows(n: int, seed: int = 0, n_groups: int | None = None) -> Rows:
    """Few distinct values, so that rows repeat; a third of the first column is missing."""
    rng = np.random.default_rng(seed)
    numeric = rng.integers(0, 3, (n, 2)).astype(np.float32)
    numeric[rng.random(n) < 0.3, 0] = np.nan
    return Rows(
        numeric,
        rng.integers(0, 2, (n, 1)),
        rng.integers(0, 2, n),
        rng.choice([0.0, 0.1, 0.2, 0.7, 3.0], n),
        rng.integers(0, n_groups or n, n),
    )


def same(left: Rows, right: Rows) -> None:
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one, other)


# Merging


@given(n=st.integers(1, 60), seed=st.integers(0, 500), grouped=st.booleans())
@settings(max_examples=80)
def test_merging_does_not_see_the_order_of_rows_to_the_bit(n, seed, grouped):
    rows = random_rows(n, seed, n_groups=2)
    rows = rows._replace(weight=rows.weight + (rows.weight.sum() == 0))
    order = np.random.default_rng(seed + 1).permutation(n)
    same(merge_equal(rows, grouped=grouped), merge_equal(rows.take(order), grouped=grouped))


@given(n=st.integers(1, 60), seed=st.integers(0, 500))
@settings(max_examples=50)
def test_merged_rows_are_the_distinct_ones_and_carry_all_the_weight(n, seed):
    rows = random_rows(n, seed, n_groups=2)
    merged = merge_equal(rows, grouped=True)

    def keys(part):
        columns = (part.numeric.tolist(), part.categorical.tolist(), part.label.tolist(), part.group.tolist())
        return [str(key) for key in zip(*columns, strict=True)]

    total: dict[str, float] = {}
    for key, weight in zip(keys(rows), rows.weight, strict=True):
        if weight > 0:
            total[key] = total.get(key, 0.0) + weight
    assert dict(zip(keys(merged), merged.weight, strict=True)) == pytest.approx(total)
    assert len(merged.label) == len(total)


def test_a_row_of_weight_two_is_the_row_twice():
    rows = random_rows(40)._replace(weight=np.tile([0.0, 1.0, 2.0, 3.0], 10))
    repeated = rows.take(np.repeat(np.arange(40), rows.weight.astype(int)))
    repeated = repeated._replace(weight=np.ones(len(repeated.label)))
    same(merge_equal(rows, grouped=False), merge_equal(repeated, grouped=False))


def test_groups_count_only_where_they_mean_something():
    rows = Rows(np.ones((3, 1), np.float32), np.ones((3, 1), np.int64), np.zeros(3, np.int64), np.ones(3), np.arange(3))
    apart = merge_equal(rows, grouped=True)
    assert apart.group.tolist() == [0, 1, 2]
    together = merge_equal(rows, grouped=False)
    assert together.weight.tolist() == [3.0]
    assert together.group.tolist() == [0]


def test_missing_numbers_are_equal_whatever_their_sign():
    numeric = np.array([[np.nan], [-np.float32(np.nan)], [0.0]], dtype=np.float32)
    assert np.signbit(numeric[:2, 0]).tolist() in ([False, True], [True, False])
    zeros = np.zeros(3, np.int64)
    merged = merge_equal(Rows(numeric, np.zeros((3, 0), np.int64), zeros, np.ones(3), zeros), grouped=False)
    assert sorted(merged.weight.tolist()) == [1.0, 2.0]


# Validation


@given(n=st.integers(30, 300), seed=st.integers(0, 300), fraction=st.floats(0, 0.9))
@settings(max_examples=60)
def test_whole_groups_are_set_aside_and_no_class_loses_more_than_the_fraction(n, seed, fraction):
    rows = random_rows(n, seed, n_groups=n // 3)
    train, validation = split_validation(rows, fraction, np.random.default_rng(seed))
    if validation is None:
        same(train, rows)
        return
    assert len(validation.label) >= MIN_VALIDATION_ROWS
    assert len(train.label) + len(validation.label) == n
    assert not set(train.group) & set(validation.group)
    quota = fraction * np.bincount(rows.label, minlength=2)
    assert (np.bincount(validation.label, minlength=2) <= quota).all()


def test_about_the_fraction_is_set_aside():
    rows = random_rows(2000, n_groups=1000)
    _, validation = split_validation(rows, 0.2, np.random.default_rng(0))
    share = np.bincount(validation.label) / np.bincount(rows.label)
    np.testing.assert_allclose(share, 0.2, atol=0.01)


def test_a_giant_group_is_never_the_validation_part():
    rows = random_rows(400)
    rows = rows._replace(group=np.where(np.arange(400) < 200, 0, np.arange(400)))
    for seed in range(20):
        train, validation = split_validation(rows, 0.15, np.random.default_rng(seed))
        assert (train.group == 0).sum() == 200
        assert len(validation.label) >= MIN_VALIDATION_ROWS


def test_the_split_follows_its_seed():
    rows = random_rows(400)
    first, second, other = (split_validation(rows, 0.2, np.random.default_rng(seed))[1] for seed in (1, 1, 2))
    same(first, second)
    assert set(first.group) != set(other.group)


@pytest.mark.parametrize(("n", "fraction"), [(400, 0.0), (50, 0.2), (400, 0.01)])
def test_too_few_rows_give_no_validation_part(n, fraction):
    rows = random_rows(n)
    train, validation = split_validation(rows, fraction, np.random.default_rng(0))
    assert validation is None
    same(train, rows)


# Batches


def numbered(n: int) -> RowsDataset:
    number = np.arange(n)
    rows = Rows(number[:, None].astype(np.float32), number[:, None], number, 1.0 + number, number)
    return RowsDataset(rows, number[:, None].astype(np.float32), CPU)  # the target repeats the number


@pytest.mark.parametrize(("n", "size"), [(1, 1), (10, 3), (9, 3), (5, 8), (257, 64)])
def test_batches_hold_every_row_once(n, size):
    for generator in (None, torch.Generator().manual_seed(0)):
        batches = Batches(numbered(n), size, generator)
        parts = list(batches)
        assert len(parts) == len(batches) == -(-n // size)
        assert [len(part.target) for part in parts] == [size] * (n // size) + [n % size] * (n % size > 0)
        target = torch.cat([part.target[:, 0] for part in parts])
        assert target.sort().values.tolist() == list(range(n))
        for inputs, target, weight in parts:  # columns, target and weight of a row stay together
            numbers = target[:, 0]
            assert inputs["numeric"][:, 0].tolist() == numbers.tolist()
            assert inputs["categorical"][:, 0].tolist() == numbers.tolist()
            torch.testing.assert_close(weight * (n + 1) / 2, 1.0 + numbers.float())


def test_batches_are_shuffled_anew_by_their_own_generator():
    def pass_of(batches):
        return torch.cat([batch.target[:, 0] for batch in batches]).tolist()

    one, other = (Batches(numbered(50), 8, torch.Generator().manual_seed(3)) for _ in range(2))
    state = torch.get_rng_state()
    first = pass_of(one)
    assert first == pass_of(other)
    second = pass_of(one)
    assert second != first
    assert second == pass_of(other)
    assert torch.get_rng_state().equal(state)
    assert pass_of(Batches(numbered(50), 8)) == list(range(50))


def test_weights_have_mean_one():
    assert float(numbered(20).weight.mean()) == pytest.approx(1.0)


# Temperature


@given(final=st.floats(1e-3, 0.999), progress=st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_annealing_falls_from_one_to_the_final_temperature(final, progress):
    taus = [annealed(p, final) for p in sorted(progress)]
    assert all(one >= other for one, other in pairwise(taus))
    assert all(final * (1 - 1e-12) <= tau <= 1.0 for tau in taus)
    assert annealed(0.0, final) == 1.0
    assert annealed(1.0, final) == annealed(0.6, final) == pytest.approx(final)


def test_the_covariance_of_a_constant_stream_is_numpys():
    rng = np.random.default_rng(0)
    z, weight = rng.normal(3.0, [1.0, 2.0, 0.5], (200, 4, 3)), rng.integers(1, 5, 200).astype(float)
    z += 5.0 * np.arange(4)[:, None]  # columns differ: what lies between them counts as well
    running = TokenCovariance(torch.from_numpy(z), torch.from_numpy(weight))
    for _ in range(10):
        running.update(torch.from_numpy(z), torch.from_numpy(weight))
    z, weight = z.reshape(-1, 3), weight.repeat(4)  # all tokens of all rows
    covariance = np.cov(z.T, aweights=weight, ddof=0)
    np.testing.assert_allclose(running.covariance.numpy(), covariance, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(running.mean.numpy(), np.average(z, axis=0, weights=weight), rtol=1e-12)
    expected = 0.25 * 4 * np.linalg.eigvalsh(covariance)[-1]
    assert float(running.temperature(0.25)) == pytest.approx(expected, rel=1e-12)


def test_the_covariance_follows_a_changed_stream_without_gradient():
    z = torch.randn(100, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    weight = torch.ones(100, dtype=torch.float64)
    running = TokenCovariance(z, weight)
    start = running.covariance.clone()
    for _ in range(5):
        running.update(2 * z, weight)
    memory = MOMENTUM**5
    torch.testing.assert_close(running.covariance, (memory + 4 * (1 - memory)) * start)
    assert not running.covariance.requires_grad


def test_the_temperature_of_vanishing_tokens_stays_positive():
    still = TokenCovariance(torch.full((10, 2, 3), 5.0), torch.ones(10))
    assert float(still.temperature(0.01)) == pytest.approx(MIN_TEMPERATURE)


# Measures and inference


def network(seed: int = 0) -> TableNetwork:
    torch.manual_seed(seed)
    return TableNetwork(
        DDCLReadout(5, 16),
        edges=[(-1.0, 0.0, 1.0)] * 3,
        cardinalities=[4, 2],
        n_classes=3,
        d_token=16,
        n_blocks=2,
        n_heads=4,
        dropout=0.2,
        generator=torch.Generator().manual_seed(seed),
    ).eval()


def table(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    numeric = rng.normal(size=(n, 3)).astype(np.float32)
    numeric[rng.random((n, 3)) < 0.1] = np.nan
    return numeric, np.column_stack([rng.integers(0, 4, n), rng.integers(0, 2, n)])


@pytest.mark.parametrize("n", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 600])
def test_a_rows_result_does_not_depend_on_its_company_to_the_bit(n):
    net, (numeric, categorical) = network(), table(600)
    together = predict_rows(net, numeric, categorical, CPU)
    assert together.probability.shape == (600, 3)
    assert together.q.shape == (600, 5)
    few = predict_rows(net, numeric[:n], categorical[:n], CPU)
    np.testing.assert_array_equal(few.probability, together.probability[:n])
    np.testing.assert_array_equal(few.q, together.q[:n])
    order = np.random.default_rng(n).permutation(600)[:n]
    picked = predict_rows(net, numeric[order], categorical[order], CPU)
    np.testing.assert_array_equal(picked.probability, together.probability[order])


@pytest.mark.parametrize("n", [1, CHUNK + 1])
def test_decisions_are_the_predictions_with_each_columns_part_whatever_the_company(n):
    net, (numeric, categorical) = network(), table(600)
    together, decision = predict_rows(net, numeric, categorical, CPU), decide_rows(net, numeric, categorical, CPU)
    np.testing.assert_array_equal(decision.prediction.probability, together.probability)
    np.testing.assert_array_equal(decision.prediction.q, together.q)
    assert decision.contribution.shape == (600, 5, 3)
    with torch.no_grad():
        output = net(torch.from_numpy(numeric), torch.from_numpy(categorical))
    logits = decision.contribution.sum(axis=1) + net.head.bias.detach().numpy()
    np.testing.assert_allclose(logits, output.logits.numpy(), atol=1e-5)
    assert (decision.prototype == output.reading.assignment.q.argmax(dim=2).numpy()).all()
    order = np.random.default_rng(n).permutation(600)[:n]
    picked, expected = decide_rows(net, numeric[order], categorical[order], CPU), decision.take(order)
    np.testing.assert_array_equal(picked.contribution, expected.contribution)
    np.testing.assert_array_equal(picked.prototype, expected.prototype)
    np.testing.assert_array_equal(picked.prediction.q, expected.prediction.q)


def test_distances_are_the_mean_over_the_columns():
    net, (numeric, categorical) = network(), table(300)
    distances = token_distances(net, numeric, categorical, CPU)
    with torch.no_grad():
        z = net(torch.from_numpy(numeric), torch.from_numpy(categorical)).reading.z.double()
    expected = (z[:, :, None] - net.readout.prototypes.double()).square().sum(-1).mean(dim=1)
    np.testing.assert_allclose(distances, expected.detach().numpy(), rtol=1e-4)


def test_predictions_are_those_of_the_network():
    net, (numeric, categorical) = network(), table(70)
    prediction = predict_rows(net, numeric, categorical, CPU)
    with torch.no_grad():
        output = net(torch.from_numpy(numeric), torch.from_numpy(categorical))
    np.testing.assert_allclose(prediction.probability, output.logits.softmax(-1).numpy(), atol=1e-6)
    np.testing.assert_allclose(prediction.q, output.reading.assignment.q.mean(dim=1).numpy(), atol=1e-6)
    np.testing.assert_allclose(prediction.probability.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(prediction.q.sum(1), 1, rtol=1e-12)


def test_no_rows_are_named():
    with pytest.raises(InputError, match="the table has no rows"):
        predict_rows(network(), *table(0), CPU)


def test_a_reading_is_measured_within_its_bounds():
    net, (numeric, categorical) = network().train(), table(50)
    inputs = {"numeric": torch.from_numpy(numeric), "categorical": torch.from_numpy(categorical)}
    net.eval()
    with torch.no_grad():
        reading = net(**inputs).reading
    first = measure_reading(reading, net.readout.prototypes, torch.ones(50))
    assert first["identity_residual"] < 1e-5
    assert first["quantization"] == pytest.approx(first["reconstruction"] + first["variance"], rel=1e-5)
    assert 1 <= first["usage_perplexity"] <= 5
    assert 1 <= first["effective_prototypes"] <= 5
    assert first["token_variance"] > 0


def test_measures_of_use():
    one_each = torch.eye(4)
    assert usage(one_each).tolist() == [0.25] * 4
    assert dead_prototypes(one_each).tolist() == []
    assert dead_prototypes(one_each[:1].expand(10, 4)).tolist() == [1, 2, 3]
    alike = torch.full((10, 4), 0.25)  # collapsed prototypes share every token
    assert dead_prototypes(alike).tolist() == []
    rare = torch.cat([one_each[:1].expand(1000, 4), one_each])  # one token in a thousand is enough to be alive
    assert in_use(usage(rare)).tolist() == [True, False, False, False]
    assert dead_prototypes(rare).tolist() == []
    assert float(effective_prototypes(one_each)) == 1.0
    assert float(effective_prototypes(torch.full((3, 4), 0.25))) == pytest.approx(4.0)


def test_of_prototypes_that_stand_together_all_but_the_first_are_duplicates():
    prototypes = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.1, 0.0], [0.0, 0.1], [5.0, 0.4]])
    assert duplicate_prototypes(prototypes, temperature=1.0).tolist() == [2, 3, 4]
    assert duplicate_prototypes(prototypes, temperature=0.1).tolist() == [2, 3]
    assert duplicate_prototypes(prototypes[[1, 0]], temperature=1.0).tolist() == []
    far = 1e4 + torch.arange(40.0).unsqueeze(1).expand(40, 3)  # far from the origin distances are as exact
    assert duplicate_prototypes(far, temperature=1.0).tolist() == []
    assert duplicate_prototypes(torch.cat([far, far[:1]]), temperature=1.0).tolist() == [40]


class Meet(Callback):
    """Puts the second prototype where the first one stands, once."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            with torch.no_grad():
                net.module_.readout.prototypes[1] = net.module_.readout.prototypes[0]


@pytest.mark.parametrize(("batch_size", "parted"), [(4, True), (64, False)])
def test_duplicates_are_parted_once_the_temperature_has_come_down_if_steps_are_left_to_settle(batch_size, parted):
    rng = np.random.default_rng(0)
    rows = Rows(*table(200), rng.integers(0, 3, 200), np.ones(200), np.zeros(200, dtype=int))
    trained = network()
    history = train_network(
        trained,
        Objective(quantization_weight=0.1, column_weight=0.1, contribution_weight=0.0, cardinalities=[4, 2]),
        RowsDataset(rows, np.eye(3, dtype=np.float32)[rows.label], CPU),
        None,
        lr=1e-4,
        lr_ratio=0.01,
        final_temperature=0.05,
        batch_size=batch_size,
        max_epochs=20,
        patience=20,
        generator=torch.Generator().manual_seed(0),
        device=CPU,
        certify=False,
        verbose=0,
        callbacks=[Meet(epoch=13)],
    ).history
    assert (history[13]["reseeded"] >= 1) == parted
    duplicates = duplicate_prototypes(trained.readout.prototypes.detach(), trained.readout.temperature).tolist()
    assert (1 not in duplicates) == parted
