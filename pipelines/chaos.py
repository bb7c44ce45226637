"""Chaos check of training: it is killed, interrupted and runs out of disk, and must lose nothing; one command.

    make chaos        # or: python pipelines/chaos.py pipelines/results --kills 30

`ddcl-tab train` on the synthetic catalog of data/, in real processes. SIGKILL comes at random moments, right after a
checkpoint was renamed, or while one is being written; the training is resumed until it ends. SIGINT must leave a model
and exit 130, a full disk one line and exit 2. Every training that ends is compared with an uninterrupted one, bit for
bit: weights, history, certificate, metrics, predictions, prototypes; only clocks differ. Exits 1 if anything was lost.

With --real SATCAT ELSETS the cost of a checkpoint is measured on a real catalog instead of the synthetic one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import statistics
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faults import (
    Job,
    after_checkpoints,
    after_seconds,
    can_mount,
    differences,
    epochs_saved,
    full,
    in_a_write,
    leftovers,
    page_size,
    run,
    small_disk,
)
from study_tools import REPORT, commit, study_folder

from ddcl_tab import DDCLClassifier
from ddcl_tab.app._catalog import load_catalog
from ddcl_tab.app._train import MODEL_FILE
from ddcl_tab.errors import LeakWarning
from ddcl_tab.training import _net as training
from ddcl_tab.training._checkpoint import Checkpoint, CheckpointFile

CATALOG = Path(__file__).resolve().parents[1] / "data" / "synthetic_satcat.csv.gz"
#: Small, so that a training takes seconds; with dropout, whose generator has to come back, too.
EPOCHS = 24
CONFIG = f"""
n_prototypes = 6
d_token = 16
n_heads = 2
n_blocks = 1
max_epochs = {EPOCHS}
patience = {EPOCHS}
lr = 0.005
dropout = 0.1
"""
NOTHING_LOST = """Nothing was lost: after every kill the checkpoint was whole and not older than before, after every
full disk it was as before (one line on standard error, exit code 2), and every SIGINT ended with exit code 130."""
KILLS = ("at a random moment", "after a checkpoint", "while a checkpoint is written")


class Book:
    """What was done and what was lost."""

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.losses: list[str] = []
        self.finished, self.seconds = 0, 0.0

    def expect(self, holds: bool, loss: str) -> None:
        """Note a loss unless something holds."""
        if not holds:
            self.losses.append(loss)
            print("LOST:", loss, flush=True)

    def finish(self, job: Job, reference: Path) -> None:
        """Run a training to its end and compare it with the uninterrupted one."""
        ended = run(job, resume=True)
        self.expect(ended.code == 0, f"a resumed training ended with {ended.code}: {ended.said[-300:]}")
        self.compare(job, reference)

    def compare(self, job: Job, reference: Path) -> None:
        """Compare a finished training with the uninterrupted one, and begin another."""
        self.finished += 1
        found = differences(job.out, reference)
        self.expect(not found, f"a resumed training differs in {', '.join(found)}")
        self.expect(not job.checkpoint.exists() and not leftovers(job.out), "a finished training left files behind")
        shutil.rmtree(job.out, ignore_errors=True)  # of a mounted folder only what is in it


def kill(job: Job, reference: Path, n: int, rng: np.random.Generator, book: Book) -> None:
    """Kill trainings ``n`` times; whatever is killed is resumed, and what ends is compared."""
    for i in range(n):
        how, saved = KILLS[i % len(KILLS)], epochs_saved(job)
        moment = {
            KILLS[0]: lambda: after_seconds(rng.uniform(0.0, book.seconds)),
            KILLS[1]: lambda: after_checkpoints(job, int(rng.integers(1, 6))),
            KILLS[2]: lambda: in_a_write(job, int(rng.integers(1, 6))),
        }[how]()
        ended = run(job, resume=True, moment=moment)
        if not ended.struck:  # it was done before the moment came
            book.expect(ended.code == 0, f"a resumed training ended with {ended.code}: {ended.said[-300:]}")
            book.compare(job, reference)
            continue
        book.faults[f"SIGKILL {how}"] += 1
        book.faults["SIGKILLs that left a half-written file, of all kinds"] += bool(leftovers(job.out))
        now = _saved_or_none(job, book)
        print(f"kill {i + 1}/{n} {how}: {now} epochs saved", flush=True)
        if saved and not job.checkpoint.exists():  # killed in its last instant, with all results written
            book.faults["SIGKILLs when all was done, of all kinds"] += 1
            book.compare(job, reference)
            continue
        book.expect(now is None or now >= saved, f"the checkpoint went back from epoch {saved} to {now}")
    book.finish(job, reference)


def _saved_or_none(job: Job, book: Book) -> int | None:
    try:
        return epochs_saved(job)
    except Exception as error:
        book.expect(False, f"a checkpoint is not whole: {error}")
        return None


def interrupt(job: Job, reference: Path, n: int, rng: np.random.Generator, book: Book) -> None:
    """Press Ctrl-C ``n`` times, early and late in trainings, and go on."""
    for i in range(n):
        shutil.rmtree(job.out, ignore_errors=True)
        after = after_checkpoints(job, int(rng.integers(1, EPOCHS - 2)), delay=rng.uniform(0.0, 0.2))
        ended = run(job, resume=False, sign=signal.SIGINT, moment=after)
        book.faults["SIGINT"] += 1
        book.expect(ended.code == 130, f"SIGINT ended with {ended.code}: {ended.said[-300:]}")
        last = ended.said.splitlines()[-1]
        if "the model of epoch" in last:  # in the last instants of a run training is over and no model written yet
            verdict = DDCLClassifier.load(job.out / MODEL_FILE).stability_.verdict
            book.expect(verdict.startswith("interrupted in epoch"), f"an interrupted model says {verdict!r}")
        print(f"interrupt {i + 1}/{n}: {last}", flush=True)
        book.finish(job, reference)


def fill_disk(job: Job, reference: Path, n: int, rng: np.random.Generator, book: Book) -> None:
    """Let a checkpoint, and then the model, meet a full disk."""
    mount = can_mount()
    for i in range(n):
        out = job.out.parent / f"disk{i}"
        there = job._replace(out=out / "run")
        if mount:
            with small_disk(out, 4 << 20):
                _meet_full_disk(there, rng, book, mount=True, late=i == n - 1)
                book.finish(there, reference)
        else:
            _meet_full_disk(there, rng, book, mount=False, late=i == n - 1)
            book.finish(there, reference)


def _meet_full_disk(job: Job, rng: np.random.Generator, book: Book, *, mount: bool, late: bool) -> None:
    run(job, resume=False, moment=after_checkpoints(job, EPOCHS if late else int(rng.integers(1, EPOCHS - 2))))
    before, saved = job.checkpoint.read_bytes(), epochs_saved(job)
    room = 0 if late else int(rng.integers(0, len(before)) // page_size() * page_size())
    if mount:
        with full(job.out, room):
            ended = run(job, resume=True)
    else:
        ended = run(job, resume=True, max_file=max(room, 1))
    book.faults["disk full (tmpfs)" if mount else "disk full (RLIMIT_FSIZE)"] += 1
    said = [line for line in ended.said.splitlines() if line.startswith("Error: ")]
    book.expect(ended.code == 2 and len(said) == 1, f"a full disk ended with {ended.code}: {ended.said[-300:]}")
    book.expect(job.checkpoint.read_bytes() == before, "a full disk changed the checkpoint")
    book.expect(not leftovers(job.out), "a full disk left half a file behind")
    print(f"full disk with {saved} epochs saved and {room} bytes left: {said[-1:]}", flush=True)


def measure_cost(catalog: Path, elsets: Path | None, folder: Path) -> dict[str, Any]:
    """Seconds of a checkpoint beside those of an epoch, with all settings as they are, over six epochs."""
    frame = load_catalog(catalog, elsets)
    seconds, ends, size = [], [], []

    class Timed(Checkpoint):
        def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
            start = time.perf_counter()
            super().on_epoch_end(net, **kwargs)
            ends.append(time.perf_counter())
            seconds.append(ends[-1] - start)
            size.append(self.file.path.stat().st_size)

    clf = DDCLClassifier(max_epochs=6, random_state=0, verbose=0)
    ours, training.Checkpoint = training.Checkpoint, Timed  # type: ignore[misc]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LeakWarning)
            clf.fit_with_checkpoint(frame, checkpoint=CheckpointFile(folder / "cost.ddcl"))
    finally:
        training.Checkpoint = ours  # type: ignore[misc]
    epoch = statistics.median(np.diff(ends))  # whole epochs: steps, validation, certificate, checkpoint
    written = statistics.median(seconds)
    return {
        "rows": len(frame) - clf.n_unlabelled_,
        "epoch_seconds": epoch,
        "checkpoint_seconds": written,
        "share": written / epoch,
        "checkpoint_bytes": max(size),
    }


def markdown(result: dict[str, Any]) -> str:
    """The page of results."""
    rows = "\n".join(f"| {name} | {count} |" for name, count in result["faults"].items())
    cost = result["cost"]
    lost = "\n".join(f"- {loss}" for loss in result["losses"]) or NOTHING_LOST
    return f"""# Trainings that are killed, interrupted and run out of disk

