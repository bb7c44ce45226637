"""Pre-norm transformer encoder over column tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Attention among fewer tokens than this is three matrix operations; torch's fused attention is faster from here on
#: (measured on one thread with 4 and 8 heads: half the time at 11 tokens, the same at 21, twice at 32).
FEW_TOKENS = 22


class Dropout(nn.Module):
    """Dropout that draws from a generator of its own, so that fits in parallel threads do not disturb each other.

    Parameters
    ----------
    p : float
        Share of values set to zero while training.
    generator : torch.Generator
    """

    def __init__(self, p: float, generator: torch.Generator) -> None:
        super().__init__()
        self.p, self.generator = p, generator

    def forward(self, x: Tensor) -> Tensor:
        """Result of the shape of ``x``; its expectation is ``x``."""
        if not self.training or self.p == 0.0:
            return x
        # A quarter of a 64-bit draw decides over one value: drawing is what dropout costs.
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
        bits.random_(-(2**63), None, generator=self.generator)
        keep = bits.view(torch.int16)[: x.numel()].view(x.shape) >= round(self.p * 2**16) - 2**15
        return x * keep.to(x.dtype).mul_(1.0 / (1.0 - self.p))


class Attention(nn.Module):
    """Multi-head self-attention ``(B, T, D) -> (B, R, D)`` where only the first ``R`` tokens ask."""

    def __init__(self, d_token: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Linear(d_token, d_token)
        self.key_value = nn.Linear(d_token, 2 * d_token)
        self.out = nn.Linear(d_token, d_token)

    def forward(self, tokens: Tensor, n_read: int) -> Tensor:
        """Attend from the first ``n_read`` tokens to all of them."""
        b, t, d = tokens.shape
        key, value = self._heads(self.key_value(tokens), 2)
        (query,) = self._heads(self.query(_first(tokens, n_read)), 1)
        attend = _attend_few if t < FEW_TOKENS else functional.scaled_dot_product_attention
        return self.out(attend(query, key, value).transpose(1, 2).reshape(b, n_read, d))

    def _heads(self, x: Tensor, n: int) -> Tensor:
        """``(B, T, n D) -> (n, B, heads, T, D / heads)``."""
        b, t, _ = x.shape
        return x.view(b, t, n, self.n_heads, -1).permute(2, 0, 3, 1, 4).contiguous()


def _attend_few(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention ``(B, H, R, D), (B, H, T, D), (B, H, T, D) -> (B, H, R, D)`` of a few tokens.

    The softmax runs over the first axis: over a short last one torch takes ten times as long, fused attention included.
    """
    scores = torch.bmm(key.flatten(0, 1), query.flatten(0, 1).mT) * query.shape[-1] ** -0.5
    share = scores.transpose(0, 1).softmax(dim=0).transpose(0, 1)
    return torch.bmm(share.mT, value.flatten(0, 1)).view_as(query)


def _first(tokens: Tensor, n: int) -> Tensor:
    """The first ``n`` tokens; a slice of all of them would copy its gradient for nothing."""
    return tokens if n == tokens.shape[1] else tokens[:, :n]


class Block(nn.Module):
    """Pre-norm transformer block: attention, then a GELU feed-forward layer of twice the width."""

    def __init__(self, d_token: int, n_heads: int, dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(d_token)
        self.attention = Attention(d_token, n_heads)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(d_token),
            nn.Linear(d_token, 2 * d_token),
            nn.GELU(),
            Dropout(dropout, generator),
            nn.Linear(2 * d_token, d_token),
        )
        self.dropout = Dropout(dropout, generator)

    def forward(self, tokens: Tensor, n_read: int) -> Tensor:
        """``(B, T, D) -> (B, n_read, D)``: the first ``n_read`` tokens after the block."""
        read = _first(tokens, n_read) + self.dropout(self.attention(self.attention_norm(tokens), n_read))
        return read + self.dropout(self.feed_forward(read))


class Encoder(nn.Module):
    """Stack of pre-norm blocks with a class token in front and a final layer norm.

    Parameters
    ----------
    d_token, n_blocks, n_heads : int
        Width ``D`` of a token (a multiple of ``n_heads``), number of blocks, number of attention heads.
    dropout : float
        Share of activations dropped while training.
    generator : torch.Generator
        Source of the dropout masks.

    Shapes
    ------
    ``(B, T, D) -> (B, 1 + T, D)``, or ``(B, 1, D)`` with ``class_only=True``: the last block then computes the class
    token alone, which saves most of its work.
    """

    def __init__(
        self, *, d_token: int, n_blocks: int, n_heads: int, dropout: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.empty(d_token))
        nn.init.normal_(self.class_token, std=d_token**-0.5)
        self.blocks = nn.ModuleList(Block(d_token, n_heads, dropout, generator) for _ in range(n_blocks))
        self.norm = nn.LayerNorm(d_token)

    def forward(self, tokens: Tensor, *, class_only: bool = False) -> Tensor:
        """Encode column tokens; the class token stands first in the result."""
        tokens = torch.cat([self.class_token.expand(len(tokens), 1, -1), tokens], dim=1)
        for i, block in enumerate(self.blocks):
            last = i == len(self.blocks) - 1
            tokens = block(tokens, n_read=1 if class_only and last else tokens.shape[1])
        return self.norm(tokens)
