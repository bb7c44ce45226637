"""How good a model is: a held-out part, scores with their intervals, peers on the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer

from ddcl_tab.errors import InputError
from ddcl_tab.space._join import launch_of

#: What scores call this package's model.
OURS = "DDCLClassifier"
#: One fold of this many is the test part.
N_FOLDS = 5
#: ``time`` trains on launches before this year and tests on later ones.
TIME_SPLIT_YEAR = 2015
SPLITS = ("launch", "time", "random")
_OPTIMISTIC = "objects of one launch are in both parts, so the scores are optimistic"


class Split(NamedTuple):
    """A split of a catalog.

    Attributes
    ----------
    train, test : ndarray of int
        Row numbers of the two parts, ascending.
    description : str
        How they were made, in words.
    """

    train: NDArray[np.intp]
    test: NDArray[np.intp]
    description: str


def split_catalog(frame: pl.DataFrame, target: str, kind: str, seed: int) -> Split:
    """Split a catalog into training and test rows.

    Parameters
    ----------
    frame : polars.DataFrame
        Catalog whose ``target`` has no missing values.
    target : str
        Column of the classes.
    kind : {"launch", "time", "random"}
        ``launch``: the first of five stratified folds, whole launches together; objects without OBJECT_ID are alone, so
        where none has one this is ``random`` in other words. ``time``: launched before 2015 and
        from 2015 on. ``random``: the first of five stratified folds; objects of one launch share an orbit, so the
        scores of every model are optimistic.
    seed : int
        Shuffles the folds; ``time`` does not use it.

    Returns
    -------
    Split

    Raises
    ------
    InputError
        One part would be empty, no class has five rows, or ``time`` finds no column LAUNCH_YEAR.
    CatalogError
        ``launch`` finds no column OBJECT_ID or NORAD_CAT_ID.
    """
    y = frame[target].to_numpy()
    _, counts = np.unique(y, return_counts=True)
    if len(counts) < 2 or counts.max() < N_FOLDS:
        raise InputError(
            f"column {target!r} has {len(counts)} classes with at most {max(counts, default=0)} rows: a split needs "
            f"two classes and {N_FOLDS} rows of one."
        )
    if kind == "time":
        return _by_time(frame)
    rows = np.zeros((len(y), 1))
    if kind == "launch":
        groups = launch_of(frame).to_numpy()
        if len(np.unique(groups)) < N_FOLDS:
            raise InputError(f"the catalog holds {len(np.unique(groups))} launches: a split by launch needs {N_FOLDS}.")
        folds = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=seed).split(rows, y, groups)
        words = f"by launch, first of {N_FOLDS} stratified folds, seed {seed}"
        if pl.Series(groups).str.starts_with("NORAD ").all():
            words += f" (no object has an OBJECT_ID: {_OPTIMISTIC})"
    elif kind == "random":
        folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(rows, y)
        words = f"at random, first of {N_FOLDS} stratified folds, seed {seed} ({_OPTIMISTIC})"
    else:
        raise InputError(f"split must be one of {', '.join(SPLITS)}, not {kind!r}")
    train, test = next(iter(folds))
    return Split(train, test, words)


def _by_time(frame: pl.DataFrame) -> Split:
    if "LAUNCH_YEAR" not in frame.columns:
        raise InputError("a split by time needs the column LAUNCH_YEAR, which the catalog lacks. Use --split launch.")
    recent = (frame["LAUNCH_YEAR"] >= TIME_SPLIT_YEAR).fill_null(False).to_numpy()
    if recent.all() or not recent.any():
        side = "from" if recent.all() else "before"
        raise InputError(
            f"a split by time trains on launches before {TIME_SPLIT_YEAR} and tests on later ones; all of this catalog "
            f"is {side} {TIME_SPLIT_YEAR}. Use --split launch."
        )
    words = f"by time: trained on launches before {TIME_SPLIT_YEAR}, tested on launches from {TIME_SPLIT_YEAR} on"
    return Split(np.flatnonzero(~recent), np.flatnonzero(recent), words)


#: Bins of equal width of the expected calibration error.
N_BINS = 15
#: Probabilities below this count as this in the log loss.
FLOOR = 1e-15
#: Resamples of the launches.
N_RESAMPLES = 2000
#: Part of the resamples inside an interval.
LEVEL = 0.95


def score(y: NDArray[Any], probability: NDArray[np.float64], classes: NDArray[Any]) -> dict[str, Any]:
    """Score class probabilities.

    Parameters
    ----------
    y : ndarray, shape (n,)
        True classes.
    probability : ndarray, shape (n, C)
    classes : ndarray, shape (C,)
        Class of each column; a true class that is not among them counts as wrong and as probability zero.

    Returns
    -------
    dict
        ``accuracy``, ``balanced_accuracy``, ``macro_f1``, ``log_loss`` (nats), ``ece`` (expected calibration error of
        the predicted class, 15 bins of equal width, Guo et al., arXiv:1706.04599), and ``per_class`` with precision,
        recall, f1 and support. Means over classes are over those that ``y`` has.

    Examples
    --------
    >>> scores = score(np.array(["a", "b"]), np.array([[0.9, 0.1], [0.9, 0.1]]), np.array(["a", "b"]))
    >>> scores["accuracy"], round(scores["ece"], 3)
    (0.5, 0.4)
    """
    every, true, full = _aligned(y, probability, classes)
    sums = _sums(true, full, np.zeros(len(true), dtype=np.intp), 1)
    found = _scores_of(sums, len(every))
    support = _confusion(sums, len(every))[0].sum(axis=1)
    return {
        name: float(found[name][0, 0]) for name in ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece")
    } | {
        "per_class": {
            str(name): {figure: float(found[figure][0, i]) for figure in ("precision", "recall", "f1")}
            | {"support": int(support[i])}
            for i, name in enumerate(every)
        }
    }


@dataclass(frozen=True)
class Estimate:
    """A score with its interval.

    Attributes
    ----------
    value : float
        Of the rows as they are.
    low, high : float
        Ends of the percentile interval over resampled launches.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class.

    Attributes
    ----------
    name : str
    support : int
        Held-out rows recorded as this class.
    precision, recall, f1 : Estimate
    """

    name: str
    support: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True)
class Scores:
    """Scores of held-out rows.

    Attributes
    ----------
    overall : dict of Estimate
        ``macro_f1``, ``accuracy``, ``balanced_accuracy``, ``log_loss`` (nats), ``ece``.
    classes : list of ClassScore
    confusion : ndarray of int, shape (C, C)
        Rows are recorded classes, columns the model's, in the order of ``classes``.
    n_rows, n_clusters : int
    """

    overall: dict[str, Estimate]
    classes: list[ClassScore]
    confusion: NDArray[np.int64]
    n_rows: int
    n_clusters: int


def bootstrap_scores(
    recorded: NDArray[Any],
    probability: NDArray[np.float64],
    classes: NDArray[Any],
    cluster: NDArray[Any],
    *,
    random_state: int = 0,
) -> Scores:
    """Score class probabilities, with 95 % intervals over clusters drawn with replacement.

    Parameters
    ----------
    recorded : ndarray, shape (n,)
    probability : ndarray, shape (n, C)
    classes : ndarray, shape (C,)
        Class of each column; a recorded class that is not among them counts as wrong and as probability zero.
    cluster : ndarray, shape (n,)
        Rows of one cluster are drawn together.
    random_state : int, default=0

    Returns
    -------
    Scores

    Examples
    --------
    >>> y = np.array(["a", "a", "b", "b"])
    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    >>> scores = bootstrap_scores(y, p, np.array(["a", "b"]), np.array([0, 1, 2, 3]))
    >>> scores.overall["accuracy"].value, scores.confusion.tolist()
    (0.75, [[2, 0], [1, 1]])
    """
    every, true, full = _aligned(recorded.astype(str), probability, classes.astype(str))
    n = len(every)
    names, group = np.unique(cluster.astype(str), return_inverse=True)
    sums = _sums(true, full, group, len(names))
    draws = np.random.default_rng(random_state).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=N_RESAMPLES
    )
    point = _scores_of(sums.sum(axis=0, keepdims=True), n)
    drawn = _scores_of(draws.astype(np.float64) @ sums, n)
    estimates = {name: _estimate(point[name], drawn[name]) for name in point}
    confusion = _confusion(sums.sum(axis=0, keepdims=True), n)[0].astype(np.int64)
    return Scores(
        overall={name: part[0] for name, part in estimates.items() if len(part) == 1},
        classes=[
            ClassScore(
                str(name),
                int(confusion[i].sum()),
                estimates["precision"][i],
                estimates["recall"][i],
                estimates["f1"][i],
            )
            for i, name in enumerate(every)
        ],
        confusion=confusion,
        n_rows=len(recorded),
        n_clusters=len(names),
    )


def _aligned(
    y: NDArray[Any], probability: NDArray[np.float64], classes: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.intp], NDArray[np.float64]]:
    """All classes sorted, number of the true class of each row, and probabilities with a column for each class."""
    every = np.unique(np.concatenate([y, classes]))
    full = np.zeros((len(y), len(every)))
    full[:, np.searchsorted(every, classes)] = probability
    return every, np.searchsorted(every, y), full


def _sums(
    true: NDArray[np.intp], full: NDArray[np.float64], group: NDArray[np.intp], n_groups: int
) -> NDArray[np.float64]:
    """What all scores follow from, summed in each group: confusion counts, log loss, calibration gap of each bin."""
    n, predicted, confidence = full.shape[1], full.argmax(axis=1), full.max(axis=1)
    clipped = np.clip(full, FLOOR, None)
    loss = -np.log(clipped[np.arange(len(true)), true] / clipped.sum(axis=1))
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    sums = np.zeros((n_groups, n * n + 1 + N_BINS))
    np.add.at(sums, (group, true * n + predicted), 1.0)
    np.add.at(sums, (group, n * n), loss)
    np.add.at(sums, (group, n * n + 1 + bins), (predicted == true) - confidence)
    return sums


def _confusion(sums: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Confusion counts, shape (B, C, C): true classes in rows, predicted ones in columns."""
    return sums[:, : n * n].reshape(-1, n, n)


