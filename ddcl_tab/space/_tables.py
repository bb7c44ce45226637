"""Catalog texts in JSON, CSV or tab-separated form to a frame of the values as written."""

from __future__ import annotations

import csv
import difflib
import io
import json
import reprlib
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import polars as pl

from ddcl_tab.errors import CatalogError

LINE = "#line"
"""Column with the place of a row: its first line in CSV, the record number (from 1) in JSON."""

# Nearer than this is a slip in typing; providers' own names (COUNTRY, COUNTRY_CODE) are further apart.
_SLIP = 0.88
# More names than any provider has; a file of a million names must not take minutes to be refused.
_NAMES_COMPARED = 200


class Table(NamedTuple):
    """Values as written.

    Attributes
    ----------
    values : polars.DataFrame
        `LINE` and those of the wanted columns that the file has, as stripped text; null where empty or absent.
    names : tuple of str
        All column names of the file, in its order.
    """

    values: pl.DataFrame
    names: tuple[str, ...]


def read_json(text: str, wanted: Collection[str], file: object) -> Table:
    """Read a JSON array of flat records, or one record.

    Numbers are kept as they are written, so that errors show them so and no digit is lost. Names of columns may differ
    from the wanted ones in the case of letters.

    Parameters
    ----------
    text : str
        The file.
    wanted : collection of str
        Names of the columns to read.
    file : object
        Its name, for errors.

    Returns
    -------
    Table

    Raises
    ------
    CatalogError
        Damaged JSON, a record that is no object, or a value that is neither text, number nor null.

    Examples
    --------
    >>> read_json('[{"NORAD_CAT_ID": 5, "BSTAR": 1.50e-4, "X": []}]', {"NORAD_CAT_ID", "BSTAR"}, "a.json").values.rows()
    [(1, '5', '1.50e-4')]
    """
    records = _json_records(text, file)
    written = list(dict.fromkeys(name for record in records for name in record))
    names = _as_wanted(written, wanted)
    columns: dict[str, Any] = {LINE: range(1, len(records) + 1)}
    for name, place in _places(names, wanted, 1, file).items():
        values = (record.get(written[place]) for record in records)
        columns[name] = [_json_text(value, name, line, file) for line, value in enumerate(values, 1)]
    try:
        return Table(_stripped(columns), names)
    except UnicodeEncodeError as error:
        raise CatalogError(
            "the JSON escapes one half of a surrogate pair, which is no character",
            file=file,
            value=ascii(error.object)[:80],
            remedy="Download it again.",
        ) from error


def read_csv(
    text: str,
    wanted: Collection[str],
    file: object,
    *,
    required: Sequence[str] = (),
    what: str = "the file",
    delimiter: str = ",",
    quoted: bool = True,
) -> Table:
    r"""Read a CSV or tab-separated text with a header line; columns in any order.

    Parameters
    ----------
    text : str
        The file.
    wanted : collection of str
        Names of the columns to read, in any case of letters; each may stand once in the header, others are not looked
        at.
    file : object
        Its name, for errors.
    required : sequence of str
        Names that the header must have, checked before any row.
    what : str
        What the file should be, with its article, for the error about them.
    delimiter : str
        Between fields.
    quoted : bool
        Whether fields may stand in double quotes.

    Returns
    -------
    Table

    Raises
    ------
    CatalogError
        A required name is not there, a wanted one stands twice, a row has another number of fields than the header, or
        quotes are open.

    Examples
    --------
    >>> read_csv('BSTAR,"NAME"\n1.50e-4,"SYNTHETIC, 1"\n', {"NAME"}, "a.csv")[0].rows()
    [(2, 'SYNTHETIC, 1')]
    """
    lines = io.StringIO(text, newline="")
    (table,) = csv_tables(
        lines, wanted, file, n_rows=sys.maxsize, required=required, what=what, delimiter=delimiter, quoted=quoted
    )
    return table


def csv_tables(
    lines: Iterable[str],
    wanted: Collection[str],
    file: object,
    *,
    n_rows: int,
    required: Sequence[str] = (),
    what: str = "the file",
    delimiter: str = ",",
    quoted: bool = True,
) -> Iterator[Table]:
    r"""Read a CSV or tab-separated text in parts: what `read_csv` gives, of at most so many rows at a time.

    Parameters
    ----------
    lines : iterable of str
        The lines of the file, each with its line feed.
    wanted, file, required, what, delimiter, quoted
        As in `read_csv`.
    n_rows : int
        Largest number of rows of a part.

    Yields
    ------
    Table
        The first one also where the file holds no row.

    Raises
    ------
    CatalogError
        As `read_csv`, when the reading gets there.

    Examples
    --------
    >>> lines = ["\n", "BSTAR\n", "1e-4\n", "\n", "2e-4\n"]
    >>> [part.values.rows() for part in csv_tables(lines, {"BSTAR"}, "a.csv", n_rows=1)]
    [[(3, '1e-4')], [(5, '2e-4')]]
    """
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(lines, strict=True, delimiter=delimiter, quoting=quoting)
    names: tuple[str, ...] = ()
    places: dict[str, int] = {}
    numbers: list[int] = []
    rows: list[list[str]] = []
    n_parts = end = 0
    try:
        for row in reader:
            start, end = end + 1, reader.line_num
            if len(row) <= 1 and not "".join(row).strip():
                continue
            if not names:
                names = _as_wanted([name.strip() for name in row], wanted)
                places = _places(names, wanted, start, file)
                require(Table(pl.DataFrame(), names), [n for n in required if n not in names], what, file)
            elif len(row) != len(names):
                raise CatalogError(
                    f"a row has as many fields as the header: {len(names)}, not {len(row)}",
                    file=file,
                    line=start,
                    remedy="Download it again if the CSV is damaged or cut off, or quote fields that hold a comma.",
                )
            else:
                numbers.append(start)
                rows.append([row[place] for place in places.values()])
                if len(rows) == n_rows:
                    yield _table(names, places, numbers, rows)
                    n_parts += 1
                    numbers, rows = [], []
    except csv.Error as error:
        raise CatalogError(f"the CSV is damaged or cut off: {error}", file=file, line=reader.line_num) from error
    if rows or not n_parts:
        yield _table(names, places, numbers, rows)


