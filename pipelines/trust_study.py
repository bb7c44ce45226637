"""When not to trust the classifier: coverage of its class sets, novelty scores, likely label errors; one command.

    python pipelines/trust_study.py ../shared/data pipelines/results/

Writes ``OUT/trust/report.md`` and ``data.json``. ``--judged FILE`` keeps what the out-of-fold models say, and takes it
from there if the file exists: those five fits are most of the time. ``--short`` runs all of it on the synthetic catalog
of ``data/`` with few rows and epochs, to see that it works; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from study_tools import REPORT, commit, study_folder
from trust_novelty import novelty_lines

from ddcl_tab import DDCLClassifier
from ddcl_tab.app._catalog import has_known_class, load_catalog
from ddcl_tab.app._evaluation import score
from ddcl_tab.app._tables import SYNTHETIC_NOTE, as_markdown
from ddcl_tab.errors import LeakWarning, StabilityWarning
from ddcl_tab.interpret._labels import OutOfFold, likely_label_errors, out_of_fold
from ddcl_tab.interpret._trust import ConformalSets
from ddcl_tab.space._join import launch_of
from ddcl_tab.space._satcat import read_satcat

CATALOG = "satcat/spacetrack_satcat_current_2025-03-16.json.gz"
ELSETS = "elsets/spacetrack_3le_2025-03-15.txt.gz"
SYNTHETIC = Path(__file__).resolve().parents[1] / "data" / "synthetic_satcat.csv.gz"
PACKAGES = ("ddcl-tab", "torch", "scikit-learn", "skorch", "numpy", "polars")
TARGET, SEED = "OBJECT_TYPE", 0
LEVELS = (0.8, 0.9, 0.95)
#: Share of the labels of the synthetic catalog that are exchanged, and objects in the list of the report.
FLIPPED, N_LISTED = 0.03, 15
#: What a name says beside its suffix, first match first.
REMARKS = {
    r"SPACEMOBILE-SSR": "the name says debris; one piece beside each of the five large satellites of its launch",
    r"CALSPHERE|TEMPSAT|SURCAL|NAVSPASUR": "passive radar target: a payload by purpose, metal by its columns",
    r"PICOSAT": "a satellite of the size of a fragment",
    r"VANGUARD 1$": "a sphere of 16 cm: a payload of the size of a fragment",
    r"FENGYUN 1C$": "destroyed in 2007: the entry of the satellite is one of its fragments now",
    r"\b[AP]KM\b": "a satellite's own motor: rocket body or payload is a matter of convention",
    r"\bDEB\b": "the name says debris, as recorded",
    r"\bR/B": "the name says rocket body, as recorded",
}


class Sizes(NamedTuple):
    """How much work the two forms do."""

    settings: dict[str, Any]  # out-of-fold fits
    quick: dict[str, Any]  # fits for novelty and planted label errors
    rows: int  # training rows of a held-out regime
    synthetic_rows: int
    splits: int


FULL = Sizes({}, {"max_epochs": 20}, 10_000, 5000, 100)
_SMALL = {"n_prototypes": 6, "d_token": 16, "n_heads": 2, "n_blocks": 1, "max_epochs": 2, "augmented_share": 0.0}
SHORT = Sizes(_SMALL, _SMALL, 600, 1500, 3)


class Told(BaseEstimator):
    """A classifier whose probabilities stand in the table already."""

    def __init__(self, classes: NDArray[Any]) -> None:
        self.classes, self.classes_ = classes, classes

    def fit(self, X: Any, y: Any = None) -> Told:
        """Nothing to learn."""
        return self

    def predict_proba(self, X: Any) -> Any:
        """The table itself."""
        return X


def classifier(settings: dict[str, Any]) -> DDCLClassifier:
    """The package's defaults where the study sets nothing."""
    return DDCLClassifier(random_state=SEED, certify=False, **settings)


def known_rows(frame: pl.DataFrame, n: int | None = None) -> pl.DataFrame:
    """Objects of known class, at most ``n`` of them."""
    known = frame.filter(has_known_class(frame, TARGET))
    return known if n is None or len(known) <= n else known.sample(n, seed=SEED)


def judge(frame: pl.DataFrame, sizes: Sizes, file: Path | None) -> tuple[OutOfFold, float]:
    """Out-of-fold judgement and the minutes of its fits, kept in a file."""
    if file is not None and file.exists():
        with np.load(file) as kept:
            judged = OutOfFold(kept["classes"], kept["probability"], kept["fold"], kept["reasons"].tolist())
            return judged, float(kept["seconds"]) / 60
    start = time.perf_counter()
    judged = out_of_fold(classifier(sizes.settings), frame)
    seconds = time.perf_counter() - start
    if file is not None:
        np.savez(file, **judged._replace(reasons=np.array(judged.reasons))._asdict(), seconds=seconds)
    return judged, seconds / 60


# --- probabilities and sets -----------------------------------------------------------------------------------------


