"""Reasons per row: which prototypes decided, and what each says."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def top_prototypes(
    q: NDArray[np.float64],
    probability: NDArray[np.float64],
    classes: NDArray[Any],
    prototypes: dict[str, list[Any]],
    n_top: int,
) -> dict[str, list[Any]]:
    """Long table of the strongest prototypes of each row.

    Parameters
    ----------
    q : ndarray, shape (n, K)
    probability : ndarray, shape (n, C)
    classes : ndarray, shape (C,)
    prototypes : dict of list
        See :func:`ddcl_tab.estimators.prototypes.describe_prototypes`.
    n_top : int
        Prototypes named per row.

    Returns
    -------
    dict of list
        ``n * n_top`` rows: ``row``, ``prediction``, ``probability``, ``rank``, ``prototype``, ``weight``, ``says``
        (the prototype's own class), ``name``, ``medoid``.
    """
    top = np.argsort(-q, axis=1, kind="stable")[:, :n_top]
    chosen = probability.argmax(axis=1)
    says = classes[_says(prototypes, classes)].tolist()
    n, width = top.shape
    flat = top.ravel()
    return {
        "row": np.repeat(np.arange(n), width).tolist(),
        "prediction": np.repeat(classes[chosen], width).tolist(),
        "probability": np.repeat(probability[np.arange(n), chosen], width).tolist(),
        "rank": np.tile(np.arange(1, width + 1), n).tolist(),
        "prototype": flat.tolist(),
        "weight": np.take_along_axis(q, top, axis=1).ravel().tolist(),
        "says": [says[k] for k in flat],
        "name": [prototypes["name"][k] for k in flat],
        "medoid": [prototypes["medoid"][k] for k in flat],
    }


def reasons(
    q: NDArray[np.float64], probability: NDArray[np.float64], classes: NDArray[Any], prototypes: dict[str, list[Any]]
) -> list[str]:
    """One sentence a row.

    Names the strongest prototype; where it speaks for another class than the decision, names the strongest one that
    agrees as well.
    """
    top = q.argmax(axis=1)
    chosen = probability.argmax(axis=1)
    says = _says(prototypes, classes)
    sentences = []
    for i, k in enumerate(top):
        sentence = f"{100 * q[i, k]:.0f} % prototype {k}: {prototypes['name'][k]}, such as {prototypes['medoid'][k]}"
        agreeing = np.where(says == chosen[i], q[i], 0.0)
        if says[k] != chosen[i] and agreeing.any():
            first = agreeing.argmax()
            sentence += (
                f"; outvoted by {100 * agreeing.sum():.0f} % on prototypes of {classes[chosen[i]]}, "
                f"first prototype {first}: {prototypes['name'][first]}"
            )
        sentences.append(sentence)
    return sentences


def _says(prototypes: dict[str, list[Any]], classes: NDArray[Any]) -> NDArray[np.intp]:
    """Index of the class that each prototype itself holds most probable, shape (K,)."""
    return np.stack([prototypes[f"says {name}"] for name in classes], axis=1).argmax(axis=1)
