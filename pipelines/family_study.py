"""What columns about the siblings of a launch are worth, and which of them.

    python pipelines/family_study.py ../shared/data pipelines/results/

Families are counted on the whole catalog, decayed objects included; a model then sees the row alone, or some of the
family columns besides: LightGBM with its defaults (extra ``bench``), and our classifier with its own. By launch: five
stratified folds, whole launches together. In time: trained on launches before a year, tested on all later ones.

Appends one line a fit to ``family/data.jsonl``, never computes a line twice, then writes ``family/report.md``.
``--short`` takes one fold of few objects; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import platform
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from peers.tasks import TASKS
from peers.trees import Trees
from sklearn.metrics import f1_score, log_loss
from sklearn.model_selection import StratifiedGroupKFold
from study_tools import REPORT, append_line, mean_std, parser, read_lines, run

from ddcl_tab import DDCLClassifier
from ddcl_tab.errors import LeakWarning
from ddcl_tab.space import FAMILY_COLUMNS, family_columns, join_elsets, launch_of, read_gp, read_satcat
from ddcl_tab.space._domain import SPACE

N_FOLDS, CUTS = 5, (2010, 2015, 2019)
SATCAT = "satcat/spacetrack_satcat_current_2025-03-16.json.gz"
ELSETS = "elsets/spacetrack_3le_2025-03-15.txt.gz"
DECAYED = "satcat/spacetrack_satcat_decayed_2025-03-16.json.gz"
TARGET = "OBJECT_TYPE"


def _named(*ends: str) -> list[str]:
    return [column.name for column in FAMILY_COLUMNS if column.name.endswith(ends)]


_SIZES = _named("SMALL_SHARE", "MEDIUM_SHARE", "LARGE_SHARE")
_RELATIVE = [*_named("_DEVIATION", "_SPREAD", "NEAR_SHARE", "CELL_SHARE"), *_SIZES]
_DECAYED = [name for name in _named("") if "DECAYED" in name]
_KEY = ("model", "task", "split", "columns")
TABLES = (
    ("Object class, by launch", "object", "launch"),
    ("Object class, later launches (2010, 2015, 2019)", "object", "from"),
    ("Orbit only, by launch", "orbit", "launch"),
)
#: Family columns that a model sees besides the row.
SETS = {
    "row alone": [],
    "relative": _RELATIVE,
    "relative, decayed": [*_RELATIVE, *_DECAYED],
    "relative, decayed, quartiles": [*_RELATIVE, *_DECAYED, *_named("_Q25", "_Q75")],
}
OURS, TREES = "DDCLClassifier", "LightGBM"
#: Sets that our classifier, which takes minutes, is fitted with; how it does on the row alone is in the benchmark.
OUR_SETS = ("relative, decayed, quartiles",)


def compute(args: argparse.Namespace, file: Path) -> None:
    """Fit what has no line yet, the quick ones first."""
    satcat, decayed = read_satcat(args.shared / SATCAT), read_satcat(args.shared / DECAYED)
    families = family_columns(pl.concat([satcat, decayed])).head(len(satcat))
    catalog = join_elsets(satcat, read_gp(args.shared / ELSETS)).hstack(families)
    frame = catalog.filter(pl.col(TARGET) != "UNKNOWN")
    if args.short:
        frame = frame.sample(3000, seed=0)
    done = {tuple(line[name] for name in _KEY) for line in read_lines(file)}
    tasks = [(task, *split) for task in ("object", "orbit") for split in splits(frame, task, args.short)]
    for model, sets in ((TREES, tuple(SETS)), (OURS, OUR_SETS)):
        for task, split, train, test in tasks:
            for columns in sets:
                if (model, task, split, columns) not in done:
                    used = used_columns(frame, task, SETS[columns])
                    line = dict(zip(_KEY, (model, task, split, columns), strict=True)) | {"n_columns": len(used)}
                    append_line(file, line | fitted(model, frame, used, train, test, args.short))


def used_columns(frame: pl.DataFrame, task: str, family: list[str]) -> list[str]:
    """Features of a task with some family columns; of the orbit alone, sizes of siblings are none either."""
    names = SPACE.features_among([name for name in frame.columns if name not in (TARGET, *TASKS[task].left_out)])
    left_out = _SIZES if task == "orbit" else []
    names = [name for name in names if not name.startswith("FAMILY_") or (name in family and name not in left_out)]
    return [name for name in names if frame[name].null_count() < len(frame)]


def fitted(
    model: str, frame: pl.DataFrame, used: list[str], train: NDArray[np.intp], test: NDArray[np.intp], short: bool
) -> dict[str, float]:
    """Scores of a model on the test rows: macro-F1, log-loss [nats], payloads called debris; seconds of the fit."""
    y, X = frame[TARGET].to_numpy(), frame.select(used)
    start = time.perf_counter()
    if model == OURS:
        small = {"max_epochs": 2, "d_token": 16, "augmented_share": 0.0} if short else {}
        clf = DDCLClassifier(random_state=0, **small)
        clf.fit(X[train], y[train], groups=launch_of(frame[train]).to_numpy())
    else:
        from lightgbm import LGBMClassifier

        clf = Trees(LGBMClassifier(verbose=-1, n_jobs=1, random_state=0)).fit(X[train], y[train])
    seconds = time.perf_counter() - start
    probability = clf.predict_proba(X[test])
    said = clf.classes_[probability.argmax(axis=1)]
    return {
        "macro_f1": float(f1_score(y[test], said, average="macro")),
        "log_loss": float(log_loss(y[test], probability, labels=clf.classes_)),
        "payloads_called_debris": int(((y[test] == "PAYLOAD") & (said == "DEBRIS")).sum()),
        "seconds": round(seconds, 1),
    }


def splits(frame: pl.DataFrame, task: str, short: bool) -> list[tuple[str, NDArray[np.intp], NDArray[np.intp]]]:
    """Names and rows of the folds by launch, and for the object class of the cuts in time."""
    y, launch = frame[TARGET].to_numpy(), launch_of(frame).to_numpy()
    folds = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=0).split(y, y, launch)
    parts = [(f"launch {k}", train, test) for k, (train, test) in enumerate(folds)]
    year = frame["LAUNCH_YEAR"].fill_null(0).to_numpy()
    cuts = [(f"from {cut}", np.flatnonzero(year < cut), np.flatnonzero(year >= cut)) for cut in CUTS]
    return parts[:1] if short else parts + (cuts if task == "object" else [])


def report(file: Path, out: Path, command: str) -> None:
    """Tables of all lines."""
    lines = read_lines(file)
    text = ["# What the siblings of a launch are worth", "", str(__doc__).split("\n\n")[2].replace("\n", " "), ""]
    for title, task, kind in TABLES:
        text += [f"## {title}", "", "| model | columns | number | macro-F1 | log-loss | payloads called debris |"]
        text.append("|---|---|---|---|---|---|")
        here = [line for line in lines if line["task"] == task and line["split"].startswith(kind)]
        for model, columns in ((model, columns) for model in (TREES, OURS) for columns in SETS):
            mine = [line for line in here if (line["model"], line["columns"]) == (model, columns)]
            if mine:
                cells = [mean_std(line[score] for line in mine) for score in ("macro_f1", "log_loss")]
                called = ", ".join(str(line["payloads_called_debris"]) for line in mine)
                text.append(f"| {model} | {columns} | {mine[0]['n_columns']} | {cells[0]} | {cells[1]} | {called} |")
        text.append("")
    packages = ", ".join(f"{name} {version(name)}" for name in ("ddcl-tab", "lightgbm", "polars", "scikit-learn"))
    text += ["Means and standard deviations over the folds or cuts that are done; payloads called debris in each.", ""]
    text += [f"`{command}`, one thread, seed 0, Python {platform.python_version()}, {packages}."]
    (out / REPORT).write_text("\n".join(text) + "\n")


def main(argv: list[str] | None = None) -> None:
    """Run the study from a shell."""
    run(__file__, "family", parser(__doc__).parse_args(argv), compute, report, (LeakWarning, UserWarning))


if __name__ == "__main__":
    main()
