"""Speed benchmark: our training and prediction beside rtdl's FT-Transformer and the machine's own ceiling; one command.

    python pipelines/benchmark_speed.py pipelines/results/

One thread. Contenders take turns (A B C A B C ...), so that a busy moment of the machine hits all alike, and every
claim is a median over the turns of a ratio inside one turn. Seconds are those of the processor. ``--short`` runs all of
it with small tables and few turns, to see that it works; its figures mean little.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from benchmark_catalog import machine, versions
from scipy.stats import linregress
from speed import probes
from speed.contenders import (
    BATCH,
    CEILING_SIZE,
    HAS_FT,
    Shape,
    ceiling,
    ft_flops,
    make_network,
    make_rows,
    ours_flops,
    prediction,
    seconds,
    train_ours,
    training,
)
from speed.readouts import readout_alone, readouts
from speed.report import markdown
from study_tools import REPORT, commit, study_folder

from ddcl_tab.training._rows import predict_rows

CEILING = "matrix product"


class Plan(NamedTuple):
    """How much is measured.

    Attributes
    ----------
    turns : int
        Of the comparisons.
    sweep_turns : int
        Of the sweeps.
    batches : dict of int
        Batches of an epoch at each width. 92 is the real catalog's training part.
    readout_batches : int
        Steps of each readout in a turn.
    sweep_rows : int
        Rows where an axis other than theirs is varied.
    axes : dict of list
        Values of each axis of the sweeps; the field of :class:`Shape` they replace.
    pilot_rows, stream_rows : int, list of int
        Rows of a first stream, and sizes of the stream to choose from, largest first.
    stream_limit : float
        Processor seconds that the stream may take; the first size that fits is run.
    """

    turns: int
    sweep_turns: int
    batches: dict[int, int]
    readout_batches: int
    sweep_rows: int
    axes: dict[str, list[int]]
    pilot_rows: int
    stream_rows: list[int]
    stream_limit: float


FULL = Plan(
    turns=5,
    sweep_turns=3,
    batches={64: 92, 192: 12},
    readout_batches=8,
    sweep_rows=2048,
    axes={
        "n_rows": [2048, 4096, 8192, 16384],
        "n_columns": [5, 10, 20, 40],
        "n_prototypes": [16, 64, 256, 1024],
        "width": [32, 64, 128, 256],
    },
    pilot_rows=50_000,
    stream_rows=[10_000_000, 1_000_000],
    stream_limit=900.0,
)
SHORT = Plan(
    turns=2,
    sweep_turns=1,
    batches={64: 8, 192: 4},
    readout_batches=2,
    sweep_rows=2048,
    axes={"n_rows": [2048, 4096], "n_columns": [5, 10], "n_prototypes": [16, 64], "width": [32, 64]},
    pilot_rows=20_000,
    stream_rows=[20_000],
    stream_limit=300.0,
)


def take_turns(work: dict[str, Callable[[], Any]], turns: int) -> dict[str, list[Any]]:
    """Run all in turn; what each returned, turn by turn. A first turn warms up and does not count."""
    done = [{name: run() for name, run in work.items()} for _ in range(turns + 1)][1:]
    return {name: [turn[name] for turn in done] for name in work}


def spread(values: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def ratio(above: list[float], below: list[float]) -> dict[str, float]:
    """Ratio inside each turn: median and range."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


def compare(
    work: dict[str, Callable[[], float]], turns: int, n_batches: int, flops: dict[str, int]
) -> dict[str, dict[str, Any]]:
    """Throughput of contenders, share of the ceiling, time over the first one's; ``flops`` are those of one batch."""
    taken = take_turns({CEILING: ceiling} | work, turns)
    rate = [2 * CEILING_SIZE**3 / s for s in taken.pop(CEILING)]
    rows = {}
    for name, times in taken.items():
        count = next(count for start, count in flops.items() if name.startswith(start))
        rows[name] = {
            "step_ms": spread([1e3 * s / n_batches for s in times]),
            "rows_per_second": spread([BATCH * n_batches / s for s in times]),
            "ceiling_share": ratio([count * n_batches / s for s in times], rate),
            "times_of_first": ratio(times, taken[next(iter(work))]),
            "gflop_per_batch": count / 1e9,
        }
    return {"contenders": rows, "ceiling_gflops": spread([r / 1e9 for r in rate])}


def compare_at(width: int, plan: Plan) -> dict[str, Any]:
    """Training and prediction at one width."""
    shape = Shape(n_rows=BATCH * plan.batches[width], width=width)
    result = {}
    for name, make, learn in (("training", training, True), ("prediction", prediction, False)):
        flops = {"ours": ours_flops(shape, training=learn)}
        if HAS_FT:
            flops["FT"] = ft_flops(shape, training=learn)
        result[name] = compare(make(shape), plan.turns, plan.batches[width], flops)
        print(f"{name} at width {width} done", flush=True)
    return result


