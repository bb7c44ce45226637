"""Model files and checkpoints: a zip of JSON and safetensors, without pickle, with its format and checksums."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from ddcl_tab.atomic import write_whole
from ddcl_tab.errors import CheckpointError, ModelFileError

FORMAT = "ddcl-tab model"
VERSION = 1
_MANIFEST, _STATE, _WEIGHTS = "manifest.json", "state.json", "weights.safetensors"
#: No part of a model of this package comes near this size in bytes; a larger claim is an attack or damage.
MAX_PART_BYTES = 1 << 30
#: Parts above this size must not be packed smaller than this to one: small files must not fill the memory.
RATIO_FREE_BYTES, MAX_RATIO = 1 << 22, 100
_EPOCH = (1980, 1, 1, 0, 0, 0)


class Kind(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    format, version : str, int
        What its manifest says.
    noun : str
        What messages call it.
    advice : str
        What to do about a file that is none.
    error : type
        Raised where the file is none.
    compression : int
        Of the zip; deflating random digits saves a tenth and takes longer than all the rest.
    """

    format: str
    version: int
    noun: str
    advice: str
    error: type[ModelFileError | CheckpointError]
    compression: int


MODEL = Kind(
    FORMAT,
    VERSION,
    "model file",
    "Give one that `ddcl-tab train` or `save` wrote.",
    ModelFileError,
    zipfile.ZIP_DEFLATED,
)
CHECKPOINT = Kind(
    "ddcl-tab checkpoint",
    1,
    "checkpoint",
    "Train without --resume, which replaces it.",
    CheckpointError,
    zipfile.ZIP_STORED,
)


def write_model(
    path: str | os.PathLike[str], state: dict[str, Any], weights: dict[str, NDArray[Any]], kind: Kind = MODEL
) -> None:
    """Write a model file or checkpoint at once: a crash leaves the earlier file whole.

    The same state gives the same bytes.

    Parameters
    ----------
    path : path
    state : dict
        Plain JSON values.
    weights : dict of ndarray
    kind : Kind, default=MODEL

    Raises
    ------
    WriteError
        The disk is full, or the folder cannot be written to.
    """
    # safetensors writes the memory of an array as it lies, so a transposed one would come back scrambled.
    tensors = save_tensors({name: np.array(array, order="C") for name, array in weights.items()})
    parts = {_STATE: json.dumps(state, allow_nan=True).encode(), _WEIGHTS: tensors}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}
    parts[_MANIFEST] = json.dumps({"format": kind.format, "version": kind.version, "sha256": digests}).encode()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, part in sorted(parts.items()):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), part, kind.compression)
    write_whole(path, content.getvalue())


def read_model(path: str | os.PathLike[str], kind: Kind = MODEL) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what :func:`write_model` wrote.

    Returns
    -------
    state, weights : dict, dict of ndarray

    Raises
    ------
    ModelFileError, CheckpointError
        The file is missing, foreign, damaged, altered, or of another version.
    """
    path = Path(path)
    if not path.is_file():
        raise kind.error(f"{path}: no such file. {kind.advice}")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_names(archive, path, kind)
            parts = {name: _read_part(archive, path, name, kind) for name in (_MANIFEST, _STATE, _WEIGHTS)}
        _check_manifest(path, _json(parts[_MANIFEST]), parts, kind)
        state = _json(parts[_STATE])
        json.dumps(state, ensure_ascii=False).encode()  # half of a surrogate pair fails here and not where it is shown
        return state, load_tensors(parts[_WEIGHTS])
    except kind.error:
        raise
    except Exception as error:
        # zipfile, zlib, json and safetensors raise a dozen unrelated types on damaged bytes; the reader needs one.
        raise kind.error(f"{path}: not a whole {kind.noun} ({type(error).__name__}: {error}). {kind.advice}") from error


def _check_names(archive: zipfile.ZipFile, path: Path, kind: Kind) -> None:
    """Exactly the three parts, each once: a second one of a name could be what another program reads."""
    names = archive.namelist()
    for name in (_MANIFEST, _STATE, _WEIGHTS):
        if name not in names:
            raise kind.error(f"{path}: a zip without {name}: not a {kind.noun} of ddcl-tab. {kind.advice}")
    if len(names) > 3:
        extra = next((name for name in names if name not in (_MANIFEST, _STATE, _WEIGHTS)), "a part twice")
        raise kind.error(f"{path}: a zip with {extra!r}, which no {kind.noun} has. {kind.advice}")


def _json(content: bytes) -> Any:
    return json.loads(content, object_pairs_hook=_each_key_once)


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError(f"a JSON object has a key twice, among {sorted(result)[:5]}")
    return result


def _read_part(archive: zipfile.ZipFile, path: Path, name: str, kind: Kind) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > MAX_PART_BYTES:
        raise kind.error(f"{path}: {name} claims {info.file_size} bytes, over the {MAX_PART_BYTES} allowed.")
    if info.file_size > max(RATIO_FREE_BYTES, MAX_RATIO * path.stat().st_size):
        raise kind.error(
            f"{path}: {name} claims {info.file_size} bytes out of {path.stat().st_size}: over {MAX_RATIO} to one."
        )
    with archive.open(info) as part:
        content = part.read(MAX_PART_BYTES + 1)
    if len(content) > MAX_PART_BYTES:
        raise kind.error(f"{path}: {name} is over the {MAX_PART_BYTES} bytes allowed.")
    return content


def _check_manifest(path: Path, manifest: Any, parts: dict[str, bytes], kind: Kind) -> None:
    if not isinstance(manifest, dict) or manifest.get("format") != kind.format:
        raise kind.error(f"{path}: its manifest does not say {kind.format!r}: not a {kind.noun} of ddcl-tab.")
    if manifest.get("version") != kind.version:
        raise kind.error(
            f"{path}: written in version {manifest.get('version')!r} of the format; this package reads {kind.version}. "
            "Train again, or use the package version that wrote it."
        )
    digests = manifest.get("sha256")
    for name in (_STATE, _WEIGHTS):
        if not isinstance(digests, dict) or digests.get(name) != hashlib.sha256(parts[name]).hexdigest():
            raise kind.error(f"{path}: {name} does not match its checksum: the file was altered. Do not trust it.")


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
