"""Fit through kills and interruptions: what a checkpoint belongs to, and a fit that keeps one."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from typing import Any

import numpy as np

from ddcl_tab.training.checkpoint import CheckpointFile
from ddcl_tab.training.rows import Rows

#: Parameters that do not decide what training gives; ``random_state`` is in the seed that was drawn from it.
_LEFT_OUT = ("verbose", "random_state")
#: Packages whose arithmetic training is made of.
_PACKAGES = ("ddcl-tab", "numpy", "scikit-learn", "torch")


def fit_with_checkpoint(clf: Any, X: Any, checkpoint: CheckpointFile | None) -> None:
    """Fit a classifier on a frame that holds its target, writing a checkpoint after every epoch.

    A KeyboardInterrupt after the first epoch ends training, and the classifier is fitted with the best epoch so far
    (the last one while annealing is not over); ``stability_`` says so. There is no StabilityWarning.

    Parameters
    ----------
    clf : DDCLClassifier
    X : frame
    checkpoint : CheckpointFile or None
        None writes none, and a KeyboardInterrupt is raised on.

    Raises
    ------
    CheckpointError
        The checkpoint to go on with was made for other rows, parameters or versions.
    WriteError
        The checkpoint cannot be written.
    """
    clf._fit(X, None, None, None, checkpoint)


def describe_training(clf: Any, rows: Rows, seed: int) -> dict[str, str]:
    """All that decides what training gives, by the names that a user knows.

    Parameters
    ----------
    clf : DDCLClassifier
        With its classes and its encoder.
    rows : Rows
        Merged, before a validation part is set aside.
    seed : int
        Drawn from ``random_state``.

    Returns
    -------
    dict of str
    """
    parameters = {n: repr(v) for n, v in clf.get_params(deep=False).items() if n not in _LEFT_OUT}
    return (
        parameters
        | {
            "seed": str(seed),
            "classes": repr(clf.classes_.tolist()),
            "columns": _digest(json.dumps(clf.encoder_.to_json(), default=repr).encode()),
            "training rows": _digest(*(np.ascontiguousarray(part).tobytes() for part in rows)),
        }
        | {f"version of {name}": version(name) for name in _PACKAGES}
    )


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:12]
