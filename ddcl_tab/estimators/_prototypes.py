"""Describe prototypes by the column tokens assigned to them: which columns, which of their values, for which class."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddcl_tab.estimators._columns import CategoricalColumn, NumericColumn
from ddcl_tab.estimators._domain import Domain

#: What is said of the values of a column is true of this share of the members, as narrowly as can be said.
SAID_OF = 0.95
#: Columns are named, largest first, until they hold this share of the members; at most so many, and categories.
NAMED_SHARE, N_NAMED, N_CATEGORIES = 0.95, 5, 4
#: Prototypes a column where nobody says how many, and how few and how many there are at least and at most.
PER_COLUMN, FEWEST, MOST = 4, 32, 128
#: How a missing value is called.
MISSING = "missing"
#: Numbers that need more decimals, or more digits before the point, are written with an exponent.
MAX_DECIMALS, LARGEST_PLAIN = 5, 9


def default_prototypes(n_columns: int) -> int:
    """Number of prototypes for a number of columns where nobody says how many.

    Examples
    --------
    >>> default_prototypes(3), default_prototypes(12), default_prototypes(100)
    (32, 48, 128)
    """
    return min(max(PER_COLUMN * n_columns, FEWEST), MOST)


Columns = dict[str, NumericColumn | CategoricalColumn]


@dataclass(frozen=True)
class Statement:
    """What the members of a prototype are that are tokens of one column.

    Attributes
    ----------
    column, unit : str
    share : float
        Of the prototype's members, those that are tokens of this column.
    low, high : float
        Shortest interval that holds most of their values, in ``unit``, its ends rounded outwards; NaN for texts, and
        where they are missing.
    categories : tuple of str
        Their most common categories, as many as hold most of them; beyond :data:`N_CATEGORIES` words only count them.
    with_missing : bool
        Whether a missing value is said of them too.
    held, held_elsewhere : float
        Share of the members of this column, and of the column's other tokens, that it is true of.
    """

    column: str
    unit: str
    share: float
    low: float
    high: float
    categories: tuple[str, ...]
    with_missing: bool
    held: float
    held_elsewhere: float

    @property
    def values(self) -> str:
        """The values in words: ``"97.6-98.9 deg"``, ``"US or PRC"``, ``"missing"``."""
        parts = [] if np.isnan(self.low) else [interval(self.low, self.high, self.unit)]
        more = len(self.categories) - N_CATEGORIES
        parts += [*self.categories[:N_CATEGORIES], *([f"one of {more} others"] if more > 0 else [])]
        return " or ".join([*parts, *([MISSING] if self.with_missing else [])]) or "no value"

    def holds(self, column: NumericColumn | CategoricalColumn) -> NDArray[np.bool_]:
        """Which values of the column it is true of, shape (n,)."""
        return _holds(column, self.low, self.high, self.categories, self.with_missing)


def _holds(
    column: NumericColumn | CategoricalColumn, low: float, high: float, categories: tuple[str, ...], missing: bool
) -> NDArray[np.bool_]:
    if isinstance(column, NumericColumn):
        gone = np.isnan(column.values)
        inside = np.zeros(len(gone), dtype=bool) if np.isnan(low) else (column.values >= low) & (column.values <= high)
    else:
        gone = np.array([value is None for value in column.values], dtype=bool)
        inside = np.isin(column.values.astype(str), categories) & ~gone
    return inside | (gone & missing)


@dataclass(frozen=True)
class Members:
    """Training rows and the strongest prototype of each of their column tokens.

    Attributes
    ----------
    columns : dict of NumericColumn and CategoricalColumn
        Of each token, in their order, as read, in their units.
    prototype : ndarray of int, shape (n, T)
        Strongest prototype of each token.
    q : ndarray, shape (n, K)
        Memberships, mean over the columns.
    weight : ndarray, shape (n,)
    label : ndarray, shape (n,)
        Class index.
    classes : ndarray, shape (C,)
    names : list of str
        What to call each row.
    """

    columns: Columns
    prototype: NDArray[np.int64]
    q: NDArray[np.float64]
    weight: NDArray[np.float64]
    label: NDArray[np.int64]
    classes: NDArray[Any]
    names: list[str]


def statements(
    columns: Columns, prototype: NDArray[np.int64], weight: NDArray[np.float64], n_prototypes: int
) -> list[list[Statement]]:
    """What can be said of the members of each prototype, column by column, largest share first.

    Parameters
    ----------
    columns : dict of NumericColumn and CategoricalColumn
        T of them, n values each.
    prototype : ndarray of int, shape (n, T)
        Strongest prototype of each token.
    weight : ndarray, shape (n,)
        Of the rows.
    n_prototypes : int

    Returns
    -------
    list of list of Statement
        Empty for a prototype without members.
    """
    mass = np.stack(
        [np.bincount(prototype[:, t], weights=weight, minlength=n_prototypes) for t in range(prototype.shape[1])],
        axis=1,
    )
    result: list[list[Statement]] = []
    for k in range(n_prototypes):
        total = mass[k].sum()
        order = [int(t) for t in np.argsort(-mass[k], kind="stable") if mass[k, t] > 0.0]
        parts = list(columns.values())
        result.append([_state(parts[t], prototype[:, t] == k, weight, mass[k, t] / total) for t in order])
    return result


def _state(
    column: NumericColumn | CategoricalColumn, member: NDArray[np.bool_], weight: NDArray[np.float64], share: float
) -> Statement:
    own = weight[member]
    low = high = np.nan
    categories: tuple[str, ...] = ()
    if isinstance(column, NumericColumn):
        values = column.values[member]
        gone = np.isnan(values)
        missing = float(own[gone].sum() / own.sum())
        if missing < SAID_OF:
            ends = _shortest(values[~gone], own[~gone], _needed(missing))
            low, high = _rounded_out(*ends, column.unit)
        unit = column.unit
    else:
        gone = np.array([v is None for v in column.values[member]])
        missing, unit = float(own[gone].sum() / own.sum()), ""
        if missing < SAID_OF:
            known, code = np.unique(column.values[member][~gone].astype(str), return_inverse=True)
            shares = np.bincount(code, weights=own[~gone]) / own[~gone].sum()
            order = np.argsort(-shares, kind="stable")
            n = int(np.searchsorted(np.cumsum(shares[order]), _needed(missing) - 1e-9)) + 1
            categories = tuple(str(known[c]) for c in order[:n])
    with_missing = missing > 1.0 - SAID_OF
    holds = _holds(column, low, high, categories, with_missing)
    rest = weight[~member].sum()
    return Statement(
        column.name,
        unit,
        float(share),
        low,
        high,
        categories,
        with_missing,
        held=float(own[holds[member]].sum() / own.sum()),
        held_elsewhere=float(weight[~member & holds].sum() / rest) if rest > 0.0 else 0.0,
    )


def _needed(missing: float) -> float:
    """Share of the values that are there which must be said, where missing ones are said, or not, beside them."""
    return SAID_OF if missing > 1.0 - SAID_OF else min(1.0, SAID_OF / (1.0 - missing))


def _shortest(values: NDArray[np.float64], weight: NDArray[np.float64], share: float) -> tuple[float, float]:
    """Ends of the shortest interval that holds a share of the values."""
    order = np.argsort(values, kind="stable")
    values, reached = values[order], np.cumsum(weight[order]) / weight.sum()
    before = np.concatenate([[0.0], reached[:-1]])
    end = np.searchsorted(reached, before + share - 1e-9)
    start = np.flatnonzero(end < len(values))
    best = start[np.argmin(values[end[start]] / 2 - values[start] / 2)]  # halves: differences may overflow
    return float(values[best]), float(values[end[best]])


def _decimals(low: float, high: float) -> int:
    """Decimals that show two digits of what two numbers differ by, below 0 for tens and hundreds."""
    return 1 - (_exact(high) - _exact(low)).adjusted()


def _exact(number: float) -> Decimal:
    """A number as it is written, ``0.1`` and not the binary fraction next to it."""
    return Decimal(repr(float(number)))


#: Digits enough for any float beside any other, and the largest one.
_WIDE, _LARGEST = Context(prec=800), float(np.finfo(float).max)


def _rounded_out(low: float, high: float, unit: str) -> tuple[float, float]:
    """Both ends to the digits that :func:`interval` writes, away from each other: what is printed stays true."""
    if low == high and unit != "year":
        return low, high
    for _ in range(2):  # the second time with the digits of what came of the first
        step = Decimal(1) if unit == "year" else Decimal(1).scaleb(-_decimals(low, high))
        low = max(float(_exact(low).quantize(step, ROUND_FLOOR, _WIDE)), -_LARGEST)
        high = min(float(_exact(high).quantize(step, ROUND_CEILING, _WIDE)), _LARGEST)
    return low, high


def interval(low: float, high: float, unit: str) -> str:
    """An interval in words, with as many digits as its ends need to differ.

    Examples
    --------
    >>> interval(761.2, 880.4, "km"), interval(0.00112, 0.00254, ""), interval(1998.0, 2004.0, "year")
    ('761-880 km', '0.0011-0.0025', '1998-2004')
    >>> interval(-3e-6, 2.4e-5, "rev/day^2"), interval(65.0, 65.0, "deg"), interval(0.72, 0.72, "")
    ('-3e-06 to 2.4e-05 rev/day^2', '65 deg', '0.72')
    """
    if unit == "year":
        ends, unit = [f"{low:.0f}"] + [f"{high:.0f}"] * (low < high), ""
    elif low == high:
        ends = [f"{low:.6g}"]
    else:
        digits, largest = _decimals(low, high), _exact(max(abs(low), abs(high))).adjusted()
        if digits <= MAX_DECIMALS and largest < LARGEST_PLAIN:
            ends = [f"{end if round(end, digits) else 0.0:.{max(digits, 0)}f}" for end in (low, high)]  # no "-0.00"
        else:
            ends = [f"{end:.{min(max(digits + largest, 0), 16) + 1}g}" for end in (low, high)]
    text = " to ".join(ends) if low < 0 or any("e" in end for end in ends) else "-".join(ends)
    return f"{text}{f' {unit}' if unit else ''}"


def describe_prototypes(members: Members, votes: NDArray[np.float64], domain: Domain) -> dict[str, list[Any]]:
    """Describe every prototype: one row each.

    Parameters
    ----------
    members : Members
    votes : ndarray, shape (K, C)
        What a column at the prototype adds to the log-odds of each class against the mean of the classes, more than
        columns do on average.
    domain : Domain
        Says columns and values in its own words.

    Returns
    -------
    dict of list
        Columns of ``DDCLClassifier.prototypes_``.
    """
    n_prototypes = members.q.shape[1]
    share = members.weight @ members.q
    said = statements(members.columns, members.prototype, members.weight, n_prototypes)
    winner = votes.argmax(axis=1)
    classes = np.stack(
        [(members.weight * (members.label == c)) @ members.q for c in range(len(members.classes))], axis=1
    )
    classes = classes / np.maximum(classes.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    table: dict[str, list[Any]] = {
        "prototype": list(range(n_prototypes)),
        "name": _unique(
            [name_of(parts, str(members.classes[c]), domain) for parts, c in zip(said, winner, strict=True)]
        ),
        "share": (share / share.sum()).tolist(),
    }
    for c, name in enumerate(members.classes):
        table[f"share {name}"] = classes[:, c].tolist()
    for c, name in enumerate(members.classes):
        table[f"votes {name}"] = votes[:, c].tolist()
    table["medoid"] = [_medoid(members, k, c) for k, c in enumerate(winner)]
    for place in range(N_NAMED):
        here = [parts[place] if place < len(parts) else None for parts in said]
        table[f"column_{place + 1}"] = ["" if s is None else s.column for s in here]
        table[f"column_{place + 1}_share"] = [0.0 if s is None else s.share for s in here]
        table[f"column_{place + 1}_values"] = ["" if s is None else s.values for s in here]
    return table


def named_statements(said: list[Statement]) -> list[Statement]:
    """Those that a name says: until they hold :data:`NAMED_SHARE` of the members, at most :data:`N_NAMED` of them."""
    reached = np.cumsum([one.share for one in said[:N_NAMED]])
    return said[: min(int(np.searchsorted(reached, NAMED_SHARE)) + 1, N_NAMED)]


def name_of(said: list[Statement], winner: str, domain: Domain) -> str:
    """Name of a prototype: its columns with their values, and the class that it votes for.

    Where it has members of more columns than are named, the name says that there are others.
    """
    phrases, named = [], named_statements(said)
    for one in named:
        numbers = () if np.isnan(one.low) or one.with_missing else (one.low, one.high)
        phrases.append(domain.phrase(one.column, numbers, one.values))
    if len(named) < len(said) and sum(one.share for one in named) < NAMED_SHARE:
        phrases.append(f"{len(said) - len(named)} other columns")
    return f"{' / '.join(phrases) or 'no column'}: {winner}"


def _unique(names: list[str]) -> list[str]:
    """Every name once: equal ones get the number of their prototype."""
    return [f"{name}{_NUMBERED.format(k)}" if names.count(name) > 1 else name for k, name in enumerate(names)]


#: Suffix of names that are the same otherwise.
_NUMBERED = " (prototype {})"


def without_number(name: str, k: int) -> str:
    """Name of prototype ``k`` for a place where its number stands already.

    Examples
    --------
    >>> without_number("inclination 98.1-98.9 deg: DEBRIS (prototype 2)", 2)
    'inclination 98.1-98.9 deg: DEBRIS'
    """
    return name.removesuffix(_NUMBERED.format(k))


def _medoid(members: Members, k: int, winner: int) -> str:
    """The row that is most made of a prototype, among those of the class that it votes for."""
    return members.names[int(np.where(members.label == winner, members.q[:, k], -1.0).argmax())]