`make chaos`: `ddcl-tab train` on {result["inputs"]["rows"]} synthetic objects, {result["inputs"]["epochs"]} epochs with
teacher and dropout, in real processes; seed {result["inputs"]["seed"]}.

| fault | times |
|---|---|
{rows}

{result["finished"]} trainings were resumed until they ended; {result["equal"]} of them ended with the bits of the
uninterrupted one: weights, history, certificate, metrics, predictions on held-out rows and prototypes (clocks aside).

{lost}

A checkpoint takes {1e3 * cost["checkpoint_seconds"]:.0f} ms of an epoch of {cost["epoch_seconds"]:.2f} s
({100 * cost["share"]:.1f} %), {cost["checkpoint_bytes"] / 1e6:.1f} MB: default settings, {cost["rows"]} rows of
{cost["catalog"]}.
"""


def main(arguments: list[str]) -> int:
    """Run everything and write ``chaos/data.json`` and ``chaos/report.md``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of all results")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", type=Path, nargs=2, metavar=("SATCAT", "ELSETS"), default=(CATALOG, None))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rng, book = np.random.default_rng(options.seed), Book()
    commit()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.toml").write_text(CONFIG)
        job = Job(CATALOG, folder / "config.toml", folder / "run")
        whole = job._replace(out=folder / "whole")
        start = time.perf_counter()
        ended = run(whole, resume=False)
        book.seconds = time.perf_counter() - start
        book.expect(ended.code == 0, f"the uninterrupted training failed: {ended.said}")
        kill(job, whole.out, options.kills, rng, book)
        interrupt(job, whole.out, max(1, options.kills // 6), rng, book)
        fill_disk(job, whole.out, max(1, options.kills // 6), rng, book)
        cost = measure_cost(*options.real, folder) | {"catalog": options.real[0].name}
        metrics = json.loads((whole.out / "metrics.json").read_text())
    differing = sum("differs" in loss for loss in book.losses)
    result = {
        "inputs": {
            "catalog": CATALOG.name,
            "rows": metrics["n_train"] + metrics["n_test"],
            "epochs": metrics["epochs"],
            "seed": options.seed,
            "commit": commit(),
            "seconds_uninterrupted": book.seconds,
            "versions": metrics["versions"],
        },
        "faults": dict(book.faults),
        "finished": book.finished,
        "equal": book.finished - differing,
        "losses": book.losses,
        "cost": cost,
    }
    folder = study_folder(options.results, "chaos")
    (folder / "data.json").write_text(json.dumps(result, indent=2) + "\n")
    (folder / REPORT).write_text(markdown(result))
    print(markdown(result))
    return 1 if book.losses else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
