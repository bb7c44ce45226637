"""The quantisers: ours, and peers at the settings that served them best in trials on seed 0."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.nn import functional

from ddcl_tab.nn._codebook import DDCLCodebook
from ddcl_tab.nn._quantization import assign

#: Width of a code token.
DIM = 16
#: Levels per channel of FSQ: the powers of two nearest to its paper's advice (arXiv:2309.15505, appendix A.4.1).
LEVELS = {16: [4, 4], 64: [8, 8], 256: [8, 8, 4], 1024: [8, 8, 4, 4], 4096: [8, 8, 8, 8]}
#: Width of a code where a name says "narrow"; chosen among 2, 3, 4, 6 and 8 on seeds 0 and 1.
NARROW = 4
#: How the name of a peer ends that is fitted once more, with commitment 0.25.
LIGHT = ", light"
#: Variants of ours that the package does not have, to show why.
VARIANTS = ("DDCL, mixture handed on", "DDCL, temperature 0.1")

Result = tuple[Tensor, Tensor, Tensor]


class MixtureCodebook(DDCLCodebook):
    """DDCL codebook that hands on the mixture of codes while it trains, as the readout does."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Result:
        """Quantise ``(..., D)``."""
        quantized, indices, loss = super().forward(x, mask)
        if self.training:
            quantized = assign(x, self.codebook, self.absolute_temperature).zhat
        return quantized, indices, loss


class GumbelQuantizer(nn.Module):
    """Straight-through Gumbel-softmax codes (arXiv:1611.01144), temperature from 1 to 1/16 over the training."""

    def __init__(self, size: int, steps: int) -> None:
        super().__init__()
        self.size, self.steps, self.step = size, steps, 0
        self.logits, self.codes = nn.Linear(DIM, size), nn.Embedding(size, DIM)

    def forward(self, x: Tensor) -> Result:
        """Quantise ``(..., D)``; the loss is the divergence of the choice from a uniform one, weight 5e-4."""
        logits = self.logits(x)
        if not self.training:
            indices = logits.argmax(-1)
            return self.codes(indices), indices, x.new_zeros(())
        temperature = 16.0 ** -min(1.0, self.step / self.steps)
        self.step += 1
        choice = functional.gumbel_softmax(logits, tau=temperature, hard=True)
        log_q = logits.log_softmax(-1)
        divergence = (log_q.exp() * (log_q + math.log(self.size))).sum(-1).mean()
        return choice @ self.codes.weight, choice.argmax(-1), 5e-4 * divergence


class FiniteScalars(nn.Module):
    """FSQ behind the same call."""

    def __init__(self, size: int) -> None:
        super().__init__()
        from vector_quantize_pytorch import FSQ

        self.fsq = FSQ(LEVELS[size], dim=DIM)

    def forward(self, x: Tensor) -> Result:
        """Quantise ``(..., D)``."""
        quantized, indices = self.fsq(x)
        return quantized, indices.long(), x.new_zeros(())


def quantizers(size: int, steps: int) -> dict[str, Callable[[], nn.Module]]:
    """Makers of quantisers with ``size`` codes, by name; the peers' library may be absent."""
    ours: dict[str, Callable[[], nn.Module]] = {
        "DDCL": partial(DDCLCodebook, DIM, size),
        "DDCL, narrow": partial(DDCLCodebook, DIM, size, codebook_dim=NARROW),
        "DDCL, mixture handed on": partial(MixtureCodebook, DIM, size),
        "DDCL, temperature 0.1": partial(DDCLCodebook, DIM, size, temperature=0.1),
        "Gumbel-softmax": partial(GumbelQuantizer, size, steps),
    }
    if find_spec("vector_quantize_pytorch") is None:
        return ours
    from vector_quantize_pytorch import SimVQ, VectorQuantize

    hard = partial(
        VectorQuantize, dim=DIM, codebook_size=size, kmeans_init=True, threshold_ema_dead_code=2, rotation_trick=False
    )
    learned = {
        "hard VQ, decay 0.99": partial(hard, decay=0.99, commitment_weight=0.25),
        "hard VQ, decay 0.8": hard,
        "rotation trick": partial(hard, rotation_trick=True),
        "cosine VQ": partial(hard, use_cosine_sim=True),
    }
    narrow = {f"{name}, narrow": partial(make, codebook_dim=NARROW) for name, make in learned.items()}
    # the commitment that serves ours; decay 0.99 has it anyway
    light = {
        f"{name}{LIGHT}": partial(make, commitment_weight=0.25) for name, make in narrow.items() if "0.99" not in name
    }
    others = {
        "FSQ": partial(FiniteScalars, size),
        "SimVQ": partial(SimVQ, dim=DIM, codebook_size=size, rotation_trick=True),
    }
    return ours | learned | narrow | light | others


def utilisation(indices: Tensor, size: int) -> tuple[float, float]:
    """Share of the codes in use and the perplexity of their use, over ``indices``."""
    share = torch.bincount(indices.flatten(), minlength=size).double() / indices.numel()
    return float((share > 0).double().mean()), float(torch.special.entr(share).sum().exp())
