"""Where to search: default ranges, and the window of ``lr_ratio`` measured on a reference fit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.estimators.parameters import check_parameters
from ddcl_tab.training.stability import CONDITIONS, Stability

#: Lag wanted at the smallest ``lr_ratio``: where the certificate calls it too large.
WANTED_LAG = CONDITIONS["tracking"].limit
#: Whatever was measured, ``lr_ratio`` is searched inside this window.
RATIO_LIMITS = (0.1, 1000.0)
#: The window of ``lr_ratio`` is at least this factor wide.
LEAST_WIDTH = 4.0


@dataclass(frozen=True)
class Window:
    """Range of ``lr_ratio`` with the figures it was made from.

    Attributes
    ----------
    low, high : float
    sharpness : float
        Worst of the reference fit: the prototypes' step over the largest stable one.
    lag : float
        At the end of the reference fit: the share of their way that the prototypes still had to go.
    """

    low: float
    high: float
    sharpness: float
    lag: float


def measure_window(stability: Stability, lr_ratio: float) -> Window:
    """Window of ``lr_ratio`` from the certificate of one fit.

    Sharpness is proportional to the prototypes' rate, so the largest stable ratio is ``lr_ratio / sharpness``. The
    lag goes like one over the ratio, so the smallest ratio is ``lr_ratio * lag / WANTED_LAG`` (docs/theory.md, sections
    e and f). Both hold at the curvatures and the encoder's rate of this fit: the window says where to look,
    and every trial is still judged by its own certificate. The ratio of a fit that was stable is always inside.

    Parameters
    ----------
    stability : Stability
        Of a fit with ``certify="epoch"``. Its first epoch counts only if it is the only one, since Adam has not settled
        in it. Without epochs, or with a figure that is not finite, that side of the window stays at its limit.
    lr_ratio : float
        Of that fit.

    Examples
    --------
    >>> measure_window(Stability(()), 10.0)
    Window(low=0.1, high=1000.0, sharpness=nan, lag=nan)
    """
    epochs = stability.epochs[1:] or stability.epochs
    sharpness = _worst([epoch.sharpness for epoch in epochs])
    lag = _worst([epoch.lag for epoch in epochs[-1:]])
    floor, ceiling = RATIO_LIMITS
    high = lr_ratio / sharpness if 0.0 < sharpness < math.inf else ceiling
    low = lr_ratio * lag / WANTED_LAG if lag < math.inf else floor
    high = min(max(high, floor * LEAST_WIDTH), ceiling)
    low = min(max(low, floor), high / LEAST_WIDTH)
    if stability.is_stable:
        low, high = min(low, lr_ratio), max(high, lr_ratio)
    return Window(low, high, sharpness, lag)


def _worst(figures: list[float]) -> float:
    return math.nan if not figures or any(map(math.isnan, figures)) else max(figures)


def default_space(parameters: dict[str, Any], window: Window | None) -> dict[str, BaseDistribution]:
    """Default ranges for catalogs, each wide enough to hold the estimator's own value.

    Parameters
    ----------
    parameters : dict
        Of the :class:`~ddcl_tab.DDCLClassifier`.
    window : Window or None
        Range of ``lr_ratio``; None leaves it out.
    """
    heads = int(parameters["n_heads"])
    narrowest = math.ceil(32 / heads) * heads
    space: dict[str, BaseDistribution] = {
        "n_prototypes": IntDistribution(8, 64, log=True),
        "lr": FloatDistribution(5e-4, 1e-2, log=True),
        # Warmer scores well, but leaves prototypes at one place: six of 18 at 0.22 on the synthetic catalog.
        "temperature": FloatDistribution(0.003, 0.03, log=True),
        "quantization_weight": FloatDistribution(0.01, 1.0, log=True),
        "n_blocks": IntDistribution(1, 3),
        "d_token": IntDistribution(narrowest, max(96 // heads * heads, narrowest), step=heads),
    }
    space = {name: _widened(distribution, parameters[name]) for name, distribution in space.items()}
    if window is not None:
        space["lr_ratio"] = FloatDistribution(window.low, window.high, log=True)
    return space


def _widened(distribution: Any, own: float) -> BaseDistribution:
    low, high = min(distribution.low, own), max(distribution.high, own)
    return type(distribution)(low, high, log=distribution.log, step=distribution.step)


def ends(distribution: BaseDistribution) -> tuple[Any, ...]:
    """Smallest and largest value, or all choices."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)  # Optuna has no fourth kind
    return distribution.low, distribution.high


def inside(distribution: BaseDistribution, value: Any) -> Any:
    """``value`` brought into the range, or None where that is no small change: a choice, or between two steps."""
    if isinstance(distribution, CategoricalDistribution):
        return value if value in distribution.choices else None
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    value = min(max(value, distribution.low), distribution.high)
    step = distribution.step
    return None if step is not None and (value - distribution.low) % step else value


def broken_rules(space: dict[str, Any], parameters: dict[str, Any], prefix: str, known: list[str]) -> list[str]:
    """What is wrong with a space that a user gave, a sentence each.

    Parameters
    ----------
    space : dict
        Parameter name to distribution, or to None to keep the estimator's own value.
    parameters : dict
        Of the :class:`~ddcl_tab.DDCLClassifier`.
    prefix : str
        What its parameters begin with in ``space``, such as ``"clf__"``.
    known : list of str
        All parameters of the estimator.
    """
    broken = []
    for name, distribution in space.items():
        if name not in known:
            broken.append(f"space names {name!r}, which is no parameter of the estimator; known are {', '.join(known)}")
        elif distribution is not None and not isinstance(distribution, BaseDistribution):
            broken.append(f"space[{name!r}] must be an Optuna distribution or None, not {distribution!r}")
        elif distribution is not None and name.startswith(prefix):
            broken += _broken_ends(name.removeprefix(prefix), distribution, space, parameters, prefix)
    return broken


def _broken_ends(
    name: str, distribution: BaseDistribution, space: dict[str, Any], parameters: dict[str, Any], prefix: str
) -> list[str]:
    partner = {"d_token": "n_heads", "n_heads": "d_token"}.get(name)
    # Where both are searched, whether one divides the other is known only in a trial.
    fixed = {partner: parameters[partner]} if partner and space.get(prefix + partner) is None else {}
    broken = []
    for value in ends(distribution):
        try:
            check_parameters({name: value} | fixed)
        except ConfigurationError as error:
            broken += [f"space[{prefix + name!r}]: {line}" for line in str(error).split("\n  ")[1:]]
    return broken
