"""First run: train on the real catalog, split by launch, over seeds; write the figures as Markdown.

    python pipelines/first_run.py ../shared/data pipelines/results/

Each seed is a split of its own (first of five stratified folds by launch) and a training of its own; peers see the same
rows and columns. Every figure comes from ``ddcl-tab train``'s own code.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import polars as pl
from study_tools import REPORT, commit, study_folder

from ddcl_tab.app._catalog import load_catalog
from ddcl_tab.app._evaluation import OURS
from ddcl_tab.app._tables import as_markdown, class_table, prototype_table, run_summary, score_table
from ddcl_tab.app._train import TrainingRun, train_catalog

SEEDS = range(5)
CATALOG = "satcat/spacetrack_satcat_current_2025-03-16.json.gz"
ELSETS = "elsets/spacetrack_3le_2025-03-15.txt.gz"
COMMAND = f"ddcl-tab train ../shared/data/{CATALOG} --elsets ../shared/data/{ELSETS} --split launch --out run"


def over_seeds(runs: list[TrainingRun]) -> str:
    """Mean and standard deviation of each model over the seeds, and of its paired difference to ours in macro-F1."""
    models = [{OURS: run.metrics} | run.metrics["peers"] for run in runs]
    rows = []
    for name in models[0]:
        row = {"model": name}
        for figure in ("macro_f1", "accuracy", "log_loss", "ece"):
            values = [m[name][figure] for m in models]
            row[figure] = f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"
        ours_minus = [m[OURS]["macro_f1"] - m[name]["macro_f1"] for m in models]
        row["ours minus it, macro_f1"] = f"{statistics.mean(ours_minus):+.3f} ± {statistics.stdev(ours_minus):.3f}"
        rows.append(row)
    return as_markdown(pl.DataFrame(rows))


def each_seed(runs: list[TrainingRun]) -> str:
    """One line a seed: our figures, the best peer's, and what training measured of itself."""
    rows = []
    for run in runs:
        m = run.metrics
        best = max(m["peers"], key=lambda name: m["peers"][name]["macro_f1"])
        rows.append(
            {
                "seed": m["seed"],
                "macro_f1": f"{m['macro_f1']:.3f}",
                "best peer": f"{best} {m['peers'][best]['macro_f1']:.3f}",
                "prototypes in use": f"{m['prototypes_in_use']} of {m['n_prototypes']}",
                "effective prototypes per row": f"{m['effective_prototypes']:.1f}",
                "identity, worst epoch": f"{m['identity_residual_max']:.1e}",
                "fit": f"{m['fit_seconds']:.0f} s",
            }
        )
    return as_markdown(pl.DataFrame(rows))


def report(runs: list[TrainingRun]) -> str:
    """The results file."""
    first = runs[0]
    classes = [str(name) for name in first.classifier.classes_]
    versions = ", ".join(f"{name} {number}" for name, number in first.metrics["versions"].items())
    return f"""# First run: object class on the Space-Track catalog of 2025-03-16

Made by `python pipelines/first_run.py ../shared/data pipelines/results/` ({versions}; commit
{commit()}).
Seed 0 is what `{COMMAND}` prints:

```
{run_summary(first.metrics)}

{score_table(first.metrics)}

{class_table(first.metrics)}

{prototype_table(pl.DataFrame(first.classifier.prototypes_), classes)}
```

## Five seeds

Each seed is another split and another training; folds differ much, so compare on one line.

{each_seed(runs)}

Mean and standard deviation over the seeds, and the paired difference on the same rows:

{over_seeds(runs)}
"""


def main(data: Path, out: Path) -> None:
    """Train once a seed and write the report."""
    commit()
    frame = load_catalog(data / CATALOG, data / ELSETS)
    runs = []
    for seed in SEEDS:
        runs.append(train_catalog(frame, target="OBJECT_TYPE", split="launch", seed=seed, settings={}, verbose=1))
        print(f"seed {seed}\n{score_table(runs[-1].metrics)}", flush=True)
    (study_folder(out, "first_run") / REPORT).write_text(report(runs))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
