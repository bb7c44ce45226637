"""What the speed benchmark times: our network and rtdl's FT-Transformer of the same shape, each in its training loop.

A contender is called once a repetition and says the processor seconds that it took. Processor seconds of one thread are
the time that the work takes on a machine left alone; the clock on the wall also counts the programs of others.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ddcl_tab import DDCLClassifier
from ddcl_tab.nn.network import TableNetwork
from ddcl_tab.nn.quantization import assign, quantization_loss
from ddcl_tab.nn.readouts import ClassTokenReadout, DDCLReadout, MeanReadout, Reading
from ddcl_tab.training.build import build_network
from ddcl_tab.training.inference import predict_rows
from ddcl_tab.training.net import train_network
from ddcl_tab.training.objective import Objective
from ddcl_tab.training.rows import Batches, Rows, RowsDataset
from ddcl_tab.training.temperature import TokenCovariance

CPU = torch.device("cpu")
DEFAULTS = DDCLClassifier().get_params()
BATCH = DEFAULTS["batch_size"]
N_CLASSES = 3
#: Codes of COUNTRY, SITE and RCS_SIZE on the real catalog; more categorical columns repeat them.
CODES = (63, 30, 5)
#: FT-Transformer comes with the extra ``bench``; without it our own figures remain.
HAS_FT = find_spec("rtdl_revisiting_models") is not None
#: Side of the square matrices whose product is the machine's ceiling.
CEILING_SIZE = 2048


class Shape(NamedTuple):
    """Sizes of a table and of the network that reads it: of ``n_columns``, seven in ten are numeric."""

    n_rows: int = 8 * BATCH
    n_columns: int = 10
    width: int = DEFAULTS["d_token"]
    n_prototypes: int = DEFAULTS["n_prototypes"]

    @property
    def n_numeric(self) -> int:
        """Numeric columns."""
        return round(0.7 * self.n_columns)

    @property
    def cardinalities(self) -> list[int]:
        """Codes of each categorical column."""
        return [CODES[i % len(CODES)] for i in range(self.n_columns - self.n_numeric)]


def make_rows(shape: Shape, seed: int = 0) -> RowsDataset:
    """Rows of noise: nothing can be learned from them, which costs as much as learning."""
    rng = np.random.default_rng(seed)
    n = shape.n_rows
    numeric = rng.standard_normal((n, shape.n_numeric)).astype(np.float32)
    categorical = np.stack([rng.integers(0, codes, n) for codes in shape.cardinalities], axis=1)
    rows = Rows(numeric, categorical, rng.integers(0, N_CLASSES, n), np.ones(n), np.arange(n))
    return RowsDataset(rows, np.eye(N_CLASSES, dtype=np.float32)[rows.label], CPU)


def make_network(shape: Shape) -> TableNetwork:
    """Our network with the defaults of ``DDCLClassifier`` otherwise."""
    return build_network(
        0,
        CPU,
        n_prototypes=shape.n_prototypes,
        d_token=shape.width,
        n_numeric=shape.n_numeric,
        cardinalities=shape.cardinalities,
        n_classes=N_CLASSES,
        **{name: DEFAULTS[name] for name in ("n_blocks", "n_heads", "dropout")},
    )


def make_objective(shape: Shape) -> Objective:
    """Our objective with its default weights."""
    weights = {name: DEFAULTS[name] for name in ("quantization_weight", "column_weight")}
    return Objective(cardinalities=shape.cardinalities, **weights)


def make_ft_transformer(shape: Shape) -> Any:
    """FT-Transformer of its authors, of the same width, blocks, heads and columns; its own defaults otherwise."""
    from rtdl_revisiting_models import FTTransformer

    settings = FTTransformer.get_default_kwargs(DEFAULTS["n_blocks"])
    settings |= {"d_block": shape.width, "attention_n_heads": DEFAULTS["n_heads"], "d_out": N_CLASSES}
    settings["_is_default"] = False
    return FTTransformer(n_cont_features=shape.n_numeric, cat_cardinalities=shape.cardinalities, **settings)


def seconds(work: Callable[[], Any]) -> float:
    """Processor seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def ceiling() -> float:
    """Seconds of one product of large float32 matrices, the best of three."""
    a = torch.ones(CEILING_SIZE, CEILING_SIZE)
    return min(seconds(lambda: a @ a) for _ in range(3))


def count_flops(forward: Callable[[], Tensor], *, backward: bool) -> int:
    """FLOPs of the matrix products of one call, with those of its gradient if asked.

    The counter knows no fused attention on a processor, so attention is counted in its unfused form.
    """
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        result = forward()
        if backward:
            result.backward()
    return counter.get_total_flops()


def ours_flops(shape: Shape, *, training: bool) -> int:
    """FLOPs of one batch of our network."""
    network, objective = make_network(shape), make_objective(shape)
    inputs, (target, weight) = make_rows(shape._replace(n_rows=BATCH)).batch(slice(None))

    def forward() -> Tensor:
        output = network(**inputs)
        readout = network.readout
        return objective(output, inputs, readout.prototypes, readout.temperature, target, weight).total

    if training:
        return count_flops(forward, backward=True)
    return count_flops(lambda: network(**inputs).logits, backward=False)


def ft_flops(shape: Shape, *, training: bool) -> int:
    """FLOPs of one batch of FT-Transformer."""
    network, rows = make_ft_transformer(shape), make_rows(shape._replace(n_rows=BATCH))
    return count_flops(lambda: network(rows.numeric, rows.categorical).sum(), backward=training)


