"""Where to search: default ranges, the window of ``lr_ratio`` from a reference fit; the check of all parameters."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.metrics import get_scorer_names
from sklearn.pipeline import Pipeline

from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._validation import (
    Requirement,
    broken_parameters,
    broken_rules,
    check_parameters,
    integer,
    is_integer,
    number,
    refuse_broken,
)
from ddcl_tab.training._stability import CONDITIONS, Stability
from ddcl_tab.tuning._study import is_url

#: Lag wanted at the smallest ``lr_ratio``: where the certificate calls it too large.
WANTED_LAG = CONDITIONS["tracking"].limit
#: Step wanted at the largest ``lr_ratio``, over the largest stable one: other rows and sizes have other curvatures, and
#: the best trial is fitted again on all rows.
WANTED_SHARPNESS = 0.5
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
        In the epoch of the reference fit that was kept: the share of their way that the prototypes still had to go.
    """

    low: float
    high: float
    sharpness: float
    lag: float


def measure_window(stability: Stability, lr_ratio: float) -> Window:
    """Window of ``lr_ratio`` from the certificate of one fit.

    Sharpness is proportional to the prototypes' rate, so the largest stable ratio is ``lr_ratio / sharpness``; half of
    it is searched. The lag goes like one over the ratio, so the smallest ratio is ``lr_ratio * lag / WANTED_LAG``
    (docs/theory.md, sections e and f). Both hold at the curvatures and the encoder's rate of this fit: the window says
    where to look, and every trial is still judged by its own certificate. The ratio of a fit that was stable is always
    inside.

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
    sharpness = lag = math.nan
    if stability.epochs:
        sharpness = stability.worst(CONDITIONS["fast_step"]).sharpness
        lag = stability.worst(CONDITIONS["tracking"]).lag
    floor, ceiling = RATIO_LIMITS
    high = lr_ratio * WANTED_SHARPNESS / sharpness if 0.0 < sharpness < math.inf else ceiling
    low = lr_ratio * lag / WANTED_LAG if lag < math.inf else floor
    high = min(max(high, floor * LEAST_WIDTH), ceiling)
    low = min(max(low, floor), high / LEAST_WIDTH)
    if stability.is_stable:
        low, high = min(low, lr_ratio), max(high, lr_ratio)
    return Window(low, high, sharpness, lag)


def default_space(parameters: dict[str, Any], window: Window | None) -> dict[str, BaseDistribution]:
    """Default ranges for catalogs, each wide enough to hold the estimator's own value, where it has one.

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
        "n_prototypes": IntDistribution(16, 128, log=True),
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


def _widened(distribution: Any, own: float | None) -> BaseDistribution:
    if own is None:
        return distribution
    low, high = min(distribution.low, own), max(distribution.high, own)
    return type(distribution)(low, high, log=distribution.log, step=distribution.step)


def ends(distribution: BaseDistribution) -> tuple[Any, ...]:
    """Smallest and largest value, or all choices."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)  # Optuna has no fourth kind
    return distribution.low, distribution.high


def inside(distribution: BaseDistribution, value: Any) -> Any:
    """``value`` brought into the range, or None where it is none, a choice that is not there, or between two steps."""
    if isinstance(distribution, CategoricalDistribution):
        return value if value in distribution.choices else None
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if value is None:
        return None
    value = min(max(value, distribution.low), distribution.high)
    step = distribution.step
    return None if step is not None and (value - distribution.low) % step else value


def broken_space(space: dict[str, Any], parameters: dict[str, Any], prefix: str, known: list[str]) -> list[str]:
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
        broken += [f"space[{prefix + name!r}]: {line}" for line in broken_parameters({name: value} | fixed)]
    return broken


_SECONDS = number(lambda v: v > 0.0, "of seconds above 0")
_OPTIONS: dict[str, Requirement] = {
    "n_trials": integer(1),
    "timeout": Requirement(lambda v: v is None or _SECONDS.holds(v), f"None or {_SECONDS.text}"),
    "scoring": Requirement(
        lambda v: callable(v) or v in get_scorer_names(), "the name of a scikit-learn scorer or a callable"
    ),
    "storage": Requirement(
        lambda v: v is None or isinstance(v, str | os.PathLike), "None, the path of a file or a URL"
    ),
    "study_name": Requirement(lambda v: v is None or (isinstance(v, str) and bool(v)), "None or a name"),
    "n_jobs": Requirement(lambda v: v is None or (is_integer(v) and v != 0), "None or an integer other than 0"),
    "space": Requirement(
        lambda v: v is None or isinstance(v, dict), "None or a dict from parameter name to distribution"
    ),
    "refit": Requirement(lambda v: isinstance(v, bool), "True or False"),
    "verbose": integer(0),
}


def prefix_of(estimator: object) -> str | None:
    """What the classifier's parameters begin with, or None where there is no classifier to tune."""
    if isinstance(estimator, DDCLClassifier):
        return ""
    if isinstance(estimator, Pipeline) and isinstance(estimator.steps[-1][1], DDCLClassifier):
        return f"{estimator.steps[-1][0]}__"
    return None


def check_search(parameters: dict[str, Any]) -> str:
    """Check constructor parameters of :class:`~ddcl_tab.tuning.DDCLSearchCV`.

    Parameters
    ----------
    parameters : dict
        As ``get_params(deep=False)`` returns them.

    Returns
    -------
    str
        What the classifier's parameters begin with: ``""``, or ``"STEP__"`` in a Pipeline.

    Raises
    ------
    ConfigurationError
        Lists every parameter that breaks its rule.
    """
    broken = broken_rules(parameters, _OPTIONS)
    storage, estimator = parameters["storage"], parameters["estimator"]
    if storage is None and parameters["n_jobs"] not in (None, 1):
        broken.append("storage must be a file or a URL where n_jobs is not 1: the processes meet there")
    if isinstance(storage, str | os.PathLike) and not is_url(str(storage)) and not Path(storage).parent.is_dir():
        broken.append(f"storage must be in a folder that exists, not {str(storage)!r}")
    prefix = prefix_of(estimator)
    if prefix is None:
        broken.append(f"estimator must be a DDCLClassifier or a Pipeline that ends in one, not {estimator!r}")
    else:
        own = (estimator.steps[-1][1] if prefix else estimator).get_params()
        check_parameters(own)
        if isinstance(parameters["space"], dict):
            broken += broken_space(parameters["space"], own, prefix, sorted(estimator.get_params()))
    refuse_broken(broken)
    return prefix or ""