def _table(names: tuple[str, ...], places: dict[str, int], numbers: list[int], rows: list[list[str]]) -> Table:
    data = dict(zip(places, zip(*rows, strict=True), strict=True)) if rows and places else dict.fromkeys(places, ())
    return Table(_stripped({LINE: numbers, **data}), names)


def table_of(rows: Sequence[Mapping[str, str | int]], wanted: Iterable[str], names: tuple[str, ...]) -> Table:
    """Table of records that may lack columns.

    Parameters
    ----------
    rows : sequence of mapping
        Each with `LINE` and some of the wanted columns.
    wanted : iterable of str
        Columns to keep where a record has them.
    names : tuple of str
        All names of the file.

    Returns
    -------
    Table

    Examples
    --------
    >>> table_of([{"#line": 1}, {"#line": 9, "BSTAR": "0"}], ["BSTAR", "EPOCH"], ("BSTAR",)).values.rows()
    [(1, None), (9, '0')]
    """
    there = [name for name in names if name in set(wanted)]
    return Table(_stripped({name: [row.get(name) for row in rows] for name in (LINE, *there)}), names)


def require(table: Table, missing: Sequence[str], what: str, file: object) -> None:
    """Raise the error that names missing columns, and a name that is there and looks like one of them misspelt.

    Parameters
    ----------
    table : Table
        What was read.
    missing : sequence of str
        Columns that it should have and has not; none means no error.
    what : str
        What the file should be, with its article.
    file : object
        Its name.

    Raises
    ------
    CatalogError
        `missing` is not empty.

    Examples
    --------
    >>> require(Table(pl.DataFrame(), ("EPOCHS",)), ["EPOCH"], "the GP file", "a.csv")
    Traceback (most recent call last):
    ddcl_tab.errors.CatalogError: a.csv: the GP file lacks EPOCH. Did you mean EPOCHS? The file has: EPOCHS
    """
    if missing:
        # JSON may escape one half of a surrogate pair, which nothing can print.
        names = [name.encode("utf-8", "backslashreplace").decode() for name in table.names[:_NAMES_COMPARED]]
        near = [n for name in missing for n in difflib.get_close_matches(name, names, n=1, cutoff=_SLIP)]
        there = ", ".join(names)
        raise CatalogError(
            f"{what} lacks {', '.join(missing)}",
            file=file,
            remedy=(f"Did you mean {near[0]}? " if near else "") + f"The file has: {there[:300]}",
        )


def _json_records(text: str, file: object) -> list[dict[str, object]]:
    try:
        records = json.loads(text, parse_float=str, parse_int=str)
    except json.JSONDecodeError as error:
        raise CatalogError(
            f"the JSON is damaged or cut off at character {error.colno}: {error.msg}",
            file=file,
            line=error.lineno,
            remedy="Download it again.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise CatalogError(f"the JSON cannot be read: {error}", file=file, remedy="Download it again.") from error
    records = [records] if isinstance(records, dict) else records
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            value = record[:80] if isinstance(record, str) else reprlib.repr(record)[:80]
            raise CatalogError("a catalog in JSON is an array of records", file=file, line=number, value=value)
    return records


def _json_text(value: object, column: str, line: int, file: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):  # only NaN and Infinity, which JSON does not have
        return str(value)
    raise CatalogError(
        "a value is a text, a number or null", file=file, line=line, column=column, value=reprlib.repr(value)[:80]
    )


def _as_wanted(names: Sequence[str], wanted: Collection[str]) -> tuple[str, ...]:
    """Names of columns, as they are wanted where only the case of letters differs and the file has no such column."""
    there = set(names)
    in_small = {name.casefold(): name for name in sorted(wanted, reverse=True) if name not in there}
    return tuple(name if name in wanted else in_small.get(name.casefold(), name) for name in names)


def _places(names: Sequence[str], wanted: Collection[str], line: int, file: object) -> dict[str, int]:
    counts = Counter(names)
    twice = sorted(name for name in counts if counts[name] > 1 and name in wanted)
    if twice:
        raise CatalogError(
            "each column of the header has a name of its own", file=file, line=line, value=", ".join(twice)
        )
    return {name: place for place, name in enumerate(names) if name in wanted}


def _stripped(columns: dict[str, Any]) -> pl.DataFrame:
    schema = {name: pl.Int64() if name == LINE else pl.String() for name in columns}
    text = pl.col(pl.String).str.strip_chars()
    return pl.DataFrame(columns, schema=schema, strict=True).with_columns(pl.when(text != "").then(text).name.keep())
