"""Learning over the ranks of a process group, such as DistributedDataParallel needs; in one process nothing is sent.

All functions but `several` are collective: every rank of the default group must call them, equally often.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ddcl_tab.errors import InputError

Result = TypeVar("Result")

#: Tokens that one rank may be sent by all together, to place codes on: bounds its memory, whatever the world's size.
GATHERED = 2**18


def several() -> bool:
    """Whether a process group with more than one rank is initialised."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def summed(*tensors: Tensor) -> list[Tensor]:
    """Sums over all ranks, of one dtype, in one message: the same bits on every rank."""
    if not several():
        return list(tensors)
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    sizes = [tensor.numel() for tensor in tensors]
    return [part.view_as(tensor) for part, tensor in zip(flat.split(sizes), tensors, strict=True)]


def rows(values: Sequence[float], device: torch.device) -> list[list[float]]:
    """One row of numbers from every rank, in the order of ranks."""
    if not several():
        return [list(values)]
    mine = torch.tensor(values, dtype=torch.float64, device=device)
    parts = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, mine)
    return torch.stack(parts).tolist()


def gathered(tokens: Tensor, counts: Sequence[int]) -> Tensor:
    """Tokens ``(n, W)`` of all ranks, ``counts`` of them each; a fixed sample of what exceeds `GATHERED`."""
    if not several():
        return tokens
    share = max(1, GATHERED // len(counts))
    sizes = [min(count, share) for count in counts]
    if len(tokens) > share:  # at random: every second, third, ... would miss what recurs in step with them
        sample = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(0))[:share]
        tokens = tokens[sample.to(tokens.device)]
    padded = tokens.new_zeros(max(sizes), tokens.shape[1])
    padded[: len(tokens)] = tokens
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def copy_from_first(*tensors: Tensor) -> None:
    """Overwrite tensors by those of rank 0."""
    if several():
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


def together(make: Callable[[], Result], device: torch.device) -> Result:
    """Result of ``make()`` if it succeeds on every rank, else an error on every rank: none waits for one that failed.

    Raises
    ------
    InputError
        On ranks whose own ``make`` succeeded; a rank that failed raises its own error.
    """
    if not several():
        return make()
    result, problem = [], None
    try:
        result.append(make())
    except Exception as error:  # whatever it is, the other ranks must hear of it before it is raised again
        problem = error
    failed = [rank for rank, (bad,) in enumerate(rows([float(problem is not None)], device)) if bad]
    if problem is not None:
        raise problem
    if failed:
        raise InputError(
            f"ranks {failed} of {dist.get_world_size()} cannot use their batch (their own errors say why): no rank "
            "learned from this step, and the codebook is unchanged."
        )
    return result[0]
