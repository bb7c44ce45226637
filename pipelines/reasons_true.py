"""Whether reasons are true of their objects: how many say what the object's own row does not.

    python pipelines/reasons_true.py CATALOG ELSETS --out pipelines/results/

Trains on the catalog, or loads ``--model``; classifies it as ``ddcl-tab classify`` does, writes the tables and reads
them back: the unknown objects, and 2,000 typed ones drawn at random. Held against the catalog, with family columns
computed again, are both the columns of the tables and the words of the sentences (``reasons.py``), so that neither
can be right for the other. Exits with 1 if any reason contradicts its object. ``--short`` trains a small network.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import torch
from reasons import (
    DECISION,
    EXAMPLE,
    FAMILY,
    KINDS,
    OTHER,
    WORDS,
    Contradiction,
    n_columns,
    n_phrases,
    sentence_contradictions,
    table_contradictions,
)
from study_tools import REPORT, commit, study_folder

from ddcl_tab import DDCLClassifier
from ddcl_tab.app._catalog import classify_catalog, load_catalog, load_catalog_for
from ddcl_tab.app._tables import SYNTHETIC_NOTE, as_markdown, write_csv
from ddcl_tab.errors import LeakWarning, StabilityWarning
from ddcl_tab.space import ELSET_COLUMNS, FAMILY_COLUMNS, SATCAT_COLUMNS, family_columns

UNKNOWN, N_TYPED, N_SHOWN = "UNKNOWN", 2000, 10
COLUMNS, SENTENCES = "columns of the table", "words of the sentences"
SMALL = {"n_prototypes": 24, "d_token": 16, "n_heads": 2, "n_blocks": 1, "max_epochs": 8, "augmented_share": 0.0}


class Count(NamedTuple):
    """What was found in one table.

    Attributes
    ----------
    objects : str
    n : int
    statements : dict
        Per source (:data:`COLUMNS`, :data:`SENTENCES`), number of values that were compared.
    found : dict
        Per source, number and contradictions of each object that has any.
    """

    objects: str
    n: int
    statements: dict[str, int]
    found: dict[str, dict[str, list[Contradiction]]]

    @property
    def contradicted(self) -> int:
        """Objects that any source contradicts."""
        return len(set().union(*self.found.values()))


def fitted(frame: pl.DataFrame, short: bool) -> DDCLClassifier:
    """A classifier trained on the typed objects of a catalog, families counted in all of it."""
    settings: dict[str, Any] = SMALL | {"certify": False} if short else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakWarning)  # they are left out, as it says
        warnings.simplefilter("ignore", StabilityWarning)
        return DDCLClassifier(random_state=0, **settings).fit(frame)


def judged(objects: str, file: Path, frame: pl.DataFrame) -> Count:
    """Hold a table that was written against the catalog.

    Parameters
    ----------
    objects : str
        What they are.
    file : path
        As `classify` writes it.
    frame : polars.DataFrame
        The catalog with family columns.
    """
    units = {column.name: column.unit for column in (*SATCAT_COLUMNS, *ELSET_COLUMNS, *FAMILY_COLUMNS)}
    table = pl.read_csv(file, infer_schema=False)
    asked = frame.filter(pl.col("NORAD_CAT_ID").cast(pl.String).is_in(table["NORAD_CAT_ID"].to_list()))
    rows = {str(row["NORAD_CAT_ID"]): row for row in asked.iter_rows(named=True)}
    names = frame.select(pl.concat_str("NORAD_CAT_ID", "OBJECT_NAME", separator=" ", ignore_nulls=True)).to_series()
    classes = dict(zip(names.to_list(), frame["OBJECT_TYPE"].to_list(), strict=True))
    found: dict[str, dict[str, list[Contradiction]]] = {COLUMNS: {}, SENTENCES: {}}
    statements = {COLUMNS: 0, SENTENCES: 0}
    for written in table.iter_rows(named=True):
        # A spreadsheet would take some texts for formulas; they stand behind an apostrophe.
        written = {name: text.removeprefix("'") if text else text for name, text in written.items()}
        row = rows[written["NORAD_CAT_ID"]]
        wrong = {
            COLUMNS: table_contradictions(written, row, units, classes),
            SENTENCES: sentence_contradictions(written["reason"], written, row, units, classes),
        }
        statements[COLUMNS] += n_columns(written)
        statements[SENTENCES] += n_phrases(written["reason"])
        for source, contradictions in wrong.items():
            if contradictions:
                found[source][written["NORAD_CAT_ID"]] = contradictions
    return Count(objects, len(table), statements, found)


def tables(clf: DDCLClassifier, frame: pl.DataFrame, folder: Path) -> dict[str, Path]:
    """Classify unknown and some typed objects, and write what is said of them."""
    files = {"unknown": folder / "unknown.csv", "typed, drawn at random": folder / "typed.csv"}
    unknown, typed = files.values()
    write_csv(unknown, classify_catalog(clf, frame, UNKNOWN))
    known = classify_catalog(clf, frame, None).filter(pl.col("recorded") != UNKNOWN)
    write_csv(typed, known.sample(min(N_TYPED, len(known)), seed=0))
    return files


def report(counts: list[Count], command: str, note: str | None) -> str:
    """The results file."""
    rows = []
    for count in counts:
        for source, found in count.found.items():
            kinds = Counter(kind for wrong in found.values() for kind in {one.kind for one in wrong})
            row = {"objects": f"{count.n} {count.objects}", "read from": source}
            row |= {"values compared": f"{count.statements[source]:,}", "objects contradicted": str(len(found))}
            rows.append(row | {kind: str(kinds[kind]) for kind in (*KINDS, FAMILY, OTHER, EXAMPLE, DECISION, WORDS)})
    parts = [
        "# Are the reasons true of their objects?",
        f"Made by `{command}`.",
        *([f"{note}. A small network: this shows that the command works."] if note else []),
        "Objects of which a reason says something that their own row of the catalog does not, by what it is about: "
        "values (altitude, inclination, size, country, the launch's columns, others), the recorded class of the "
        "example, the class, probability and contributions, and phrases that no rule understands. Before prototypes "
        "read column tokens, 342 of 588 sentences about unknown objects contradicted them.",
        as_markdown(pl.DataFrame(rows)),
    ]
    examples = [
        f"- {number} ({source}): {one.said!r}, but {one.true!r}"
        for count in counts
        for source, found in count.found.items()
        for number, wrong in list(found.items())[:N_SHOWN]
        for one in wrong
    ]
    return "\n\n".join([*parts, *(["\n".join(examples)] if examples else [])]) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Train or load, classify, count; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalog", type=Path, help="SATCAT")
    parser.add_argument("elsets", type=Path, nargs="?", help="element sets, OMM or TLE")
    parser.add_argument("--model", type=Path, help="trained before; default: train on the catalog")
    parser.add_argument("--out", type=Path, help="folder of all results; default: only print")
    parser.add_argument("--short", action="store_true", help="a small network, to see that it works")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    commit()
    if args.model is None:
        frame = load_catalog(args.catalog, args.elsets)
        clf = fitted(frame, args.short)
    else:
        clf = DDCLClassifier.load(args.model)
        frame = load_catalog_for(clf, args.catalog, args.elsets)
    with tempfile.TemporaryDirectory() as name:
        files = tables(clf, frame, Path(name))
        known = frame.hstack(family_columns(frame))
        counts = [judged(objects, file, known) for objects, file in files.items()]
    named = [args.catalog.name, *([args.elsets.name] if args.elsets else [])]
    named += ["--model", args.model.name] if args.model else ["--short"] * args.short
    note = SYNTHETIC_NOTE if args.short else None
    text = report(counts, " ".join(["python pipelines/reasons_true.py", *named]), note)
    print(text)
    if args.out is not None:
        (study_folder(args.out, "reasons_true", args.short) / REPORT).write_text(text)
    return int(any(count.contradicted for count in counts))


if __name__ == "__main__":
    sys.exit(main())
