"""Checkpoint of a training: one file, replaced after every epoch, from which a killed training goes on.

It holds all that the following epochs depend on. Ctrl-C is noted when it comes and raised between two steps.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor

from ddcl_tab._files import CHECKPOINT, plain, read_model, remove_leftovers, write_model
from ddcl_tab.errors import CheckpointError, WriteError
from ddcl_tab.nn._network import Dropout
from ddcl_tab.training._callbacks import BestEpoch, Certify, LearningRates
from ddcl_tab.training._certificate import EpochCertificate
from ddcl_tab.training._rows import Rows


class Interrupts:
    """Hold SIGINT back while in use, up to the next call of :meth:`check`; the second one is raised at once.

    Python raises KeyboardInterrupt wherever it happens to be. In a destructor or a callback from compiled code it would
    be printed and forgotten, and training would go on. Outside the main thread, or where SIGINT does something else,
    nothing is held back.

    Examples
    --------
    >>> before = signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
    >>> with Interrupts() as interrupts:
    ...     signal.raise_signal(signal.SIGINT)
    ...     interrupts.take()
    True
    >>> _ = signal.signal(signal.SIGINT, before)
    """

    def __enter__(self) -> Self:
        self._pending = False
        self._holds = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._holds:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Hold back no longer; raises what has come since the last check."""
        if self._holds:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if kind is None:
            self.check()

    def check(self) -> None:
        """Raise KeyboardInterrupt if a SIGINT has come."""
        if self.take():
            raise KeyboardInterrupt

    def take(self) -> bool:
        """Whether a SIGINT has come; it counts as answered."""
        pending, self._pending = self._pending, False
        return pending

    def _note(self, number: int, frame: Any) -> None:
        if self._pending:
            self.check()
        self._pending = True


class Parts(NamedTuple):
    """What has a state beside the net."""

    rates: LearningRates
    certificate: Certify
    best: BestEpoch
    generator: torch.Generator


class Snapshot(NamedTuple):
    """State after a whole epoch.

    Attributes
    ----------
    plain : dict
        JSON values: history, certificates, counters.
    tensors : dict of Tensor
        Copies on the CPU: weights, gradients, the optimiser's moments, generators, covariance, the best epoch.
    """

    plain: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.plain["history"])


def take_snapshot(net: NeuralNet, parts: Parts) -> Snapshot:
    """Copy the state of a net whose epoch has ended."""
    best = parts.best
    plain = {
        "history": [{name: value for name, value in row.items() if name != "batches"} for row in net.history],
        "certificates": [asdict(epoch) for epoch in parts.certificate.epochs_],
        "rates": [group["lr"] for group in net.optimizer_.param_groups],
        "rate_step": parts.rates.step_,
        "step": net.step_,
        "best_epoch": best.epoch_,
        "best_scale": best.scale_,
    }
    tensors = dict(_places(net, parts)) | dict(_moments(net))
    for name, generator in _generators(net, parts):
        tensors[name] = generator.get_state()
    if best.best_ is not None and best.weights_ is not None:
        tensors["best/losses"] = torch.from_numpy(best.best_)
        tensors |= {f"best/weights/{name}": value for name, value in best.weights_.items()}
    return Snapshot(plain, {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()})


def restore_snapshot(net: NeuralNet, parts: Parts, snapshot: Snapshot) -> None:
    """Bring a net and its parts, built in the same way, to a snapshot.

    Parameters
    ----------
    net : NeuralNet
        Its training has begun (``on_train_begin``).
    parts : Parts
    snapshot : Snapshot
        Stays as it is.
    """
    plain, tensors = snapshot
    net.history[:] = [{"batches": [], **row} for row in plain["history"]]
    net.step_, parts.rates.step_ = plain["step"], plain["rate_step"]
    for group, lr in zip(net.optimizer_.param_groups, plain["rates"], strict=True):
        group["lr"] = lr
    parts.certificate.epochs_ = [EpochCertificate(**epoch) for epoch in plain["certificates"]]
    _restore_optimizer(net, tensors)
    with torch.no_grad():
        for name, place in _places(net, parts):
            place.copy_(tensors[name])
    for name, generator in _generators(net, parts):
        generator.set_state(tensors[name])
    best = parts.best
    best.epoch_, best.scale_ = plain["best_epoch"], plain["best_scale"]
    best.best_ = tensors["best/losses"].numpy().copy() if "best/losses" in tensors else None
    weights = _below("best/weights/", tensors)
    best.weights_ = {name: value.clone() for name, value in weights.items()} or None


