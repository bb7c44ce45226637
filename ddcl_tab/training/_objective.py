"""What training minimises, and its temperature: relative to the critical one, annealed from there downwards."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ddcl_tab.nn._network import Output, TableNetwork
from ddcl_tab.nn._quantization import assign, critical_temperature, quantization_loss
from ddcl_tab.training._rows import Batch


class Loss(NamedTuple):
    """Terms of the objective; scalars.

    Attributes
    ----------
    total : Tensor
        ``J = CE(h(mean zhat)) + CE(h(mean z)) + lambda L_q + mu L_col + nu L_con``.
    task : Tensor
        ``CE(h(mean zhat))`` against the target, nats: the prototypes decide.
    direct : Tensor
        ``CE(h(mean z))``, nats: the mean token decides, past the prototypes.
    quantization : Tensor
        ``L_q``, squared token distance.
    columns : Tensor
        ``L_col``: squared error of the scaled numbers plus cross-entropy of the categories, each read off the mixture
        ``zhat`` of its own column's token.
    contributions : Tensor
        ``L_con``: squared error of the columns' contributions to the log-odds, see :class:`Exchange`; nats squared.
    """

    total: Tensor
    task: Tensor
    direct: Tensor
    quantization: Tensor
    columns: Tensor
    contributions: Tensor


class Exchange(NamedTuple):
    """What the value of one column of a row does to the decision.

    Attributes
    ----------
    column : Tensor of int64, shape (n,)
        A column of each of the first n rows of a batch.
    effect : Tensor, shape (n, C)
        Change of the logits, centred over the classes, as its value comes in for that of another row [nats].
    """

    column: Tensor
    effect: Tensor


#: Rows of a batch whose exchanges are looked at in a step.
EXCHANGED_ROWS = 128


@torch.no_grad()
def exchange(network: TableNetwork, batch: Batch, generator: torch.Generator) -> Exchange:
    """Exchange a column of each row for that of another row, among some that are exchanged already.

    The columns come in one after another in random order; one of them, drawn at random, is looked at. The expectation
    of its effect over orders and other rows is the column's Shapley value of the logits (Strumbelj and Kononenko,
    Knowl. Inf. Syst. 41, 2014).
    """
    numeric, categorical = batch.inputs["numeric"], batch.inputs["categorical"]
    n, n_numeric = min(EXCHANGED_ROWS, len(numeric)), numeric.shape[1]
    place = torch.rand(n, n_numeric + categorical.shape[1], generator=generator)
    column = torch.randint(place.shape[1], (n,), generator=generator)
    own = place.gather(1, column.unsqueeze(1))
    keep = torch.cat([place <= own, place < own]).to(numeric.device)  # with the column's own value, and without
    other = torch.randint(len(numeric), (n,), generator=generator).to(numeric.device)
    logits = network(
        torch.where(keep[:, :n_numeric], numeric[:n].repeat(2, 1), numeric[other].repeat(2, 1)),
        torch.where(keep[:, n_numeric:], categorical[:n].repeat(2, 1), categorical[other].repeat(2, 1)),
    ).logits
    effect = logits[:n] - logits[n:]
    return Exchange(column.to(numeric.device), effect - effect.mean(dim=1, keepdim=True))


class Objective(torch.nn.Module):
    """Residual form of the DDCL objective.

    ``z = zhat + (z - zhat)`` is the mixture of the prototypes plus its residual. The head sees both, so the
    prototypes alone must be able to decide. ``L_q`` pulls prototypes to tokens but not tokens to prototypes: the
    tokens are detached in it, because an encoder that is paid for a small ``L_q`` shrinks its tokens until nothing is
    left to classify by. ``L_col`` keeps the value of a column in its token: with the class alone to learn, all tokens
    of the rows of a class fall together, and prototypes would say nothing of columns and their values.

    ``L_con`` makes a column's contribution what the column does. Tokens have seen each other, and left alone they share
    the decision evenly, whichever column it hangs on. Its target is taken from the network as it is, so that only the
    contributions move (as in ViaSHAP, arXiv:2505.04775).

    Parameters
    ----------
    quantization_weight : float
        ``lambda``.
    column_weight : float
        ``mu``.
    contribution_weight : float
        ``nu``.
    cardinalities : list of int
        Number of categories of each categorical column.
    """

    def __init__(
        self,
        *,
        quantization_weight: float,
        column_weight: float,
        contribution_weight: float,
        cardinalities: list[int],
    ) -> None:
        super().__init__()
        self.quantization_weight, self.column_weight = quantization_weight, column_weight
        self.contribution_weight = contribution_weight
        self.cardinalities = list(cardinalities)

    def forward(
        self,
        output: Output,
        batch: Batch,
        prototypes: Tensor,
        temperature: Tensor,
        exchanged: Exchange | None = None,
    ) -> Loss:
        """Loss of what a network says of a batch, at prototypes ``(K, D)`` and absolute temperature ``T``."""
        inputs, target, weight = batch
        task = (weight * functional.cross_entropy(output.logits, target, reduction="none")).mean()
        direct = (weight * functional.cross_entropy(output.direct_logits, target, reduction="none")).mean()
        quantization = quantization_loss(assign(output.reading.z.detach(), prototypes, temperature), weight)
        columns = self._columns(output.columns, inputs["numeric"], inputs["categorical"], weight)
        total = task + direct + self.quantization_weight * quantization + self.column_weight * columns
        contributions = torch.zeros_like(total)
        if exchanged is not None:
            contributions = contribution_loss(output.contributions, exchanged, weight)
            total = total + self.contribution_weight * contributions
        return Loss(total, task, direct, quantization, columns, contributions)

    def _columns(self, said: Tensor, numeric: Tensor, categorical: Tensor, weight: Tensor) -> Tensor:
        numbers, *logits = said.split([numeric.shape[1], *self.cardinalities], dim=1)
        present = ~numeric.isnan()
        error = (numbers - numeric.nan_to_num()).square() * present * weight.unsqueeze(1)
        loss = error.sum() / present.sum().clamp_min(1)
        for i, column in enumerate(logits):
            entropy = functional.cross_entropy(column, categorical[:, i], reduction="none")
            loss = loss + (weight * entropy).mean() / len(logits)
        return loss


def contribution_loss(contributions: Tensor, exchanged: Exchange, weight: Tensor) -> Tensor:
    """``L_con``: contributions ``(B, T, C)``, less their weighted mean over the batch, against what exchanges do."""
    centred = contributions - contributions.mean(dim=2, keepdim=True)
    centred = centred - ((weight / weight.sum()).view(-1, 1, 1) * centred).sum(dim=0)
    n = len(exchanged.column)
    own = centred[torch.arange(n, device=centred.device), exchanged.column]
    error = (own - exchanged.effect).square().sum(dim=1)
    return (weight[:n] * error).sum() / weight[:n].sum().clamp_min(torch.finfo(error.dtype).tiny)


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
