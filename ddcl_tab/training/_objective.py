"""What training minimises, and its temperature: relative to the critical one, annealed from there downwards."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ddcl_tab.nn._network import Output, TableNetwork
from ddcl_tab.nn._quantization import Assignment, critical_temperature, quantization_loss
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
        ``L_con``: squared error of the columns' contributions to the direct logits, see :func:`contribution_loss`;
        nats squared.
    """

    total: Tensor
    task: Tensor
    direct: Tensor
    quantization: Tensor
    columns: Tensor
    contributions: Tensor


class Exchange(NamedTuple):
    """What it does to a decision that another row takes over the values of a row in some columns.

    Attributes
    ----------
    other : Tensor of int64, shape (n,)
        The other row of each of the first n rows of a batch: its number in the batch.
    taken : Tensor of bool, shape (n, T)
        Columns in which the other row takes over the value of the first; it keeps its own elsewhere.
    effect : Tensor, shape (n, C)
        Change of the other row's direct logits, centred over the classes [nats].
    """

    other: Tensor
    taken: Tensor
    effect: Tensor


#: Rows of a batch that are mixed with others in a step.
EXCHANGED_ROWS = 128


def draw_columns(n_rows: int, n_columns: int, generator: torch.Generator) -> Tensor:
    """Draw some of ``T`` columns for each row, never none or all; bool, shape ``(n_rows, T)``.

    Their number is ``s`` with probability in proportion to ``1 / (s (T - s))``, and all sets of ``s`` are alike: the
    weights under which Shapley values are the least-squares fit (Lundberg and Lee, arXiv:1705.07874, theorem 2).

    Examples
    --------
    >>> draw_columns(1000, 3, torch.Generator().manual_seed(0)).sum(dim=1).unique()
    tensor([1, 2])
    """
    size = torch.arange(1, n_columns)
    chance = 1.0 / (size * (n_columns - size))
    size = size[torch.multinomial(chance, n_rows, replacement=True, generator=generator)]
    place = torch.rand(n_rows, n_columns, generator=generator).argsort(dim=1)
    return place < size.unsqueeze(1)


@torch.no_grad()
def exchange(network: TableNetwork, batch: Batch, output: Output, generator: torch.Generator) -> Exchange | None:
    """Exchange columns between rows of a batch, of which a network said ``output``; None where there is one column."""
    numeric, categorical = batch.inputs["numeric"], batch.inputs["categorical"]
    n, n_numeric = min(EXCHANGED_ROWS, len(numeric)), numeric.shape[1]
    n_columns = n_numeric + categorical.shape[1]
    if n_columns < 2:
        return None
    taken = draw_columns(n, n_columns, generator).to(numeric.device)
    other = torch.randint(len(numeric), (n,), generator=generator).to(numeric.device)
    mixed = network(
        torch.where(taken[:, :n_numeric], numeric[:n], numeric[other]),
        torch.where(taken[:, n_numeric:], categorical[:n], categorical[other]),
    )
    return Exchange(other, taken, _centred(mixed.direct_logits - output.direct_logits[other]))


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(dim=-1, keepdim=True)


class Objective(torch.nn.Module):
    """Residual form of the DDCL objective.

    ``z = zhat + (z - zhat)`` is the mixture of the prototypes plus its residual. The head sees both, so the
    prototypes alone must be able to decide. ``L_q`` pulls prototypes to tokens but not tokens to prototypes: the
    tokens are detached in it, because an encoder that is paid for a small ``L_q`` shrinks its tokens until nothing is
    left to classify by. ``L_col`` keeps the value of a column in its token: with the class alone to learn, all tokens
    of the rows of a class fall together, and prototypes would say nothing of columns and their values.

    ``L_con`` makes a column's contribution what the column does. Tokens have seen each other, and left alone they share
    the decision evenly, whichever column it hangs on. Its target is taken from the network as it is, so that only the
    contributions move (as in ViaSHAP, arXiv:2505.04775). It holds the tokens alone: prototypes follow them, and held
    themselves did not part in short trainings at a low ``lr_ratio``.

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
        held: Assignment,
        exchanged: Exchange | None = None,
    ) -> Loss:
        """Loss of what a network says of a batch; ``held`` is the assignment of its tokens, detached, for ``L_q``."""
        inputs, target, weight = batch
        task = (weight * functional.cross_entropy(output.logits, target, reduction="none")).mean()
        direct = (weight * functional.cross_entropy(output.direct_logits, target, reduction="none")).mean()
        quantization = quantization_loss(held, weight)
        columns = self._columns(output.columns, inputs["numeric"], inputs["categorical"], weight)
        total = task + direct + self.quantization_weight * quantization + self.column_weight * columns
        contributions = torch.zeros_like(total)
        if exchanged is not None:
            contributions = contribution_loss(output, exchanged, weight)
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


def contribution_loss(output: Output, exchanged: Exchange, weight: Tensor) -> Tensor:
    """``L_con``: contributions of the tokens of columns against what exchanging the columns does; nats squared.

    Row ``j`` takes over the columns ``S`` of row ``i``. Were the contributions ``a`` additive, the direct logits ``f``
    would move by exactly what these columns contribute::

        L_con = mean_i |sum_{c in S} (a_c(i) - a_c(j)) - (f(i on S, j elsewhere) - f(j))|^2

    with ``a`` and ``f`` centred over the classes. Contributions sum to the logits in every row, so under the sets of
    :func:`draw_columns` the best fit are the columns' Shapley values, with the other rows as background. Row ``j``
    stands on both sides, so which one was drawn adds little noise. The gradient moves contributions from column to
    column and leaves their sum alone.

    Parameters
    ----------
    output : Output
        For a batch.
    exchanged : Exchange
        Between rows of it.
    weight : Tensor, shape (B,)
    """
    n = len(exchanged.other)
    difference = output.direct_contributions[:n] - output.direct_contributions[exchanged.other]
    # Their sum is held: it is the decision itself, which small contributions would be bought with.
    whole = difference.mean(dim=1, keepdim=True)
    difference = difference - whole + whole.detach()
    error = _centred((exchanged.taken.unsqueeze(2) * difference).sum(dim=1)) - exchanged.effect
    weight = weight[:n] / weight[:n].sum().clamp_min(torch.finfo(weight.dtype).tiny)
    return weight @ error.square().sum(dim=1)


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
