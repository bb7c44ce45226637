"""Codebooks inside autoencoders: error at equal bits, codes in use, time; ours and its peers.

    python pipelines/codebook_study.py ../shared/data pipelines/results/

Appends one line a fit to ``OUT/codebook/data.jsonl``, never computes a line twice, then writes ``report.md`` and
``picture.svg``. ``--tasks digits`` computes one task only, so that two can run beside each other. The peers need the
extra ``codebook``. ``--short`` makes few and small fits, to see that it works; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import platform
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import torch
from codebooks.quantizers import DIM, LIGHT, NARROW, VARIANTS, quantizers, utilisation
from codebooks.tasks import N_CODES, TASKS, Task
from study_tools import PICTURE, REPORT, append_line, mean_std, new_figure, parser, read_lines, run, save_figure
from torch import nn

from ddcl_tab.errors import LeakWarning
from ddcl_tab.nn._codebook import DDCLCodebook

SIZES, SEEDS = (16, 64, 256, 1024, 4096), range(5)
BATCH, RATE = 128, 1e-3
STEPS = 1500
#: Our variants are fitted at these sizes only.
VARIANT_SIZES = (16, 256)
#: Not fitted above this size: slow there, and far behind below it.
SLOW, LARGEST_OF_ALL = ("Gumbel-softmax", "SimVQ"), 1024
OURS = "DDCL, narrow"
TRIED = (
    "- Error below every peer's at equal bits: see the line of each size. What made the difference, with 256 codes "
    "on seeds 0 and 1 (digits, photos; catalog on seed 0): narrow tokens left where the encoder puts them 0.075, "
    "0.049, 0.043, with commitment 0.25 instead of 1 0.075, 0.053, 0.050; on a sphere with commitment 1 0.080, -, "
    "0.033, with 0.25 0.070, 0.041, 0.026 (0.1: 0.070, 0.041, 0.031; none: 0.072, 0.044, 0.035). Not kept: tokens of "
    "unit variance (0.084 on digits), 5, 6 or 8 dimensions, a temperature 4 or 16 times as high (within the spread on "
    "digits; 16 times worse on photos with 1024 codes, 0.043 for 0.039), and in 16 dimensions on digits (0.087) "
    "gradient through the mixture (0.122) or half through it (0.094), codes drawn from q (0.088), a rotated gradient "
    "(0.102), codes moved by the decoder as well (0.086)."
)
#: Fitted side by side at all sizes, so that their times compare.
TIMED = (("DDCL", "hard VQ, decay 0.99"), (OURS, "hard VQ, decay 0.8, narrow, light"))
PACKAGES = ("ddcl-tab", "torch", "scikit-learn", "vector-quantize-pytorch")


class Autoencoder(nn.Module):
    """Encoder, quantiser of ``N_CODES`` tokens, decoder."""

    def __init__(self, task: Task, quantizer: nn.Module) -> None:
        super().__init__()
        self.encoder, self.quantizer, self.decoder = task.encoder(), quantizer, task.decoder()

    def forward(self, *batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What is decoded, the codes ``(B, N_CODES)``, the loss of the quantiser."""
        z = self.encoder(*batch).view(-1, N_CODES, DIM)
        quantized, indices, loss = self.quantizer(z)
        return self.decoder(quantized.flatten(1)), indices, loss.sum()


def fit(task: Task, make: Any, seed: int, steps: int) -> tuple[Autoencoder, float]:
    """Train an autoencoder; itself and the seconds it took."""
    torch.manual_seed(seed)
    model = Autoencoder(task, make()).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.05)
    generator = torch.Generator().manual_seed(seed)
    start = time.perf_counter()
    for _ in range(steps):
        rows = torch.randint(len(task.train[0]), (BATCH,), generator=generator)
        batch = tuple(part[rows] for part in task.train)
        out, _, loss = model(*batch)
        optimizer.zero_grad()
        (task.error(out, batch) + loss).backward()
        optimizer.step()
        schedule.step()
    return model.eval(), time.perf_counter() - start


@torch.no_grad()
def measure(model: Autoencoder, task: Task, size: int) -> dict[str, float]:
    """Errors on both parts, use of the codes by the training part."""
    result: dict[str, float] = {}
    for name, batch in (("train_error", task.train), ("error", task.test)):
        out, indices, _ = model(*batch)
        result[name] = float(task.error(out, batch))
        if name == "train_error":
            result["utilisation"], result["perplexity"] = utilisation(indices, size)
    if isinstance(model.quantizer, DDCLCodebook):
        result |= {"gap": model.quantizer.soft_hard_gap, "separation": model.quantizer.separation}
    return result


