"""What is measured after an epoch, for :mod:`._stability` to judge whether training is sound.

Curvature is seen through the optimiser, against its limit: on a quadratic loss a step of SGD, momentum or Adam grows
without bound where ``lr lambda_max(M^-1 H)`` exceeds 2, ``2 (1 + beta)`` or ``2 (1 + beta1) / (1 - beta1)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from torch import Tensor

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.nn._network import Output, Reading, TableNetwork
from ddcl_tab.nn._quantization import assign, critical_temperature, loss_terms
from ddcl_tab.training._objective import Objective
from ddcl_tab.training._rows import Batch

#: A prototype that carries at least this part of the even share 1/K is in use.
IN_USE = 0.25


Shares = TypeVar("Shares", NDArray[Any], Tensor)


def usage(q: Tensor) -> Tensor:
    """Share of the assignment mass on each prototype: mean of ``q`` ``(N, K)`` over tokens; sums to 1."""
    return q.mean(dim=0)


def in_use(share: Shares) -> Shares:
    """Which prototypes are in use: those that carry at least ``1 / (4 K)`` of the assignment mass.

    Those that carry less need not be dead: a rare value may have a prototype of its own.

    Parameters
    ----------
    share : ndarray or Tensor, shape (K,)
        Of the assignment mass on each prototype.

    Examples
    --------
    >>> in_use(np.array([0.6, 0.35, 0.05]))
    array([ True,  True, False])
    """
    return share >= IN_USE / len(share)


def dead_prototypes(q: Tensor) -> Tensor:
    """Numbers of the prototypes that are the main one of no token; ``q`` is ``(N, K)``, and ties count.

    Examples
    --------
    >>> dead_prototypes(torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1]]))
    tensor([2])
    """
    return torch.nonzero(~(q >= q.amax(dim=1, keepdim=True)).any(dim=0)).flatten()


def effective_prototypes(q: Tensor) -> Tensor:
    """Mean over tokens of ``exp(entropy of q)``: between 1 (one prototype a token) and K.

    Examples
    --------
    >>> effective_prototypes(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    tensor(1.5000)
    """
    return torch.special.entr(q).sum(-1).exp().mean()


@torch.no_grad()
def measure_reading(reading: Reading, prototypes: Tensor, weight: Tensor) -> dict[str, Any]:
    """Measure what a readout said of a batch.

    Parameters
    ----------
    reading : Reading
        Of a :class:`ddcl_tab.nn._network.DDCLReadout`.
    prototypes : Tensor, shape (K, D)
    weight : Tensor, shape (B,)

    Returns
    -------
    dict
        ``quantization``, ``reconstruction``, ``variance`` (squared token distance); ``identity_residual``
        (relative, see :class:`ddcl_tab.nn._quantization.LossTerms`); ``token_variance`` (trace of the tokens'
        covariance); ``usage_perplexity`` (1 to K), ``dead_prototypes``, ``effective_prototypes``.
    """
    if reading.assignment is None:
        raise ValueError("this readout has no prototypes to measure")
    terms = loss_terms(reading.z, prototypes, reading.assignment, weight)
    q = reading.assignment.q.flatten(0, 1)
    share = usage(q)
    return {
        "quantization": float(terms.quantization),
        "reconstruction": float(terms.reconstruction),
        "variance": float(terms.variance),
        "identity_residual": float(terms.residual),
        "token_variance": float(reading.z.flatten(0, 1).var(dim=0, correction=0).sum()),
        "usage_perplexity": float(torch.special.entr(share).sum().exp()),
        "dead_prototypes": len(dead_prototypes(q)),
        "effective_prototypes": float(effective_prototypes(q)),
    }


#: Relative accuracy of the largest eigenvalue, and Lanczos vectors kept: a margin needs one digit, not six.
TOLERANCE = 1e-2
N_LANCZOS = 8


#: Name of Muon's averaged gradient in the state of an optimiser, and root mean square of the entries of its step, over
#: the rate.
MUON_STATE, MUON_RMS = "momentum", 0.4


class StepRule(NamedTuple):
    """How an optimiser steps on one parameter, right now.

    Attributes
    ----------
    lr : float
        Rate ``eta``.
    scale : Tensor
        Diagonal of ``M``, shape of the parameter.
    limit : float
        ``c``: steps are stable while ``lr * lambda_max(M^-1 H) < limit``.
    """

    lr: float
    scale: Tensor
    limit: float


def step_rule(optimizer: torch.optim.Optimizer, parameter: Tensor) -> StepRule:
    """Read the step rule of a parameter off an optimiser's real state.

    Parameters
    ----------
    optimizer : torch.optim.SGD, Adam or AdamW
    parameter : Tensor
        One of its parameters.

    Returns
    -------
    StepRule

    Raises
    ------
    ConfigurationError
        The optimiser is of another kind, or has an option with another limit or none: ``nesterov``, ``dampening``,
        ``amsgrad``, ``maximize``, ``orthogonal``.
    """
    group = _group_of(optimizer, parameter)
    unknown = [name for name in ("nesterov", "dampening", "amsgrad", "maximize", "orthogonal") if group.get(name)]
    if unknown:
        kind = type(optimizer).__name__
        raise ConfigurationError(f"no stability limit is known for {kind} with {' and '.join(unknown)}: leave it off.")
    if isinstance(optimizer, torch.optim.SGD):
        return StepRule(group["lr"], torch.ones_like(parameter), 2.0 * (1.0 + group["momentum"]))
    if isinstance(optimizer, (torch.optim.Adam, torch.optim.AdamW)):
        beta1, beta2 = group["betas"]
        limit = 2.0 * (1.0 + beta1) / (1.0 - beta1)
        state = optimizer.state.get(parameter)
        if not state:
            return StepRule(group["lr"], torch.full_like(parameter, group["eps"]), limit)
        second = state["exp_avg_sq"] / (1.0 - beta2 ** float(state["step"]))
        return StepRule(group["lr"], second.sqrt() + group["eps"], limit)
    raise ConfigurationError(f"no stability limit is known for {type(optimizer).__name__}: use SGD, Adam or AdamW.")


def _group_of(optimizer: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Any]:
    return next(group for group in optimizer.param_groups if any(p is parameter for p in group["params"]))


def top_curvature(loss: Callable[[Tensor], Tensor], parameter: Tensor, scale: Tensor) -> float:
    """Largest eigenvalue of ``M^-1 H`` by Lanczos iteration on Hessian-vector products.

    Parameters
    ----------
    loss : callable
        Maps a parameter tensor to a scalar; twice differentiable.
    parameter : Tensor
        Where the Hessian is taken.
    scale : Tensor
        Diagonal of ``M``, shape of the parameter. ``M^-1/2 H M^-1/2`` is symmetric with the same eigenvalues.

    Returns
    -------
    float
        To within :data:`TOLERANCE` of the eigenvalue largest in size: where all are negative, one near the top of them.

    Examples
    --------
    >>> curvature = torch.tensor([1.0, 3.0, 2.0])
    >>> round(top_curvature(lambda p: (curvature * p * p).sum() / 2, torch.zeros(3), torch.ones(3)), 3)
    3.0
    """
    point = parameter.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(point), point, create_graph=True)
    root = scale.detach().sqrt()

    def product(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        direction = torch.as_tensor(vector, dtype=point.dtype, device=point.device).reshape(point.shape) / root
        (image,) = torch.autograd.grad(gradient, point, direction, retain_graph=True)
        return (image / root).detach().flatten().cpu().double().numpy()

    n = point.numel()
    if n <= 3:  # Lanczos needs more dimensions than eigenvalues
        return float(np.linalg.eigvalsh(np.stack([product(row) for row in np.eye(n)])).max())
    start = np.random.default_rng(0).standard_normal(n)
    if not product(start).any():  # ARPACK fails on H = 0
        return 0.0
    operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
    # ARPACK's tolerance is of a residual: at TOLERANCE itself 2 of 1,200 small cases ended 2 and 10 % too low, beside
    # an eigenvector to which the start was nearly orthogonal; at a tenth of it none did.
    options = {"v0": start, "ncv": min(n, N_LANCZOS), "tol": TOLERANCE / 10, "return_eigenvectors": False}
    try:
        return float(eigsh(operator, k=1, which="LA", **options)[0])
    except ArpackError:  # products that are not finite have no eigenvalue; the verdict counts NaN as failed
        return float("nan")


#: Rows of the probe batch for what takes many passes, curvature and relaxation: as many as a step of training sees.
CURVATURE_ROWS = 256
#: Steps of L-BFGS towards the quasi-steady prototypes.
RELAXATION_STEPS = 10


@dataclass(frozen=True)
class EpochCertificate:
    """What was measured after one epoch, on the fixed probe batch.

    Attributes
    ----------
    epoch : int
    quantization, reconstruction, variance : float
        Quantisation loss ``L_q``, reconstruction loss ``L_rec``, variance ``V``, in squared token distance.
    identity_residual : float
        Relative.
    tau : float
        ``T / T_c`` with the covariance of the probe tokens: of the quantisation loss alone.
    tau_joint : float
        ``T`` over the critical temperature of the whole objective: from 1 on collapsed prototypes stay so.
    token_variance : float
        ``tr C``; an encoder that collapses drives it to 0.
    min_separation, mean_separation : float
        Distance of the nearest two, and of all pairs of prototypes, over ``sigma_z = sqrt(tr C)``.
    usage_perplexity, effective_prototypes : float
        Between 1 and K: effective number of prototypes, over all rows and per row.
    dead_prototypes : int
        Prototypes that are the main one of no token, see :func:`dead_prototypes`.
    dead_share : float
        Of all prototypes.
    lr_ratio : float
        Nominal, prototypes over encoder.
    effective_ratio : float
        The same with each group's mean step per unit gradient, ``mean(eta / M)``.
    gradient_ratio : float
        Gradient norm of the prototypes over that of all other parameters, at the last step of the epoch.
    sharpness : float
        ``eta_p lambda_max(M^-1 H_PP) / c``: the prototypes' step over the largest stable one.
    tracking_gap : float
        ``|P - P*| / (sigma_z sqrt(K))``, with ``P*`` where the prototypes settle at this encoder.
    lag : float
        The same gap over the spread of the prototypes about their mean (``P`` or ``P*``, the larger): the share of
        their way that they still have to go, near 1 where they have not parted yet.
    """

    epoch: int
    quantization: float
    reconstruction: float
    variance: float
    identity_residual: float
    tau: float
    tau_joint: float
    token_variance: float
    min_separation: float
    mean_separation: float
    usage_perplexity: float
    effective_prototypes: float
    dead_prototypes: int
    dead_share: float
    lr_ratio: float
    effective_ratio: float
    gradient_ratio: float
    sharpness: float
    tracking_gap: float
    lag: float


def certify_epoch(
    epoch: int,
    network: TableNetwork,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    output: Output,
    batch: Batch,
    measured: dict[str, Any],
) -> EpochCertificate:
    """Measure everything of :class:`EpochCertificate` on a probe batch.

    Parameters
    ----------
    epoch : int
    network : TableNetwork
        With a DDCL readout; its gradients are those of the last training step.
    objective : Objective
    optimizer : SGD, Adam or AdamW
        Its state has the real step of each parameter.
    output : Output
        Of the network on the batch, in evaluation mode.
    batch : Batch
    measured : dict
        What :func:`measure_reading` says of the output.
    """
    weight = batch.weight
    readout, z = network.readout, output.reading.z
    prototypes = readout.prototypes.detach()
    rule = step_rule(optimizer, readout.prototypes)
    tiny = torch.finfo(z.dtype).tiny
    covariance = torch.cov(z.flatten(0, 1).T, correction=0, aweights=weight.repeat_interleave(z.shape[1]))
    sigma = covariance.trace().clamp_min(tiny).sqrt()
    separation = torch.pdist(prototypes) / sigma
    few = output._replace(reading=output.reading._replace(z=z[:CURVATURE_ROWS]))
    loss = loss_of_prototypes(network, objective, few, batch.first(CURVATURE_ROWS))
    settled = relax(loss, prototypes)
    gap = (prototypes - settled).norm()
    spread = torch.stack([p - p.mean(dim=0) for p in (prototypes, settled)]).norm(dim=(1, 2)).max()
    pull = pull_of_task(network, objective, output, batch)
    others = [p for p in network.parameters() if p is not readout.prototypes and p.grad is not None]
    return EpochCertificate(
        epoch=epoch,
        **measured,
        dead_share=measured["dead_prototypes"] / len(prototypes),
        tau=float(readout.temperature / critical_temperature(covariance).clamp_min(tiny)),
        tau_joint=float(readout.temperature / critical_temperature(covariance, pull).clamp_min(tiny)),
        min_separation=float(separation.min()),
        mean_separation=float(separation.mean()),
        lr_ratio=rule.lr / optimizer.param_groups[-1]["lr"],  # the last group holds what no pattern took: the encoder
        effective_ratio=_mean_step(optimizer, [readout.prototypes]) / max(_mean_step(optimizer, others), tiny),
        gradient_ratio=_norm(p.grad for p in [readout.prototypes]) / max(_norm(p.grad for p in others), tiny),
        sharpness=rule.lr * top_curvature(loss, prototypes, rule.scale) / rule.limit,
        tracking_gap=float(gap / (sigma * len(prototypes) ** 0.5)),
        lag=float(gap / spread.clamp_min(tiny)),
    )


def pull_of_task(network: TableNetwork, objective: Objective, output: Output, batch: Batch) -> Tensor:
    """``G / lambda`` of :func:`ddcl_tab.nn._quantization.critical_temperature` on a batch, ``(D, D)``."""
    z = output.reading.z
    mean = (batch.weight / batch.weight.sum()) @ z.mean(dim=1)
    zhat = mean.expand_as(z).clone().requires_grad_()
    loss = objective(network.say(zhat, output.reading), batch, output.reading.assignment)
    if not loss.total.requires_grad:  # an objective without a task on zhat
        return torch.zeros_like(z[0].mT @ z[0])
    (slope,) = torch.autograd.grad(loss.total, zhat)
    product = (z - mean).flatten(0, 1).mT @ slope.flatten(0, 1) / objective.quantization_weight
    return (product + product.mT) / 2


def relax(loss: Callable[[Tensor], Tensor], prototypes: Tensor) -> Tensor:
    """Prototypes settled with the encoder held still: the quasi-steady state ``P*`` next to ``P``, ``(K, D)``."""
    settled = prototypes.detach().clone().requires_grad_()
    optimizer = torch.optim.LBFGS([settled], max_iter=RELAXATION_STEPS, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        value = loss(settled)
        value.backward(inputs=[settled])
        return value.item()

    optimizer.step(closure)
    return settled.detach()


def loss_of_prototypes(
    network: TableNetwork, objective: Objective, output: Output, batch: Batch
) -> Callable[[Tensor], Tensor]:
    """The objective on a batch as a function of the prototypes alone."""
    z, temperature = output.reading.z, network.readout.temperature

    def loss(prototypes: Tensor) -> Tensor:
        held = assign(z, prototypes, temperature)
        return objective(network.say(held.zhat, output.reading), batch, held).total

    return loss


def _norm(tensors: Iterable[Tensor | None]) -> float:
    norms = [tensor.norm() for tensor in tensors if tensor is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def _mean_step(optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> float:
    """Length of a step of some parameters over the length of the gradient that it follows.

    Taken over averaged gradients where the optimiser keeps them, so that entries without gradient count for nothing.
    """
    steps, gradients = [], []
    for parameter in parameters:
        state = optimizer.state[parameter]
        if MUON_STATE in state:  # its step is of one length, whatever the gradient's
            gradient = state[MUON_STATE]
            length = _group_of(optimizer, parameter)["lr"] * MUON_RMS * parameter.numel() ** 0.5
            steps.append(length * gradient / gradient.norm().clamp_min(torch.finfo(gradient.dtype).tiny))
        else:
            rule, gradient = step_rule(optimizer, parameter), state.get("exp_avg", parameter.grad)
            steps.append(rule.lr * gradient / rule.scale)
        gradients.append(gradient)
    return _norm(steps) / max(_norm(gradients), torch.finfo(torch.float32).tiny)
