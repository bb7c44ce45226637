"""Classify objects by their histories."""

from __future__ import annotations

import os
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ddcl_tab.errors import InputError
from ddcl_tab.estimators import inputs
from ddcl_tab.estimators.classifier import DDCLClassifier
from ddcl_tab.features import as_table
from ddcl_tab.features.history import check_long, find_column, history_features, training_histories

_GROUP = "__group__"


class DDCLHistoryClassifier(ClassifierMixin, BaseEstimator):
    """Classify objects by several epochs of each, with gaps.

    A history becomes one row by :func:`ddcl_tab.features.history.history_features`: the newest state, rate and scatter
    of every number. A :class:`DDCLClassifier` learns from those rows and from copies where earlier epochs are missing
    (:func:`ddcl_tab.features.history.training_histories`), so that gaps do not mislead it. Results have one entry an
    object, in the order of :meth:`objects`, which is sorted.

    Parameters
    ----------
    classifier : DDCLClassifier, optional
        What learns from the rows. Default: ``DDCLClassifier()``.

    Attributes
    ----------
    classifier_ : DDCLClassifier
        Fitted; its explanations and ``save`` speak about the rows of :meth:`wide`, its prototypes and certificate about
        those it learned from.
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

    def fit(self, X: Any, y: Any = None, groups: Any = None, *, id: str = "norad_cat_id", time: str = "epoch") -> Self:
        """Learn from a long frame.

        Parameters
        ----------
        X : pandas or polars frame
            One row an object and epoch, in any order.
        y : array, shape (rows of X,), optional
            Class of each row, the same in all rows of an object, none missing. Default: the classifier's target column;
            objects whose class is missing or "UNKNOWN" are left out.
        groups : array, shape (rows of X,), optional
            Objects of one group stay together in the validation split. Default: the launch, where there is a column
            ``OBJECT_ID``, and else the object.
        id, time : str
            Columns of object and epoch, found whatever their case.

        Raises
        ------
        InputError
            As :func:`history_features`; or an object has two classes or groups.
        """
        classifier = DDCLClassifier() if self.classifier is None else clone(self.classifier)
        self._id, self._time = id, time
        long, number, time = check_long(X, id, time)
        for name, values in {classifier.target: y, _GROUP: groups}.items():
            if values is not None:
                long = long.with_columns(_column(name, values, len(long)))
        find_column(long, classifier.target)
        told = [name for name in (classifier.target, _GROUP) if name in long.columns]
        _check_one_each(long, number, told)
        seed = int(check_random_state(classifier.random_state).randint(2**31 - 1))
        wide = training_histories(long.drop(told), number, time, seed=seed)
        wide = wide.join(_newest(long, number, told), on=number, how="left", maintain_order="left")
        key = _GROUP if groups is not None else number
        # with OBJECT_ID and no groups the classifier keeps launches together, and so objects
        group = None if groups is None and "OBJECT_ID" in wide.columns else wide[key].to_numpy()
        self.classifier_ = classifier.fit(self._features(wide.drop(_GROUP, strict=False)), groups=group)
        self.classes_ = self.classifier_.classes_
        return self

    def wide(self, X: Any) -> pl.DataFrame:
        """The row of each object that the classifier sees, sorted by object."""
        check_is_fitted(self)
        target = self.classifier_.target
        long, number, time = check_long(X, self._id, self._time)
        wide = history_features(long.drop(target, strict=False), number, time)
        if target not in long.columns:
            return wide
        return wide.join(_newest(long, number, [target]), on=number, how="left", maintain_order="left")

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
        """Share of objects told right.

        ``y`` and ``sample_weight`` have one entry an object, no class missing. Default: the target column; objects
        whose class is missing or "UNKNOWN" are left out.
        """
        wide = self.wide(X)
        if y is None:
            wide, y, kept = inputs.take_target(wide, self.classifier_.target)
            sample_weight = inputs.take(sample_weight, kept)
        truth = inputs.check_labels(wide, y)
        return float(accuracy_score(truth, self.classifier_.predict(self._features(wide)), sample_weight=sample_weight))

    def explain(self, X: Any, n_top: int = 3) -> pl.DataFrame:
        """Reasons per object: those of :meth:`DDCLClassifier.explain`, with the object in the place of the row."""
        wide = self.wide(X)
        reasons = self.classifier_.explain(self._features(wide), n_top)
        objects = wide[find_column(wide, self._id)].gather(reasons["row"]).alias(self._id)
        return reasons.drop("row").insert_column(0, objects)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model as :meth:`DDCLClassifier.save` does; the names of id and time are not in the file."""
        check_is_fitted(self)
        self.classifier_.save(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, id: str = "norad_cat_id", time: str = "epoch") -> Self:
        """Read a model that :meth:`save` wrote; ``id`` and ``time`` as in :meth:`fit`.

        Raises
        ------
        ModelFileError
            As :meth:`DDCLClassifier.load`.
        """
        loaded = cls()
        loaded.classifier_, loaded._id, loaded._time = DDCLClassifier.load(path), id, time
        loaded.classes_ = loaded.classifier_.classes_
        return loaded

    def _features(self, wide: pl.DataFrame) -> pl.DataFrame:
        """The object's number stays only where it helps to keep launches together; it is no feature."""
        number = find_column(wide, self._id)
        return wide.rename({number: "NORAD_CAT_ID"}) if "OBJECT_ID" in wide.columns else wide.drop(number)


def _column(name: str, values: Any, n_rows: int) -> pl.Series:
    """Values of each row of the long frame as a column."""
    array = np.asarray(as_table(values))
    if array.shape != (n_rows,):
        what = "groups" if name == _GROUP else "y"
        raise InputError(f"{what} has {len(array)} values for {n_rows} rows: give one a row.")
    return pl.Series(name, array if name == _GROUP else inputs.check_labels(array, values))


def _check_one_each(long: pl.DataFrame, number: str, told: list[str]) -> None:
    """Class and group belong to the object, not to its epochs."""
    kinds = long.group_by(number).agg(pl.col(told).n_unique()).sort(number)
    for name in told:
        if len(several := kinds.filter(pl.col(name) > 1)):
            what = "groups" if name == _GROUP else f"classes in {name!r}"
            object_ = several[number][0]
            held = long.filter(pl.col(number) == object_)[name].unique(maintain_order=True).to_list()
            raise InputError(f"{number} {object_} has {len(held)} {what}, {held}: keep one (None is a missing one).")


def _newest(long: pl.DataFrame, number: str, names: list[str]) -> pl.DataFrame:
    """What is said of each object as a whole: no number to follow through its epochs, even where it is one."""
    return long.group_by(number).agg(pl.col(names).last())
