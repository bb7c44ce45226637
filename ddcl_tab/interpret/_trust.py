"""When not to trust a decision: sets of classes that hold the true one at a chosen level, and how foreign a row is."""

from __future__ import annotations

from typing import Any, Self

import narwhals.stable.v2 as nw
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.validation import check_is_fitted

from ddcl_tab.errors import ConfigurationError, InputError
from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._columns import as_table
from ddcl_tab.estimators._validation import check_groups, check_labels, library_of, take, take_target
from ddcl_tab.interpret._model import FittedModel
from ddcl_tab.training._rows import token_distances

#: Sums of shares that should be whole numbers miss them by rounding.
ROUNDING = 1e-9


class ConformalSets(BaseEstimator):
    """Turn class probabilities into sets of classes with a promised coverage in each class.

    A class ``k`` is in the set of a row if ``1 - p_k`` is at most the threshold of ``k``: the quantile at ``level`` of
    ``1 - p_k`` over calibration rows of class ``k``. Launches (``groups``), not rows, are exchangeable: fragments of
    one cloud are alike. So each launch counts as one, however many rows of the class it has, and one more launch counts
    as missed by all. The promise: a random object of class ``k`` from a random new launch has ``k`` in its set with a
    probability of at least ``level``, whatever the classifier. It says nothing about a share of all rows, which a few
    clouds decide; see :meth:`coverage` for both and ``pipelines/results/trust`` for measurements.

    New means like those that calibrate. For launches later than the training calibrate on the newest ones: with
    probabilities from a classifier that was fitted on the launches before them
    (``pipelines/results/coverage_in_time``).

    Source: Lee, Barber and Willett, arXiv:2306.06342 (groups); Vovk, Lindsay, Nouretdinov and Gammerman, "Mondrian
    confidence machine", 2003 (classes).

    Parameters
    ----------
    classifier : fitted classifier
        With ``predict_proba`` and ``classes_``.
    level : float, default=0.9
        Wanted coverage in each class, in (0, 1).

    Attributes
    ----------
    threshold_ : ndarray, shape (C,)
        Largest ``1 - p`` of each class that is still in the set, in the order of ``classes_``.
    n_groups_ : ndarray of int, shape (C,)
        Groups that each threshold comes from.
    classes_ : ndarray, shape (C,)

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = LogisticRegression(max_iter=500).fit(X[::3], y[::3])
    >>> sets = ConformalSets(classifier, level=0.9).fit(X[1::3], y[1::3])
    >>> sets.predict_set(X[2::3]).shape
    (50, 3)
    """

    def __init__(self, classifier: ClassifierMixin, level: float = 0.9) -> None:
        self.classifier = classifier
        self.level = level

    def fit(self, X: Any, y: Any = None, groups: Any = None, probability: ArrayLike | None = None) -> Self:
        """Calibrate on rows that the classifier has not seen.

        Parameters
        ----------
        X : frame or array, shape (n, p)
            Without ``y``, a frame that holds the classifier's target column; rows of unknown class are left out.
        y : array-like, shape (n,), optional
            Classes, none missing.
        groups : array-like, shape (n,), optional
            Exchangeable units. Default: the groups that the frame's domain knows, such as
            launches; otherwise each row is one.
        probability : array-like, shape (n, C), optional
            Probabilities of rows from models that have not seen them, such as
            :func:`ddcl_tab.interpret._labels.out_of_fold` makes: then no rows need to be spared. The promise then
            assumes that the classifier errs like the models of the folds, which saw fewer rows.

        Returns
        -------
        ConformalSets

        Raises
        ------
        ConfigurationError
            ``level`` is not in (0, 1), or the classifier cannot be used.
        InputError
            A class has too few groups for the level, or ``y`` is missing in places.
        """
        _check_classifier(self.classifier)
        if isinstance(self.level, bool) or not isinstance(self.level, float) or not 0.0 < self.level < 1.0:
            raise ConfigurationError(f"level must be a number in (0, 1) such as 0.9, not {self.level!r}")
        self.classes_ = np.asarray(self.classifier.classes_)
        score, label, group = self._scored(X, y, groups, probability)
        thresholds = [_calibrate(score[label == k, k], group[label == k], self.level) for k in range(score.shape[1])]
        self.n_groups_ = np.array([len(np.unique(group[label == k])) for k in range(score.shape[1])])
        self._check_enough(thresholds)
        self.threshold_ = np.array(thresholds)
        return self

    def predict_set(self, X: Any) -> NDArray[np.bool_]:
        """Which classes are in the set of each row.

        Parameters
        ----------
        X : frame or array, shape (n, p)

        Returns
        -------
        ndarray of bool, shape (n, C)
            In the order of ``classes_``. More than one: the model cannot decide. None: the row is unlike the
            calibration rows of every class.

        Raises
        ------
        NotFittedError
        """
        check_is_fitted(self)
        return self._sets_of(np.asarray(self.classifier.predict_proba(as_table(X))))

    def _sets_of(self, probability: NDArray[np.float64]) -> NDArray[np.bool_]:
        """As :meth:`predict_set`, of rows whose class probabilities ``(n, C)`` are known."""
        return 1.0 - probability <= self.threshold_

    def coverage(self, X: Any, y: Any = None, groups: Any = None) -> Any:
        """Measure the coverage on rows used neither for training nor for calibration.

        Parameters
        ----------
        X, y, groups
            As in :meth:`fit`.

        Returns
        -------
        frame
            One row a class: ``class``, ``level``, ``rows``, ``groups``, ``coverage`` (share of the rows of a group,
            averaged over groups: what is promised), ``standard_error`` of it, ``coverage_rows`` (share of all rows),
            ``set_size`` (mean number of classes in the sets of its rows); NaN where there are no rows (the standard
            error: one group). polars for polars, else pandas.
        """
        check_is_fitted(self)
        score, label, group = self._scored(X, y, groups, None)
        inside = score <= self.threshold_
        rows = [_covered(inside[label == k], k, group[label == k]) for k in range(len(self.classes_))]
        table = {"class": self.classes_.tolist(), "level": [float(self.level)] * len(rows)}
        table |= {name: [row[name] for row in rows] for name in rows[0]}
        return nw.from_dict(table, backend=library_of(X)).to_native()

    def _scored(
        self, X: Any, y: Any, groups: Any, probability: ArrayLike | None
    ) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.int64]]:
        """``1 - p`` of every class, index of the class and group of rows with a known class."""
        X = as_table(X)
        given = None if probability is None else _check_probability(probability, len(X), len(self.classes_))
        if y is None:
            X, y, kept = take_target(X, getattr(self.classifier, "target", None))
            groups, given = take(groups, kept), take(given, kept)
        y = check_labels(X, y)
        unknown = sorted(set(y.tolist()) - set(self.classes_.tolist()), key=str)
        if unknown:
            raise InputError(f"y holds classes {unknown} that the classifier does not know: {self.classes_.tolist()}.")
        group = check_groups(groups, X, len(y))
        if given is None:
            given = np.asarray(self.classifier.predict_proba(X))
        if not np.isfinite(given).all():
            raise InputError("probability has NaN in rows of known class: hand over numbers for all of them.")
        return 1.0 - given, np.searchsorted(self.classes_, y), np.arange(len(y)) if group is None else group

    def _check_enough(self, thresholds: list[float]) -> None:
        needed = int(np.ceil(self.level / (1.0 - self.level) - ROUNDING))
        for name, threshold, n in zip(self.classes_, thresholds, self.n_groups_, strict=True):
            if threshold == np.inf:
                raise InputError(
                    f"class {str(name)!r} has {n} groups to calibrate with, and level {self.level} needs {needed}: "
                    "lower level, or calibrate on more groups (where none are known, on more rows)."
                )


