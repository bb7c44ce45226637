"""Check all constructor parameters at once."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from ddcl_tab.errors import ConfigurationError


class Rule(NamedTuple):
    """A condition on one parameter and how to say it."""

    holds: Callable[[Any], bool]
    text: str


def _integer(lower: int) -> Rule:
    return Rule(
        lambda v: isinstance(v, numbers.Integral) and not isinstance(v, bool) and int(v) >= lower,
        f"an integer of at least {lower}",
    )


def _number(holds: Callable[[float], bool], text: str) -> Rule:
    return Rule(
        lambda v: isinstance(v, numbers.Real) and not isinstance(v, bool) and holds(_float(v)), f"a number {text}"
    )


def _float(value: Any) -> float:
    """The value as a float; an integer beyond all floats counts as infinite."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _is_device(value: Any) -> bool:
    try:
        torch.device(value)
    except (RuntimeError, TypeError):
        return False
    return True


_POSITIVE = _number(lambda v: 0.0 < v < float("inf"), "above 0")
_NOT_NEGATIVE = _number(lambda v: 0.0 <= v < float("inf"), "of at least 0")

RULES: dict[str, Rule] = {
    "n_prototypes": _integer(2),
    "temperature": _number(
        lambda v: 0.0 < v < 1.0,
        "in (0, 1): it is relative to the critical temperature, and from 1 on collapsed prototypes stay so",
    ),
    "lr": _POSITIVE,
    "lr_ratio": _POSITIVE,
    "quantization_weight": _POSITIVE,
    "column_weight": _NOT_NEGATIVE,
    "teacher_share": _number(lambda v: 0.0 <= v <= 1.0, "in [0, 1]"),
    "d_token": _integer(1),
    "n_blocks": _integer(1),
    "n_heads": _integer(1),
    "dropout": _number(lambda v: 0.0 <= v < 1.0, "in [0, 1)"),
    "batch_size": _integer(1),
    "max_epochs": _integer(1),
    "patience": _integer(1),
    "validation_fraction": _number(lambda v: 0.0 <= v < 1.0, "in [0, 1)"),
    "class_weight": Rule(
        lambda v: v is None or isinstance(v, dict) or (isinstance(v, str) and v == "balanced"),
        "None, 'balanced' or a dict from class to weight",
    ),
    "target": Rule(lambda v: isinstance(v, str) and bool(v), "the name of a column"),
    "allow_leaks": Rule(lambda v: isinstance(v, bool), "True or False"),
    "certify": Rule(lambda v: v is False or v in ("epoch", "end"), "'epoch', 'end' or False"),
    "device": Rule(_is_device, "a torch device such as 'cpu' or 'cuda'"),
    "verbose": _integer(0),
}


def check_parameters(parameters: dict[str, Any]) -> None:
    """Check constructor parameters.

    Parameters
    ----------
    parameters : dict
        As ``get_params`` returns them.

    Raises
    ------
    ConfigurationError
        Lists every parameter that breaks its rule.

    Examples
    --------
    >>> check_parameters({"lr": -1.0, "n_blocks": 0, "dropout": 0.1})
    Traceback (most recent call last):
    ddcl_tab.errors.ConfigurationError: 2 parameters break their rules:
      lr must be a number above 0, not -1.0
      n_blocks must be an integer of at least 1, not 0
    """
    broken = [
        f"{name} must be {rule.text}, not {parameters[name]!r}"
        for name, rule in RULES.items()
        if name in parameters and not rule.holds(parameters[name])
    ]
    weights = parameters.get("class_weight")
    for key, weight in weights.items() if isinstance(weights, dict) else ():
        if not _NOT_NEGATIVE.holds(weight):
            broken.append(f"class_weight[{key!r}] must be {_NOT_NEGATIVE.text}, not {weight!r}")
    d_token, n_heads = parameters.get("d_token"), parameters.get("n_heads")
    if not broken and d_token is not None and n_heads is not None and d_token % n_heads:
        broken.append(f"d_token must be a multiple of n_heads ({n_heads}), not {d_token}")
    if broken:
        count = "1 parameter breaks its rule" if len(broken) == 1 else f"{len(broken)} parameters break their rules"
        raise ConfigurationError("\n  ".join([f"{count}:", *broken]))
