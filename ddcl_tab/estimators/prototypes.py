"""Describe prototypes by the rows assigned to them, in the units of the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddcl_tab.estimators.distributions import LEVELS, CategorySummary, NumberSummary, summarise
from ddcl_tab.estimators.naming import Summaries, name_prototypes
from ddcl_tab.features import CategoricalColumn, NumericColumn


@dataclass(frozen=True)
class Members:
    """Training rows with their memberships.

    Attributes
    ----------
    columns : dict of NumericColumn and CategoricalColumn
        As read, in their units.
    q : ndarray, shape (n, K)
        Memberships.
    weight : ndarray, shape (n,)
    label : ndarray, shape (n,)
        Class index.
    classes : ndarray, shape (C,)
    names : list of str
        What to call each row.
    """

    columns: dict[str, NumericColumn | CategoricalColumn]
    q: NDArray[np.float64]
    weight: NDArray[np.float64]
    label: NDArray[np.int64]
    classes: NDArray[Any]
    names: list[str]


def describe_prototypes(members: Members, verdict: NDArray[np.float64]) -> dict[str, list[Any]]:
    """Table of prototypes.

    Parameters
    ----------
    members : Members
    verdict : ndarray, shape (K, C)
        Class probabilities at each prototype.

    Returns
    -------
    dict of list
        Columns of ``DDCLClassifier.prototypes_``.
    """
    mass = members.q * members.weight[:, None]
    total = mass.sum(axis=0)
    classes = np.stack([mass[members.label == c].sum(axis=0) for c in range(len(members.classes))], axis=1)
    classes = classes / np.maximum(total, np.finfo(float).tiny)[:, None]
    summaries = summarise(members.columns, members.q, members.weight)
    labels = [str(members.classes[c]) for c in verdict.argmax(axis=1)]
    table: dict[str, list[Any]] = {
        "prototype": list(range(len(total))),
        "name": [name.text for name in name_prototypes(labels, members.columns, summaries)],
        "share": (total / total.sum()).tolist(),
    }
    for c, name in enumerate(members.classes):
        table[f"share {name}"] = classes[:, c].tolist()
    for c, name in enumerate(members.classes):
        table[f"says {name}"] = verdict[:, c].tolist()
    table["medoid"] = [members.names[i] for i in members.q.argmax(axis=0)]
    return table | _columns(summaries)


def _columns(summaries: Summaries) -> dict[str, list[Any]]:
    """Quantiles of the numeric columns, then the most common category of the others."""
    table: dict[str, list[Any]] = {}
    for name, parts in summaries.items():
        numbers = [part for part in parts if isinstance(part, NumberSummary)]
        unit = f" [{numbers[0].unit}]" if numbers and numbers[0].unit else ""
        for i, level in enumerate(LEVELS if numbers else ()):
            table[f"{name}{unit} q{100 * level:02.0f}"] = [part.quantiles[i] for part in numbers]
    for name, parts in summaries.items():
        categories = [part for part in parts if isinstance(part, CategorySummary)]
        if categories:
            table[f"{name} top"] = [part.top[0][0] for part in categories]
            table[f"{name} top share"] = [part.top[0][1] for part in categories]
    return table
