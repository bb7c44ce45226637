"""State of a training between two epochs: all that the following ones depend on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from skorch import NeuralNet
from torch import Tensor

from ddcl_tab.nn.encoder import Dropout
from ddcl_tab.training.callbacks import BestEpoch, Certify, LearningRates
from ddcl_tab.training.certificate import EpochCertificate


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
