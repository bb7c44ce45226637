"""The statements of docs/theory.md that tests/method/test_nn_quantization.py does not check. All tokens are invented.

Letters in test names are the page's sections.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd.functional import hessian, jacobian

from ddcl_tab.nn._quantization import assign, loss_terms, quantization_loss

K, D = 4, 3


def tokens(n: int = 60, scales: tuple[float, ...] = (2.0, 1.0, 0.5)) -> Tensor:
    generator = torch.Generator().manual_seed(11)
    z = torch.randn(n, len(scales), generator=generator, dtype=torch.float64) * torch.tensor(scales)
    return z + 5.0


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def covariance(z: Tensor) -> Tensor:
    return torch.cov(z.T, correction=0)


def expected_distortion(z: Tensor, prototypes: Tensor, temperature: Tensor | float) -> Tensor:
    return quantization_loss(assign(z, prototypes, temperature))


def free_energy(z: Tensor, prototypes: Tensor, temperature: Tensor | float) -> Tensor:
    """Rose's F, with the constant T log K that makes it equal to tr C at the collapsed state."""
    distances = (z.unsqueeze(1) - prototypes).square().sum(-1)
    return -temperature * (torch.logsumexp(-distances / temperature, dim=-1) - np.log(len(prototypes))).mean()


# c. Critical temperature


@pytest.mark.parametrize(("objective", "factor"), [(expected_distortion, 4.0), (free_energy, 2.0)])
@pytest.mark.parametrize("relative", [0.2, 1.0, 5.0])
def test_c_hessian_of_the_collapsed_state(objective, factor, relative):
    z = tokens()
    c = covariance(z)
    temperature = relative * factor * float(torch.linalg.eigvalsh(c)[-1])
    collapsed = z.mean(0).expand(K, D).clone()
    measured = hessian(lambda p: objective(z, p, temperature), collapsed).reshape(K * D, K * D)
    common = torch.full((K, K), 1 / K, dtype=z.dtype)  # projects on displacements that all prototypes share
    apart = torch.eye(K, dtype=z.dtype) - common
    unit = torch.eye(D, dtype=z.dtype)
    expected = 2 / K * (torch.kron(apart, unit - factor / temperature * c) + torch.kron(common, unit))
    torch.testing.assert_close(measured, expected, rtol=0, atol=1e-12)
    lowest = float(torch.linalg.eigvalsh(measured)[0])
    assert lowest == pytest.approx(min(2 / K * (1 - 1 / relative), 2 / K), abs=1e-12)


@pytest.mark.parametrize("relative", [0.5, 0.9, 1.1])
def test_c_every_mode_escapes_or_returns_at_its_own_rate(relative):
    z = tokens()
    values, vectors = torch.linalg.eigh(covariance(z))
    temperature, step = relative * 4 * float(values[-1]), 0.05
    apart = noise(K)
    apart = apart - apart.mean()
    for value, direction in zip(values.tolist(), vectors.T, strict=True):
        displacement = 1e-6 * (torch.outer(apart, direction) + direction)
        prototypes = (z.mean(0) + displacement).requires_grad_()
        (gradient,) = torch.autograd.grad(expected_distortion(z, prototypes, temperature), prototypes)
        moved = displacement - step * gradient
        of_mode = 1 + step * 2 / K * (4 * value / temperature - 1)
        expected = 1e-6 * (of_mode * torch.outer(apart, direction) + (1 - step * 2 / K) * direction)
        torch.testing.assert_close(moved, expected, rtol=0, atol=1e-11)


def test_c_prototypes_that_coincide_exactly_never_part():
    z = tokens()
    temperature = 0.2 * 4 * float(torch.linalg.eigvalsh(covariance(z))[-1])
    prototypes = z[[0, 0, 1]].clone().requires_grad_()
    for _ in range(50):
        (gradient,) = torch.autograd.grad(expected_distortion(z, prototypes, temperature), prototypes)
        with torch.no_grad():
            prototypes -= 0.2 * gradient
    torch.testing.assert_close(prototypes[0], prototypes[1], rtol=0, atol=1e-9)
    assert float((prototypes[0] - prototypes[2]).detach().norm()) > 1


def test_c_expected_distortion_is_the_derivative_of_beta_times_free_energy():
    z, prototypes = tokens(), tokens()[:K]
    beta = torch.tensor(0.7, dtype=z.dtype, requires_grad=True)
    (slope,) = torch.autograd.grad(beta * free_energy(z, prototypes, 1 / beta), beta)
    loss = expected_distortion(z, prototypes, 1 / 0.7)
    torch.testing.assert_close(slope, loss, rtol=1e-12, atol=0)


