"""Class sets on launches later than the training: which calibration holds there, and what flags errors there.

    python pipelines/coverage_in_time.py ../shared pipelines/results/

A classifier is trained on launches before 2015 and asked about later ones. Its class sets are calibrated with the
probabilities of a second classifier, which has not seen the rows that calibrate: a fifth of the launches drawn at
random, or the newest fifth. Family columns; each line is one seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from benchmark_catalog import load
from numpy.typing import NDArray
from peers import MODELS, OURS
from peers.paired import Judged
from peers.tasks import Fold, make_fold
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from study_tools import REPORT, append_line, mean_std, parser, read_lines, run
from trust_study import Told

from ddcl_tab import DDCLClassifier
from ddcl_tab.app._evaluation import score
from ddcl_tab.app._tables import SYNTHETIC_NOTE, as_markdown
from ddcl_tab.errors import InputError, StabilityWarning
from ddcl_tab.interpret import ConformalSets, NoveltyScore

TASK = "object-time-family"
LEVELS = (0.8, 0.9, 0.95)
#: Share of the launches, or of the newest ones, that calibrate.
SHARE = 0.2
#: A flag is raised for this share of the later objects, whichever measure raises it.
FLAGGED = 0.1


def held_out(fold: Fold, how: str, seed: int) -> NDArray[np.bool_]:
    """Rows of the training part that calibrate: whole launches, at random by class or the newest ones."""
    launch = np.asarray(fold.groups)
    if how == "newest":
        names = np.unique(launch)  # they begin with the year and the number of the launch in it
        return launch >= names[round((1 - SHARE) * len(names))]
    folds = StratifiedGroupKFold(round(1 / SHARE), shuffle=True, random_state=seed)
    rows = np.zeros(len(launch), dtype=bool)
    rows[next(iter(folds.split(launch[:, None], fold.y_train, launch)))[1]] = True
    return rows


def fitted(X: pl.DataFrame, y: NDArray[Any], launch: NDArray[Any], seed: int, short: bool) -> DDCLClassifier:
    """The product, on columns that are there already."""
    model = MODELS[OURS]
    return model.make(seed, **model.defaults | (model.short if short else {}) | {"certify": False}).fit(
        X, y, groups=launch
    )


def measure(fold: Fold, seed: int, short: bool) -> dict[str, Any]:
    """Coverage of both calibrations on later launches, and what flags errors."""
    launch = np.asarray(fold.groups)
    whole = fitted(fold.X_train, fold.y_train, launch, seed, short)
    probability = whole.predict_proba(fold.X_test)
    line: dict[str, Any] = {"scores": score(fold.y_test, probability, whole.classes_), "coverage": []}
    for how in ("random", "newest"):
        kept = held_out(fold, how, seed)
        part = fitted(fold.X_train.filter(~kept), fold.y_train[~kept], launch[~kept], seed, short)
        unseen = part.predict_proba(fold.X_train.filter(kept))
        calibrates = Judged(fold.y_train[kept], launch[kept], unseen, part.classes_)
        tested = Judged(fold.y_test, fold.unit, probability, whole.classes_)
        line["coverage"] += [{"calibration": how} | row for row in coverage(calibrates, tested)]
    return line | {"flags": flags(whole, fold, probability)}


def coverage(calibrates: Judged, tested: Judged) -> list[dict[str, Any]]:
    """Coverage of the later launches at each level, by class; none at levels for which a class has too few launches."""
    rows = []
    for level in LEVELS:
        sets = ConformalSets(Told(tested.classes), level)
        try:
            sets.fit(calibrates.probability, calibrates.y, groups=calibrates.unit)
        except InputError:
            continue
        rows += pl.DataFrame(sets.coverage(tested.probability, tested.y, groups=tested.unit)).to_dicts()
    return rows


def flags(whole: DDCLClassifier, fold: Fold, probability: NDArray[np.float64]) -> list[dict[str, Any]]:
    """How well each measure finds the errors on later launches: AUROC, and errors among the tenth it flags."""
    wrong = whole.classes_[probability.argmax(axis=1)] != fold.y_test
    ordered = np.sort(probability, axis=1)
    measures = {
        "1 - probability of the class": 1 - ordered[:, -1],
        "entropy": -(probability * np.log(probability.clip(1e-12))).sum(axis=1),
        "NoveltyScore": NoveltyScore(whole).fit(fold.X_train).novelty(fold.X_test),
    }
    n = round(FLAGGED * len(wrong))
    return [
        {
            "measure": name,
            "auroc": float(roc_auc_score(wrong, value)),
            "errors": int(wrong.sum()),
            "found": int(wrong[np.argsort(-value, kind="stable")[:n]].sum()),
        }
        for name, value in measures.items()
    ]


def compute(args: argparse.Namespace, file: Path) -> None:
    """One line a seed."""
    done = {line["seed"] for line in read_lines(file)}
    todo = [seed for seed in range(1 if args.short else args.seeds) if seed not in done]
    catalog = load(args.shared / "data", args.short) if todo else None
    for seed in todo:
        line = measure(make_fold(catalog, TASK, seed), seed, args.short)
        append_line(file, {"seed": seed, "short": args.short} | line)


def report(file: Path, folder: Path, command: str) -> None:
    """Write the tables of the lines there are."""
    lines = read_lines(file)
    parts = [
        "# Class sets on launches later than the training",
        f"Made by `{command}`; seeds {', '.join(str(line['seed']) for line in lines)}.",
        *([f"{SYNTHETIC_NOTE}. Few epochs: this shows that the command works, nothing else."] * lines[0]["short"]),
        "Trained on launches before 2015, asked about later ones, family columns: macro-F1 "
        f"{mean_std(line['scores']['macro_f1'] for line in lines)}, log-loss "
        f"{mean_std(line['scores']['log_loss'] for line in lines)}, ECE "
        f"{mean_std(line['scores']['ece'] for line in lines)}. Class sets are calibrated on a fifth of the launches of "
        "the training part, judged by a classifier that was trained on the others: launches drawn at random, or the "
        "newest fifth. `coverage` is the share of a launch's rows of the class whose set holds it, averaged over "
        "launches (what is promised), `standard_error` that of it over the launches, `coverage_rows` that of all rows, "
        "`set_size` the mean number of classes in a set; mean ± standard deviation over seeds.",
        as_markdown(pl.DataFrame(_coverage_rows(lines))),
        "## What flags errors there",
        f"Of the later objects, each measure flags the {100 * FLAGGED:.0f} % with its highest values.",
        as_markdown(pl.DataFrame(_flag_rows(lines))),
    ]
    (folder / REPORT).write_text("\n\n".join(parts) + "\n")


def _coverage_rows(lines: list[dict[str, Any]]) -> list[dict[str, str]]:
    found: dict[tuple[str, float, str], list[dict[str, Any]]] = {}
    for line in lines:
        for row in line["coverage"]:
            found.setdefault((row["calibration"], row["level"], row["class"]), []).append(row)
    return [
        {"calibrated on": f"{how} launches", "level": str(level), "class": name}
        | {
            figure: mean_std(row[figure] for row in rows)
            for figure in ("coverage", "standard_error", "coverage_rows", "set_size")
        }
        for (how, level, name), rows in found.items()
    ]


def _flag_rows(lines: list[dict[str, Any]]) -> list[dict[str, str]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        for row in line["flags"]:
            found.setdefault(row["measure"], []).append(row)
    return [
        {"measure": name, "AUROC": mean_std(row["auroc"] for row in rows)}
        | {"errors found": ", ".join(f"{row['found']} of {row['errors']}" for row in rows)}
        for name, rows in found.items()
    ]


def main(arguments: list[str] | None = None) -> None:
    """Measure, then report."""
    arguments_of = parser(__doc__)
    arguments_of.add_argument("--seeds", type=int, default=2)
    run(__file__, "coverage_in_time", arguments_of.parse_args(arguments), compute, report, quiet=(StabilityWarning,))


if __name__ == "__main__":
    main()
