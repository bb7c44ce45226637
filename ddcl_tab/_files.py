"""Files written whole, and models and checkpoints: a zip of JSON and safetensors, without pickle, with checksums.

The format of model files has a number of its own, apart from the package's version:

1. Written up to ddcl-tab 0.1.0, with entries that came and went while the number stayed.
2. ``written_by`` in the manifest; exactly the entries that `ddcl_tab.estimators._model_file` lists.
3. Networks that read every column token. Those before, which had a class token, are not read any more.

Whoever adds, drops or changes an entry raises the number, teaches `ddcl_tab.estimators._model_file` to fill what format
3 and later lack, and commits a golden model (tests/golden/README.md).
"""

from __future__ import annotations

import errno
import glob
import hashlib
import io
import json
import os
import secrets
import zipfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from ddcl_tab.errors import CheckpointError, ModelFileError, WriteError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_whole(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write a file so that a crash, a kill or a full disk leaves the earlier one as it was.

    Parameters
    ----------
    path : path
        Its folder exists. A pipe or device is written to as it is: it cannot be replaced.
    content : bytes or str
        Text becomes UTF-8.

    Raises
    ------
    WriteError
        The disk is full, or the folder cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(Path(folder) / "a.txt", "whole")
    ...     (Path(folder) / "a.txt").read_text(), len(list(Path(folder).iterdir()))
    ('whole', 1)
    """
    content = content.encode() if isinstance(content, str) else content
    try:
        if Path(path).exists() and not Path(path).is_file():
            Path(path).write_bytes(content)
        else:
            _replace(Path(path).resolve(), content)  # resolved, so that a link goes on pointing where it points
    except OSError as error:
        remedy = "Free space there" if error.errno in _FULL else "Give a place that can be written to"
        raise WriteError(f"{path}: cannot be written ({error.strerror}); no file was changed. {remedy}.") from error


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove what killed writers of a file left beside it. Only for who knows that nobody is writing it now."""
    path = Path(path).resolve()
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        leftover.unlink(missing_ok=True)


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """The new name, too, outlives a power cut, where the system can sync folders."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


FORMAT = "ddcl-tab model"
VERSION = 4
_MANIFEST, _STATE, _WEIGHTS = "manifest.json", "state.json", "weights.safetensors"
#: No part of a model of this package comes near this size in bytes; a larger claim is an attack or damage.
MAX_PART_BYTES = 1 << 30
#: Parts above this size must not be packed smaller than this to one: small files must not fill the memory.
RATIO_FREE_BYTES, MAX_RATIO = 1 << 22, 100
_EPOCH = (1980, 1, 1, 0, 0, 0)
_OURS = f"ddcl-tab {version('ddcl-tab')}"


class Kind(NamedTuple):
    """What a file is.

    Attributes
    ----------
    format : str
        What its manifest says.
    version, oldest : int
        Number of the format that is written, and of the oldest one that is read.
    noun : str
        What messages call it.
    advice, otherwise : str
        What to do about a file that is none, and about one of a format that is not read.
    error : type
        Raised where the file is none.
    compression : int
        Of the zip; deflating random digits saves a tenth and takes longer than all the rest.
    """

    format: str
    version: int
    oldest: int
    noun: str
    advice: str
    otherwise: str
    error: type[ModelFileError | CheckpointError]
    compression: int


MODEL = Kind(
    FORMAT,
    VERSION,
    VERSION,
    "model file",
    "Give one that `ddcl-tab train` or `save` wrote.",
    "Otherwise train again.",
    ModelFileError,
    zipfile.ZIP_DEFLATED,
)
CHECKPOINT = Kind(
    "ddcl-tab checkpoint",
    1,
    1,
    "checkpoint",
    "Train without --resume, which replaces it.",
    "Otherwise train without --resume, which replaces it.",
    CheckpointError,
    zipfile.ZIP_STORED,
)


class Content(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    state : dict
        Plain JSON values.
    weights : dict of ndarray
    version : int
        Number of the format in which it was written.
    """

    state: dict[str, Any]
    weights: dict[str, NDArray[Any]]
    version: int


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
    manifest = {"format": kind.format, "version": kind.version, "written_by": _OURS, "sha256": digests}
    parts[_MANIFEST] = json.dumps(manifest).encode()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, part in sorted(parts.items()):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), part, kind.compression)
    write_whole(path, content.getvalue())


def read_model(path: str | os.PathLike[str], kind: Kind = MODEL) -> Content:
    """Read what :func:`write_model` wrote, now or in an earlier format.

    Returns
    -------
    Content

    Raises
    ------
    ModelFileError, CheckpointError
        The file is missing, foreign, damaged, altered, or of a format that is not read.
    """
    path = Path(path)
    if not path.is_file():
        raise kind.error(f"{path}: no such file. {kind.advice}")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_names(archive, path, kind)
            parts = {name: _read_part(archive, path, name, kind) for name in (_MANIFEST, _STATE, _WEIGHTS)}
        manifest = _json(parts[_MANIFEST])
        _check_manifest(path, manifest, parts, kind)
        state = _json(parts[_STATE])
        json.dumps(state, ensure_ascii=False).encode()  # half of a surrogate pair fails here and not where it is shown
        return Content(state, load_tensors(parts[_WEIGHTS]), manifest["version"])
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
    number = manifest.get("version")
    if type(number) is not int or not kind.oldest <= number <= kind.version:
        formats = (
            f"format {kind.version}" if kind.oldest == kind.version else f"formats {kind.oldest} to {kind.version}"
        )
        raise kind.error(
            f"{path}: written by {_writer(manifest)} (format {number!r}), which this version cannot read: {_OURS} "
            f"reads {formats}. Update ddcl-tab if it is older than that. {kind.otherwise}"
        )
    digests = manifest.get("sha256")
    for name in (_STATE, _WEIGHTS):
        if not isinstance(digests, dict) or digests.get(name) != hashlib.sha256(parts[name]).hexdigest():
            raise kind.error(f"{path}: {name} does not match its checksum: the file was altered. Do not trust it.")


def _writer(manifest: dict[str, Any]) -> str:
    """What wrote a file, by its own word: shown, so short and printable."""
    writer = manifest.get("written_by")
    return writer if isinstance(writer, str) and writer.isprintable() and len(writer) <= 40 else "another ddcl-tab"


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
