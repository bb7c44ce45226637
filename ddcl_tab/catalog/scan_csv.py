"""Element sets of a large OMM file in CSV, batch by batch."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from gzip import GzipFile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.csv

from ddcl_tab.catalog.files import gp_content_of, names_in_header
from ddcl_tab.catalog.omm import REQUIRED, WANTED, parse_omm
from ddcl_tab.catalog.rules import first_error
from ddcl_tab.catalog.tables import LINE, read_csv, require
from ddcl_tab.errors import CatalogError

_GZIP_MAGIC = b"\x1f\x8b"
# Enough for the header of any provider; a line is never longer.
_HEAD_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 23


def is_omm_csv(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins like OMM in CSV, plain or gzip.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    bool
        False too where the file cannot be read: `ddcl_tab.catalog.read_gp` says why.

    Examples
    --------
    >>> is_omm_csv("no such file")
    False
    """
    try:
        head = _head(path)
        # Element sets may stand below a header that is longer than the head, with commas in it.
        return (
            bool(head.strip()) and gp_content_of(head, path) == "csv" and not names_in_header(head).isdisjoint(WANTED)
        )
    except (CatalogError, OSError, EOFError, ValueError, zlib.error):
        return False


def csv_batches(path: str | os.PathLike[str], rows: int) -> Iterator[pl.DataFrame]:
    r"""Canonical frames of at most so many rows; the first row that breaks a rule is an error.

    Parameters
    ----------
    path : str or path-like
        OMM in CSV, plain or gzip.
    rows : int
        Largest number of rows of a batch.

    Yields
    ------
    polars.DataFrame
        Columns `ddcl_tab.catalog.ELSET_COLUMNS`.

    Raises
    ------
    CatalogError
        As `ddcl_tab.catalog.read_gp`; the line is the row's, counted without blank lines.

    Examples
    --------
    >>> import tempfile
    >>> header = "NORAD_CAT_ID,EPOCH,MEAN_MOTION,ECCENTRICITY,INCLINATION,RA_OF_ASC_NODE,ARG_OF_PERICENTER,MEAN_ANOMALY"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "gp.csv")
    ...     _ = path.write_text(header + 3 * "\n799500123,2031-04-10T12:00:00,14.3,.001,98.6,10,20,30")
    ...     [batch.height for batch in csv_batches(path, 2)]
    [2, 1]
    """
    header = _head(path).lstrip("\ufeff").lstrip().replace("\r", "\n").split("\n", 1)[0]
    table = read_csv(header, WANTED, path)
    require(table, [name for name in REQUIRED if name not in table.names], "the GP file", path)
    wanted = [name for name in table.names if name in WANTED]
    # Other columns may share a name: they are called by their place.
    names = [name if name in WANTED else f"#{place}" for place, name in enumerate(table.names)]
    line = 2
    try:
        with pa.csv.open_csv(
            _stream(path),
            read_options=pa.csv.ReadOptions(block_size=_BLOCK_BYTES, column_names=names, skip_rows=1),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(wanted, pa.string()),
                include_columns=wanted,
                strings_can_be_null=True,
                null_values=[""],
            ),
        ) as reader:
            for block in reader:
                for batch in pl.DataFrame(block).iter_slices(rows):
                    yield _parsed(batch, line, path)
                    line += batch.height
    except (pa.ArrowException, OSError) as error:
        raise CatalogError(f"the CSV is damaged or cut off: {error}", file=path, line=line) from error


def _parsed(batch: pl.DataFrame, line: int, file: object) -> pl.DataFrame:
    text = pl.col(pl.String).str.strip_chars()
    stripped = batch.with_columns(pl.when(text != "").then(text).name.keep()).with_row_index(LINE, offset=line)
    good, bad = parse_omm(stripped, file)
    if not bad.is_empty():
        raise first_error(bad, "Correct the file, or read it in parts with read_gp(on_error='collect').")
    return good


def _stream(path: str | os.PathLike[str]) -> pa.NativeFile:
    file = pa.OSFile(os.fspath(path), "rb")
    compressed = file.read(2) == _GZIP_MAGIC
    file.seek(0)
    return pa.CompressedInputStream(file, "gzip") if compressed else file


def _head(path: str | os.PathLike[str]) -> str:
    with Path(path).open("rb") as file:
        compressed = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        data = GzipFile(fileobj=file).read(_HEAD_BYTES) if compressed else file.read(_HEAD_BYTES)
    return data.decode("utf-8-sig", errors="ignore")
