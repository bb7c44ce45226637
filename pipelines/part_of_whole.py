"""Part against whole: rows get the same answer alone as within their catalog; one command.

    python pipelines/part_of_whole.py satcat.csv [--elsets gp.csv] [--model run/model.ddcl]

What a model says of an object depends on its siblings, the other objects of its launch. So each part of the catalog
(each class, a random half, the largest launch, 100 objects one by one) is asked about alone, and its class
probabilities are compared with those of the same rows when the whole catalog is asked about. Without ``--model`` a
small one is trained on the catalog first, whose scores mean nothing. A page in Markdown is printed; the exit code is 1
where a difference is above the limit.
"""

from __future__ import annotations

import argparse
import platform
import shlex
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from study_tools import commit

from ddcl_tab import DDCLClassifier
from ddcl_tab.app._catalog import load_catalog, load_catalog_for, require_target
from ddcl_tab.errors import FamilyContextWarning, LeakWarning, StabilityWarning
from ddcl_tab.space import launch_of

#: Largest difference of a class probability.
LIMIT = 1e-5
#: Objects that are asked about one by one.
N_SINGLE = 100
TARGET = "OBJECT_TYPE"
SMALL = {"n_prototypes": 16, "d_token": 16, "n_heads": 2, "max_epochs": 4, "augmented_share": 0.0, "certify": False}
#: Added to catalog numbers and years of launch to make a catalog that the model has not seen.
NEW_NUMBERS, NEW_YEARS = 500_000_000, 1000


class Part(NamedTuple):
    """Rows that are asked about together.

    Attributes
    ----------
    name : str
    rows : list of ndarray of int
        One array a question.
    """

    name: str
    rows: list[NDArray[np.intp]]


def parts_of(catalog: pl.DataFrame) -> Iterator[Part]:
    """Each recorded class, a random half, the largest launch, single objects."""
    random = np.random.default_rng(0)
    recorded = catalog[TARGET].cast(pl.String).fill_null("no record")
    for name in recorded.unique().sort():
        yield Part(name, [np.flatnonzero((recorded == name).to_numpy())])
    yield Part("a random half", [np.sort(random.permutation(len(catalog))[: len(catalog) // 2])])
    launch = launch_of(catalog)
    largest = str(launch.value_counts().sort("count", launch.name, descending=[True, False])[launch.name][0])
    yield Part(f"launch {largest}", [np.flatnonzero((launch == largest).to_numpy())])
    single = np.sort(random.permutation(len(catalog))[:N_SINGLE])
    yield Part(f"{len(single)} objects one by one", list(single[:, None]))


def largest_differences(
    clf: DDCLClassifier, catalog: pl.DataFrame, context: pl.DataFrame | None
) -> list[tuple[str, int, float]]:
    """Name of each part, its number of rows, and how far its class probabilities are from those of the whole."""
    whole = clf.predict_proba(catalog, catalog=context)
    return [
        (
            part.name,
            sum(map(len, part.rows)),
            max(float(np.abs(clf.predict_proba(catalog[r], catalog=context) - whole[r]).max()) for r in part.rows),
        )
        for part in parts_of(catalog)
    ]


def has_counted(clf: DDCLClassifier, catalog: pl.DataFrame) -> bool:
    """Whether a model knows the siblings of all rows of a catalog: it was trained on it."""
    families = clf.families_
    return families is None or len(families.including(catalog).counted) == len(families.counted)


def as_unseen(catalog: pl.DataFrame) -> pl.DataFrame:
    """The same objects under other catalog numbers and in launches of other years, which no model has counted."""
    year = (pl.col("OBJECT_ID").str.slice(0, 4).cast(pl.Int64, strict=False) + NEW_YEARS).cast(pl.String)
    return catalog.with_columns(
        NORAD_CAT_ID=pl.col("NORAD_CAT_ID").cast(pl.Int64) + NEW_NUMBERS,
        OBJECT_ID=year + pl.col("OBJECT_ID").str.slice(4),
    )


def page(clf: DDCLClassifier, catalog: pl.DataFrame, about: str) -> tuple[str, bool]:
    """The page on a model and a catalog, and whether all differences are within the limit."""
    text = [f"# Part against whole\n\n{about} Largest difference between the class probabilities of a row"]
    text[0] += f" that is asked about in a part and in the whole of {len(catalog)} objects; at most {LIMIT:g}."
    held = True
    if has_counted(clf, catalog):
        rows = largest_differences(clf, catalog, None)
        held = all(difference <= LIMIT for *_, difference in rows)
        text += ["## The catalog that the model was trained on", _table(["largest difference"], rows)]
    else:
        text.append("The model was trained on another catalog: only `catalog=` tells it the siblings of these objects.")
    if clf.families_ is None:
        text.append("The model counts no families: it answers each row alone.")
    else:
        unseen = as_unseen(catalog)
        with_catalog = largest_differences(clf, unseen, unseen)
        without = largest_differences(clf, unseen, None)
        held &= all(difference <= LIMIT for *_, difference in with_catalog)
        rows = [(*row, other) for row, (*_, other) in zip(with_catalog, without, strict=True)]
        text += [
            "## A catalog that the model has not seen",
            f"Synthetic: the same objects, catalog numbers {NEW_NUMBERS:,} and years of launch {NEW_YEARS:,} higher. "
            "With `predict_proba(part, catalog=whole)` siblings are counted in the whole, else in the part: "
            "the last column has no limit.",
            _table(["with catalog=", "without"], rows),
        ]
    return "\n\n".join([*text, "All limits hold." if held else "**A limit is broken.**"]), held


def _table(names: list[str], rows: list[tuple[str, int, float]] | list[tuple[str, int, float, float]]) -> str:
    lines = [f"| part | rows | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
    lines += [f"| {name} | {n} | {' | '.join(f'{value:.1e}' for value in values)} |" for name, n, *values in rows]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Print the page; 1 where a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalog", type=Path, help="SATCAT as JSON or CSV, also with .gz")
    parser.add_argument("--elsets", type=Path, help="element sets, OMM or TLE")
    parser.add_argument("--model", type=Path, help="as ddcl-tab train writes it; default: a small one is trained")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        for kind in (LeakWarning, StabilityWarning, FamilyContextWarning):
            warnings.simplefilter("ignore", kind)
        if args.model is None:
            catalog = load_catalog(args.catalog, args.elsets)
            clf = DDCLClassifier(target=TARGET, family="auto", random_state=0, **SMALL).fit(catalog)
            about = f"A small model, trained on the catalog for {clf.n_iter_} epochs; its scores mean nothing."
        else:
            clf = DDCLClassifier.load(args.model)
            catalog = load_catalog_for(clf, args.catalog, args.elsets)
            about = f"The model {args.model.name}."
        require_target(catalog, TARGET)
        text, held = page(clf, catalog, about)
    command = shlex.join(["python", "pipelines/part_of_whole.py", *(sys.argv[1:] if argv is None else argv)])
    packages = ", ".join(f"{name} {version(name)}" for name in ("ddcl-tab", "torch", "polars", "numpy"))
    print(f"{text}\n\n`{command}`, one thread, Python {platform.python_version()}, {packages}, commit {commit()}.")
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
