"""The whole network: columns to tokens to one summary to class logits."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ddcl_tab.nn.encoder import Encoder
from ddcl_tab.nn.readouts import Reading
from ddcl_tab.nn.tokenizer import ColumnTokenizer


class Output(NamedTuple):
    """Result of a forward pass.

    Attributes
    ----------
    logits : Tensor, shape (B, C)
        Decision of the readout's summary: ``h(zhat)`` where there are prototypes.
    direct_logits : Tensor, shape (B, C)
        Decision of the pooled token itself, ``h(z)``: teacher of the prototypes in training.
    reading : Reading
    columns : Tensor, shape (B, n_numeric + sum of cardinalities)
        What the summary says of the row's own columns: scaled numbers, then logits of the categories.
    """

    logits: Tensor
    direct_logits: Tensor
    reading: Reading
    columns: Tensor


class TableNetwork(nn.Module):
    """Column tokens, transformer encoder, readout, one linear head for the class and one for the columns.

    Parameters
    ----------
    readout : nn.Module
        Any of :mod:`ddcl_tab.nn.readouts`.
    n_numeric, cardinalities, d_token, n_blocks, n_heads, dropout, generator
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
        n_numeric: int,
        cardinalities: list[int],
        n_classes: int,
        d_token: int,
        n_blocks: int,
        n_heads: int,
        dropout: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.tokenizer = ColumnTokenizer(n_numeric, cardinalities, d_token)
        self.encoder = Encoder(
            d_token=d_token, n_blocks=n_blocks, n_heads=n_heads, dropout=dropout, generator=generator
        )
        self.readout: Any = readout
        self.head = nn.Linear(d_token, n_classes)
        self.decoder = nn.Linear(d_token, n_numeric + sum(cardinalities))

    def forward(self, numeric: Tensor, categorical: Tensor) -> Output:
        """Read rows."""
        tokens = self.encoder(self.tokenizer(numeric, categorical), class_only=self.readout.class_only)
        reading = self.readout(tokens)
        return Output(self.head(reading.summary), self.head(reading.z), reading, self.decoder(reading.summary))