def _places(net: NeuralNet, parts: Parts) -> Iterator[tuple[str, Tensor]]:
    """Tensors of fixed shape that live as long as the net: weights, their gradients, the tokens' moments."""
    for kind, module in (("network", net.module_), ("objective", net.criterion_)):
        for name, value in module.state_dict().items():
            yield f"{kind}/{name}", value
    for name, parameter in _parameters(net):
        if parameter.grad is not None:  # the certificate reads the gradients of the last step
            yield f"gradient/{name}", parameter.grad
    yield "tokens/mean", net.covariance_.mean
    yield "tokens/covariance", net.covariance_.covariance


def _moments(net: NeuralNet) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in _parameters(net):
        for key, value in net.optimizer_.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                yield f"moment/{name}/{key}", value


def _restore_optimizer(net: NeuralNet, tensors: dict[str, Tensor]) -> None:
    """Moments and gradients, which a net that has not trained yet lacks."""
    for name, parameter in _parameters(net):
        gradient = tensors.get(f"gradient/{name}")
        parameter.grad = None if gradient is None else torch.empty_like(parameter)
        moments = _below(f"moment/{name}/", tensors)
        if moments:
            # Copies on the parameter's device; fused optimisers keep the step counter there, too.
            net.optimizer_.state[parameter] = {
                key: value.clone().to(parameter.device, value.dtype) for key, value in moments.items()
            }


def _parameters(net: NeuralNet) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """All parameters that the optimiser moves, named by their place in it."""
    for g, group in enumerate(net.optimizer_.param_groups):
        for i, parameter in enumerate(group["params"]):
            yield f"{g}.{i}", parameter


def _generators(net: NeuralNet, parts: Parts) -> Iterator[tuple[str, torch.Generator]]:
    yield "generator/training", parts.generator
    # Every dropout of a network draws from the same generator.
    for module in net.module_.modules():
        if isinstance(module, Dropout):
            yield "generator/dropout", module.generator
            return


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


#: Parameters that do not decide what training gives; ``random_state`` is in the seed that was drawn from it.
_LEFT_OUT = ("verbose", "random_state")
#: Packages whose arithmetic training is made of.
_PACKAGES = ("ddcl-tab", "numpy", "scikit-learn", "torch")


def training_fingerprint(
    parameters: dict[str, Any], classes: list[Any], encoder: dict[str, Any], rows: Rows, seed: int
) -> dict[str, str]:
    """All that decides what training gives, by the names that a user knows.

    Parameters
    ----------
    parameters : dict
        Of the estimator.
    classes : list
        Its class labels.
    encoder : dict
        State of what turns a table into rows, as plain values.
    rows : Rows
        Merged, before a validation part is set aside.
    seed : int
        Drawn from ``random_state``.

    Returns
    -------
    dict of str
    """
    return (
        {name: repr(value) for name, value in parameters.items() if name not in _LEFT_OUT}
        | {
            "seed": str(seed),
            "classes": repr(classes),
            "columns": _digest(json.dumps(encoder, default=repr).encode()),
            "training rows": _digest(*(np.ascontiguousarray(part).tobytes() for part in rows)),
        }
        | {f"version of {name}": version(name) for name in _PACKAGES}
    )


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:12]


