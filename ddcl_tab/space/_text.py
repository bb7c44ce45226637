"""Text of a file: unpacked, decoded, with line feeds at the ends of its lines; whole or piece by piece."""

from __future__ import annotations

import codecs
import gzip
import io
import itertools
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from ddcl_tab.errors import CatalogError

_GZIP_MAGIC = b"\x1f\x8b"
# Catalogs shrink 3- to 30-fold; what grows further than this is made to fill the memory.
_LARGEST_EXPANSION = 100
_ALWAYS_ALLOWED_BYTES = 1 << 26
_CHUNK_BYTES = 1 << 20
# UTF-32's little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_HEAD_BYTES = 1 << 10
# Names may hold some letters that are not Latin.
_PLAIN_SHARE = 0.9


def read_text(path: str | os.PathLike[str], *, other_encoding: str | None = None) -> str:
    r"""Text of a file, decompressed where it is gzip, without a byte-order mark.

    Parameters
    ----------
    path : str or path-like
        A text file in UTF-8, UTF-16 or UTF-32, plain or gzip (by its first two bytes, not its name). UTF-16 needs no
        byte-order mark where the file begins with Latin letters.
    other_encoding : str, optional
        Encoding of files that are none of these; default: they are errors.

    Returns
    -------
    str
        The whole text; line ends (LF, CR LF, or CR alone) are line feeds.

    Raises
    ------
    CatalogError
        Missing or empty file, directory, gzip that is damaged or grows beyond any catalog, or bytes that are no text.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.csv")
    ...     _ = path.write_bytes(gzip.compress("NORAD_CAT_ID\r\n5\r\n".encode("utf-16")))
    ...     read_text(path)
    'NORAD_CAT_ID\n5\n'
    """
    try:
        text = "".join(text_chunks(path))
    except CatalogError as error:
        if other_encoding is None or not isinstance(error.__cause__, UnicodeDecodeError):
            raise
        try:
            text = "".join(_decoded(path, other_encoding))
        except CatalogError:
            raise error from error.__cause__
    if not text.strip():
        raise CatalogError("the file is empty", file=path, remedy="Download it again.")
    return text


def text_chunks(path: str | os.PathLike[str]) -> Iterator[str]:
    """Text of a file piece by piece, so that it need not fit into the memory.

    Parameters
    ----------
    path : str or path-like
        As in `read_text`.

    Yields
    ------
    str
        Some of the text, cut anywhere; line ends are line feeds.

    Raises
    ------
    CatalogError
        As in `read_text`, when the reading gets there; an empty file yields nothing but blanks.

    Examples
    --------
    >>> next(text_chunks("no such file"))
    Traceback (most recent call last):
    ddcl_tab.errors.CatalogError: no such file: the file does not exist. Check the path.
    """
    return _decoded(path, None)


def text_lines(path: str | os.PathLike[str]) -> Iterator[str]:
    r"""Lines of a file, each with its line feed; only LF, CR LF and CR end a line.

    Parameters
    ----------
    path : str or path-like
        As in `read_text`.

    Yields
    ------
    str
        One line.

    Raises
    ------
    CatalogError
        As in `read_text`, when the reading gets there.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.csv")
    ...     _ = path.write_bytes(b"NORAD_CAT_ID\r5\r\n6")
    ...     list(text_lines(path))
    ['NORAD_CAT_ID\n', '5\n', '6']
    """
    parts: list[str] = []
    for chunk in text_chunks(path):
        head, *lines = chunk.split("\n")
        parts.append(head)
        if lines:
            yield "".join(parts) + "\n"
            *whole, rest = lines
            for line in whole:
                yield line + "\n"
            parts = [rest]
    if last := "".join(parts):
        yield last


def _decoded(path: str | os.PathLike[str], encoding: str | None) -> Iterator[str]:
    """Text in chunks; without an encoding, by the byte-order mark or the first bytes."""
    chunks = _byte_chunks(Path(path))
    head = b""
    while len(head) < _HEAD_BYTES and (chunk := next(chunks, b"")):
        head += chunk
    mark, found = _encoding_of(head)
    encoding = encoding or found
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
    n_read = len(mark)
    for chunk in itertools.chain([head[len(mark) :]], chunks, [b""]):
        n_read += len(chunk)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            place = n_read - len(error.object) + error.start + 1
            raise CatalogError(
                f"the file is {encoding[:6].rstrip('-').upper()} text, but byte {place} is "
                f"0x{error.object[error.start]:02x}",
                file=path,
                remedy="Download it again, or save it as UTF-8 text; zip archives must be unpacked first.",
            ) from error
        if "\0" in text:
            raise CatalogError(
                "the file is text, but it holds zero bytes", file=path, remedy="Download it again; this is binary data."
            )
        yield text


def _encoding_of(data: bytes) -> tuple[bytes, str]:
    """Byte-order marks and encoding; without a mark UTF-16 where nearly each second byte is zero, else UTF-8."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            # Some tools put theirs before one that is there.
            n_marks = 1
            while data.startswith(mark, n_marks * len(mark)):
                n_marks += 1
            return n_marks * mark, encoding
    first, second = data[:_HEAD_BYTES:2], data[1:_HEAD_BYTES:2]
    for zeros, letters, encoding in ((second, first, "utf-16-le"), (first, second, "utf-16-be")):
        if zeros and zeros.count(0) >= _PLAIN_SHARE * len(zeros) and not letters.count(0):
            return b"", encoding
    return b"", "utf-8"


def _byte_chunks(path: Path) -> Iterator[bytes]:
    """Content of a file, decompressed where it is gzip."""
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise CatalogError("the file does not exist", file=path, remedy="Check the path.") from error
    except IsADirectoryError as error:
        raise CatalogError("this is a folder, not a file", file=path, remedy="Name one file in it.") from error
    except (OSError, ValueError) as error:
        raise CatalogError(f"the file cannot be opened: {error}", file=path) from error
    with file:
        if file.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC):
            yield from _decompressed(file, path)
            return
        while chunk := _read(file, path):
            yield chunk


def _read(file: io.BufferedReader, path: Path) -> bytes:
    try:
        return file.read(_CHUNK_BYTES)
    except OSError as error:
        raise CatalogError(f"the file cannot be read: {error}", file=path) from error


def _decompressed(packed: io.BufferedReader, path: Path) -> Iterator[bytes]:
    """Content of a gzip file (several members are joined), refused as soon as it grows beyond all catalogs."""
    size = os.fstat(packed.fileno()).st_size
    limit = max(_ALWAYS_ALLOWED_BYTES, _LARGEST_EXPANSION * size)
    n_read = 0
    with gzip.GzipFile(fileobj=packed) as file:
        while True:
            try:
                chunk = file.read(_CHUNK_BYTES)
            except (EOFError, OSError, zlib.error) as error:
                raise CatalogError(
                    f"the gzip file is damaged or cut off: {error}", file=path, remedy="Download it again."
                ) from error
            if not chunk:
                return
            n_read += len(chunk)
            if n_read > limit:
                raise CatalogError(
                    f"a gzip file grows at most {_LARGEST_EXPANSION}-fold, or to {_ALWAYS_ALLOWED_BYTES >> 20} MiB",
                    file=path,
                    value=f"{size} bytes grow to more than {limit}",
                    remedy="No catalog does so. If you trust the file, unpack it first.",
                )
            yield chunk
