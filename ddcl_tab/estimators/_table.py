"""Scale numbers and code categories: a frame becomes two arrays that a network can read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, Self

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from ddcl_tab.errors import InputError
from ddcl_tab.estimators._columns import (
    CategoricalColumn,
    NumericColumn,
    as_numbers,
    as_table,
    is_frame,
    to_columns,
)
from ddcl_tab.estimators._domain import Domain, domain_of
from ddcl_tab.training._rows import MISSING, N_RESERVED, UNSEEN

#: A category seen in fewer rows is as rare as an unseen one.
MIN_COUNT = 5
#: A column whose central 98 % is wider than this many interquartile ranges is heavy-tailed (a normal one: 3.4).
HEAVY_TAIL = 6.0
#: Scaled values beyond this many standard deviations are held there.
CLIP = 8.0
#: Values beyond this count as this: files write the largest float for "unknown", and differences must not overflow.
LARGEST = 1e300
#: Pieces of the embedding of a column: as many as there are quantiles, none narrower than this many standard deviations
#: (its slope is one over its width, and float32 has seven digits).
N_PIECES, NARROWEST = 48, 1e-4
#: Two different categories are 0.2 sqrt(2) standard deviations apart: at a full one, a rare site outweighs any orbit.
CATEGORY_WEIGHT = 0.2
#: Scaled numbers are held here in coordinates, in standard deviations.
FARTHEST = 50.0


class EncodedRows(NamedTuple):
    """Encoded rows.

    Attributes
    ----------
    numeric : ndarray, shape (n, n_numeric), float32
        Scaled, no unit; NaN where missing.
    categorical : ndarray, shape (n, n_categorical), int64
        Codes; 0 missing, 1 rare or unseen, from 2 on the known categories.
    """

    numeric: NDArray[np.float32]
    categorical: NDArray[np.int64]


@dataclass(frozen=True)
class NumericScale:
    """How one numeric column is scaled.

    ``t = asinh(2 (x - median) / iqr)`` for a heavy-tailed column, else ``t = x - median``, then ``(t - mean) / std``.
    The inverse hyperbolic sine is linear inside the bulk and logarithmic outside it, so altitudes of 500 and 550 km
    stay apart while 36,000 km stays in range. Values beyond the training range (``low`` to ``high``, scaled) count as
    its ends, as they do for trees: out there the network has seen nothing and would only extrapolate. ``edges`` are
    quantiles of the scaled values, between which the embedding of the column is linear.
    """

    name: str
    unit: str
    median: float
    iqr: float
    heavy: bool
    mean: float
    std: float
    low: float
    high: float
    edges: tuple[float, ...]

    def squash(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values before they are centred and divided by ``std``."""
        shifted = np.clip(x, -LARGEST, LARGEST) - self.median
        if not self.heavy:
            return shifted
        limit = LARGEST * min(self.iqr, 1.0)
        return np.arcsinh(2.0 * (np.clip(shifted, -limit, limit) / self.iqr))

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scale ``x`` (in the column's unit) to no unit."""
        with np.errstate(over="ignore"):  # infinity is clipped like any other large value
            return np.clip((self.squash(x) - self.mean) / self.std, self.low, self.high)

    def inverse(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values in the column's unit whose scaled values are ``scaled``."""
        squashed = np.asarray(scaled, dtype=np.float64) * self.std + self.mean
        return self.median + (np.sinh(squashed) * self.iqr / 2.0 if self.heavy else squashed)


@dataclass(frozen=True)
class CategoryCodes:
    """Known categories of one column, sorted; the code of ``categories[i]`` is ``i + 2``."""

    name: str
    categories: tuple[str, ...]

    def __call__(self, values: NDArray[np.object_]) -> NDArray[np.int64]:
        """Code ``values``."""
        code = {category: i + N_RESERVED for i, category in enumerate(self.categories)}
        return np.array([MISSING if v is None else code.get(v, UNSEEN) for v in values], dtype=np.int64)


def _counts(values: NDArray[Any], weight: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Distinct values with their weights: the same whether a row is repeated twice or weighs two."""
    values, weight = values[weight > 0], weight[weight > 0]
    distinct, inverse = np.unique(values, return_inverse=True)
    return distinct, np.bincount(inverse, weights=weight, minlength=len(distinct)).astype(np.float64)


def _quantile(distinct: NDArray[np.float64], count: NDArray[np.float64], level: float) -> float:
    cumulated = np.cumsum(count)
    return float(distinct[np.searchsorted(cumulated, level * cumulated[-1])])


def _fit_scale(column: NumericColumn, weight: NDArray[np.float64]) -> NumericScale | None:
    present = ~np.isnan(column.values)
    distinct, count = _counts(np.clip(column.values[present], -LARGEST, LARGEST), weight[present])
    if not len(distinct):
        return None
    low, first, median, third, high = (_quantile(distinct, count, level) for level in (0.01, 0.25, 0.5, 0.75, 0.99))
    # Halves before the difference: the difference of two finite floats may overflow.
    iqr, width = third / 2 - first / 2, high / 2 - low / 2
    heavy = bool(0.0 < HEAVY_TAIL * iqr < width) or bool(iqr == 0.0 < width)
    raw = NumericScale(
        column.name,
        column.unit,
        median,
        2 * iqr if iqr > 0 else max(abs(width), 1e-300),
        heavy,
        mean=0.0,
        std=1.0,
        low=-CLIP,
        high=CLIP,
        edges=(),
    )
    squashed = raw.squash(distinct)
    largest = float(np.abs(squashed).max()) or 1.0
    share = count / count.sum()
    mean = float(share @ (squashed / largest)) * largest
    std = float(np.sqrt(share @ ((squashed - mean) / largest) ** 2)) * largest
    # A spread that is only rounding error means a constant column.
    std = std if std > 1e-9 * abs(largest) else largest
    scale = replace(raw, mean=mean, std=std)
    low, high = (float(end) for end in scale(distinct[[0, -1]]))
    return replace(scale, low=low, high=high, edges=_edges(scale(distinct), count))


def _edges(scaled: NDArray[np.float64], count: NDArray[np.float64]) -> tuple[float, ...]:
    """Quantiles of increasing values with their weights, at least three of them and :data:`NARROWEST` apart.

    Examples
    --------
    >>> _edges(np.array([-1.0, 0.5, 2.0]), np.array([98.0, 1.0, 1.0]))
    (-1.0, 0.5, 2.0)
    >>> _edges(np.array([0.0]), np.array([10.0]))
    (0.0, 0.5, 1.0)
    """
    reached = np.cumsum(count)
    levels = np.arange(N_PIECES + 1) / N_PIECES * reached[-1]
    place = np.minimum(np.searchsorted(reached, levels), len(scaled) - 1)
    place[-1] = len(scaled) - 1
    edges: list[float] = []
    for value in scaled[np.unique(place)].tolist():
        if not edges or value - edges[-1] >= NARROWEST:
            edges.append(value)
    if len(edges) == 1:
        edges.append(edges[0] + 1.0)
    return tuple(edges if len(edges) > 2 else (edges[0], (edges[0] + edges[1]) / 2, edges[1]))


def _fit_codes(column: CategoricalColumn, weight: NDArray[np.float64]) -> CategoryCodes | None:
    present = np.array([value is not None for value in column.values], dtype=bool)
    distinct, count = _counts(column.values[present].astype(str), weight[present])
    if not len(distinct):
        return None
    return CategoryCodes(column.name, tuple(str(v) for v in distinct[count >= MIN_COUNT]))


class TableEncoder(BaseEstimator):
    """Turn a frame into scaled numbers and category codes, remembering names and units.

    Weights count as repetitions: a row of weight 2 and the same row twice give the same encoder.

    Parameters
    ----------
    columns : list of str, optional
        Columns to use; for an array, names for all of its columns. Default: those that may be learned from by the
        domain; ``x0``, ``x1``, ... for an array.
    allow_leaks : bool, default=False
        Keep columns that give the class away.
    domain : Domain, optional
        What is known of the columns: units, leaks. Default: that of the frame.

    Attributes
    ----------
    domain_ : Domain
    numeric_ : list of NumericScale
        In column order; columns without any value are left out (see ``empty_``).
    categorical_ : list of CategoryCodes
    empty_ : list of str
        Columns without any value in fit.
    columns_ : list of str
        Names read from the frame, in order.

    Examples
    --------
    >>> import polars as pl
    >>> frame = pl.DataFrame({"PERIGEE": [500.0, 550.0, 35_780.0, None], "SITE": ["TSC", None, "TSC", "TSC"]})
    >>> encoder = TableEncoder().fit(frame)
    >>> table = encoder.transform(frame)
    >>> table.numeric.shape, encoder.numeric_[0].unit
    ((4, 1), 'km')
    >>> table.categorical.ravel()  # TSC stands in fewer than 5 rows: as rare as unseen
    array([1, 0, 1, 1])
    """

    def __init__(
        self, *, columns: list[str] | None = None, allow_leaks: bool = False, domain: Domain | None = None
    ) -> None:
        self.columns = columns
        self.allow_leaks = allow_leaks
        self.domain = domain

    def fit(self, X: Any, y: Any = None, sample_weight: NDArray[np.float64] | None = None) -> Self:
        """Learn scales and categories.

        Parameters
        ----------
        X : frame (also a lazy one) or ndarray, shape (n, p)
        y : ignored
        sample_weight : ndarray, shape (n,), optional

        Returns
        -------
        TableEncoder

        Raises
        ------
        InputError
            No column may be used, or none holds any value.

        Warns
        -----
        LeakWarning
            Columns that give the class away were left out.
        """
        X = as_table(X)
        self.domain_ = domain_of(X) if self.domain is None else self.domain
        self.columns_ = self._choose(X)
        columns = to_columns(X, self.columns_, self.domain_.units)
        self.numeric_: list[NumericScale] = []
        self.categorical_: list[CategoryCodes] = []
        self.empty_: list[str] = []
        for column in columns:
            weight = np.ones(len(column.values)) if sample_weight is None else sample_weight
            if isinstance(column, NumericColumn):
                scale = _fit_scale(column, weight)
                self.numeric_ += [scale] if scale else []
            else:
                codes = _fit_codes(column, weight)
                self.categorical_ += [codes] if codes else []
            if column.name not in self.feature_names_:
                self.empty_.append(column.name)
        if not self.feature_names_:
            raise InputError(f"nothing to learn from: none of the columns {self.columns_} holds a value.")
        return self

    def _choose(self, X: Any) -> list[str]:
        if self.columns is not None:
            return list(self.columns)
        if not is_frame(X):
            return [f"x{i}" for i in range(np.shape(X)[1])]
        there = nw.from_native(X, eager_only=True).columns
        chosen = self.domain_.features_among(there, allow_leaks=self.allow_leaks)
        if not chosen:
            raise InputError(f"nothing to learn from: none of the columns {there} may be a feature.")
        return chosen

    @property
    def feature_names_(self) -> list[str]:
        """Names of the columns that became tokens, numeric ones first."""
        return [scale.name for scale in self.numeric_] + [codes.name for codes in self.categorical_]

    @property
    def cardinalities_(self) -> list[int]:
        """Number of codes of each categorical column, the two reserved ones included."""
        return [len(column.categories) + N_RESERVED for column in self.categorical_]

    @property
    def edges_(self) -> list[tuple[float, ...]]:
        """Edges of the pieces of the embedding of each numeric column, scaled."""
        return [scale.edges for scale in self.numeric_]

    def read(self, X: Any) -> dict[str, NumericColumn | CategoricalColumn]:
        """Columns of ``X`` as they are, in their units, by name."""
        return {column.name: column for column in to_columns(X, self.columns_, self.domain_.units)}

    def transform(self, X: Any) -> EncodedRows:
        """Encode rows.

        Parameters
        ----------
        X : frame or ndarray, shape (n, p)
            Holds at least the columns of fit.

        Returns
        -------
        EncodedRows

        Raises
        ------
        InputError
            As in `fit`, or a column changed between numbers, texts and dates.
        """
        columns = self.read(X)
        n_rows = len(next(iter(columns.values())).values)
        numeric = np.empty((n_rows, len(self.numeric_)), dtype=np.float32)
        categorical = np.empty((n_rows, len(self.categorical_)), dtype=np.int64)
        for i, scale in enumerate(self.numeric_):
            numeric[:, i] = scale(as_numbers(columns[scale.name], scale.unit))
        for i, codes in enumerate(self.categorical_):
            categorical[:, i] = codes(_as_texts(columns[codes.name]))
        return EncodedRows(numeric, categorical)

    def coordinates(
        self, columns: Mapping[str, NumericColumn | CategoricalColumn], encoded: EncodedRows
    ) -> NDArray[np.float64]:
        """Where rows lie, for distances between them: shape (n, D), in standard deviations.

        Scaled numbers, also beyond the training range (0 where missing), which of them are missing, and categories as
        indicators.

        Parameters
        ----------
        columns : dict of NumericColumn and CategoricalColumn
            As they are, in their units.
        encoded : EncodedRows
            The same rows encoded.
        """
        codes = encoded.categorical
        numbers = np.zeros((len(codes), len(self.numeric_)))
        for i, scale in enumerate(self.numeric_):
            column = columns[scale.name]
            # A column of numbers without any value is read as one of texts.
            values = column.values if isinstance(column, NumericColumn) else np.full(len(codes), np.nan)
            with np.errstate(over="ignore"):  # the largest floats are held like any other
                numbers[:, i] = np.clip((scale.squash(values) - scale.mean) / scale.std, -FARTHEST, FARTHEST)
        missing = np.isnan(numbers)
        indicators = [np.eye(n)[codes[:, i]] for i, n in enumerate(self.cardinalities_)]
        return np.concatenate(
            [np.where(missing, 0.0, numbers), CATEGORY_WEIGHT * np.concatenate([missing, *indicators], axis=1)], axis=1
        )

    def to_json(self) -> dict[str, Any]:
        """State as plain values."""
        return {
            "columns": self.columns_,
            "empty": self.empty_,
            "numeric": [asdict(scale) for scale in self.numeric_],
            "categorical": [{"name": c.name, "categories": list(c.categories)} for c in self.categorical_],
        }

    @classmethod
    def from_json(cls, state: dict[str, Any], domain: Domain) -> Self:
        """Encoder from what :meth:`to_json` returned."""
        encoder = cls(domain=domain)
        encoder.domain_ = domain
        encoder.columns_, encoder.empty_ = list(state["columns"]), list(state["empty"])
        encoder.numeric_ = [NumericScale(**(s | {"edges": tuple(s["edges"])})) for s in state["numeric"]]
        encoder.categorical_ = [CategoryCodes(c["name"], tuple(c["categories"])) for c in state["categorical"]]
        return encoder


def _as_texts(column: NumericColumn | CategoricalColumn) -> NDArray[np.object_]:
    if isinstance(column, CategoricalColumn):
        return column.values
    row = next((i for i, value in enumerate(column.values) if not np.isnan(value)), None)
    if row is None:
        return np.full(len(column.values), None, dtype=object)
    raise InputError(
        f"column {column.name!r} held texts in fit; row {row} now holds the number {column.values[row]!r}."
    )