class CheckpointFile:
    """Where a training keeps its checkpoint, and whether it goes on with the one that is there.

    Parameters
    ----------
    path : path
        Its folder exists; one training at a time uses it.
    resume : bool, default=False
        Go on with the checkpoint there; without one, begin.

    Raises
    ------
    CheckpointError
        ``resume`` and the file there is no whole checkpoint of this version.

    Examples
    --------
    >>> CheckpointFile("nowhere/checkpoint.ddcl", resume=True).epoch
    0
    """

    def __init__(self, path: str | os.PathLike[str], *, resume: bool = False) -> None:
        self.path = Path(path)
        self.fingerprint: dict[str, str] = {}
        self._earlier: Snapshot | None = None
        self._made_for: dict[str, str] = {}
        self._is_ours = False
        if resume and self.path.exists():
            self._earlier, self._made_for = self._read()
            self._is_ours = True

    @property
    def epoch(self) -> int:
        """Epochs done that training goes on after."""
        return 0 if self._earlier is None else self._earlier.epoch

    @property
    def is_ours(self) -> bool:
        """Whether the file there is a checkpoint of this training, not one that it has yet to replace."""
        return self._is_ours

    @property
    def earlier(self) -> Snapshot | None:
        """State to go on with."""
        return self._earlier

    def identify(self, fingerprint: dict[str, str]) -> None:
        """Say what is going to be trained.

        Parameters
        ----------
        fingerprint : dict of str
            All that decides what training gives, by the names that a user knows.

        Raises
        ------
        CheckpointError
            The checkpoint to go on with was made for something else; says what differs.
        """
        self.fingerprint = fingerprint
        if self._earlier is None or self._made_for == fingerprint:
            return
        names = [n for n in fingerprint | self._made_for if fingerprint.get(n) != self._made_for.get(n)]
        differs = "; ".join(f"{n} was {self._made_for.get(n)}, is {fingerprint.get(n)}" for n in names)
        raise CheckpointError(
            f"{self.path}: made for another training ({differs}). Give the same catalog and settings with the same "
            "versions, or train without --resume, which replaces it."
        )

    def write(self, snapshot: Snapshot) -> None:
        """Replace the file.

        Raises
        ------
        WriteError
            The disk is full, for example; the earlier checkpoint is whole.
        """
        state = {"fingerprint": self.fingerprint, "training": plain(snapshot.plain)}
        try:
            write_model(self.path, state, {n: t.numpy() for n, t in snapshot.tensors.items()}, CHECKPOINT)
        except WriteError as error:
            kept = "Then go on from the last checkpoint with --resume." if self._is_ours else "No epoch is saved."
            raise WriteError(f"training ends after epoch {snapshot.epoch}: {error} {kept}") from error
        self._is_ours = True

    def remove(self) -> None:
        """Remove it, with what killed writers left beside it: the training is finished."""
        self.path.unlink(missing_ok=True)
        remove_leftovers(self.path)

    def _read(self) -> tuple[Snapshot, dict[str, str]]:
        state, weights, _ = read_model(self.path, CHECKPOINT)
        tensors = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
        return Snapshot(state["training"], tensors), state["fingerprint"]


class Checkpoint(Callback):
    """Write a checkpoint after every epoch; begin from the one that is there.

    Parameters
    ----------
    file : CheckpointFile
    parts : Parts
        Of the training.
    """

    def __init__(self, file: CheckpointFile, parts: Parts) -> None:
        self.file, self.parts, self.interrupts = file, parts, Interrupts()
        self.snapshot_: Snapshot | None = None

    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Go on where the earlier training was; the parts have begun before."""
        remove_leftovers(self.file.path)
        self.snapshot_ = self.file.earlier
        if self.snapshot_ is not None:
            self.rewind(net)

    def on_epoch_end(self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Keep the state of this epoch, in memory and in the file."""
        self.snapshot_ = take_snapshot(net, self.parts)
        self.file.write(self.snapshot_)

    def on_batch_end(self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        """Let a SIGINT through, now that the step is done."""
        self.interrupts.check()

    def rewind(self, net: NeuralNet) -> None:
        """Bring the net back to the end of the last whole epoch."""
        if self.snapshot_ is not None:
            restore_snapshot(net, self.parts, self.snapshot_)
