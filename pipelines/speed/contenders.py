"""What the speed benchmark times: our network and rtdl's FT-Transformer of the same shape, each in its training loop.

A contender is called once a repetition and says the processor seconds that it took. Processor seconds of one thread are
the time that the work takes on a machine left alone; the clock on the wall also counts the programs of others.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from statistics import NormalDist, median
from typing import Any, NamedTuple

import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from ddcl_tab import DDCLClassifier
from ddcl_tab.estimators._prototypes import default_prototypes
from ddcl_tab.estimators._table import N_PIECES
from ddcl_tab.nn import assign
from ddcl_tab.nn._network import TableNetwork
from ddcl_tab.training._net import build_network, train_network
from ddcl_tab.training._objective import Objective, exchange
from ddcl_tab.training._rows import Batches, Rows, RowsDataset, predict_rows

CPU = torch.device("cpu")
DEFAULTS = DDCLClassifier().get_params()
BATCH = DEFAULTS["batch_size"]
N_CLASSES = 3
#: Of the normal numbers that the columns hold.
QUANTILES = NormalDist().quantiles(N_PIECES + 2)
#: Codes of COUNTRY, SITE and RCS_SIZE on the real catalog; more categorical columns repeat them.
CODES = (63, 30, 5)
#: FT-Transformer comes with the extra ``bench``; without it our own figures remain.
HAS_FT = find_spec("rtdl_revisiting_models") is not None
#: Operations that do the arithmetic which the FLOPs count.
PRODUCTS = {
    torch.ops.aten.mm,
    torch.ops.aten.addmm,
    torch.ops.aten.bmm,
    torch.ops.aten.baddbmm,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward,
}
#: Side of the square matrices whose product is the machine's ceiling.
CEILING_SIZE = 2048


class Shape(NamedTuple):
    """Sizes of a table and of the network that reads it: of ``n_columns``, seven in ten are numeric."""

    n_rows: int = 8 * BATCH
    n_columns: int = 10
    width: int = DEFAULTS["d_token"]
    n_prototypes: int = default_prototypes(10)

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
    return build_network(0, CPU, n_prototypes=shape.n_prototypes, **_sizes(shape))


def network_of(shape: Shape, kind: type[TableNetwork], readout: nn.Module) -> TableNetwork:
    """A network of another kind or with another readout, of the same sizes."""
    return kind(readout, generator=torch.Generator().manual_seed(0), **_sizes(shape))


def _sizes(shape: Shape) -> dict[str, Any]:
    return {
        "d_token": shape.width,
        "edges": [QUANTILES] * shape.n_numeric,
        "cardinalities": shape.cardinalities,
        "n_classes": N_CLASSES,
    } | {name: DEFAULTS[name] for name in ("n_blocks", "n_heads", "dropout")}


def make_objective(shape: Shape) -> Objective:
    """Our objective with its default weights."""
    weights = {name: DEFAULTS[name] for name in ("quantization_weight", "column_weight", "contribution_weight")}
    return Objective(cardinalities=shape.cardinalities, **weights)


def make_ft_transformer(shape: Shape) -> Any:
    """FT-Transformer of its authors: same width, blocks, heads, dropout and columns, its own defaults otherwise."""
    from rtdl_revisiting_models import FTTransformer

    settings = FTTransformer.get_default_kwargs(DEFAULTS["n_blocks"])
    settings |= {"d_block": shape.width, "attention_n_heads": DEFAULTS["n_heads"], "d_out": N_CLASSES}
    settings |= dict.fromkeys(("attention_dropout", "ffn_dropout", "residual_dropout"), DEFAULTS["dropout"])
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


def _ours_batch(shape: Shape, *, training: bool) -> Callable[[], Tensor]:
    """One batch through our network: the loss, or the logits of a prediction."""
    network, objective = make_network(shape), make_objective(shape)
    batch = make_rows(shape._replace(n_rows=BATCH)).batch(slice(None))

    def loss() -> Tensor:
        output, readout = network(**batch.inputs), network.readout
        exchanged = exchange(network, batch, output, torch.Generator().manual_seed(0))
        held = assign(output.reading.z.detach(), readout.prototypes, readout.temperature)
        return objective(output, batch, held, exchanged).total

    return loss if training else lambda: network(**batch.inputs).logits


def ours_flops(shape: Shape, *, training: bool) -> int:
    """FLOPs of one batch of our network."""
    return count_flops(_ours_batch(shape, training=training), backward=training)


class _Products(TorchDispatchMode):
    """Remembers every matrix product and attention that is run, with what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = partial(func, *args, **(kwargs or {}))
        if func.overloadpacket in PRODUCTS:
            self.calls.append(call)
        return call()


def products_alone(shape: Shape, *, training: bool) -> Callable[[], float]:
    """The products of our batches at their own shapes, and nothing else: what is left if all the rest is free."""
    with _Products() as products:
        result = _ours_batch(shape, training=training)()
        if training:
            result.backward()

    @torch.no_grad()
    def work() -> None:
        for _ in range(shape.n_rows // BATCH):
            for call in products.calls:
                call()

    return lambda: seconds(work)


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
        "ours, products alone": products_alone(shape, training=True),
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
        return [network(**batch.inputs).logits for batch in Batches(rows, BATCH)]

    ours = {
        "ours, predict_rows": lambda: seconds(lambda: predict_rows(network, numeric, categorical, CPU)),
        "ours, bare module": lambda: seconds(bare),
        "ours, products alone": products_alone(shape, training=False),
    }
    return ours | (_prediction_ft(shape, rows) if HAS_FT else {})


def _prediction_ft(shape: Shape, rows: RowsDataset) -> dict[str, Callable[[], float]]:
    ft = make_ft_transformer(shape).eval()
    net = NeuralNetClassifier(ft, criterion=nn.CrossEntropyLoss, batch_size=BATCH, verbose=0).initialize()
    table = {"x_cont": rows.numeric.numpy(), "x_cat": rows.categorical.numpy()}

    @torch.inference_mode()
    def plain() -> list[Tensor]:
        return [ft(inputs["numeric"], inputs["categorical"]) for inputs, *_ in Batches(rows, BATCH)]

    return {
        "FT-Transformer, plain loop": lambda: seconds(plain),
        "FT-Transformer, skorch's default loader": lambda: seconds(lambda: net.forward(table)),
    }
