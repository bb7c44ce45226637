"""Write element sets as OMM (JSON, CSV), as two- and three-line sets, or as Parquet."""

from __future__ import annotations

import gzip
import io
import json
import os
from pathlib import Path
from typing import Any, Literal, cast, get_args

import narwhals.stable.v2 as nw
import polars as pl

from ddcl_tab.atomic import write_whole
from ddcl_tab.catalog.omm import REQUIRED, parse_omm
from ddcl_tab.catalog.rules import Rule, broken_rules, first_error
from ddcl_tab.catalog.schema import ELSET_COLUMNS, Column
from ddcl_tab.catalog.tables import LINE
from ddcl_tab.catalog.tle_write import tle_lines
from ddcl_tab.errors import CatalogError, ConfigurationError, WriteError

Form = Literal["json", "csv", "tle", "parquet"]

_SUFFIXES: dict[str, Form] = {
    ".json": "json",
    ".csv": "csv",
    ".tle": "tle",
    ".3le": "tle",
    ".txt": "tle",
    ".parquet": "parquet",
}
_CONTROL = r"[\x00-\x1f\x7f]"
_EPOCH = "%Y-%m-%dT%H:%M:%S%.6f"
# CelesTrak's order, so that the files look alike.
_ORDER = (
    "OBJECT_NAME",
    "OBJECT_ID",
    "EPOCH",
    "MEAN_MOTION",
    "ECCENTRICITY",
    "INCLINATION",
    "RA_OF_ASC_NODE",
    "ARG_OF_PERICENTER",
    "MEAN_ANOMALY",
    "EPHEMERIS_TYPE",
    "CLASSIFICATION_TYPE",
    "NORAD_CAT_ID",
    "ELEMENT_SET_NO",
    "REV_AT_EPOCH",
    "BSTAR",
    "MEAN_MOTION_DOT",
    "MEAN_MOTION_DDOT",
)


