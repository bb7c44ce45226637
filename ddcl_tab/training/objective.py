"""What training minimises."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ddcl_tab.nn.network import Output
from ddcl_tab.nn.quantization import assign, quantization_loss


class Loss(NamedTuple):
    """Terms of the objective; scalars.

    Attributes
    ----------
    total : Tensor
        ``J = CE(h(zhat)) + CE(h(z)) + lambda L_q``.
    task : Tensor
        ``CE(h(zhat))``, nats: the prototypes decide.
    direct : Tensor
        ``CE(h(z))``, nats: the pooled token decides, as the prototypes' teacher.
    quantization : Tensor
        ``L_q``, squared token distance.
    """

    total: Tensor
    task: Tensor
    direct: Tensor
    quantization: Tensor


class Objective(torch.nn.Module):
    """Residual form of the DDCL objective.

    ``z = zhat + (z - zhat)`` is what the prototypes say plus what they leave over. The head sees both, so the
    prototypes alone must be able to decide. ``L_q`` pulls prototypes to tokens but not tokens to prototypes: the tokens
    are detached in it, because an encoder that is paid for a small ``L_q`` shrinks its tokens until nothing is left to
    tell apart.

    Parameters
    ----------
    quantization_weight : float
        ``lambda``.
    """

    def __init__(self, quantization_weight: float) -> None:
        super().__init__()
        self.quantization_weight = quantization_weight

    def forward(self, output: Output, prototypes: Tensor, temperature: Tensor, label: Tensor, weight: Tensor) -> Loss:
        """Loss of a batch; ``label`` and ``weight`` have shape ``(B,)``, the weights have mean 1 over all rows."""
        task = (weight * functional.cross_entropy(output.logits, label, reduction="none")).mean()
        direct = (weight * functional.cross_entropy(output.direct_logits, label, reduction="none")).mean()
        quantization = quantization_loss(assign(output.reading.z.detach(), prototypes, temperature), weight)
        total = task + direct + self.quantization_weight * quantization
        return Loss(total, task, direct, quantization)
