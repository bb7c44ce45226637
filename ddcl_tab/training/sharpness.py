r"""Is the prototypes' step stable? Curvature seen through the optimiser, against its limit.

A gradient step of rate ``eta`` with preconditioner ``M`` is stable along an eigenvector of ``M^-1 H`` with eigenvalue
``lambda`` while ``eta lambda < c``. On a quadratic:

- gradient descent ``p <- p - eta lambda p`` contracts while ``|1 - eta lambda| < 1``: ``c = 2``;
- heavy-ball momentum (``v <- beta v + g``, ``p <- p - eta v``) has the characteristic polynomial
  ``x^2 - (1 + beta - eta lambda) x + beta``, whose roots leave the unit circle at ``x = -1``: ``c = 2 (1 + beta)``;
- Adam with a settled second moment averages gradients (``m <- beta1 m + (1 - beta1) g``), which is heavy ball with
  rate ``(1 - beta1) eta`` and ``M = diag(sqrt(vhat) + eps)``: ``c = 2 (1 + beta1) / (1 - beta1)``, 38 at 0.9
  (Cohen et al., arXiv:2207.14484).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from torch import Tensor

from ddcl_tab.errors import ConfigurationError

#: Relative accuracy of the largest eigenvalue, and Lanczos vectors kept: a margin needs one digit, not six.
TOLERANCE = 1e-2
N_LANCZOS = 8


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
        ``amsgrad``, ``maximize``.
    """
    group = next(g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))
    unknown = [name for name in ("nesterov", "dampening", "amsgrad", "maximize") if group.get(name)]
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
    options = {"v0": start, "ncv": min(n, N_LANCZOS), "tol": TOLERANCE, "return_eigenvectors": False}
    try:
        return float(eigsh(operator, k=1, which="LA", **options)[0])
    except ArpackError:  # products that are not finite have no eigenvalue; the verdict counts NaN as failed
        return float("nan")