def compute(args: argparse.Namespace, file: Path) -> None:
    """Fit what has no line yet, small codebooks first."""
    done = {tuple(row[k] for k in ("task", "method", "size", "seed")) for row in read_lines(file)}
    sizes, seeds, steps = ((16,), range(2), 12) if args.short else (SIZES, SEEDS, STEPS)
    for size in sizes:
        for seed in seeds:
            for name in args.tasks:
                methods = quantizers(size, steps)
                if size not in VARIANT_SIZES:
                    methods = {key: value for key, value in methods.items() if key not in VARIANTS}
                if size > LARGEST_OF_ALL:
                    methods = {key: value for key, value in methods.items() if key not in SLOW}
                missing = [key for key in methods if (name, key, size, seed) not in done]
                if not missing:
                    continue
                task = TASKS[name](seed, args.shared)
                for method in missing:
                    model, seconds = fit(task, methods[method], seed, steps)
                    row = {"task": name, "method": method, "size": size, "seed": seed, "steps": steps}
                    row |= {"rows": len(task.train[0]), "test_rows": len(task.test[0]), "seconds": round(seconds, 2)}
                    row |= {key: round(value, 6) for key, value in measure(model, task, size).items()}
                    append_line(file, row)


# --- what it comes to -----------------------------------------------------------------------------------------------


def table(rows: pl.DataFrame, column: str, digits: int = 4) -> list[str]:
    """Methods by sizes; mean ± standard deviation over seeds."""
    sizes = sorted(rows["size"].unique())
    order = rows.group_by("method").agg(pl.col("error").filter(pl.col("size") == 256).mean()).sort("error", "method")
    lines = ["| codes | " + " | ".join(map(str, sizes)) + " |", "|---|" + "---|" * len(sizes)]
    for method in order["method"]:
        cells = (rows.filter((pl.col("method") == method) & (pl.col("size") == size))[column] for size in sizes)
        lines.append(f"| {method} | " + " | ".join(_cell(c, digits) for c in cells) + " |")
    return lines


def _cell(values: pl.Series, digits: int) -> str:
    few = f" ({len(values)})" if 0 < len(values) < len(SEEDS) else ""
    return mean_std(values, digits) + few


def verdicts(rows: pl.DataFrame) -> list[str]:
    """For each size the best peer, and how far ours is from it on the same seeds."""
    said = []
    for size in sorted(rows["size"].unique()):
        at = rows.filter((pl.col("size") == size) & ~pl.col("method").is_in(VARIANTS))
        peers = (
            at.filter(~pl.col("method").str.starts_with("DDCL"))
            .group_by("method")
            .agg(pl.col("error").mean())
            .sort("error")
        )
        if not len(peers):
            continue
        best = peers["method"][0]
        both = at.filter(pl.col("method") == OURS).join(at.filter(pl.col("method") == best), on="seed")
        if not len(both):
            said.append(f"- {size} codes: {OURS} and {best} have no seed in common.")
            continue
        gap = both["error"] - both["error_right"]
        mean = gap.mean()
        who = f"{best} is ahead" if isinstance(mean, float) and mean > 0 else f"{OURS} is ahead of every peer"
        said.append(f"- {size} codes: {who}; {OURS} minus {best}: {mean_std(gap, 4)} over {len(gap)} seeds.")
    return said


