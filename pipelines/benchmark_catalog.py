"""Accuracy benchmark: all models side by side on the real catalog, same rows, columns and folds; one command.

    python pipelines/benchmark_catalog.py ../shared/data pipelines/results/ --jobs 2

Every fit appends one line to ``OUT/benchmark_catalog/data.jsonl``. A second call computes only what is missing there,
and calls at the same time share the work. The tables are written anew at the end of each. ``--short`` runs all of it on
the synthetic catalog of ``data/`` with few rows and epochs, to see that it works; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import shlex
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from joblib import Parallel, delayed
from peers import MODELS, OURS
from peers.paired import N_DRAWS, Judged, keep, kept, paired_difference
from peers.tables import FIGURES, markdown, summarise
from peers.tasks import TASKS, Fold, make_fold, n_folds
from study_tools import LINES, REPORT, commit, study_folder
from threadpoolctl import threadpool_limits

from ddcl_tab.app._catalog import load_catalog
from ddcl_tab.app._evaluation import score
from ddcl_tab.app._tables import SYNTHETIC_NOTE
from ddcl_tab.estimators._validation import RENAMED
from ddcl_tab.space._families import Families
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.training._certificate import in_use

CATALOG = "satcat/spacetrack_satcat_current_2025-03-16.json.gz"
DECAYED = "satcat/spacetrack_satcat_decayed_2025-03-16.json.gz"
ELSETS = "elsets/spacetrack_3le_2025-03-15.txt.gz"
SYNTHETIC = Path(__file__).resolve().parents[1] / "data" / "synthetic_satcat.csv.gz"
#: Rows of the synthetic catalog that the short form takes.
SHORT_ROWS = 1200
PACKAGES = (
    "ddcl-tab", "torch", "scikit-learn", "skorch", "numpy", "polars", "pandas", "rtdl_num_embeddings",
    "rtdl_revisiting_models", "tabm", "lightgbm", "xgboost-cpu", "catboost", "interpret-core",
)  # fmt: skip
#: What the paired bootstrap found, beside the tables.
PAIRED = "paired.json"
#: Table that a line belongs to. A table of tuned models, all with one budget, will be another.
DEFAULTS = "defaults"


class Job(NamedTuple):
    """One model on one fold."""

    task: str
    fold: int
    model: str
    settings: dict[str, Any]

    def describe(self) -> dict[str, Any]:
        """What a line of the results says of the job; settings as text, for some are objects."""
        settings = {name: str(value) for name, value in sorted(self.settings.items())}
        return {"table": DEFAULTS, "task": self.task, "fold": self.fold, "model": self.model, "settings": settings}


def key_of(line: dict[str, Any]) -> str:
    """The same for lines that should hold the same figures: a job is done again once its settings change.

    Old lines keep the names that settings had; what means the same gives the same key.
    """
    # Families are columns of the task here, counted for all models alike.
    settings = {RENAMED.get(name, name): v for name, v in line["settings"].items() if not name.startswith("family")}
    if settings.get("target") == "OBJECT_TYPE":  # the default that the domain has now
        settings["target"] = "None"
    return json.dumps([*(line[name] for name in ("table", "task", "fold", "model")), settings], sort_keys=True)


def plan(tasks: list[str], models: list[str], n_seeds: int, short: bool) -> list[Job]:
    """All jobs, fold by fold, so that a run that is cut off leaves whole folds to compare."""
    jobs = []
    for number in range(n_seeds):
        for task in tasks:
            for name in models if number < n_folds(task, n_seeds) else []:
                settings = MODELS[name].defaults | (MODELS[name].short if short else {})
                jobs.append(Job(task, number, name, settings))
    return jobs


def read_lines(results: Path) -> dict[str, dict[str, Any]]:
    """Lines of a results file by the key of their job; of failed and repeated ones the last."""
    if not results.exists():
        return {}
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    return {key_of(line): line for line in lines}


def append_line(results: Path, line: dict[str, Any]) -> None:
    """Append in one write, so that lines of several processes never mix."""
    file = os.open(results, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, (json.dumps(line) + "\n").encode())
    finally:
        os.close(file)


@contextmanager
def claim(results: Path, job: Job) -> Iterator[bool]:
    """Whether this process may run the job; the claim ends with the process, however it ends."""
    name = hashlib.sha256(f"{results.resolve()} {key_of(job.describe())}".encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / "ddcl-tab-benchmark"
    folder.mkdir(exist_ok=True)
    with (folder / name).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def run_jobs(results: Path, jobs: list[Job], folds: list[Fold], judged: Path | None = None) -> list[str]:
    """Score one model on folds with the same training part, each unless another process has done so or is about to.

    Parameters
    ----------
    results : Path
        File that gets one line a job.
    jobs : list of Job
        Of one model with one setting.
    folds : list of Fold
        One a job.
    judged : Path, optional
        Folder that keeps what models say of the test rows.

    Returns
    -------
    list of str
        What to tell the reader, one a job that was done.
    """
    fitted: Fitted | None = None
    told = []
    for job, fold in zip(jobs, folds, strict=True):
        with claim(results, job) as mine:
            line = job.describe() | {"commit": commit()}
            if not mine or is_done(read_lines(results).get(key_of(line)), job, judged):
                continue
            try:
                fitted = fitted or fit(job, fold)
                line |= measure(job, fold, fitted, judged)
                said = f"macro-F1 {line['macro_f1']:.3f}, fit {line['fit_seconds']:.0f} s"
            except Exception as error:  # one model that fails must not end a run of hours; the table names it
                line["error"] = said = f"{type(error).__name__}: {error}"
            append_line(results, line | {"versions": versions(), "machine": machine()})
        told.append(f"{job.task}, fold {job.fold}, {job.model}: {said}")
    return told


def has_figures(line: dict[str, Any] | None) -> bool:
    """Whether a line holds figures; a model that failed is tried again."""
    return line is not None and "error" not in line


def is_done(line: dict[str, Any] | None, job: Job, judged: Path | None) -> bool:
    """Whether a job has its figures, and its probabilities where a folder keeps them."""
    return has_figures(line) and (judged is None or file_of(judged, job).exists())


def name_of(job: Job) -> str:
    """Name of what a model said of the test rows; another one once its settings change."""
    return f"{job.task}-{job.fold}-{hashlib.sha256(key_of(job.describe()).encode()).hexdigest()[:12]}"


def file_of(judged: Path, job: Job) -> Path:
    """Where a folder keeps what a model said of the test rows."""
    return judged / f"{name_of(job)}.npz"


class Fitted(NamedTuple):
    """A fitted model and the processor seconds of its fit."""

    model: Any
    seconds: float


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for all libraries, and none of their remarks: the figures say it."""
    n_threads = torch.get_num_threads()
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(n_threads)


