"""Classify objects by their histories."""

from __future__ import annotations

from typing import Any, Self

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from ddcl_tab.errors import InputError
from ddcl_tab.estimators.classifier import DDCLClassifier
from ddcl_tab.features.history import find_column, history_features


class DDCLHistoryClassifier(ClassifierMixin, BaseEstimator):
    """Classify objects by several epochs of each, with gaps.

    A history becomes one row by :func:`ddcl_tab.features.history.history_features`: the newest state, rate and scatter
    of every number. A :class:`DDCLClassifier` learns from those rows. Results have one entry an object, in the order of
    :meth:`objects`, which is sorted.

    Parameters
    ----------
    classifier : DDCLClassifier, optional
        What learns from the rows. Default: ``DDCLClassifier()``.

    Attributes
    ----------
    classifier_ : DDCLClassifier
        Fitted; its prototypes, certificate, explanations and ``save`` speak about the rows of :meth:`wide`.
    classes_ : ndarray

    Examples
    --------
    >>> from datetime import datetime
    >>> epochs = [datetime(2021, 1, 1), datetime(2023, 1, 1)]
    >>> rows = [(i, t, 600.0 - 40 * (i % 2) * k, "AB"[i % 2]) for i in range(60) for k, t in enumerate(epochs)]
    >>> columns = ["norad_cat_id", "epoch", "PERIGEE", "OBJECT_TYPE"]
    >>> long = pl.DataFrame(rows, schema=columns, orient="row")
    >>> clf = DDCLHistoryClassifier(DDCLClassifier(n_prototypes=2, max_epochs=20, certify=False, random_state=0))
    >>> clf.fit(long).predict(long)[:4]
    array(['A', 'B', 'A', 'B'], dtype='<U1')
    """

    def __init__(self, classifier: DDCLClassifier | None = None) -> None:
        self.classifier = classifier

    def fit(self, X: Any, y: Any = None, *, id: str = "norad_cat_id", time: str = "epoch") -> Self:
        """Learn from a long frame.

        Parameters
        ----------
        X : pandas or polars frame
            One row an object and epoch, in any order.
        y : array, shape (rows of X,), optional
            Class of each row, the same in all rows of an object. Default: the classifier's target column; objects whose
            class is missing or "UNKNOWN" are left out.
        id, time : str
            Columns of object and epoch, found whatever their case.

        Raises
        ------
        InputError
            As :func:`history_features`; or an object has two classes.
        """
        classifier = DDCLClassifier() if self.classifier is None else clone(self.classifier)
        self._id, self._time = id, time
        wide = history_features(X, id, time)
        long = nw.from_native(X, eager_only=True).to_polars()
        name = find_column(long, id)
        if y is not None:
            labels = np.asarray(y)
            if len(labels) != len(long):
                raise InputError(f"y has {len(labels)} values for {len(long)} rows: give one class a row.")
            long = long.with_columns(pl.Series(classifier.target, labels))
            wide = wide.drop(classifier.target, strict=False)
            wide = wide.join(long.group_by(name).agg(pl.col(classifier.target).last()), on=name, maintain_order="left")
        find_column(long, classifier.target)
        kinds = long.group_by(name).agg(pl.col(classifier.target).n_unique().alias("n")).filter(pl.col("n") > 1)
        if len(kinds):
            raise InputError(f"{name} {kinds.sort(name)[name][0]} has two classes in {classifier.target!r}: keep one.")
        self.classifier_ = classifier.fit(self._features(wide))
        self.classes_ = self.classifier_.classes_
        return self

    def wide(self, X: Any) -> pl.DataFrame:
        """The row of each object that the classifier sees, sorted by object."""
        check_is_fitted(self)
        return history_features(X, self._id, self._time)

    def objects(self, X: Any) -> NDArray[Any]:
        """Objects of ``X``, sorted: what the entries of all results belong to."""
        wide = self.wide(X)
        return wide[find_column(wide, self._id)].to_numpy()

    def predict(self, X: Any) -> NDArray[Any]:
        """Class of each object."""
        return self.classifier_.predict(self._features(self.wide(X)))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probability of each class, shape (objects, classes)."""
        return self.classifier_.predict_proba(self._features(self.wide(X)))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Share of objects told right; ``y`` has one class an object. Default: the target column."""
        wide = self.wide(X)
        truth = wide[self.classifier_.target].to_numpy() if y is None else y
        return float(super().score(X, truth, sample_weight))

    def _features(self, wide: pl.DataFrame) -> pl.DataFrame:
        """The object's number stays only where it helps to keep launches together; it is no feature."""
        number = find_column(wide, self._id)
        return wide.rename({number: "NORAD_CAT_ID"}) if "OBJECT_ID" in wide.columns else wide.drop(number)
