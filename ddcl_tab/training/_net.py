"""The skorch net: the network from a seed, one training step of the DDCL objective, and the loop around it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn

from ddcl_tab.errors import TrainingError
from ddcl_tab.nn._network import DDCLReadout, TableNetwork
from ddcl_tab.nn._quantization import assign
from ddcl_tab.training._callbacks import BestEpoch, Certify, EarlyStop, LearningRates, Progress, Reseed
from ddcl_tab.training._certificate import MUON_RMS, MUON_STATE, EpochCertificate
from ddcl_tab.training._checkpoint import Checkpoint, CheckpointFile, Parts
from ddcl_tab.training._objective import Loss, TokenCovariance, annealed, exchange
from ddcl_tab.training._rows import Batch, Batches, RowsDataset

#: Modules draw their initial weights from torch's global generator, which is seeded and put back under this lock.
_BUILDING = threading.Lock()


def build_network(seed: int, device: torch.device, *, n_prototypes: int, d_token: int, **sizes: Any) -> TableNetwork:
    """Untrained network with a DDCL readout; the same seed gives the same weights and dropout masks.

    Parameters
    ----------
    seed : int
    device : torch.device
    n_prototypes, d_token : int
    **sizes
        The other parameters of :class:`TableNetwork`, without the generator.

    Returns
    -------
    TableNetwork
    """
    with _BUILDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TableNetwork(
            DDCLReadout(n_prototypes, d_token),
            d_token=d_token,
            generator=torch.Generator(device).manual_seed(seed),
            **sizes,
        )
    return network.to(device)


#: Rows of the probe batch and of the batch that places the prototypes.
PROBE_ROWS = 1024
#: At the start each prototype stands this share of the way from the mean token to a random token: nearly collapsed,
#: so that the annealing splits them.
START_SPREAD = 0.1
#: An epoch has at least this many steps, small tables included.
MIN_STEPS = 16
MIN_BATCH = 16
#: AdamW's decay of weight matrices.
WEIGHT_DECAY = 1e-4


#: Memory of Muon's gradients, and steps of its iteration.
MUON_MOMENTUM, MUON_ITERATIONS = 0.95, 5


class MuonAdamW(torch.optim.AdamW):
    """AdamW, and Muon for the matrices of groups that are marked ``orthogonal``.

    Muon steps along the gradient's nearest semi-orthogonal matrix: all its directions move alike, those of small
    gradients too (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024). Scaled so that the
    entries of a step have a root mean square of :data:`MUON_RMS` rates, both share one rate. That is twice what Liu et
    al. (arXiv:2502.16982) found for AdamW's steps, and learned the catalog better (docs/notes/recipe.md).

    In float32, unlike :class:`torch.optim.Muon`: products in bfloat16 are slow on processors that only emulate it.

    Parameters
    ----------
    params : list of dict
        Groups; all parameters of those with ``orthogonal=True`` are matrices.
    **settings
        Of :class:`torch.optim.AdamW`.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all parameters; the result of ``closure``."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        groups = self.param_groups
        try:
            self.param_groups = [group for group in groups if not group.get("orthogonal")]
            super().step()
        finally:
            self.param_groups = groups
        for group in groups:
            for matrix in group["params"] if group.get("orthogonal") else []:
                if matrix.grad is not None:
                    self._step_matrix(matrix, matrix.grad, group["lr"], group["weight_decay"])
        return result

    def _step_matrix(self, matrix: Tensor, gradient: Tensor, lr: float, weight_decay: float) -> None:
        momentum = self.state[matrix].setdefault(MUON_STATE, torch.zeros_like(matrix))
        momentum.lerp_(gradient, 1.0 - MUON_MOMENTUM)
        direction = orthogonalised(gradient.lerp(momentum, MUON_MOMENTUM))  # Nesterov's
        matrix.mul_(1.0 - lr * weight_decay)
        matrix.add_(direction, alpha=-lr * MUON_RMS * max(matrix.shape) ** 0.5)


def orthogonalised(matrix: Tensor) -> Tensor:
    """Matrix with the singular vectors of another and singular values near 1 (0.68 to 1.13).

    A Newton-Schulz iteration with the coefficients of Jordan et al., which trade exactness for few steps.

    Examples
    --------
    >>> matrix = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    >>> values = torch.linalg.svdvals(orthogonalised(matrix))
    >>> bool(values.min() > 0.6), bool(values.max() < 1.2)
    (True, True)
    """
    x = matrix / (matrix.norm() + 1e-7)
    wide = x if x.shape[0] <= x.shape[1] else x.mT
    for _ in range(MUON_ITERATIONS):
        gram = wide @ wide.mT
        polynomial = torch.addmm(gram, gram, gram, beta=-4.775, alpha=2.0315)
        wide = torch.addmm(wide, polynomial, wide, beta=3.4445)
    return wide if x.shape[0] <= x.shape[1] else wide.mT


