"""What reads rows, before and after the readout began to read columns: novelty, label errors, histories, verdicts.

    python pipelines/before_after.py ../shared/data pipelines/results/

Each figure is that of another study, made by its code on its rows: novelty and label errors of ``trust_study.py``, the
first fold of the classes in ``history_study.py``, the short form of ``stability_study.py`` on the real catalog. Those
before come from the lines that these studies committed with class-token networks (commits in :data:`BEFORE`). Appends
one line a figure to ``before_after/data.jsonl``, never computes one twice, then writes ``report.md``. ``--short`` takes
the synthetic catalog and small networks; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import history_study
import polars as pl
import stability_study
import trust_study
from study_tools import REPORT, append_line, parser, read_lines, run
from trust_novelty import novelty_lines

from ddcl_tab.app._catalog import load_catalog
from ddcl_tab.app._tables import SYNTHETIC_NOTE, as_markdown
from ddcl_tab.errors import LeakWarning, StabilityWarning
from ddcl_tab.space._satcat import read_satcat


class Before(NamedTuple):
    """A figure of class-token networks.

    Attributes
    ----------
    value : float
    source : str
        Where it was measured.
    """

    value: float
    source: str


REGIMES, ALL_FOREIGN = "novelty, AUROC, four regimes held out", "novelty, AUROC, these and five kinds of planted rows"
LABELS = "planted label errors among the first of the list, of 151"
HISTORIES, VERDICTS = "histories, class, fold 0, macro-F1", "falsification study, short, verdict agrees"
BEFORE = {
    REGIMES: Before(0.933, "results/trust/data.json at c32e0d8"),
    ALL_FOREIGN: Before(0.912, "results/trust/data.json at c32e0d8"),
    LABELS: Before(127, "results/trust/data.json at c32e0d8"),
    VERDICTS: Before(0.875, "the same code at 5f3c250"),
    HISTORIES: Before(0.8164, "results/history/data.jsonl at c32e0d8"),
}


def real(shared: Path) -> pl.DataFrame:
    """Typed objects of the real catalog."""
    return trust_study.known_rows(load_catalog(shared / trust_study.CATALOG, shared / trust_study.ELSETS))


def novelty(args: argparse.Namespace) -> dict[str, float]:
    """Mean AUROC of ``NoveltyScore``; as in the trust study, without family columns."""
    sizes, frame = _of_trust(args)
    clf = trust_study.classifier(sizes.quick | {"family": None})
    lines = list(novelty_lines(frame, clf, sizes.rows, ""))
    every = [line["NoveltyScore"] for line in lines]
    held = [line["NoveltyScore"] for line in lines if line["foreign rows"].startswith("held out")]
    return {REGIMES: sum(held) / len(held), ALL_FOREIGN: sum(every) / len(every)}


def labels(args: argparse.Namespace) -> dict[str, float]:
    """Exchanged labels of the synthetic catalog among as many first of the list."""
    sizes, _ = _of_trust(args, read=False)
    rows = trust_study.known_rows(read_satcat(trust_study.SYNTHETIC), sizes.synthetic_rows)
    return {LABELS: trust_study.flipped(rows, sizes)["exchanged among as many first"]}


def histories(args: argparse.Namespace) -> dict[str, float]:
    """First fold of the classes of all objects."""
    long = history_study.long_frame(args.shared)
    rows = history_study.typed_objects(args.shared, long)
    if args.short:
        rows = rows.filter(pl.col("NORAD_CAT_ID") % 20 == 3)
    wide = history_study.wide_frame(rows)
    train, test = history_study.folds("class", wide)[0]
    line = history_study.measure_fold(history_study.OURS, rows, wide, train, test, "history", 0, args.short)
    return {HISTORIES: line["all"]["f1"]}


def verdicts(args: argparse.Namespace) -> dict[str, float]:
    """Share of the runs in which verdict and outcome say the same."""
    with tempfile.TemporaryDirectory() as folder:
        runs = stability_study.study(None if args.short else args.shared, Path(folder), short=True, n_jobs=1)
    runs = runs.with_columns(healthy=pl.col("outcome") == "healthy")
    return {VERDICTS: float((runs["stable"].fill_null(False) == runs["healthy"]).mean())}


PARTS = {
    (REGIMES, ALL_FOREIGN): novelty,
    (LABELS,): labels,
    (VERDICTS,): verdicts,
    (HISTORIES,): histories,
}


def _of_trust(args: argparse.Namespace, read: bool = True) -> tuple[trust_study.Sizes, Any]:
    sizes = trust_study.SHORT if args.short else trust_study.FULL
    if not read:
        return sizes, None
    if args.short:
        return sizes, trust_study.known_rows(read_satcat(trust_study.SYNTHETIC), sizes.synthetic_rows)
    return sizes, real(args.shared)


def compute(args: argparse.Namespace, file: Path) -> None:
    """Measure what has no line yet."""
    done = {line["figure"] for line in read_lines(file)}
    for names, measure in PARTS.items():
        if not set(names) <= done:
            for name, value in measure(args).items():
                append_line(file, {"figure": name, "value": round(value, 4)})


def report(file: Path, folder: Path, command: str) -> None:
    """One table."""
    after = {line["figure"]: line for line in read_lines(file)}
    rows = [
        {
            "figure": name,
            "class token": f"{before.value:.4g}",
            "column tokens": f"{after[name]['value']:.4g}" if name in after else "",
            "class token from": before.source,
            "column tokens at": after[name]["commit"] if name in after else "",
        }
        for name, before in BEFORE.items()
    ]
    parts = [
        "# Before and after: prototypes of rows, prototypes of columns",
        f"Made by `{command}`. One fit for histories, five for novelty, five for label errors, 24 for verdicts: small "
        "differences are noise.",
        *([f"{SYNTHETIC_NOTE}. Small networks: figures mean nothing."] if folder.name.endswith("_short") else []),
        as_markdown(pl.DataFrame(rows)),
    ]
    (folder / REPORT).write_text("\n\n".join(parts) + "\n")


def main(arguments: list[str] | None = None) -> None:
    """Measure, then report."""
    args = parser(__doc__).parse_args(arguments)
    run(__file__, "before_after", args, compute, report, quiet=(LeakWarning, StabilityWarning))


if __name__ == "__main__":
    main()
