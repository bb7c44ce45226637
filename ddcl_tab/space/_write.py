"""Write element sets (OMM in JSON or CSV, two- and three-line sets, Parquet) and SATCAT files."""

from __future__ import annotations

import gzip
import io
import json
import os
from pathlib import Path
from typing import Literal, cast, get_args

import narwhals.stable.v2 as nw
import polars as pl
from narwhals.stable.v2.typing import IntoDataFrame

from ddcl_tab._files import write_whole
from ddcl_tab.errors import CatalogError, ConfigurationError, WriteError
from ddcl_tab.space._omm import REQUIRED, parse_omm
from ddcl_tab.space._rules import Rule, broken_rules, first_error
from ddcl_tab.space._schema import ANGLES, ELSET_COLUMNS, SPACETRACK_COLUMNS, Column
from ddcl_tab.space._tables import LINE
from ddcl_tab.space._tle import LARGEST_NUMBER, LONGEST_NAME, MICROSECONDS_PER_LAST_DIGIT, alpha5_of_number, checksum

_YEARS = (1957, 2056)
_REMEDY = "Write OMM instead: a path that ends in .json or .csv."


def tle_lines(frame: pl.DataFrame, file: object) -> list[str]:
    r"""Two lines a set, with a line 0 where there is a name.

    Values are rounded to the digits of the form: angles to 0.0001 deg, ECCENTRICITY to 1e-7, MEAN_MOTION to
    1e-8 rev/day, EPOCH to 864 microseconds, BSTAR and MEAN_MOTION_DDOT to five digits.

    Parameters
    ----------
    frame : polars.DataFrame
        Columns `ddcl_tab.space.ELSET_COLUMNS`, rules obeyed.
    file : object
        Name of the file to come, for errors.

    Returns
    -------
    list of str
        Lines without their ends.

    Raises
    ------
    CatalogError
        A value that the form cannot carry, above all a catalog number beyond alpha-5 (339999).

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> row = {"NORAD_CAT_ID": 100001, "OBJECT_NAME": "SYNTHETIC", "OBJECT_ID": "2031-007C", "CLASSIFICATION_TYPE": "U",
    ...        "EPOCH": datetime(2031, 4, 10, 12, tzinfo=UTC), "MEAN_MOTION": 14.3, "ECCENTRICITY": 1e-3,
    ...        "INCLINATION": 98.6, "RA_OF_ASC_NODE": 10.0, "ARG_OF_PERICENTER": 20.0, "MEAN_ANOMALY": 30.0,
    ...        "BSTAR": 1.2345e-4, "MEAN_MOTION_DOT": 1.23e-6, "MEAN_MOTION_DDOT": 0.0, "EPHEMERIS_TYPE": 0,
    ...        "ELEMENT_SET_NO": 999, "REV_AT_EPOCH": 1}
    >>> print(*tle_lines(pl.DataFrame([row]), "a.tle"), sep="\n")
    0 SYNTHETIC
    1 A0001U 31007C   31100.50000000  .00000123  00000-0  12345-3 0  9996
    2 A0001  98.6000  10.0000 0010000  20.0000  30.0000 14.30000000    12
    """
    rounded = frame.with_columns(_rounded_epoch().alias("EPOCH"))
    bad = broken_rules(rounded.with_row_index(LINE, offset=1), _rules(), file=file, number=pl.col("NORAD_CAT_ID"))
    if not bad.is_empty():
        raise first_error(bad, _REMEDY)
    epoch = pl.col("EPOCH")
    rows = rounded.with_columns(
        (epoch.dt.year() % 100).alias("year"),
        epoch.dt.ordinal_day().alias("day"),
        ((epoch - epoch.dt.truncate("1d")).dt.total_microseconds() // MICROSECONDS_PER_LAST_DIGIT).alias("fraction"),
    ).to_dicts()
    first, second = (_signed([form(row) for row in rows]) for form in (_line_1, _line_2))
    lines: list[str] = []
    for row, line_1, line_2 in zip(rows, first, second, strict=True):
        if row["OBJECT_NAME"] is not None:
            lines.append(f"0 {row['OBJECT_NAME']}")
        lines += [line_1, line_2]
    return lines


def _rounded_epoch() -> pl.Expr:
    """Moment rounded to the last digit of the form, counted from the start of its year."""
    start = pl.col("EPOCH").dt.truncate("1y")
    passed = (pl.col("EPOCH") - start).dt.total_microseconds()
    unit = MICROSECONDS_PER_LAST_DIGIT
    return start + pl.duration(microseconds=(passed + unit // 2) // unit * unit, time_unit="us")


def _rules() -> list[Rule]:
    def rule(name: str, text: str, broken: pl.Expr) -> Rule:
        return Rule(name, f"a two-line set holds {text}", broken, pl.col(name), pl.col(LINE))

    def size(name: str) -> pl.Expr:
        return pl.col(name).abs()

    launched = pl.col("OBJECT_ID").str.slice(0, 4).cast(pl.Int64, strict=False)
    first, last = _YEARS
    return [
        rule(
            "NORAD_CAT_ID",
            f"catalog numbers up to {LARGEST_NUMBER} (alpha-5)",
            pl.col("NORAD_CAT_ID") > LARGEST_NUMBER,
        ),
        rule(
            "OBJECT_NAME",
            f"names of at most {LONGEST_NAME} characters",
            pl.col("OBJECT_NAME").str.len_chars() > LONGEST_NAME,
        ),
        rule("OBJECT_ID", f"launch years {first} to {last}", ~launched.is_between(first, last)),
        rule("EPOCH", f"epochs from {first} to {last}", ~pl.col("EPOCH").dt.year().is_between(first, last)),
        rule(
            "MEAN_MOTION",
            "MEAN_MOTION from 0.00000001 to 99.99999999 rev/day",
            ~pl.col("MEAN_MOTION").is_between(0.5e-8, 99.999999995, closed="none"),
        ),
        rule("ECCENTRICITY", "ECCENTRICITY up to 0.9999999", size("ECCENTRICITY") >= 0.99999995),
        rule("MEAN_MOTION_DOT", "MEAN_MOTION_DOT below 1 rev/day^2 in size", size("MEAN_MOTION_DOT") >= 0.999999995),
        *(rule(n, f"{n} below 0.99999e9 in size", size(n) >= 0.99999e9) for n in ("MEAN_MOTION_DDOT", "BSTAR")),
        *(
            rule(n, f"a value for {n}, which is missing (0 would say that it is known)", pl.col(n).is_null())
            for n in ("MEAN_MOTION_DOT", "MEAN_MOTION_DDOT", "BSTAR")
        ),
        *(
            rule(n, f"{n} up to {largest}", pl.col(n) > largest)
            for n, largest in (("EPHEMERIS_TYPE", 9), ("ELEMENT_SET_NO", 9999), ("REV_AT_EPOCH", 99999))
        ),
    ]


def _line_1(row: dict) -> str:
    piece = "" if row["OBJECT_ID"] is None else row["OBJECT_ID"][2:].replace("-", "")
    rate = f"{abs(row['MEAN_MOTION_DOT']):.8f}".removeprefix("0")
    sign = "-" if row["MEAN_MOTION_DOT"] < 0 and rate != ".00000000" else " "
    return (
        f"1 {alpha5_of_number(row['NORAD_CAT_ID'])}{row['CLASSIFICATION_TYPE'] or ' '} {piece:<8} "
        f"{row['year']:02d}{row['day']:03d}.{row['fraction']:08d} {sign}{rate} {_power(row['MEAN_MOTION_DDOT'])} "
        f"{_power(row['BSTAR'])} {_count(row['EPHEMERIS_TYPE'], 1)} {_count(row['ELEMENT_SET_NO'], 4)}"
    )


def _line_2(row: dict) -> str:
    # What rounds to a whole turn is 0, as in a frame.
    node, perigee, anomaly = (f"{row[name]:8.4f}".replace("360.0000", "  0.0000") for name in ANGLES)
    inclination = f"{row['INCLINATION']:8.4f}"
    digits = f"{row['ECCENTRICITY']:.7f}".removeprefix("0.")
    return (
        f"2 {alpha5_of_number(row['NORAD_CAT_ID'])} {inclination} {node} {digits} {perigee} {anomaly} "
        f"{row['MEAN_MOTION']:11.8f}{_count(row['REV_AT_EPOCH'], 5)}"
    )


def _power(value: float) -> str:
    """SNNNNNSN: sign, five digits after the point, exponent of ten; small values lose digits, never their size."""
    digits, _, exponent = f"{abs(value):.4e}".partition("e")
    power = int(exponent) + 1
    digits = digits.replace(".", "")
    if value == 0:
        power = 0
    elif power < -9:
        digits, power = f"{round(abs(value) * 1e14):05d}", -9
    sign = "-" if value < 0 else " "
    return f"{sign}{digits}{'+' if power > 0 else '-'}{abs(power)}"


def _count(value: int | None, width: int) -> str:
    return " " * width if value is None else f"{value:{width}d}"


def _signed(bodies: list[str]) -> list[str]:
    """Lines with their checksums."""
    sums = checksum(pl.Series([f"{body}0" for body in bodies], dtype=pl.String))
    return [f"{body}{digit}" for body, digit in zip(bodies, sums, strict=True)]


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
    *ANGLES,
    "EPHEMERIS_TYPE",
    "CLASSIFICATION_TYPE",
    "NORAD_CAT_ID",
    "ELEMENT_SET_NO",
    "REV_AT_EPOCH",
    "BSTAR",
    "MEAN_MOTION_DOT",
    "MEAN_MOTION_DDOT",
)


def write_gp(frame: IntoDataFrame, path: str | os.PathLike[str], *, form: Form | None = None) -> None:
    """Write element sets so that `read_gp` gives the same frame back.

    OMM and Parquet keep every value exactly, with angles in [0, 360) deg, as `read_gp` gives them. Two- and three-line
    sets round to their digits (angles to 0.0001 deg, ECCENTRICITY to 1e-7, MEAN_MOTION to 1e-8 rev/day, EPOCH to 864
    microseconds, BSTAR to five digits) and refuse what they cannot carry: catalog numbers above 339999, epochs outside
    1957 to 2056, missing drag terms.

    Parameters
    ----------
    frame : polars or pandas DataFrame
        Columns `ddcl_tab.space.ELSET_COLUMNS` in any order; optional ones may be absent, others are left out. EPOCH
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
    >>> from ddcl_tab.space import read_gp
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


def _checked(frame: IntoDataFrame, file: Path) -> pl.DataFrame:
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


def write_satcat(frame: pl.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a catalog as Space-Track serves it: a JSON array or a CSV file with every value quoted.

    Null is null in JSON and an empty text in CSV. The file appears under its name only when it is complete, and the
    same frame gives the same bytes.

    Parameters
    ----------
    frame : polars.DataFrame
        Columns :data:`SPACETRACK_COLUMNS` in any order, all of them text.
    path : path-like
        Ends in ``.json``, ``.json.gz``, ``.csv`` or ``.csv.gz``, which chooses the form.

    Raises
    ------
    ConfigurationError
        If the path ends in something else.
    CatalogError
        If a column is missing, unknown or not text, or the folder does not exist.

    Examples
    --------
    >>> import tempfile
    >>> from ddcl_tab.space import synthetic_catalog
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_satcat(synthetic_catalog(50), Path(folder) / "satcat.csv")
    ...     pl.read_csv(Path(folder) / "satcat.csv").height
    50
    """
    path = Path(path)
    suffix = next((end for end in (".json", ".json.gz", ".csv", ".csv.gz") if path.name.endswith(end)), None)
    if suffix is None:
        raise ConfigurationError(f"path ends in .json, .json.gz, .csv or .csv.gz, not {path.name!r}")
    for column in sorted(set(SPACETRACK_COLUMNS) ^ set(frame.columns)):
        rule = "a SATCAT has this column" if column in SPACETRACK_COLUMNS else "a SATCAT has no such column"
        raise CatalogError(rule, column=column)
    for column in SPACETRACK_COLUMNS:
        if frame.schema[column] != pl.String:
            raise CatalogError("every value is text or null", column=column, value=str(frame.schema[column]))
    if not path.parent.is_dir():
        raise CatalogError("the folder exists", file=path.parent, remedy="Make the folder first.")
    ordered = frame.select(SPACETRACK_COLUMNS)
    text = ordered.write_json() if ".json" in suffix else ordered.write_csv(quote_style="always")
    content = text.encode()
    write_whole(path, gzip.compress(content, mtime=0) if suffix.endswith(".gz") else content)