def calibration(frame: pl.DataFrame, judged: OutOfFold) -> list[dict[str, Any]]:
    """Quality of the probabilities, fold by fold."""
    y = frame[TARGET].to_numpy()
    lines = []
    for fold in range(judged.fold.max() + 1):
        rows = judged.fold == fold
        figures = score(y[rows], judged.probability[rows], judged.classes)
        lines.append({"fold": fold} | {name: figures[name] for name in ("macro_f1", "accuracy", "log_loss", "ece")})
    return lines


def coverage(frame: pl.DataFrame, judged: OutOfFold, level: float, test: Any, by_launch: bool) -> pl.DataFrame:
    """Calibrate on the rows that are not in ``test``, measure on those that are."""
    p, y, launch = judged.probability, frame[TARGET].to_numpy(), launch_of(frame).to_numpy()
    sets = ConformalSets(Told(judged.classes), level)
    sets.fit(p[~test], y[~test], groups=launch[~test] if by_launch else None)
    return pl.DataFrame(sets.coverage(p[test], y[test], groups=launch[test]))


def over_folds(frame: pl.DataFrame, judged: OutOfFold) -> pl.DataFrame:
    """Four folds calibrate, one tests: each class in each fold."""
    tables = [
        coverage(frame, judged, level, judged.fold == fold, True).with_columns(fold=pl.lit(fold))
        for level in LEVELS
        for fold in range(judged.fold.max() + 1)
    ]
    return pl.concat(tables)


def over_halves(frame: pl.DataFrame, judged: OutOfFold, n_splits: int) -> pl.DataFrame:
    """Half of the launches calibrate, the others test; launches weighed alike, and rows weighed alike."""
    launch = launch_of(frame).to_numpy()
    names, index = np.unique(launch, return_inverse=True)
    rng = np.random.default_rng(SEED)
    tables = []
    for _ in range(n_splits):
        test = (rng.random(len(names)) < 0.5)[index]
        for level in LEVELS:
            for by_launch in (True, False):
                table = coverage(frame, judged, level, test, by_launch)
                tables.append(table.with_columns(weigh=pl.lit("launch" if by_launch else "row")))
    figures = ("coverage", "coverage_rows", "set_size")
    return (
        pl.concat(tables)
        .group_by("level", "weigh", "class", maintain_order=True)
        .agg(*[pl.col(name).mean() for name in figures], *[pl.col(name).std().alias(f"{name} sd") for name in figures])
    )


# --- labels ---------------------------------------------------------------------------------------------------------


def listed(frame: pl.DataFrame, judged: OutOfFold) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The whole list of likely label errors, and how many of what kind."""
    errors = likely_label_errors(classifier({}), frame, judged=judged)
    launches = launch_of(frame)[errors["row"]]
    kinds = errors.group_by("recorded", "predicted").len().sort("len", "recorded", descending=True)
    most = launches.value_counts(sort=True).head(1).row(0)
    above = {f"above {p}": int((errors["probability"] > p).sum()) for p in (0.9, 0.95, 0.99)}
    figures = {"rows": len(errors), "launches": launches.n_unique(), "of": len(frame)} | above
    return errors, figures | {"kinds": kinds.to_dicts(), "most in one launch": list(most)}


def remark(name: str) -> str:
    """What the name of an object says, where obvious."""
    return next((text for pattern, text in REMARKS.items() if re.search(pattern, name)), "")


def flipped(frame: pl.DataFrame, sizes: Sizes) -> dict[str, Any]:
    """How many exchanged labels of the synthetic catalog are found, and how many of those found are exchanged."""
    rng = np.random.default_rng(SEED)
    y, classes = frame[TARGET].to_numpy().copy(), frame[TARGET].unique().sort().to_list()
    wrong = rng.random(len(y)) < FLIPPED
    y[wrong] = [rng.choice([c for c in classes if c != value]) for value in y[wrong]]
    judged = out_of_fold(classifier(sizes.quick), frame.drop(TARGET), y)
    errors = likely_label_errors(classifier({}), frame.drop(TARGET), y, judged=judged)["row"].to_numpy()
    hits = np.isin(errors, np.flatnonzero(wrong))
    first = hits[: int(wrong.sum())]
    found = {"exchanged": int(wrong.sum()), "listed": len(errors), "found": int(hits.sum())}
    return found | {"exchanged among as many first": int(first.sum()), "rows": len(frame)}


# --- report ---------------------------------------------------------------------------------------------------------


def table_of(rows: Any) -> str:
    """Markdown with three decimals."""
    return as_markdown(pl.DataFrame(rows).with_columns(pl.selectors.float().round(3)))


def report(result: dict[str, Any]) -> str:
    """The results file."""
    about, labels, flips = result["about"], result["labels"], result["flipped"]
    worst = max(abs(row["coverage"] - row["level"]) for row in result["halves"] if row["weigh"] == "launch")
    near = [abs(row["coverage"] - row["level"]) <= 0.02 for row in result["folds"]]
    scores = pl.DataFrame(result["novelty"])
    means = scores.group_by("catalog", maintain_order=True).agg(pl.selectors.float().mean())
    return f"""# When not to trust the classifier

