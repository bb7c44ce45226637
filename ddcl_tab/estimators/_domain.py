"""What a field of knowledge says about its tables: units, leaks, the target, what belongs together, names.

The method knows no field. Packages name theirs in the entry-point group ``ddcl_tab.domains``; a frame is of the first
domain that recognises its columns, and of none (`GENERIC`) otherwise.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import narwhals.stable.v2 as nw
from numpy.typing import NDArray

from ddcl_tab.errors import DDCLTabError, LeakWarning
from ddcl_tab.estimators._columns import is_frame
from ddcl_tab.estimators._families import DomainFamilies, lacking_columns

#: Entry points of this group are objects of type `Domain`.
ENTRY_POINTS = "ddcl_tab.domains"
#: Columns of a domain that a table needs to be of it where none of them names an object or the target.
ENOUGH_COLUMNS = 2


class UnknownDomainError(DDCLTabError, LookupError):
    """No installed package knows a domain of this name."""


@dataclass(frozen=True)
class Domain:
    """What is known about the columns of the tables of one field.

    Parameters
    ----------
    name : str, default=""
        Stands in model files, which are read again with the domain of that name.
    columns : frozenset of str
        All columns that it knows.
    units : mapping of str to str
        Unit of a column; absent where it has none.
    leaks, bookkeeping : mapping of str to str
        Columns that are no features, and why: those that give the class away (left out with a warning), and those about
        the record or the moment (left out silently).
    target : str, optional
        Column of the classes where the user names none.
    unknown : str, optional
        Label that means "nobody knows yet".
    identifiers : tuple of str
        Columns that name an object, shown beside results.
    display : tuple of str
        Those of them that a person calls an object by.
    group_columns : tuple of str
        Columns that ``group`` reads; without one of them no groups are known.
    group : callable, optional
        Frame of ``group_columns`` to one label a row, ndarray of shape (n,): rows of one group are no independent
        evidence, such as objects of one launch.
    families : type, optional
        What is counted of the rows of a table, and the columns that follow for each row.
    late : tuple of tuples of str
        Sets of columns that a new row lacks together, because they are filled some time after it is made.
    say : callable, optional
        Column, its values as numbers (one, or both ends of an interval; none for texts and missing values) and as text
        with the unit, to a phrase such as ``"96 % of its launch small"``; None where the domain has no own words.

    Examples
    --------
    >>> Domain(name="wine", target="cultivar", columns=frozenset({"alcohol", "ash"})).recognises(["cultivar", "x"])
    True
    """

    name: str = ""
    columns: frozenset[str] = frozenset()
    units: Mapping[str, str] = field(default_factory=dict)
    leaks: Mapping[str, str] = field(default_factory=dict)
    bookkeeping: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    unknown: str | None = None
    identifiers: tuple[str, ...] = ()
    display: tuple[str, ...] = ()
    group_columns: tuple[str, ...] = ()
    group: Callable[[Any], NDArray[Any]] | None = None
    families: type[DomainFamilies] | None = None
    late: tuple[tuple[str, ...], ...] = ()
    say: Callable[[str, tuple[float, ...], str], str | None] | None = None

    def recognises(self, columns: Iterable[str]) -> bool:
        """Whether a table with these columns is of this domain."""
        there = set(columns)
        decisive = {self.target, *self.identifiers} - {None}
        return bool(there & decisive) or len(there & self.columns) >= ENOUGH_COLUMNS

    def features_among(self, names: list[str], *, allow_leaks: bool = False) -> list[str]:
        """Names of the columns that may be learned from, in their order.

        Parameters
        ----------
        names : list of str
        allow_leaks : bool, default=False
            Keep the columns that give the class away; for experiments that want to measure the leak.

        Returns
        -------
        list of str

        Warns
        -----
        LeakWarning
            Names each refused column and why it is refused.

        Examples
        --------
        >>> import warnings
        >>> domain = Domain(leaks={"patient": "numbers are given in order"}, bookkeeping={"visit": "about the record"})
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     domain.features_among(["patient", "visit", "height"])
        ['height']
        >>> print(caught[0].message)
        left out of the features because they give the class away: patient (numbers are given in order).
        allow_leaks=True keeps them.
        """
        kept = [name for name in names if name not in self.bookkeeping]
        leaks = [name for name in names if name in self.leaks]
        if allow_leaks or not leaks:
            return kept
        reasons = "; ".join(f"{name} ({self.leaks[name]})" for name in leaks)
        warnings.warn(
            f"left out of the features because they give the class away: {reasons}. allow_leaks=True keeps them.",
            LeakWarning,
            stacklevel=4,
        )
        return [name for name in kept if name not in self.leaks]

    def phrase(self, column: str, numbers: tuple[float, ...], text: str) -> str:
        """A column and its value, or the values of several rows, in words.

        Parameters
        ----------
        column : str
        numbers : tuple of float
            The value, or both ends of an interval; empty for texts and missing values.
        text : str
            The same as text, with the unit.

        Examples
        --------
        >>> Domain().phrase("height", (1.5,), "1.5 m")
        'height 1.5 m'
        """
        own = None if self.say is None else self.say(column, numbers, text)
        return f"{column} {text}" if own is None else own

    def group_of(self, X: Any) -> NDArray[Any] | None:
        """Group of each row, shape (n,); None where they cannot be known."""
        if self.group is None or not is_frame(X):
            return None
        frame = nw.from_native(X, eager_only=True)
        if not set(self.group_columns) <= set(frame.columns):
            return None
        return self.group(frame.select(*self.group_columns).to_native())

    def has_families(self, X: Any) -> bool:
        """Whether a table holds the columns of which families are made."""
        return self.families is not None and is_frame(X) and not lacking_columns(self.families, X)


GENERIC = Domain()
"""The domain of tables that none recognises: it knows nothing."""


def domain_of(X: Any) -> Domain:
    """The domain of a frame; `GENERIC` for arrays and frames that none recognises.

    Parameters
    ----------
    X : frame or array

    Examples
    --------
    >>> import polars as pl
    >>> domain_of(pl.DataFrame({"INCLINATION": [98.6], "OBJECT_TYPE": ["DEBRIS"]})).name
    'space'
    """
    if not is_frame(X):
        return GENERIC
    return domain_with(nw.from_native(X).collect_schema().names())


def domain_with(columns: Iterable[str]) -> Domain:
    """The domain that recognises some columns; `GENERIC` where none does."""
    columns = list(columns)
    return next((domain for domain in _installed() if domain.recognises(columns)), GENERIC)


def domain_named(name: str) -> Domain:
    """The installed domain of a name, such as stands in a model file.

    Raises
    ------
    UnknownDomainError
        No installed package has it.
    """
    known = {domain.name: domain for domain in (GENERIC, *_installed())}
    if name not in known:
        raise UnknownDomainError(
            f"the domain {name!r} is not installed; there are {', '.join(repr(n) for n in known)}. Install the package "
            f"that names it in the entry points {ENTRY_POINTS!r}."
        )
    return known[name]


@cache
def _installed() -> tuple[Domain, ...]:
    return tuple(point.load() for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name))
