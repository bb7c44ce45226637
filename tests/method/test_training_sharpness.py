"""Curvature seen through the optimiser, against dense Hessians and real optimisers. All numbers are invented."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd.functional import hessian

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.nn._quantization import assign, quantization_loss
from ddcl_tab.training._certificate import TOLERANCE, step_rule, top_curvature

seeds = st.integers(0, 10_000)


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense_top(loss, parameter: Tensor, scale: Tensor) -> float:
    n = parameter.numel()
    root = scale.flatten().sqrt()
    dense = hessian(loss, parameter).reshape(n, n) / root / root[:, None]
    return float(torch.linalg.eigvalsh(dense)[-1])


@pytest.mark.parametrize("temperature", [0.3, 2.0, 50.0])
@example(seed=44)  # at a temperature of 2.0 a looser iteration stops at the second eigenvalue, as at 0.3 for 30
@example(seed=30)
@given(seed=seeds)
@settings(max_examples=15)
def test_ddcl_loss_has_the_curvature_of_its_dense_hessian(temperature, seed):
    z, prototypes = noise(30, 3, seed=seed), noise(4, 3, seed=seed + 1)
    scale = noise(4, 3, seed=seed + 2).exp()

    def loss(p: Tensor) -> Tensor:
        return quantization_loss(assign(z, p, temperature))

    expected = dense_top(loss, prototypes, scale)
    assert top_curvature(loss, prototypes, scale) == pytest.approx(expected, rel=TOLERANCE)


@example(n=34, seed=550, sign=-1.0)
@given(n=st.integers(1, 40), seed=seeds, sign=st.sampled_from([None, 1.0, -1.0]))
@settings(max_examples=60)
def test_quadratics_of_any_sign_and_size(n, seed, sign):
    square = noise(n, n, seed=seed)
    matrix = square + square.T if sign is None else sign * (square @ square.T + torch.eye(n))
    scale = noise(n, seed=seed + 1).exp()

    def loss(p: Tensor) -> Tensor:
        return p @ matrix @ p / 2

    zero = torch.zeros(n, dtype=torch.float64)
    expected = dense_top(loss, zero, scale)
    # Of a negative spectrum the top is far smaller than the bottom, and Lanczos may stop at its neighbour.
    largest = max(abs(expected), dense_top(lambda p: -loss(p), zero, scale))
    found = top_curvature(loss, noise(n, seed=seed + 2), scale)
    assert found == pytest.approx(expected, abs=TOLERANCE * largest)
    assert found * (sign or 0.0) >= 0
    if sign is not None:
        assert expected * sign > 0


def test_curvature_leaves_the_parameter_alone_and_takes_float32():
    parameter = torch.nn.Parameter(torch.ones(5, 2))
    found = top_curvature(lambda p: 1.5 * p.square().sum(), parameter, torch.full((5, 2), 2.0))
    assert found == pytest.approx(1.5, rel=1e-5)
    assert parameter.grad is None
    assert parameter.requires_grad


def test_a_flat_loss_has_no_curvature():
    assert top_curvature(lambda p: (p.pow(4)).sum(), torch.zeros(6), torch.ones(6)) == 0.0


def quadratic(curvature: Tensor):
    return lambda p: (curvature * p.square()).sum() / 2


def after_steps(optimizer: torch.optim.Optimizer, parameter: Tensor, curvature: Tensor, n: int) -> list[Tensor]:
    """Gradients of ``n`` steps."""
    gradients = []
    for _ in range(n):
        optimizer.zero_grad()
        quadratic(curvature)(parameter).backward()
        gradients.append(parameter.grad.clone())
        optimizer.step()
    return gradients


CURVATURE = torch.linspace(0.5, 3.0, 6, dtype=torch.float64)


@pytest.mark.parametrize(("momentum", "limit"), [(0.0, 2.0), (0.9, 3.8)])
def test_rule_of_sgd(momentum, limit):
    parameter = torch.nn.Parameter(noise(6, seed=0))
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=momentum)
    after_steps(optimizer, parameter, CURVATURE, 3)
    rule = step_rule(optimizer, parameter)
    assert (rule.lr, rule.limit) == (0.1, pytest.approx(limit))
    torch.testing.assert_close(rule.scale, torch.ones(6, dtype=torch.float64))


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("n", [1, 5])
def test_rule_of_adam_corrects_the_bias_of_the_second_moment(kind, n):
    parameter = torch.nn.Parameter(noise(6, seed=0))
    other = torch.nn.Parameter(noise(2, seed=1))
    groups = [{"params": [other], "lr": 1.0}, {"params": [parameter], "lr": 0.01, "weight_decay": 0.0}]
    optimizer = kind(groups, lr=0.5, betas=(0.8, 0.95), eps=1e-3)
    gradients = after_steps(optimizer, parameter, CURVATURE, n)
    # vhat written out: the weighted mean of squared gradients, weights 0.95^age.
    weights = torch.tensor([0.95 ** (n - 1 - i) for i in range(n)], dtype=torch.float64)
    vhat = (weights[:, None] * torch.stack(gradients).square()).sum(0) / weights.sum()
    rule = step_rule(optimizer, parameter)
    torch.testing.assert_close(rule.scale, vhat.sqrt() + 1e-3, rtol=1e-10, atol=0)
    assert rule.lr == 0.01
    assert rule.limit == pytest.approx(2 * 1.8 / 0.2)
    assert step_rule(optimizer, other).lr == 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True), "nesterov"),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5), "dampening"),
        (lambda p: torch.optim.SGD(p, lr=0.1, maximize=True), "maximize"),
        (lambda p: torch.optim.AdamW(p, lr=0.1, amsgrad=True), "amsgrad"),
        (lambda p: torch.optim.RMSprop(p, lr=0.1), "no stability limit is known for RMSprop: use SGD, Adam or AdamW"),
    ],
)
def test_optimisers_without_a_known_limit_are_refused(make, message):
    parameter = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(ConfigurationError, match=message):
        step_rule(make([parameter]), parameter)


OPTIMISERS = {
    "SGD": lambda p, lr: torch.optim.SGD(p, lr=lr),
    "momentum": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9),
    # eps is all of M, so that the second moment is settled while gradients die out or grow.
    "Adam": lambda p, lr: torch.optim.Adam(p, lr=lr, eps=1e9),
    "AdamW": lambda p, lr: torch.optim.AdamW(p, lr=lr, eps=1e9, weight_decay=0.0),
}


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("factor", [0.97, 1.03])
def test_sharpness_of_one_parts_convergence_from_divergence(name, factor):
    parameter = torch.nn.Parameter(noise(6, seed=3))
    optimizer = OPTIMISERS[name]([parameter], 0.0)
    after_steps(optimizer, parameter, CURVATURE, 200)  # without moving, for Adam's bias corrections to end
    rule = step_rule(optimizer, parameter)
    top = top_curvature(quadratic(CURVATURE), parameter, rule.scale)
    optimizer.param_groups[0]["lr"] = factor * rule.limit / top
    sharpness = step_rule(optimizer, parameter).lr * top / rule.limit
    assert sharpness == pytest.approx(factor)
    sizes = [float(gradient.norm()) for gradient in after_steps(optimizer, parameter, CURVATURE, 300)]
    if factor < 1:
        assert sizes[-1] < 1e-3 * sizes[0]
    else:  # the largest, not the last: in the end Adam's second moment grows with the gradients and halts them
        assert max(sizes) > 1e4 * sizes[0]
