"""Likely errors among the recorded classes: confident disagreement of models that have not seen the object."""

from __future__ import annotations

from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import StratifiedGroupKFold

from ddcl_tab.errors import ConfigurationError, InputError
from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._columns import as_table, is_frame
from ddcl_tab.estimators._domain import domain_of
from ddcl_tab.estimators._families import family_groups
from ddcl_tab.estimators._validation import (
    check_class_weight,
    check_groups,
    check_labels,
    is_integer,
    is_named,
    library_of,
    take,
    take_target,
    target_of,
)
from ddcl_tab.training._stability import warn_unstable

N_FOLDS = 5


class OutOfFold(NamedTuple):
    """What models say of rows that they have not been trained on.

    Attributes
    ----------
    classes : ndarray, shape (C,)
    probability : ndarray, shape (n, C)
        One row a row of the table; NaN where the class is unknown.
    fold : ndarray of int, shape (n,)
        Fold of the row, -1 where the class is unknown.
    reasons : list of str, length n
        One sentence a row of its fold's model (see :meth:`DDCLClassifier.decide`), empty where the class is unknown. In
        frames that name their rows, it ends with the most similar row of the predicted class among those that the model
        was fitted on.
    """

    classes: NDArray[Any]
    probability: NDArray[np.float64]
    fold: NDArray[np.int64]
    reasons: list[str]


class _Labelled(NamedTuple):
    """Rows of known class: their numbers in the table, the table of them alone, class, groups as given and as used."""

    rows: NDArray[np.intp]
    X: Any
    y: NDArray[Any]
    given: NDArray[Any] | None
    group: NDArray[np.int64]


def out_of_fold(
    classifier: DDCLClassifier, X: Any, y: Any = None, groups: Any = None, *, n_folds: int = N_FOLDS
) -> OutOfFold:
    """Fit a clone of the classifier without each fold in turn and let it judge that fold; launches stay together.

    Families are counted in the whole table, rows of unknown class included.

    Folds are those of scikit-learn's ``StratifiedGroupKFold``, shuffled by the classifier's ``random_state`` if that is
    an integer, else by 0.

    Parameters
    ----------
    classifier : DDCLClassifier
        Fitted or not; it stays as it is.
    X : frame or array, shape (n, p)
        Without ``y``, a frame that holds the column ``classifier.target``; rows of unknown class are judged by nobody.
    y : array-like, shape (n,), optional
        Recorded classes, none missing.
    groups : array-like, shape (n,), optional
        Rows of one group are in one fold. Default: the families where ``classifier.family`` names a column, else the
        groups that the frame's domain knows, such as launches; otherwise each row is one.
    n_folds : int, default=5
        A fit each.

    Returns
    -------
    OutOfFold

    Raises
    ------
    ConfigurationError
        ``classifier`` is no DDCLClassifier, or ``n_folds`` no integer of at least 2.
    InputError
        There are fewer groups than folds, or one class only.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = DDCLClassifier(n_prototypes=6, max_epochs=3, certify=False, random_state=0)
    >>> judged = out_of_fold(classifier, X, y, n_folds=2)
    >>> judged.probability.shape, len(judged.reasons)
    ((150, 3), 150)
    """
    _check_classifier(classifier)
    if not is_integer(n_folds) or n_folds < 2:
        raise ConfigurationError(f"n_folds must be an integer of at least 2, not {n_folds!r}")
    X = as_table(X)
    known = _labelled(classifier, X, y, groups)
    classes = np.unique(known.y)
    check_class_weight(classifier.class_weight, classes)
    if len(classes) < 2:
        raise InputError(f"all rows are recorded as {classes.tolist()}: nothing can disagree. Two classes are needed.")
    n_groups = len(np.unique(known.group))
    if n_groups < n_folds:
        raise InputError(f"there are {n_groups} groups for {n_folds} folds: lower n_folds, or split groups up.")
    probability = np.full((_length(X), len(classes)), np.nan)
    fold = np.full(_length(X), -1)
    reasons = [""] * _length(X)
    seed = classifier.random_state if isinstance(classifier.random_state, int | np.integer) else 0
    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    for number, (train, test) in enumerate(folds.split(np.zeros((len(known.y), 1)), known.y, known.group)):
        given = None if known.given is None else known.given[train]
        model = _for_fold(classifier, known.y[train])
        # Families need no label: all rows of the table count in them, as in fit(df).
        model.fit_with_checkpoint(_take(known.X, train), known.y[train], groups=given, catalog=X)
        if model.certify and not model.stability_.is_stable:
            warn_unstable(model.stability_)
        asked, examples = _examples(model, known, train, test)
        said = model.decide(asked, examples, None if model.families_ is None else X)
        probability[known.rows[test]] = 0.0  # a class that a small training part lacks
        probability[np.ix_(known.rows[test], np.searchsorted(classes, model.classes_))] = said.prediction.probability
        fold[known.rows[test]] = number
        for row, sentence in zip(known.rows[test], said.sentences(), strict=True):
            reasons[row] = sentence
    return OutOfFold(classes, probability, fold, reasons)


