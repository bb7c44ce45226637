"""skorch callbacks: learning rate, probe, best epoch and calibration on the validation part, progress bar."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor
from tqdm import tqdm

from ddcl_tab.nn._network import Output, TableNetwork
from ddcl_tab.nn._quantization import duplicate_prototypes
from ddcl_tab.training._certificate import EpochCertificate, certify_epoch, in_use, measure_reading, usage
from ddcl_tab.training._objective import ANNEALING_SHARE
from ddcl_tab.training._rows import Batch, Batches, RowsDataset

#: Scales are looked for between these.
MIN_SCALE, MAX_SCALE = 0.05, 20.0


def row_losses(logits: NDArray[np.float64], label: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cross-entropy of each row in nats, from logits ``(n, C)`` and labels ``(n,)``.

    Examples
    --------
    >>> row_losses(np.zeros((1, 2)), np.array([0])).round(4)
    array([0.6931])
    """
    return logsumexp(logits, axis=1) - logits[np.arange(len(label)), label]


def best_scale(logits: NDArray[np.float64], label: NDArray[np.int64], weight: NDArray[np.float64]) -> float:
    """Factor on the logits with the lowest weighted cross-entropy: temperature scaling (Guo et al., arXiv:1706.04599).

    As if each class had been found once more, in rows like these (Laplace's rule of succession, as in Platt's scaling):
    thirty rows that are all right are no proof of certainty.

    Examples
    --------
    >>> logits = np.log(np.array([[0.99, 0.01]] * 400))  # 99 % sure, right three times out of four
    >>> scale = best_scale(logits, np.repeat([0, 1], (300, 100)), np.ones(400))
    >>> round(float(np.exp(scale * logits[0, 0]) / np.exp(scale * logits[0]).sum()), 2)
    0.75
    """
    n_classes, n_rows = logits.shape[1], weight.sum() ** 2 / np.square(weight).sum()
    once_more = n_classes / (n_rows + n_classes)

    def loss(log_scale: float) -> float:
        scaled = np.exp(log_scale) * logits
        any_class = logsumexp(scaled, axis=1) - scaled.mean(axis=1)
        return float(np.average((1 - once_more) * row_losses(scaled, label) + once_more * any_class, weights=weight))

    found = minimize_scalar(loss, bounds=(np.log(MIN_SCALE), np.log(MAX_SCALE)), method="bounded")
    return float(np.exp(found.x))


def is_worse(difference: NDArray[np.float64], weight: NDArray[np.float64], group: NDArray[np.int64]) -> bool:
    """Whether a mean loss difference is positive by more than its standard error, with groups as independent units.

    Parameters
    ----------
    difference, weight, group : ndarray, shape (n,)
        Loss minus reference loss of each row, its weight, the number of its group.

    Examples
    --------
    >>> is_worse(np.array([1.0, 1.1, 0.9, 1.0]), np.ones(4), np.arange(4))
    True
    >>> is_worse(np.array([1.0, 1.1, 0.9, 1.0]), np.ones(4), np.zeros(4, dtype=int))  # one group is no evidence
    False
    """
    by_group = np.bincount(np.unique(group, return_inverse=True)[1], weights=weight * difference)
    # Standard error of the sum if the groups' differences are independent with mean zero.
    return float(by_group.sum()) > float(np.sqrt((by_group**2).sum()))


#: Share of the epochs in which prototypes out of use are started anew; the rest is left for them to settle.
RESEED_SHARE = 0.8
#: Steps that a moved duplicate needs to find its place: duplicates found later stay.
SETTLING_STEPS = 300
#: Rows of one pass over the validation part.
VALIDATION_BATCH = 4096
#: Steps over which the learning rates rise from zero, at most a tenth of all.
WARM_UP_STEPS = 100


class EarlyStop(Exception):
    """Raised by a callback to end training early."""


def rate_factor(step: int, n_steps: int) -> float:
    """Factor on both learning rates: a short linear rise, then half a cosine down to zero.

    Examples
    --------
    >>> [round(rate_factor(step, 1000), 2) for step in (0, 50, 500, 1000)]
    [0.01, 0.51, 0.5, 0.0]
    """
    warm_up = min(WARM_UP_STEPS, max(1, n_steps // 10))
    return min(1.0, (step + 1) / warm_up) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / n_steps)))


