"""Memory check: element sets in Parquet become features with little memory, however many there are; one command.

    python pipelines/stream_check.py pipelines/results/ --rows 10000000

Three steps, each in a process of its own so that its largest resident memory is known: make a synthetic file (random
elements, no real object), ``scan_gp`` -> orbit shape -> feature columns -> Parquet, and those through ``TableEncoder``
into a float32 array on disk. The claim is that neither reading step needs more than 2 GB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from study_tools import REPORT, commit, study_folder

from ddcl_tab.errors import LeakWarning
from ddcl_tab.estimators._table import TableEncoder
from ddcl_tab.space._domain import SPACE
from ddcl_tab.space._join import add_orbit_shape
from ddcl_tab.space._scan import scan_gp
from ddcl_tab.space._schema import ELSET_COLUMNS, polars_schema

CHUNK_ROWS = 250_000
LIMIT_GB = 2.0


def make(folder: Path, n_rows: int) -> None:
    """Write the synthetic file, a chunk at a time."""
    rng = np.random.default_rng(0)
    schema = polars_schema(ELSET_COLUMNS)
    with pq.ParquetWriter(folder / "elsets.parquet", pl.DataFrame(schema=schema).to_arrow().schema) as writer:
        for start in range(0, n_rows, CHUNK_ROWS):
            n = min(CHUNK_ROWS, n_rows - start)
            writer.write_table(synthetic_sets(rng, start, n).to_arrow())


def synthetic_sets(rng: np.random.Generator, start: int, n: int) -> pl.DataFrame:
    """Element sets with random values inside the rules."""
    number = pl.int_range(start + 1, start + n + 1, eager=True)
    seconds = pl.Series(rng.integers(0, 10**9, n))
    values = {
        "NORAD_CAT_ID": number,
        "OBJECT_NAME": number.cast(pl.String).str.pad_start(12, "X"),
        "OBJECT_ID": (2000 + number % 60).cast(pl.String) + "-001A",
        "CLASSIFICATION_TYPE": pl.repeat("U", n, eager=True),
        "EPOCH": (seconds * 10**6).cast(pl.Datetime("us", "UTC")),
        "MEAN_MOTION": rng.uniform(1, 16, n),
        "ECCENTRICITY": rng.uniform(0, 0.1, n),
        "INCLINATION": rng.uniform(0, 180, n),
        "RA_OF_ASC_NODE": rng.uniform(0, 360, n),
        "ARG_OF_PERICENTER": rng.uniform(0, 360, n),
        "MEAN_ANOMALY": rng.uniform(0, 360, n),
        "BSTAR": rng.normal(0, 1e-4, n),
        "MEAN_MOTION_DOT": rng.normal(0, 1e-5, n),
        "MEAN_MOTION_DDOT": np.zeros(n),
        "EPHEMERIS_TYPE": np.zeros(n, dtype=int),
        "ELEMENT_SET_NO": np.full(n, 999),
        "REV_AT_EPOCH": rng.integers(0, 99_999, n),
    }
    return pl.DataFrame(values, schema=polars_schema(ELSET_COLUMNS))


def features(folder: Path, n_rows: int) -> None:
    """Element sets to feature columns."""
    elsets = add_orbit_shape(scan_gp(folder / "elsets.parquet"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakWarning)
        names = SPACE.features_among(elsets.collect_schema().names())
    elsets.select(names).sink_parquet(folder / "features.parquet", row_group_size=CHUNK_ROWS)


def encode(folder: Path, n_rows: int) -> None:
    """Feature columns to scaled numbers on disk; the scales come from the first chunk."""
    file = pq.ParquetFile(folder / "features.parquet")
    batches = (pl.DataFrame(batch) for batch in file.iter_batches(batch_size=CHUNK_ROWS))
    encoder, out, done = TableEncoder(), None, 0
    for batch in batches:
        if out is None:
            encoder.fit(batch)
            shape = (n_rows, len(encoder.numeric_))
            out = np.lib.format.open_memmap(folder / "features.npy", mode="w+", dtype=np.float32, shape=shape)
        out[done : done + batch.height] = encoder.transform(batch).numeric
        done += batch.height
        out.flush()
    if done != n_rows:
        raise RuntimeError(f"{done} rows came out of {n_rows}")


STEPS: dict[str, Callable[[Path, int], None]] = {"make": make, "features": features, "encode": encode}


def run(n_rows: int, folder: Path) -> dict[str, dict[str, float]]:
    """Seconds and largest resident memory (GB) of each step."""
    figures = {}
    for step in STEPS:
        command = [sys.executable, __file__, "unused", "--rows", str(n_rows), "--step", step, "--folder", str(folder)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        figures[step] = json.loads(text.splitlines()[-1])
    return figures


def markdown(n_rows: int, figures: dict[str, dict[str, float]], sizes: dict[str, float]) -> str:
    """The results page."""
    rows = "\n".join(f"| {step} | {f['seconds']:.0f} | {f['peak_gb']:.2f} |" for step, f in figures.items())
    files = ", ".join(f"{name} {size:.2f} GB" for name, size in sizes.items())
    command = f"python pipelines/stream_check.py pipelines/results/ --rows {n_rows}"
    return (
        f"# Streaming\n\n`{command}`: {n_rows:,} synthetic element sets (random values)\n"
        f"in Parquet become features (commit {commit()}). The reading steps may take {LIMIT_GB:.0f} GB.\n\n"
        "| step | seconds | largest resident memory, GB |\n|---|---|---|\n"
        f"{rows}\n\nmake writes the file; features is `scan_gp` with all rules checked, `add_orbit_shape` and\n"
        "`sink_parquet`; encode is `TableEncoder` into a mapped file, whose pages are counted with the memory.\n"
        f"Files: {files}.\n"
    )


def main() -> int:
    """Run one step, or all of them and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--step", choices=STEPS)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.step:
        start = time.perf_counter()
        STEPS[arguments.step](arguments.folder, arguments.rows)
        # Not ru_maxrss: that of a new process is no smaller than what its parent held.
        peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024**2
        print(json.dumps({"seconds": time.perf_counter() - start, "peak_gb": peak}))
        return 0
    commit()
    with tempfile.TemporaryDirectory() as folder:
        figures = run(arguments.rows, Path(folder))
        sizes = {path.name: path.stat().st_size / 1e9 for path in sorted(Path(folder).iterdir())}
    page = markdown(arguments.rows, figures, sizes)
    (study_folder(arguments.results, "stream_check") / REPORT).write_text(page)
    print(page)
    return int(max(figures[step]["peak_gb"] for step in ("features", "encode")) > LIMIT_GB)


if __name__ == "__main__":
    sys.exit(main())
