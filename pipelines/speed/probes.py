"""Measurements that need a process of their own: memory, start-up, prediction of a file in a stream, ``torch.compile``.

Peaks of memory come from ``/proc``, so this runs on Linux.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import torch

from ddcl_tab import DDCLClassifier
from ddcl_tab.errors import LeakWarning, StabilityWarning
from ddcl_tab.nn import assign
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.training._rows import predict_rows
from speed.contenders import (
    BATCH,
    CPU,
    DEFAULTS,
    Shape,
    make_network,
    make_objective,
    make_rows,
    seconds,
    train_ours,
)
from speed.readouts import readout_alone

SYNTHETIC = Path(__file__).resolve().parents[2] / "data" / "synthetic_satcat.csv.gz"
#: Rows that the stream holds at a time, in reading and in writing.
STREAM_ROWS = 50_000
MIB = 1 << 20
#: Seconds on the wall after which an attempt to compile is given up.
COMPILE_LIMIT = 420


class Usage(NamedTuple):
    """What a process used, processor seconds and seconds on the wall, and what it printed.

    Not its memory: the peak that the system tells of an ended process is no smaller than what its parent held.
    """

    processor: float
    wall: float
    printed: str


def run(command: list[str], limit: float | None = None) -> Usage:
    """Run a command with one thread and measure it.

    Raises
    ------
    RuntimeError
        The command failed, or took longer than ``limit`` seconds; with the end of what it said.
    """
    path = os.pathsep.join([str(Path(__file__).resolve().parents[1]), *sys.path])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "PYTHONPATH": path}
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=out, stderr=said, env=environment, start_new_session=True)
        while True:
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if limit is not None and time.perf_counter() - start > limit:
                os.killpg(process.pid, signal.SIGKILL)  # the compiler's helpers too
                process.wait()
                raise RuntimeError(f"not done after {limit:.0f} s")
            time.sleep(0.005)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        out.seek(0), said.seek(0)
        if process.returncode:
            raise RuntimeError(said.read()[-2000:])
        return Usage(used.ru_utime + used.ru_stime, wall, out.read())


def start_up() -> dict[str, Callable[[], Usage]]:
    """Commands whose start is timed."""
    commands = {
        "python": "pass",
        "import torch": "import torch",
        "import ddcl_tab": "import ddcl_tab",
        "ddcl-tab --help": "from ddcl_tab.cli import main; main(['--help'])",
    }
    return {name: lambda code=code: run([sys.executable, "-c", code]) for name, code in commands.items()}


def _status(name: str) -> float:
    """A line of the process's own status, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024 / MIB


def _rise(what: str, shape: Shape) -> float:
    """MiB by which the peak of the work stands over the memory before it, its data included."""
    small = shape._replace(n_rows=64)
    train_ours(small, make_rows(small), make_network(small))  # the libraries' own buffers are no part of the work
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    if what == "readout":
        readout_alone(shape.n_rows * shape.n_columns, shape.width, shape.n_prototypes)()
    else:
        rows, network = make_rows(shape), make_network(shape)
        if what == "training":
            train_ours(shape, rows, network)
        else:
            predict_rows(network.eval(), rows.numeric.numpy(), rows.categorical.numpy(), CPU)
    return _status("VmHWM") - before


def memory(points: list[tuple[str, Shape]]) -> list[float]:
    """Rise of memory at each point, each in a fresh process."""
    return json.loads(run([sys.executable, "-m", "speed.probes", "memory", json.dumps(points)]).printed)


def measure_memory(points: list[tuple[str, Shape]]) -> list[float]:
    """What the process of :func:`memory` does: it imports once, and each point is measured in a fork of it."""
    context, risen = multiprocessing.get_context("fork"), []
    torch.optim.AdamW([torch.zeros(1)])  # the first optimiser of a process imports torch's compiler, over a second
    for what, shape in points:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_send_rise, args=(sender, what, shape))
        process.start()
        sender.close()  # so that a process that dies is an error here and no endless wait
        risen.append(receiver.recv())
        process.join()
    return risen


def _send_rise(sender: Any, what: str, shape: Shape) -> None:
    sender.send(_rise(what, shape))


