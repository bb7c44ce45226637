"""Relative temperature: track the tokens' covariance and anneal below the critical temperature."""

from __future__ import annotations

import torch
from torch import Tensor

from ddcl_tab.nn.quantization import critical_temperature

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
    z : Tensor, shape (B, D)
        First batch of tokens.
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
    share = (weight / weight.sum()).unsqueeze(-1)
    mean = (share * z).sum(0)
    centred = z - mean
    return mean, (share * centred).mT @ centred