class StepClock(Callback):
    """Processor seconds from the end of one step to the end of the next, the cutting of its batch included."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def on_batch_end(self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        """Take the time."""
        self.marks.append(time.process_time())

    def step(self) -> float:
        """Median step."""
        return median(np.diff(self.marks))


def train_ours(shape: Shape, rows: RowsDataset, network: TableNetwork, certify: str | bool = False) -> Any:
    """One epoch as ``DDCLClassifier`` trains it, without teacher and validation part; returns its clock."""
    clock = StepClock()
    train_network(
        network,
        make_objective(shape),
        rows,
        None,
        final_temperature=DEFAULTS["temperature"],
        max_epochs=1,
        generator=torch.Generator().manual_seed(0),
        device=CPU,
        certify=certify,
        verbose=0,
        callbacks=[clock],
        **{name: DEFAULTS[name] for name in ("lr", "lr_ratio", "batch_size", "patience")},
    )
    return clock


def training(shape: Shape) -> dict[str, Callable[[], float]]:
    """One epoch of each contender."""
    rows, network, certified = make_rows(shape), make_network(shape), make_network(shape)
    ours = {
        "ours": lambda: seconds(lambda: train_ours(shape, rows, network)),
        "ours, certificate every epoch": lambda: seconds(lambda: train_ours(shape, rows, certified, "epoch")),
    }
    return ours | (_training_ft(shape, rows) if HAS_FT else {})


def _training_ft(shape: Shape, rows: RowsDataset) -> dict[str, Callable[[], float]]:
    ft, label = make_ft_transformer(shape), torch.from_numpy(rows.label)
    optimizer = torch.optim.AdamW(ft.make_parameter_groups(), lr=1e-4)

    def plain() -> None:
        ft.train()
        for index in torch.randperm(len(rows)).split(BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(ft(rows.numeric[index], rows.categorical[index]), label[index]).backward()
            optimizer.step()

    settings = {"optimizer": torch.optim.AdamW, "lr": 1e-4, "batch_size": BATCH, "max_epochs": 1, "verbose": 0}
    # Without the rows that skorch would set aside to validate, so that it trains on as many as the others.
    net = NeuralNetClassifier(make_ft_transformer(shape), criterion=nn.CrossEntropyLoss, train_split=None, **settings)
    net.initialize()
    table = {"x_cont": rows.numeric.numpy(), "x_cat": rows.categorical.numpy()}
    return {
        "FT-Transformer, plain loop": lambda: seconds(plain),
        "FT-Transformer, skorch's default loader": lambda: seconds(lambda: net.partial_fit(table, rows.label)),
    }


def prediction(shape: Shape) -> dict[str, Callable[[], float]]:
    """One pass over all rows of each contender."""
    rows, network = make_rows(shape), make_network(shape).eval()
    numeric, categorical = rows.numeric.numpy(), rows.categorical.numpy()

    @torch.inference_mode()
    def bare() -> list[Tensor]:
        return [network(**inputs).logits for inputs, _ in Batches(rows, BATCH)]

    ours = {
        "ours, predict_rows": lambda: seconds(lambda: predict_rows(network, numeric, categorical, CPU)),
        "ours, bare module": lambda: seconds(bare),
    }
    return ours | (_prediction_ft(shape, rows) if HAS_FT else {})


def _prediction_ft(shape: Shape, rows: RowsDataset) -> dict[str, Callable[[], float]]:
    ft = make_ft_transformer(shape).eval()
    net = NeuralNetClassifier(ft, criterion=nn.CrossEntropyLoss, batch_size=BATCH, verbose=0).initialize()
    table = {"x_cont": rows.numeric.numpy(), "x_cat": rows.categorical.numpy()}

    @torch.inference_mode()
    def plain() -> list[Tensor]:
        return [ft(inputs["numeric"], inputs["categorical"]) for inputs, _ in Batches(rows, BATCH)]

    return {
        "FT-Transformer, plain loop": lambda: seconds(plain),
        "FT-Transformer, skorch's default loader": lambda: seconds(lambda: net.forward(table)),
    }


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


def _quantize(output: Any, inputs: Any, prototypes: Tensor, temperature: Tensor, target: Tensor, weight: Tensor) -> Any:
    """The readout's part of our objective: its decision, and the loss that moves the prototypes."""
    task = functional.cross_entropy(output.logits, target)
    return task + quantization_loss(assign(output.reading.z.detach(), prototypes, temperature), weight)


def _readout_steps(shape: Shape, readout: Any, objective: Any = None) -> Callable[[], float]:
    network, rows = make_network(shape), make_rows(shape)
    network.readout = readout
    if not isinstance(objective, Objective):
        network.decoder = nn.Identity()  # only the whole objective tells columns
    optimizer = torch.optim.AdamW(network.parameters(), lr=DEFAULTS["lr"])
    moments: list[TokenCovariance] = []

    def step(inputs: dict[str, Tensor], target: Tensor, weight: Tensor) -> None:
        optimizer.zero_grad()
        output = network(**inputs)
        if objective is None:
            functional.cross_entropy(output.logits, target).backward()
        else:
            loss = objective(output, inputs, readout.prototypes, readout.temperature, target, weight)
            (loss.total if isinstance(objective, Objective) else loss).backward()
            z = output.reading.z.detach()
            if not moments:
                moments.append(TokenCovariance(z, weight))
            moments[0].update(z, weight)
            readout.temperature.copy_(moments[0].temperature(0.5))
        optimizer.step()

    def steps() -> None:
        network.train()
        for inputs, (target, weight) in Batches(rows, BATCH):
            step(inputs, target, weight)

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
