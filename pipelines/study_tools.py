"""What studies share: folders of results, lines that are computed once, cells of tables, pictures, the command."""

from __future__ import annotations

import argparse
import json
import subprocess
import warnings
from collections.abc import Callable, Iterable
from functools import cache
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

ROOT = Path(__file__).resolve().parents[1]
#: What a folder of results holds: the page, its data (or ``.json``, ``.csv``), its picture (or ``.png``).
REPORT, LINES, PICTURE = "report.md", "data.jsonl", "picture.svg"


def study_folder(results: Path, study: str, short: bool = False) -> Path:
    """Folder of one study within a folder of results, made where it is absent; short forms have one of their own."""
    folder = results / (f"{study}_short" if short else study)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@cache
def commit() -> str:
    """Short hash of the commit that makes the figures, ``+`` after it if files differ; empty outside of git.

    Results themselves may differ: a study that appends lines changes them. Asked once, when a study begins.
    """
    try:
        return _git("rev-parse", "--short", "HEAD") + "+" * bool(
            _git("status", "--porcelain", "--", ".", ":(exclude)pipelines/results")
        )
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", ROOT, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Results so far, none where there is no file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def append_line(file: Path, line: dict[str, Any]) -> None:
    """Keep one result and the commit that made it, so that a repeated command goes on from there."""
    line = line | {"commit": commit()}
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
    parser.add_argument("out", type=Path, help="folder of all results; the study has its own within")
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
    """Compute what is missing in the study's lines, then report; on one thread, without the warnings ``quiet``."""
    torch.set_num_threads(1)
    commit()
    file = study_folder(args.out, name, args.short) / LINES
    if not args.report:
        with warnings.catch_warnings():
            for kind in quiet:
                warnings.simplefilter("ignore", kind)
            compute(args, file)
    report(file, file.parent, f"python pipelines/{Path(script).name} {args.shared} {args.out}")
