"""What the falsification study writes: one row a run (CSV), tables (Markdown), maps (PNG)."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patheffects import withStroke
from study_tools import REPORT, commit, study_folder

from ddcl_tab.app._tables import SYNTHETIC_NOTE, as_markdown

CELL = ["dynamics", "optimizer", "temperature", "lr_ratio"]
PANELS = [("readout alone", "SGD"), ("readout alone", "Adam"), ("joint", "SGD"), ("joint", "Adam")]
#: The conditions of theory; the others are symptoms that the verdict reads off the prototypes themselves.
THEORY = ["margin fast_step", "margin supercritical", "margin tracking"]
#: Seeds looked at when the limits of the conditions and of the outcomes were chosen.
EXPLORED_SEEDS = (0, 1)
#: Predicted boundaries come from the runs at the package's default ratio alone.
REFERENCE_RATIO = 10.0
OUTCOMES = {"healthy": "#5b8e5a", "collapsed": "#7a8fb5", "dead": "#555555", "overshooting": "#c2664a"}
LINE = {"color": "black", "lw": 1.6, "path_effects": [withStroke(linewidth=3.2, foreground="white")]}
COMMAND = "python pipelines/stability_study.py"


TEXT = """# Falsification study: does the verdict see what becomes of the prototypes?

    {command}

{note}{n_runs} runs, seeds {seeds}; each seed is a split by launch and a training of its own. {settings}. {versions}.

**Outcome**, measured on held-out launches after the last epoch. *Overshooting*: in an epoch after the first the
prototypes' mean step was longer than half of the tokens' standard deviation. *Dead*: more than a quarter of the
prototypes carries less than 1/(4K) of the tokens. *Collapsed*: the prototypes' mean distance is under a quarter of that
deviation, or it gets there when the same prototypes are trained on alone, by another optimiser, at the same encoder, or
it is under half of what it becomes then. *Healthy*: none of these. **Verdict**: `stability_.verdict`, from the
certificate on training rows.

## Agreement

{agreement}

Failed condition (rows) against outcome (columns), number of runs:

{confusion}

## Statements

{statements}

## Map

![Outcome over ratio and temperature](picture.png)

Colour: most frequent outcome of a cell; number: runs that were healthy. Lines: boundaries predicted from the
certificates at ratio {reference:g} alone: the largest stable ratio (it / sharpness), the smallest that tracks (it x
lag / limit, as the gap falls like 1/ratio), and the temperature at which `tau_joint` reaches 1.

## Disagreements

{disagreements}

## Every cell

Mean ± standard deviation over seeds.

{cells}
"""


def write(runs: pl.DataFrame, out: Path, settings: dict[str, Any], *, data: str, short: bool) -> None:
    """Write ``data.csv``, ``report.md`` and ``picture.png`` into the study's folder within ``out``."""
    runs = runs.with_columns(healthy=pl.col("outcome") == "healthy")
    folder = study_folder(out, "stability_study", short)
    table = runs.drop("verdict").with_columns(pl.lit(commit()).alias("commit"))
    table.with_columns(pl.selectors.float().round_sig_figs(4)).write_csv(folder / "data.csv")
    draw(runs, folder / "picture.png")
    text = TEXT.format(
        command=f"{COMMAND} {data} {out}{' --short' if short else ''}",
        note=f"{SYNTHETIC_NOTE}\n\n" if data == "synthetic" else "",
        n_runs=len(runs),
        seeds=", ".join(str(seed) for seed in sorted(runs["seed"].unique())),
        settings=", ".join(f"{name} {value}" for name, value in settings.items()),
        versions=_versions(),
        agreement=as_markdown(agreement(runs)),
        confusion=as_markdown(confusion(runs)),
        statements=as_markdown(statements(runs)),
        reference=REFERENCE_RATIO,
        disagreements=as_markdown(disagreements(runs)),
        cells=as_markdown(cells(runs)),
    )
    (folder / REPORT).write_text(text)


