"""The distribution of a column among the members of a prototype against the whole table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddcl_tab.features import CategoricalColumn, NumericColumn

#: Levels of the quantiles that describe a numeric column.
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
#: Categories kept of a categorical column.
N_CATEGORIES = 3
#: How a missing category is called.
MISSING = "missing"


@dataclass(frozen=True)
class NumberSummary:
    """A numeric column among the members of a prototype.

    Attributes
    ----------
    name, unit : str
    quantiles, table_quantiles : tuple of float
        At 5, 25, 50, 75 and 95 % of the members' memberships, and of all rows, in ``unit``; NaN where no value is.
    effect : float
        Kolmogorov-Smirnov distance between both distributions: 0 alike, 1 apart.
    """

    name: str
    unit: str
    quantiles: tuple[float, ...]
    table_quantiles: tuple[float, ...]
    effect: float


@dataclass(frozen=True)
class CategorySummary:
    """A categorical column among the members of a prototype.

    Attributes
    ----------
    name : str
    top : tuple of (str, float, float)
        Most common categories: category, share of the members, share of all rows.
    effect : float
        Total variation distance between both distributions: 0 alike, 1 apart.
    """

    name: str
    top: tuple[tuple[str, float, float], ...]
    effect: float


def summarise(
    columns: dict[str, NumericColumn | CategoricalColumn], q: NDArray[np.float64], weight: NDArray[np.float64]
) -> dict[str, list[NumberSummary] | list[CategorySummary]]:
    """Summaries of every column, one for each prototype.

    Parameters
    ----------
    columns : dict of NumericColumn and CategoricalColumn
        n values each.
    q : ndarray, shape (n, K)
        Memberships.
    weight : ndarray, shape (n,)
        Of the rows.

    Returns
    -------
    dict
        K summaries by column name.
    """
    return {
        name: (_numbers if isinstance(column, NumericColumn) else _categories)(column, q * weight[:, None], weight)
        for name, column in columns.items()
    }


def _numbers(column: Any, mass: NDArray[np.float64], weight: NDArray[np.float64]) -> list[NumberSummary]:
    present = np.flatnonzero(~np.isnan(column.values))
    order = present[np.argsort(column.values[present], kind="stable")]
    values = column.values[order]
    everyone = np.cumsum(weight[order])
    everyone = everyone / everyone[-1] if len(order) and everyone[-1] > 0.0 else np.ones(len(order))
    # Distributions can only be compared after the last of equal values.
    last = np.flatnonzero(np.append(np.diff(values) != 0, True)) if len(order) else order
    table = _at_levels(values, everyone)
    result = []
    for k in range(mass.shape[1]):
        cumulated = np.cumsum(mass[order, k])
        empty = not len(order) or cumulated[-1] <= 0.0
        share = everyone if empty else cumulated / cumulated[-1]
        own = (np.nan,) * len(LEVELS) if empty else _at_levels(values, share)
        effect = float(np.abs(share[last] - everyone[last]).max(initial=0.0))
        result.append(NumberSummary(column.name, column.unit, own, table, effect))
    return result


def _at_levels(values: NDArray[np.float64], share: NDArray[np.float64]) -> tuple[float, ...]:
    if not len(values):
        return (np.nan,) * len(LEVELS)
    at = np.minimum(np.searchsorted(share, LEVELS), len(values) - 1)
    return tuple(values[at].tolist())


def _categories(column: Any, mass: NDArray[np.float64], weight: NDArray[np.float64]) -> list[CategorySummary]:
    category, code = np.unique([MISSING if v is None else v for v in column.values], return_inverse=True)
    everyone = np.bincount(code, weights=weight, minlength=len(category)) / weight.sum()
    result = []
    for k in range(mass.shape[1]):
        own = np.bincount(code, weights=mass[:, k], minlength=len(category))
        share = own / own.sum() if own.sum() > 0.0 else everyone
        order = np.argsort(-share, kind="stable")[:N_CATEGORIES]
        top = tuple((str(category[c]), float(share[c]), float(everyone[c])) for c in order)
        result.append(CategorySummary(column.name, top, float(0.5 * np.abs(share - everyone).sum())))
    return result
