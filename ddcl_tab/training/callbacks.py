"""skorch callbacks: learning rate, probe, best epoch, progress bar."""

from __future__ import annotations

import math
from typing import Any

from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor
from tqdm import tqdm

from ddcl_tab.errors import TrainingError
from ddcl_tab.training.measure import probe_epoch
from ddcl_tab.training.temperature import ANNEALING_SHARE

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


class Probe(Callback):
    """Record :func:`probe_epoch` of a fixed batch after every epoch."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def on_epoch_end(self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Measure and record."""
        inputs, (_, weight) = self.batch
        for name, value in probe_epoch(net.module_, inputs, weight).items():
            net.history.record(name, value)


class BestEpoch(Callback):
    """Keep the weights of the epoch with the lowest validation loss, and stop after ``patience`` worse ones.

    Only epochs after the annealing count: before it the temperature, and with it the prototypes' meaning, still moves.
    """

    def __init__(self, max_epochs: int, patience: int) -> None:
        self.max_epochs, self.patience = max_epochs, patience

    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Forget earlier fits."""
        self.first_ = min(self.max_epochs, math.ceil(ANNEALING_SHARE * self.max_epochs) + 1)
        self.epoch_, self.loss_ = 0, math.inf
        self.weights_: dict[str, Tensor] | None = None

    def on_epoch_end(self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Compare, keep, perhaps stop."""
        epoch = len(net.history)
        loss = net.history[-1].get("valid_loss", net.history[-1]["train_loss"])
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} in epoch {epoch}: training diverged. Lower lr (now {net.lr}) or lr_ratio."
            )
        if epoch < self.first_:
            return
        if loss < self.loss_ or "valid_loss" not in net.history[-1]:
            self.epoch_, self.loss_ = epoch, loss
            self.weights_ = {name: value.clone() for name, value in net.module_.state_dict().items()}
        elif epoch - self.epoch_ >= self.patience:
            raise EarlyStop

    def on_train_end(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Put the best weights back."""
        if self.weights_ is not None:
            net.module_.load_state_dict(self.weights_)


class Progress(Callback):
    """Progress bar over all steps: epoch, losses, temperature, time left."""

    def __init__(self, n_steps: int, max_epochs: int) -> None:
        self.n_steps, self.max_epochs = n_steps, max_epochs

    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Open the bar."""
        self.bar_ = tqdm(total=self.n_steps, unit="step", desc=f"epoch 1/{self.max_epochs}", dynamic_ncols=True)

    def on_batch_end(self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        """One step further."""
        if training:
            self.bar_.update()

    def on_epoch_end(self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Show the losses of the epoch."""
        row = net.history[-1]
        losses = {name: f"{row[f'{name}_loss']:.3f}" for name in ("train", "valid") if f"{name}_loss" in row}
        self.bar_.set_description(f"epoch {min(len(net.history) + 1, self.max_epochs)}/{self.max_epochs}")
        self.bar_.set_postfix(losses | {"L_q": f"{row['quantization']:.2f}", "tau": f"{row['tau']:.3f}"})

    def on_train_end(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Close the bar."""
        self.bar_.close()