def test_c_cooling_lowers_the_loss_by_the_variance_of_the_distances():
    z, prototypes = tokens(), tokens()[:K]
    temperature = torch.tensor(1.3, dtype=z.dtype, requires_grad=True)
    assignment = assign(z, prototypes, temperature)
    (slope,) = torch.autograd.grad(quantization_loss(assignment), temperature)
    q, _, distances = (part.detach() for part in assignment)
    variance = (q * distances.square()).sum(-1) - (q * distances).sum(-1).square()
    torch.testing.assert_close(slope, variance.mean() / 1.3**2, rtol=1e-10, atol=0)


@pytest.mark.parametrize("temperature", [0.5, 4.0, 40.0])
def test_c_coinciding_prototypes_split_by_the_covariance_of_their_own_tokens(temperature):
    z = tokens()
    prototypes = torch.stack([z[0], z[1], z[2], z[2]])  # the last two coincide
    q, _, distances = assign(z, prototypes, temperature)
    pull = 1 - (distances - (q * distances).sum(-1, keepdim=True)) / temperature
    share, g, x = q[:, 3], pull[:, 3], z - z[2]
    s = (share * (1 + g) * x.T) @ x / len(z)
    form = (share * g).mean() * torch.eye(D, dtype=z.dtype) - 2 / temperature * s

    def parted(displacement: Tensor) -> Tensor:
        moved = torch.cat([prototypes[:2], prototypes[2:] + torch.stack([displacement, -displacement])])
        return expected_distortion(z, moved, temperature)

    measured = hessian(parted, torch.zeros(D, dtype=z.dtype))
    torch.testing.assert_close(measured, 2 * 2 * form, rtol=1e-9, atol=1e-10)  # two prototypes, second derivative


def test_c_a_well_separated_cluster_has_a_critical_temperature_of_its_own():
    cluster = tokens(scales=(0.2, 0.1, 0.1))
    z = torch.cat([cluster, cluster + 100.0])
    centres = torch.stack([cluster.mean(0), cluster.mean(0), cluster.mean(0) + 100.0])
    own = 4 * float(torch.linalg.eigvalsh(covariance(cluster))[-1])
    whole = 4 * float(torch.linalg.eigvalsh(covariance(z))[-1])
    assert whole > 1e4 * own
    for relative in (0.98, 1.02):
        curvature = hessian(lambda p, r=relative: expected_distortion(z, p, r * own), centres).reshape(9, 9)
        assert (float(torch.linalg.eigvalsh(curvature)[0]) < 0) == (relative < 1)


def test_c_a_task_on_zhat_shifts_the_critical_temperature():
    z, temperature, weight = tokens(), 3.0, 0.3
    x, c, heads = z - z.mean(0), covariance(z), noise(len(z), D, seed=4)

    def task(zhat: Tensor) -> Tensor:  # any smooth function of each row's zhat
        return (heads * zhat).sum(-1).sin().mean()

    def parted(displacement: Tensor) -> Tensor:
        pair = z.mean(0) + torch.stack([displacement, -displacement])
        assignment = assign(z, pair, temperature)
        return task(assignment.zhat) + weight * quantization_loss(assignment)

    slopes = torch.cos(heads @ z.mean(0))[:, None] * heads  # of each row's loss in zhat, at the collapsed state
    product = x.T @ slopes / len(z)
    g = (product + product.T) / 2
    expected = 2 * (weight * (torch.eye(D, dtype=z.dtype) - 4 / temperature * c) + 2 / temperature * g)
    torch.testing.assert_close(hessian(parted, torch.zeros(D, dtype=z.dtype)), expected, rtol=0, atol=1e-10)


def test_c_above_the_critical_temperature_separated_prototypes_may_stay():
    z = torch.tensor([-1.0] * 9 + [9.0], dtype=torch.float64).unsqueeze(1)  # skewed: mean 0, variance 9
    temperature = 1.05 * 4 * 9
    prototypes = torch.tensor([[-1.0], [12.0]], dtype=z.dtype, requires_grad=True)
    for _ in range(300):
        loss = expected_distortion(z, prototypes, temperature)
        (gradient,) = torch.autograd.grad(loss, prototypes)
        with torch.no_grad():
            prototypes -= 0.5 * gradient
    assert float(gradient.norm()) < 1e-9
    assert prototypes.detach().flatten().tolist() == pytest.approx([-1.109, 12.436], abs=1e-3)
    assert float(loss.detach()) == pytest.approx(9 - 5.692, abs=1e-3)  # tr C = 9 at the collapsed state


# d. What the identity does not promise


