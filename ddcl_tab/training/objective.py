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
        ``J = CE(h(zhat)) + CE(h(z)) + lambda L_q + mu L_col``.
    task : Tensor
        ``CE(h(zhat))`` against the target, nats: the prototypes decide.
    direct : Tensor
        ``CE(h(z))``, nats: the pooled token decides, as the prototypes' teacher.
    quantization : Tensor
        ``L_q``, squared token distance.
    columns : Tensor
        ``L_col``: squared error of the scaled numbers plus cross-entropy of the categories, both read off ``zhat``.
    """

    total: Tensor
    task: Tensor
    direct: Tensor
    quantization: Tensor
    columns: Tensor


class Objective(torch.nn.Module):
    """Residual form of the DDCL objective.

    ``z = zhat + (z - zhat)`` is what the prototypes say plus what they leave over. The head sees both, so the
    prototypes alone must be able to decide. ``L_q`` pulls prototypes to tokens but not tokens to prototypes: the
    tokens are detached in it, because an encoder that is paid for a small ``L_q`` shrinks its tokens until nothing is
    left to tell apart. ``L_col`` keeps the structure inside a class: with the class alone to learn, all tokens of a
    class fall together, and prototypes that stand side by side there tell a reader nothing.

    Parameters
    ----------
    quantization_weight : float
        ``lambda``.
    column_weight : float
        ``mu``.
    cardinalities : list of int
        Number of categories of each categorical column.
    """

    def __init__(self, *, quantization_weight: float, column_weight: float, cardinalities: list[int]) -> None:
        super().__init__()
        self.quantization_weight, self.column_weight = quantization_weight, column_weight
        self.cardinalities = list(cardinalities)

    def forward(
        self,
        output: Output,
        inputs: dict[str, Tensor],
        prototypes: Tensor,
        temperature: Tensor,
        target: Tensor,
        weight: Tensor,
    ) -> Loss:
        """Loss of a batch: ``target (B, C)`` holds class probabilities, ``weight (B,)`` has mean 1 over all rows."""
        task = (weight * functional.cross_entropy(output.logits, target, reduction="none")).mean()
        direct = (weight * functional.cross_entropy(output.direct_logits, target, reduction="none")).mean()
        quantization = quantization_loss(assign(output.reading.z.detach(), prototypes, temperature), weight)
        columns = self._columns(output.columns, inputs["numeric"], inputs["categorical"], weight)
        total = task + direct + self.quantization_weight * quantization + self.column_weight * columns
        return Loss(total, task, direct, quantization, columns)

    def _columns(self, said: Tensor, numeric: Tensor, categorical: Tensor, weight: Tensor) -> Tensor:
        numbers, *logits = said.split([numeric.shape[1], *self.cardinalities], dim=1)
        present = ~numeric.isnan()
        error = (numbers - numeric.nan_to_num()).square() * present * weight.unsqueeze(1)
        loss = error.sum() / present.sum().clamp_min(1)
        for i, column in enumerate(logits):
            entropy = functional.cross_entropy(column, categorical[:, i], reduction="none")
            loss = loss + (weight * entropy).mean() / len(logits)
        return loss
