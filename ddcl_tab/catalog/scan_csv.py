"""Element sets of a large OMM file in CSV, batch by batch."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import polars as pl

from ddcl_tab.catalog.files import gp_content_of
from ddcl_tab.catalog.gp import REMEDY, no_element_set
from ddcl_tab.catalog.omm import REQUIRED, WANTED, parse_omm
from ddcl_tab.catalog.rules import first_error
from ddcl_tab.catalog.tables import csv_tables
from ddcl_tab.catalog.text import text_chunks, text_lines
from ddcl_tab.errors import CatalogError


def is_omm_csv(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins with the header of OMM in CSV, in any encoding that `ddcl_tab.catalog.read_gp` takes.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    bool
        False too where the file cannot be read or lacks a column: `ddcl_tab.catalog.read_gp` says why.

    Examples
    --------
    >>> is_omm_csv("no such file")
    False
    """
    try:
        head = next(text_chunks(path), "")
        if not head.strip() or gp_content_of(head, path) != "csv":
            return False
        first = next(csv_tables(io.StringIO(head, newline=""), WANTED, path, n_rows=1))
        return set(REQUIRED) <= set(first.names)
    except CatalogError:
        return False


def csv_batches(path: str | os.PathLike[str], rows: int) -> Iterator[pl.DataFrame]:
    r"""Canonical frames of at most so many rows; a row that breaks a rule is an error.

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
        That of `ddcl_tab.catalog.read_gp`, with the same words and line. To count the other wrong lines, and because an
        error of the text comes first, the rest of the file is read before an error is raised.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> header = "NORAD_CAT_ID,EPOCH,MEAN_MOTION,ECCENTRICITY,INCLINATION,RA_OF_ASC_NODE,ARG_OF_PERICENTER,MEAN_ANOMALY"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "gp.csv")
    ...     _ = path.write_text(header + 3 * "\n799500123,2031-04-10T12:00:00,14.3,.001,98.6,10,20,30")
    ...     [batch.height for batch in csv_batches(path, 2)]
    [2, 1]
    """
    lines = text_lines(path)
    first_bad = pl.DataFrame()
    n_bad = n_rows = 0
    try:
        for table in csv_tables(lines, WANTED, path, n_rows=rows):
            good, bad = parse_omm(table.values, path)
            n_rows += table.values.height
            n_bad += bad["line"].n_unique()
            if first_bad.is_empty():
                first_bad = bad.head(1)
            if not n_bad:
                yield good
    except CatalogError:
        for _ in lines:
            pass
        raise
    if n_bad:
        raise first_error(first_bad, REMEDY, n_lines=n_bad)
    if not n_rows:
        raise no_element_set(path)
