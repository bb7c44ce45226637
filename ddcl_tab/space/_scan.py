"""Catalogs too large for the memory: lazy frames that read, check and hand on one batch of rows after the other."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.io.plugins import register_io_source

from ddcl_tab.errors import CatalogError
from ddcl_tab.space._content import gp_content_of
from ddcl_tab.space._gp import REMEDY, no_element_set, read_gp
from ddcl_tab.space._omm import REQUIRED, WANTED, parse_omm
from ddcl_tab.space._rules import Rule, broken_rules, first_error
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.space._schema import (
    ANGLES,
    ELSET_COLUMNS,
    OBJECT_TYPES,
    SATCAT_COLUMNS,
    Column,
    polars_schema,
    rule_as_written,
    within_turn,
)
from ddcl_tab.space._tables import LINE, csv_tables
from ddcl_tab.space._text import text_chunks, text_lines


def is_omm_csv(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins with the header of OMM in CSV, in any encoding that `ddcl_tab.space.read_gp` takes.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    bool
        False too where the file cannot be read or lacks a column: `ddcl_tab.space.read_gp` says why.

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
        Columns `ddcl_tab.space.ELSET_COLUMNS`.

    Raises
    ------
    CatalogError
        That of `ddcl_tab.space.read_gp`, with the same words and line. To count the other wrong lines, and because an
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


BATCH_ROWS = 100_000
"""Rows that are in memory at a time, unless polars asks for fewer."""

_PARQUET_MAGIC = b"PAR1"
_REMEDY = "Correct the file (the line is its row, from 1)."
# Batches of the columns asked for, of at most so many rows.
_Batches = Callable[[list[str], int], Iterable[pl.DataFrame]]


@dataclass(frozen=True)
class _Source:
    """What a lazy frame calls when it is collected."""

    columns: tuple[Column, ...]
    batches: _Batches

    def __call__(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        names = [column.name for column in self.columns]
        kept = names if with_columns is None else with_columns
        needed = {*kept, *(predicate.meta.root_names() if predicate is not None else ())}
        left = n_rows
        for whole in self.batches([n for n in names if n in needed], min(batch_size or BATCH_ROWS, BATCH_ROWS)):
            batch = whole if left is None else whole.head(left)
            left = None if left is None else left - batch.height
            yield (batch if predicate is None else batch.filter(predicate)).select(kept)
            if left == 0:
                return


def scan_gp(path: str | os.PathLike[str]) -> pl.LazyFrame:
    """Element sets as a lazy frame: `read_gp` for files larger than the memory.

    Parquet with the canonical columns (as `write_gp` makes it) and OMM in CSV, plain or gzip, are read batch by batch;
    the other forms are read whole, here and now. Rows and errors are those of `read_gp`. Columns that a query does not
    use are neither read nor checked in Parquet. Collect large results with ``engine="streaming"``, or write them with
    ``sink_parquet``.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    polars.LazyFrame
        Columns `ddcl_tab.space.ELSET_COLUMNS`, units as in `read_gp`.

    Raises
    ------
    CatalogError
        The file cannot be opened or lacks a column. A row that breaks a rule raises it when the frame is collected.

    Examples
    --------
    >>> import tempfile
    >>> from datetime import UTC, datetime
    >>> from ddcl_tab.space import write_gp
    >>> row = {"NORAD_CAT_ID": 90001, "EPOCH": datetime(2031, 4, 10, tzinfo=UTC), "MEAN_MOTION": 14.3,
    ...        "ECCENTRICITY": 0.001, "INCLINATION": 98.6, "RA_OF_ASC_NODE": 10.0, "ARG_OF_PERICENTER": 20.0,
    ...        "MEAN_ANOMALY": 30.0}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_gp(pl.DataFrame([row]), Path(folder, "gp.parquet"))
    ...     scan_gp(Path(folder, "gp.parquet")).select("NORAD_CAT_ID", "MEAN_MOTION").collect().row(0)
    (90001, 14.3)
    """
    if _is_parquet(path):
        return _scan_parquet(path, ELSET_COLUMNS, REQUIRED)
    if is_omm_csv(path):
        return _lazy(ELSET_COLUMNS, lambda names, rows: csv_batches(path, rows))
    return read_gp(path).lazy()


def scan_satcat(path: str | os.PathLike[str]) -> pl.LazyFrame:
    """SATCAT rows as a lazy frame: `read_satcat` for Parquet files larger than the memory.

    Parquet with the canonical columns (a frame of `read_satcat` written with ``write_parquet``) is read batch by batch;
    that a catalog number stands once is not checked there. The other forms are read whole, here and now.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    polars.LazyFrame
        Columns `ddcl_tab.space.SATCAT_COLUMNS`, units as in `read_satcat`.

    Raises
    ------
    CatalogError
        The file cannot be opened or lacks a column. A row that breaks a rule raises it when the frame is collected.

    Examples
    --------
    >>> import tempfile
    >>> table = pl.DataFrame({"NORAD_CAT_ID": [90001, 90002], "OBJECT_TYPE": ["DEBRIS", "PAYLOAD"]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table.write_parquet(Path(folder, "satcat.parquet"))
    ...     satcat = scan_satcat(Path(folder, "satcat.parquet"))
    ...     satcat.filter(pl.col("OBJECT_TYPE") == "DEBRIS").select("NORAD_CAT_ID", "PERIOD").collect().rows()
    [(90001, None)]
    """
    if _is_parquet(path):
        return _scan_parquet(path, SATCAT_COLUMNS, ("NORAD_CAT_ID", "OBJECT_TYPE"))
    return read_satcat(path).lazy()


def _lazy(columns: tuple[Column, ...], batches: _Batches) -> pl.LazyFrame:
    return register_io_source(_Source(columns, batches), schema=polars_schema(columns))


def _is_parquet(path: str | os.PathLike[str]) -> bool:
    try:
        with Path(path).open("rb") as file:
            return file.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC
    except (OSError, ValueError):
        return False  # the reader of the other forms says what is wrong


def _scan_parquet(path: str | os.PathLike[str], columns: tuple[Column, ...], required: tuple[str, ...]) -> pl.LazyFrame:
    with _open(path) as file:
        there = set(file.schema_arrow.names)
    missing = [name for name in required if name not in there]
    if missing:
        raise CatalogError(
            f"the Parquet file lacks {', '.join(missing)}",
            file=path,
            remedy="Write it with write_gp, or from a frame of read_satcat.",
        )

    def batches(names: list[str], rows: int) -> Iterator[pl.DataFrame]:
        wanted = [column for column in columns if column.name in names]
        # NORAD_CAT_ID says which row is wrong, and counts the rows of a query that needs no column at all.
        read = [n for n in dict.fromkeys(["NORAD_CAT_ID", *names]) if n in there]
        before = 0
        with _open(path) as file:
            try:
                for record_batch in file.iter_batches(batch_size=rows, columns=read):
                    yield _checked(record_batch, wanted, required, before, path)
                    before += record_batch.num_rows
            except (pa.ArrowException, OSError) as error:
                raise CatalogError(f"the Parquet file is damaged: {error}", file=path) from error

    return _lazy(columns, batches)


def _open(path: str | os.PathLike[str]) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise CatalogError(f"the Parquet file is damaged or cut off: {error}", file=path) from error


def _checked(
    record_batch: pa.RecordBatch, columns: list[Column], required: tuple[str, ...], before: int, file: object
) -> pl.DataFrame:
    """Canonical columns of a batch; its first row that breaks a rule is an error."""
    try:
        raw = pl.DataFrame(record_batch)
        frame = (
            raw.select(_canonical(column, raw.schema.get(column.name)) for column in columns)
            if columns
            else raw.select("NORAD_CAT_ID")
        )
    except pl.exceptions.PolarsError as error:
        text = str(error).split("\n")[0]
        raise CatalogError(
            f"the columns have the types of a frame of read_gp or read_satcat: {text}", file=file
        ) from error
    rows = raw.select(pl.col("NORAD_CAT_ID").alias("number")).with_row_index(LINE, offset=before + 1)
    rules = [rule for column in columns for rule in _rules(column, column.name in required)]
    bad = broken_rules(pl.concat([rows, frame], how="horizontal"), rules, file=file, number=pl.col("number"))
    if not bad.is_empty():
        raise first_error(bad, _REMEDY)
    return frame


def _canonical(column: Column, dtype: pl.DataType | None) -> pl.Expr:
    if dtype is None:
        return pl.lit(None, column.dtype).alias(column.name)
    value = pl.col(column.name)
    if isinstance(dtype, pl.Datetime) and isinstance(column.dtype, pl.Datetime):
        value = value.dt.replace_time_zone("UTC") if dtype.time_zone is None else value.dt.convert_time_zone("UTC")
    if dtype.is_float():
        value = value.fill_nan(None)
    value = value.cast(column.dtype)
    return within_turn(value).alias(column.name) if column.name in ANGLES else value


def _rules(column: Column, required: bool) -> list[Rule]:
    value, line = pl.col(column.name), pl.col(LINE)
    rules = []
    if required or not column.nullable:
        rules.append(Rule(column.name, f"{column.name} is given in each row", value.is_null(), value, line))
    if column.rule:
        rules.append(Rule(column.name, rule_as_written(column), column.out_of_bounds(), value, line))
    if column.name == "OBJECT_TYPE":
        text = f"OBJECT_TYPE is one of {', '.join(OBJECT_TYPES)}"
        rules.append(Rule(column.name, text, ~value.is_in(OBJECT_TYPES), value, line))
    return rules