def test_d_identity_holds_at_collapse_and_tokens_are_drawn_in():
    z = tokens().requires_grad_()
    collapsed = z.detach().mean(0).expand(K, D).clone()
    assignment = assign(z, collapsed, 1.0)
    terms = loss_terms(z, collapsed, assignment)
    trace = float(covariance(z.detach()).trace())
    assert float(terms.variance.detach()) == pytest.approx(0, abs=1e-14)
    assert float(terms.quantization.detach()) == pytest.approx(trace) == float(terms.reconstruction.detach())
    (gradient,) = torch.autograd.grad(quantization_loss(assignment), z)
    torch.testing.assert_close(gradient, 2 / len(z) * (z.detach() - collapsed[0]))


def test_d_shrinking_everything_at_a_relative_temperature_shrinks_the_loss():
    z, prototypes = tokens(), tokens()[:K]
    whole, shrunk = (expected_distortion(s * z, s * prototypes, s * s * 0.8) for s in (1.0, 0.1))
    torch.testing.assert_close(shrunk, 0.01 * whole)


# e. Stability of a step


def walk(optimizer_of, curvature: float, n_steps: int = 400, drift: float = 0.0) -> float:
    """Distance from the minimum, before the last step, of a quadratic whose minimum moves by ``drift`` each step."""
    p = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer, target, gap = optimizer_of([p]), 0.0, float("nan")
    rate = optimizer.param_groups[0]["lr"]
    for i in range(-200, n_steps):
        # First 200 steps that do not move, for Adam's bias corrections to end: they multiply the first rates.
        optimizer.param_groups[0]["lr"] = 0.0 if i < 0 else rate
        gap = target - float(p.detach())
        optimizer.zero_grad()
        (curvature * (p - target).square().sum() / 2).backward()
        optimizer.step()
        target += drift if i >= 0 else 0.0
    return gap


EPS = 1e100  # so large that it is all of Adam's M, which is then settled
RULES = {
    # name: optimiser with rate eta in units of M, and its limit c
    "gradient descent": (lambda eta: lambda p: torch.optim.SGD(p, lr=eta), 2.0),
    "heavy ball": (lambda eta: lambda p: torch.optim.SGD(p, lr=eta, momentum=0.8), 2 * 1.8),
    "Adam": (lambda eta: lambda p: torch.optim.Adam(p, lr=eta * EPS, eps=EPS), 2 * 1.9 / 0.1),
    "Adam, beta1 0.5": (lambda eta: lambda p: torch.optim.Adam(p, lr=eta * EPS, eps=EPS, betas=(0.5, 0.999)), 6.0),
}


@pytest.mark.parametrize("name", RULES)
def test_e_step_converges_just_under_the_limit_and_diverges_just_over(name):
    make, limit = RULES[name]
    curvature = 3.0
    assert abs(walk(make(0.98 * limit / curvature), curvature)) < 1e-2
    assert abs(walk(make(1.02 * limit / curvature), curvature)) > 1e2


def test_e_decoupled_weight_decay_lowers_the_limit_a_little():
    beta, decay, curvature = 0.9, 0.01 / EPS, 3.0
    for factor, converges in ((0.98, True), (1.02, False)):
        # eta lambda = (1 + beta) (2 - eta_w) / (1 - beta), with eta_w = lr * weight_decay, solved for eta
        eta = factor * 2 * (1 + beta) / ((1 - beta) * curvature + (1 + beta) * EPS * decay)
        gap = walk(lambda p, e=eta: torch.optim.AdamW(p, lr=e * EPS, eps=EPS, weight_decay=decay), curvature)
        assert (abs(gap) < 1e-2) == converges


def test_e_the_limit_on_the_prototypes_alone_is_necessary_but_not_sufficient():
    x, prototypes, encoder = tokens(), noise(K, D), torch.eye(D, dtype=torch.float64)
    rates = torch.cat([torch.full((D * D,), 0.1), torch.full((K * D,), 1.0)]).double()

    def loss(flat: Tensor) -> Tensor:
        return expected_distortion(x @ flat[: D * D].reshape(D, D), flat[D * D :].reshape(K, D), 2.0)

    root = rates.sqrt()
    whole = root[:, None] * hessian(loss, torch.cat([encoder.flatten(), prototypes.flatten()])) * root
    block, other, coupling = whole[D * D :, D * D :], whole[: D * D, : D * D], whole[: D * D, D * D :]
    top, of_block, of_other = (float(torch.linalg.eigvalsh(h)[-1]) for h in (whole, block, other))
    assert max(of_block, of_other) < top <= max(of_block, of_other) + float(torch.linalg.matrix_norm(coupling, 2))


