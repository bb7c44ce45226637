"""Files appear whole or not at all: written under another name in the same folder, synced to the disk, renamed."""

from __future__ import annotations

import errno
import glob
import os
import secrets
from contextlib import suppress
from pathlib import Path

from ddcl_tab.errors import WriteError

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