{about["catalog"]}. Made by

    {about["command"]}

with {about["versions"]}, seed {SEED}.
Five out-of-fold fits: {result["fit_minutes"]} min; the rest: {about["minutes"]} min, on {about["machine"]}.

## Probabilities out of fold

Temperature-scaled on the validation part of each training; five folds by launch, each judged by the other four.

{table_of(result["calibration"])}

## Class sets

`ConformalSets` on pooled out-of-fold probabilities. `coverage`: share of a launch's rows of the class whose set holds
it, averaged over launches (what is promised); `coverage_rows`: over all rows. Half of the launches calibrate, the other
half tests, {about["splits"]} times; mean and standard deviation over these splits. The largest distance of a mean from
its level, launches weighed alike, is {100 * worst:.1f} points; the standard deviation says what one split does.

{table_of(result["halves"])}

One fold tests, the other four calibrate: {sum(near)} of {len(near)} coverages are within two points of their level.

At level 0.9 (the others are in the JSON file):

{table_of([row for row in result["folds"] if row["level"] == 0.9])}

## Novelty

AUROC against rows of held-out launches. Nothing is planted in the synthetic catalog of `data/` itself: rows of
its test part are changed here, and so are rows of the real one. Regimes are held out of at most {
        about["rows"]
    } training
rows; the scale of categories in `NoveltyScore` (0.2) was chosen among six on these very tasks (0.92 to 0.94).

{table_of(result["novelty"])}

Means:

{table_of(means)}

## Likely label errors

{labels["rows"]} of {labels["of"]} objects in {labels["launches"]} launches, of which {labels["above 0.9"]} with a
probability above 0.9, {labels["above 0.95"]} above 0.95 and {
        labels["above 0.99"]
    } above 0.99. The launch with the most:
{labels["most in one launch"][0]}, {labels["most in one launch"][1]}.

{table_of(labels["kinds"])}

The first {N_LISTED}. Remarks say what the name tells; nobody has looked the objects up.

{table_of(result["top"])}

Check with planted errors, on the synthetic catalog: of {flips["exchanged"]} exchanged labels among {flips["rows"]} rows
{flips["found"]} are in a list of {flips["listed"]}; of its first {flips["exchanged"]}, {
        flips["exchanged among as many first"]
    } are exchanged ones.
"""


def study(frame: pl.DataFrame, name: str, sizes: Sizes, file: Path | None) -> dict[str, Any]:
    """All figures."""
    synthetic = known_rows(read_satcat(SYNTHETIC), sizes.synthetic_rows)
    judged, minutes = judge(frame, sizes, file)
    errors, labels = listed(frame, judged)
    top = errors.head(N_LISTED).with_columns(pl.col("OBJECT_NAME").map_elements(remark, pl.String).alias("remark"))
    novelty: list[dict[str, Any]] = []
    for which, rows in ({name: frame} | {"synthetic": synthetic}).items():
        # Rows that are made up have no siblings.
        novelty += novelty_lines(rows, classifier(sizes.quick | {"family": None}), sizes.rows, which)
    return {
        "fit_minutes": round(minutes, 1),
        "calibration": calibration(frame, judged),
        "halves": over_halves(frame, judged, sizes.splits).to_dicts(),
        "folds": over_folds(frame, judged).to_dicts(),
        "novelty": novelty,
        "labels": labels,
        "top": top.drop("row", "OBJECT_ID", "reason").to_dicts(),
        "flipped": flipped(synthetic, sizes),
    }


def main(arguments: list[str]) -> None:
    """Measure and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--judged", type=Path)
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args(arguments)
    commit()
    sizes, start = SHORT if options.short else FULL, time.perf_counter()
    kept = options.judged is not None and options.judged.exists()
    name = "synthetic" if options.short else "real"
    full = read_satcat(SYNTHETIC) if options.short else load_catalog(options.data / CATALOG, options.data / ELSETS)
    frame = known_rows(full, sizes.synthetic_rows if options.short else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakWarning)
        warnings.simplefilter("ignore", StabilityWarning)
        result = study(frame, name, sizes, options.judged)
    about = {
        "commit": commit(),
        "catalog": SYNTHETIC_NOTE if options.short else "Space-Track catalog of 2025-03-16 with its element sets",
        "command": shlex.join(["python", "pipelines/trust_study.py", *arguments]),
        "minutes": round((time.perf_counter() - start) / 60 - (0.0 if kept else result["fit_minutes"]), 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} shared cores, Python {platform.python_version()}",
        "versions": ", ".join(f"{package} {version(package)}" for package in PACKAGES),
        "rows": sizes.rows,
        "splits": sizes.splits,
    }
    folder = study_folder(options.out, "trust", options.short)
    (folder / "data.json").write_text(json.dumps({"about": about} | result, indent=2) + "\n")
    (folder / REPORT).write_text(report({"about": about} | result))


if __name__ == "__main__":
    main(sys.argv[1:])
