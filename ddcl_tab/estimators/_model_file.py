"""State of a fitted classifier as JSON and tensors, and back.

A file may come from a stranger: types, counts and sizes are checked before anything is made of it.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ddcl_tab._files import plain, read_model, write_model
from ddcl_tab.errors import ConfigurationError, ModelFileError
from ddcl_tab.estimators._columns import unit_of
from ddcl_tab.estimators._domain import UnknownDomainError, domain_named
from ddcl_tab.estimators._families import Families, GroupFamilies
from ddcl_tab.estimators._prototypes import default_prototypes
from ddcl_tab.estimators._table import N_PIECES, NARROWEST, NumericScale, TableEncoder
from ddcl_tab.estimators._validation import Requirement, check_parameters
from ddcl_tab.training._certificate import EpochCertificate
from ddcl_tab.training._rows import N_RESERVED

if TYPE_CHECKING:
    from ddcl_tab.estimators._classifier import DDCLClassifier

Classifier = TypeVar("Classifier", bound="DDCLClassifier")

#: Weights of these names are the counts of families, where a model has them.
_FAMILIES = "families."
#: Weights of this name are the mean contributions of the columns.
_MEANS = "column_means"

#: Integers beyond this are no count, and some no float.
_LARGEST = 2**53
#: Weights and temperature beyond these make numbers that float32 does not hold; no training comes near.
_LARGEST_WEIGHT, _SMALLEST_TEMPERATURE = 1e6, 1e-12


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, float) or (isinstance(value, int) and abs(value) <= _LARGEST)


_TEXT = Requirement(lambda v: isinstance(v, str), "a text")
_FLAG = Requirement(lambda v: isinstance(v, bool), "true or false")
_COUNT = Requirement(lambda v: isinstance(v, int) and _is_number(v) and v >= 0, "a count")
_NUMBER = Requirement(_is_number, "a number")
_FINITE = Requirement(lambda v: _is_number(v) and math.isfinite(v), "a finite number")
_WIDTH = Requirement(lambda v: _is_number(v) and math.isfinite(v) and v > 0, "a finite number above 0")
_SCALAR = Requirement(lambda v: isinstance(v, (str, bool)) or _is_number(v), "a text, a number, true or false")
# Labels are compared and not counted with: catalog numbers of 64 bits are labels, too.
_LABEL = Requirement(lambda v: isinstance(v, int) or _SCALAR.holds(v), "a text, a number, true or false")
_CELL = Requirement(lambda v: v is None or isinstance(v, str) or _is_number(v), "a text, a number or nothing")
_LIBRARY = Requirement(lambda v: v in ("pandas", "polars"), "'pandas' or 'polars'")
_LABEL_TYPE = Requirement(
    lambda v: isinstance(v, str) and v[:1] in "|<>=" and v[1:2] in ("b", "i", "u", "f", "U", "O"),
    "a type of labels such as '<U6'",
)
_EDGES = Requirement(
    lambda v: (
        isinstance(v, list)
        and 3 <= len(v) <= N_PIECES + 1
        and all(_FINITE.holds(edge) and abs(edge) <= _LARGEST_WEIGHT for edge in v)
        and all(b - a >= NARROWEST / 2 for a, b in pairwise(v))
    ),
    f"3 to {N_PIECES + 1} increasing numbers",
)
_OBJECT = Requirement(lambda v: isinstance(v, dict), "an object")

_SCALE = {f.name: _FINITE for f in fields(NumericScale)}
_SCALE |= {"name": _TEXT, "unit": _TEXT, "heavy": _FLAG, "iqr": _FINITE, "std": _WIDTH, "edges": _EDGES}
_EPOCH = {f.name: _COUNT if f.type == "int" else _NUMBER for f in fields(EpochCertificate)}
_STATE = {
    "parameters": _OBJECT,
    "classes": {"dtype": _LABEL_TYPE, "values": [_LABEL]},
    "named": _FLAG,
    "domain": _TEXT,
    "encoder": {
        "columns": [_TEXT],
        "empty": [_TEXT],
        "numeric": [_SCALE],
        "categorical": [{"name": _TEXT, "categories": [_TEXT]}],
    },
    "certificates": [_EPOCH],
    "interrupted": Requirement(lambda v: v is None or _COUNT.holds(v), "a count or nothing"),
    "attributes": {
        "n_features_in_": _COUNT,
        "n_iter_": _COUNT,
        "n_unlabelled_": _COUNT,
        "history_": [_OBJECT],
        "_prototype_table": _OBJECT,
        "_frame_library": _LIBRARY,
    },
}


def check_state(state: Any, weights: dict[str, NDArray[Any]], parameters: set[str]) -> None:
    """Check types, counts and sizes of a model's state.

    Parameters
    ----------
    state : Any
        As JSON gave it.
    weights : dict of ndarray
        As safetensors gave them: their sizes are those of bytes that are there, so they bound all others.
    parameters : set of str
        Names of the constructor's parameters.

    Raises
    ------
    ValueError
        Names the entry and what it should be.

    Examples
    --------
    >>> check_state({"parameters": {}}, {}, set())
    Traceback (most recent call last):
    ...
    ValueError: state lacks 'classes', 'named', 'domain', 'encoder', 'certificates', 'interrupted', 'attributes'
    """
    _check(state, _STATE, "state")
    _check(state["parameters"], dict.fromkeys(parameters, Requirement(lambda _: True, "anything")), "state.parameters")
    for i, epoch in enumerate(state["attributes"]["history_"]):
        _check(epoch, dict.fromkeys(epoch, _SCALAR), f"state.attributes.history_[{i}]")
    _check_sizes(state, weights)
    _check_weights(weights)


def _check(value: Any, wanted: Any, where: str) -> None:
    if isinstance(wanted, Requirement):
        if not wanted.holds(value):
            raise ValueError(f"{where} must be {wanted.text}, not {_short(value)}")
    elif isinstance(wanted, list):
        if not isinstance(value, list):
            raise ValueError(f"{where} must be a list, not {_short(value)}")
        for i, item in enumerate(value):
            _check(item, wanted[0], f"{where}[{i}]")
    else:
        _check_keys(value, wanted, where)
        for name, part in wanted.items():
            _check(value[name], part, f"{where}.{name}")


def _check_keys(value: Any, wanted: dict[str, Any], where: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object, not {_short(value)}")
    lacking, unknown = [n for n in wanted if n not in value], [n for n in value if n not in wanted]
    if lacking or unknown:
        what = "lacks" if lacking else "has the unknown entry"
        raise ValueError(f"{where} {what} {', '.join(repr(n) for n in (lacking or unknown[:3]))}")


def _check_sizes(state: dict[str, Any], weights: dict[str, NDArray[Any]]) -> None:
    parameters, encoder, attributes = state["parameters"], state["encoder"], state["attributes"]
    widest = max((size for value in weights.values() for size in value.shape), default=0)
    bounds = {"d_token": widest, "n_heads": widest, "n_blocks": len(weights)}
    for name, bound in bounds.items():
        if not _COUNT.holds(parameters[name]) or not 1 <= parameters[name] <= bound:
            raise ValueError(
                f"state.parameters.{name} is {_short(parameters[name])}; the weights have room for {bound}"
            )
    wanted = parameters["n_prototypes"]
    if wanted is not None and (not _COUNT.holds(wanted) or not 1 <= wanted <= widest):
        raise ValueError(f"state.parameters.n_prototypes is {_short(wanted)}; the weights have room for {widest}")
    used = [column["name"] for column in encoder["numeric"] + encoder["categorical"]]
    if sorted(used + encoder["empty"]) != sorted(encoder["columns"]) or len(set(used)) != len(used):
        raise ValueError("state.encoder.columns are not those of its scales and categories")
    _check_shapes(state, weights)
    if not state["named"] and encoder["columns"] != [f"x{i}" for i in range(len(encoder["columns"]))]:
        raise ValueError("state.named is false, but the columns have names")
    if attributes["n_features_in_"] != len(encoder["columns"]):
        raise ValueError(f"state.attributes.n_features_in_ is not the number of columns, {len(encoder['columns'])}")
    labels = state["classes"]["values"]
    if len({str(label) for label in labels}) != len(labels) or len({type(label) for label in labels}) != 1:
        raise ValueError("state.classes.values must be different labels of one type")
    if attributes["n_iter_"] != len(attributes["history_"]):
        raise ValueError(f"state.attributes.n_iter_ is not the length of history_, {len(attributes['history_'])}")
    _check_prototypes(attributes["_prototype_table"], _n_prototypes(state), state["classes"]["values"])


def _check_shapes(state: dict[str, Any], weights: dict[str, NDArray[Any]]) -> None:
    """The network that the parameters describe is the one whose weights are there, before memory is taken for it."""
    parameters, encoder = state["parameters"], state["encoder"]
    width, n_numeric = parameters["d_token"], len(encoder["numeric"])
    shapes: dict[str, tuple[int, ...]] = {
        "readout.prototypes": (_n_prototypes(state), width),
        "head.weight": (len(state["classes"]["values"]), width),
        _MEANS: (n_numeric + len(encoder["categorical"]), len(state["classes"]["values"])),
    }
    for i in range(parameters["n_blocks"]):
        shapes[f"encoder.blocks.{i}.attention.out.weight"] = (width, width)
        shapes[f"encoder.blocks.{i}.feed_forward.1.weight"] = (2 * width, width)
    if n_numeric:
        n_pieces = max(len(column["edges"]) for column in encoder["numeric"]) - 1
        shapes["tokenizer.missing"] = (n_numeric, width)
        shapes["tokenizer.numeric.linear.weight"] = (n_numeric, n_pieces, width)
    if encoder["categorical"]:
        n_codes = sum(len(column["categories"]) + N_RESERVED for column in encoder["categorical"])
        shapes["tokenizer.categorical.weight"] = (n_codes, width)
    for name, shape in shapes.items():
        found = weights[name].shape if name in weights else None
        if found != shape:
            raise ValueError(f"weights of {name} have the shape {found}; the state describes {shape}")


def _n_prototypes(state: dict[str, Any]) -> int:
    encoder, n = state["encoder"], state["parameters"]["n_prototypes"]
    return int(default_prototypes(len(encoder["numeric"]) + len(encoder["categorical"])) if n is None else n)


def _check_prototypes(table: dict[str, Any], n_prototypes: int, classes: list[Any]) -> None:
    where = "state.attributes._prototype_table"
    wanted = {"prototype": _COUNT, "name": _TEXT, "medoid": _TEXT, "share": _FINITE}
    wanted |= {f"{what} {label}": _FINITE for what in ("share", "votes") for label in classes}
    _check(table, {name: [wanted.get(name, _CELL)] for name in table | wanted}, where)
    for name, column in table.items():
        if len(column) != n_prototypes:
            raise ValueError(f"{where}.{name} has {len(column)} rows, not one a prototype")
        if len({isinstance(cell, str) for cell in column if cell is not None}) > 1:
            raise ValueError(f"{where}.{name} mixes texts and numbers")


def _check_weights(weights: dict[str, NDArray[Any]]) -> None:
    for name, value in weights.items():
        if not (np.abs(value) <= _LARGEST_WEIGHT).all():  # false for NaN, too
            raise ValueError(f"weights of {name} hold values that are not finite or beyond {_LARGEST_WEIGHT:g}")
    temperature = weights.get("readout.temperature", np.ones(()))
    if not (temperature >= _SMALLEST_TEMPERATURE).all():
        raise ValueError(f"readout.temperature must be at least {_SMALLEST_TEMPERATURE:g}, not {temperature}")


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) <= _LARGEST else "a number of many digits"
    return text if len(text) <= 40 else text[:37] + "..."


_PLAIN_ATTRIBUTES = (
    "n_features_in_",
    "n_iter_",
    "n_unlabelled_",
    "history_",
    "_prototype_table",
    "_frame_library",
)


def write_state(clf: DDCLClassifier, path: str | os.PathLike[str]) -> None:
    """Write a fitted classifier.

    Raises
    ------
    ConfigurationError
        The class labels are of a type that JSON cannot hold.
    """
    if clf.classes_.dtype.kind not in "biufUO" or not all(
        isinstance(c, (str, int, float)) for c in clf.classes_.tolist()
    ):
        raise ConfigurationError(
            f"class labels of type {clf.classes_.dtype} cannot be saved: use texts, numbers or booleans as labels."
        )
    parameters = clf.get_params(deep=False)
    if isinstance(parameters["class_weight"], dict):
        # Pairs, for JSON would make texts of the keys; of the classes, for a key may be of another type and equal one.
        own = {name: name for name in clf.classes_.tolist()}
        parameters["class_weight"] = [[own.get(key, key), float(w)] for key, w in parameters["class_weight"].items()]
    if not isinstance(parameters["random_state"], (int, np.integer)):
        parameters["random_state"] = None
    state = {
        "parameters": parameters | {"device": "cpu"},
        "classes": {"dtype": clf.classes_.dtype.str, "values": clf.classes_.tolist()},
        "named": hasattr(clf, "feature_names_in_"),
        "domain": clf.domain_.name,
        "encoder": clf.encoder_.to_json(),
        "certificates": [asdict(epoch) for epoch in clf._certificates],
        "interrupted": clf._interrupted,
        "attributes": {name: getattr(clf, name) for name in _PLAIN_ATTRIBUTES},
    }
    weights = {name: value.cpu().contiguous().numpy() for name, value in clf.network_.state_dict().items()}
    weights[_MEANS] = clf._column_means
    if clf.families_ is not None:
        weights |= {_FAMILIES + name: array for name, array in clf.families_.to_arrays().items()}
    write_model(path, plain(state), weights)


def read_state(cls: type[Classifier], path: str | os.PathLike[str]) -> Classifier:
    """Read a fitted classifier.

    Raises
    ------
    ModelFileError
        The file is no whole model, or of a format that is not read.
    """
    state, weights, _ = read_model(path)
    try:
        families = {name: weights.pop(name) for name in list(weights) if name.startswith(_FAMILIES)}
        check_state(state, weights, set(cls().get_params(deep=False)))
        clf = _restore(cls, state, weights)
        clf.families_ = _read_families(families, clf)
        return clf
    except UnknownDomainError as error:
        raise ModelFileError(f"{path}: {error}") from error
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError) as error:
        raise ModelFileError(
            f"{path}: its parts do not fit together ({error}): damaged or altered after it was written. "
            "Copy it again from where it came from, or train again."
        ) from error


def _read_families(arrays: dict[str, NDArray[Any]], clf: DDCLClassifier) -> Families | None:
    """Counts of families that a model has learned from; None where there are none."""
    by_column = clf.family not in (None, "auto")
    if not arrays and not by_column:
        return None
    arrays = {name.removeprefix(_FAMILIES): array for name, array in arrays.items()}
    columns = clf.encoder_.columns_
    if clf.family not in (None, "auto"):
        return GroupFamilies.from_arrays(arrays, clf.family, columns)
    kind = clf.domain_.families
    if (
        clf.family is None
        or kind is None
        or not {*kind.NAMES, *(kind.COUNTS if clf.family_counts else ())} <= {*columns}
    ):
        raise ValueError("there are families, but the state describes a model without")
    return kind.from_arrays(arrays)


def _restore(cls: type[Classifier], state: dict[str, Any], weights: dict[str, Any]) -> Classifier:
    parameters = state["parameters"]
    if isinstance(parameters["class_weight"], list):
        parameters["class_weight"] = dict(parameters["class_weight"])
    check_parameters(parameters)
    clf = cls(**parameters)
    clf.classes_ = _labels(**state["classes"])
    clf.domain_ = domain_named(state["domain"])
    clf.encoder_ = TableEncoder.from_json(state["encoder"], clf.domain_)
    for scale in clf.encoder_.numeric_:
        # Dates, whose unit is the year, are of no domain.
        if scale.unit not in (unit := unit_of(scale.name, clf.domain_.units), "year"):
            raise ValueError(f"{scale.name} is in {scale.unit!r}, and in {unit!r} by the domain {clf.domain_.name!r}")
    clf._certificates = tuple(EpochCertificate(**epoch) for epoch in state["certificates"])
    clf._interrupted = state["interrupted"]
    for name in _PLAIN_ATTRIBUTES:
        setattr(clf, name, state["attributes"][name])
    if state["named"]:
        clf.feature_names_in_ = np.array(clf.encoder_.columns_, dtype=object)
    clf.network_ = clf._build_network(0)
    clf._column_means = weights[_MEANS].copy()
    tensors = {name: torch.from_numpy(value.copy()) for name, value in weights.items() if name != _MEANS}
    clf.network_.load_state_dict(tensors)
    clf.network_.eval()
    return clf


def _labels(dtype: str, values: list[Any]) -> NDArray[Any]:
    """Class labels; texts take the room that they need, not the one that the file claims."""
    return np.array(values, dtype="U" if dtype[1] == "U" else dtype)
