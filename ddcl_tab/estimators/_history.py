"""Classify objects by their histories: several rows an object become one, its newest state and how that changes."""

from __future__ import annotations

import os
import warnings
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ddcl_tab.errors import ConfigurationError, InputError, LeakWarning
from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._columns import RATE, SCATTER, SPAN, as_table, is_frame, to_polars
from ddcl_tab.estimators._domain import domain_of
from ddcl_tab.estimators._validation import check_labels, take, take_target, target_of

DAYS_PER_YEAR = 365.25
#: Column that counts the epochs.
N_EPOCHS = "N_EPOCHS"


def history_features(X: Any, id: str = "norad_cat_id", time: str = "epoch") -> pl.DataFrame:
    """One row an object out of one row an object and epoch.

    The newest row of an object is kept as it is. For each numeric feature ``NAME``, ``NAME_RATE`` is the slope of the
    least-squares line through the object's epochs (per year; null under two epochs) and ``NAME_SCATTER`` the root mean
    square about that line (null under three). ``N_EPOCHS`` counts the epochs, ``SPAN_YEARS`` lies between first and
    last. Gaps need nothing special, and the order of the rows does not matter.

    Parameters
    ----------
    X : pandas or polars frame
        Long: one row an object and epoch.
    id, time : str, default "norad_cat_id", "epoch"
        Columns of the object and of the epoch (a date), found whatever their case.

    Returns
    -------
    polars.DataFrame
        Sorted by object.

    Raises
    ------
    InputError
        ``X`` is no frame, a column is missing or of the wrong type, an object or epoch is missing, or an object has two
        rows of one epoch.

    Examples
    --------
    >>> from datetime import datetime
    >>> frame = pl.DataFrame({
    ...     "NORAD_CAT_ID": [5, 5, 7],
    ...     "EPOCH": [datetime(2024, 1, 1), datetime(2023, 1, 1), datetime(2024, 1, 1)],
    ...     "PERIGEE": [500.0, 510.0, 800.0],
    ... })
    >>> history_features(frame).select("NORAD_CAT_ID", "PERIGEE", pl.col("PERIGEE_RATE").round(2), "N_EPOCHS").rows()
    [(5, 500.0, -10.01, 2), (7, 800.0, None, 1)]
    """
    return _wide(*check_long(X, id, time))


def training_histories(
    X: Any, id: str = "norad_cat_id", time: str = "epoch", *, n_thinned: int = 2, seed: int = 0
) -> pl.DataFrame:
    """Rows to learn from: every history as it is, and with random earlier epochs left out.

    A model that only sees whole histories is misled by gaps: with three of four epochs missing, gradient boosting falls
    below what it reaches on newest epochs alone (pipelines/results/history). Two thinned copies mend that.

    Parameters
    ----------
    X, id, time
        As for :func:`history_features`.
    n_thinned : int, default 2
        Copies of each history that keep the newest epoch and a random number of the others; equal rows are kept once.
    seed : int, default 0
        Of the draws.

    Returns
    -------
    polars.DataFrame
        As from :func:`history_features`, with up to ``1 + n_thinned`` rows an object.

    Raises
    ------
    InputError
        As :func:`history_features`.

    Examples
    --------
    >>> from datetime import datetime
    >>> epochs = [datetime(2020 + i, 1, 1) for i in range(4)]
    >>> frame = pl.DataFrame({"NORAD_CAT_ID": 5, "EPOCH": epochs, "PERIGEE": [530.0, 520.0, 510.0, 500.0]})
    >>> training_histories(frame, seed=1).select("PERIGEE", "N_EPOCHS").rows()
    [(500.0, 4), (500.0, 2), (500.0, 2)]
    """
    frame, id, time = check_long(X, id, time)
    frame = frame.sort(id, time)
    rng = np.random.default_rng(seed)
    thinned = (_thin(frame, id, rng) for _ in range(n_thinned))
    return pl.concat(_wide(part, id, time) for part in (frame, *thinned)).unique(maintain_order=True)


def find_column(frame: pl.DataFrame, name: str) -> str:
    """The column ``name``, whatever its case.

    Raises
    ------
    InputError
        No column, or more than one, has that name.
    """
    found = [name] if name in frame.columns else [c for c in frame.columns if c.lower() == name.lower()]
    if len(found) != 1:
        raise InputError(f"one column must be named {name!r}, found {found or 'none'} among {frame.columns}.")
    return found[0]