# f. Lag behind a drifting target

LAGS = {
    "gradient descent": (RULES["gradient descent"][0], 1.0),
    "heavy ball": (RULES["heavy ball"][0], 1 - 0.8),
    "Adam": (RULES["Adam"][0], 1.0),
}


@pytest.mark.parametrize("name", LAGS)
@pytest.mark.parametrize("eta", [0.05, 0.2])
def test_f_steady_gap_is_drift_over_rate_times_curvature(name, eta):
    make, factor = LAGS[name]
    gap = walk(make(eta), curvature=0.5, n_steps=2000, drift=0.01)
    assert gap == pytest.approx(factor * 0.01 / (eta * 0.5), rel=1e-4)


@pytest.mark.parametrize("ratio", [3.0, 30.0])
def test_f_gap_falls_as_one_over_the_ratio_whatever_the_rates(ratio):
    speed, curvature = 0.4, 0.5  # the target moves by speed * eta_t a step
    for eta_t in (0.03, 0.01):
        gap = walk(RULES["gradient descent"][0](ratio * eta_t), curvature, n_steps=1500, drift=speed * eta_t)
        assert gap == pytest.approx(speed / (ratio * curvature), rel=1e-3)


# g. Joint flow


def field(state: Tensor, *, detached: bool) -> Tensor:
    """Minus the velocity of (encoder, prototypes) under an invented task on zhat plus L_q."""
    x = tokens(n=20)
    target = x[:, :1] - 5.0
    with torch.enable_grad():
        encoder, prototypes = state[: D * D].reshape(D, D), state[D * D :].reshape(K, D)
        z = (x - 5.0) @ encoder
        task = (assign(z, prototypes, 2.0).zhat[:, :1] - target).square().mean()
        quantization = expected_distortion(z.detach() if detached else z, prototypes, 2.0)
        return torch.cat(
            [g.flatten() for g in torch.autograd.grad(task + quantization, (encoder, prototypes), create_graph=True)]
        )


def velocity_jacobian(*, detached: bool) -> Tensor:
    state = torch.cat([torch.eye(D, dtype=torch.float64).flatten(), noise(K * D)])
    step = 1e-5
    columns = []
    for unit in torch.eye(len(state), dtype=state.dtype):
        sides = [field((state + s * step * unit).requires_grad_(), detached=detached).detach() for s in (1, -1)]
        columns.append((sides[0] - sides[1]) / (2 * step))
    return torch.stack(columns, dim=1)


def test_g_one_potential_exists_only_if_tokens_are_not_detached():
    common, detached = velocity_jacobian(detached=False), velocity_jacobian(detached=True)
    torch.testing.assert_close(common, common.T, rtol=0, atol=1e-7)
    assert float((detached - detached.T).abs().max()) > 0.05


def test_g_a_field_without_potential_can_need_a_minimal_ratio():
    # One encoder number, two prototype numbers; S's Hessian has A = 1, B = (0.1, 0.1), D = diag(1, 0.1), and is
    # positive definite; the detached term changes only the lower left block, B to G.
    attached = np.array([[1.0, 0.1, 0.1], [0.1, 1.0, 0.0], [0.1, 0.0, 0.1]])
    without = np.array([[1.0, 0.1, 0.1], [30.0, 1.0, 0.0], [-10.0, 0.0, 0.1]])
    assert np.linalg.eigvalsh(attached).min() > 0

    def slowest(matrix: np.ndarray, ratio: float) -> float:
        return float(np.linalg.eigvals(np.diag([1.0, ratio, ratio]) @ matrix).real.min())

    for ratio in (0.01, 1.0, 10.0, 20.0, 1000.0):
        assert slowest(attached, ratio) > 0
        assert (slowest(without, ratio) > 0) == (ratio >= 20)


def test_g_one_potential_descends_for_every_ratio():
    z, encoder = tokens(n=20) - 5.0, torch.eye(D, dtype=torch.float64)
    state = torch.cat([encoder.flatten(), noise(K * D)])

    def potential(flat: Tensor) -> Tensor:
        return expected_distortion(z @ flat[: D * D].reshape(D, D), flat[D * D :].reshape(K, D), 2.0)

    gradient = jacobian(potential, state)
    for ratio in (1e-3, 1.0, 1e3):
        rates = torch.cat([torch.ones(D * D), torch.full((K * D,), ratio)]).double()
        step = 1e-6 / ratio if ratio > 1 else 1e-6
        change = float(potential(state - step * rates * gradient) - potential(state))
        assert change / step == pytest.approx(-float((rates * gradient.square()).sum()), rel=1e-3)