class LearningRates(Callback):
    """Scale the rates of all parameter groups by :func:`rate_factor`; their ratio stays ``lr_ratio``."""

    def __init__(self, n_steps: int) -> None:
        self.n_steps = n_steps

    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Remember the base rates."""
        self.base_ = [group["lr"] for group in net.optimizer_.param_groups]
        self.step_ = 0

    def on_batch_begin(self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        """Set the rates of the next step."""
        if training:
            for group, base in zip(net.optimizer_.param_groups, self.base_, strict=True):
                group["lr"] = base * rate_factor(self.step_, self.n_steps)
            self.step_ += 1


class Certify(Callback):
    """Measure the readout on a fixed batch after every epoch, and the whole certificate as often as asked.

    Parameters
    ----------
    batch : Batch
        The probe batch.
    certify : {"epoch", "end", False}
        After every epoch, after the last one, or never.
    """

    def __init__(self, batch: Batch, certify: str | bool) -> None:
        self.batch, self.certify = batch, certify

    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Forget earlier fits."""
        self.epochs_: list[EpochCertificate] = []

    def on_epoch_end(self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Measure and record."""
        output = self._read(net)
        measured = self._measure(net, output)
        for name, value in measured.items():
            net.history.record(name, value)
        if self.certify == "epoch":
            self._certify(net, output, measured)

    def on_train_end(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Certify the last epoch, before the best one's weights come back."""
        if self.certify == "end" and len(net.history):
            output = self._read(net)
            self._certify(net, output, self._measure(net, output))

    @torch.no_grad()
    def _read(self, net: NeuralNet) -> Output:
        net.module_.eval()
        return net.module_(**self.batch.inputs)

    def _measure(self, net: NeuralNet, output: Output) -> dict[str, Any]:
        return measure_reading(output.reading, net.module_.readout.prototypes, self.batch.weight)

    def _certify(self, net: NeuralNet, output: Output, measured: dict[str, Any]) -> None:
        start = time.perf_counter()
        self.epochs_.append(
            certify_epoch(len(net.history), net.module_, net.criterion_, net.optimizer_, output, self.batch, measured)
        )
        net.history.record("certify_seconds", time.perf_counter() - start)


class Reseed(Callback):
    """Give prototypes out of use and duplicates another start: at tokens of the probe batch with a large error.

    As the encoder moves, a prototype can be left behind where no token comes any more. It would stay there: with next
    to no membership it feels next to no gradient. Two that meet stay together: they feel the same gradient. Before the
    temperature has come down all of them stand close, so duplicates count from the end of the annealing on, as long as
    :data:`SETTLING_STEPS` are left. Only epochs of the first :data:`RESEED_SHARE` of training do this.
    """

    def __init__(self, batch: Batch, max_epochs: int, epoch_steps: int, generator: torch.Generator) -> None:
        self.batch, self.max_epochs, self.epoch_steps, self.generator = batch, max_epochs, epoch_steps, generator

    @torch.no_grad()
    def on_epoch_end(self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Move them and forget their part of the optimiser's state."""
        net.history.record("reseeded", 0)
        epoch = len(net.history)
        if epoch > RESEED_SHARE * self.max_epochs:
            return
        network = net.module_.eval()
        reading = network(**self.batch.inputs).reading
        prototypes = network.readout.prototypes
        q, distances = (part.flatten(0, 1) for part in (reading.assignment.q, reading.assignment.distances))
        z, weight = reading.z.flatten(0, 1), self.batch.weight.repeat_interleave(reading.z.shape[1])
        moved = torch.nonzero(~in_use(usage(q))).flatten()
        steps_left = (self.max_epochs - epoch) * self.epoch_steps
        if epoch > ANNEALING_SHARE * self.max_epochs and steps_left >= SETTLING_STEPS:
            moved = torch.unique(torch.cat([moved, duplicate_prototypes(prototypes, network.readout.temperature)]))
        distortion = weight * (q * distances).sum(-1)
        if not len(moved) or not bool(distortion.sum() > 0):
            return
        chosen = torch.multinomial(distortion.cpu(), len(moved), replacement=True, generator=self.generator)
        prototypes[moved] = z[chosen.to(z.device)]
        moments = net.optimizer_.state[prototypes]
        # No momentum from the old place; an average second moment, for a zero one would make the first step huge.
        if "exp_avg" in moments:
            moments["exp_avg"][moved] = 0.0
            moments["exp_avg_sq"][moved] = moments["exp_avg_sq"].mean(dim=0)
        net.history.record("reseeded", len(moved))


class BestEpoch(Callback):
    """Keep the last epoch that is no worse than the best one in validation; stop after ``patience`` worse ones.

    The loss of an epoch is taken at the best scale of its logits (:func:`best_scale`), because a network grows
    overconfident long before its classification stops improving; the head of the epoch kept is multiplied by that
    scale. An epoch is worse than the best one if the mean difference of their losses exceeds its standard error, with
    groups as the independent units: a validation part of a few hundred launches cannot rank epochs more finely, and
    among equals the last has been annealed longest. Only epochs after the annealing of the temperature count. Without
    validation rows the last epoch is kept as it is.
    """

    def __init__(self, validation: RowsDataset | None, max_epochs: int, patience: int) -> None:
        self.validation, self.max_epochs, self.patience = validation, max_epochs, patience

    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Forget earlier fits."""
        self.first_ = min(self.max_epochs, math.ceil(ANNEALING_SHARE * self.max_epochs) + 1)
        self.epoch_, self.scale_ = 0, 1.0
        self.best_: NDArray[np.float64] | None = None
        self.weights_: dict[str, Tensor] | None = None

    def on_epoch_end(self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Measure, compare, keep, perhaps stop."""
        epoch = len(net.history)
        if self.validation is None:
            self.epoch_ = epoch
            return
        logits, label, weight = _decide(net.module_, self.validation)
        scale = best_scale(logits, label, weight)
        losses = row_losses(scale * logits, label)
        net.history.record("valid_loss", float(np.average(row_losses(logits, label), weights=weight)))
        net.history.record("calibrated_loss", float(np.average(losses, weights=weight)))
        if epoch < self.first_:
            return
        if self.best_ is None or np.average(losses - self.best_, weights=weight) < 0:
            self.best_ = losses
        if not is_worse(losses - self.best_, weight, self.validation.group):
            self.epoch_, self.scale_ = epoch, scale
            self.weights_ = {name: value.clone() for name, value in net.module_.state_dict().items()}
        elif epoch - self.epoch_ >= self.patience:
            raise EarlyStop

    @torch.no_grad()
    def on_train_end(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Put the weights of that epoch back, calibrated."""
        if self.weights_ is not None:
            net.module_.load_state_dict(self.weights_)
            net.module_.head.weight.mul_(self.scale_)
            net.module_.head.bias.mul_(self.scale_)


@torch.no_grad()
def _decide(network: TableNetwork, rows: RowsDataset) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    network.eval()
    logits = torch.cat([network(**batch.inputs).logits for batch in Batches(rows, VALIDATION_BATCH)])
    return logits.cpu().double().numpy(), rows.label, rows.weight.cpu().double().numpy()


class Progress(Callback):
    """Progress bar over all steps: epoch, losses, temperature, time left."""

    def __init__(self, n_steps: int, max_epochs: int) -> None:
        self.n_steps, self.max_epochs = n_steps, max_epochs
        self.bar_: Any = None

    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Open the bar."""
        self.bar_ = tqdm(
            total=self.n_steps,
            initial=net.step_,  # steps of the training that this one goes on with
            unit="step",
            desc=f"epoch {min(len(net.history) + 1, self.max_epochs)}/{self.max_epochs}",
            dynamic_ncols=True,
            mininterval=0.2 if sys.stderr.isatty() else 10.0,
        )

    def on_batch_end(self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        """One step further."""
        if training:
            self.bar_.update()

    def on_epoch_end(self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Show the losses of the epoch."""
        row = net.history[-1]
        losses = {name: f"{row[f'{name}_loss']:.3f}" for name in ("train", "valid") if f"{name}_loss" in row}
        self.bar_.set_description(
            f"epoch {min(len(net.history) + 1, self.max_epochs)}/{self.max_epochs}", refresh=False
        )
        self.bar_.set_postfix(losses | {"L_q": f"{row['quantization']:.2f}", "tau": f"{row['tau']:.3f}"}, refresh=False)

    def on_train_end(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Close the bar if it is open."""
        if self.bar_ is not None:
            self.bar_.close()