def check_long(X: Any, id: str, time: str) -> tuple[pl.DataFrame, str, str]:
    """The long frame in polars, its rows in their order, and the names of its columns of object and epoch.

    Raises
    ------
    InputError
        As :func:`history_features`.
    """
    X = as_table(X)
    if not is_frame(X):
        raise InputError(
            f"X must be a pandas or polars frame with one row an object and epoch, got {type(X).__name__}."
        )
    frame = to_polars(X)
    id, time = find_column(frame, id), find_column(frame, time)
    if not frame[time].dtype.is_temporal():
        raise InputError(f"column {time!r} must hold dates, got {frame[time].dtype}: convert it first.")
    for name in (id, time):
        if missing := frame[name].null_count():
            raise InputError(f"column {name!r} is empty in {missing} rows: leave them out.")
    twice = frame.select(id, time).filter(pl.struct(id, time).is_duplicated())
    if len(twice):
        first = twice.sort(id, time).row(0)
        raise InputError(
            f"{id} {first[0]} has two rows of {time} {first[1]}: keep one ({len(twice)} such rows in all)."
        )
    return frame, id, time


def _wide(frame: pl.DataFrame, id: str, time: str) -> pl.DataFrame:
    """One row an object of a checked frame."""
    frame = frame.sort(id, time)
    numeric = [name for name in _features(frame.drop(id, time)) if frame[name].dtype.is_numeric()]
    years = pl.col(time).dt.epoch("us") / (86_400e6 * DAYS_PER_YEAR)
    lines = [part for name in numeric for part in _line(name, years)]
    span = (years.max() - years.min()).alias(SPAN)
    history = frame.group_by(id, maintain_order=True).agg(pl.len().alias(N_EPOCHS), span, *lines)
    newest = frame.group_by(id, maintain_order=True).last()
    return newest.drop(time).join(history, on=id, how="left", maintain_order="left")


def _thin(frame: pl.DataFrame, id: str, rng: np.random.Generator) -> pl.DataFrame:
    """Keep the last row of each object and a random number of its others, from none to all; sorted by object, time."""
    last = pl.int_range(pl.len()).over(id) == pl.len().over(id) - 1
    drawn = frame.with_columns(_order=pl.Series(rng.random(len(frame))), _share=pl.Series(rng.random(len(frame))))
    order = pl.when(last).then(-1.0).otherwise("_order").rank("ordinal").over(id)
    kept = drawn.filter(order <= 1 + (pl.col("_share").first() * pl.len()).floor().over(id))
    return kept.drop("_order", "_share")


def _features(frame: pl.DataFrame) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakWarning)  # whoever learns from the result says it
        return domain_of(frame).features_among(frame.columns)


def _line(name: str, years: pl.Expr) -> list[pl.Expr]:
    """Slope and scatter of the line through the values that are there."""
    value = pl.col(name).cast(pl.Float64).fill_nan(None)
    there = value.is_not_null()
    t = years.filter(there)
    t, x = t - t.mean(), value.filter(there)
    x = x - x.mean()
    several = t.abs().max() > 0
    slope = (t * x).sum() / t.pow(2).sum()
    scatter = (x - slope * t).pow(2).mean().sqrt()
    return [
        pl.when(several).then(slope).alias(name + RATE),
        pl.when(several & (there.sum() > 2)).then(scatter).alias(name + SCATTER),
    ]


_GROUP, _TARGET = "__group__", "__class__"


