"""A class token in front of the column tokens (BERT; FT-Transformer, arXiv:2106.11959), for peers that read it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ddcl_tab.nn._network import FEW_TOKENS, Block, Encoder, Output, Reading, TableNetwork, _attend_few


class ClassTokenEncoder(Encoder):
    """Our encoder with a learned class token in front, of which the class token alone comes out.

    The last block computes it alone, which saves most of the work of that block: whoever reads one token of a network
    would build it so, and speeds compare fairly.

    Shapes
    ------
    ``(B, T, D) -> (B, 1, D)``.
    """

    def __init__(self, *, d_token: int, **settings: Any) -> None:
        super().__init__(d_token=d_token, **settings)
        self.class_token = nn.Parameter(torch.empty(d_token))
        nn.init.normal_(self.class_token, std=d_token**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Encode column tokens and return the class token."""
        tokens = torch.cat([self.class_token.expand(len(tokens), 1, -1), tokens], dim=1)
        *blocks, last = self.blocks
        for block in blocks:
            tokens = block(tokens)
        return self.norm(_first_after(last, tokens))


def _first_after(block: Block, tokens: Tensor) -> Tensor:
    """The first token ``(B, 1, D)`` after a block over all of them."""
    attention, normed = block.attention, block.attention_norm(tokens)
    key, value = attention._heads(attention.key_value(normed), 2)
    (query,) = attention._heads(attention.query(normed[:, :1]), 1)
    attend = _attend_few if tokens.shape[1] < FEW_TOKENS else functional.scaled_dot_product_attention
    seen = attend(query, key, value).transpose(1, 2).reshape(len(tokens), 1, -1)
    first = tokens[:, :1] + block.dropout(attention.out(seen))
    return first + block.dropout(block.feed_forward(first))


class RowNetwork(TableNetwork):
    """Our network with one token a row, the class token: what a readout says of columns, it says of the whole row.

    Parameters as of :class:`TableNetwork`.
    """

    def __init__(
        self,
        readout: nn.Module,
        *,
        d_token: int,
        n_blocks: int,
        n_heads: int,
        dropout: float,
        generator: torch.Generator,
        **sizes: Any,
    ) -> None:
        of_encoder = {"d_token": d_token, "n_blocks": n_blocks, "n_heads": n_heads, "dropout": dropout}
        super().__init__(readout, generator=generator, **of_encoder, **sizes)
        self.encoder = ClassTokenEncoder(generator=generator, **of_encoder)

    def say(self, zhat: Tensor, reading: Reading) -> Output:
        """All columns, and the whole decision, read off the one mixture ``(B, 1, D)``, see ``Output``."""
        direct = self.head(reading.z[:, 0])
        parts = (functional.linear(tokens, self.head.weight) for tokens in (zhat, reading.z))
        return Output(self.head(reading.summary), direct, reading, *parts, self.decoder(zhat[:, 0]))
