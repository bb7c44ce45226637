"""Hierarchical compressor: readouts over readouts for trees of tokens (tokens, segments, documents, ...).

A tree is written flat, without padding: tokens ``(N, D)`` and, for each level, the parent of every node. Level ``l``
quantises its nodes softly with its own prototypes and reads each parent out as the mean of its children's mixtures::

    zhat_i = sum_k q_ik p_k            node i of level l
    z_s    = mean_{i in s} zhat_i      parent s: a node of level l + 1
    b_s    = mean_{i in s} q_i         shares of the prototypes in s;  z_s = b_s P
    r_sk   = mean_{i in s} q_ik (z_i - p_k)    what they leave over: mean_{i in s} z_i = z_s + sum_k r_sk

Cost and memory are linear in the nodes: ``O(N D + C K)`` memory for chunks of ``C`` nodes.
Source: Cirrincione and Kumar, arXiv:2604.03850, hierarchical use.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from copy import deepcopy
from numbers import Integral
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ddcl_tab.errors import ConfigurationError, InputError
from ddcl_tab.nn import _ranks as ranks
from ddcl_tab.nn._codebook import DDCLCodebook
from ddcl_tab.nn._quantization import (
    LossTerms,
    assign,
    checked_floats,
    checked_integers,
    checked_tokens,
    critical_temperature,
    narrowed,
    precise,
    quantization_loss,
    without_autocast,
)

#: Nodes that are assigned at once where no gradient is kept; bounds the memory for assignments.
CHUNK = 16_384
#: Nodes that a level is measured on, and the largest relative error of its identity.
N_PROBE, LARGEST_RESIDUAL = 4096, 1e-3
#: Parents that the top level may number beyond a few for each node: more is a number that is no count (an id, a time).
MANY_PARENTS = 2**24


class LevelReading(NamedTuple):
    """One level read out, in the dtype of the tokens; its loss in float32 or better.

    Attributes
    ----------
    tokens : Tensor, shape (S, D)
        Mean mixture of each parent's children; zeros for a parent without any.
    shares : Tensor, shape (S, K)
        Mean assignment; rows sum to 1, or to 0 for a parent without children.
    keep : bool Tensor, shape (S,)
        Parents with at least one child that counts.
    loss : Tensor, scalar
        Soft quantisation loss ``L_q`` of the level.
    """

    tokens: Tensor
    shares: Tensor
    keep: Tensor
    loss: Tensor


class Compressed(NamedTuple):
    """Codes of a tree.

    Attributes
    ----------
    codes : list of int64 Tensor, shape (N_l,)
        Nearest prototype of each node of each level; -1 where masked.
    ratios : list of float
        Bits of the float32 tokens over bits of the codes of that level.
    """

    codes: list[Tensor]
    ratios: list[float]


class LevelCertificate(NamedTuple):
    """Whether one level is sound; squared distances.

    ``sound`` asks for a temperature below the critical one, the identity ``L_q = L_rec + V`` within rounding, and more
    than one prototype in use.
    """

    terms: LossTerms
    temperature: float
    critical_temperature: float
    perplexity: float
    separation: float

    @property
    def sound(self) -> bool:
        """All conditions hold."""
        cool = self.temperature < self.critical_temperature
        return bool(cool and self.terms.residual < LARGEST_RESIDUAL and self.perplexity > 1.0)


class HierarchicalCompressor(nn.Module):
    """Compress trees of tokens level by level, each with prototypes of its own.

    Parameters
    ----------
    dim : int
        ``D``, width of a token.
    levels : sequence of int
        Number of prototypes of each level, from the tokens up.

    Attributes
    ----------
    codebooks : ModuleList of DDCLCodebook
        Prototypes, temperature and measures of each level.

    Raises
    ------
    ConfigurationError
        If there is no level, or a number is no integer of at least 1.

    Notes
    -----
    Tokens may be float16, bfloat16, float32 or float64, the module may be cast and autocast may be on, in any
    combination. All levels are computed in float32, or in float64 after ``.double()``, and what is handed on is rounded
    to the tokens' dtype at the end (beyond the largest float16, to that). Several processes learn together as those
    of `DDCLCodebook` do: `learn` is called on every rank with the same ``steps``, each with trees of its own.

    Examples
    --------
    Six tokens in three sentences of two texts:

    >>> compressor = HierarchicalCompressor(dim=4, levels=[8, 4])
    >>> tokens = torch.randn(6, 4)
    >>> parents = [torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 0, 1])]
    >>> sentences, texts = compressor.learn(tokens, parents, steps=20)(tokens, parents)
    >>> sentences.tokens.shape, texts.shares.shape
    (torch.Size([3, 4]), torch.Size([2, 4]))
    >>> compressed = compressor.compress(tokens, parents)
    >>> [len(codes) for codes in compressed.codes], [round(r) for r in compressed.ratios]
    ([6, 3], [43, 128])
    """

    def __init__(self, dim: int, levels: Sequence[int]) -> None:
        super().__init__()
        if not isinstance(levels, Iterable):
            raise ConfigurationError(f"levels must be a list of numbers of prototypes, got {levels!r}.")
        levels = list(levels)
        if not levels:
            raise ConfigurationError("levels must hold at least one number of prototypes, got none.")
        self.dim = dim
        self.codebooks = nn.ModuleList(DDCLCodebook(dim, n) for n in levels)

    def forward(self, tokens: Tensor, parents: Sequence[Tensor], mask: Tensor | None = None) -> list[LevelReading]:
        """Read out all levels.

        Parameters
        ----------
        tokens : Tensor, shape (N, D)
            Floating-point numbers of magnitude below 1.8e11, as for `DDCLCodebook`.
        parents : sequence of integer Tensor
            Of any width, signed or not. One a level: parent of each of its nodes, numbered from 0. ``parents[0]`` has
            shape (N,), ``parents[l]`` one entry for each parent that ``parents[l - 1]`` can name.
        mask : bool Tensor, shape (N,), optional
            False for tokens that do not count. A parent none of whose children counts does not count either.

        Returns
        -------
        list of LevelReading
            The sum of their losses trains what makes the tokens; prototypes learn by `learn`, or by the codebooks.

        Raises
        ------
        InputError
            If shapes, types or numbers do not fit together, or a token that counts is not finite or too large.
        """
        tree = self._check(tokens, parents, mask)
        dtype = tokens.dtype
        return [r._replace(tokens=narrowed(r.tokens, dtype), shares=r.shares.to(dtype)) for r in self._read(tree)]

    @torch.no_grad()
    def learn(
        self,
        tokens: Tensor,
        parents: Sequence[Tensor],
        mask: Tensor | None = None,
        *,
        steps: int = 300,
        batch_size: int = 4096,
        seed: int = 0,
    ) -> HierarchicalCompressor:
        """Place the prototypes of all levels on given tokens, lowest first.

        Parameters
        ----------
        tokens, parents, mask
            As for a call.
        steps : int, default 300
            Batches for each level.
        batch_size : int, default 4096
            Nodes in a batch.
        seed : int, default 0
            Of the draws of batches.

        Returns
        -------
        HierarchicalCompressor
            Itself, in evaluation mode.

        Raises
        ------
        ConfigurationError
            If ``steps`` is negative or ``batch_size`` below 1.
        InputError
            As for a call, and if no token counts, on any rank; nothing has changed then.
        """
        if not (isinstance(steps, Integral) and isinstance(batch_size, Integral)) or steps < 0 or batch_size < 1:
            raise ConfigurationError(
                f"steps must not be negative and batch_size at least 1, got {steps!r} and {batch_size!r}: both "
                "are integers."
            )
        device = self._levels[0].codebook.device
        tree = ranks.together(lambda: self._check(tokens, parents, mask), device)
        if not sum(n for (n,) in ranks.rows([float(tree.keep.sum())], device)):
            raise InputError(f"none of {len(tokens)} tokens counts: there is nothing to learn from.")
        generator = torch.Generator().manual_seed(seed)
        with without_autocast(device):
            z, keep = tree.tokens, tree.keep
            for codebook, parent, n_parents in zip(self._levels, tree.parents, tree.counts, strict=True):
                rows = keep.nonzero().flatten()
                codebook.train()
                for _ in range(steps):
                    # A rank none of whose tokens counts learns along from those of the others.
                    drawn = torch.randint(max(1, len(rows)), (min(batch_size, len(rows)),), generator=generator)
                    codebook(z[rows[drawn.to(rows.device)]])
                codebook.eval()
                reading = _read_out(z, codebook, parent, n_parents, keep)
                z, keep = reading.tokens, reading.keep
        return self.eval()

    @torch.no_grad()
    def residuals(self, tokens: Tensor, parents: Sequence[Tensor], mask: Tensor | None = None) -> list[Tensor]:
        """What the prototypes of each level leave over, ``r_sk``; arguments as for a call.

        What says most of a parent: a linear probe on it reads about what one on the mean of the tokens reads, one
        on the shares far less (pipelines/results/documents). As a soft VLAD (H. Jegou et al., CVPR 2010).

        Returns
        -------
        list of Tensor, shape (S, K, D)
            One a level. Zeros for a parent without children that count.
        """
        tree = self._check(tokens, parents, mask)
        result = []
        for level, (nodes, counts) in enumerate(self._nodes(tree)):
            left = _left_over(nodes, self._levels[level], tree.parents[level], tree.counts[level], counts)
            result.append(narrowed(left, tokens.dtype))
        return result

    @torch.no_grad()
    def compress(self, tokens: Tensor, parents: Sequence[Tensor], mask: Tensor | None = None) -> Compressed:
        """Hard codes of all levels and what they save; arguments as for a call."""
        tree = self._check(tokens, parents, mask)
        bits = 32.0 * self.dim * int(tree.keep.sum())
        codes, ratios = [], []
        for (nodes, counts), codebook in zip(self._nodes(tree), self._levels, strict=True):
            hard = torch.cat([codebook.nearest(z) for z in nodes.split(CHUNK)])
            codes.append(hard.masked_fill(~counts, -1))
            spent = int(counts.sum()) * math.log2(codebook.codebook_size)
            ratios.append(bits / spent if spent else math.inf)
        return Compressed(codes, ratios)

    @torch.no_grad()
    def certify(self, tokens: Tensor, parents: Sequence[Tensor], mask: Tensor | None = None) -> list[LevelCertificate]:
        """Measure each level in float64, on at most 4,096 of its nodes; arguments as for a call.

        Raises
        ------
        InputError
            As for a call, and if no token counts.
        """
        tree = self._check(tokens, parents, mask)
        if not bool(tree.keep.any()):
            raise InputError(f"none of {len(tokens)} tokens counts: there is nothing to certify. Unmask some.")
        result = []
        for (nodes, counts), codebook in zip(self._nodes(tree), self._levels, strict=True):
            z = nodes[counts].double()
            centred = z - z.mean(0)
            probe = z[:: max(1, -(-len(z) // N_PROBE))]
            measured = _double(codebook).terms(probe)
            result.append(
                LevelCertificate(
                    measured,
                    float(codebook.absolute_temperature),
                    float(critical_temperature(centred.T @ centred / len(z))),
                    codebook.perplexity,
                    codebook.separation,
                )
            )
        return result

    @property
    def _levels(self) -> list[DDCLCodebook]:
        return [codebook for codebook in self.codebooks if isinstance(codebook, DDCLCodebook)]

    def _read(self, tree: _Tree) -> list[LevelReading]:
        """All levels, as precise as the codes."""
        tokens, keep, readings = tree.tokens, tree.keep, []
        with without_autocast(tokens.device):
            for codebook, parent, n_parents in zip(self._levels, tree.parents, tree.counts, strict=True):
                readings.append(_read_out(tokens, codebook, parent, n_parents, keep))
                tokens, keep = readings[-1].tokens, readings[-1].keep
        return readings

    def _nodes(self, tree: _Tree) -> list[tuple[Tensor, Tensor]]:
        """Nodes of each level and which of them count."""
        return [(tree.tokens, tree.keep), *((r.tokens, r.keep) for r in self._read(tree))][:-1]

    def _check(self, tokens: Tensor, parents: Sequence[Tensor], mask: Tensor | None) -> _Tree:
        checked_floats(tokens, "tokens")
        if tokens.ndim != 2 or tokens.shape[1] != self.dim:
            raise InputError(f"tokens must have shape (N, {self.dim}), got {tuple(tokens.shape)}.")
        if not isinstance(parents, Sequence) or len(parents) != len(self.codebooks):
            got = f"{len(parents)}" if isinstance(parents, Sequence) else f"a {type(parents).__name__}"
            raise InputError(
                f"parents must be a list of one tensor for each of {len(self.codebooks)} levels, got {got}."
            )
        parents = [checked_integers(parent, f"parents[{level}]") for level, parent in enumerate(parents)]
        for level, parent in enumerate(parents):
            if parent.ndim != 1:
                raise InputError(f"parents[{level}] must have shape (n,), got {tuple(parent.shape)}.")
        if parents[0].shape != tokens.shape[:1]:
            raise InputError(f"parents[0] must have shape ({len(tokens)},), got {tuple(parents[0].shape)}.")
        top = parents[-1]
        counts = [*(len(parent) for parent in parents[1:]), int(top.max()) + 1 if len(top) else 0]
        for level, (parent, count) in enumerate(zip(parents, counts, strict=True)):
            if len(parent) and not 0 <= int(parent.min()) <= int(parent.max()) < count:
                rule = (
                    f"lie from 0 to {count - 1}, one of the entries of the next level" if count > 0 else "count from 0"
                )
                raise InputError(f"parents[{level}] must {rule}, got {int(parent.min())} to {int(parent.max())}.")
        if counts[-1] > max(MANY_PARENTS, 16 * len(top)):
            raise InputError(
                f"parents[{len(parents) - 1}] must number its parents from 0, got {counts[-1] - 1} among {len(top)} "
                "nodes: number them by torch.unique(..., return_inverse=True)."
            )
        if mask is None:
            mask = tokens.new_ones(len(tokens), dtype=torch.bool)
        elif not isinstance(mask, Tensor) or mask.shape != tokens.shape[:1] or mask.dtype != torch.bool:
            got = f"{mask.dtype} of {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
            raise InputError(f"mask must be a bool tensor of shape ({len(tokens)},), got {got}.")
        precision = precise(self._levels[0].codebook.dtype)
        checked_tokens(tokens, mask, "tokens", precision)
        return _Tree(tokens.masked_fill(~mask.unsqueeze(-1), 0.0).to(precision), mask, parents, counts)


class _Tree(NamedTuple):
    """A checked tree: tokens as precise as the codes, zeros where masked; parents as int64, and how many there are."""

    tokens: Tensor
    keep: Tensor
    parents: list[Tensor]
    counts: list[int]


def _read_out(tokens: Tensor, codebook: DDCLCodebook, parent: Tensor, n_parents: int, keep: Tensor) -> LevelReading:
    """Shares, mean mixtures and loss of one level, chunk by chunk."""
    prototypes, temperature = codebook.codebook, codebook.absolute_temperature
    weight = keep.to(tokens.dtype)
    shares = tokens.new_zeros(n_parents, len(prototypes))
    loss = tokens.new_zeros(())
    for z, w, p in zip(tokens.split(CHUNK), weight.split(CHUNK), parent.split(CHUNK), strict=True):
        assignment = assign(z, prototypes, temperature)
        shares = shares.index_add(0, p, assignment.q * w.unsqueeze(1))
        if bool(w.any()):
            loss = loss + quantization_loss(assignment, w) * w.sum()
    count = tokens.new_zeros(n_parents).index_add(0, parent, weight)
    shares = shares / count.clamp_min(1.0).unsqueeze(1)
    return LevelReading(shares @ prototypes.to(shares.dtype), shares, count > 0, loss / weight.sum().clamp_min(1.0))


def _left_over(tokens: Tensor, codebook: DDCLCodebook, parent: Tensor, n_parents: int, keep: Tensor) -> Tensor:
    """Mean weighted residuals of one level, chunk by chunk."""
    prototypes, weight = codebook.codebook, keep.to(tokens.dtype)
    total = tokens.new_zeros(n_parents, *prototypes.shape)
    for z, w, p in zip(tokens.split(CHUNK), weight.split(CHUNK), parent.split(CHUNK), strict=True):
        q = assign(z, prototypes, codebook.absolute_temperature).q * w.unsqueeze(1)
        for k, prototype in enumerate(prototypes):
            total[:, k].index_add_(0, p, q[:, k].unsqueeze(1) * (z - prototype))
    count = tokens.new_zeros(n_parents).index_add(0, parent, weight)
    return total / count.clamp_min(1.0)[:, None, None]


def _double(codebook: DDCLCodebook) -> DDCLCodebook:
    """A copy that measures in float64."""
    return deepcopy(codebook).double()