def fit(job: Job, fold: Fold) -> Fitted:
    """Fit a model on the training part of a fold."""
    with one_thread():
        model, start = MODELS[job.model].make(fold.number, **job.settings), time.process_time()
        model.fit(fold.X_train, fold.y_train, groups=fold.groups)
        return Fitted(model, time.process_time() - start)


def measure(job: Job, fold: Fold, fitted: Fitted, judged: Path | None = None) -> dict[str, Any]:
    """Figures of a fitted model on the test part of a fold."""
    model = fitted.model
    with one_thread():
        start = time.process_time()
        probability = model.predict_proba(fold.X_test)
        seconds = time.process_time() - start
        notes = soundness(model, fold) if job.model == OURS else {}
    if judged is not None:
        keep(file_of(judged, job), Judged(fold.y_test.astype(str), fold.unit, probability, model.classes_.astype(str)))
    rest = fold.ordinary
    return {
        "n_train": len(fold.y_train),
        "n_test": len(fold.y_test),
        "n_ordinary": int(rest.sum()),
        "columns": fold.X_train.columns,
        **figures(fold.y_test, probability, model.classes_),
        "ordinary": figures(fold.y_test[rest], probability[rest], model.classes_),
        "fit_seconds": fitted.seconds,
        "predict_seconds": seconds,
        **notes,
    }


def figures(y: Any, probability: Any, classes: Any) -> dict[str, float]:
    """The figures of the tables."""
    scores = score(y, probability, classes)
    return {name: scores[name] for name in FIGURES}


def soundness(model: Any, fold: Fold) -> dict[str, Any]:
    """What only prototypes have: how many are in use, and their effective number per row of the test part."""
    share, q = np.array(model.prototypes_["share"]), model.transform(fold.X_test)
    entropy = -(q * np.log(np.clip(q, 1e-300, None))).sum(axis=1)
    return {
        "n_prototypes": len(share),
        "prototypes_in_use": int(in_use(share).sum()),
        "prototypes_dead": model.history_[model.best_epoch_ - 1]["dead_prototypes"],
        "effective_prototypes": float(np.exp(entropy).mean()),
        "stable": model.stability_.is_stable,
        "epochs": model.n_iter_,
    }