def agreement(runs: pl.DataFrame) -> pl.DataFrame:
    """Share of runs in which verdict and outcome say the same: in all, by panel, and for other sets of conditions."""
    said = {
        "whole verdict": pl.col("stable"),
        "theory's conditions alone (fast_step, supercritical, tracking)": pl.all_horizontal(
            pl.col(n) < 0 for n in THEORY
        ),
        "the same with tau of L_q alone instead of tau_joint": pl.all_horizontal(
            pl.col("margin fast_step") < 0, pl.col("tau") < 1, pl.col("margin tracking") < 0
        ),
        "tau < 1 alone": pl.col("tau") < 1,
    }
    fresh = ~pl.col("seed").is_in(EXPLORED_SEEDS)
    parts = [(name, expression, pl.lit(True)) for name, expression in said.items()]
    parts.insert(1, ("whole verdict, on seeds that no limit was chosen on", pl.col("stable"), fresh))
    rows = []
    for name, expression, among in parts:
        # A training that diverged has no figures: it counts as judged unstable.
        right = runs.filter(among).select(*CELL, right=expression.fill_null(False) == pl.col("healthy"))
        row = {"judged by": name, "all": _percent(right["right"])}
        for dynamics, optimizer in PANELS:
            panel = right.filter(dynamics=dynamics, optimizer=optimizer)
            row[f"{dynamics}, {optimizer}"] = _percent(panel["right"])
        rows.append(row)
    return pl.DataFrame(rows)


def confusion(runs: pl.DataFrame) -> pl.DataFrame:
    """Number of runs for each pair of failed condition and outcome."""
    counts = (
        runs.with_columns(pl.col("failed").fill_null("").replace({"": "none (stable)"}))
        .group_by("failed", "outcome")
        .len()
    )
    table = counts.pivot(on="outcome", index="failed", values="len").fill_null(0).sort("failed")
    return table.select("failed", *(name for name in OUTCOMES if name in table.columns))


def statements(runs: pl.DataFrame) -> pl.DataFrame:
    """What the method's paper says, or is read to say, and in what share of the runs it was so."""
    fast, slow = pl.col("lr_ratio") >= 10, pl.col("lr_ratio") <= 0.1
    calm, alone = pl.col("sharpness") < 1, pl.col("dynamics") == "readout alone"
    collapsed, over = pl.col("outcome") == "collapsed", pl.col("outcome") == "overshooting"
    below, sgd = pl.col("tau") < 1, pl.col("optimizer") == "SGD"
    said = [
        ("L_q = L_rec + V to 1e-5 in every epoch", pl.lit(True), pl.col("identity") < 1e-5),
        ("the same where the step was stable", calm, pl.col("identity") < 1e-5),
        ("tau < 1: prototypes do not collapse", below, ~collapsed),
        ("the same, ratio from 10 on, step stable", below & fast & calm, ~collapsed),
        ("tau > 1: prototypes of a readout alone collapse", alone & ~below & calm, collapsed),
        ("tau > 1: prototypes collapse in joint training too", ~alone & ~below & fast & calm, collapsed),
        ("tau_joint > 1: they do", ~alone & (pl.col("tau_joint") > 1) & fast & calm, collapsed),
        ("slow prototypes (ratio up to 0.1) separate all the same if tau < 1", below & slow, ~collapsed),
        ("a step beyond the limit makes SGD overshoot", sgd & ~calm, over),
        ("a step beyond the limit makes Adam overshoot", ~sgd & ~calm, over),
        ("a step below the limit never overshoots", calm, ~over),
    ]  # fmt: skip
    rows = []
    for text, among, holds in said:
        share = runs.filter(among).select(holds.fill_null(False).alias("holds"))["holds"]
        rows.append({"statement": text, "runs": len(share), "was so": _percent(share), "so it": _words(share)})
    return pl.DataFrame(rows)


def disagreements(runs: pl.DataFrame) -> pl.DataFrame:
    """Every run in which verdict and outcome differ."""
    differ = runs.filter(pl.col("stable") != pl.col("healthy"))
    figures = ["separation", "settled_separation", "longest_step", "lag", "tau_joint", "sharpness", "macro_f1"]
    return differ.select(
        *CELL, "seed", "failed", "outcome", "dead", *(pl.col(f).map_elements(_short, pl.String) for f in figures)
    )


def cells(runs: pl.DataFrame) -> pl.DataFrame:
    """One row a cell: figures with standard deviation, runs that were healthy, runs called stable."""
    figures = ["separation", "usage", "dead", "tracking_gap", "lag", "sharpness", "macro_f1"]
    rows = []
    for cell, part in runs.group_by(CELL, maintain_order=True):
        row = dict(zip(CELL, cell, strict=True))
        for figure in figures:
            values = part[figure].drop_nulls().to_numpy()
            row[figure] = (
                f"{_short(np.mean(values))} ± {_short(np.std(values, ddof=min(1, len(values) - 1)))}"
                if len(values)
                else "-"
            )
        rows.append(
            row | {"healthy": f"{part['healthy'].sum()}/{len(part)}", "stable": f"{part['stable'].sum()}/{len(part)}"}
        )
    return pl.DataFrame(rows)