def likely_label_errors(
    classifier: DDCLClassifier, X: Any, y: Any = None, groups: Any = None, *, judged: OutOfFold | None = None
) -> Any:
    """List the rows whose recorded class is likely an error, the surest first.

    A row is listed if another class reaches its own confidence threshold, out of fold: the mean probability of that
    class among the rows recorded as it (confident learning: Northcutt, Jiang and Chuang, arXiv:1911.00068). The
    thresholds adapt to how sure the models are of each class. A listed row disagrees with what its columns say of other
    launches; it may also be a rare object with a right label. Look it up before you change a catalog.

    Parameters
    ----------
    classifier, X, y, groups
        As in :func:`out_of_fold`.
    judged : OutOfFold, optional
        What :func:`out_of_fold` returned for the same rows, to save the fits.

    Returns
    -------
    frame
        ``row``, the identifiers that ``X`` has (NORAD_CAT_ID, OBJECT_ID and OBJECT_NAME in a catalog), ``recorded``,
        ``predicted``, ``probability`` of the predicted class and ``probability_recorded``, ``reason``; sorted by the
        difference of the two. polars for polars, else pandas.

    Raises
    ------
    ConfigurationError, InputError
        As :func:`out_of_fold`, or ``judged`` belongs to other rows.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> judged = OutOfFold(np.arange(3), np.eye(3)[y], np.zeros(150), [""] * 150)
    >>> y[7] = 2  # a mistake
    >>> likely_label_errors(DDCLClassifier(), X, y, judged=judged)[["row", "recorded", "predicted"]]
       row  recorded  predicted
    0    7         2          0
    """
    _check_classifier(classifier)
    X = as_table(X)
    known = _labelled(classifier, X, y, groups)
    judged = out_of_fold(classifier, X, y, groups) if judged is None else judged
    probability = _probability_of(judged, known, _length(X))
    recorded = np.searchsorted(judged.classes, known.y)
    listed, predicted = _disagreeing(probability, recorded)
    own = probability[listed, recorded[listed]]
    other = probability[listed, predicted]
    order = np.argsort(own - other, kind="stable")
    listed, predicted, own, other = listed[order], predicted[order], own[order], other[order]
    row = known.rows[listed]
    table = {"row": row.tolist()} | _identifiers(X, row)
    table |= {
        "recorded": known.y[listed].tolist(),
        "predicted": judged.classes[predicted].tolist(),
        "probability": other.tolist(),
        "probability_recorded": own.tolist(),
        "reason": [judged.reasons[i] for i in row],
    }
    return nw.from_dict(table, backend=library_of(X)).to_native()