def compare_readouts(plan: Plan) -> dict[str, Any]:
    """Training steps with one readout or another, in one and the same loop."""
    taken = take_turns(readouts(Shape(n_rows=BATCH * plan.readout_batches)), 2 * plan.turns)
    first = next(iter(taken))
    return {
        name: {
            "step_ms": spread([1e3 * s / plan.readout_batches for s in times]),
            "over_mean_pooling": ratio(times, taken[first]),
            "over_class_token": ratio(times, taken["class token, linear head"]),
        }
        for name, times in taken.items()
    }


def exponent(sizes: list[int], values: list[float]) -> dict[str, float | None]:
    """Slope of log value over log size, its standard error, and the slope of the last doubling or so alone."""
    x, y = np.log(sizes), np.log(np.maximum(values, 1e-9))
    line = linregress(x, y) if len(x) > 2 else None
    return {
        "slope": float(line.slope) if line else float((y[-1] - y[0]) / (x[-1] - x[0])),
        "standard_error": float(line.stderr) if line else None,
        "last": float((y[-1] - y[-2]) / (x[-1] - x[-2])),
    }


def sweep(plan: Plan) -> dict[str, Any]:
    """Time and memory along each axis: a training step (an epoch along rows), the readout alone, a prediction."""
    base = Shape(n_rows=plan.sweep_rows)
    shapes = {axis: [base._replace(**{axis: size}) for size in sizes] for axis, sizes in plan.axes.items()}
    points = [(what, shape) for along in shapes.values() for what in WHATS for shape in along]
    risen = dict(zip(points, probes.memory(points), strict=True))
    print("memory done", flush=True)
    result = {}
    for axis, along in shapes.items():
        work = {(what, shape): run for shape in along for what, run in _works(axis, shape).items()}
        taken, sizes = take_turns(work, plan.sweep_turns), plan.axes[axis]
        result[axis] = {"sizes": sizes}
        for what in WHATS:
            times, mib = [median(taken[what, shape]) for shape in along], [risen[what, shape] for shape in along]
            result[axis][what] = {"seconds": times, "exponent": exponent(sizes, times)}
            result[axis][what] |= {"mib": mib, "memory_exponent": exponent(sizes, mib)}
        print(f"sweep of {axis} done", flush=True)
    return result


WHATS = "training", "readout", "prediction"


def _works(axis: str, shape: Shape) -> dict[str, Callable[[], float]]:
    rows, network, untrained = make_rows(shape), make_network(shape), make_network(shape).eval()
    arrays = rows.numeric.numpy(), rows.categorical.numpy(), rows.numeric.device

    def train() -> float:
        if axis == "n_rows":
            return seconds(lambda: train_ours(shape, rows, network))
        return train_ours(shape, rows, network).step()

    return {
        "training": train,
        "readout": readout_alone(shape.n_rows * shape.n_columns, shape.width, shape.n_prototypes),
        "prediction": lambda: seconds(lambda: predict_rows(untrained, *arrays)),
    }


def start_up(plan: Plan) -> dict[str, Any]:
    """Seconds of imports."""
    taken = take_turns(probes.start_up(), plan.turns)
    return {
        name: {what: spread([getattr(usage, what) for usage in uses]) for what in ("processor", "wall")}
        for name, uses in taken.items()
    }


def stream(plan: Plan) -> dict[str, Any]:
    """Prediction of a Parquet file: the largest of the sizes that fits in the time, judged by a first small one."""
    pilot = probes.stream(plan.pilot_rows)
    rate = pilot["rows"] / pilot["seconds"]
    n_rows = next((n for n in plan.stream_rows if n / rate <= plan.stream_limit), plan.stream_rows[-1])
    run = pilot if n_rows == plan.pilot_rows else probes.stream(n_rows)
    return {"pilot": pilot, "asked": plan.stream_rows[0], "run": run}


def measure(plan: Plan) -> dict[str, Any]:
    """Everything, section by section."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):  # FT-Transformer draws weights and masks from torch's own generator
            torch.manual_seed(0)
            result: dict[str, Any] = {"widths": {str(width): compare_at(width, plan) for width in plan.batches}}
            result["readouts"] = compare_readouts(plan)
            result["sweeps"] = sweep(plan)
    finally:
        torch.set_num_threads(n_threads)
    result["start_up"] = start_up(plan)
    result["stream"] = stream(plan)
    print("stream done", flush=True)
    result["compile"] = probes.compiled(Shape())
    return result


def main(arguments: list[str]) -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the results")
    parser.add_argument("--short", action="store_true", help="small tables and few turns")
    args = parser.parse_args(arguments)
    folder = study_folder(args.out, "benchmark_speed", args.short)
    commit()
    plan = SHORT if args.short else FULL
    header = {
        "command": shlex.join(["python", "pipelines/benchmark_speed.py", *arguments]),
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "short": args.short,
        "plan": plan._asdict(),
        "load": os.getloadavg()[0],
    }
    if not HAS_FT:
        print("FT-Transformer is left out: rtdl_revisiting_models is not installed.")
    figures = {"header": header} | measure(plan)
    (folder / "data.json").write_text(json.dumps(figures, indent=2) + "\n")
    (folder / REPORT).write_text(markdown(figures))


if __name__ == "__main__":
    main(sys.argv[1:])
