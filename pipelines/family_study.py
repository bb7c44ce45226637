"""What columns about the siblings of a launch are worth, and which of them.

    python pipelines/family_study.py ../shared/data pipelines/results/

Families are counted on the whole catalog, decayed objects included; a model then sees the row alone, or some of the
family columns besides: LightGBM with its defaults (extra ``bench``), and our classifier with its own. By launch: five
stratified folds, whole launches together. In time: trained on launches before a year, tested on all later ones.

Forward: trained without the newest tenth of the launches, then asked for their objects, as a catalog keeper would ask.
Families are counted by the classifier itself: for training, in all older launches; for the new objects, in the whole
catalog, or in what a stream would show: the older launches and the new objects of known class. The peers (LightGBM,
scikit-learn's HistGradientBoosting and random forest) get the same columns.

Appends one line a fit to ``family/data.jsonl``, never computes a line twice, then writes ``family/report.md``.
``--short`` takes one fold of few objects; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from peers.tasks import NO_ORBIT
from peers.trees import Trees, hist_gradient_boosting, lightgbm, random_forest
from sklearn.metrics import f1_score, log_loss
from sklearn.model_selection import StratifiedGroupKFold
from study_tools import REPORT, append_line, mean_std, parser, read_lines, run

from ddcl_tab import DDCLClassifier
from ddcl_tab.errors import FamilyContextWarning, LeakWarning
from ddcl_tab.space import FAMILY_COLUMNS, family_columns, join_elsets, launch_of, read_gp, read_satcat
from ddcl_tab.space._domain import SPACE
from ddcl_tab.space._families import Families

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
#: Peers of the forward test; ours comes last.
PEERS = {TREES: lightgbm, "HistGradientBoosting": hist_gradient_boosting, "random forest": random_forest}
#: Share of the launches that the forward test holds back.
NEWEST = 0.1
#: What is known of the siblings of the new objects; how the lines of the forward test call their columns.
WHOLE, STREAM, ALONE = "siblings in the whole catalog", "siblings among the rows asked about", "row alone"


def compute(args: argparse.Namespace, file: Path) -> None:
    """Fit what has no line yet, the quick ones first."""
    satcat, decayed = read_satcat(args.shared / SATCAT), read_satcat(args.shared / DECAYED)
    families = family_columns(pl.concat([satcat, decayed])).head(len(satcat))
    catalog = join_elsets(satcat, read_gp(args.shared / ELSETS))
    frame = catalog.hstack(families).filter(pl.col(TARGET) != "UNKNOWN")
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
    forward = forward_parts(catalog.sample(3000, seed=0) if args.short else catalog, decayed)
    for model in (*PEERS, OURS):
        for contexts in ((WHOLE, STREAM), (ALONE,)):
            missing = tuple(one for one in contexts if (model, "object", "forward", one) not in done)
            for line in forward_lines(model, forward, missing, args.short) if missing else ():
                append_line(file, {"model": model, "task": "object", "split": "forward"} | line)


def used_columns(frame: pl.DataFrame, task: str, family: list[str]) -> list[str]:
    """Features of a task with some family columns; of the orbit alone, sizes of siblings are none either."""
    left_out = (TARGET, *((*NO_ORBIT, *_SIZES) if task == "orbit" else ()))
    names = SPACE.features_among([name for name in frame.columns if name not in left_out])
    names = [name for name in names if not name.startswith("FAMILY_") or name in family]
    return [name for name in names if frame[name].null_count() < len(frame)]


def fitted(
    model: str, frame: pl.DataFrame, used: list[str], train: NDArray[np.intp], test: NDArray[np.intp], short: bool
) -> dict[str, float]:
    """Scores of a model on the test rows: macro-F1, log-loss [nats], payloads called debris; seconds of the fit."""
    y, X = frame[TARGET].to_numpy(), frame.select(used)
    start = time.perf_counter()
    clf: DDCLClassifier | Trees
    if model == OURS:
        clf = ours(short, family=None)
        clf.fit(X[train], y[train], groups=launch_of(frame[train]).to_numpy())
    else:
        clf = lightgbm(0).fit(X[train], y[train])
    seconds = time.perf_counter() - start
    return scores(y[test], clf.predict_proba(X[test]), clf.classes_) | {"seconds": round(seconds, 1)}


def ours(short: bool, **settings: str | None) -> DDCLClassifier:
    """Our classifier with its defaults, or a small one."""
    small = {"max_epochs": 2, "d_token": 16, "augmented_share": 0.0} if short else {}
    return DDCLClassifier(random_state=0, **settings, **small)


def scores(y: NDArray[np.object_], probability: NDArray[np.float64], classes: NDArray[np.object_]) -> dict[str, float]:
    """Macro-F1, log-loss [nats] and number of payloads called debris."""
    said = classes[probability.argmax(axis=1)]
    return {
        "macro_f1": float(f1_score(y, said, average="macro")),
        "log_loss": float(log_loss(y, probability, labels=classes)),
        "payloads_called_debris": int(((y == "PAYLOAD") & (said == "DEBRIS")).sum()),
    }


class Forward(NamedTuple):
    """A catalog as it was before its newest launches, and what they brought.

    Attributes
    ----------
    whole, older : polars.DataFrame
        The catalog with its decayed objects; without the newest launches.
    train, new : polars.DataFrame
        Objects in orbit of known class: of the older launches, of the newest ones.
    """

    whole: pl.DataFrame
    older: pl.DataFrame
    train: pl.DataFrame
    new: pl.DataFrame


def forward_parts(catalog: pl.DataFrame, decayed: pl.DataFrame) -> Forward:
    """Hold the newest launches back; objects without a designator are of none of them."""
    catalog = catalog.with_columns(launch_of(catalog).alias("launch"))
    whole = pl.concat([catalog, decayed.with_columns(launch_of(decayed).alias("launch"))], how="diagonal")
    has_launch = ~pl.col("launch").str.starts_with("NORAD ")
    known = pl.col(TARGET) != "UNKNOWN"
    # A designator begins with the year and the number of the launch in it, so their order is that of time.
    launches = catalog.filter(known, has_launch)["launch"].unique().sort()
    is_new = has_launch & (pl.col("launch") >= launches[-max(round(NEWEST * len(launches)), 1)])
    parts = (whole, whole.filter(~is_new), catalog.filter(known, ~is_new), catalog.filter(known, is_new))
    return Forward(*(part.drop("launch") for part in parts))


def forward_lines(model: str, forward: Forward, contexts: tuple[str, ...], short: bool) -> Iterator[dict[str, Any]]:
    """Scores of one fit on the new objects, a line a context."""
    start = time.perf_counter()
    sees_families = ALONE not in contexts
    if model == OURS:
        answers = our_answers(forward, sees_families, short)
    else:
        answers = peer_answers(PEERS[model](0), forward, sees_families)
    seconds = round(time.perf_counter() - start, 1)
    for context in contexts:
        probability, classes = answers(context)
        line = scores(forward.new[TARGET].to_numpy(), probability, classes)
        yield {"columns": context} | line | {"n_new": len(forward.new), "seconds": seconds}


Answers = Callable[[str], tuple[NDArray[np.float64], NDArray[Any]]]


def our_answers(forward: Forward, sees_families: bool, short: bool) -> Answers:
    """Our classifier, fitted: probabilities of the new objects in a context, and the classes."""
    clf = ours(short, family="auto" if sees_families else None)
    clf.fit_with_checkpoint(forward.train, catalog=forward.older)
    return lambda context: (
        clf.predict_proba(forward.new, catalog=forward.whole if context == WHOLE else None),
        clf.classes_,
    )


def peer_answers(peer: Trees, forward: Forward, sees_families: bool) -> Answers:
    """The same of a peer, on the same columns."""
    older = Families.count(forward.older)
    train = forward.train.hstack(older.columns(forward.train))
    used = used_columns(train, "object", list(Families.NAMES) if sees_families else [])
    peer.fit(train.select(used), train[TARGET].to_numpy())

    def answers(context: str) -> tuple[NDArray[np.float64], NDArray[Any]]:
        families = Families.count(forward.whole) if context == WHOLE else older
        new = forward.new.hstack(families.columns(forward.new))
        return peer.predict_proba(new.select(used)), peer.classes_

    return answers


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
    text = ["# What the siblings of a launch are worth", "", _paragraph(2), ""]
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
    text += forward_table(lines)
    packages = ", ".join(f"{name} {version(name)}" for name in ("ddcl-tab", "lightgbm", "polars", "scikit-learn"))
    text += ["Means and standard deviations over the folds or cuts that are done; payloads called debris in each.", ""]
    text += [f"`{command}`, one thread, seed 0, Python {platform.python_version()}, {packages}."]
    (out / REPORT).write_text("\n".join(text) + "\n")


def _paragraph(n: int) -> str:
    return str(__doc__).split("\n\n")[n].replace("\n", " ")


def forward_table(lines: list[dict[str, Any]]) -> list[str]:
    """The section about the newest launches."""
    here = [line for line in lines if line["split"] == "forward"]
    if not here:
        return []
    text = ["## Forward: the newest tenth of the launches", "", _paragraph(3), ""]
    text += [f"{here[0]['n_new']} objects in orbit, by what a model knows of each:", ""]
    text += ["| model | knows | macro-F1 | log-loss | payloads called debris |", "|---|---|---|---|---|"]
    for model, context in ((model, context) for model in (*PEERS, OURS) for context in (ALONE, STREAM, WHOLE)):
        for line in (line for line in here if (line["model"], line["columns"]) == (model, context)):
            cells = f"{line['macro_f1']:.3f} | {line['log_loss']:.3f} | {line['payloads_called_debris']}"
            text.append(f"| {model} | {context} | {cells} |")
    return [*text, ""]


def main(argv: list[str] | None = None) -> None:
    """Run the study from a shell."""
    run(
        __file__,
        "family",
        parser(__doc__).parse_args(argv),
        compute,
        report,
        (LeakWarning, FamilyContextWarning, UserWarning),
    )


if __name__ == "__main__":
    main()
