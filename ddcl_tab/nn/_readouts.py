"""Readouts: one vector per row out of its tokens, behind one interface.

Every readout maps encoded tokens ``(B, 1 + T, D)``, the class token first, to a :class:`Reading`. All but
:class:`DDCLReadout` are peers for comparison; they have no prototypes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ddcl_tab.nn._quantization import Assignment, PreciseBuffers, assign, precise


class Reading(NamedTuple):
    """What a readout says about a batch of rows.

    Attributes
    ----------
    summary : Tensor, shape (B, D)
        Vector that the head decides from.
    z : Tensor, shape (B, D)
        The pooled token before quantisation; the same as ``summary`` for readouts without prototypes.
    assignment : Assignment or None
        Assignment of ``z`` to the prototypes.
    """

    summary: Tensor
    z: Tensor
    assignment: Assignment | None = None


class ClassTokenReadout(nn.Module):
    """The class token, as in BERT and FT-Transformer (arXiv:2106.11959)."""

    class_only = True

    def forward(self, tokens: Tensor) -> Reading:
        """Read ``(B, 1 + T, D)``."""
        return Reading(tokens[:, 0], tokens[:, 0])


class MeanReadout(nn.Module):
    """Mean of the column tokens."""

    class_only = False

    def forward(self, tokens: Tensor) -> Reading:
        """Read ``(B, 1 + T, D)``."""
        summary = tokens[:, 1:].mean(dim=1)
        return Reading(summary, summary)


class PMAReadout(nn.Module):
    """Pooling by multi-head attention with one seed vector (Set Transformer, arXiv:1810.00825, section 3.2)."""

    class_only = False

    def __init__(self, d_token: int, n_heads: int = 4) -> None:
        super().__init__()
        self.seed = nn.Parameter(torch.randn(1, 1, d_token) * d_token**-0.5)
        self.attention = nn.MultiheadAttention(d_token, n_heads, batch_first=True)
        self.attention_norm, self.norm = nn.LayerNorm(d_token), nn.LayerNorm(d_token)
        self.feed_forward = nn.Sequential(nn.Linear(d_token, d_token), nn.ReLU())

    def forward(self, tokens: Tensor) -> Reading:
        """Read ``(B, 1 + T, D)``."""
        seed = self.seed.expand(len(tokens), -1, -1)
        mixed = self.attention_norm(seed + self.attention(seed, tokens[:, 1:], tokens[:, 1:], need_weights=False)[0])
        summary = self.norm(mixed + self.feed_forward(mixed))[:, 0]
        return Reading(summary, summary)


class SlotAttentionReadout(nn.Module):
    """Mean of slots that compete for the tokens (Slot Attention, arXiv:2006.15055, algorithm 1).

    The slots start from learned vectors instead of random ones, so that a prediction is deterministic.
    """

    class_only = False

    def __init__(self, d_token: int, n_slots: int = 4, n_iterations: int = 3) -> None:
        super().__init__()
        self.n_iterations = n_iterations
        self.slots = nn.Parameter(torch.randn(n_slots, d_token) * d_token**-0.5)
        self.token_norm, self.slot_norm, self.norm = (nn.LayerNorm(d_token) for _ in range(3))
        self.query, self.key, self.value = (nn.Linear(d_token, d_token, bias=False) for _ in range(3))
        self.update = nn.GRUCell(d_token, d_token)

    def forward(self, tokens: Tensor) -> Reading:
        """Read ``(B, 1 + T, D)``."""
        tokens = self.token_norm(tokens[:, 1:])
        key, value = self.key(tokens), self.value(tokens)
        slots = self.slots.expand(len(tokens), -1, -1)
        for _ in range(self.n_iterations):
            logits = self.query(self.slot_norm(slots)) @ key.mT * key.shape[-1] ** -0.5
            share = logits.softmax(dim=1, dtype=precise(logits.dtype)) + 1e-8  # in float16 this is 0
            seen = (share / share.sum(-1, keepdim=True)).to(value.dtype) @ value
            slots = self.update(seen.flatten(0, 1), slots.flatten(0, 1)).view_as(slots)
        summary = self.norm(slots.mean(dim=1))
        return Reading(summary, summary)


class PerceiverReadout(nn.Module):
    """Mean of latents that cross-attend to the tokens (Perceiver, arXiv:2103.03206, one cross-attention)."""

    class_only = False

    def __init__(self, d_token: int, n_latents: int = 8) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(n_latents, d_token) * d_token**-0.5)
        self.query, self.key, self.value = (nn.Linear(d_token, d_token) for _ in range(3))
        self.norm = nn.LayerNorm(d_token)
        self.feed_forward = nn.Sequential(nn.Linear(d_token, 2 * d_token), nn.GELU(), nn.Linear(2 * d_token, d_token))

    def forward(self, tokens: Tensor) -> Reading:
        """Read ``(B, 1 + T, D)``."""
        query = self.query(self.latents).expand(len(tokens), -1, -1)
        latents = self.latents + functional.scaled_dot_product_attention(
            query, self.key(tokens[:, 1:]), self.value(tokens[:, 1:])
        )
        summary = (latents + self.feed_forward(self.norm(latents))).mean(dim=1)
        return Reading(summary, summary)


class DDCLReadout(PreciseBuffers):
    """DDCL-Attention readout: the row's token as a mixture of prototypes shared by all rows (arXiv:2604.03850).

    The class token ``z`` has attended to all columns; the readout assigns it softly to ``K`` prototypes and hands on
    ``zhat = sum_k q_k p_k``. A linear head on ``zhat`` decides by the prototypes alone: its logits are the ``q``-mean
    of the logits of the prototypes, so the assignment is the whole explanation.

    Assignments and temperature are in float32 or better, also where the module is cast to a half precision or runs
    under autocast; the summary has the tokens' dtype.

    Parameters
    ----------
    n_prototypes : int
        ``K``.
    d_token : int
        ``D``.

    Attributes
    ----------
    prototypes : Parameter, shape (K, D)
    temperature : buffer, scalar
        Absolute temperature ``T`` in squared token distance; set by training.

    Examples
    --------
    >>> readout = DDCLReadout(n_prototypes=3, d_token=4)
    >>> reading = readout(torch.randn(2, 1, 4))
    >>> reading.summary.shape, reading.assignment.q.shape
    (torch.Size([2, 4]), torch.Size([2, 3]))
    """

    class_only = True

    def __init__(self, n_prototypes: int, d_token: int) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(n_prototypes, d_token) * d_token**-0.5)
        self.temperature: Tensor
        self.register_buffer("temperature", torch.ones((), dtype=precise(self.prototypes.dtype)))

    def forward(self, tokens: Tensor) -> Reading:
        """Read ``(B, 1 + T, D)``; only the class token is used."""
        z = tokens[:, 0]
        assignment = assign(z, self.prototypes, self.temperature)
        zhat = assignment.zhat
        return Reading(zhat if zhat.dtype is z.dtype else zhat.to(z.dtype), z, assignment)
