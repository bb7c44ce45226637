"""Our prototype readout beside mean pooling and the class token in one training loop, and the readout alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from peers.readouts import ClassTokenReadout, MeanReadout
from torch import Tensor, nn
from torch.nn import functional

from ddcl_tab.nn import DDCLReadout, Reading, assign, quantization_loss
from ddcl_tab.training._objective import Objective, TokenCovariance
from ddcl_tab.training._rows import Batch, Batches
from speed.contenders import BATCH, DEFAULTS, Shape, make_network, make_objective, make_rows, seconds


class PooledPrototypes(DDCLReadout):
    """Prototypes on the mean of the column tokens: differs from mean pooling in the readout alone."""

    class_only = False

    def forward(self, tokens: Tensor) -> Reading:
        """Read ``(B, 1 + T, D)``."""
        return super().forward(tokens[:, 1:].mean(dim=1, keepdim=True))


def readouts(shape: Shape) -> dict[str, Callable[[], float]]:
    """Training steps over all rows in one and the same plain loop, with one readout or another."""
    return {
        "mean pooling, linear head": _readout_steps(shape, MeanReadout()),
        "mean pooling, prototypes, linear head": _readout_steps(
            shape, PooledPrototypes(shape.n_prototypes, shape.width), _quantize
        ),
        "class token, linear head": _readout_steps(shape, ClassTokenReadout()),
        "class token, prototypes, linear head": _readout_steps(
            shape, DDCLReadout(shape.n_prototypes, shape.width), _quantize
        ),
        "class token, prototypes, whole objective": _readout_steps(
            shape, DDCLReadout(shape.n_prototypes, shape.width), make_objective(shape)
        ),
    }


def _quantize(output: Any, batch: Batch, prototypes: Tensor, temperature: Tensor) -> Any:
    """The readout's part of our objective: its decision, and the loss that moves the prototypes."""
    task = functional.cross_entropy(output.logits, batch.target)
    return task + quantization_loss(assign(output.reading.z.detach(), prototypes, temperature), batch.weight)


def _readout_steps(shape: Shape, readout: Any, objective: Any = None) -> Callable[[], float]:
    network, rows = make_network(shape), make_rows(shape)
    network.readout = readout
    if not isinstance(objective, Objective):
        network.decoder = nn.Identity()  # only the whole objective tells columns
    optimizer = torch.optim.AdamW(network.parameters(), lr=DEFAULTS["lr"])
    moments: list[TokenCovariance] = []

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        output = network(**batch.inputs)
        if objective is None:
            functional.cross_entropy(output.logits, batch.target).backward()
        else:
            loss = objective(output, batch, readout.prototypes, readout.temperature)
            (loss.total if isinstance(objective, Objective) else loss).backward()
            z = output.reading.z.detach()
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