def _disagreeing(
    probability: NDArray[np.float64], recorded: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of which another class is surer than its threshold, and that class."""
    n_classes = probability.shape[1]
    members = [probability[recorded == k, k] for k in range(n_classes)]
    threshold = np.array([inside.mean() if len(inside) else np.inf for inside in members])
    sure = np.where(probability >= threshold, probability, -np.inf)
    predicted = sure.argmax(axis=1)
    listed = np.flatnonzero(np.isfinite(sure).any(axis=1) & (predicted != recorded))
    return listed, predicted[listed]


def _check_classifier(classifier: object) -> None:
    if not isinstance(classifier, DDCLClassifier):
        raise ConfigurationError(
            f"classifier must be a DDCLClassifier, not {type(classifier).__name__}: reasons come from its prototypes."
        )


def _for_fold(classifier: DDCLClassifier, y: NDArray[Any]) -> DDCLClassifier:
    """Unfitted, without the weights of classes that a fold lacks."""
    model, weights = clone(classifier), classifier.class_weight
    if isinstance(weights, dict):
        there = set(y.tolist())
        model.set_params(class_weight={key: weight for key, weight in weights.items() if key in there})
    return model


def _labelled(classifier: DDCLClassifier, X: Any, y: Any, groups: Any) -> _Labelled:
    rows = np.arange(_length(X))
    if y is None:
        X, y, kept = take_target(X, classifier.target)
        rows, groups = rows[kept], take(groups, kept)
    y = check_labels(X, y)
    target = target_of(classifier.target, X)
    if is_frame(X) and target is not None:
        X = nw.from_native(X, eager_only=True).drop(target, strict=False).to_native()  # y says the classes
    group = check_groups(family_groups(classifier.family, X) if groups is None else groups, X, len(y))
    given = None if groups is None else np.asarray(as_table(groups))
    return _Labelled(rows, X, y, given, np.arange(len(y)) if group is None else group)


def _probability_of(judged: OutOfFold, known: _Labelled, n_rows: int) -> NDArray[np.float64]:
    """Checked probabilities of the rows of known class."""
    if np.shape(judged.probability) != (n_rows, len(judged.classes)) or len(judged.reasons) != n_rows:
        raise InputError(
            f"judged holds probabilities of shape {np.shape(judged.probability)} for {n_rows} rows and "
            f"{len(judged.classes)} classes: call out_of_fold on the same rows."
        )
    probability = judged.probability[known.rows]
    if np.isnan(probability).any():
        raise InputError("judged has no probability for some rows of known class: call out_of_fold on the same rows.")
    unknown = sorted(set(known.y.tolist()) - set(judged.classes.tolist()), key=str)
    if unknown:
        raise InputError(f"judged does not hold the classes {unknown}: call out_of_fold on the same rows.")
    return probability


def _examples(
    classifier: DDCLClassifier, known: _Labelled, train: NDArray[np.intp], test: NDArray[np.intp]
) -> tuple[Any, Any]:
    """Rows of a fold without classes, and rows that its model was fitted on with theirs; None where none has a name."""
    asked, target = _take(known.X, test), target_of(classifier.target, known.X)
    if not is_named(known.X) or target is None:
        return asked, None
    frame = nw.from_native(known.X, eager_only=True)[train.tolist()]
    label = nw.new_series(target, known.y[train].tolist(), backend=frame.implementation)
    return asked, frame.with_columns(label).to_native()


def _length(X: Any) -> int:
    return len(nw.from_native(X, eager_only=True)) if is_frame(X) else np.shape(X)[0]


def _take(X: Any, rows: NDArray[np.intp]) -> Any:
    return nw.from_native(X, eager_only=True)[rows.tolist()].to_native() if is_frame(X) else np.asarray(X)[rows]


def _identifiers(X: Any, rows: NDArray[np.intp]) -> dict[str, list[Any]]:
    if not is_frame(X):
        return {}
    frame = nw.from_native(X, eager_only=True)
    values = {name: frame[name].to_list() for name in domain_of(X).identifiers if name in frame.columns}
    return {name: [column[i] for i in rows] for name, column in values.items()}
