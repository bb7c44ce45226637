"""Model files: a zip of JSON and safetensors, without pickle, that names its format and checks its contents."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from ddcl_tab.errors import ModelFileError

FORMAT = "ddcl-tab model"
VERSION = 1
_MANIFEST, _STATE, _WEIGHTS = "manifest.json", "state.json", "weights.safetensors"
#: No part of a model of this package comes near this size in bytes; a larger claim is an attack or damage.
MAX_PART_BYTES = 1 << 30
_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_model(path: str | os.PathLike[str], state: dict[str, Any], weights: dict[str, NDArray[Any]]) -> None:
    """Write a model file under a temporary name, then rename it: a crash leaves the earlier file whole.

    The same state gives the same bytes.

    Parameters
    ----------
    path : path
    state : dict
        Plain JSON values.
    weights : dict of ndarray
    """
    # safetensors writes the memory of an array as it lies, so a transposed one would come back scrambled.
    tensors = save_tensors({name: np.array(array, order="C") for name, array in weights.items()})
    parts = {_STATE: json.dumps(state, allow_nan=True).encode(), _WEIGHTS: tensors}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}
    parts[_MANIFEST] = json.dumps({"format": FORMAT, "version": VERSION, "sha256": digests}).encode()
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.resolve().parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            for name, content in sorted(parts.items()):
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_model(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what :func:`write_model` wrote.

    Returns
    -------
    state, weights : dict, dict of ndarray

    Raises
    ------
    ModelFileError
        The file is missing, foreign, damaged, altered, or of another version.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file. Give a model that `ddcl-tab train` or `save` wrote.")
    try:
        with zipfile.ZipFile(path) as archive:
            parts = {name: _read_part(archive, path, name) for name in (_MANIFEST, _STATE, _WEIGHTS)}
        manifest = json.loads(parts[_MANIFEST])
        _check_manifest(path, manifest, parts)
        return json.loads(parts[_STATE]), load_tensors(parts[_WEIGHTS])
    except ModelFileError:
        raise
    except Exception as error:
        # zipfile, zlib, json and safetensors raise a dozen unrelated types on damaged bytes; the reader needs one.
        raise ModelFileError(
            f"{path}: not a whole model file ({type(error).__name__}: {error}). "
            "Give one that `ddcl-tab train` or `save` wrote."
        ) from error


def _read_part(archive: zipfile.ZipFile, path: Path, name: str) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise ModelFileError(f"{path}: a zip without {name}: not a model file of ddcl-tab.") from None
    if info.file_size > MAX_PART_BYTES:
        raise ModelFileError(f"{path}: {name} claims {info.file_size} bytes, over the {MAX_PART_BYTES} allowed.")
    with archive.open(info) as part:
        content = part.read(MAX_PART_BYTES + 1)
    if len(content) > MAX_PART_BYTES:
        raise ModelFileError(f"{path}: {name} is over the {MAX_PART_BYTES} bytes allowed.")
    return content


def _check_manifest(path: Path, manifest: Any, parts: dict[str, bytes]) -> None:
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ModelFileError(f"{path}: its manifest does not say {FORMAT!r}: not a model file of ddcl-tab.")
    if manifest.get("version") != VERSION:
        raise ModelFileError(
            f"{path}: written in version {manifest.get('version')!r} of the format; this package reads {VERSION}. "
            "Train again, or use the package version that wrote it."
        )
    digests = manifest.get("sha256")
    for name in (_STATE, _WEIGHTS):
        if not isinstance(digests, dict) or digests.get(name) != hashlib.sha256(parts[name]).hexdigest():
            raise ModelFileError(f"{path}: {name} does not match its checksum: the file was altered. Do not trust it.")


def plain(value: Any) -> Any:
    """Turn numpy scalars and arrays into plain Python values for JSON.

    Examples
    --------
    >>> plain({"a": np.float64(1.5), "b": np.array([1, 2])})
    {'a': 1.5, 'b': [1, 2]}
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    return value.item() if isinstance(value, np.generic) else value
