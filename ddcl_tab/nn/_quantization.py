r"""Soft quantisation of tokens by prototypes: the mathematics of DDCL-Attention.

Tokens ``z`` of shape ``(..., D)``, prototypes ``P`` of shape ``(K, D)``, temperature ``T > 0`` (a squared distance)::

    D_k   = |z - p_k|^2
    q     = softmax_k(-D_k / T)
    zhat  = sum_k q_k p_k

    L_q   = mean sum_k q_k D_k                  soft quantisation loss
    L_rec = mean |z - zhat|^2                   reconstruction loss
    V     = mean sum_k q_k |p_k - zhat|^2       prototype variance
    L_q   = L_rec + V                           exactly

The identity follows from ``z - p_k = (z - zhat) + (zhat - p_k)``: the cross term is
``2 (z - zhat) . sum_k q_k (zhat - p_k) = 0`` because ``zhat`` is the ``q``-mean of the prototypes.

Cost and memory are ``O(N K D)`` for ``N`` tokens. Source: Cirrincione and Kumar, arXiv:2604.03850.

All is computed in float32, or in the wider type of tokens and prototypes, also under autocast: in half precision the
difference of squares that a distance is would be mostly rounding error.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from ddcl_tab.errors import InputError

#: Largest magnitude in a token, in units of the root of the largest float: squared distances summed over a batch stay
#: finite, and one over a codebook's smallest temperature.
LARGEST = 1e-8
#: What tokens may be.
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def checked_tokens(x: Tensor, keep: Tensor, name: str, precision: torch.dtype) -> Tensor:
    """Tokens that count, ``x[keep]``.

    Raises
    ------
    InputError
        If one is not finite, or so large that sums of squares in ``precision`` could overflow.
    """
    tokens = x[keep]
    limit = LARGEST * torch.finfo(precision).max ** 0.5
    if not len(tokens):
        return tokens
    smallest, largest = torch.aminmax(tokens.detach())
    if float(torch.maximum(-smallest, largest)) <= limit:  # not so for NaN
        return tokens
    broken = ~torch.isfinite(tokens).all(-1)
    wrong = broken if bool(broken.any()) else (tokens.abs() > limit).any(-1)
    place, n = keep.nonzero()[wrong][0].tolist(), int(wrong.sum())
    if bool(broken.any()):
        said = "are NaN or infinite", "mask or mend them"
    else:
        size = float(tokens[wrong][0].abs().max())
        said = (
            f"are larger than {limit:.2g}, from where squared distances overflow {str(precision)[6:]}",
            f"it reaches {size:.3g}; scale or mask them",
        )
    raise InputError(f"{n} {name} {said[0]}, the first at {place}: {said[1]}; the codebook is unchanged.")


def checked_integers(values: Tensor, name: str) -> Tensor:
    """Integers of any width, signed or not, as int64; `InputError` for other types."""
    if (
        not isinstance(values, Tensor)
        or values.is_floating_point()
        or values.is_complex()
        or values.dtype == torch.bool
    ):
        raise InputError(f"{name} must be integers in a tensor, got {_kind(values)}.")
    integers = values.long()
    if values.dtype == torch.uint64 and bool((integers < 0).any()):  # where they turned negative
        raise InputError(f"{name} must be below 2**63, got {max(values.flatten().tolist())}: count from 0.")
    return integers


def checked_floats(values: Tensor, name: str) -> None:
    """Refuse what is no tensor of floating-point numbers of 16 bits or more."""
    if not isinstance(values, Tensor) or values.dtype not in FLOATS:
        raise InputError(
            f"{name} must be a tensor of float16, bfloat16, float32 or float64, got {_kind(values)}: convert it, for "
            f"example by {name}.float()."
        )


def _kind(values: object) -> str:
    return str(values.dtype) if isinstance(values, Tensor) else type(values).__name__


def checked_mask(x: Tensor, mask: Tensor | None, width: int, name: str) -> Tensor:
    """Which tokens count; `InputError` where types or shapes do not fit."""
    checked_floats(x, name)
    if x.ndim < 1 or x.shape[-1] != width:
        raise InputError(f"{name} must have shape (..., {width}), got {tuple(x.shape)}: dim is the last axis.")
    if mask is None:
        return x.new_ones(x.shape[:-1], dtype=torch.bool)
    if not isinstance(mask, Tensor) or mask.shape != x.shape[:-1] or mask.dtype != torch.bool:
        of = tuple(mask.shape) if isinstance(mask, Tensor) else "no shape"
        raise InputError(f"mask must be a bool tensor of shape {tuple(x.shape[:-1])}, got {_kind(mask)} of {of}.")
    return mask


#: Factor of the critical temperature, ``T_c = 4 lambda_max(C)``; see :func:`critical_temperature`.
CRITICAL_FACTOR = 4.0
#: Prototypes whose squared distance is less than this many temperatures are duplicates.
DUPLICATE_DISTANCE = 0.25


class Assignment(NamedTuple):
    """Result of :func:`assign`.

    Attributes
    ----------
    q : Tensor, shape (..., K)
        Soft assignments; non-negative, they sum to 1 over the prototypes.
    zhat : Tensor, shape (..., D)
        Mixture of the prototypes, ``q @ P``.
    distances : Tensor, shape (..., K)
        Squared Euclidean distances of the tokens to the prototypes.
    """

    q: Tensor
    zhat: Tensor
    distances: Tensor


class LossTerms(NamedTuple):
    """The three terms of the identity ``quantization = reconstruction + variance``; scalars, squared distances.

    Attributes
    ----------
    quantization : Tensor
        Soft quantisation loss ``L_q``.
    reconstruction : Tensor
        Reconstruction loss ``L_rec``.
    variance : Tensor
        Prototype variance ``V``.
    """

    quantization: Tensor
    reconstruction: Tensor
    variance: Tensor

    @property
    def residual(self) -> Tensor:
        """Relative error of the identity, ``|L_q - L_rec - V| / L_q`` (0 where ``L_q`` is 0)."""
        gap = (self.quantization - self.reconstruction - self.variance).abs()
        return gap / self.quantization.clamp_min(torch.finfo(gap.dtype).tiny)


class PreciseBuffers(nn.Module):
    """A module whose floating-point buffers stay in float32 or better when it is cast: `half` leaves them as they are.

    For running means and temperatures: in bfloat16 a running mean stops at steps below 1/256 of it.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)
        for name, after in self.named_buffers(recurse=False):
            if after.dtype != precise(after.dtype) and after.is_floating_point():
                # From before the cast: nothing is rounded on the way.
                setattr(self, name, before[name].to(after.device, precise(before[name].dtype)))
        return self


