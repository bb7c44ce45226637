"""What is measured on a fixed probe batch after every epoch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ddcl_tab.nn.quantization import loss_terms
from ddcl_tab.nn.readouts import Reading

#: A prototype that carries less than this share of the even share 1/K is dead.
DEAD_SHARE = 0.25


def usage(q: Tensor) -> Tensor:
    """Share of the assignment mass on each prototype: mean of ``q`` ``(B, K)`` over rows; sums to 1."""
    return q.mean(dim=0)


def dead_prototypes(share: Tensor) -> Tensor:
    """Numbers of the prototypes that carry less than ``1 / (4 K)`` of the assignment mass.

    Examples
    --------
    >>> dead_prototypes(torch.tensor([0.6, 0.35, 0.05]))
    tensor([2])
    """
    return torch.nonzero(share < DEAD_SHARE / len(share)).flatten()


def effective_prototypes(q: Tensor) -> Tensor:
    """Mean over rows of ``exp(entropy of q)``: between 1 (one prototype a row) and K.

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
        Of a :class:`ddcl_tab.nn.readouts.DDCLReadout`.
    prototypes : Tensor, shape (K, D)
    weight : Tensor, shape (B,)

    Returns
    -------
    dict
        ``quantization``, ``reconstruction``, ``variance`` (squared token distance); ``identity_residual``
        (relative, see :class:`ddcl_tab.nn.quantization.LossTerms`); ``token_variance`` (trace of the tokens'
        covariance); ``usage_perplexity`` (1 to K), ``dead_prototypes``, ``effective_prototypes``.
    """
    if reading.assignment is None:
        raise ValueError("this readout has no prototypes to measure")
    terms = loss_terms(reading.z, prototypes, reading.assignment, weight)
    share = usage(reading.assignment.q)
    return {
        "quantization": float(terms.quantization),
        "reconstruction": float(terms.reconstruction),
        "variance": float(terms.variance),
        "identity_residual": float(terms.residual),
        "token_variance": float(reading.z.var(dim=0, correction=0).sum()),
        "usage_perplexity": float(torch.special.entr(share).sum().exp()),
        "dead_prototypes": len(dead_prototypes(share)),
        "effective_prototypes": float(effective_prototypes(reading.assignment.q)),
    }
