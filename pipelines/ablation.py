"""What each part of the recipe is worth: fits without it, on one fold of the catalog by launch.

    python pipelines/ablation.py ../shared pipelines/results/ --epochs 15

One line a part, fold and seed. Short fits: the differences between lines are the result, not their level.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import torch
from benchmark_catalog import load
from peers import MODELS, OURS
from peers.tasks import HIDDEN_SHARE, LATE, Fold, hide_late, make_fold
from study_tools import REPORT, append_line, mean_std, parser, read_lines, run

from ddcl_tab.app._evaluation import score
from ddcl_tab.app._tables import SYNTHETIC_NOTE, as_markdown
from ddcl_tab.errors import StabilityWarning
from ddcl_tab.estimators import _classifier
from ddcl_tab.training import _distillation
from ddcl_tab.training._net import train_network

FOLD = 1
FIGURES = ("macro_f1", "log_loss", "ece")


class BoostingAlone(_distillation.Teacher):
    """The teacher without its randomised trees."""

    def __init__(self, rows: Any, seed: int) -> None:
        super().__init__(rows, seed)
        self.models = self.models[:1]


class TreesAlone(_distillation.Teacher):
    """The teacher without its gradient boosting."""

    def __init__(self, rows: Any, seed: int) -> None:
        super().__init__(rows, seed)
        self.models = self.models[1:]


WHOLE = "whole recipe"
#: By name: the task, settings that differ, attributes of modules that differ: what is no option of the product is
#: exchanged from outside for a fit.
PARTS: dict[str, tuple[str, dict[str, Any], list[tuple[Any, str, Any]]]] = {
    WHOLE: ("object-family", {}, []),
    "without family columns": ("object", {}, []),
    "without distillation": ("object-family", {"augmented_share": 0.0}, []),
    "teacher: gradient boosting alone": ("object-family", {}, [(_distillation, "Teacher", BoostingAlone)]),
    "teacher: randomised trees alone": ("object-family", {}, [(_distillation, "Teacher", TreesAlone)]),
    "30 % of the other columns swapped, not 8 %": ("object-family", {}, [(_distillation, "SWAPPED", 0.3)]),
    "AdamW for all, no Muon": (
        "object-family",
        {},
        [(_classifier, "train_network", partial(train_network, optimizer=torch.optim.AdamW))],
    ),
    "without hidden rows": ("object-family", {"hidden_share": 0.0}, []),
    "without the contributions' loss": ("object-family", {"contribution_weight": 0.0}, []),
    "without the columns' loss": ("object-family", {"column_weight": 0.0}, []),
}


@contextmanager
def without(part: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Task and settings of a part, with its attributes in place."""
    task, settings, attributes = PARTS[part]
    with ExitStack() as stack:
        for module, name, value in attributes:
            stack.enter_context(patch.object(module, name, value))
        yield task, settings


def compute(args: argparse.Namespace, file: Path) -> None:
    """Fit what has no line yet, seed by seed, so that a run that is cut off leaves whole seeds to compare."""
    epochs = 2 if args.short else args.epochs
    done = {(line["part"], line["seed"], line["epochs"]) for line in read_lines(file)}
    todo = [(part, seed, epochs) for seed in range(1 if args.short else args.seeds) for part in PARTS]
    todo = [key for key in todo if key not in done]
    catalog = load(args.shared / "data", args.short) if todo else None
    for part, seed, epochs in todo:
        with without(part) as (task, settings):
            line = measure(make_fold(catalog, task, FOLD), seed, settings | {"max_epochs": epochs, "certify": False})
        append_line(file, {"part": part, "seed": seed, "epochs": epochs, "short": args.short} | line)


def measure(fold: Fold, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Figures of a fit on the test rows of a fold, as they are and with late columns hidden in part of them."""
    start = time.process_time()
    model = MODELS[OURS].make(seed, **MODELS[OURS].defaults | settings)
    model.fit(fold.X_train, fold.y_train, groups=fold.groups)
    seconds = time.process_time() - start
    line: dict[str, Any] = {"seconds": round(seconds, 1)}
    for name, X in (("as they are", fold.X_test), ("hidden", hide_late(fold.X_test, seed=0))):
        scores = score(fold.y_test, model.predict_proba(X), model.classes_)
        line[name] = {figure: scores[figure] for figure in FIGURES}
    return line


def report(file: Path, folder: Path, command: str) -> None:
    """Write the table of the lines there are."""
    lines = read_lines(file)
    rows = []
    for epochs in sorted({line["epochs"] for line in lines}):
        for part in PARTS:
            mine = [line for line in lines if line["part"] == part and line["epochs"] == epochs]
            if mine:
                row = {"recipe": part, "epochs": str(epochs), "seeds": ", ".join(str(line["seed"]) for line in mine)}
                row |= {name: mean_std(line["as they are"][name] for line in mine) for name in FIGURES}
                row |= {f"{name}, hidden": mean_std(line["hidden"][name] for line in mine) for name in FIGURES[:2]}
                rows.append(row | {"minutes": mean_std((line["seconds"] / 60 for line in mine), digits=1)})
    parts = [
        "# What each part of the recipe is worth",
        f"Made by `{command}`.",
        *([f"{SYNTHETIC_NOTE}. Two epochs: this shows that the command works, nothing else."] * lines[0]["short"]),
        f"Fold {FOLD} of the catalog by launch, with family columns unless said. Mean ± standard deviation over seeds. "
        f"Hidden: {LATE} hidden in {100 * HIDDEN_SHARE:.0f} % of the test rows. Fits are shorter than the product's.",
        as_markdown(pl.DataFrame(rows)),
    ]
    (folder / REPORT).write_text("\n\n".join(parts) + "\n")


def main(arguments: list[str] | None = None) -> None:
    """Fit, then report."""
    arguments_of = parser(__doc__)
    arguments_of.add_argument("--epochs", type=int, default=15, help="of every fit; lines of other numbers stay")
    arguments_of.add_argument("--seeds", type=int, default=2)
    run(__file__, "ablation", arguments_of.parse_args(arguments), compute, report, quiet=(StabilityWarning,))


if __name__ == "__main__":
    main()
