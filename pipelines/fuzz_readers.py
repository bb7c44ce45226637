"""Coverage-guided fuzzing of the readers with atheris: any bytes give a frame or our error, and nothing else.

    python pipelines/fuzz_readers.py OUT --runs 1000000 --jobs 2    # all readers; needs the extra fuzz

Every reader has a process of its own. Inputs grow from small synthetic files of each format by libFuzzer's mutations,
kept where they reach new branches of ``ddcl_tab.space``. An exception that is not a ``CatalogError``, an input that
takes longer than 10 s and one that needs more than 2 GiB end a process and are counted; the input is kept in OUT. The
figures go to ``OUT/fuzz_readers/data.json``; readers left out keep theirs there.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

READERS = ("read_elsets", "read_gp", "read_satcat", "read_gcat", "read_ucs", "scan_gp", "scan_satcat")
#: Inputs of one process: the fuzzer itself keeps 5 KB for each. Without it, 60,000 mutated inputs left the memory of a
#: process as it was.
ROUND = 100_000
#: Seconds and MiB that one input may take, and bytes that it may have.
TIMEOUT, MEMORY, LONGEST = 10, 2048, 4096

GP = (
    "NORAD_CAT_ID,EPOCH,MEAN_MOTION,ECCENTRICITY,INCLINATION,RA_OF_ASC_NODE,ARG_OF_PERICENTER,MEAN_ANOMALY,BSTAR,OBJECT_ID\n"
    "900001,2031-04-10T12:00:00.000000,14.3,.001,98.6,10,20,30,1e-4,2031-007C\n"
)
PAIRS = list(zip(*(line.split(",") for line in GP.splitlines()), strict=True))
TLE = (
    "0 SYNTHETIC\n1 90001U 31007C   31100.50000000  .00000123  00000-0  12345-3 0  9995\n"
    "2 90001  98.6000  10.0000 0010000  20.0000  30.0000 14.30000000    11\n"
)
SATCAT = (
    "NORAD_CAT_ID,OBJECT_ID,OBJECT_NAME,OBJECT_TYPE,COUNTRY,LAUNCH,SITE,DECAY,PERIOD,INCLINATION,APOGEE,PERIGEE,RCS_SIZE\n"
    "900001,2031-007C,SYNTHETIC,DEB,PRC,2031-02-03,TSC,,101.2,98.6,860,840,SMALL\n"
)
GCAT = (
    "#JCAT\tSatcat\tPiece\tType\tName\tLDate\tPrimary\tDDate\tStatus\tState\tPerigee\tApogee\tInc\n"
    "S90001\t90001\t2031-007C\tD\tSYNTHETIC\t2031 Feb  3\tEarth\t-\tO\tCN\t840\t860\t98.60\n"
)
UCS = (
    "NORAD Number\tCOSPAR Number\tCurrent Official Name of Satellite\tCountry of Operator/Owner\tDate of Launch\t"
    "Launch Site\tPeriod (minutes)\tInclination (degrees)\tApogee (km)\tPerigee (km)\n"
    "90001\t2031-007C\tSynthetic\tChina\t2/3/2031\tTaiyuan\t101.2\t98.6\t860\t840\n"
)
#: Small files to start from; all rows are synthetic.
SEEDS = {
    "gp.csv": GP,
    "gp.json": json.dumps([dict(PAIRS)]),
    "gp.kvn": "CCSDS_OMM_VERS = 3.0\n" + "".join(f"{name} = {value}\n" for name, value in PAIRS),
    "gp.xml": "<ndm><omm>" + "".join(f"<{name}>{value}</{name}>" for name, value in PAIRS) + "</omm></ndm>",
    "sets.tle": TLE,
    "satcat.csv": SATCAT,
    "satcat.json": json.dumps([dict(zip(*(line.split(",") for line in SATCAT.splitlines()), strict=True))]),
    "gcat.tsv": GCAT,
    "ucs.tsv": UCS,
}


def main() -> None:
    """Fuzz all readers and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of all results; inputs that broke a reader, too")
    parser.add_argument("--runs", type=int, default=20_000, help="inputs a reader")
    parser.add_argument("--jobs", type=int, default=2, help="readers at the same time")
    parser.add_argument(
        "--readers", nargs="+", choices=READERS, default=READERS, metavar="READER", help=" ".join(READERS)
    )
    parser.add_argument("--reader", choices=READERS, help=argparse.SUPPRESS)
    args, rest = parser.parse_known_args()
    if args.reader:
        fuzz(args.reader, rest)
        return
    # Not at the top: whoever fuzzes needs none of what studies import.
    from study_tools import commit, study_folder

    made_by, out = commit(), study_folder(args.out, "fuzz_readers")
    work = (delayed(supervise)(name, args.runs, out) for name in args.readers)
    figures = dict(zip(args.readers, Parallel(args.jobs, prefer="threads")(work), strict=True))
    results = out / "data.json"
    before = json.loads(results.read_text())["readers"] if results.exists() else {}
    made = {name: found | {"commit": made_by} for name, found in figures.items()}
    header = {"python": sys.version.split()[0], "atheris": version("atheris"), "polars": version("polars")}
    results.write_text(json.dumps(header | {"readers": before | made}, indent=2) + "\n")
    for name, found in figures.items():
        print(name, found)
    raise SystemExit(any(found["failures"] for found in figures.values()))


