"""Summaries of texts from frozen tokens: ours beside mean, class token, PMA and bag of codes; cost to 1 million tokens.

    python pipelines/document_study.py ../shared/data pipelines/results/

Needs the extra ``documents``. Appends one line a measurement to ``OUT/documents/data.jsonl``, never computes a line
twice, then writes ``report.md`` and ``picture.svg``. Encoded tokens are kept in ``--cache`` (default build/documents).
``--short`` takes a few texts; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from document_tokens import MAX_TOKENS, SIZES, Documents, documents
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import normalized_mutual_info_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from study_tools import (
    PICTURE,
    REPORT,
    append_line,
    matched_accuracy,
    mean_std,
    new_figure,
    parser,
    read_lines,
    run,
    save_figure,
)
from torch import nn

from ddcl_tab.nn._compressor import HierarchicalCompressor

PROTOTYPES, SEEDS, SHARE = (2, 4, 8, 16, 32, 64), range(5), 0.8
COST_SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
#: Prototypes up to which residuals are read, 384 numbers for each.
MOST_RESIDUALS = 8
STRENGTHS = (0.01, 0.1, 1.0)
#: Reported in arXiv:2604.03850, as quoted in the issue of this project.
PAPER = {"SST-2": ("86.7 at K = 2", 2), "20 Newsgroups": ("17.5", None)}
Matrix = NDArray[np.float32]


class PMA(nn.Module):
    """Pooling by attention with one learned query and a linear head (arXiv:1810.00825); sees the labels."""

    def __init__(self, dim: int, n_classes: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 1, dim) * dim**-0.5)
        self.attention = nn.MultiheadAttention(dim, 4, batch_first=True)
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, n_classes))

    def forward(self, tokens: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        """Logits of ``(B, T, D)`` tokens; ``padding`` is True where there is none."""
        query = self.query.expand(len(tokens), -1, -1)
        return self.head(self.attention(query, tokens, tokens, key_padding_mask=padding, need_weights=False)[0][:, 0])


def pma_accuracy(data: Documents, rows: NDArray[Any], seed: int, epochs: int) -> float:
    """Train PMA on texts ``rows``; accuracy on the test texts."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = data.tokens.split(torch.bincount(data.document, minlength=len(data.y)).tolist())
        y = torch.from_numpy(data.y)
        model = PMA(data.tokens.shape[1], int(y.max()) + 1)
        optimizer = torch.optim.AdamW(model.parameters(), 5e-4)

        def logits(texts: Any) -> torch.Tensor:
            batch = nn.utils.rnn.pad_sequence([parts[i] for i in texts], batch_first=True)
            length = torch.tensor([len(parts[i]) for i in texts])
            return model(batch, torch.arange(batch.shape[1]) >= length.unsqueeze(1))

        for _ in range(epochs):
            for texts in torch.from_numpy(rows)[torch.randperm(len(rows))].split(64):
                loss = nn.functional.cross_entropy(logits(texts), y[texts])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        model.eval()
        with torch.no_grad():
            told = [logits(texts).argmax(1) for texts in torch.arange(data.n_train, len(y)).split(64)]
        return float((torch.cat(told) == y[data.n_train :]).float().mean())


def means(values: torch.Tensor, document: torch.Tensor, n: int) -> Matrix:
    """Mean of rows over each text."""
    total = values.new_zeros(n, values.shape[1]).index_add(0, document, values)
    return (total / torch.bincount(document, minlength=n).unsqueeze(1)).numpy()


def summaries(data: Documents, rows: NDArray[Any], k: int, seed: int) -> dict[str, Matrix]:
    """Summaries with ``k`` prototypes, placed on the tokens of texts ``rows``."""
    there = torch.isin(data.document, torch.from_numpy(rows))
    n = len(data.y)
    torch.manual_seed(seed)
    compressor = HierarchicalCompressor(data.tokens.shape[1], [k])
    compressor.learn(data.tokens[there], [data.document[there]], steps=200, batch_size=2048, seed=seed)
    with torch.no_grad():
        (ours,) = compressor(data.tokens, [data.document])
    codes = MiniBatchKMeans(k, n_init=1, random_state=seed).fit(data.tokens[there].numpy())
    hard = torch.eye(k)[torch.from_numpy(codes.predict(data.tokens.numpy())).long()]
    result = {
        "DDCL shares": ours.shares.numpy(),
        "DDCL mixture": ours.tokens.numpy(),
        "bag of codes (k-means)": means(hard, data.document, n),
    }
    if k <= MOST_RESIDUALS:
        (left,) = compressor.residuals(data.tokens, [data.document])
        result["DDCL residuals"] = left.flatten(1).numpy()
        away = [hard[:, j : j + 1] * (data.tokens - torch.from_numpy(codes.cluster_centers_[j])) for j in range(k)]
        result["VLAD (k-means)"] = np.concatenate([means(part.float(), data.document, n) for part in away], 1)
    return result