def versions() -> dict[str, str]:
    """Of Python and of the packages that are there."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """Processor and number of cores."""
    info = Path("/proc/cpuinfo")
    named = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return f"{named[0].split(': ')[1] if named else platform.machine()}, {os.cpu_count()} cores"


def load(data: Path, short: bool) -> pl.DataFrame:
    """The catalog with its element sets, or some rows of the synthetic one, which has none; with family columns."""
    catalog = (
        read_satcat(SYNTHETIC).sample(SHORT_ROWS, seed=0) if short else load_catalog(data / CATALOG, data / ELSETS)
    )
    counted = Families.count(catalog) if short else Families.count(catalog).including(read_satcat(data / DECAYED))
    return catalog.hstack(counted.columns(catalog))


def compare(file: Path, judged: Path, jobs: list[Job]) -> None:
    """Compare ours with every peer whose probabilities are kept for the same folds, and write what was found.

    Peers that were trained on copies without late columns are compared with ours without copies: it hides them itself.
    """
    found = json.loads(file.read_text()) if file.exists() else {}
    there: dict[tuple[str, str], dict[int, Job]] = {}
    for job in jobs:
        if file_of(judged, job).exists():
            there.setdefault((job.task, job.model), {})[job.fold] = job
    for (task, model), theirs in there.items():
        ours = there.get((task, OURS)) or there.get((task.removesuffix("-copies"), OURS), {})
        if model != OURS and ours and ours.keys() <= theirs.keys():
            pairs = [[ours[fold], theirs[fold]] for fold in sorted(ours)]
            said = [[kept(file_of(judged, job)) for job in pair] for pair in pairs]
            found.setdefault(task, {})[model] = {
                "folds": sorted(ours),
                "draws": N_DRAWS,
                "judged": [name_of(job) for pair in pairs for job in pair],
                "commit": commit(),
                "figures": paired_difference(*map(list, zip(*said, strict=True))),
            }
    if found:
        file.write_text(json.dumps(found, indent=2) + "\n")


def comparisons(file: Path, jobs: list[Job]) -> dict[str, dict[str, Any]]:
    """What :func:`compare` found of jobs, by task and peer; comparisons of older settings are passed over."""
    found = json.loads(file.read_text()) if file.exists() else {}
    names = {name_of(job) for job in jobs}
    current = {
        task: {peer: part for peer, part in peers.items() if names.issuperset(part["judged"])}
        for task, peers in found.items()
    }
    return {task: peers for task, peers in current.items() if peers}


def write_tables(folder: Path, jobs: list[Job], notes: list[str]) -> None:
    """Write the tables of all lines that jobs would make; lines of older settings are passed over."""
    keys = {key_of(job.describe()) for job in jobs}
    lines = [line for key, line in read_lines(folder / LINES).items() if key in keys]
    done = [line for line in lines if has_figures(line)]
    machines = sorted({line["machine"] for line in done})
    found = {", ".join(f"{k} {v}" for k, v in line["versions"].items()) for line in done}
    header = [*notes, f"Machine: {'; '.join(machines)}; one thread a fit. Versions: {'; or '.join(sorted(found))}."]
    summary = summarise(done)
    failures = [line for line in lines if not has_figures(line)]
    paired = comparisons(folder / PAIRED, jobs)
    (folder / REPORT).write_text(markdown(summary, header, failures, paired))
    tables = {"header": header, "table": DEFAULTS, "tasks": summary}
    (folder / "tables.json").write_text(json.dumps(tables, indent=2) + "\n")


def main(arguments: list[str]) -> None:
    """Compute what is missing and write the tables."""
    args = parse(arguments)
    n_seeds = 1 if args.short else args.seeds
    absent = {model: MODELS[model].missing() for model in args.models if MODELS[model].missing()}
    skipped = [f"{model} is left out: {', '.join(packages)} not installed." for model, packages in absent.items()]
    print(*skipped, sep="\n", end="\n" if skipped else "")
    folder = study_folder(args.out, "benchmark_catalog", args.short)
    results = folder / LINES
    done = read_lines(results)
    todo = [
        job
        for job in plan(args.tasks, [model for model in args.models if model not in absent], n_seeds, args.short)
        if not is_done(done.get(key_of(job.describe())), job, args.judged)
    ]
    print(f"{len(todo)} lines to make", flush=True)
    if todo:
        catalog = load(args.data, args.short)
        fits: dict[tuple[str, int, str], list[Job]] = {}  # hidden forms differ in their test part alone
        for job in todo:
            fits.setdefault((job.task.removesuffix("-hidden"), job.fold, job.model), []).append(job)
        work = (
            delayed(run_jobs)(results, jobs, [make_fold(catalog, job.task, job.fold) for job in jobs], args.judged)
            for jobs in fits.values()
        )
        for told in Parallel(args.jobs, return_as="generator_unordered", pre_dispatch=args.jobs)(work):
            print(*told or ["done by another process"], sep="\n", flush=True)
    notes = [
        f"Made by `{shlex.join(['python', 'pipelines/benchmark_catalog.py', *arguments])}`; seeds 0 to {n_seeds - 1}."
    ]
    if args.short:
        notes.append(f"{SYNTHETIC_NOTE}. Few rows and epochs: this shows that the command works, nothing else.")
    every = plan(list(TASKS), list(MODELS), n_seeds, args.short)
    if args.judged is not None:
        compare(folder / PAIRED, args.judged, every)
    write_tables(folder, every, notes + skipped)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the real catalogs; --short does not read it")
    parser.add_argument("out", type=Path, help="folder of the results")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK", help=", ".join(TASKS))
    parser.add_argument(
        "--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="MODEL", help=", ".join(MODELS)
    )
    parser.add_argument("--seeds", type=int, default=5, help="folds, or seeds where a split has no folds")
    parser.add_argument("--jobs", type=int, default=1, help="fits at the same time")
    parser.add_argument(
        "--judged",
        type=Path,
        metavar="FOLDER",
        help="keep what models say of the test rows here, make fits again that have no file, and compare ours with "
        "each peer by a paired bootstrap over the launches",
    )
    parser.add_argument("--short", action="store_true", help="the synthetic catalog, one fold, few rows and epochs")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
