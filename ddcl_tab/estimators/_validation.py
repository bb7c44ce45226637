"""Check what is handed to ``fit``: all constructor parameters at once; features, labels, weights and groups."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from numbers import Integral
from typing import Any, Literal, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, column_or_1d

from ddcl_tab.errors import ConfigurationError, InputError, did_you_mean
from ddcl_tab.estimators._columns import as_table, is_frame, is_missing
from ddcl_tab.estimators._domain import Domain, domain_of


class Requirement(NamedTuple):
    """What a value must be: the test, and the words that follow "must be"."""

    holds: Callable[[Any], bool]
    text: str


def is_integer(value: object) -> bool:
    """Whether a value is an integer; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def integer(lower: int) -> Requirement:
    """An integer that is not below ``lower``."""
    return Requirement(lambda v: is_integer(v) and int(v) >= lower, f"an integer of at least {lower}")


def number(holds: Callable[[float], bool], text: str) -> Requirement:
    """A real number for which ``holds`` is true."""
    return Requirement(
        lambda v: isinstance(v, numbers.Real) and not isinstance(v, bool) and holds(_float(v)), f"a number {text}"
    )


def _float(value: Any) -> float:
    """The value as a float; an integer beyond all floats counts as infinite."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _is_device(value: Any) -> bool:
    try:
        torch.device(value)
    except (RuntimeError, TypeError):
        return False
    return True


_POSITIVE = number(lambda v: 0.0 < v < float("inf"), "above 0")
_NOT_NEGATIVE = number(lambda v: 0.0 <= v < float("inf"), "of at least 0")

PARAMETERS: dict[str, Requirement] = {
    "n_prototypes": Requirement(
        lambda v: v is None or (is_integer(v) and int(v) >= 2), "an integer of at least 2, or None"
    ),
    "temperature": number(
        lambda v: 0.0 < v < 1.0,
        "in (0, 1): it is relative to the critical temperature, and from 1 on collapsed prototypes stay so",
    ),
    "lr": _POSITIVE,
    "lr_ratio": _POSITIVE,
    "quantization_weight": _POSITIVE,
    "column_weight": _NOT_NEGATIVE,
    "contribution_weight": _NOT_NEGATIVE,
    "augmented_share": number(lambda v: 0.0 <= v <= 1.0, "in [0, 1]"),
    "hidden_share": number(lambda v: 0.0 <= v <= 1.0, "in [0, 1]"),
    "d_token": integer(1),
    "n_blocks": integer(1),
    "n_heads": integer(1),
    "dropout": number(lambda v: 0.0 <= v < 1.0, "in [0, 1)"),
    "batch_size": integer(1),
    "max_epochs": integer(1),
    "patience": integer(1),
    "validation_fraction": number(lambda v: 0.0 <= v < 1.0, "in [0, 1)"),
    "class_weight": Requirement(
        lambda v: v is None or isinstance(v, dict) or (isinstance(v, str) and v == "balanced"),
        "None, 'balanced' or a dict from class to weight",
    ),
    "target": Requirement(lambda v: v is None or (isinstance(v, str) and bool(v)), "the name of a column, or None"),
    "family": Requirement(
        lambda v: v is None or (isinstance(v, str) and bool(v)), "'auto', the name of a column, or None"
    ),
    "family_counts": Requirement(lambda v: isinstance(v, bool), "True or False"),
    "allow_leaks": Requirement(lambda v: isinstance(v, bool), "True or False"),
    "certify": Requirement(lambda v: v is False or v in ("epoch", "end"), "'epoch', 'end' or False"),
    "device": Requirement(_is_device, "a torch device such as 'cpu' or 'cuda'"),
    "verbose": integer(0),
}


#: Parameters that have another name today.
RENAMED = {"teacher_share": "augmented_share"}


def refuse_parameters(unknown: Iterable[str], owner: str) -> None:
    """Raise the error that a constructor has no parameters of these names; none means no error.

    Raises
    ------
    ConfigurationError
        Says what a parameter is called today, or which name is near.

    Examples
    --------
    >>> refuse_parameters(["teacher_share", "n_prototype"], "DDCLClassifier")
    Traceback (most recent call last):
    ddcl_tab.errors.ConfigurationError: DDCLClassifier has no parameter 'teacher_share': it is called augmented_share \
