"""The mathematics of the readout: identity, gradient, invariances, critical temperature. All tokens are invented."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ddcl_tab.nn._quantization import (
    assign,
    critical_temperature,
    duplicate_prototypes,
    loss_terms,
    quantization_loss,
    squared_distances,
)

shapes = st.tuples(st.integers(1, 40), st.integers(1, 9), st.integers(1, 12))
temperatures = st.floats(-4, 4).map(lambda exponent: 10.0**exponent)
seeds = st.integers(0, 10_000)


def draw(shape: tuple[int, int, int], seed: int, offset: float = 0.0, dtype: torch.dtype = torch.float64):
    n, k, d = shape
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, d, generator=generator, dtype=torch.float64) + offset
    prototypes = torch.randn(k, d, generator=generator, dtype=torch.float64) + offset
    return z.to(dtype), prototypes.to(dtype)


def energy(z: Tensor, prototypes: Tensor) -> float:
    """Mean squared distance of tokens and prototypes from the mean prototype: what rounding errors are relative to."""
    centre = prototypes.mean(0)
    return float((z - centre).square().sum(-1).mean() + (prototypes - centre).square().sum(-1).mean())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@given(shape=shapes, temperature=temperatures, seed=seeds, offset=st.sampled_from([0.0, -3.0, 1e3]))
@settings(max_examples=150)
def test_quantization_is_reconstruction_plus_variance(dtype, tolerance, shape, temperature, seed, offset):
    z, prototypes = draw(shape, seed, offset, dtype)
    terms = loss_terms(z, prototypes, assign(z, prototypes, temperature))
    assert terms.variance >= 0
    # Relative to the energy, for at T -> 0 with a token on its prototype L_q itself is a rounding error.
    gap = float((terms.quantization - terms.reconstruction - terms.variance).abs())
    assert gap <= tolerance * (float(terms.quantization) + energy(z, prototypes))


def test_residual_is_the_relative_gap_of_the_identity():
    z, prototypes = draw((30, 4, 3), 0)
    terms = loss_terms(z, prototypes, assign(z, prototypes, 0.5))
    broken = terms._replace(variance=terms.variance + 0.01 * terms.quantization)
    assert float(terms.residual) < 1e-14
    assert float(broken.residual) == pytest.approx(0.01, rel=1e-9)
    on_top = torch.zeros(3, 2)
    assert float(loss_terms(on_top, on_top[:1], assign(on_top, on_top[:1], 1.0)).residual) == 0.0


@given(shape=shapes, temperature=temperatures, seed=seeds)
@settings(max_examples=60)
def test_gradient_is_the_formula_of_the_paper(shape, temperature, seed):
    z, prototypes = draw(shape, seed)
    prototypes.requires_grad_()
    assignment = assign(z, prototypes, temperature)
    (gradient,) = torch.autograd.grad(quantization_loss(assignment), prototypes)
    q, _, distances = (part.detach() for part in assignment)
    mean_distance = (q * distances).sum(-1, keepdim=True)
    pull = q * (1 - (distances - mean_distance) / temperature)
    difference = prototypes.detach() - z.unsqueeze(1)
    expected = 2 / len(z) * (pull.unsqueeze(-1) * difference).sum(0)
    # Rounding of D is divided by T in the exponent, hence the 1/T.
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-11 * (1 + 1 / temperature))


@given(shape=shapes, temperature=temperatures, seed=seeds)
@settings(max_examples=60)
def test_assignments_are_shares_and_follow_permuted_prototypes(shape, temperature, seed):
    z, prototypes = draw(shape, seed)
    q, zhat, distances = assign(z, prototypes, temperature)
    assert q.shape == distances.shape == (len(z), len(prototypes))
    assert (q >= 0).all()
    torch.testing.assert_close(q.sum(-1), torch.ones(len(z), dtype=q.dtype))
    direct = (z.unsqueeze(1) - prototypes).square().sum(-1)
    torch.testing.assert_close(distances, direct, rtol=1e-9, atol=1e-12)
    order = torch.randperm(len(prototypes), generator=torch.Generator().manual_seed(seed))
    permuted = assign(z, prototypes[order], temperature)
    near = {"rtol": 1e-8, "atol": 1e-11 * (1 + 1 / temperature)}
    torch.testing.assert_close(permuted.q, q[:, order], **near)
    torch.testing.assert_close(permuted.zhat, zhat, **near)


@given(shape=shapes, temperature=temperatures, seed=seeds, shift=st.floats(-100, 100))
@settings(max_examples=60)
def test_translation_and_rotation_change_nothing(shape, temperature, seed, shift):
    z, prototypes = draw(shape, seed)
    d = z.shape[1]
    generator = torch.Generator().manual_seed(seed + 1)
    rotation = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=z.dtype)).Q
    moved = assign(z @ rotation + shift, prototypes @ rotation + shift, temperature)
    still = assign(z, prototypes, temperature)
    near = {"rtol": 1e-7, "atol": 1e-10 * (1 + 1 / temperature)}
    torch.testing.assert_close(moved.q, still.q, **near)
    torch.testing.assert_close(moved.zhat, still.zhat @ rotation + shift, **near)


def test_float32_distances_survive_an_offset():
    z, prototypes = draw((50, 5, 8), seed=3, offset=1e4, dtype=torch.float32)
    direct = (z.double().unsqueeze(1) - prototypes.double()).square().sum(-1)
    torch.testing.assert_close(squared_distances(z, prototypes).double(), direct, rtol=1e-5, atol=1e-5)


def test_extreme_temperatures_are_the_nearest_prototype_and_the_mean():
    z, prototypes = draw((40, 6, 3), seed=1)
    cold, hot = assign(z, prototypes, 1e-9), assign(z, prototypes, 1e9)
    torch.testing.assert_close(cold.zhat, prototypes[cold.distances.argmin(-1)])
    torch.testing.assert_close(hot.zhat, prototypes.mean(0).expand_as(z), rtol=0, atol=1e-6)


def test_tokens_may_have_further_dimensions():
    z, prototypes = draw((12, 4, 3), seed=2)
    flat, cubic = assign(z, prototypes, 0.7), assign(z.view(2, 6, 3), prototypes, 0.7)
    assert cubic.q.shape == (2, 6, 4)
    torch.testing.assert_close(cubic.zhat.view(12, 3), flat.zhat)
    first, second = loss_terms(z, prototypes, flat), loss_terms(z.view(2, 6, 3), prototypes, cubic)
    torch.testing.assert_close(torch.stack(first), torch.stack(second))
    # A weight belongs to a row of tokens: rows of six tokens each here.
    weighted = loss_terms(z.view(2, 6, 3), prototypes, cubic, torch.tensor([1.0, 0.0], dtype=z.dtype))
    alone = loss_terms(z[:6], prototypes, assign(z[:6], prototypes, 0.7))
    torch.testing.assert_close(torch.stack(weighted), torch.stack(alone))


@given(counts=st.lists(st.integers(0, 4), min_size=2, max_size=12).filter(any), seed=seeds)
@settings(max_examples=50)
def test_weights_are_repetitions(counts, seed):
    z, prototypes = draw((len(counts), 3, 4), seed)
    repeated = z.repeat_interleave(torch.tensor(counts), dim=0)
    weight = torch.tensor(counts, dtype=z.dtype)
    weighted = loss_terms(z, prototypes, assign(z, prototypes, 0.8), weight)
    plain = loss_terms(repeated, prototypes, assign(repeated, prototypes, 0.8))
    torch.testing.assert_close(torch.stack(weighted), torch.stack(plain))


def test_critical_temperature_is_four_times_the_largest_eigenvalue():
    # Rotating diag(5, 2, 1) keeps its eigenvalues: T_c = 4 * 5.
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    covariance = rotation @ torch.diag(torch.tensor([5.0, 2.0, 1.0], dtype=torch.float64)) @ rotation.mT
    assert float(critical_temperature(covariance)) == pytest.approx(20.0, rel=1e-12)
    assert float(critical_temperature(torch.zeros(2, 2))) == 0.0


def spread_after(z: Tensor, temperature: float, n_steps: int) -> list[float]:
    """Mean squared distance of prototypes from their mean along plain gradient descent from a near-collapsed start."""
    generator = torch.Generator().manual_seed(7)
    start = 1e-4 * torch.randn(6, z.shape[1], generator=generator, dtype=z.dtype)
    prototypes = (z.mean(0) + start - start.mean(0)).requires_grad_()
    spreads = []
    for _ in range(n_steps):
        (gradient,) = torch.autograd.grad(quantization_loss(assign(z, prototypes, temperature)), prototypes)
        with torch.no_grad():
            prototypes -= 0.5 * len(prototypes) * gradient
        spreads.append(float(prototypes.detach().var(0, correction=0).sum()))
    return spreads


@pytest.mark.parametrize("scales", [[1.0] * 8, [3.0, 1.5, 1.0, 0.8, 0.5, 0.3, 0.2, 0.1]])
def test_prototypes_separate_below_the_critical_temperature_and_stay_collapsed_above(scales):
    generator = torch.Generator().manual_seed(5)
    z = torch.randn(300, 8, generator=generator, dtype=torch.float64) * torch.tensor(scales, dtype=torch.float64)
    critical = float(critical_temperature(torch.cov(z.T, correction=0)))
    below, above = (spread_after(z, factor * critical, 400) for factor in (0.95, 1.05))
    # The linearised flow multiplies a displacement by 1 - (1 - T_c/T) each step: it grows 1.05-fold, dies 0.95-fold.
    assert below[-1] > 1e4 * below[0]
    assert above[-1] < 1e-12 * above[0]
    assert math.sqrt(above[200] / above[199]) == pytest.approx(1 / 1.05, rel=5e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once_and_not_on_the_way(dtype):
    z, prototypes = draw((40, 6, 3), seed=4, offset=20.0, dtype=dtype)  # the offset's square would leave no digit
    wide = assign(z.double(), prototypes.double(), 0.5)
    for mine in (assign(z, prototypes, 0.5), assign(z, prototypes.float(), 0.5), assign(z.float(), prototypes, 0.5)):
        assert {part.dtype for part in mine} == {torch.float32}
        torch.testing.assert_close(mine.distances.double(), wide.distances, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(mine.q.double(), wide.q, rtol=1e-3, atol=1e-4)
        terms = loss_terms(z, prototypes, mine)
        assert terms.residual < 1e-5
    assert assign(z, prototypes.double(), 0.5).zhat.dtype == torch.float64
    covariance = torch.eye(3, dtype=dtype)
    assert critical_temperature(covariance).equal(torch.tensor(4.0))
    assert duplicate_prototypes(torch.cat([prototypes, prototypes[:1]]), 0.01).tolist() == [6]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_no_bit(dtype):
    z, prototypes = draw((40, 6, 3), seed=4, offset=20.0, dtype=torch.float32)
    outside = assign(z, prototypes, 0.5)
    terms = loss_terms(z, prototypes, outside)
    with torch.autocast("cpu", dtype=dtype):
        inside = assign(z, prototypes, 0.5)
        assert all(a.equal(b) for a, b in zip(inside, outside, strict=True))
        assert loss_terms(z, prototypes, inside) == terms
        assert (z @ prototypes.mT).dtype == dtype  # still on for the caller
    assert assign(z.to("meta"), prototypes.to("meta"), 0.5).q.shape == outside.q.shape  # no autocast on that device
