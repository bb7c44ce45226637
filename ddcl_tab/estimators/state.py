"""State of a fitted classifier as JSON and tensors, and back; what earlier formats lack is filled."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ddcl_tab.errors import ConfigurationError, ModelFileError
from ddcl_tab.estimators.check_state import check_state
from ddcl_tab.estimators.parameters import check_parameters
from ddcl_tab.features import TableEncoder
from ddcl_tab.features.table import CLIP, N_RESERVED
from ddcl_tab.persistence import plain, read_model, write_model
from ddcl_tab.training.certificate import EpochCertificate

_PLAIN_ATTRIBUTES = (
    "n_features_in_",
    "n_iter_",
    "n_unlabelled_",
    "history_",
    "_prototype_table",
    "_frame_library",
)


def write_state(clf: Any, path: str | os.PathLike[str]) -> None:
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
        parameters["class_weight"] = [list(pair) for pair in parameters["class_weight"].items()]
    if not isinstance(parameters["random_state"], (int, np.integer)):
        parameters["random_state"] = None
    state = {
        "parameters": parameters | {"device": "cpu"},
        "classes": {"dtype": clf.classes_.dtype.str, "values": clf.classes_.tolist()},
        "named": hasattr(clf, "feature_names_in_"),
        "encoder": clf.encoder_.to_json(),
        "certificates": [asdict(epoch) for epoch in clf._certificates],
        "interrupted": clf._interrupted,
        "attributes": {name: getattr(clf, name) for name in _PLAIN_ATTRIBUTES},
    }
    weights = {name: value.cpu().contiguous().numpy() for name, value in clf.network_.state_dict().items()}
    write_model(path, plain(state), weights)


def read_state(cls: type, path: str | os.PathLike[str]) -> Any:
    """Read a fitted classifier.

    Raises
    ------
    ModelFileError
        The file is no whole model, or of a format that is not read.
    """
    state, weights, version = read_model(path)
    try:
        if version == 1:
            state, weights = _from_format_1(state, weights)
        check_state(state, weights, set(cls().get_params(deep=False)))
        return _restore(cls, state, weights)
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError) as error:
        raise ModelFileError(
            f"{path}: its parts do not fit together ({error}): damaged or altered after it was written. "
            "Copy it again from where it came from, or train again."
        ) from error


def _from_format_1(
    state: dict[str, Any], weights: dict[str, NDArray[Any]]
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """State and weights in format 2: predictions are those of the version that wrote them.

    Parameters that did not exist get the value that says what was done then, and what the network says of its columns,
    which decides no class, is zero where it was not learned. Certificates that lack figures of today's conditions, or
    had others, cannot be judged and are left out.
    """
    parameters = {"certify": False, "column_weight": 0.0, "teacher_share": 0.0} | state["parameters"]
    # Weight of the labels of an earlier kind of distillation, until teacher_share took its place.
    parameters.pop("teacher_weight", None)
    encoder = dict(state["encoder"])
    encoder["numeric"] = [{"low": -CLIP, "high": CLIP} | scale for scale in encoder["numeric"]]
    certificates = state.get("certificates", [])
    if any(epoch.keys() != EpochCertificate.__dataclass_fields__.keys() for epoch in certificates):
        certificates = []
    attributes = {name: value for name, value in state["attributes"].items() if name != "_names"}
    if "decoder.weight" not in weights:
        n_codes = sum(len(column["categories"]) + N_RESERVED for column in encoder["categorical"])
        decoder = np.zeros((len(encoder["numeric"]) + n_codes, weights["head.weight"].shape[1]), dtype=np.float32)
        weights = weights | {"decoder.weight": decoder, "decoder.bias": decoder[:, 0].copy()}
    filled = {"encoder": encoder, "certificates": certificates, "attributes": attributes, "parameters": parameters}
    return {"interrupted": None} | state | filled, weights


def _restore(cls: type, state: dict[str, Any], weights: dict[str, Any]) -> Any:
    parameters = state["parameters"]
    if isinstance(parameters["class_weight"], list):
        parameters["class_weight"] = dict(parameters["class_weight"])
    check_parameters(parameters)
    clf = cls(**parameters)
    clf.classes_ = _labels(**state["classes"])
    clf.encoder_ = TableEncoder.from_json(state["encoder"])
    clf._certificates = tuple(EpochCertificate(**epoch) for epoch in state["certificates"])
    clf._interrupted = state["interrupted"]
    for name in _PLAIN_ATTRIBUTES:
        setattr(clf, name, state["attributes"][name])
    if state["named"]:
        clf.feature_names_in_ = np.array(clf.encoder_.columns_, dtype=object)
    clf.network_ = clf._build_network(0)
    clf.network_.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
    clf.network_.eval()
    return clf


def _labels(dtype: str, values: list[Any]) -> NDArray[Any]:
    """Class labels; texts take the room that they need, not the one that the file claims."""
    return np.array(values, dtype="U" if dtype[1] == "U" else dtype)