def precise(*dtypes: torch.dtype) -> torch.dtype:
    """Widest of the types, at least float32."""
    widest = torch.float32
    for dtype in dtypes:
        widest = torch.promote_types(widest, dtype)
    return widest


def narrowed(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Values in the dtype of the tokens that they stand for: beyond the largest float16, that and not infinity."""
    if dtype is torch.float16 and values.dtype is not dtype:
        largest = torch.finfo(dtype).max
        values = values.clamp(-largest, largest)
    return values.to(dtype)


def without_autocast(device: torch.device) -> AbstractContextManager[None]:
    """Autocast off, where it is on."""
    return torch.autocast(device.type, enabled=False) if _autocasts(device.type) else nullcontext()


def _autocasts(kind: str) -> bool:
    return kind != "meta" and torch.is_autocast_enabled(kind)  # which does not know tensors without numbers


def _product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` as precise as they are. Without a context where none is needed: every step of training asks."""
    if not _autocasts(a.device.type):
        return a @ b
    with without_autocast(a.device):
        return a @ b


def squared_distances(z: Tensor, prototypes: Tensor) -> Tensor:
    """Squared Euclidean distances of tokens to prototypes by one matrix product.

    Both are first shifted by the mean prototype. Distances do not change, but their rounding error then scales with
    the spread of the tokens instead of with their offset from the origin.

    Parameters
    ----------
    z : Tensor, shape (..., D)
    prototypes : Tensor, shape (K, D)

    Returns
    -------
    Tensor, shape (..., K)
        Non-negative, in float32 or better.

    Examples
    --------
    >>> squared_distances(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 0.0], [3.0, 0.0]]))
    tensor([[25., 16.]])
    """
    if not (z.dtype is prototypes.dtype is torch.float32):
        dtype = precise(z.dtype, prototypes.dtype)
        z, prototypes = z.to(dtype), prototypes.to(dtype)
    centre = prototypes.mean(dim=0).detach()
    z, prototypes = z - centre, prototypes - centre
    cross = _product(z, prototypes.mT)
    return (z.square().sum(-1, keepdim=True) + prototypes.square().sum(-1) - 2.0 * cross).clamp_min(0.0)


def assign(z: Tensor, prototypes: Tensor, temperature: Tensor | float) -> Assignment:
    """Assign tokens softly to prototypes (arXiv:2604.03850, readout definition).

    Parameters
    ----------
    z : Tensor, shape (..., D)
        Tokens.
    prototypes : Tensor, shape (K, D)
    temperature : float or scalar Tensor
        Absolute temperature ``T``, in units of squared token distance.

    Returns
    -------
    Assignment
        In float32 or better, whatever tokens and prototypes are in.

    Examples
    --------
    >>> z = torch.tensor([[0.0], [1.0]])
    >>> assign(z, prototypes=torch.tensor([[0.0], [1.0]]), temperature=0.1).q.round(decimals=3)
    tensor([[1., 0.],
            [0., 1.]])
    """
    distances = squared_distances(z, prototypes)
    q = torch.softmax(-distances / temperature, dim=-1)
    if prototypes.dtype is not q.dtype:
        prototypes = prototypes.to(q.dtype)
    return Assignment(q, _product(q, prototypes), distances)


def duplicate_prototypes(prototypes: Tensor, temperature: Tensor | float) -> Tensor:
    """Numbers of the prototypes that stand within ``sqrt(T) / 2`` of an earlier one: duplicates, alike to every row.

    Examples
    --------
    >>> duplicate_prototypes(torch.tensor([[0.0], [3.0], [0.1]]), temperature=1.0)
    tensor([2])
    """
    near = squared_distances(prototypes, prototypes) < DUPLICATE_DISTANCE * temperature
    return torch.nonzero(near.tril(diagonal=-1).any(dim=1)).flatten()


def _weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return values.mean()
    weight = weight.reshape(weight.shape + (1,) * (values.ndim - weight.ndim)).expand_as(values)
    return (values * weight).sum() / weight.sum()


def quantization_loss(assignment: Assignment, weight: Tensor | None = None) -> Tensor:
    """Soft quantisation loss ``L_q``: the term that training minimises.

    Parameters
    ----------
    assignment : Assignment
        Over tokens of shape ``(B, ...)``.
    weight : Tensor, shape (B,), optional
        Weight of each row; the mean over tokens becomes a weighted mean.

    Returns
    -------
    Tensor, scalar
    """
    return _weighted_mean((assignment.q * assignment.distances).sum(-1), weight)


def loss_terms(z: Tensor, prototypes: Tensor, assignment: Assignment, weight: Tensor | None = None) -> LossTerms:
    """Measure all three terms of the identity, each from its own definition.

    Parameters
    ----------
    z : Tensor, shape (B, ..., D)
    prototypes : Tensor, shape (K, D)
    assignment : Assignment
        What :func:`assign` returned for ``z`` and ``prototypes``.
    weight : Tensor, shape (B,), optional

    Returns
    -------
    LossTerms

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> z = torch.randn(100, 8, generator=generator, dtype=torch.float64)
    >>> prototypes = torch.randn(5, 8, generator=generator, dtype=torch.float64)
    >>> terms = loss_terms(z, prototypes, assign(z, prototypes, 2.0))
    >>> bool(terms.residual < 1e-14)
    True
    """
    # Centred as the distances are: a zhat rounded at the tokens' offset from the origin would break the identity.
    q = assignment.q
    z, prototypes = z.to(q.dtype), prototypes.to(q.dtype)
    centre = prototypes.mean(dim=0)
    z, prototypes = z - centre, prototypes - centre
    zhat = _product(q, prototypes)
    # By a product of matrices, not by (K, D) differences for each token; in double, where what cancels in it is far
    # below what is measured.
    spread = squared_distances(zhat.double(), prototypes.double()).to(q.dtype)
    return LossTerms(
        quantization=quantization_loss(assignment, weight),
        reconstruction=_weighted_mean((z - zhat).square().sum(-1), weight),
        variance=_weighted_mean((q * spread).sum(-1), weight),
    )


def critical_temperature(covariance: Tensor, pull: Tensor | None = None) -> Tensor:
    """Temperature above which collapsed prototypes stay collapsed, ``T_c = 4 lambda_max(C)``.

    Put all prototypes at the mean token and displace them by small ``delta_k`` with ``sum_k delta_k = 0``. To second
    order ``L_q = tr C + (1/K) sum_k delta_k' (I - (4/T) C) delta_k``: a strict saddle if and only if ``T < T_c``. A
    task that reads ``zhat`` beside ``lambda L_q`` moves it to ``lambda_max(4 C - 2 G / lambda)``.

    Parameters
    ----------
    covariance : Tensor, shape (D, D)
        Covariance ``C`` of the tokens.
    pull : Tensor, shape (D, D), optional
        ``G / lambda``, with ``G`` the symmetric part of ``mean_i x_i g_i'``: ``x_i`` the centred token, ``g_i`` the
        gradient of row i's other losses in ``zhat_i``, taken at the mean token. Default: no task.

    Returns
    -------
    Tensor, scalar
        In units of squared token distance; 0 where no temperature makes prototypes part.

    Examples
    --------
    >>> covariance = torch.diag(torch.tensor([1.0, 3.0]))
    >>> critical_temperature(covariance)
    tensor(12.)
    >>> critical_temperature(covariance, pull=torch.diag(torch.tensor([-5.0, 0.0])))  # the task wants the first axis
    tensor(14.)
    """
    covariance = covariance.to(precise(covariance.dtype))
    matrix = CRITICAL_FACTOR * covariance - (0.0 if pull is None else 2.0 * pull)
    return torch.linalg.eigvalsh(matrix)[-1].clamp_min(0.0)
