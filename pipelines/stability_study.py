"""Falsification study: break the conditions of sound training on purpose and see whether the verdict notices.

    python pipelines/stability_study.py ../shared/data pipelines/results    # the real catalog: about half an hour
    python pipelines/stability_study.py synthetic OUT --short               # the synthetic one: about a minute

Every cell of ``lr_ratio`` x relative temperature x optimiser x dynamics is trained once a seed with the package's own
training, which certifies it. What became of the prototypes is then measured on held-out launches, by means that the
certificate does not use (:func:`outcome_of`), and compared with the verdict.
"""

from __future__ import annotations

import argparse
import itertools
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import stability_report
import torch
from joblib import Parallel, delayed
from sklearn.metrics import f1_score
from skorch.callbacks import Callback
from study_tools import commit
from tqdm import tqdm

from ddcl_tab.app._catalog import has_known_class, load_catalog
from ddcl_tab.app._evaluation import split_catalog
from ddcl_tab.errors import LeakWarning, TrainingError
from ddcl_tab.estimators._table import TableEncoder
from ddcl_tab.nn._network import TableNetwork
from ddcl_tab.nn._quantization import assign, quantization_loss
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.training._certificate import dead_prototypes, loss_of_prototypes, usage
from ddcl_tab.training._distillation import hard_targets
from ddcl_tab.training._net import build_network, train_network
from ddcl_tab.training._objective import Loss, Objective
from ddcl_tab.training._rows import Batch, Rows, RowsDataset
from ddcl_tab.training._stability import Stability

CATALOG = "satcat/spacetrack_satcat_current_2025-03-16.json.gz"
ELSETS = "elsets/spacetrack_3le_2025-03-15.txt.gz"
SYNTHETIC = Path(__file__).parents[1] / "data" / "synthetic_satcat.csv.gz"
TARGET = "OBJECT_TYPE"

#: Optimiser and the encoder's rate: plain SGD has no preconditioner and needs a far larger one.
OPTIMIZERS = {"SGD": (torch.optim.SGD, 0.05), "Adam": (torch.optim.AdamW, 2e-3)}
SIZES = {"n_prototypes": 16, "d_token": 32, "n_blocks": 1, "n_heads": 4, "dropout": 0.0}
WEIGHTS = {"quantization_weight": 0.1, "column_weight": 0.1, "contribution_weight": 0.3}
#: The encoder under "readout alone" is trained soundly first: this many epochs at these settings.
SOUND = {"optimizer": torch.optim.AdamW, "lr": 2e-3, "lr_ratio": 10.0, "final_temperature": 0.1, "max_epochs": 8}
BATCH_SIZE = 128
CPU = torch.device("cpu")

#: Prototypes trained on alone for this many steps show where they belong.
SETTLING_STEPS, SETTLING_ROWS, SETTLING_LR = 800, 512, 0.01


class Grid(NamedTuple):
    """What is varied, and how long each run is."""

    ratios: tuple[float, ...]
    temperatures: tuple[float, ...]
    seeds: tuple[int, ...]
    max_epochs: int
    n_rows: int


FULL = Grid((0.01, 0.1, 1.0, 10.0, 100.0, 1000.0), (0.1, 0.3, 0.9, 1.1, 2.0), (0, 1, 2, 3, 4), 20, 4096)
SHORT = Grid((0.01, 10.0, 1000.0), (0.1, 2.0), (0,), 10, 1500)


class Cell(NamedTuple):
    """One run."""

    seed: int
    dynamics: str
    optimizer: str
    lr_ratio: float
    temperature: float


class Start(NamedTuple):
    """What all runs of a seed share: the split's rows, and weights of a soundly trained network."""

    train: Rows
    test: Rows
    sizes: dict[str, Any]
    sound: dict[str, torch.Tensor]


class QuantizationAlone(torch.nn.Module):
    """``L_q`` and nothing else: the objective of a readout alone, called like :class:`Objective`."""

    quantization_weight, contribution_weight = 1.0, 0.0

    def forward(self, output: Any, batch: Batch, prototypes: Any, temperature: Any, exchanged: None = None) -> Loss:
        """Loss of a batch."""
        quantization = quantization_loss(assign(output.reading.z.detach(), prototypes, temperature), batch.weight)
        nothing = torch.zeros(())
        return Loss(quantization, nothing, nothing, quantization, nothing, nothing)


