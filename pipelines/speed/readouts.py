"""Prototypes beside mean pooling and the class token in one training loop, and our readout alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from peers.class_token import RowNetwork
from peers.readouts import MeanReadout
from torch import Tensor
from torch.nn import functional

from ddcl_tab.nn import Assignment, DDCLReadout, Reading, assign, quantization_loss
from ddcl_tab.nn._network import Output, TableNetwork
from ddcl_tab.training._objective import Objective, TokenCovariance, exchange
from ddcl_tab.training._rows import Batch, Batches
from speed.contenders import BATCH, DEFAULTS, Shape, make_objective, make_rows, network_of, seconds


class PooledPrototypes(DDCLReadout):
    """Prototypes on the mean of the column tokens: differs from mean pooling in the readout alone."""

    def forward(self, tokens: Tensor) -> Reading:
        """Read ``(B, T, D)``."""
        return super().forward(tokens.mean(dim=1, keepdim=True))


def readouts(shape: Shape) -> dict[str, Callable[[], float]]:
    """Training steps over all rows in one and the same plain loop, with one readout or another."""

    def prototypes(kind: type[DDCLReadout] = DDCLReadout) -> DDCLReadout:
        return kind(shape.n_prototypes, shape.width)

    return {
        "mean pooling, linear head": _readout_steps(shape, TableNetwork, MeanReadout()),
        "mean pooling, prototypes, linear head": _readout_steps(
            shape, TableNetwork, prototypes(PooledPrototypes), _quantize
        ),
        "class token, linear head": _readout_steps(shape, RowNetwork, MeanReadout()),
        "class token, prototypes, linear head": _readout_steps(shape, RowNetwork, prototypes(), _quantize),
        "column tokens, prototypes, linear head": _readout_steps(shape, TableNetwork, prototypes(), _quantize),
        "column tokens, prototypes, whole objective": _readout_steps(
            shape, TableNetwork, prototypes(), make_objective(shape)
        ),
    }


def _quantize(output: Any, batch: Batch, held: Assignment) -> Any:
    """The readout's part of our objective: its decision, and the loss that moves the prototypes."""
    task = functional.cross_entropy(output.logits, batch.target)
    return task + quantization_loss(held, batch.weight)


def _decision(network: TableNetwork, zhat: Tensor, reading: Reading) -> Output:
    nothing = zhat[:, 0, :0]
    direct = network.head(reading.z.mean(dim=1))
    return Output(network.head(reading.summary), direct, reading, nothing, nothing, nothing)


def _readout_steps(shape: Shape, kind: type[TableNetwork], readout: Any, objective: Any = None) -> Callable[[], float]:
    network, rows = network_of(shape, kind, readout), make_rows(shape)
    if not isinstance(objective, Objective):
        network.say = partial(_decision, network)  # only the whole objective tells columns
    optimizer = torch.optim.AdamW(network.parameters(), lr=DEFAULTS["lr"])
    moments: list[TokenCovariance] = []
    generator = torch.Generator().manual_seed(0)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        output = network(**batch.inputs)
        if objective is None:
            functional.cross_entropy(output.logits, batch.target).backward()
        else:
            z = output.reading.z.detach()
            held = assign(z, readout.prototypes, readout.temperature)
            if isinstance(objective, Objective):
                exchanged = exchange(network, batch, output, generator)
                objective(output, batch, held, exchanged).total.backward()
            else:
                objective(output, batch, held).backward()
            if not moments:
                moments.append(TokenCovariance(z, batch.weight))
            moments[0].update(z, batch.weight)
            readout.temperature.copy_(moments[0].temperature(0.5))
        optimizer.step()

    def steps() -> None:
        network.train()
        for batch in Batches(rows, BATCH):
            step(batch)

    return lambda: seconds(steps)


def readout_alone(n_tokens: int, width: int, n_prototypes: int) -> Callable[[], float]:
    """Assignment of tokens, quantisation loss and their gradients, without encoder."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(n_tokens, width, generator=generator, requires_grad=True)
    prototypes = torch.randn(n_prototypes, width, generator=generator, requires_grad=True)

    def work() -> None:
        assignment = assign(tokens, prototypes, float(width))
        (assignment.zhat.square().mean() + quantization_loss(assignment)).backward()

    return lambda: seconds(work)
