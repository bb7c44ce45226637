"""Clusters of a table without labels: prototypes whose temperature follows their own error."""

from __future__ import annotations

import numbers
from typing import Any, Literal, NamedTuple, Self

import narwhals.stable.v2 as nw
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.cluster import kmeans_plusplus
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import _check_n_features, check_is_fitted

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.estimators._columns import as_table, is_frame
from ddcl_tab.estimators._domain import domain_of
from ddcl_tab.estimators._table import TableEncoder
from ddcl_tab.estimators._validation import library_of
from ddcl_tab.nn._quantization import assign, critical_temperature, loss_terms, squared_distances
from ddcl_tab.training._rows import N_RESERVED

#: Starts, and the steps after which the one with the smallest error is kept: a single start can end badly.
N_STARTS, FIRST_STEPS = 10, 10
#: Most steps, and the move that counts as none, in standard deviations.
MAX_STEPS, STILL = 300, 1e-4
#: Smallest variance of a prototype's rows along a direction, in units of the mean one.
SPREAD_FLOOR = 0.1


class DDCLClusterer(ClusterMixin, TransformerMixin, BaseEstimator):
    """Cluster the rows of a frame by DDCL prototypes.

    Prototypes start at rows far from each other (k-means++) and move to the soft means of their rows at
    ``T = 2 sigma^2``, twice their squared error per dimension: EM for a mixture of equally wide Gaussians, and the rule
    of `DDCLCodebook` for codes of 16 or more dimensions. Cooling from the critical temperature instead ended with a
    larger error, in five times the time.

    Numbers are scaled as the classifier scales them, a missing one counts as the mean; categories are one-hot. A column
    has variance 1, less where others say the same (period, apogee and semi-major axis): numbers are divided by the root
    of their summed squared correlations. Names, catalog numbers and other leaks, and the target of the frame's domain
    (``OBJECT_TYPE`` in a catalog), are no features.

    Parameters
    ----------
    n_clusters : int, default 8
    columns : list of str, optional
        Columns to use. Default: all but leaks.
    random_state : int, RandomState or None, default None
        Of the rows that the prototypes start from.

    Attributes
    ----------
    labels_ : ndarray of int64, shape (n,)
        Nearest prototype of each row.
    cluster_centers_ : frame, one row per cluster
        Of the library of ``X`` (pandas for arrays). Numbers in the column's unit; the commonest category; ``size``, the
        number of rows.
    prototypes_ : ndarray of float32, shape (n_clusters, D)
        In the scaled space.
    spreads_ : ndarray of float32, shape (n_clusters, D)
        Variance of the rows of each prototype about it, in the scaled space; the floor keeps it above 0.
    temperature_, critical_temperature_ : float
        ``T``, and the one above which prototypes would collapse; squared scaled distance.
    terms_ : dict of str to float
        ``quantization = reconstruction + variance`` at the end, and the relative ``residual`` of that identity.
    n_iter_ : int
    n_features_in_ : int

    Examples
    --------
    >>> import polars as pl
    >>> frame = pl.DataFrame({"PERIGEE": [500.0, 510.0, 505.0, 35_780.0, 35_790.0, 35_785.0]})
    >>> clusterer = DDCLClusterer(n_clusters=2, random_state=0)
    >>> labels = clusterer.fit_predict(frame)
    >>> bool(labels[0] == labels[1] != labels[3] == labels[4])
    True
    >>> sorted(clusterer.cluster_centers_["PERIGEE"].round(0).to_list())
    [505.0, 35785.0]
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        columns: list[str] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.columns = columns
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the clusters.

        Parameters
        ----------
        X : frame or ndarray, shape (n, p)
        y : ignored

        Raises
        ------
        ConfigurationError
            ``n_clusters`` is no integer from 1 to the number of rows.
        ValueError
            ``X`` is no table, or no column may be used (InputError).
        """
        X = self._without_class(self._check_table(X))
        _check_n_features(self, X, reset=True)
        self._check_n_clusters(len(X))
        self.encoder_ = TableEncoder(columns=self.columns).fit(X)
        self._weights = self._column_weights(X)
        x = self._embed(X)
        seed = int(check_random_state(self.random_state).randint(2**31))
        centred = (x - x.mean(0)).double()
        self.critical_temperature_ = float(critical_temperature(centred.T @ centred / len(x)))
        prototypes = self._settle(x, seed)
        self.prototypes_ = prototypes.numpy()
        assignment = assign(x, prototypes, self.temperature_)
        terms = loss_terms(x.double(), prototypes.double(), assign(x.double(), prototypes.double(), self.temperature_))
        self.terms_ = {name: float(value) for name, value in terms._asdict().items()}
        self.terms_["residual"] = float(terms.residual)
        self.labels_ = assignment.distances.argmin(-1).numpy()
        self.spreads_ = self._spreads(x)
        self.cluster_centers_ = self._centers(library_of(X))
        return self

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Nearest prototype of each row, shape (n,)."""
        return self._distances(X).argmin(-1).numpy()

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Soft assignments ``q`` at ``temperature_``, shape (n, n_clusters); rows sum to 1."""
        return torch.softmax(-self._distances(X).double() / self.temperature_, -1).numpy()

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Scaled Euclidean distances to the prototypes, shape (n, n_clusters)."""
        return self._distances(X).sqrt().numpy()

    def score_samples(self, X: Any) -> NDArray[np.float32]:
        """Minus the quantisation error in units of ``spreads_``, shape (n,): the lower, the more unusual the row.

        Mean over the scaled space of the squared distance to the nearest prototype, each direction over the variance
        of that prototype's own rows there: most rows lie between -1 and 0.
        """
        x = self._checked(X)
        nearest = squared_distances(x, torch.from_numpy(self.prototypes_)).argmin(-1).numpy()
        gap = x.numpy() - self.prototypes_[nearest]
        return -(gap**2 / self.spreads_[nearest]).mean(1).astype(np.float32)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the columns of `transform`."""
        check_is_fitted(self)
        return np.array([f"ddclclusterer{i}" for i in range(len(self.prototypes_))], dtype=object)

    def _distances(self, X: Any) -> torch.Tensor:
        return squared_distances(self._checked(X), torch.from_numpy(self.prototypes_))

    def _checked(self, X: Any) -> torch.Tensor:
        """New rows in the scaled space."""
        check_is_fitted(self)
        X = self._without_class(self._check_table(X))
        if not is_frame(X):
            _check_n_features(self, X, reset=False)
        return self._embed(X)

    def _spreads(self, x: torch.Tensor) -> NDArray[np.float32]:
        """Variance about each prototype over its own rows, plus a tenth of the mean one: a floor for few equal rows."""
        labels, shape = torch.from_numpy(self.labels_), self.prototypes_.shape
        gap = (x - torch.from_numpy(self.prototypes_)[labels]).square()
        size = torch.bincount(labels, minlength=len(self.prototypes_)).clamp_min(1).unsqueeze(1)
        own = torch.zeros(shape).index_add(0, labels, gap) / size
        return (own + SPREAD_FLOOR * gap.mean().clamp_min(1e-12)).numpy()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = tags.input_tags.string = True
        return tags

    def _check_table(self, X: Any) -> Any:
        X = as_table(X)
        return X if is_frame(X) else check_array(X, dtype=None, ensure_all_finite="allow-nan", estimator=self)

    def _without_class(self, X: Any) -> Any:
        # The class of a row is what clusters are to find; they must not see it.
        target = domain_of(X).target
        if target is None or target in (self.columns or []):
            return X
        return nw.from_native(X, eager_only=True).drop(target, strict=False).to_native()

    def _check_n_clusters(self, n_rows: int) -> None:
        n = self.n_clusters
        if not isinstance(n, numbers.Integral) or isinstance(n, bool) or not 1 <= int(n) <= n_rows:
            raise ConfigurationError(f"n_clusters must be an integer from 1 to the number of rows {n_rows}, got {n!r}.")

    def _one_hot(self, codes: NDArray[np.int64]) -> list[NDArray[np.float32]]:
        return [
            np.eye(n, dtype=np.float32)[column] for n, column in zip(self.encoder_.cardinalities_, codes.T, strict=True)
        ]

    def _column_weights(self, X: Any) -> tuple[NDArray[np.float32], list[float]]:
        """Factors of the numeric columns, by what they share with each other, and of the categorical ones.

        A categorical column gets variance 1, or weight 0 where it is constant.
        """
        table = self.encoder_.transform(X)
        numbers = np.nan_to_num(table.numeric).astype(np.float64)
        unit = numbers - numbers.mean(0)
        unit /= np.maximum(np.linalg.norm(unit, axis=0), 1e-12)
        shared = np.maximum(np.square(unit.T @ unit).sum(0), 1.0)  # 1 for a constant column too
        spread = [float(np.sqrt(part.var(0).sum())) for part in self._one_hot(table.categorical)]
        return (1.0 / np.sqrt(shared)).astype(np.float32), [1.0 / s if s > 0 else 0.0 for s in spread]

    def _embed(self, X: Any) -> torch.Tensor:
        """Rows in the scaled space, shape (n, D)."""
        table, (numeric, categorical) = self.encoder_.transform(X), self._weights
        parts = zip(categorical, self._one_hot(table.categorical), strict=True)
        columns = [numeric * np.nan_to_num(table.numeric), *(np.float32(w) * part for w, part in parts)]
        return torch.from_numpy(np.concatenate(columns, axis=1, dtype=np.float32))

    def _settle(self, x: torch.Tensor, seed: int) -> torch.Tensor:
        """Prototypes from the best of some starts, moved until they are still."""
        still = STILL * float(x.std(0, correction=0).norm())
        starts = []
        for i in range(N_STARTS):
            rows, _ = kmeans_plusplus(x.numpy(), int(self.n_clusters), random_state=(seed + i) % 2**31)
            starts.append(_soft_means(x, torch.from_numpy(rows), still, FIRST_STEPS))
        best = min(starts, key=lambda settled: settled.error)
        prototypes, _, self.temperature_, self.n_iter_ = _soft_means(x, best.prototypes, still, MAX_STEPS)
        return prototypes

    def _centers(self, library: Literal["pandas", "polars"]) -> Any:
        """Prototypes in the units of the columns."""
        encoder, size = self.encoder_, np.bincount(self.labels_, minlength=len(self.prototypes_))
        columns: dict[str, Any] = {
            scale.name: scale.inverse(self.prototypes_[:, i] / self._weights[0][i])
            for i, scale in enumerate(encoder.numeric_)
        }
        start = len(encoder.numeric_)
        for codes, n in zip(encoder.categorical_, encoder.cardinalities_, strict=True):
            best = self.prototypes_[:, start : start + n].argmax(1)
            columns[codes.name] = [codes.categories[c - N_RESERVED] if c >= N_RESERVED else None for c in best]
            start += n
        return nw.from_dict({**columns, "size": size}, backend=library).to_native()


class _Settled(NamedTuple):
    """Prototypes after some steps; ``error`` is the mean squared distance to the nearest one."""

    prototypes: torch.Tensor
    error: float
    temperature: float
    n_steps: int


def _soft_means(x: torch.Tensor, prototypes: torch.Tensor, still: float, n_steps: int) -> _Settled:
    """Move prototypes to the soft means of their rows until they move by less than ``still``."""
    error, steps, move = float(squared_distances(x, prototypes).min(-1).values.mean()), 0, float("inf")
    while steps < n_steps and move > still:
        steps += 1
        temperature = max(2.0 * error / x.shape[1], 1e-12)
        q, _, distances = assign(x, prototypes, temperature)
        error, mass = float(distances.min(-1).values.mean()), q.sum(0).unsqueeze(1)
        moved = torch.where(mass > 1e-6, q.T @ x / mass.clamp_min(1e-6), prototypes)
        move, prototypes = float((moved - prototypes).norm(dim=1).max()), moved
    return _Settled(prototypes, error, temperature, steps)
