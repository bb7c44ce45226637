"""What training minimises, and its temperature: relative to the critical one, annealed from there downwards."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ddcl_tab.nn._network import Output
from ddcl_tab.nn._quantization import assign, critical_temperature, quantization_loss
from ddcl_tab.training._rows import Batch


class Loss(NamedTuple):
    """Terms of the objective; scalars.

    Attributes
    ----------
    total : Tensor
        ``J = CE(h(mean zhat)) + CE(h(mean z)) + lambda L_q + mu L_col``.
    task : Tensor
        ``CE(h(mean zhat))`` against the target, nats: the prototypes decide.
    direct : Tensor
        ``CE(h(mean z))``, nats: the mean token decides, past the prototypes.
    quantization : Tensor
        ``L_q``, squared token distance.
    columns : Tensor
        ``L_col``: squared error of the scaled numbers plus cross-entropy of the categories, each read off the mixture
        ``zhat`` of its own column's token.
    """

    total: Tensor
    task: Tensor
    direct: Tensor
    quantization: Tensor
    columns: Tensor


class Objective(torch.nn.Module):
    """Residual form of the DDCL objective.

    ``z = zhat + (z - zhat)`` is the mixture of the prototypes plus its residual. The head sees both, so the
    prototypes alone must be able to decide. ``L_q`` pulls prototypes to tokens but not tokens to prototypes: the
    tokens are detached in it, because an encoder that is paid for a small ``L_q`` shrinks its tokens until nothing is
    left to classify by. ``L_col`` keeps the value of a column in its token: with the class alone to learn, all tokens
    of the rows of a class fall together, and prototypes would say nothing of columns and their values.

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

    def forward(self, output: Output, batch: Batch, prototypes: Tensor, temperature: Tensor) -> Loss:
        """Loss of what a network says of a batch, at prototypes ``(K, D)`` and absolute temperature ``T``."""
        inputs, target, weight = batch
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


#: Share of the steps over which the temperature falls; afterwards it stays at its final value.
ANNEALING_SHARE = 0.6
#: Memory of the running covariance: a batch weighs one part in fifty.
MOMENTUM = 0.98
#: Tokens whose covariance vanishes have no critical temperature; this keeps the softmax finite.
MIN_TEMPERATURE = 1e-6


def annealed(progress: float, final: float) -> float:
    """Relative temperature ``tau = T / T_c`` at a point of training: from 1 down to ``final``, geometrically.

    Starting at the critical temperature, prototypes split one after another as ``T`` passes the eigenvalues of the
    tokens' covariance: deterministic annealing (Rose, Proc. IEEE 86(11), 1998).

    Parameters
    ----------
    progress : float
        Share of the steps done, in [0, 1].
    final : float
        Final relative temperature.

    Examples
    --------
    >>> [round(annealed(progress, final=0.01), 3) for progress in (0.0, 0.3, 0.6, 1.0)]
    [1.0, 0.1, 0.01, 0.01]
    """
    return float(final ** min(1.0, progress / ANNEALING_SHARE))


class TokenCovariance:
    """Running mean and covariance of the tokens seen in training (no gradient flows through it).

    Parameters
    ----------
    z : Tensor, shape (B, T, D)
        Tokens of the first batch.
    weight : Tensor, shape (B,)
        Weights of its rows.
    """

    def __init__(self, z: Tensor, weight: Tensor) -> None:
        self.mean, self.covariance = _moments(z, weight)

    def update(self, z: Tensor, weight: Tensor) -> None:
        """Take in another batch."""
        mean, covariance = _moments(z, weight)
        self.mean = MOMENTUM * self.mean + (1 - MOMENTUM) * mean
        self.covariance = MOMENTUM * self.covariance + (1 - MOMENTUM) * covariance

    def temperature(self, relative: float) -> Tensor:
        """Absolute temperature ``T = relative * T_c``, in squared token distance."""
        return (relative * critical_temperature(self.covariance)).clamp_min(MIN_TEMPERATURE)


@torch.no_grad()
def _moments(z: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(D,)`` and covariance ``(D, D)`` over all tokens of all rows."""
    share = (weight / weight.sum() / z.shape[1]).repeat_interleave(z.shape[1]).unsqueeze(-1)
    z = z.flatten(0, 1)
    mean = (share * z).sum(0)
    centred = z - mean
    return mean, (share * centred).mT @ centred