class TrainingResult(NamedTuple):
    """What training leaves behind beside the weights.

    Attributes
    ----------
    history : list of dict
        One an epoch, see ``DDCLClassifier.history_``.
    certificates : tuple of EpochCertificate
    interrupted : int or None
        Epoch in which a KeyboardInterrupt ended it.
    """

    history: list[dict[str, Any]]
    certificates: tuple[EpochCertificate, ...]
    interrupted: int | None


class DDCLNet(NeuralNet):
    """skorch net of a :class:`TableNetwork` with a DDCL readout.

    Parameters
    ----------
    module : TableNetwork
    criterion : Objective
    final_temperature : float
        Relative temperature ``T / T_c`` at the end.
    n_steps : int
        Steps of the whole training.
    generator : torch.Generator
        Source of the exchanges of columns between rows.
    **settings
        Of :class:`skorch.NeuralNet`.
    """

    def __init__(
        self,
        module: nn.Module,
        criterion: nn.Module,
        *,
        final_temperature: float,
        n_steps: int,
        generator: torch.Generator,
        **settings: Any,
    ):
        super().__init__(module, criterion, **settings)
        self.final_temperature, self.n_steps, self.generator = final_temperature, n_steps, generator

    def place_prototypes(self, batch: Batch, generator: torch.Generator) -> None:
        """Start the prototypes near the mean token of a batch, and the temperature at the critical one.

        Each starts on its way to a token, of the columns in turn.
        """
        readout, self.step_ = self.module_.readout, 0
        with torch.no_grad():
            self.module_.eval()
            z = self.module_(**batch.inputs).reading.z
            self.module_.train()
            self.covariance_ = TokenCovariance(z, batch.weight)
            mean = self.covariance_.mean
            n_rows, n_columns, width = z.shape
            row = torch.randint(n_rows, (len(readout.prototypes),), generator=generator).to(z.device)
            column = torch.arange(len(readout.prototypes), device=z.device) % n_columns
            jitter = torch.randn(readout.prototypes.shape, generator=generator).to(z.device)
            spread = self.covariance_.covariance.trace().sqrt() / width**0.5
            # The jitter separates prototypes that start from the same token.
            readout.prototypes.copy_(mean + START_SPREAD * (z[row, column] - mean + 0.1 * spread * jitter))
            readout.temperature.copy_(self.covariance_.temperature(1.0))

    def train_step_single(self, batch: Batch, **fit_params: Any) -> dict[str, Tensor]:
        """One forward and backward pass; moves the temperature along its schedule."""
        self._set_training(True)
        output, readout = self.module_(**batch.inputs), self.module_.readout
        exchanged = None
        if self.criterion_.contribution_weight:
            exchanged = exchange(self.module_, batch, output, self.generator)
        held = assign(output.reading.z.detach(), readout.prototypes, readout.temperature)
        loss: Loss = self.criterion_(output, batch, held, exchanged)
        if not bool(loss.total.isfinite()):
            raise TrainingError(
                f"the loss is {loss.total.item()} in step {self.step_ + 1} of {self.n_steps}: training diverged. "
                f"Lower lr (now {self.lr}) or lr_ratio."
            )
        loss.total.backward()
        self.covariance_.update(output.reading.z.detach(), batch.weight)
        self.step_ += 1
        tau = annealed(self.step_ / self.n_steps, self.final_temperature)
        readout.temperature.copy_(self.covariance_.temperature(tau))
        self.history.record_batch("quantization_loss", loss.quantization.item())
        self.history.record_batch("direct_loss", loss.direct.item())
        self.history.record_batch("column_loss", loss.columns.item())
        self.history.record_batch("contribution_loss", loss.contributions.item())
        return {"loss": loss.task, "y_pred": output.logits}

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Record the mean losses of the epoch's batches and the temperatures beside skorch's losses."""
        super().on_epoch_end(net, dataset_train=dataset_train, dataset_valid=dataset_valid, **kwargs)
        batches = self.history[-1]["batches"][: self.history[-1]["train_batch_count"]]
        for name in _BATCH_LOSSES:
            self.history.record(f"train_{name}", sum(batch[name] for batch in batches) / len(batches))
        self.history.record("tau", annealed(self.step_ / self.n_steps, self.final_temperature))
        self.history.record("temperature", float(self.module_.readout.temperature))


def train_network(
    network: TableNetwork,
    objective: nn.Module,
    train: RowsDataset,
    validation: RowsDataset | None,
    *,
    lr: float,
    lr_ratio: float,
    final_temperature: float,
    batch_size: int,
    max_epochs: int,
    patience: int,
    generator: torch.Generator,
    device: torch.device,
    certify: str | bool,
    verbose: int,
    optimizer: type[torch.optim.Optimizer] = MuonAdamW,
    callbacks: Sequence[Callback] = (),
    checkpoint: CheckpointFile | None = None,
) -> TrainingResult:
    """Train a network in place; it ends with the weights of its best epoch.

    Parameters
    ----------
    network : TableNetwork
        Parameters that require no gradient stay as they are.
    objective : Objective
        Or a module called like one.
    train, validation : RowsDataset, RowsDataset or None
    lr, lr_ratio : float
        Encoder's rate and prototypes' rate over encoder's.
    final_temperature : float
        ``tau`` at the end.
    batch_size, max_epochs, patience : int
    generator : torch.Generator
        Source of all randomness in training except dropout.
    device : torch.device
    certify : {"epoch", "end", False}
        How often the whole certificate is measured.
    verbose : int
        1 shows a progress bar.
    optimizer : type, default=MuonAdamW
        Or ``torch.optim.SGD``: what the certificate can judge.
    callbacks : sequence of skorch callbacks, default=()
        To watch training with.
    checkpoint : CheckpointFile, default=None
        Written after every epoch, and resumed from. Then a KeyboardInterrupt ends training with the best epoch so far,
        or the last one while annealing is not over.

    Returns
    -------
    TrainingResult

    Raises
    ------
    TrainingError
        The loss stopped being finite.
    WriteError
        The checkpoint cannot be written.
    KeyboardInterrupt
        Without a checkpoint, before the first epoch has ended, or after the last step.
    """
    batch_size = min(batch_size, max(MIN_BATCH, len(train) // MIN_STEPS))
    n_steps = max_epochs * len(Batches(train, batch_size))
    probe = train.batch(torch.randperm(len(train), generator=generator)[:PROBE_ROWS].to(device))
    certificate = Certify(probe, certify)
    best = BestEpoch(validation, max_epochs, patience)
    progress = Progress(n_steps, max_epochs)
    rates = LearningRates(n_steps)
    keeper = None if checkpoint is None else Checkpoint(checkpoint, Parts(rates, certificate, best, generator))
    watched = [
        ("rates", rates),
        ("certify", certificate),
        ("reseed", Reseed(probe, max_epochs, len(Batches(train, batch_size)), generator)),
        ("best", best),
        *((f"watch{i}", callback) for i, callback in enumerate(callbacks)),
        *([] if keeper is None else [("checkpoint", keeper)]),
    ]
    net = DDCLNet(
        network,
        objective,
        final_temperature=final_temperature,
        n_steps=n_steps,
        generator=generator,
        optimizer=optimizer,
        optimizer__fused=True,
        optimizer__param_groups=[
            ("readout.prototypes", {"lr": lr * lr_ratio, "weight_decay": 0.0}),
            ("*bias", {"weight_decay": 0.0}),
            ("*norm.*", {"weight_decay": 0.0}),
            ("*feed_forward.0.*", {"weight_decay": 0.0}),  # a layer norm, too
            *([("*blocks.*.weight", {"orthogonal": True})] if optimizer is MuonAdamW else []),
        ],
        optimizer__weight_decay=WEIGHT_DECAY,
        lr=lr,
        max_epochs=max_epochs,
        batch_size=batch_size,
        iterator_train=Batches,
        iterator_train__generator=generator,
        train_split=None,
        callbacks=watched + ([("progress", progress)] if verbose else []),
        callbacks__print_log=None,
        device=device,
        verbose=0,
    ).initialize()
    net.place_prototypes(probe, generator)
    net.notify("on_train_begin")
    try:
        interrupted = _run_epochs(net, train, keeper)
    except BaseException:
        # A training that failed has nothing to certify or to keep; only the bar must not stay open.
        progress.close()
        raise
    net.notify("on_train_end")
    network.eval()
    kept_epoch = best.epoch_ or len(net.history)  # none is the best yet while annealing is not over
    return TrainingResult(_history(net.history, kept_epoch), tuple(certificate.epochs_), interrupted)


def _run_epochs(net: DDCLNet, train: RowsDataset, keeper: Checkpoint | None) -> int | None:
    """Train to the end; with a checkpoint, or up to an interruption, whose epoch is returned."""
    # An interruption after the last step is raised on, when the loop is left.
    with nullcontext() if keeper is None else keeper.interrupts:
        try:
            net.fit_loop(train, epochs=net.max_epochs - len(net.history))
        except EarlyStop:
            pass
        except KeyboardInterrupt:
            if keeper is None or keeper.snapshot_ is None:
                raise
            epoch = len(net.history)
            keeper.rewind(net)
            return epoch
    return None


def _history(history: Any, kept_epoch: int) -> list[dict[str, float]]:
    losses = [f"train_{name}" for name in _BATCH_LOSSES]
    return [
        {name: value for name, value in row.items() if name in _RECORDED}
        | {name: row[name] for name in losses}
        | {"best": row["epoch"] == kept_epoch}
        for row in history
    ]


_BATCH_LOSSES = ("quantization_loss", "direct_loss", "column_loss", "contribution_loss")
_RECORDED = (
    "epoch", "dur", "train_loss", "valid_loss", "calibrated_loss", "tau", "temperature", "quantization",
    "reconstruction", "variance", "identity_residual", "reseeded", "token_variance", "usage_perplexity",
    "dead_prototypes", "effective_prototypes", "certify_seconds",
)  # fmt: skip
