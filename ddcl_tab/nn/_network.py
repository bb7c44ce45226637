"""The whole network: columns to tokens, a pre-norm transformer encoder, the prototype readout, class logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ddcl_tab.nn._quantization import Assignment, PreciseBuffers, assign, precise


class ColumnTokenizer(nn.Module):
    """Turn the columns of a table into tokens.

    Numeric columns go through piecewise-linear embeddings (Gorishniy et al., "On Embeddings for Numerical Features in
    Tabular Deep Learning", arXiv:2203.05556; started as linear ones, arXiv:2410.24210): they bend at quantiles of the
    column, so they are as fine as its values lie, and no finer. Categorical columns look up one vector per category. A
    missing number has a learned token of its own per column; missing and unseen categories are categories 0 and 1 of
    every column.

    Parameters
    ----------
    edges : list of sequence of float
        Edges of the pieces of each numeric column, at least three, increasing.
    cardinalities : list of int
        Number of categories of each categorical column, the two reserved ones included.
    d_token : int
        Width ``D`` of a token.

    Shapes
    ------
    numeric ``(B, n_numeric)`` float, NaN where missing; categorical ``(B, n_categorical)`` int64;
    result ``(B, n_numeric + n_categorical, D)``.
    """

    def __init__(self, edges: Sequence[Sequence[float]], cardinalities: list[int], d_token: int) -> None:
        super().__init__()
        self.n_numeric = n_numeric = len(edges)
        self.cardinalities = list(cardinalities)
        if n_numeric:
            # Imported here: it brings scikit-learn, which takes as long to import as torch and no codebook needs.
            from rtdl_num_embeddings import PiecewiseLinearEmbeddings

            self.numeric = PiecewiseLinearEmbeddings(
                [torch.tensor(column) for column in edges], d_token, activation=False, version="B"
            )
            self.missing = nn.Parameter(torch.empty(n_numeric, d_token))
            nn.init.normal_(self.missing, std=d_token**-0.5)
        if cardinalities:
            self.categorical = nn.Embedding(sum(cardinalities), d_token)
            nn.init.normal_(self.categorical.weight, std=d_token**-0.5)
        offsets = torch.tensor([0, *cardinalities[:-1]] if cardinalities else [], dtype=torch.int64).cumsum(0)
        self.offsets: Tensor
        self.register_buffer("offsets", offsets, persistent=False)
        self.bias = nn.Parameter(torch.empty(n_numeric + len(cardinalities), d_token))
        nn.init.normal_(self.bias, std=d_token**-0.5)

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """Tokens of shape ``(B, T, D)`` for ``T`` columns, numeric ones first."""
        tokens = []
        if self.n_numeric:
            missing = numeric.isnan()
            if bool(missing.any()):
                embedded = self.numeric(numeric.masked_fill(missing, 0.0))
                tokens.append(torch.where(missing.unsqueeze(-1), self.missing, embedded))
            else:
                tokens.append(self.numeric(numeric))
        if categorical.shape[1]:
            tokens.append(self.categorical(categorical + self.offsets))
        return torch.cat(tokens, dim=1) + self.bias


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
    """Multi-head self-attention ``(B, T, D) -> (B, T, D)``."""

    def __init__(self, d_token: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Linear(d_token, d_token)
        self.key_value = nn.Linear(d_token, 2 * d_token)
        self.out = nn.Linear(d_token, d_token)

    def forward(self, tokens: Tensor) -> Tensor:
        """Attend from every token to all of them."""
        key, value = self._heads(self.key_value(tokens), 2)
        (query,) = self._heads(self.query(tokens), 1)
        attend = _attend_few if tokens.shape[1] < FEW_TOKENS else functional.scaled_dot_product_attention
        return self.out(attend(query, key, value).transpose(1, 2).reshape(tokens.shape))

    def _heads(self, x: Tensor, n: int) -> Tensor:
        """``(B, T, n D) -> (n, B, heads, T, D / heads)``; in one piece for few tokens, fused attention needs none."""
        b, t, _ = x.shape
        heads = x.view(b, t, n, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        return heads.contiguous() if t < FEW_TOKENS else heads


def _attend_few(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention ``(B, H, R, D), (B, H, T, D), (B, H, T, D) -> (B, H, R, D)`` of a few tokens.

    The softmax runs over the first axis: over a short last one torch takes ten times as long, fused attention included.
    """
    scores = torch.bmm(key.flatten(0, 1), query.flatten(0, 1).mT) * query.shape[-1] ** -0.5
    share = scores.transpose(0, 1).softmax(dim=0).transpose(0, 1)
    return torch.bmm(share.mT, value.flatten(0, 1)).view_as(query)


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

    def forward(self, tokens: Tensor) -> Tensor:
        """``(B, T, D) -> (B, T, D)``."""
        tokens = tokens + self.dropout(self.attention(self.attention_norm(tokens)))
        return tokens + self.dropout(self.feed_forward(tokens))


class Encoder(nn.Module):
    """Stack of pre-norm blocks and a final layer norm.

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
    ``(B, T, D) -> (B, T, D)``.
    """

    def __init__(
        self, *, d_token: int, n_blocks: int, n_heads: int, dropout: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(d_token, n_heads, dropout, generator) for _ in range(n_blocks))
        self.norm = nn.LayerNorm(d_token)

    def forward(self, tokens: Tensor) -> Tensor:
        """Encode column tokens: each has seen all others."""
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


class Reading(NamedTuple):
    """What a readout says about a batch of rows.

    Attributes
    ----------
    summary : Tensor, shape (B, D)
        Vector that the head decides from.
    z : Tensor, shape (B, T, D)
        The tokens that were read.
    assignment : Assignment or None
        Assignment of the tokens to the prototypes, ``q`` of shape (B, T, K); None for readouts without prototypes.
    """

    summary: Tensor
    z: Tensor
    assignment: Assignment | None = None


class DDCLReadout(PreciseBuffers):
    """DDCL-Attention readout: every token as a mixture of prototypes shared by all (arXiv:2604.03850).

    It takes the place of a class token: each of the ``T`` tokens of a row is assigned softly to ``K`` prototypes, and
    the row's summary is the mean of their mixtures ``zhat_t = sum_k q_tk p_k``. A linear head ``h`` on it decides by a
    sum over tokens and prototypes::

        h(mean_t zhat_t) = (1/T) sum_t sum_k q_tk h(p_k)

    so the part of each column in the decision is exact, not sampled.

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
    >>> reading = readout(torch.randn(2, 5, 4))
    >>> reading.summary.shape, reading.assignment.q.shape
    (torch.Size([2, 4]), torch.Size([2, 5, 3]))
    """

    def __init__(self, n_prototypes: int, d_token: int) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(n_prototypes, d_token) * d_token**-0.5)
        self.temperature: Tensor
        self.register_buffer("temperature", torch.ones((), dtype=precise(self.prototypes.dtype)))

    def forward(self, tokens: Tensor) -> Reading:
        """Read ``(B, T, D)``."""
        assignment = assign(tokens, self.prototypes, self.temperature)
        summary = assignment.zhat.mean(dim=1)
        return Reading(summary if summary.dtype is tokens.dtype else summary.to(tokens.dtype), tokens, assignment)