class DDCLHistoryClassifier(ClassifierMixin, BaseEstimator):
    """Classify objects by several epochs of each, with gaps.

    A history becomes one row by :func:`history_features`: the newest state, rate and scatter
    of every number. A :class:`DDCLClassifier` learns from those rows and from copies where earlier epochs are missing
    (:func:`training_histories`), so that gaps do not mislead it. Results have one entry an
    object, in the order of :meth:`objects`, which is sorted.

    Parameters
    ----------
    classifier : DDCLClassifier, optional
        What learns from the rows. Default: ``DDCLClassifier()``. Its ``family`` is "auto" or None.

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
            objects whose class is missing, or "UNKNOWN" in a catalog, are left out.
        groups : array, shape (rows of X,), optional
            Objects of one group stay together in the validation split. Default: the groups that the frame's domain
            knows, such as launches, and else the object.
        id, time : str
            Columns of object and epoch, found whatever their case.

        Raises
        ------
        InputError
            As :func:`history_features`; or an object has two classes or groups.
        ConfigurationError
            As :meth:`DDCLClassifier.fit`; or ``family`` of the classifier names a column.
        """
        classifier = DDCLClassifier() if self.classifier is None else clone(self.classifier)
        if classifier.family not in (None, "auto"):
            raise ConfigurationError(
                f"family={classifier.family!r}: copies of a history would count as members of its family. Set family "
                "to 'auto' or None."
            )
        self._id, self._time = id, time
        long, number, time = check_long(X, id, time)
        target = target_of(classifier.target, long) or _TARGET
        classifier.set_params(target=target)
        for name, values in {target: y, _GROUP: groups}.items():
            if values is not None:
                long = long.with_columns(_column(name, values, len(long)))
        if target == _TARGET and y is None:
            raise InputError(f"no column is known to hold the classes among {long.columns}: give y, or set target.")
        find_column(long, target)
        per_object = [name for name in (target, _GROUP) if name in long.columns]
        _check_one_each(long, number, per_object)
        seed = int(check_random_state(classifier.random_state).randint(2**31 - 1))
        wide = training_histories(long.drop(per_object), number, time, seed=seed)
        wide = wide.join(_newest(long, number, per_object), on=number, how="left", maintain_order="left")
        features = self._features(wide.drop(_GROUP, strict=False))
        # where the domain knows groups, such as launches, they keep the copies of an object together, too
        known = groups is None and domain_of(features).group_of(features) is not None
        group = None if known else wide[_GROUP if groups is not None else number].to_numpy()
        self.classifier_ = classifier.fit(features, groups=group)
        self.classes_ = self.classifier_.classes_
        return self

    def wide(self, X: Any) -> pl.DataFrame:
        """The row of each object that the classifier sees, sorted by object."""
        check_is_fitted(self)
        target = str(self.classifier_.target)
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
        """Accuracy: share of objects whose class is predicted right.

        ``y`` and ``sample_weight`` have one entry an object, no class missing. Default: the target column; objects
        whose class is missing or "UNKNOWN" are left out.
        """
        wide = self.wide(X)
        if y is None:
            wide, y, kept = take_target(wide, self.classifier_.target)
            sample_weight = take(sample_weight, kept)
        truth = check_labels(wide, y)
        return float(accuracy_score(truth, self.classifier_.predict(self._features(wide)), sample_weight=sample_weight))

    def explain(self, X: Any) -> pl.DataFrame:
        """Reasons per object: those of :meth:`DDCLClassifier.explain`, with the object in the place of the row."""
        wide = self.wide(X)
        reasons = pl.DataFrame(self.classifier_.explain(self._features(wide)))
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
        """The object's number stays only where the domain needs it to know groups; it is no feature."""
        number, needed = find_column(wide, self._id), domain_of(wide).group_columns
        lacking = [name for name in needed if name not in wide.columns or name == number]
        return wide.rename({number: lacking[0]}) if len(lacking) == 1 else wide.drop(number)


def _column(name: str, values: Any, n_rows: int) -> pl.Series:
    """Values of each row of the long frame as a column."""
    array = np.asarray(as_table(values))
    if array.shape != (n_rows,):
        what = "groups" if name == _GROUP else "y"
        raise InputError(f"{what} has {len(array)} values for {n_rows} rows: give one for each row.")
    return pl.Series(name, array if name == _GROUP else check_labels(array, values))


def _check_one_each(long: pl.DataFrame, number: str, names: list[str]) -> None:
    """Class and group belong to the object, not to its epochs."""
    kinds = long.group_by(number).agg(pl.col(names).n_unique()).sort(number)
    for name in names:
        if len(several := kinds.filter(pl.col(name) > 1)):
            what = "groups" if name == _GROUP else f"classes in {name!r}"
            object_ = several[number][0]
            held = long.filter(pl.col(number) == object_)[name].unique(maintain_order=True).to_list()
            raise InputError(f"{number} {object_} has {len(held)} {what}, {held}: keep one (None is a missing one).")


def _newest(long: pl.DataFrame, number: str, names: list[str]) -> pl.DataFrame:
    """What is said of each object as a whole: no number to follow through its epochs, even where it is one."""
    return long.group_by(number).agg(pl.col(names).last())
