"""Codebooks inside autoencoders: error at equal bits, codes in use, time; ours and its peers.

    python pipelines/codebook_study.py ../shared/data pipelines/results/

Appends one line a fit to ``codebook.jsonl``, never computes a line twice, then writes ``codebook.md`` and
``codebook.svg``. ``--tasks digits`` computes one task only, so that two can run beside each other. The peers need the
extra ``codebook``. ``--short`` makes few and small fits, to see that it works; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import warnings
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import torch
from codebooks.quantizers import DIM, VARIANTS, quantizers, utilisation
from codebooks.tasks import N_CODES, TASKS, Task
from torch import nn

from ddcl_tab.errors import LeakWarning
from ddcl_tab.nn import DDCLCodebook

SIZES, SEEDS = (16, 64, 256, 1024, 4096), range(5)
BATCH, RATE = 128, 1e-3
STEPS = 1500
#: Our variants are fitted at these sizes only.
VARIANT_SIZES = (16, 256)
OURS, HARD = "DDCL", "hard VQ, decay 0.99"
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
    done = {tuple(row[k] for k in ("task", "method", "size", "seed")) for row in _lines(file)}
    sizes, seeds, steps = ((16,), range(2), 12) if args.short else (SIZES, SEEDS, STEPS)
    for size in sizes:
        for seed in seeds:
            for name in args.tasks:
                methods = quantizers(size, steps)
                if size not in VARIANT_SIZES:
                    methods = {key: value for key, value in methods.items() if key not in VARIANTS}
                missing = [key for key in methods if (name, key, size, seed) not in done]
                if not missing:
                    continue
                task = TASKS[name](seed, args.shared)
                for method in missing:
                    model, seconds = fit(task, methods[method], seed, steps)
                    row = {"task": name, "method": method, "size": size, "seed": seed, "steps": steps}
                    row |= {"rows": len(task.train[0]), "test_rows": len(task.test[0]), "seconds": round(seconds, 2)}
                    row |= {key: round(value, 6) for key, value in measure(model, task, size).items()}
                    with file.open("a") as lines:
                        lines.write(json.dumps(row) + "\n")
                    print(row, flush=True)


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


# --- what it comes to -----------------------------------------------------------------------------------------------


def _mean(values: pl.Series, digits: int = 4) -> str:
    spread = values.std()
    return f"{values.mean():.{digits}f}" + (f" ± {spread:.{digits}f}" if isinstance(spread, float) else "")


def table(rows: pl.DataFrame, column: str, digits: int = 4) -> list[str]:
    """Methods by sizes; mean ± standard deviation over seeds."""
    sizes = sorted(rows["size"].unique())
    order = rows.group_by("method").agg(pl.col("error").filter(pl.col("size") == 256).mean()).sort("error", "method")
    lines = ["| codes | " + " | ".join(map(str, sizes)) + " |", "|---|" + "---|" * len(sizes)]
    for method in order["method"]:
        cells = (rows.filter((pl.col("method") == method) & (pl.col("size") == size))[column] for size in sizes)
        lines.append(f"| {method} | " + " | ".join("" if not len(c) else _mean(c, digits) for c in cells) + " |")
    return lines


def verdicts(rows: pl.DataFrame) -> list[str]:
    """For each size the best peer, and how far ours is from it on the same seeds."""
    said = []
    for size in sorted(rows["size"].unique()):
        at = rows.filter((pl.col("size") == size) & ~pl.col("method").is_in(VARIANTS))
        peers = at.filter(pl.col("method") != OURS).group_by("method").agg(pl.col("error").mean()).sort("error")
        if not len(peers):
            continue
        best = peers["method"][0]
        both = at.filter(pl.col("method") == OURS).join(at.filter(pl.col("method") == best), on="seed")
        gap = both["error"] - both["error_right"]
        mean = gap.mean()
        who = f"{best} is ahead" if isinstance(mean, float) and mean > 0 else "DDCL is ahead of every peer"
        said.append(f"- {size} codes: {who}; DDCL minus {best}: {_mean(gap)} over {len(gap)} seeds.")
    return said


def report(file: Path, out: Path, command: str) -> None:
    """Write the tables and the picture."""
    rows = pl.DataFrame(_lines(file), infer_schema_length=None)
    name = "codebook_short" if "short" in file.stem else "codebook"
    text = [f"# Codebooks in autoencoders{' (SHORT FORM: figures mean nothing)' if 'short' in name else ''}", ""]
    text += [f"`{command}`, one thread, {platform.machine()}; {_versions()}.", ""]
    text += [
        f"Each row or image becomes {N_CODES} codes of log2(codebook size) bits. Same encoder, decoder, batches and "
        f"optimiser for all: AdamW, {rows['steps'][0]} steps of {BATCH} rows. Error on held-out rows, mean ± standard "
        "deviation over seeds; a seed sets the split, the weights and the batches.",
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
    text += ["## Goals", "", *goals(rows), "", "![error against codebook size](codebook.svg)"]
    (out / f"{name}.md").write_text("\n".join(text) + "\n")
    picture(rows, out / f"{name}.svg")


def goals(rows: pl.DataFrame) -> list[str]:
    """The two goals of the issue, and what DDCL costs."""
    ours = rows.filter((pl.col("method") == OURS) & (pl.col("size") <= 1024))
    full, gap = ours["utilisation"].min(), ours["gap"]
    said = [
        f"- Use of all codes up to 1024: the smallest share over {len(ours)} fits is {full:.3f}.",
        f"- Gap between mixture and hard code in training: {_mean(gap)} of the error of the hard code.",
    ]
    pairs = rows.filter(pl.col("method") == OURS).join(
        rows.filter(pl.col("method") == HARD), on=["task", "size", "seed"]
    )
    if len(pairs):
        ratio = pairs.with_columns(r=pl.col("seconds") / pl.col("seconds_right")).group_by("size")
        medians = ratio.agg(pl.col("r").median()).sort("size")
        told = ", ".join(f"{size}: {r:.2f}" for size, r in medians.iter_rows())
        said.append(f"- Median time of a DDCL training over one with {HARD}, same run, by size: {told}.")
    return said


def picture(rows: pl.DataFrame, file: Path) -> None:
    """Error against codebook size, one panel a task."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    tasks = [name for name in TASKS if name in set(rows["task"])]
    figure = Figure(figsize=(5 * len(tasks), 4), layout="constrained")
    FigureCanvasSVG(figure)
    kept = rows.filter(~pl.col("method").is_in(VARIANTS))
    for task, axes in zip(tasks, figure.subplots(1, len(tasks), squeeze=False)[0], strict=True):
        for method in sorted(kept["method"].unique(), key=lambda name: (name != OURS, name)):
            part = kept.filter((pl.col("task") == task) & (pl.col("method") == method))
            mean = (
                part.group_by("size").agg(m=pl.col("error").mean(), s=pl.col("error").std().fill_null(0)).sort("size")
            )
            width = 2.5 if method == OURS else 1.0
            axes.errorbar(mean["size"], mean["m"], mean["s"], label=method, linewidth=width, capsize=2)
        axes.set(title=task, xscale="log", yscale="log", xlabel="codebook size", ylabel="held-out error")
        axes.set_xticks(sorted(rows["size"].unique()), [str(size) for size in sorted(rows["size"].unique())])
    axes.legend(fontsize="small")
    with mpl.rc_context({"svg.hashsalt": "ddcl"}):
        figure.savefig(file, metadata={"Date": None})


def _versions() -> str:
    there = [name for name in PACKAGES if find_spec(name.replace("-", "_").replace("scikit_learn", "sklearn"))]
    return ", ".join(f"{name} {version(name)}" for name in there)


def main(argv: list[str] | None = None) -> None:
    """Compute, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path, help="folder with the catalogs")
    parser.add_argument("out", type=Path, help="folder for the results")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--report", action="store_true", help="only write tables and picture of the lines there are")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / ("codebook_short.jsonl" if args.short else "codebook.jsonl")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakWarning)
        if not args.report:
            compute(args, file)
    report(file, args.out, f"python pipelines/codebook_study.py {args.shared} {args.out}")


if __name__ == "__main__":
    main()
