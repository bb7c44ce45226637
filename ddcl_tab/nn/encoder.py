"""Pre-norm transformer encoder over column tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


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
        keep = torch.empty_like(x).bernoulli_(1.0 - self.p, generator=self.generator)
        return x * keep / (1.0 - self.p)


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
        d_head = d // self.n_heads
        query = self.query(tokens[:, :n_read]).view(b, n_read, self.n_heads, d_head).transpose(1, 2)
        key, value = self.key_value(tokens).view(b, t, 2, self.n_heads, d_head).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).reshape(b, n_read, d))


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
        read = tokens[:, :n_read] + self.dropout(self.attention(self.attention_norm(tokens), n_read))
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