class Steps(Callback):
    """Length of the prototypes' steps: mean over each epoch of ``|step| / sqrt(K)``, in token distance."""

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Forget earlier fits."""
        self.epochs_: list[float] = []
        self.lengths_: list[float] = []

    def on_batch_begin(self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        """Remember where the prototypes stand."""
        self.before_ = net.module_.readout.prototypes.detach().clone()

    def on_batch_end(self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        """Measure the step."""
        step = net.module_.readout.prototypes.detach() - self.before_
        self.lengths_.append(float(step.norm()) / len(step) ** 0.5)

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Close the epoch."""
        self.epochs_.append(float(np.mean(self.lengths_)))
        self.lengths_ = []


def main() -> None:
    """Run the study, write results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder of the real catalogs, or 'synthetic'")
    parser.add_argument("out", type=Path, help="folder of all results; the study has its own within")
    parser.add_argument("--short", action="store_true", help="one seed, the corners of the grid")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    arguments = parser.parse_args()
    study(
        None if arguments.data == "synthetic" else Path(arguments.data), arguments.out, arguments.short, arguments.jobs
    )


def study(data: Path | None, out: Path, short: bool, n_jobs: int) -> pl.DataFrame:
    """Train every cell and write the report; one row a run."""
    commit()
    grid = SHORT if short else FULL
    frame = read_satcat(SYNTHETIC) if data is None else load_catalog(data / CATALOG, data / ELSETS)
    frame = frame.filter(has_known_class(frame, TARGET))
    start = time.perf_counter()
    with Parallel(n_jobs=n_jobs, return_as="generator_unordered") as parallel:
        starts = dict(parallel(delayed(prepare)(frame, seed, grid.n_rows) for seed in grid.seeds))
        cells = itertools.product(grid.seeds, ("readout alone", "joint"), OPTIMIZERS, grid.ratios, grid.temperatures)
        cells = [Cell(*cell) for cell in cells]
        runs = parallel(delayed(run)(cell, starts[cell.seed], grid.max_epochs) for cell in cells)
        rows = list(tqdm(runs, total=len(cells), unit="run", dynamic_ncols=True, mininterval=10.0))
    result = pl.DataFrame(rows, infer_schema_length=None).sort(
        "dynamics", "optimizer", "temperature", "lr_ratio", "seed"
    )
    settings = (
        SIZES
        | WEIGHTS
        | {
            "batch_size": BATCH_SIZE,
            "max_epochs": grid.max_epochs,
            "training rows": len(starts[grid.seeds[0]].train.label),
            "held-out rows": len(starts[grid.seeds[0]].test.label),
            "minutes": round((time.perf_counter() - start) / 60, 1),
        }
    )
    stability_report.write(result, out, settings, data="synthetic" if data is None else str(data), short=short)
    return result


def prepare(frame: pl.DataFrame, seed: int, n_rows: int) -> tuple[int, Start]:
    """Split by launch, encode, train a network soundly for the readout alone."""
    torch.set_num_threads(1)
    parts = split_catalog(frame, TARGET, "launch", seed)
    rng = np.random.default_rng(seed)
    index = [rng.permutation(part)[:n_rows] for part in (parts.train, parts.test)]
    label = np.unique(frame[TARGET].to_numpy(), return_inverse=True)[1]
    features = frame.drop(TARGET)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakWarning)  # told by the package's own commands
        encoder = TableEncoder().fit(features[index[0]])
    train, test = (Rows(*encoder.transform(features[i]), label[i], np.ones(len(i)), np.arange(len(i))) for i in index)
    sizes = SIZES | {
        "edges": encoder.edges_,
        "cardinalities": encoder.cardinalities_,
        "n_classes": int(label.max()) + 1,
    }
    network = build_network(seed, CPU, **sizes)
    _train(network, Objective(**WEIGHTS, cardinalities=encoder.cardinalities_), train, seed, **SOUND)
    return seed, Start(train, test, sizes, network.state_dict())


def run(cell: Cell, start: Start, max_epochs: int) -> dict[str, Any]:
    """Train one cell; its certificate's last epoch, its verdict and its outcome."""
    torch.set_num_threads(1)
    network = build_network(cell.seed, CPU, **start.sizes)
    objective: torch.nn.Module = Objective(**WEIGHTS, cardinalities=start.sizes["cardinalities"])
    if cell.dynamics == "readout alone":
        network.load_state_dict(start.sound)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name == "readout.prototypes")
        objective = QuantizationAlone()
    optimizer, lr = OPTIMIZERS[cell.optimizer]
    steps = Steps()
    try:
        result = _train(
            network, objective, start.train, cell.seed, steps, optimizer=optimizer, lr=lr, lr_ratio=cell.lr_ratio,
            final_temperature=cell.temperature, max_epochs=max_epochs, certify="epoch",
        )  # fmt: skip
    except TrainingError:
        diverged = {"verdict": "training diverged", "stable": False, "failed": "diverged", "outcome": "overshooting"}
        return cell._asdict() | diverged
    stability = Stability(result.certificates)
    last, later = result.certificates[-1], result.certificates[1:]
    failed = [name for name, margin in stability.margins.items() if not margin < 0.0]
    return (
        cell._asdict()
        | {"verdict": stability.verdict, "stable": stability.is_stable, "failed": failed[0] if failed else ""}
        | {f"margin {name}": margin for name, margin in stability.margins.items()}
        | {name: getattr(last, name) for name in ("tau", "tau_joint", "tracking_gap", "lag", "effective_ratio")}
        | {"sharpness": max(e.sharpness for e in later), "identity": max(e.identity_residual for e in later)}
        | {"reseeded": sum(row["reseeded"] for row in result.history)}
        | outcome_of(network, objective, start, steps, cell.seed)
    )


