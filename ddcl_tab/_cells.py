"""Counts of values in cells: sums by key, and quartiles of the others of a group from counts alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def hashes(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): one to one, and in no order."""
    with np.errstate(over="ignore"):
        x = numbers + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def grouped(keys: NDArray[np.int64], number: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct keys, sorted, with the sum of their numbers, and a 0 behind them for a key that is not there."""
    distinct, where = np.unique(keys, axis=0, return_inverse=True)
    summed = np.zeros(len(distinct) + 1, dtype=np.int64)
    np.add.at(summed, where.ravel(), number)
    return distinct, summed


def find(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.intp]:
    """Place of each wanted row among sorted distinct rows; -1 where it is not there."""
    if not len(keys):
        return np.full(len(wanted), -1)
    both = np.concatenate([keys, wanted])
    _, code = np.unique(both, axis=0, return_inverse=True)
    code = code.ravel()
    place = np.full(code.max() + 1, -1)
    place[code[: len(keys)]] = np.arange(len(keys))
    return place[code[len(keys) :]]


def quartiles(
    cells: NDArray[np.int64],
    n_families: int,
    family: NDArray[np.intp],
    own: NDArray[np.int64],
    is_counted: NDArray[np.bool_],
    *,
    width: float,
    centre: float,
) -> list[NDArray[np.float64]]:
    """Quartiles of the values of the other members, from counts in cells.

    Parameters
    ----------
    cells : ndarray of int64, shape (m, 3)
        Family, cell and number of values in it.
    n_families : int
    family, own : ndarray of int, shape (n,)
        Family of each row and the cell of its own value.
    is_counted : ndarray of bool, shape (n,)
        Whether that value is among those in its cell, and has to be taken out.
    width, centre : float
        A cell stands for the value ``(cell + centre) * width``.

    Returns
    -------
    list of ndarray of float64, shape (n,)
        Lower quartile, median, upper quartile; NaN without other members.
    """
    if not len(cells):
        return [np.full(len(family), np.nan)] * 3
    keys, number = grouped(cells[:, :2], cells[:, 2])
    end = np.cumsum(number[:-1])
    first = np.searchsorted(keys[:, 0], np.arange(n_families + 1))
    start = np.concatenate([[0], end])[first]
    n, begin = np.diff(start)[family], start[:-1][family]
    # The row itself is the last of its cell: the order of equal values does not matter.
    at = find(keys, np.column_stack([family, own]))
    leaves = is_counted & (at >= 0)
    n = n - leaves
    itself = np.where(leaves, end[at] - 1 - begin, np.iinfo(np.int64).max)
    result = []
    for level in (0.25, 0.5, 0.75):
        position = level * np.maximum(n - 1, 0)
        ends = []
        for rank in (np.floor(position).astype(np.int64), np.ceil(position).astype(np.int64)):
            rank = begin + rank + (rank >= itself)
            cell = np.minimum(np.searchsorted(end, rank, side="right"), len(keys) - 1)
            ends.append((keys[cell, 1] + centre) * width)
        value = ends[0] + (position - np.floor(position)) * (ends[1] - ends[0])
        result.append(np.where(n > 0, value, np.nan))
    return result