class Output(NamedTuple):
    """Result of a forward pass.

    Attributes
    ----------
    logits : Tensor, shape (B, C)
        Decision of the readout's summary.
    direct_logits : Tensor, shape (B, C)
        Decision of the mean token itself: trains the encoder past its prototypes.
    reading : Reading
    contributions : Tensor, shape (B, T, C)
        What each column adds to the logits: they are its sum over the columns, plus the bias of the head.
    direct_contributions : Tensor, shape (B, T, C)
        The same for the direct logits.
    columns : Tensor, shape (B, n_numeric + sum of cardinalities)
        What the mixture of each column's token says of that column: scaled numbers, then logits of the categories.
        Contributions and columns are empty, (B, 0), for readouts without prototypes.
    """

    logits: Tensor
    direct_logits: Tensor
    reading: Reading
    contributions: Tensor
    direct_contributions: Tensor
    columns: Tensor


class TableNetwork(nn.Module):
    """Column tokens, transformer encoder, readout, one linear head for the class and one for the columns.

    Parameters
    ----------
    readout : nn.Module
        Maps encoded tokens ``(B, T, D)`` to a :class:`Reading`: a :class:`DDCLReadout`, or a peer to compare it with.
    edges, cardinalities, d_token, n_blocks, n_heads, dropout, generator
        See :class:`ColumnTokenizer` and :class:`Encoder`.
    n_classes : int
        ``C``.

    Shapes
    ------
    numeric ``(B, n_numeric)``, categorical ``(B, n_categorical)``; result :class:`Output`.
    """

    def __init__(
        self,
        readout: nn.Module,
        *,
        edges: Sequence[Sequence[float]],
        cardinalities: list[int],
        n_classes: int,
        d_token: int,
        n_blocks: int,
        n_heads: int,
        dropout: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.tokenizer = ColumnTokenizer(edges, cardinalities, d_token)
        self.encoder = Encoder(
            d_token=d_token, n_blocks=n_blocks, n_heads=n_heads, dropout=dropout, generator=generator
        )
        self.readout: Any = readout
        self.head = nn.Linear(d_token, n_classes)
        self.decoder = nn.Linear(d_token, len(edges) + sum(cardinalities))

    def forward(self, numeric: Tensor, categorical: Tensor) -> Output:
        """Read rows."""
        reading = self.readout(self.encoder(self.tokenizer(numeric, categorical)))
        if reading.assignment is None:
            direct = self.head(reading.z.mean(dim=1))
            nothing = direct.new_zeros(len(direct), 0)
            return Output(self.head(reading.summary), direct, reading, nothing, nothing, nothing)
        return self.say(reading.assignment.zhat.to(reading.z.dtype), reading)

    def say(self, zhat: Tensor, reading: Reading) -> Output:
        """What is said of rows whose tokens have the mixtures ``zhat``, shape (B, T, D)."""
        logits, contributions = self._decide(zhat)
        direct_logits, direct_contributions = self._decide(reading.z)
        n_numeric, cardinalities = self.tokenizer.n_numeric, self.tokenizer.cardinalities
        weight, bias = (part.split([n_numeric, *cardinalities]) for part in (self.decoder.weight, self.decoder.bias))
        numbers = (zhat[:, :n_numeric] * weight[0]).sum(dim=-1) + bias[0]
        texts = (
            functional.linear(zhat[:, n_numeric + i], *part)
            for i, part in enumerate(zip(weight[1:], bias[1:], strict=True))
        )
        columns = torch.cat([numbers, *texts], dim=1)
        return Output(logits, direct_logits, reading, contributions, direct_contributions, columns)

    def _decide(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(B, C)`` and contributions ``(B, T, C)`` of tokens ``(B, T, D)``."""
        contributions = functional.linear(tokens, self.head.weight) / tokens.shape[1]
        return contributions.sum(dim=1) + self.head.bias, contributions