def _check_classifier(classifier: object) -> None:
    if not hasattr(classifier, "predict_proba"):
        raise ConfigurationError(f"classifier must have predict_proba, which {type(classifier).__name__} lacks")
    check_is_fitted(classifier)


def _check_probability(probability: ArrayLike, n_rows: int, n_classes: int) -> NDArray[np.float64]:
    probability = np.asarray(probability, dtype=np.float64)
    if probability.shape != (n_rows, n_classes):
        raise InputError(
            f"probability must have one row for each row of X and one column for each class, {(n_rows, n_classes)}, "
            f"not shape {probability.shape}"
        )
    return probability


def _share_of_group(group: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weight of each row so that every group weighs 1."""
    _, index, count = np.unique(group, return_inverse=True, return_counts=True)
    return 1.0 / count[index]


def _calibrate(score: NDArray[np.float64], group: NDArray[np.int64], level: float) -> float:
    """Smallest score with a share ``level`` of the groups and one group at infinity up to it, or infinity."""
    order = np.argsort(score, kind="stable")
    reached = np.cumsum(_share_of_group(group)[order])
    needed = level * (len(np.unique(group)) + 1)
    first = int(np.searchsorted(reached, needed - ROUNDING))
    return float(score[order[first]]) if first < len(order) else np.inf


def _covered(inside: NDArray[np.bool_], k: int, group: NDArray[np.int64]) -> dict[str, float]:
    """Figures of one class from the sets of its rows."""
    n_groups = len(np.unique(group))
    by_group = np.bincount(np.unique(group, return_inverse=True)[1], weights=_share_of_group(group) * inside[:, k])
    return {
        "rows": len(group),
        "groups": n_groups,
        "coverage": float(by_group.mean()) if n_groups else np.nan,
        "standard_error": float(by_group.std(ddof=1) / np.sqrt(n_groups)) if n_groups > 1 else np.nan,
        "coverage_rows": float(inside[:, k].mean()) if n_groups else np.nan,
        "set_size": float(inside.sum(axis=1).mean()) if n_groups else np.nan,
    }


#: Training rows that a row is compared with.
N_NEIGHBOURS = 5


class NoveltyScore(BaseEstimator):
    """Mean distance of a row to its nearest training rows, in the classifier's own scaled columns.

    The network is no help here: it was trained to forget what does not separate classes, and a row from elsewhere
    lands among the known ones. On held-out regimes and planted outliers this distance finds far more than the distance
    to the prototypes (``pipelines/results/trust`` has both). Numbers count beyond the training range, where the
    classifier itself only sees the end of the range.

    Parameters
    ----------
    classifier : DDCLClassifier
        Fitted.

    Attributes
    ----------
    neighbours_ : sklearn.neighbors.NearestNeighbors
        Of the training rows.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = DDCLClassifier(n_prototypes=6, max_epochs=3, certify=False, random_state=0).fit(X, y)
    >>> score = NoveltyScore(classifier).fit(X)
    >>> bool(score.novelty([[60.0, 3.0, 4.0, 1.0]])[0] > score.novelty(X).max())
    True
    """

    def __init__(self, classifier: DDCLClassifier) -> None:
        self.classifier = classifier

    def fit(self, X: Any, y: Any = None) -> Self:
        """Remember the training rows.

        Parameters
        ----------
        X : frame or array, shape (n, p)
            Rows that the classifier was trained on; at least 5.
        y : ignored

        Returns
        -------
        NoveltyScore

        Raises
        ------
        ConfigurationError, NotFittedError
            ``classifier`` is no fitted DDCLClassifier.
        InputError
            Too few rows.
        """
        return self._fit_points(self._points(X))

    def _fit_points(self, points: NDArray[np.float64]) -> Self:
        """As :meth:`fit`, of rows whose coordinates ``(n, D)`` are known."""
        if len(points) < N_NEIGHBOURS:
            raise InputError(f"X has {len(points)} rows: novelty needs at least {N_NEIGHBOURS} rows to compare with.")
        self.neighbours_ = NearestNeighbors(n_neighbors=N_NEIGHBOURS).fit(points)
        return self

    def novelty(self, X: Any) -> NDArray[np.float64]:
        """Novelty of each row: the higher, the more foreign.

        Parameters
        ----------
        X : frame or array, shape (n, p)
            Rows of ``fit`` find themselves among their neighbours, so their scores are too low.

        Returns
        -------
        ndarray, shape (n,)
            In standard deviations of the scaled columns. To choose a limit, look at rows held out of ``fit``.

        Raises
        ------
        NotFittedError
        """
        check_is_fitted(self)
        return self._novelty_at(self._points(X))

    def _novelty_at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """As :meth:`novelty`, of rows whose coordinates ``(n, D)`` are known."""
        distance, _ = self.neighbours_.kneighbors(points)
        return distance.mean(axis=1)

    def _points(self, X: Any) -> NDArray[np.float64]:
        encoder = FittedModel(self.classifier).classifier.encoder_
        features = self.classifier._features_of(X)
        return encoder.coordinates(encoder.read(features), encoder.transform(features))


def prototype_distances(classifier: DDCLClassifier, X: Any) -> NDArray[np.float64]:
    """Squared distances of the rows' tokens to the prototypes.

    The smallest of a row says how well a prototype stands for it; as a novelty score it is weak, see
    :class:`NoveltyScore`.

    Parameters
    ----------
    classifier : DDCLClassifier
        Fitted.
    X : frame or array, shape (n, p)

    Returns
    -------
    ndarray, shape (n, K)
        No unit; in the order of ``prototypes_``.

    Raises
    ------
    ConfigurationError, NotFittedError
        ``classifier`` is no fitted DDCLClassifier.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = DDCLClassifier(n_prototypes=6, max_epochs=3, certify=False, random_state=0).fit(X, y)
    >>> prototype_distances(classifier, X).shape
    (150, 6)
    """
    table = FittedModel(classifier).encode(X)
    return token_distances(classifier.network_, *table, torch.device(classifier.device))