def outcome_of(
    network: TableNetwork, objective: torch.nn.Module, start: Start, steps: Steps, seed: int
) -> dict[str, Any]:
    """What became of the prototypes, on held-out launches.

    - ``overshooting``: in an epoch after the first, their mean step was longer than half of the tokens' standard
      deviation.
    - ``dead``: more than a quarter is the main one of no held-out token. (In lines up to commit 19f5bfb: carries less
      than ``1 / (4 K)`` of them.)
    - ``collapsed``: their mean distance is under a quarter of that deviation, or gets there when the same prototypes
      are trained on alone at the same encoder, with another optimiser, or is under half of what it becomes then.
    """
    test = RowsDataset(start.test, hard_targets(start.test, start.sizes["n_classes"]), CPU)
    with torch.no_grad():
        output = network.eval()(test.numeric, test.categorical)
    z, q = (part.flatten(0, 1) for part in (output.reading.z, output.reading.assignment.q))  # all tokens of all rows
    prototypes, sigma = network.readout.prototypes.detach(), z.var(dim=0, correction=0).sum().sqrt()
    separation = float(torch.pdist(prototypes).mean() / sigma)
    settled = float(torch.pdist(settle(network, objective, start, seed)).mean() / sigma)
    longest = max(steps.epochs_[1:]) / float(sigma)
    dead = len(dead_prototypes(q))
    outcome = "healthy"
    if not longest < 0.5:
        outcome = "overshooting"
    elif dead > len(prototypes) / 4:
        outcome = "dead"
    elif not min(separation, settled) >= 0.25 or separation < settled / 2:
        outcome = "collapsed"
    return {
        "outcome": outcome,
        "separation": separation,
        "settled_separation": settled,
        "longest_step": longest,
        "dead": dead,
        "usage": float(torch.special.entr(usage(q)).sum().exp()),
        "in_play": float(torch.special.entr(q).sum(-1).exp().mean()),
        "token_variance": float(sigma**2),
        "macro_f1": f1_score(start.test.label, output.logits.argmax(1).numpy(), average="macro"),
    }


def settle(network: TableNetwork, objective: torch.nn.Module, start: Start, seed: int) -> torch.Tensor:
    """Train the prototypes on alone, over all training rows, at the final temperature: where they belong."""
    rows = RowsDataset(start.train, hard_targets(start.train, start.sizes["n_classes"]), CPU)
    with torch.no_grad():
        output = network.eval()(rows.numeric, rows.categorical)
    z = output.reading.z
    sigma = z.flatten(0, 1).var(dim=0, correction=0).sum().sqrt()
    prototypes = network.readout.prototypes.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([prototypes], lr=SETTLING_LR * float(sigma))
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, SETTLING_STEPS)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(SETTLING_STEPS):
        chosen = torch.randint(len(rows), (SETTLING_ROWS,), generator=generator)
        still = output._replace(reading=output.reading._replace(z=z[chosen]))
        loss = loss_of_prototypes(network, objective, still, rows.batch(chosen))(prototypes)
        optimizer.zero_grad()
        loss.backward(inputs=[prototypes])
        optimizer.step()
        rate.step()
    return prototypes.detach()


def _train(
    network: TableNetwork,
    objective: Any,
    rows: Rows,
    seed: int,
    *watch: Callback,
    certify: Any = False,
    **settings: Any,
) -> Any:
    return train_network(
        network,
        objective,
        RowsDataset(rows, hard_targets(rows, int(rows.label.max()) + 1), CPU),
        None,
        batch_size=BATCH_SIZE,
        patience=settings["max_epochs"],
        generator=torch.Generator().manual_seed(seed),
        device=CPU,
        certify=certify,
        verbose=0,
        callbacks=watch,
        **settings,
    )


if __name__ == "__main__":
    main()