def draw(runs: pl.DataFrame, path: Path) -> None:
    """Draw the map of outcomes with the predicted boundaries, one panel for each dynamics and optimiser."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.5), sharex=True, sharey=True, layout="constrained")
    for axis, (dynamics, optimizer) in zip(axes.flat, PANELS, strict=True):
        panel = runs.filter(dynamics=dynamics, optimizer=optimizer)
        _draw_map(axis, panel)
        _draw_boundaries(axis, panel)
        axis.set_title(f"{dynamics}, {optimizer}")
    for axis in axes[-1]:
        axis.set_xlabel("lr_ratio")
    for axis in axes[:, 0]:
        axis.set_ylabel("relative temperature")
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in OUTCOMES.values()]
    lines, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles + lines, [*OUTCOMES, *names], loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_map(axis: Axes, panel: pl.DataFrame) -> None:
    ratios, temperatures = (sorted(panel[name].unique()) for name in ("lr_ratio", "temperature"))
    names = list(OUTCOMES)
    colour = np.zeros((len(temperatures), len(ratios)))
    for (ratio, temperature), cell in panel.group_by("lr_ratio", "temperature"):
        column, row = ratios.index(ratio), temperatures.index(temperature)
        counts = [(cell["outcome"] == name).sum() for name in names]
        colour[row, column] = int(np.argmax(counts))
        axis.text(column, row, f"{counts[0]}/{len(cell)}", ha="center", va="center", color="white", fontsize=9)
    axis.imshow(
        colour, cmap=ListedColormap(list(OUTCOMES.values())), vmin=0, vmax=len(names) - 1, origin="lower", aspect="auto"
    )
    axis.set_xticks(range(len(ratios)), [f"{ratio:g}" for ratio in ratios])
    axis.set_yticks(range(len(temperatures)), [f"{temperature:g}" for temperature in temperatures])


def _draw_boundaries(axis: Axes, panel: pl.DataFrame) -> None:
    ratios, temperatures = (np.array(sorted(panel[name].unique())) for name in ("lr_ratio", "temperature"))
    reference = panel.filter(pl.col("lr_ratio") == REFERENCE_RATIO)
    mean = reference.group_by("temperature").agg(pl.col("sharpness", "lag", "tau_joint").median()).sort("temperature")
    if mean.is_empty():
        return
    below = mean["tau_joint"].to_numpy() < 1
    rows = np.arange(len(temperatures))
    largest = REFERENCE_RATIO / mean["sharpness"].to_numpy()
    smallest = REFERENCE_RATIO * mean["lag"].to_numpy() / 0.5
    axis.plot(_position(largest, ratios), rows, "--", label="largest stable ratio, predicted", **LINE)
    smallest, rows_below = smallest[below], rows[below]
    axis.plot(_position(smallest, ratios), rows_below, ":", label="smallest ratio that tracks, predicted", **LINE)
    if below.any() and not below.all():
        critical = np.interp(0.0, np.log(mean["tau_joint"].to_numpy()), np.log(temperatures))
        row = np.interp(critical, np.log(temperatures), rows)
        axis.axhline(row, label="critical temperature, predicted", **LINE)
    axis.set_xlim(-0.5, len(ratios) - 0.5)


def _position(values: np.ndarray, ticks: np.ndarray) -> np.ndarray:
    """Place values on an axis whose ticks stand at equal distances, log scale; off it where they are off it."""
    step = np.log(ticks[-1] / ticks[0]) / (len(ticks) - 1)
    return np.log(values / ticks[0]) / step


def _percent(values: pl.Series) -> str:
    return f"{100 * values.mean():.1f} %" if len(values) else "-"


def _words(share: pl.Series) -> str:
    if not len(share):
        return "was not tested"
    return "held" if share.mean() >= 0.95 else "held under conditions" if share.mean() >= 0.5 else "did not hold"


def _short(value: Any) -> str:
    return f"{value:.2f}" if 0.01 <= abs(value) < 1000 or value == 0 else f"{value:.0e}"


def _versions() -> str:
    return ", ".join(
        [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in ("torch", "skorch", "numpy"))]
    )