def probe(x: NDArray[Any], data: Documents, rows: NDArray[Any], seed: int) -> float:
    """Accuracy on the test texts of logistic regression; its strength is chosen on a fifth of ``rows``."""
    x = x.astype(np.float64)  # a float32 scale can round to zero
    fit, choose = train_test_split(rows, test_size=0.2, random_state=seed)

    def model(c: float, texts: NDArray[Any]) -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=300)).fit(x[texts], data.y[texts])

    best = max(STRENGTHS, key=lambda c: model(c, fit).score(x[choose], data.y[choose]))
    return float(model(best, rows).score(x[data.n_train :], data.y[data.n_train :]))


def clustering(x: Matrix, data: Documents, rows: NDArray[Any], seed: int) -> dict[str, float]:
    """k-means on the summaries of ``rows``, as many clusters as classes: matched accuracy, NMI."""
    y = data.y[rows]
    labels = KMeans(int(y.max()) + 1, n_init=3, random_state=seed).fit_predict(x[rows])
    return {"clusters": matched_accuracy(y, labels), "nmi": float(normalized_mutual_info_score(y, labels))}


# --- run ------------------------------------------------------------------------------------------------------------


def compute(args: argparse.Namespace, file: Path) -> None:
    """Measure what has no line yet."""
    done = {(r["texts"], r["method"], r["k"], r["seed"]) for r in read_lines(file)}

    def write(texts: str, method: str, k: int, seed: int, measured: dict[str, Any]) -> None:
        append_line(file, {"texts": texts, "method": method, "k": k, "seed": seed, **measured})

    for texts, sizes in SIZES.items():
        data = documents(texts, args.shared, args.cache, (120, 60) if args.short else sizes)
        for seed in range(2) if args.short else SEEDS:
            rows = np.random.default_rng(seed).permutation(data.n_train)[: int(SHARE * data.n_train)]
            n = {"rows": len(rows), "test_rows": len(data.y) - data.n_train, "tokens": len(data.tokens)}
            first = torch.searchsorted(data.document, torch.arange(len(data.y)))
            plain = {
                "mean of tokens": means(data.tokens, data.document, len(data.y)),
                "class token": data.tokens[first].numpy(),
            }
            for name, x in plain.items():
                if (texts, name, 0, seed) not in done:
                    measured = {"probe": probe(x, data, rows, seed), **clustering(x, data, rows, seed)}
                    write(texts, name, 0, seed, n | measured)
            for k in (4,) if args.short else PROTOTYPES:
                last = "VLAD (k-means)" if k <= MOST_RESIDUALS else "bag of codes (k-means)"
                if (texts, last, k, seed) in done:
                    continue
                for name, x in summaries(data, rows, k, seed).items():
                    if (texts, name, k, seed) in done:
                        continue
                    measured = {"probe": probe(x, data, rows, seed), **clustering(x, data, rows, seed)}
                    write(texts, name, k, seed, n | measured)
            if (texts, "PMA", 0, seed) not in done:
                write(texts, "PMA", 0, seed, n | {"probe": pma_accuracy(data, rows, seed, 1 if args.short else 4)})
    if not any(line["texts"] == "cost" for line in read_lines(file)):
        for n_tokens in COST_SIZES[:2] if args.short else COST_SIZES:
            write("cost", "two levels, 32 and 16 prototypes", n_tokens, 0, cost(n_tokens))


