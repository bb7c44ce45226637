r"""Differentiable codebook: DDCL prototypes in the place of a VQ-VAE's codes.

Hard vector quantisation moves only the codes that win, so codes die. Here every code takes part with its soft
assignment ``q``, at a temperature that follows the codebook's own error::

    sigma^2 = running mean of min_k |z - p_k|^2 / W        error of the codes of width W, per dimension
    T       = temperature * 2 sigma^2 * min(1, (W / 16)^2)
    p_k     = running mean of q_k z / running mean of q_k   exact minimum of L_q over P for fixed q

At the default ``temperature = 1`` and in 16 or more dimensions, ``q`` is the posterior of an isotropic Gaussian
mixture of the measured variance, and the update is one step of its EM algorithm. ``sigma^2 <= lambda_max(C)`` for
codes no worse than the mean token, so ``T <= (temperature / 2) T_c``: below the critical temperature at which codes
collapse (`critical_temperature`). In few dimensions codes lie close together and an encoder that learns along lets
them meet, hence the smaller ``T`` there (docs/theory.md, i). Annealing from ``T_c`` instead is an information
bottleneck: it starves all directions but the widest.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from ddcl_tab.errors import ConfigurationError, InputError
from ddcl_tab.nn import _ranks as ranks
from ddcl_tab.nn._quantization import (
    LossTerms,
    PreciseBuffers,
    assign,
    checked_integers,
    checked_mask,
    checked_tokens,
    duplicate_prototypes,
    loss_terms,
    narrowed,
    precise,
    squared_distances,
    without_autocast,
)

#: Share of the newest batch in the running means of error, gap, usage and prototypes.
_NEW = 0.05
#: Batches between two looks for dead codes; a code is dead below this multiple of the mean usage.
_REVIVE_EVERY, _DEAD = 20, 0.05
#: Width of a code from which on the temperature is that of a mixture of Gaussians.
_MANY_DIMENSIONS = 16
#: Smallest temperature: distances over it stay finite.
_SMALLEST = 1e-12


class DDCLCodebook(PreciseBuffers):
    """Soft-trained codebook with hard codes, callable as a hard vector quantiser is.

    ``quantized, indices, loss = codebook(x)``: one line exchanges it for ``vector_quantize_pytorch.VectorQuantize``.
    Codes learn from soft assignments; what is handed on is the nearest code, in training with a straight-through
    gradient. Handing on the mixture ``zhat`` instead raises the error, by 24 to 160 % in pipelines/results/codebook.
    The first training batch places the codes (k-means++); later, codes nobody uses, and one of two that have met, move
    to tokens with large errors.

    Parameters
    ----------
    dim : int
        ``D``, width of a token.
    codebook_size : int
        ``K``, number of codes; a code takes ``log2 K`` bits.
    codebook_dim : int, optional
        ``W``, width of a code: a linear map and a sphere of radius ``sqrt(W)`` before the codes, a linear map behind
        them; both train with the encoder. A few dimensions (4) let few codes say more: recommended where an encoder
        trains (pipelines/results/codebook). Default: codes among the tokens as they are, ``W = D``.
    temperature : float, default 1.0
        In units of ``2 sigma^2 min(1, (W / 16)^2)``, with ``sigma^2`` the squared error of the codes per dimension; it
        falls as they improve.
    commitment_weight : float, optional
        Weight of ``mean |z - sg(p)|^2 / W`` in ``loss``, which holds the encoder's tokens near their codes. Default:
        0.25 where ``codebook_dim`` is given, and 1 where nothing else holds the tokens.

    Raises
    ------
    ConfigurationError
        If an argument is out of range.

    Notes
    -----
    Source: arXiv:2604.03850, codebook use; straight-through gradient: arXiv:1711.00937, section 3.2.

    *Precision.* Tokens may be float16, bfloat16, float32 or float64, the module may be cast (``.to(torch.bfloat16)``,
    ``.half()``, ``.double()``) and autocast may be on, in any combination. Codes, running means and temperature are
    kept, and distances and ``loss`` computed, in float32, or in float64 after ``.double()``; a cast to a half precision
    reaches the linear maps alone. ``quantized`` has the tokens' dtype, and beside the largest float16 stays within it;
    what is looked up by index has the module's.

    *Several processes.* Where ``torch.distributed`` has a process group, as under DistributedDataParallel, a training
    step learns from the tokens of all ranks: sums and counts are reduced over the default group, new and revived codes
    drawn among the tokens of all (262,144 of them at most), and a rank whose state differs takes over that of rank 0.
    The codebooks of all ranks have the same bits, and a batch that one rank cannot use is an error on all. So every
    rank must make every training call, if need be with all tokens masked, or the others wait for it; evaluation sends
    nothing, but DistributedDataParallel does: evaluate its ``.module``. The linear maps are parameters, and its affair.

    Examples
    --------
    >>> codebook = DDCLCodebook(dim=8, codebook_size=16)
    >>> quantized, indices, loss = codebook(torch.randn(4, 10, 8))
    >>> quantized.shape, indices.shape, loss.shape
    (torch.Size([4, 10, 8]), torch.Size([4, 10]), torch.Size([]))
    >>> hard, indices, _ = codebook.eval()(torch.randn(3, 8))
    >>> bool((hard == codebook.get_output_from_indices(indices)).all())
    True
    >>> narrow = DDCLCodebook(dim=64, codebook_size=256, codebook_dim=4).to(torch.bfloat16)
    >>> narrow(torch.randn(10, 64).bfloat16())[0].dtype, narrow.codebook.dtype
    (torch.bfloat16, torch.float32)
    """

    codebook: Tensor
    error: Tensor
    _mass: Tensor
    _sum: Tensor
    _usage: Tensor
    _gap: Tensor
    _seed: Tensor
    _steps: Tensor
    #: What the module was last cast to.
    _dtype: torch.dtype = torch.float32

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        temperature: float = 1.0,
        commitment_weight: float | None = None,
        codebook_dim: int | None = None,
    ) -> None:
        super().__init__()
        _check(dim, codebook_size, temperature, commitment_weight, codebook_dim)
        self.dim, self.codebook_size = dim, codebook_size
        self.codebook_dim = dim if codebook_dim is None else codebook_dim
        mapped = codebook_dim is not None
        self.temperature = temperature
        self.commitment_weight = (0.25 if mapped else 1.0) if commitment_weight is None else commitment_weight
        self.project_in = nn.Sequential(nn.Linear(dim, self.codebook_dim), _OnSphere()) if mapped else nn.Identity()
        self.project_out = nn.Linear(self.codebook_dim, dim) if mapped else nn.Identity()
        self._dtype = torch.get_default_dtype()
        codes = (torch.randn(codebook_size, self.codebook_dim) * self.codebook_dim**-0.5).to(precise(self._dtype))
        buffers = {
            "codebook": codes,
            "error": codes.new_ones(()),  # mean squared distance to the nearest code, running
            "_sum": codes.clone(),
            "_mass": codes.new_ones(codebook_size),
            "_usage": codes.new_ones(codebook_size),  # 1 is the mean code
            "_gap": codes.new_zeros(()),
            "_seed": torch.randint(2**31, ()),
            "_steps": torch.zeros((), dtype=torch.long),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise tokens; in training mode also learn from them.

        Parameters
        ----------
        x : Tensor, shape (..., D)
            Floating-point numbers of magnitude below 1.8e11 (1.3e146 after ``.double()``): beyond, sums of squared
            distances overflow.
        mask : bool Tensor, shape (...), optional
            False for tokens that are padding: they get zeros and index -1, and change nothing else.

        Returns
        -------
        quantized : Tensor, shape (..., D)
            In the dtype of ``x``.
        indices : int64 Tensor, shape (...)
        loss : Tensor, scalar
            Weighted commitment loss, in float32 or better; 0 outside training.

        Raises
        ------
        InputError
            If shapes or types do not fit, or a token that counts is not finite or too large, here or, in training, on
            another rank; nothing has changed then.
        """
        if self.training:
            keep, tokens = ranks.together(lambda: self._tokens(x, mask), self.codebook.device)
        else:
            keep, tokens = self._tokens(x, mask)
        indices, loss = x.new_full(x.shape[:-1], -1, dtype=torch.long), tokens.new_zeros(())
        with torch.autocast(x.device.type, enabled=False):
            nearest = self._learn(tokens.detach()) if self.training else _nearest(tokens, self.codebook)
            codes = self.codebook[nearest]
            if self.training:
                # Without tokens still 0, but of all parameters: DistributedDataParallel waits for each gradient.
                distance = functional.mse_loss(tokens, codes) if len(tokens) else tokens.sum()
                loss = self.commitment_weight * distance
                codes = tokens + (codes - tokens).detach()
        indices[keep] = nearest
        out = narrowed(self._outwards(codes), x.dtype)
        return torch.zeros_like(x).masked_scatter(keep.unsqueeze(-1), out), indices, loss

    def get_codes_from_indices(self, indices: Tensor) -> Tensor:
        """Codes ``(..., W)`` of integers ``(...)`` of any type, in the module's dtype; zeros for -1."""
        rows = self._rows(indices)
        return narrowed(torch.where(rows.unsqueeze(-1) < 0, 0.0, self.codebook[rows.clamp_min(0)]), self._dtype)

    def get_output_from_indices(self, indices: Tensor) -> Tensor:
        """What is handed on for integers ``(...)`` of any type, ``(..., D)``, in the module's dtype; zeros for -1."""
        rows = self._rows(indices)
        out = self._outwards(self.codebook[rows.clamp_min(0)])
        return narrowed(torch.where(rows.unsqueeze(-1) < 0, 0.0, out), self._dtype)

    def terms(self, x: Tensor) -> LossTerms:
        """Measure ``L_q = L_rec + V`` on tokens ``(..., D)``, as wide as codes once mapped, at the present ``T``.

        Raises
        ------
        InputError
            As for a call, and if there is no token.
        """
        with without_autocast(self.codebook.device):
            _, z = self._tokens(x, None)
            if not len(z):
                raise InputError(f"x of shape {tuple(x.shape)} holds no token: there is nothing to measure.")
            return loss_terms(z, self.codebook, assign(z, self.codebook, self.absolute_temperature))

    @property
    def absolute_temperature(self) -> Tensor:
        """``T`` in squared token distance."""
        share = min(1.0, self.codebook_dim / _MANY_DIMENSIONS) ** 2
        return (self.temperature * 2.0 * self.error / self.codebook_dim * share).clamp_min(_SMALLEST)

    @property
    def usage(self) -> Tensor:
        """Share of the recent training tokens that each code took, ``(K,)``; they sum to 1."""
        return self._usage / self._usage.sum()

    @property
    def perplexity(self) -> float:
        """``exp`` of the entropy of `usage`: the number of equally used codes that would say as much."""
        return float(torch.special.entr(self.usage.double()).sum().exp())

    @property
    def separation(self) -> float:
        """Distance of the two nearest codes in units of the codes' root mean squared error; 0 if two coincide."""
        distances = torch.pdist(self.codebook.double())
        return float(distances.min() / self.error.double().sqrt()) if len(distances) else float("inf")

    @property
    def soft_hard_gap(self) -> float:
        """``|zhat - p|^2`` between mixture and nearest code over the error ``|z - p|^2``, recent batches."""
        return float(self._gap)

    @torch.no_grad()
    def nearest(self, tokens: Tensor) -> Tensor:
        """Index of the nearest code of tokens ``(..., W)``, as wide as codes; ``(...)``. Errors as for a call."""
        self._widen()
        keep = checked_mask(tokens, None, self.codebook_dim, "tokens")
        checked_tokens(tokens, keep, "tokens", self.codebook.dtype)
        return _nearest(tokens.to(self.codebook.dtype), self.codebook)

    @torch.no_grad()
    def _learn(self, tokens: Tensor) -> Tensor:
        """Move the codes to the soft means of the tokens of all ranks; the nearest codes of before of one's own."""
        counts = self._counts(len(tokens))
        total = sum(counts)
        if not total:
            return tokens.new_zeros(0, dtype=torch.long)
        if self._steps == 0:
            self._place(ranks.gathered(tokens, counts))
        elif self._steps % _REVIVE_EVERY == 0:
            self._revive(tokens, counts)
        q, zhat, distances = assign(tokens, self.codebook, self.absolute_temperature)
        smallest, nearest = distances.min(-1)
        used = torch.bincount(nearest, minlength=self.codebook_size).to(q.dtype)
        gap = (zhat - self.codebook[nearest]).square().sum(-1).sum()
        gap, error, used, mass, sums = ranks.summed(gap, smallest.sum(), used, q.sum(0), q.mT @ tokens)
        error /= total
        self._gap.lerp_(gap / total / error.clamp_min(_SMALLEST), _NEW)
        self._usage.lerp_(used * (self.codebook_size / total), _NEW)
        self.error.lerp_(error, _NEW)
        self._mass.lerp_(mass, _NEW)
        self._sum.lerp_(sums, _NEW)
        self.codebook.copy_(self._sum / self._mass.clamp_min(1e-6).unsqueeze(1))
        self._steps += 1
        return nearest

    def _counts(self, n: int) -> list[int]:
        """Tokens of each rank; where the state of any differs, all take over that of rank 0 first."""
        if not ranks.several():
            return [n]
        state = list(self.buffers(recurse=False))
        rows = ranks.rows([n, *torch.stack([buffer.double().sum() for buffer in state]).tolist()], state[0].device)
        if any(row[1:] != rows[0][1:] for row in rows):
            ranks.copy_from_first(*state)
        return [int(row[0]) for row in rows]

    def _place(self, tokens: Tensor) -> None:
        """k-means++: each next code at a token drawn by its squared distance to the codes so far."""
        generator = self._generator()
        chosen = torch.randint(len(tokens), (self.codebook_size,), generator=generator)
        error = torch.full((len(tokens),), torch.inf)
        for i in range(min(self.codebook_size, len(tokens))):
            if i:
                chosen[i] = torch.multinomial(error + _SMALLEST, 1, generator=generator)
            gap = (tokens - tokens[chosen[i]]).square().sum(-1)
            error = torch.minimum(error, gap.cpu())
        noise = 0.01 * torch.randn(self.codebook_size, self.codebook_dim, generator=generator).to(tokens)
        places = tokens[chosen.to(tokens.device)] + tokens.std(0, correction=0) * noise
        self._put(torch.arange(self.codebook_size, device=tokens.device), places)
        self.error.copy_(squared_distances(tokens, self.codebook).min(-1).values.mean())
        ranks.copy_from_first(self.error)

    def _revive(self, tokens: Tensor, counts: list[int]) -> None:
        """Move codes that nobody uses, and one of two that have met, to tokens with large errors."""
        duplicates = duplicate_prototypes(self.codebook, self.absolute_temperature)
        moves = self._usage < _DEAD
        moves[duplicates] = True
        ranks.copy_from_first(moves)  # rounding may differ between machines, and all must go on in the same way
        dead = moves.nonzero().flatten()
        if not len(dead):
            return
        tokens = ranks.gathered(tokens, counts)
        error = squared_distances(tokens, self.codebook).min(-1).values.cpu() + _SMALLEST
        chosen = torch.multinomial(error, len(dead), replacement=len(dead) > len(error), generator=self._generator())
        self._put(dead, tokens[chosen.to(tokens.device)])

    def _put(self, codes: Tensor, places: Tensor) -> None:
        ranks.copy_from_first(places)
        self.codebook[codes], self._sum[codes] = places, places
        self._mass[codes], self._usage[codes] = 1.0, 1.0

    def _generator(self) -> torch.Generator:
        """Of its own, on the CPU: the same draws on every device, and the global state stays as it is."""
        return torch.Generator().manual_seed(int(self._seed + self._steps))

    def _tokens(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Which tokens count, and those, as wide and as precise as the codes; checked, and nothing else changes."""
        self._widen()
        keep = checked_mask(x, mask, self.dim, "x")
        tokens = checked_tokens(x, keep, "tokens of x", self.codebook.dtype)
        if isinstance(self.project_out, nn.Linear):
            weights = self.project_out.weight.dtype
            tokens = self.project_in(tokens.to(weights))
            if not bool(torch.isfinite(tokens.detach().sum())):
                raise InputError(
                    f"{int((~torch.isfinite(tokens)).any(-1).sum())} tokens of x overflow in project_in ({weights}) or "
                    "its weights are not finite: scale the tokens, or use a wider type; the codebook is unchanged."
                )
        return keep, tokens.to(self.codebook.dtype)

    def _outwards(self, codes: Tensor) -> Tensor:
        if isinstance(self.project_out, nn.Linear):
            codes = self.project_out(codes.to(self.project_out.weight.dtype))
        return codes

    def _widen(self) -> None:
        """Undo what narrows buffers without `_apply`: ``load_state_dict(assign=True)``, FSDP's ``buffer_dtype``."""
        if self.codebook.dtype not in (torch.float32, torch.float64):
            super()._apply(lambda tensor: tensor, recurse=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._dtype = fn(torch.empty(1, dtype=self._dtype, device=self.codebook.device)).dtype
        return super()._apply(fn, recurse)

    def _rows(self, indices: Tensor) -> Tensor:
        rows = checked_integers(indices, "indices")
        if rows.numel() and not -1 <= int(rows.min()) <= int(rows.max()) < self.codebook_size:
            raise InputError(
                f"indices must lie from -1 to {self.codebook_size - 1}, got {int(rows.min())} to {int(rows.max())}."
            )
        return rows

    def extra_repr(self) -> str:
        """Settings, as torch prints them."""
        width = "" if isinstance(self.project_in, nn.Identity) else f", codebook_dim={self.codebook_dim}"
        return f"dim={self.dim}, codebook_size={self.codebook_size}, temperature={self.temperature}{width}"


class _OnSphere(nn.Module):
    """Tokens at distance ``sqrt(W)`` from the origin: an encoder cannot flee its codes, nor shrink upon them."""

    def forward(self, x: Tensor) -> Tensor:
        # Wide: in float16 the norm overflows above 65,504, and that of zeros is not kept off 0.
        return functional.normalize(x.to(precise(x.dtype)), dim=-1) * x.shape[-1] ** 0.5


def _nearest(tokens: Tensor, codes: Tensor) -> Tensor:
    with torch.no_grad():
        return squared_distances(tokens, codes).argmin(-1)


def _check(
    dim: int, codebook_size: int, temperature: float, commitment_weight: float | None, codebook_dim: int | None
) -> None:
    sizes = {"dim": dim, "codebook_size": codebook_size}
    problems = [_below(name, value, 1) for name, value in sizes.items() if _below(name, value, 1)]
    if codebook_dim is not None and (said := _below("codebook_dim", codebook_dim, 2)):
        problems.append(f"{said[:-1]}: codes lie about a sphere.")
    if not isinstance(temperature, Real) or not 0 < temperature < float("inf"):
        problems.append(f"temperature must be above 0 and finite, got {temperature!r}.")
    if commitment_weight is not None and (
        not isinstance(commitment_weight, Real) or not 0 <= commitment_weight < float("inf")
    ):
        problems.append(f"commitment_weight must not be negative and be finite, got {commitment_weight!r}.")
    if problems:
        raise ConfigurationError(" ".join(problems))


def _below(name: str, value: object, least: int) -> str:
    """What is wrong with a size, or nothing."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        return f"{name} must be an integer, got {value!r}."
    return "" if int(value) >= least else f"{name} must be at least {least}, got {value!r}."