def fit_classifier() -> DDCLClassifier:
    """Default classifier with one epoch on the synthetic catalog: as fast in prediction as one trained well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakWarning)
        warnings.simplefilter("ignore", StabilityWarning)
        # Without families: rows that are drawn again and again are of no launch.
        settings = {"max_epochs": 1, "augmented_share": 0.0, "certify": False, "family": None, "random_state": 0}
        return DDCLClassifier(**settings).fit(read_satcat(SYNTHETIC))


def write_parquet(path: Path, columns: list[str], n_rows: int) -> None:
    """Rows of the synthetic catalog drawn again and again, their numbers moved by a tenth of a percent."""
    catalog, rng = read_satcat(SYNTHETIC).select(columns), np.random.default_rng(0)
    numbers = [name for name in columns if catalog[name].dtype.is_numeric()]
    with pq.ParquetWriter(path, _draw(catalog, numbers, 1, rng).schema) as writer:
        for start in range(0, n_rows, STREAM_ROWS):
            writer.write_table(_draw(catalog, numbers, min(STREAM_ROWS, n_rows - start), rng))


def _draw(catalog: pl.DataFrame, numbers: list[str], n: int, rng: np.random.Generator) -> Any:
    part = catalog[rng.integers(0, len(catalog), n)]
    return part.with_columns(
        part[name].cast(pl.Float64) * (1.0 + 1e-3 * rng.standard_normal(n)) for name in numbers
    ).to_arrow()


def stream(n_rows: int) -> dict[str, float]:
    """Predict a Parquet file of ``n_rows`` in a process of its own; the file and its answers are deleted."""
    with tempfile.TemporaryDirectory() as name:
        model, rows, answers = (Path(name) / part for part in ("model.ddcl", "rows.parquet", "answers.parquet"))
        clf = fit_classifier()
        clf.save(model)
        write_parquet(rows, list(clf.feature_names_in_), n_rows)
        used = run([sys.executable, "-m", "speed.probes", "stream", str(model), str(rows), str(answers)])
        n_answers = pq.ParquetFile(answers).metadata.num_rows
    return json.loads(used.printed) | {"rows": n_answers, "wall_seconds": used.wall}


def predict_stream(model: str, rows: str, answers: str) -> dict[str, float]:
    """What the process of :func:`stream` does; its seconds include reading and writing."""
    clf = DDCLClassifier.load(model)
    start, writer = time.process_time(), None
    for batch in pq.ParquetFile(rows).iter_batches(STREAM_ROWS, use_threads=False):
        probability = clf.predict_proba(pl.from_arrow(batch))
        said = pl.DataFrame(
            {"class": clf.classes_[probability.argmax(axis=1)], "probability": probability.max(axis=1)}
        ).to_arrow()
        writer = writer or pq.ParquetWriter(answers, said.schema)
        writer.write_table(said)
    if writer is not None:
        writer.close()
    return {"seconds": time.process_time() - start, "peak_mib": _status("VmHWM")}


def compiled(shape: Shape) -> dict[str, Any]:
    """What ``torch.compile`` costs and brings, in a process of its own; ``failed`` says why where it does not work."""
    with tempfile.TemporaryDirectory() as cache:
        command = ["env", f"TORCHINDUCTOR_CACHE_DIR={cache}", "TORCHINDUCTOR_COMPILE_THREADS=1", sys.executable]
        try:
            used = run([*command, "-m", "speed.probes", "compile", json.dumps(shape)], COMPILE_LIMIT)
        except RuntimeError as error:
            return {"failed": str(error).strip().splitlines()[-1]}
    return json.loads(used.printed)


def compare_compiled(shape: Shape) -> dict[str, Any]:
    """What the process of :func:`compiled` does: steps of two equal networks in turn, one of them compiled."""
    rows, objective = make_rows(shape), make_objective(shape)
    batches = [rows.batch(slice(start, start + BATCH)) for start in range(0, len(rows), BATCH)]

    def steps_of(compile_it: bool) -> tuple[Callable[[int], None], Callable[[int], Any]]:
        network = make_network(shape).train()
        forward: Any = torch.compile(network) if compile_it else network
        optimizer = torch.optim.AdamW(network.parameters(), lr=DEFAULTS["lr"])

        def step(i: int) -> None:
            batch = batches[i % len(batches)]
            optimizer.zero_grad()
            readout = network.readout
            said = forward(**batch.inputs)
            held = assign(said.reading.z.detach(), readout.prototypes, readout.temperature)
            objective(said, batch, held).total.backward()
            optimizer.step()

        return step, torch.inference_mode()(lambda i: forward.eval()(**batches[i % len(batches)].inputs))

    plain, fast = steps_of(False), steps_of(True)
    figures: dict[str, Any] = {}
    # Training first: a network in evaluation mode is compiled anew.
    for k, name in enumerate(("training", "prediction")):
        start = time.perf_counter()
        fast[k](0)
        figures[f"{name}_start_seconds"] = time.perf_counter() - start
        pairs = [(seconds(lambda: plain[k](i)), seconds(lambda: fast[k](i))) for i in range(12)][2:]  # noqa: B023
        figures[f"{name}_speedup"] = float(np.median([slow / quick for slow, quick in pairs]))
        figures[f"{name}_step_seconds"] = float(np.median([slow for slow, _ in pairs]))
    return figures


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, *arguments = sys.argv[1:]
    if what == "stream":
        figures: Any = predict_stream(*arguments)
    elif what == "compile":
        figures = compare_compiled(Shape(*json.loads(arguments[0])))
    else:
        figures = measure_memory([(name, Shape(*sizes)) for name, sizes in json.loads(arguments[0])])
    print(json.dumps(figures))