@torch.no_grad()
def cost(n: int) -> dict[str, float]:
    """Median seconds of three readings of ``n`` random tokens of width 64, and the peak memory so far."""
    tokens = torch.randn(n, 64, generator=torch.Generator().manual_seed(0))
    parents = [torch.arange(n) // 100, torch.arange(-(-n // 100)) // 10]
    compressor = HierarchicalCompressor(64, [32, 16]).learn(tokens, parents, steps=5)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        compressor(tokens, parents)
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": round(statistics.median(seconds), 4), "peak_mb": round(peak)}


# --- report ---------------------------------------------------------------------------------------------------------


def report(file: Path, out: Path, command: str) -> None:
    """Write tables and picture."""
    lines, short = read_lines(file), out.name.endswith("_short")
    versions = ", ".join(f"{n} {version(n)}" for n in ("ddcl-tab", "torch", "scikit-learn", "transformers"))
    text = [f"# Summaries of texts{' (SHORT FORM: figures mean nothing)' if short else ''}", ""]
    text += [f"`{command}`, one thread, {platform.machine()}; {versions}.", ""]
    text += [
        f"Tokens of the frozen encoder all-MiniLM-L6-v2, at most {MAX_TOKENS} a text. A seed draws {SHARE:.0%} of the "
        "training texts and starts the methods; percent, mean ± standard deviation over seeds. Probe: logistic "
        "regression on the summary, tested on the test texts. Clusters: k-means on the training texts' summaries, "
        "as many as classes, best matching. Shares have K numbers a text, "
        "the mixture 384 in K dimensions, residuals and VLAD 384 K.",
    ]
    text += ["", "The column `seeds` counts what is finished; a repeated command goes on from there."]
    for texts in SIZES:
        text += _section(texts, [line for line in lines if line["texts"] == texts])
    text += _cost_section([line for line in lines if line["texts"] == "cost"])
    text += ["", "![accuracy of a linear probe](picture.svg)"]
    (out / REPORT).write_text("\n".join(text) + "\n")
    _picture(lines, out / PICTURE)


def _section(texts: str, lines: list[dict[str, Any]]) -> list[str]:
    if not lines:
        return []
    n = lines[0]
    text = ["", f"## {texts}: {n['rows']} texts to learn from, {n['test_rows']} to test, {n['tokens']} tokens", ""]
    text += ["| summary | K | seeds | probe | clusters | NMI |", "|---|---|---|---|---|---|"]
    by: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for line in lines:
        by.setdefault((line["method"], line["k"]), []).append(line)
    for (method, k), mine in sorted(by.items()):
        cells = [mean_std([100 * m[c] for m in mine if c in m], 1) for c in ("probe", "clusters", "nmi")]
        text.append(f"| {method} | {k or ''} | {len(mine)} | {' | '.join(cells)} |")
    text.append(f"| arXiv:2604.03850 | {PAPER[texts][1] or ''} | | {PAPER[texts][0]} | | |")
    mean = {key: float(np.mean([m["probe"] for m in mine])) for key, mine in by.items()}
    ours = {k: max(v for (m, j), v in mean.items() if m.startswith("DDCL") and j == k) for m, k in mean if k}
    rivals = {key: value for key, value in mean.items() if not key[0].startswith("DDCL")}
    text.append("")
    for k, value in sorted(ours.items()):
        ahead = sorted({m for (m, j), v in rivals.items() if v > value and j in (0, k)})
        text.append(f"- K = {k}: ahead of the best DDCL summary in the probe: {', '.join(ahead) or 'no peer'}.")
    text += [
        "",
        "The paper trains its encoder with the readout; here the encoder is frozen, another one, and sees a part",
    ]
    text[-1] += " of the texts. The figures stand side by side and are no comparison of methods."
    return text


def _cost_section(lines: list[dict[str, Any]]) -> list[str]:
    if not lines:
        return []
    size, seconds = (np.array([line[c] for line in lines], dtype=float) for c in ("k", "seconds"))
    slope = np.polyfit(np.log(size), np.log(seconds), 1)[0]
    text = ["", f"## Cost: {lines[0]['method']}, random tokens of width 64", ""]
    text += ["| tokens | seconds | peak memory of the process, MB |", "|---|---|---|"]
    text += [f"| {line['k']:,} | {line['seconds']:.3f} | {line['peak_mb']} |" for line in lines]
    return [*text, "", f"Time grows as tokens to the power {slope:.2f}."]


def _picture(lines: list[dict[str, Any]], file: Path) -> None:
    figure = new_figure(10, 4.8)
    methods = sorted({line["method"] for line in lines if line["texts"] in SIZES})
    for texts, axes in zip(SIZES, figure.subplots(1, 2), strict=True):
        mine = [line for line in lines if line["texts"] == texts]
        for i, method in enumerate(methods):
            sizes = sorted({line["k"] for line in mine if line["method"] == method})
            mean = [100 * np.mean([m["probe"] for m in mine if (m["method"], m["k"]) == (method, k)]) for k in sizes]
            if sizes == [0]:  # no prototypes
                axes.axhline(mean[0], linestyle="--", color=f"C{i}", label=method)
            else:
                axes.plot(sizes, mean, "o-", color=f"C{i}", label=method)
        axes.set(title=texts, xlabel="prototypes K", ylabel="accuracy of a linear probe, %")
        axes.set_xscale("log", base=2)
        axes.set_xticks(PROTOTYPES, [str(k) for k in PROTOTYPES])
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
    save_figure(figure, file)


def main(argv: list[str] | None = None) -> None:
    """Compute, then report."""
    arguments = parser(__doc__)
    arguments.add_argument("--cache", type=Path, default=Path("build/documents"), help="folder for encoded tokens")
    run(__file__, "documents", arguments.parse_args(argv), compute, report)


if __name__ == "__main__":
    main()