def _scores_of(sums: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
    """All scores of each row of sums, shape (B, 1), or by class (B, C)."""
    confusion = _confusion(sums, n)
    hit, support, predicted = np.einsum("bii->bi", confusion), confusion.sum(axis=2), confusion.sum(axis=1)
    rows = support.sum(axis=1)
    present = support > 0
    recall, precision = hit / np.maximum(support, 1), hit / np.maximum(predicted, 1)
    f1 = 2 * hit / np.maximum(support + predicted, 1)
    return {
        "macro_f1": _mean_of(f1, present),
        "accuracy": (hit.sum(axis=1) / rows)[:, None],
        "balanced_accuracy": _mean_of(recall, present),
        "log_loss": (sums[:, n * n] / rows)[:, None],
        "ece": (np.abs(sums[:, n * n + 1 :]).sum(axis=1) / rows)[:, None],
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }


def _mean_of(values: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    return ((values * present).sum(axis=1) / present.sum(axis=1))[:, None]


def _estimate(point: NDArray[np.float64], drawn: NDArray[np.float64]) -> list[Estimate]:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return [Estimate(float(v), float(a), float(b)) for v, a, b in zip(point[0], low, high, strict=True)]


#: Gradient boosting bins a categorical column into at most this many categories; rarer ones become missing.
MAX_CATEGORIES = 254


def peer_frame(frame: pl.DataFrame, names: list[str], train: pl.Series) -> pd.DataFrame:
    """Same columns as a pandas frame with categorical dtypes, whose categories come from the training rows.

    Parameters
    ----------
    frame : polars.DataFrame
    names : list of str
        Columns to use.
    train : polars.Series of int
        Row numbers of the training part.
    """
    table = frame.select(names).to_pandas()
    for name in names:
        if frame[name].dtype == pl.String:
            common = frame[name][train].drop_nulls().value_counts(sort=True).head(MAX_CATEGORIES)[name].sort().to_list()
            table[name] = pd.Categorical(table[name].where(table[name].isin(common)), categories=common)
        else:
            table[name] = table[name].astype("float64")
    return table


def make_peers(seed: int, n_rows: int) -> dict[str, Pipeline]:
    """Unfitted peers by name, for ``n_rows`` rows to train on."""
    logistic = make_column_transformer(
        (
            make_pipeline(
                SimpleImputer(strategy="median", add_indicator=True),
                QuantileTransformer(output_distribution="normal", n_quantiles=min(200, n_rows), random_state=seed),
            ),
            make_column_selector(dtype_include="number"),
        ),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
    )
    boosting = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=seed)
    return {
        "majority class": make_pipeline(DummyClassifier(strategy="prior")),
        "logistic regression": make_pipeline(logistic, LogisticRegression(max_iter=2000)),
        "HistGradientBoosting": make_pipeline(boosting),
    }