now. DDCLClassifier has no parameter 'n_prototype'. Did you mean n_prototypes?
    """
    lines = []
    for name in unknown:
        if name in RENAMED:
            remedy = f": it is called {RENAMED[name]} now."
        else:
            remedy = did_you_mean(name, PARAMETERS) or f"; it has {', '.join(PARAMETERS)}."
        lines.append(f"{owner} has no parameter {name!r}{remedy}")
    if lines:
        raise ConfigurationError(" ".join(lines))


def names_unknown_parameters(init: Callable[..., None]) -> Callable[..., None]:
    """A constructor that calls unknown parameters by name, with what `refuse_parameters` says of them."""
    known = inspect.signature(init).parameters

    @wraps(init)
    def checked(self: Any, *args: Any, **settings: Any) -> None:
        refuse_parameters([name for name in settings if name not in known], type(self).__name__)
        init(self, *args, **settings)

    return checked


def broken_rules(parameters: Mapping[str, Any], requirements: Mapping[str, Requirement]) -> list[str]:
    """A line for each parameter that is not what it must be; those without a requirement are free.

    Examples
    --------
    >>> broken_rules({"n_blocks": 0, "dropout": 0.1}, PARAMETERS)
    ['n_blocks must be an integer of at least 1, not 0']
    """
    return [
        f"{name} must be {required.text}, not {parameters[name]!r}"
        for name, required in requirements.items()
        if name in parameters and not required.holds(parameters[name])
    ]


def refuse_broken(broken: list[str]) -> None:
    """Raise the error that lists broken rules; no line means no error.

    Raises
    ------
    ConfigurationError
    """
    if broken:
        count = "1 parameter breaks its rule" if len(broken) == 1 else f"{len(broken)} parameters break their rules"
        raise ConfigurationError("\n  ".join([f"{count}:", *broken]))


def broken_parameters(parameters: Mapping[str, Any]) -> list[str]:
    """A line for each constructor parameter of ``DDCLClassifier``, of those given, that breaks its rule."""
    broken = broken_rules(parameters, PARAMETERS)
    weights = parameters.get("class_weight")
    for key, weight in weights.items() if isinstance(weights, dict) else ():
        if not _NOT_NEGATIVE.holds(weight):
            broken.append(f"class_weight[{key!r}] must be {_NOT_NEGATIVE.text}, not {weight!r}")
    d_token, n_heads = parameters.get("d_token"), parameters.get("n_heads")
    if not broken and d_token is not None and n_heads is not None and d_token % n_heads:
        broken.append(f"d_token must be a multiple of n_heads ({n_heads}), not {d_token}")
    return broken


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Check constructor parameters.

    Parameters
    ----------
    parameters : mapping
        As ``get_params`` returns them.

    Raises
    ------
    ConfigurationError
        Lists every parameter that breaks its rule.

    Examples
    --------
    >>> check_parameters({"lr": -1.0, "n_blocks": 0, "dropout": 0.1})
    Traceback (most recent call last):
    ddcl_tab.errors.ConfigurationError: 2 parameters break their rules:
      lr must be a number above 0, not -1.0
      n_blocks must be an integer of at least 1, not 0
    """
    refuse_broken(broken_parameters(parameters))


class Labelled(NamedTuple):
    """A frame whose labels stood in a column of it.

    Attributes
    ----------
    X : frame
        Rows with a label, without the target column.
    y : ndarray, shape (n,)
    kept : ndarray of bool, shape (all rows,)
        Which rows have a label.
    """

    X: Any
    y: NDArray[Any]
    kept: NDArray[np.bool_]


def target_of(target: str | None, X: Any) -> str | None:
    """Name of the column of the classes: ``target``, or where it is None that of the domain of ``X``, if any."""
    return domain_of(X).target if target is None else target


def take_target(X: Any, target: str | None) -> Labelled:
    """Split a frame into features and the labels in its column ``target``.

    Rows whose label is missing (see :func:`read_labels`) or the domain's word for unknown are left out.

    Parameters
    ----------
    X : frame
    target : str or None
        None: the column that the domain of the frame names.

    Raises
    ------
    InputError
        ``X`` is no frame, lacks the column, has no labelled row, or the labels are of no one kind.
    """
    X = as_table(X)
    if not is_frame(X):
        raise InputError(
            "DDCLClassifier requires y to be passed, but the target y is None: call fit(X, y), or fit(df) with a "
            f"pandas or polars frame that holds the target column{'' if target is None else f' {target!r}'}."
        )
    frame, domain = nw.from_native(X, eager_only=True), domain_of(X)
    target = target_of(target, X)
    if target is None:
        raise InputError(
            f"no column is known to hold the classes among {frame.columns}: set target=... to the one that does, or "
            "call fit(X, y)."
        )
    if target not in frame.columns:
        raise InputError(
            f"the target column {target!r} is not among the columns {frame.columns}: "
            "set target=... to the column that holds the classes, or call fit(X, y)."
        )
    labels, missing = read_labels(frame[target])
    known = (not gone and not is_unknown(label, domain) for label, gone in zip(labels, missing, strict=True))
    kept = np.fromiter(known, dtype=bool)
    if not kept.any():
        or_unknown = "" if domain.unknown is None else f" or {domain.unknown!r}"
        raise InputError(f"column {target!r} holds no label: every row is missing{or_unknown}.")
    return Labelled(frame.drop(target).filter(kept.tolist()).to_native(), _plain(labels, kept), kept)