def report(file: Path, out: Path, command: str) -> None:
    """Write the tables and the picture."""
    rows, short = pl.DataFrame(read_lines(file), infer_schema_length=None), out.name.endswith("_short")
    text = [f"# Codebooks in autoencoders{' (SHORT FORM: figures mean nothing)' if short else ''}", ""]
    text += [f"`{command}`, one thread, {platform.machine()}; {_versions()}.", ""]
    text += [
        f"Each row or image becomes {N_CODES} codes of log2(codebook size) bits. Same encoder, decoder, batches and "
        f"optimiser for all: AdamW, {rows['steps'][0]} steps of {BATCH} rows. Error on held-out rows, mean ± standard "
        "deviation over seeds; a seed sets the split, the weights and the batches. Tokens have "
        f"{DIM} numbers, codes too; `narrow`: codes have {NARROW}, between linear maps; FSQ has 2 to 4 by its design. "
        f"`light`: commitment 0.25, as {OURS}, and decay 0.99 have it, instead of 1. Five seeds; a cell with "
        "fewer says how many. Of the seconds only those of DDCL, of hard VQ, decay 0.99, and of `light` were measured "
        "side by side; DDCL with 16 codes a little later than its peer, on a busier machine.",
        "",
    ]
    for task in (name for name in TASKS if name in set(rows["task"])):
        part = rows.filter(pl.col("task") == task)
        text += [f"## {task}", "", f"{TASKS[task].__doc__} {part['rows'][0]} rows to learn from, "]
        text[-1] += f"{part['test_rows'][0]} held out."
        text += ["", "Error:", "", *table(part, "error"), "", *verdicts(part), ""]
        text += ["Share of the codes in use:", "", *table(part, "utilisation", 3), ""]
        text += ["Perplexity:", "", *table(part, "perplexity", 1), ""]
        text += ["Seconds of training, whole autoencoder:", "", *table(part, "seconds", 1), ""]
    text += ["## Goals", "", *goals(rows), "", "![error against codebook size](picture.svg)"]
    (out / REPORT).write_text("\n".join(text) + "\n")
    picture(rows, out / PICTURE)


def goals(rows: pl.DataFrame) -> list[str]:
    """The two goals of the issue, and what DDCL costs."""
    ours = rows.filter(pl.col("method").is_in(["DDCL", OURS]) & (pl.col("size") <= 1024))
    full, gap = ours["utilisation"].min(), ours["gap"]
    said = [
        f"- Use of all codes up to 1024: the smallest share over {len(ours)} fits is {full:.3f}.",
        f"- Gap between mixture and hard code in training: {mean_std(gap, 4)} of the error of the hard code.",
    ]
    for pair in TIMED:
        ours, hard = (rows.filter((pl.col("method") == name) & (pl.col("size") <= LARGEST_OF_ALL)) for name in pair)
        both = ours.join(hard, on=["task", "size", "seed"])
        if len(both):
            ratio = both.with_columns(r=pl.col("seconds") / pl.col("seconds_right")).group_by("size")
            medians = ratio.agg(pl.col("r").median()).sort("size")
            told = ", ".join(f"{size}: {r:.2f}" for size, r in medians.iter_rows())
            said.append(f"- Median time of a training, {' over '.join(pair)}, same run, by size: {told}.")
    return [*said, TRIED]


def picture(rows: pl.DataFrame, file: Path) -> None:
    """Error against codebook size, one panel a task."""
    tasks = [name for name in TASKS if name in set(rows["task"])]
    figure = new_figure(5 * len(tasks), 5)
    kept = rows.filter(~pl.col("method").is_in(VARIANTS))
    kept = kept.filter(~pl.col("method").str.ends_with(LIGHT))
    bases = sorted({name.removesuffix(", narrow") for name in kept["method"].unique()})
    for task, axes in zip(tasks, figure.subplots(1, len(tasks), squeeze=False)[0], strict=True):
        for method in sorted(kept["method"].unique()):
            part = kept.filter((pl.col("task") == task) & (pl.col("method") == method))
            mean = part.group_by("size").agg(m=pl.col("error").mean()).sort("size")
            base = method.removesuffix(", narrow")
            style = "-" if method != base or f"{base}, narrow" not in set(kept["method"]) else "--"
            width = 3.0 if method == OURS else 1.2
            axes.plot(mean["size"], mean["m"], style, color=f"C{bases.index(base)}", label=method, linewidth=width)
        axes.set(title=task, xscale="log", yscale="log", xlabel="codebook size", ylabel="held-out error")
        axes.set_xticks(sorted(rows["size"].unique()), [str(size) for size in sorted(rows["size"].unique())])
        axes.minorticks_off()
        low, high = axes.get_ylim()
        ticks = [tick for tick in (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3) if low < tick < high]
        axes.set_yticks(ticks, [str(tick) for tick in ticks])
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize="small")
    save_figure(figure, file)


def _versions() -> str:
    there = [name for name in PACKAGES if find_spec(name.replace("-", "_").replace("scikit_learn", "sklearn"))]
    return ", ".join(f"{name} {version(name)}" for name in there)


def main(argv: list[str] | None = None) -> None:
    """Compute, then report."""
    arguments = parser(__doc__)
    arguments.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    run(__file__, "codebook", arguments.parse_args(argv), compute, report, (LeakWarning,))


if __name__ == "__main__":
    main()