def supervise(reader: str, runs: int, out: Path) -> dict[str, Any]:
    """Run one reader's process; tell how many inputs it took, how much of the code they reach, and what broke."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        corpus, kept = Path(folder) / "corpus", (out / "failures").resolve()
        corpus.mkdir()
        kept.mkdir(exist_ok=True)
        for name, text in SEEDS.items():
            (corpus / name).write_text(text)
            (corpus / f"{name}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
        words = Path(folder) / "words"
        words.write_text(
            "".join(f'"{word}"\n' for word in sorted(set(re.findall(r"[A-Z_]{3,}", "".join(SEEDS.values())))))
        )
        rounds = []
        while sum(done["inputs"] for done in rounds) < runs and not any(done["failures"] for done in rounds):
            left = runs - sum(done["inputs"] for done in rounds)
            options = [f"-runs={min(ROUND, left)}", f"-seed={len(rounds) + 1}", f"-dict={words}"]
            rounds.append(run_round(reader, [*options, f"-artifact_prefix={kept / reader}-", str(corpus)], kept))
        n_kept = len(list(corpus.iterdir()))
    return {
        "inputs": sum(done["inputs"] for done in rounds),
        "failures": sum(done["failures"] for done in rounds),
        "branches": max(done["branches"] for done in rounds),
        "corpus": n_kept,
        "seconds": round(time.monotonic() - start),
    }


def run_round(reader: str, options: list[str], kept: Path) -> dict[str, int]:
    """One process: its inputs, whether it broke, and the branches reached."""
    limits = [f"-timeout={TIMEOUT}", f"-rss_limit_mb={MEMORY}", f"-max_len={LONGEST}"]
    command = [sys.executable, __file__, str(kept), "--reader", reader, *limits, *options]
    threads = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=os.environ | threads)
    if done.returncode:
        (kept / f"{reader}.log").write_text(done.stderr[-20_000:])
    counts = [int(n) for n in re.findall(r"^#(\d+)\s", done.stderr, re.MULTILINE)]
    reached = [int(n) for n in re.findall(r"cov: (\d+)", done.stderr)]
    return {
        "inputs": max(counts, default=0),
        "failures": int(done.returncode != 0),
        "branches": max(reached, default=0),
    }


def fuzz(reader: str, options: list[str]) -> None:
    """Body of a reader's process: never returns."""
    import atheris

    with atheris.instrument_imports(include=["ddcl_tab.space"]):
        import ddcl_tab.space as catalog
    from ddcl_tab.errors import CatalogError

    read = {
        "scan_gp": lambda path: catalog.scan_gp(path).collect(),
        "scan_satcat": lambda path: catalog.scan_satcat(path).collect(),
    }.get(reader) or getattr(catalog, reader)
    # In memory, not on a disk: a million files are written.
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f"fuzz-{reader}-") as file:
        atheris.Setup([sys.argv[0], *options], _one_input(read, Path(file.name), CatalogError))
        atheris.Fuzz()


def _one_input(read: Callable[[Path], Any], path: Path, ours: type[Exception]) -> Callable[[bytes], None]:
    def one_input(data: bytes) -> None:
        path.write_bytes(data)
        try:
            frame = read(path)
        except ours:
            return
        frame.rows()  # no value that Python cannot hold

    return one_input


if __name__ == "__main__":
    main()