def is_unknown(label: object, domain: Domain) -> bool:
    """Whether a label is the domain's word for an object that nobody has classified yet."""
    return domain.unknown is not None and isinstance(label, str) and label == domain.unknown


def read_labels(y: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Labels as they are, and which of them are missing.

    Missing are None, NaN, NaT, ``pandas.NA``, null, and what is masked.

    Parameters
    ----------
    y : array-like, shape (n,)
        Also a series or array of pandas, polars, pyarrow or narwhals.

    Returns
    -------
    labels, missing : ndarray, shape (n,)

    Raises
    ------
    ValueError
        ``y`` is no column.

    Examples
    --------
    >>> import pandas as pd
    >>> read_labels(pd.Series(["DEBRIS", pd.NA], dtype="string"))[1]
    array([False,  True])
    """
    y = as_table(y)
    if isinstance(y, nw.Series) or hasattr(y, "to_pylist"):
        # numpy reads no dictionaries of pyarrow.
        y = np.fromiter(y.to_list() if isinstance(y, nw.Series) else y.to_pylist(), dtype=object)
    elif isinstance(y, (list, tuple)):
        # Of objects: numpy makes the text "nan" of a NaN among texts.
        y = np.array(y, dtype=object)
    labels = column_or_1d(np.asarray(y), warn=True)
    if labels.dtype.kind in "fM":
        return labels, np.isnan(labels)
    if labels.dtype.kind not in "OT":
        return labels, np.zeros(len(labels), dtype=bool)
    labels = labels.astype(object)
    return labels, np.array([is_missing(label) for label in labels], dtype=bool)


def _kind(label: object) -> str | None:
    if isinstance(label, str):
        return "texts"
    if isinstance(label, (bool, np.bool_)):
        return "booleans"
    # numpy counts durations among its integers.
    is_number = isinstance(label, (int, float, np.integer, np.floating)) and not isinstance(label, np.timedelta64)
    return "numbers" if is_number else None


def _plain(labels: NDArray[Any], kept: NDArray[np.bool_]) -> NDArray[Any]:
    """Labels that are ``kept``, out of objects as texts, booleans, integers or floats."""
    if labels.dtype.kind == "S":
        raise InputError(
            f"class labels are texts, numbers or booleans, not bytes ({labels.dtype}): decode them, for example with "
            "np.char.decode(y)."
        )
    if labels.dtype != object:
        return labels[kept]
    rows = np.flatnonzero(kept)
    kinds = [_kind(labels[row]) for row in rows]
    for row, kind in zip(rows, kinds, strict=True):
        if kind is None or kind != kinds[0]:
            other = f", and row {rows[0]} holds {labels[rows[0]]!r}" if kind else ""
            raise InputError(
                f"class labels are all texts, all numbers or all booleans: row {row} holds {labels[row]!r} of type "
                f"{type(labels[row]).__name__}{other}. Cast them to one of these."
            )
    values = labels[kept].tolist()
    if kinds[:1] != ["numbers"] or not all(isinstance(value, Integral) for value in values):
        return np.array(values)
    lowest, highest = min(values), max(values)
    if lowest < -(2**63) or highest >= 2 ** (64 if lowest >= 0 else 63):
        raise InputError("class labels that are integers must fit into 64 bits: hand them over as texts.")
    return np.array(values, dtype=np.int64 if highest < 2**63 else np.uint64)


def check_labels(X: Any, y: Any) -> NDArray[Any]:
    """Labels as a one-dimensional array that fits ``X``: texts, booleans, integers or floats.

    Raises
    ------
    InputError, ValueError
        Labels are continuous, missing, of several kinds, or not as many as rows.
    """
    labels, missing = read_labels(y)
    if missing.any():
        raise InputError(
            f"Input y contains NaN or missing labels (row {np.flatnonzero(missing)[0]}; {missing.sum()} in all): leave "
            "those rows out, or call fit(df)."
        )
    y = _plain(labels, ~missing)
    if y.dtype.kind == "f" and np.isinf(y).any():
        raise InputError("Input y contains infinity: classes are finite numbers, texts or booleans.")
    check_consistent_length(X, y)
    check_classification_targets(y)
    return y


def check_class_weight(class_weight: dict[Any, float] | str | None, classes: NDArray[Any]) -> None:
    """Check that a dict from class to weight names classes only.

    Raises
    ------
    ConfigurationError
        Names the keys that are no class.
    """
    known = set(classes.tolist())
    unknown = [key for key in class_weight if key not in known] if isinstance(class_weight, dict) else []
    if unknown:
        raise ConfigurationError(
            f"class_weight must be a dict from class to weight: its keys {unknown} are not among the classes "
            f"{classes.tolist()}."
        )


def class_weights(
    class_weight: dict[Any, float] | str | None,
    classes: NDArray[Any],
    label: NDArray[np.intp],
    weight: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Weight of each class, shape (C,).

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        Checked by :func:`~ddcl_tab.estimators._validation.check_parameters`. Of a dict from class to weight, a class
        that is not named weighs 1.
    classes : ndarray, shape (C,)
    label : ndarray of int, shape (n,)
        Index of the class of each row.
    weight : ndarray, shape (n,)
        Of each row.

    Raises
    ------
    ConfigurationError
        A key is no class, or no row has any weight left.
    """
    if isinstance(class_weight, dict):
        check_class_weight(class_weight, classes)
        result = np.array([class_weight.get(name, 1.0) for name in classes.tolist()], dtype=np.float64)
    else:
        with np.errstate(divide="ignore"):
            result = compute_class_weight(class_weight, classes=np.arange(len(classes)), y=label, sample_weight=weight)
        result = np.where(np.isfinite(result), result, 0.0)  # of a class whose rows have no weight
    if not (weight * result[label]).any():
        raise ConfigurationError(f"class_weight {class_weight!r} gives no row a weight above 0.")
    return result


def take(values: Any, kept: NDArray[np.bool_]) -> NDArray[Any] | None:
    """Values of the rows that are kept, out of one a row (InputError); None stays None."""
    if values is None:
        return None
    array = np.asarray(as_table(values))
    if array.shape[:1] != kept.shape:
        raise InputError(
            f"weights and groups have one value for each row: there are {len(kept)} rows, those without a label "
            f"included, and values of shape {array.shape}."
        )
    return array[kept]


def check_weight(sample_weight: Any, n_rows: int) -> NDArray[np.float64]:
    """Weights as float64, shape (n_rows,): non-negative, finite, not all zero."""
    if sample_weight is None:
        return np.ones(n_rows)
    rows = np.empty((n_rows, 1))
    return _check_sample_weight(as_table(sample_weight), rows, dtype=np.float64, ensure_non_negative=True)


def check_groups(groups: Any, X: Any, n_rows: int) -> NDArray[np.int64] | None:
    """Group number of each row, or None where there are no groups.

    Without ``groups`` they are those that the domain of ``X`` knows, such as the launch of each object.
    """
    if groups is None:
        groups = domain_of(X).group_of(X)
    if groups is None:
        return None
    groups = column_or_1d(np.asarray(as_table(groups)).astype(str))
    if len(groups) != n_rows:
        raise InputError(f"groups has {len(groups)} values for {n_rows} rows: give one group for each row.")
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def library_of(X: Any) -> Literal["pandas", "polars"]:
    """Frame library of results for ``X``: ``"polars"`` for polars, else ``"pandas"``."""
    frame = nw.from_native(X, pass_through=True)
    is_polars = isinstance(frame, (nw.DataFrame, nw.LazyFrame)) and frame.implementation.is_polars()
    return "polars" if is_polars else "pandas"


def recorded_classes(X: Any, target: str | None) -> NDArray[np.object_] | None:
    """Recorded class of each row, None where it is missing or unknown; None where a table has no column of classes."""
    if not is_frame(X):
        return None
    frame, target = nw.from_native(X, eager_only=True), target_of(target, X)
    if target is None or target not in frame.columns:
        return None
    labels, missing = read_labels(frame[target])
    return known_labels(labels, missing, domain_of(X))


def known_labels(labels: NDArray[Any], missing: NDArray[np.bool_], domain: Domain) -> NDArray[np.object_]:
    """Labels as objects, None where they are missing or the domain's word for unknown."""
    known = (None if gone or is_unknown(label, domain) else label for label, gone in zip(labels, missing, strict=True))
    return np.fromiter(known, dtype=object)


def is_named(X: Any) -> bool:
    """Whether a table has columns that name its rows."""
    return is_frame(X) and bool(set(domain_of(X).display) & set(nw.from_native(X, eager_only=True).columns))


def display_names(X: Any, n_rows: int) -> list[str]:
    """What to call each row in tables for people; never a feature."""
    if is_frame(X):
        frame = nw.from_native(X, eager_only=True)
        known = [name for name in domain_of(X).display if name in frame.columns]
        if known:
            columns = [frame[name].to_list() for name in known]
            return [" ".join(str(part) for part in row if not is_missing(part)) for row in zip(*columns, strict=True)]
    return [f"row {i}" for i in range(n_rows)]
