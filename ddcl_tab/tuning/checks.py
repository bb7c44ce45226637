"""Check the parameters of a search all at once."""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sklearn.metrics import get_scorer_names
from sklearn.pipeline import Pipeline

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.estimators import DDCLClassifier
from ddcl_tab.estimators.parameters import check_parameters
from ddcl_tab.tuning.space import broken_rules
from ddcl_tab.tuning.study import is_url


def _is_integer(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "n_trials": (lambda v: _is_integer(v) and v >= 1, "an integer of at least 1"),
    "timeout": (
        lambda v: v is None or (isinstance(v, numbers.Real) and not isinstance(v, bool) and float(v) > 0.0),
        "None or a number of seconds above 0",
    ),
    "scoring": (lambda v: callable(v) or v in get_scorer_names(), "the name of a scikit-learn scorer or a callable"),
    "storage": (lambda v: v is None or isinstance(v, str | os.PathLike), "None, the path of a file or a URL"),
    "study_name": (lambda v: v is None or (isinstance(v, str) and bool(v)), "None or a name"),
    "n_jobs": (lambda v: v is None or (_is_integer(v) and v != 0), "None or an integer other than 0"),
    "space": (lambda v: v is None or isinstance(v, dict), "None or a dict from parameter name to distribution"),
    "refit": (lambda v: isinstance(v, bool), "True or False"),
    "verbose": (lambda v: _is_integer(v) and v >= 0, "an integer of at least 0"),
}


def prefix_of(estimator: Any) -> str | None:
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
    broken = [
        f"{name} must be {text}, not {parameters[name]!r}"
        for name, (holds, text) in _RULES.items()
        if not holds(parameters[name])
    ]
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
            broken += broken_rules(parameters["space"], own, prefix, sorted(estimator.get_params()))
    if broken:
        count = "1 parameter breaks its rule" if len(broken) == 1 else f"{len(broken)} parameters break their rules"
        raise ConfigurationError("\n  ".join([f"{count}:", *broken]))
    return prefix or ""
