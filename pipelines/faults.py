"""Faults for a real `ddcl-tab train` process: signals at chosen moments, a full disk; and what the training lost."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ddcl_tab._files import read_model
from ddcl_tab.app._train import CHECKPOINT_FILE, HELD_OUT_FILE, METRICS_FILE, MODEL_FILE, PROTOTYPES_FILE
from ddcl_tab.training._checkpoint import CheckpointFile

#: What a clock measured differs between two runs and is left out of comparisons.
CLOCK = {"dur", "certify_seconds", "fit_seconds", "resumed_after_epoch"}
#: Longest that a strike waits for its moment.
PATIENCE_SECONDS = 300.0


class Job(NamedTuple):
    """One ``ddcl-tab train`` command."""

    catalog: Path
    config: Path
    out: Path

    @property
    def checkpoint(self) -> Path:
        """Its checkpoint."""
        return self.out / CHECKPOINT_FILE


class Ended(NamedTuple):
    """A process that ended: its exit code (negative: the signal), what it said on standard error, by itself or not."""

    code: int
    said: str
    struck: bool


#: Says whether now is the moment to strike.
Moment = Callable[[], bool]


def run(
    job: Job, *, resume: bool, sign: int = signal.SIGKILL, moment: Moment | None = None, max_file: int | None = None
) -> Ended:
    """Run a training in a process of its own.

    Parameters
    ----------
    job : Job
    resume : bool
    sign : int, default=SIGKILL
        Signal sent at ``moment``.
    moment : callable, optional
        Asked over and over; without one the process runs to its end.
    max_file : int, optional
        Bytes of the largest file that it may write (RLIMIT_FSIZE).
    """
    # Set in the process itself: a hook between fork and exec is not safe beside threads. Shells have what they start in
    # the background ignore SIGINT.
    prelude = "import resource, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    if max_file is not None:
        prelude += f"resource.setrlimit(resource.RLIMIT_FSIZE, ({max_file}, {max_file})); "
    command = prelude + "from ddcl_tab.cli import main; main()"
    words = [sys.executable, "-c", command, "train", job.catalog, "--config", job.config, "--out", job.out]
    # The process may fill its own pipe while nobody reads: standard error is small, standard output goes nowhere.
    process = subprocess.Popen(
        [str(word) for word in words] + ["--resume"] * resume, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    struck = moment is not None and _wait_for(moment, process)
    if struck:
        process.send_signal(sign)
    said = process.communicate()[1].decode()
    return Ended(process.returncode, said, struck)


def _wait_for(moment: Moment, process: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < end:
        if moment():
            return True
        time.sleep(0.0002)
    return False


def after_seconds(seconds: float) -> Moment:
    """Moment that comes after a time, counted from now."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def after_checkpoints(job: Job, n: int, delay: float = 0.0) -> Moment:
    """Moment that comes when the checkpoint has been replaced ``n`` times, and a delay is over."""
    seen, due = [_identity(job.checkpoint)], [0.0]

    def moment() -> bool:
        now = _identity(job.checkpoint)
        if now is not None and now != seen[-1]:
            seen.append(now)
            due[0] = time.monotonic() + delay
        return len(seen) > n and time.monotonic() >= due[0]

    return moment


def in_a_write(job: Job, n: int) -> Moment:
    """Moment when the ``n``-th temporary file of a checkpoint has just appeared."""
    seen: set[str] = set(leftovers(job.out))
    start = len(seen)

    def moment() -> bool:
        seen.update(leftovers(job.out))
        return len(seen) - start >= n

    return moment


def leftovers(folder: Path) -> list[str]:
    """Temporary files in a folder."""
    return [path.name for path in folder.iterdir() if path.suffix == ".tmp"] if folder.is_dir() else []


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def epochs_saved(job: Job) -> int:
    """Epochs in the checkpoint, 0 without one; an error where it is not whole."""
    return CheckpointFile(job.checkpoint, resume=True).epoch


def differences(left: Path, right: Path) -> list[str]:
    """Outputs of two trainings that are not the same bits, clocks aside."""
    models = [read_model(folder / MODEL_FILE) for folder in (left, right)]
    (state, weights, _), (other_state, other_weights, _) = models
    found = [name for name in sorted(weights | other_weights) if not _same_bits(name, weights, other_weights)]
    if _without_clock(state) != _without_clock(other_state):
        found.append("state of the model")
    if len({json.dumps(_without_clock(json.loads((f / METRICS_FILE).read_text()))) for f in (left, right)}) > 1:
        found.append(METRICS_FILE)
    return found + [
        name for name in (PROTOTYPES_FILE, HELD_OUT_FILE) if (left / name).read_bytes() != (right / name).read_bytes()
    ]


def _same_bits(name: str, left: dict[str, Any], right: dict[str, Any]) -> bool:
    if name not in left or name not in right:
        return False
    return left[name].dtype == right[name].dtype and bool(np.array_equal(left[name], right[name]))


def _without_clock(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_clock(entry) for key, entry in value.items() if key not in CLOCK}
    return [_without_clock(entry) for entry in value] if isinstance(value, list) else value


def can_mount() -> bool:
    """Whether this process may mount a file system: root with that right, on Linux."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return False
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]  # gone with its process
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@contextmanager
def small_disk(folder: Path, n_bytes: int) -> Iterator[None]:
    """A file system of ``n_bytes`` in memory at a folder, which is made."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def full(folder: Path, left: int) -> Iterator[None]:
    """The disk of a folder filled up to ``left`` bytes; empty again afterwards."""
    filler = folder / "filler"
    status = os.statvfs(folder)
    filler.write_bytes(bytes(max(0, status.f_bavail * status.f_frsize - left)))
    try:
        yield
    finally:
        filler.unlink()


def page_size() -> int:
    """Bytes in which a file system in memory counts."""
    return resource.getpagesize()
