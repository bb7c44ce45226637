"""Describe prototypes by the rows assigned to them, in the units of the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ddcl_tab.features import CategoricalColumn, NumericColumn

#: Levels of the quantiles that describe a numeric column; the outer two bound the interval in a prototype's name.
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
#: Numeric columns more alike than this (rank correlation) say the same thing; a name mentions one of them.
SAME_THING = 0.9
#: Numeric and categorical columns in a name.
N_NAMED_NUMERIC, N_NAMED_CATEGORICAL = 2, 1
#: Numbers in a name that need more decimals are written with an exponent.
MAX_DECIMALS = 5
#: A name mentions a categorical value that this share of the prototype's rows have.
NAMED_SHARE = 0.6


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

    @property
    def mass(self) -> NDArray[np.float64]:
        """Weighted memberships, ``(n, K)``."""
        return self.q * self.weight[:, None]


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
    mass = members.mass
    total = mass.sum(axis=0)
    medoid = members.q.argmax(axis=0)
    classes = np.stack([mass[members.label == c].sum(axis=0) for c in range(len(members.classes))], axis=1)
    classes = classes / np.maximum(total, np.finfo(float).tiny)[:, None]
    quantiles = _quantiles(members)
    top = _top_categories(members)
    table: dict[str, list[Any]] = {
        "prototype": list(range(len(total))),
        "name": _names(members, verdict, quantiles, top),
        "share": (total / total.sum()).tolist(),
    }
    for c, name in enumerate(members.classes):
        table[f"share {name}"] = classes[:, c].tolist()
    for c, name in enumerate(members.classes):
        table[f"says {name}"] = verdict[:, c].tolist()
    table["medoid"] = [members.names[i] for i in medoid]
    for name, values in quantiles.items():
        column = members.columns[name]
        unit = f" [{column.unit}]" if isinstance(column, NumericColumn) and column.unit else ""
        for level, at_level in zip(LEVELS, values.T, strict=True):
            table[f"{name}{unit} q{100 * level:02.0f}"] = at_level.tolist()
    for name, (category, share) in top.items():
        table[f"{name} top"] = category
        table[f"{name} top share"] = share
    return table


def _quantiles(members: Members) -> dict[str, NDArray[np.float64]]:
    """Weighted quantiles of each numeric column at ``LEVELS``: ``(K, 5)``, NaN where a prototype has no value."""
    result = {}
    for name, column in members.columns.items():
        if isinstance(column, NumericColumn):
            present = np.flatnonzero(~np.isnan(column.values))
            order = present[np.argsort(column.values[present], kind="stable")]
            cumulated = np.cumsum(members.mass[order], axis=0)
            result[name] = np.full((members.q.shape[1], len(LEVELS)), np.nan)
            for k in range(members.q.shape[1]) if len(order) else ():
                if cumulated[-1, k] > 0:
                    at = np.searchsorted(cumulated[:, k], np.multiply(LEVELS, cumulated[-1, k]))
                    result[name][k] = column.values[order[np.minimum(at, len(order) - 1)]]
    return result


def _top_categories(members: Members) -> dict[str, tuple[list[str | None], list[float]]]:
    """Most common category of each categorical column in each prototype, with its share; missing is one, too."""
    result = {}
    for name, column in members.columns.items():
        if isinstance(column, CategoricalColumn):
            texts = np.array(["" if value is None else value for value in column.values])
            category, code = np.unique(texts, return_inverse=True)
            mass = np.stack([members.mass[code == c].sum(axis=0) for c in range(len(category))])
            share = mass / np.maximum(mass.sum(axis=0), np.finfo(float).tiny)
            best = share.argmax(axis=0)
            top = [str(category[b]) or None for b in best]
            result[name] = (top, share[best, np.arange(len(best))].tolist())
    return result


def _names(
    members: Members,
    verdict: NDArray[np.float64],
    quantiles: dict[str, NDArray[np.float64]],
    top: dict[str, tuple[list[str | None], list[float]]],
) -> list[str]:
    coverage = {name: _coverage(members, name, values) for name, values in quantiles.items()}
    alike = _rank_correlation(members, list(quantiles))
    units = {name: column.unit for name, column in members.columns.items() if isinstance(column, NumericColumn)}
    names = []
    for k in range(len(verdict)):
        parts = [f"{members.classes[verdict[k].argmax()]}"]
        shares = sorted(((share[k], name) for name, (_, share) in top.items()), reverse=True)
        for share, name in shares[:N_NAMED_CATEGORICAL]:
            if share >= NAMED_SHARE:
                parts.append(f"{name} {top[name][0][k] or 'missing'}")
        for name in _distinct(sorted(coverage, key=lambda n: coverage[n][k]), alike):
            low, high = quantiles[name][k, 0], quantiles[name][k, -1]
            if not np.isnan(low):
                parts.append(interval(name, low, high, units[name]))
        names.append(", ".join(parts))
    return names


def _coverage(members: Members, name: str, quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of all rows inside each prototype's outer quantiles: the smaller, the more the column sets it apart."""
    values = members.columns[name].values
    present = ~np.isnan(values)
    order = np.sort(values[present])
    low = np.searchsorted(order, quantiles[:, 0], side="left")
    high = np.searchsorted(order, quantiles[:, -1], side="right")
    return np.where(np.isnan(quantiles[:, 0]), np.inf, (high - low) / max(1, len(order)))


def _rank_correlation(members: Members, names: list[str]) -> dict[tuple[str, str], float]:
    ranks = {name: rankdata(members.columns[name].values, nan_policy="omit") for name in names}
    result = {}
    for a in names:
        for b in names:
            both = ~np.isnan(ranks[a]) & ~np.isnan(ranks[b])
            x, y = ranks[a][both], ranks[b][both]
            constant = len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0
            result[a, b] = 0.0 if constant else float(np.corrcoef(x, y)[0, 1])
    return result


def _distinct(names: list[str], alike: dict[tuple[str, str], float]) -> list[str]:
    chosen: list[str] = []
    for name in names:
        if len(chosen) < N_NAMED_NUMERIC and all(abs(alike[name, other]) < SAME_THING for other in chosen):
            chosen.append(name)
    return chosen


def interval(name: str, low: float, high: float, unit: str) -> str:
    """An interval in words, with as many digits as tell its ends apart.

    Examples
    --------
    >>> interval("PERIGEE", 761.2, 880.4, "km")
    'PERIGEE 761-880 km'
    >>> interval("ECCENTRICITY", 0.00112, 0.00254, "")
    'ECCENTRICITY 0.0011-0.0025'
    >>> interval("MEAN_MOTION_DOT", -3e-6, 2.4e-5, "rev/day^2")
    'MEAN_MOTION_DOT -3.0e-06 to 2.4e-05 rev/day^2'
    >>> interval("BSTAR", -0.00001, 0.0011, "1/earth radius")
    'BSTAR 0.0000 to 0.0011 1/earth radius'
    """
    digits = 0
    width = abs(high - low) or abs(high)
    if width > 0:
        digits = int(np.clip(1 - np.floor(np.log10(width)), 0, 9))
    if unit == "year":
        digits, unit = 0, ""
    form = f".{digits}f" if digits <= MAX_DECIMALS else ".1e"
    ends = [f"{end if round(end, digits) or 'e' in form else 0.0:{form}}" for end in (low, high)]  # no "-0.00"
    text = ends[0] if ends[0] == ends[1] else " to ".join(ends) if low < 0 or "e" in form else "-".join(ends)
    return f"{name} {text}{f' {unit}' if unit else ''}"