def write_gp(frame: Any, path: str | os.PathLike[str], *, form: Form | None = None) -> None:
    """Write element sets so that `read_gp` gives the same frame back.

    OMM and Parquet keep every value exactly, with angles in [0, 360) deg, as `read_gp` gives them. Two- and three-line
    sets round to their digits (angles to 0.0001 deg, ECCENTRICITY to 1e-7, MEAN_MOTION to 1e-8 rev/day, EPOCH to 864
    microseconds, BSTAR to five digits) and refuse what they cannot carry: catalog numbers above 339999, epochs outside
    1957 to 2056, missing drag terms.

    Parameters
    ----------
    frame : polars or pandas DataFrame
        Columns `ddcl_tab.catalog.ELSET_COLUMNS` in any order; optional ones may be absent, others are left out. EPOCH
        is a datetime, in UTC where it has no time zone; beyond microseconds it is cut.
    path : str or path-like
        The file; with ``.gz`` at its end it is compressed (not Parquet).
    form : {"json", "csv", "tle", "parquet"}, optional
        Default: what the path's suffix says; ``.txt`` and ``.3le`` are two- and three-line sets.

    Raises
    ------
    CatalogError
        A column is missing, a row breaks a rule of `read_gp` or a limit of the form (``line`` is the row, from 1), the
        frame has no row, or the file cannot be written. Nothing is written then.
    ConfigurationError
        An unknown form or suffix.

    Notes
    -----
    CCSDS 502.0-B-3, section 4, in the flat form of Space-Track and CelesTrak.

    Examples
    --------
    >>> import tempfile
    >>> from datetime import UTC, datetime
    >>> from ddcl_tab.catalog import read_gp
    >>> row = {"NORAD_CAT_ID": 799500123, "EPOCH": datetime(2031, 4, 10, 12, tzinfo=UTC), "MEAN_MOTION": 14.30000001,
    ...        "ECCENTRICITY": 0.001, "INCLINATION": 98.6, "RA_OF_ASC_NODE": 10.0, "ARG_OF_PERICENTER": 20.0,
    ...        "MEAN_ANOMALY": 30.0}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_gp(pl.DataFrame([row]), Path(folder, "gp.json.gz"))
    ...     read_gp(Path(folder, "gp.json.gz")).select("NORAD_CAT_ID", "MEAN_MOTION").row(0)
    (799500123, 14.30000001)
    """
    path = Path(path)
    kind = _form(path, form)
    checked = _checked(frame, path)
    if kind == "tle":
        text = "\n".join(tle_lines(checked, path)) + "\n"
    elif kind == "csv":
        text = _as_text(checked).select(_ORDER).write_csv()
    elif kind == "json":
        epoch = pl.col("EPOCH").dt.strftime(_EPOCH)
        records = checked.with_columns(epoch).select(_ORDER).to_dicts()
        text = "[\n" + ",\n".join(json.dumps(record, ensure_ascii=False) for record in records) + "\n]\n"
    data = _parquet(checked) if kind == "parquet" else text.encode()
    try:
        write_whole(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    except WriteError as error:
        raise CatalogError(f"the file cannot be written: {error.__cause__}", file=path) from error


def _form(path: Path, form: str | None) -> Form:
    name = path.name.lower()
    suffix = Path(name.removesuffix(".gz")).suffix
    kind = _SUFFIXES.get(suffix) if form is None else form
    if kind not in get_args(Form) or (kind == "parquet" and name.endswith(".gz")):
        raise ConfigurationError(
            "form is 'json', 'csv', 'tle' or 'parquet' (never with .gz), or the path ends in one of "
            f"{', '.join(_SUFFIXES)}, not {form!r} for {path.name}"
        )
    return cast(Form, kind)


def _checked(frame: Any, file: Path) -> pl.DataFrame:
    """The canonical frame, through the rules that its text will meet when it is read."""
    table = nw.from_native(frame, eager_only=True).to_polars()
    missing = [name for name in REQUIRED if name not in table.columns]
    if missing:
        raise CatalogError(f"the frame lacks {', '.join(missing)}", remedy="Hand over a frame from read_gp.")
    if table.is_empty():
        raise CatalogError("a file holds at least one element set, the frame none", file=file)
    if not table.schema["EPOCH"].is_temporal():
        raise CatalogError(
            "EPOCH is a datetime", column="EPOCH", value=str(table.schema["EPOCH"]), remedy="Parse it first."
        )
    text = _as_text(table).with_row_index(LINE, offset=1)
    good, bad = parse_omm(text, file)
    name = pl.col("OBJECT_NAME")
    plain = Rule(
        "OBJECT_NAME", "OBJECT_NAME has no control characters", name.str.contains(_CONTROL), name, pl.col(LINE)
    )
    if bad.is_empty():
        bad = broken_rules(good.with_row_index(LINE, offset=1), [plain], file=file, number=pl.col("NORAD_CAT_ID"))
    if not bad.is_empty():
        raise first_error(bad, "Correct the frame (the line is its row).")
    return good


def _as_text(table: pl.DataFrame) -> pl.DataFrame:
    return table.select(_text(c, table.schema[c.name]) for c in ELSET_COLUMNS if c.name in table.columns)


def _text(column: Column, dtype: pl.DataType) -> pl.Expr:
    """Values as they are written; floats with the fewest digits that give the same float back."""
    value = pl.col(column.name)
    if column.name == "EPOCH":
        zoned = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
        moment = value.dt.convert_time_zone("UTC") if zoned else value.cast(pl.Datetime("us"))
        return moment.dt.strftime(_EPOCH)
    if dtype.is_float():
        value = value.fill_nan(None)
        whole = column.dtype.is_integer() & (value == value.round(0)) & (value.abs() < 1e15)
        return pl.when(whole).then(value.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(value.cast(pl.String))
    text = value.cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text).alias(column.name)


def _parquet(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()
