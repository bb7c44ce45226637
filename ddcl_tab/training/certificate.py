"""The certificate: was training sound? Measured after every epoch, judged at the end.

Conditions (docs/theory.md derives them):

1. *Identity*: ``|L_q - L_rec - V| / L_q`` stays at rounding error.
2. *Supercritical*: ``tau = T / T_c < 1``, with ``T_c`` of the tokens as they are; above it collapsed prototypes stay.
3. *Fast step stable*: ``eta_p lambda_max(M^-1 H_PP) < c``, the upper bound on ``lr_ratio``.
4. *Tracking*: the prototypes stand near where they would settle with the encoder held still, ``|P - P*|`` over
   ``sigma_z sqrt(K)``; the lower bound on ``lr_ratio``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ddcl_tab.nn.network import Output, TableNetwork
from ddcl_tab.nn.quantization import assign, critical_temperature, loss_terms
from ddcl_tab.nn.readouts import Reading
from ddcl_tab.training.measure import dead_prototypes, effective_prototypes, usage
from ddcl_tab.training.objective import Objective
from ddcl_tab.training.sharpness import step_rule, top_curvature

#: Limits of the conditions.
MAX_IDENTITY_RESIDUAL = 1e-5
MAX_TRACKING_GAP = 0.25
#: Steps of L-BFGS towards the quasi-steady prototypes.
RELAXATION_STEPS = 20


@dataclass(frozen=True)
class EpochCertificate:
    """What was measured after one epoch, on the fixed probe batch.

    Attributes
    ----------
    epoch : int
    quantization, reconstruction, variance : float
        ``L_q``, ``L_rec``, ``V`` in squared token distance.
    identity_residual : float
        Relative.
    tau : float
        ``T / T_c`` with the covariance of the probe tokens.
    token_variance : float
        ``tr C``; an encoder that collapses drives it to 0.
    min_separation, mean_separation : float
        Distance of the nearest two, and of all pairs of prototypes, over ``sigma_z = sqrt(tr C)``.
    usage_perplexity, effective_prototypes : float
        Between 1 and K: prototypes in use over all rows, and in play per row.
    dead_prototypes : int
    lr_ratio : float
        Nominal, prototypes over encoder.
    effective_ratio : float
        The same with each group's mean step per unit gradient, ``mean(eta / M)``.
    gradient_ratio : float
        Gradient norm of the prototypes over that of all other parameters, at the last step of the epoch.
    sharpness : float
        ``lambda_max(M^-1 H_PP)``.
    sharpness_limit : float
        ``c / eta_p``, which ``sharpness`` must not reach.
    tracking_gap : float
    """

    epoch: int
    quantization: float
    reconstruction: float
    variance: float
    identity_residual: float
    tau: float
    token_variance: float
    min_separation: float
    mean_separation: float
    usage_perplexity: float
    effective_prototypes: float
    dead_prototypes: int
    lr_ratio: float
    effective_ratio: float
    gradient_ratio: float
    sharpness: float
    sharpness_limit: float
    tracking_gap: float


def certify_epoch(
    epoch: int,
    network: TableNetwork,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    batch: Any,
) -> EpochCertificate:
    """Measure everything of :class:`EpochCertificate` on a probe batch.

    Parameters
    ----------
    epoch : int
    network : TableNetwork
        With a DDCL readout; its gradients are those of the last training step.
    objective : Objective
    optimizer : SGD, Adam or AdamW
        Its state tells the real step of each parameter.
    batch : tuple
        Inputs, and label and weight.
    """
    inputs, (label, weight) = batch
    training, readout = network.training, network.readout
    network.eval()
    with torch.no_grad():
        output = network(**inputs)
    network.train(training)
    z, q = output.reading.z, output.reading.assignment.q
    terms = loss_terms(z, readout.prototypes.detach(), output.reading.assignment, weight)
    covariance = torch.cov(z.T, correction=0, aweights=weight)
    share = usage(q)
    loss = _loss_of_prototypes(network, objective, output, inputs, label, weight)
    rule = step_rule(optimizer, readout.prototypes)
    sigma = covariance.trace().clamp_min(torch.finfo(z.dtype).tiny).sqrt()
    distances = torch.pdist(readout.prototypes.detach()) / sigma
    others = [p for p in network.parameters() if p is not readout.prototypes and p.grad is not None]
    encoder_lr, encoder_step = _mean_step(optimizer, others)
    return EpochCertificate(
        epoch=epoch,
        quantization=float(terms.quantization),
        reconstruction=float(terms.reconstruction),
        variance=float(terms.variance),
        identity_residual=float(terms.residual),
        tau=float(readout.temperature / critical_temperature(covariance).clamp_min(torch.finfo(z.dtype).tiny)),
        token_variance=float(covariance.trace()),
        min_separation=float(distances.min()),
        mean_separation=float(distances.mean()),
        usage_perplexity=float(torch.special.entr(share).sum().exp()),
        effective_prototypes=float(effective_prototypes(q)),
        dead_prototypes=len(dead_prototypes(share)),
        lr_ratio=rule.lr / encoder_lr,
        effective_ratio=float((rule.lr / rule.scale).mean()) / encoder_step,
        gradient_ratio=_norm([readout.prototypes]) / max(_norm(others), 1e-30),
        sharpness=top_curvature(loss, readout.prototypes, rule.scale),
        sharpness_limit=rule.limit / rule.lr,
        tracking_gap=float((readout.prototypes.detach() - relax(loss, readout.prototypes)).norm() / sigma)
        / len(readout.prototypes) ** 0.5,
    )


def relax(loss: Callable[[Tensor], Tensor], prototypes: Tensor) -> Tensor:
    """Prototypes settled with the encoder held still: the quasi-steady state ``P*`` next to ``P``, ``(K, D)``."""
    settled = prototypes.detach().clone().requires_grad_()
    optimizer = torch.optim.LBFGS([settled], max_iter=RELAXATION_STEPS, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        value = loss(settled)
        value.backward(inputs=[settled])
        return float(value)

    optimizer.step(closure)
    return settled.detach()


def _loss_of_prototypes(
    network: TableNetwork,
    objective: Objective,
    output: Output,
    inputs: dict[str, Tensor],
    label: Tensor,
    weight: Tensor,
) -> Callable[[Tensor], Tensor]:
    """The objective on the probe batch as a function of the prototypes alone."""
    z, temperature = output.reading.z, network.readout.temperature

    def loss(prototypes: Tensor) -> Tensor:
        assignment = assign(z, prototypes, temperature)
        said = Output(
            network.head(assignment.zhat),
            output.direct_logits,
            Reading(assignment.zhat, z, assignment),
            network.decoder(assignment.zhat),
        )
        return objective(said, inputs, prototypes, temperature, label, weight).total

    return loss


def _norm(parameters: list[Any]) -> float:
    gradients = [p.grad.norm() for p in parameters if p.grad is not None]
    return float(torch.stack(gradients).norm()) if gradients else 0.0


def _mean_step(optimizer: torch.optim.Optimizer, parameters: list[Any]) -> tuple[float, float]:
    """Rate of a group of parameters, and its mean step per unit gradient."""
    rules = [step_rule(optimizer, parameter) for parameter in parameters]
    total = sum(float((rule.lr / rule.scale).sum()) for rule in rules)
    return rules[0].lr, total / sum(rule.scale.numel() for rule in rules)
