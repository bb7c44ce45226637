"""What layers refuse: tokens and numbers of wrong type, shape or size."""

from __future__ import annotations

import torch
from torch import Tensor

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
