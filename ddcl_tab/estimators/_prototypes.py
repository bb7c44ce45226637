"""Describe prototypes by the rows assigned to them, in the table's units: columns, shares, a line as a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ddcl_tab.estimators._columns import CategoricalColumn, NumericColumn
from ddcl_tab.estimators._domain import Domain

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
    mass = q * weight[:, None]
    return {
        name: _numbers(column, mass, weight) if isinstance(column, NumericColumn) else _categories(column, mass, weight)
        for name, column in columns.items()
    }


def _numbers(column: NumericColumn, mass: NDArray[np.float64], weight: NDArray[np.float64]) -> list[NumberSummary]:
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


def _categories(
    column: CategoricalColumn, mass: NDArray[np.float64], weight: NDArray[np.float64]
) -> list[CategorySummary]:
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


Columns = dict[str, NumericColumn | CategoricalColumn]
Summaries = dict[str, list[NumberSummary] | list[CategorySummary]]
#: Numeric columns more alike than this (rank correlation) say the same thing; a name mentions one of them.
SAME_THING = 0.9
#: A name mentions a categorical value that this share of the prototype's rows have.
NAMED_SHARE = 0.6
#: Numbers in a name that need more decimals are written with an exponent.
MAX_DECIMALS = 5
#: Columns named where the domain has no name.
N_NAMED = 2
#: Suffix of names that are the same otherwise.
_NUMBERED = " (prototype {})"
#: A category is worth a word if it is this many times as common as in the table.
LIFT = 2.0


class Name(NamedTuple):
    """Name of a prototype.

    Attributes
    ----------
    text : str
    distinguishing : list of str
        Columns by effect, those left out that rank rows as an earlier one does.
    """

    text: str
    distinguishing: list[str]


def name_prototypes(labels: list[str], columns: Columns, summaries: Summaries, domain: Domain) -> list[Name]:
    """Names of all prototypes, no two the same: what distinguishes prototypes of one name is added.

    Parameters
    ----------
    labels : list of str
        Class that each prototype holds most probable.
    columns : dict
        Columns of the table.
    summaries : dict
        Of :func:`ddcl_tab.estimators._prototypes.summarise`.
    domain : Domain
        Names prototypes in its own words, where it can.

    Returns
    -------
    list of Name
    """
    alike = _alike(columns)
    own = [{name: parts[k] for name, parts in summaries.items()} for k in range(len(labels))]
    distinct = [_distinct(sorted(o, key=lambda n: -o[n].effect), alike) for o in own]
    name_of = domain.name_prototype or (lambda label, summaries: None)
    said = [name_of(label, o) for label, o in zip(labels, own, strict=True)]
    texts = [
        name or ", ".join([label, *_phrases(o, order, N_NAMED)])
        for name, label, o, order in zip(said, labels, own, distinct, strict=True)
    ]
    rest = [
        [column for column in order if not (name and column in domain.named_columns)]
        for name, order in zip(said, distinct, strict=True)
    ]
    return [Name(text, order) for text, order in zip(_made_unique(texts, own, rest), distinct, strict=True)]


def common_category(summary: NumberSummary | CategorySummary | None, lift: float = 0.0) -> str | None:
    """Category that most members have, if it is ``lift`` times as common among them as in the table."""
    if not isinstance(summary, CategorySummary):
        return None
    category, share, in_table = summary.top[0]
    return category if share >= NAMED_SHARE and share >= lift * in_table else None


def _phrases(own: dict[str, NumberSummary | CategorySummary], names: list[str], n: int) -> list[str]:
    phrases: list[str] = []
    for name in names:
        if len(phrases) == n:
            break
        summary = own[name]
        if isinstance(summary, NumberSummary):
            low, high = summary.quantiles[1], summary.quantiles[3]
            phrases += [] if np.isnan(low) else [interval(name, low, high, summary.unit)]
        else:
            category = common_category(summary, LIFT)
            phrases += [] if category is None else [f"{name} {category}"]
    return phrases


def _made_unique(
    texts: list[str], own: list[dict[str, NumberSummary | CategorySummary]], rest: list[list[str]]
) -> list[str]:
    """Every name once: equal names get a phrase on one of the ``rest`` of their columns, then their number."""
    result = list(texts)
    for k, text in enumerate(texts):
        if texts.count(text) > 1:
            result[k] = ", ".join([text, *_phrases(own[k], rest[k], 1)])
    return [f"{text}{_NUMBERED.format(k)}" if result.count(text) > 1 else text for k, text in enumerate(result)]


def without_number(name: str, k: int) -> str:
    """Name of prototype ``k`` for a place where its number stands already.

    Examples
    --------
    >>> without_number("small debris, 760-880 km, 98.6 deg (prototype 2)", 2)
    'small debris, 760-880 km, 98.6 deg'
    """
    return name.removesuffix(_NUMBERED.format(k))


def _alike(columns: Columns) -> dict[tuple[str, str], bool]:
    """Pairs of numeric columns that rank the rows alike."""
    numeric = {name: column.values for name, column in columns.items() if isinstance(column, NumericColumn)}
    ranks = {name: rankdata(values, nan_policy="omit") for name, values in numeric.items()}
    return {(a, b): a == b or _rank_correlation(ranks[a], ranks[b]) > SAME_THING for a in numeric for b in numeric}


def _rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Absolute value, over the rows that have both."""
    both = ~np.isnan(a) & ~np.isnan(b)
    x, y = a[both], b[both]
    constant = len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0
    return 0.0 if constant else abs(float(np.corrcoef(x, y)[0, 1]))


def _distinct(names: list[str], alike: dict[tuple[str, str], bool]) -> list[str]:
    chosen: list[str] = []
    for name in names:
        if not any(alike.get((name, other), False) for other in chosen):
            chosen.append(name)
    return chosen


def interval(name: str, low: float, high: float, unit: str) -> str:
    """An interval in words, with as many digits as its ends need to differ.

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


def describe_prototypes(members: Members, probability: NDArray[np.float64], domain: Domain) -> dict[str, list[Any]]:
    """Describe every prototype: one row each.

    Parameters
    ----------
    members : Members
    probability : ndarray, shape (K, C)
        Class probabilities at each prototype.
    domain : Domain
        Names prototypes.

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
    labels = [str(members.classes[c]) for c in probability.argmax(axis=1)]
    table: dict[str, list[Any]] = {
        "prototype": list(range(len(total))),
        "name": [name.text for name in name_prototypes(labels, members.columns, summaries, domain)],
        "share": (total / total.sum()).tolist(),
    }
    for c, name in enumerate(members.classes):
        table[f"share {name}"] = classes[:, c].tolist()
    for c, name in enumerate(members.classes):
        table[f"says {name}"] = probability[:, c].tolist()
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
