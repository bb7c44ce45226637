"""What studies share: lines of results that are computed once, cells of tables, pictures, the command."""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.cluster import contingency_matrix


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Results so far, none where there is no file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def append_line(file: Path, line: dict[str, Any]) -> None:
    """Keep one result, so that a repeated command goes on from there."""
    with file.open("a") as lines:
        lines.write(json.dumps(line) + "\n")
    print(line, flush=True)


def mean_std(values: Iterable[float | None], digits: int = 3) -> str:
    """Mean ± standard deviation; nothing for no values, the value alone for one."""
    there = [value for value in values if value is not None]
    if not there:
        return ""
    spread = f" ± {np.std(there, ddof=1):.{digits}f}" if len(there) > 1 else ""
    return f"{np.mean(there):.{digits}f}{spread}"


def matched_accuracy(truth: NDArray[Any], labels: NDArray[Any]) -> float:
    """Share of rows in their class when each cluster stands for one class, matched as well as can be."""
    table = contingency_matrix(truth, labels)
    return float(table[linear_sum_assignment(table, maximize=True)].sum() / len(truth))


def new_figure(width: float, height: float) -> Figure:
    """A figure of ``width`` x ``height`` inches that no window shows."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure


def save_figure(figure: Figure, file: Path) -> None:
    """Write an SVG, the same bytes for the same figure."""
    with mpl.rc_context({"svg.hashsalt": "ddcl"}):
        figure.savefig(file, metadata={"Date": None})


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Arguments that all studies take."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path, help="folder with the real data")
    parser.add_argument("out", type=Path, help="folder for the results")
    parser.add_argument("--short", action="store_true", help="few and small fits, to see that it works")
    parser.add_argument("--report", action="store_true", help="only write tables and picture of the lines there are")
    return parser


def run(
    script: str,
    name: str,
    args: argparse.Namespace,
    compute: Callable[[argparse.Namespace, Path], None],
    report: Callable[[Path, Path, str], None],
    quiet: tuple[type[Warning], ...] = (),
) -> None:
    """Compute what is missing in ``name.jsonl``, then report; on one thread, without the warnings ``quiet``."""
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / f"{name}{'_short' if args.short else ''}.jsonl"
    if not args.report:
        with warnings.catch_warnings():
            for kind in quiet:
                warnings.simplefilter("ignore", kind)
            compute(args, file)
    report(file, args.out, f"python pipelines/{Path(script).name} {args.shared} {args.out}")
