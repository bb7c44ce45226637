"""Histories of objects: class and parent cloud from up to four epochs, beside the newest epoch alone.

    python pipelines/history_study.py ../shared/data pipelines/results/

The four full catalogs 2019 to 2025, element sets only. Appends one line a fit to ``history.jsonl``, never computes
a line twice, then writes ``history.md`` and ``history.svg``. ``--short`` takes few objects and small networks; its
figures mean nothing.
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

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.model_selection import GroupKFold, StratifiedKFold

from ddcl_tab import DDCLClassifier
from ddcl_tab.catalog import read_elsets, read_satcat
from ddcl_tab.catalog.shape import add_orbit_shape
from ddcl_tab.errors import LeakWarning, StabilityWarning
from ddcl_tab.features.history import N_EPOCHS, SPAN, history_features

SATCAT = "satcat/spacetrack_satcat_current_2025-03-16.json.gz"
DAYS = ("2019-12-19", "2021-05-29", "2022-01-22", "2025-03-15")
CLOUDS = "clouds/*.tle"
#: Element-set numbers that say something about an object; angles of the moment do not.
ORBIT = ("PERIOD", "APOGEE", "PERIGEE", "ECCENTRICITY", "INCLINATION", "BSTAR", "MEAN_MOTION_DOT")
KEY = ("NORAD_CAT_ID", "EPOCH")
N_FOLDS, EARLY_SHARE = 5, 0.7
#: Training of ours: fewer epochs than the default 50, for time.
SETTINGS: dict[str, Any] = {"max_epochs": 20}
SMALL = {"n_prototypes": 4, "d_token": 16, "n_heads": 2, "n_blocks": 1, "max_epochs": 2, "teacher_share": 0.0}
PEERS = ("HistGradientBoosting", "CatBoost")


# --- data -----------------------------------------------------------------------------------------------------------


def long_frame(shared: Path) -> pl.DataFrame:
    """All element sets of the four catalogs, one row an object and epoch."""
    parts = [add_orbit_shape(read_elsets(shared / "elsets" / f"spacetrack_3le_{day}.txt.gz")) for day in DAYS]
    sets = [part.select(*KEY, *ORBIT, catalog=pl.lit(day)) for part, day in zip(parts, DAYS, strict=True)]
    return pl.concat(sets).unique(KEY, keep="last", maintain_order=True)


def typed_objects(shared: Path, long: pl.DataFrame) -> pl.DataFrame:
    """Rows of objects in the newest catalog whose class is known, with class and launch."""
    satcat = read_satcat(shared / SATCAT).filter(pl.col("OBJECT_TYPE").is_in(["PAYLOAD", "DEBRIS", "ROCKET BODY"]))
    now = long.filter(pl.col("catalog") == DAYS[-1]).select("NORAD_CAT_ID").unique()
    known = satcat.select("NORAD_CAT_ID", y="OBJECT_TYPE", group=pl.col("OBJECT_ID").str.slice(0, 8))
    return long.join(now, on="NORAD_CAT_ID", how="semi").join(known, on="NORAD_CAT_ID", maintain_order="left")


def fragments(shared: Path, long: pl.DataFrame) -> pl.DataFrame:
    """Rows of the fragments in the cloud files of 2021, with the name of their cloud."""
    files = sorted(shared.glob(CLOUDS))
    clouds = [read_elsets(file).select("NORAD_CAT_ID", y=pl.lit(file.stem.split("_20")[0])) for file in files]
    return long.join(pl.concat(clouds).unique("NORAD_CAT_ID"), on="NORAD_CAT_ID", maintain_order="left")


def wide_frame(long: pl.DataFrame) -> pl.DataFrame:
    """One row an object, sorted."""
    return history_features(long.drop("catalog"))


def newest_only(wide: pl.DataFrame) -> pl.DataFrame:
    """The columns of the newest epoch."""
    return wide.select("NORAD_CAT_ID", *ORBIT, *(c for c in ("y", "group") if c in wide.columns))


def with_gaps(long: pl.DataFrame, n_dropped: int, seed: int) -> pl.DataFrame:
    """Drop ``n_dropped`` earlier epochs of each object at random; the newest stays."""
    rng = np.random.default_rng(seed)
    order = pl.Series(rng.random(len(long)))
    age = pl.col("EPOCH").rank("ordinal", descending=True).over("NORAD_CAT_ID")
    ranked = long.with_columns(draw=pl.when(age == 1).then(2.0).otherwise(order))
    keep = (pl.col("draw").rank("ordinal").over("NORAD_CAT_ID") > n_dropped) | (pl.col("draw") == 2.0)
    return ranked.filter(keep).drop("draw")


# --- models ---------------------------------------------------------------------------------------------------------


def probabilities(
    name: str, train: pl.DataFrame, tests: dict[str, pl.DataFrame], seed: int, short: bool
) -> dict[str, NDArray[Any]]:
    """Fit on ``train``, class probabilities for each of ``tests``; classes are sorted."""
    y = train["y"].to_numpy()
    features = [c for c in train.columns if c not in ("NORAD_CAT_ID", "y", "group")]
    if name == "DDCL":
        model: Any = DDCLClassifier(random_state=seed, certify=False, **(SMALL if short else SETTINGS))
        model.fit(train.select(features), y, groups=train["group"].to_numpy() if "group" in train.columns else None)
        return {part: model.predict_proba(frame.select(features)) for part, frame in tests.items()}
    if name == "CatBoost":
        from catboost import CatBoostClassifier

        model = CatBoostClassifier(
            iterations=30 if short else 1000, verbose=0, random_seed=seed, thread_count=1, allow_writing_files=False
        )
    else:
        model = HistGradientBoostingClassifier(random_state=seed)
    model.fit(train.select(features).cast(pl.Float64).to_numpy(), y)
    return {
        part: model.predict_proba(frame.select(features).cast(pl.Float64).to_numpy()) for part, frame in tests.items()
    }


def scores(y: NDArray[Any], p: NDArray[Any], classes: NDArray[Any]) -> dict[str, float]:
    """Macro-F1, accuracy, log-loss (nats)."""
    told = classes[p.argmax(1)]
    return {
        "f1": float(f1_score(y, told, average="macro")),
        "accuracy": float(accuracy_score(y, told)),
        "log_loss": float(log_loss(y, p, labels=classes)),
    }


# --- run ------------------------------------------------------------------------------------------------------------


def folds(problem: str, wide: pl.DataFrame) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Rows to learn from and to test on."""
    if problem == "class":
        return list(GroupKFold(N_FOLDS, shuffle=True, random_state=0).split(wide, groups=wide["group"].to_numpy()))
    if problem == "cloud, random":
        return list(StratifiedKFold(N_FOLDS, shuffle=True, random_state=0).split(wide, wide["y"].to_numpy()))
    place = wide.select(pl.col("NORAD_CAT_ID").rank("ordinal").over("y") / pl.len().over("y")).to_series().to_numpy()
    early = (np.flatnonzero(place <= EARLY_SHARE), np.flatnonzero(place > EARLY_SHARE))
    return [early] * N_FOLDS  # the same rows, another seed of the model


def compute(shared: Path, short: bool, file: Path) -> None:
    """Fit what has no line yet, quick models first."""
    done = {(r["problem"], r["model"], r["input"], r["fold"]) for r in _lines(file)}
    long = long_frame(shared)
    objects, pieces = typed_objects(shared, long), fragments(shared, long)
    data = {"class": objects, "cloud, last 30 %": pieces, "cloud, random": pieces}
    if short:
        data = {k: v.filter(pl.col("NORAD_CAT_ID") % 20 == 3) for k, v in data.items()}
    models = [PEERS[0], "DDCL", *(PEERS[1:] if find_spec("catboost") else ())]
    for model in models:
        for problem, rows in data.items():
            wide = wide_frame(rows)
            for fold, (train, test) in enumerate(folds(problem, wide)[: 1 if short else N_FOLDS]):
                for kind in ("newest", "history"):
                    if (problem, model, kind, fold) in done:
                        continue
                    line = {"problem": problem, "model": model, "input": kind, "fold": fold, "train_rows": len(train)}
                    line |= _one(model, rows, wide, train, test, kind, fold, short)
                    with file.open("a") as lines:
                        lines.write(json.dumps(line) + "\n")
                    print(line, flush=True)


def _one(
    model: str,
    long: pl.DataFrame,
    wide: pl.DataFrame,
    train: NDArray[Any],
    test: NDArray[Any],
    kind: str,
    fold: int,
    short: bool,
) -> dict[str, Any]:
    """One fit, measured on all test objects, on those with four epochs, and on those after epochs were dropped."""
    full = wide[test].filter(pl.col(N_EPOCHS) == len(DAYS))
    tests = {"all": wide[test], "four epochs": full}
    if kind == "history":
        four = long.join(full.select("NORAD_CAT_ID"), on="NORAD_CAT_ID", how="semi", maintain_order="left")
        tests |= {f"{n} dropped": wide_frame(with_gaps(four, n, fold)) for n in (1, 2, 3)}
    start = time.perf_counter()
    pick = newest_only if kind == "newest" else (lambda frame: frame)
    p = probabilities(model, pick(wide[train]), {k: pick(v) for k, v in tests.items()}, fold, short)
    classes = np.unique(wide[train]["y"].to_numpy())
    result: dict[str, Any] = {"seconds": round(time.perf_counter() - start, 1)}
    for part, frame in tests.items():
        measured = scores(frame["y"].to_numpy(), p[part], classes) if len(frame) else {}
        result[part] = {"rows": len(frame)} | {k: round(v, 4) for k, v in measured.items()}
    return result


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _cell(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "".join(map(str, values))


def report(file: Path, out: Path, command: str) -> None:
    """Write tables and picture."""
    lines, short = _lines(file), "short" in file.stem
    names = [n for n in ("ddcl-tab", "torch", "scikit-learn", "catboost") if n != "catboost" or find_spec(n)]
    text = [f"# Histories of objects{' (SHORT FORM: figures mean nothing)' if short else ''}", ""]
    text += [f"`{command}`, one thread, {platform.machine()}; {', '.join(f'{n} {version(n)}' for n in names)}.", ""]
    text += [
        "Element sets of four full catalogs, 2019 to 2025; a history is the newest state with rate and scatter of "
        f"{', '.join(ORBIT)}, and {N_EPOCHS}, {SPAN}. DDCL with {SETTINGS}, peers with their defaults (CatBoost 1000 "
        "trees). Mean ± standard deviation over folds (class: by launch; cloud: random, or the first 70 % of each "
        "cloud by number against the rest, five seeds of the model).",
    ]
    text += ["", "The column `fits` counts what is finished; a repeated command goes on from there."]
    gains = []
    for problem in dict.fromkeys(line["problem"] for line in lines):
        mine = [line for line in lines if line["problem"] == problem]
        text += [
            "",
            f"## {problem}",
            "",
            "| model | input | objects | fits | macro-F1 | accuracy | log-loss |",
            "|" + "---|" * 7,
        ]
        for model in dict.fromkeys(line["model"] for line in mine):
            both = {k: [x for x in mine if x["model"] == model and x["input"] == k] for k in ("newest", "history")}
            for kind, part, fits in ((k, p, f) for k, f in both.items() for p in ("all", "four epochs")):
                told = [f[part] for f in fits if "f1" in f[part]]
                cells = " | ".join(_cell([t[c] for t in told]) for c in ("f1", "accuracy", "log_loss"))
                text.append(f"| {model} | {kind} | {part} ({told[0]['rows'] if told else 0}) | {len(told)} | {cells} |")
            pairs = {f["fold"]: f for f in both["newest"]}
            gap = [f["all"]["f1"] - pairs[f["fold"]]["all"]["f1"] for f in both["history"] if f["fold"] in pairs]
            gains.append((problem, model, gap))
            drops = {n: [f[f"{n} dropped"].get("f1", np.nan) for f in both["history"]] for n in (1, 2, 3)}
            said = ", ".join(f"{n} dropped {_cell(v)}" for n, v in drops.items())
            text += [] if not both["history"] else [f"| {model} | history, gaps | four epochs | | {said} | | |"]
        text += [
            "",
            *(f"- {m}: history minus newest, macro-F1, same folds: {_cell(g)}." for p, m, g in gains if p == problem),
        ]
        text += ["", _ahead(mine)]
    text += ["", "![macro-F1](history.svg)"]
    (out / f"{file.stem}.md").write_text("\n".join(text) + "\n")
    _picture(lines, out / f"{file.stem}.svg")


def _ahead(lines: list[dict[str, Any]]) -> str:
    """Whether a peer is ahead on histories, by the folds that both have."""
    by = {(x["model"], x["fold"]): x["all"]["f1"] for x in lines if x["input"] == "history"}
    ours = {fold: f1 for (model, fold), f1 in by.items() if model == "DDCL"}
    if not ours:
        return "DDCL was not fitted on this problem."
    gaps = {p: [f1 - by[p, fold] for fold, f1 in ours.items() if (p, fold) in by] for p in PEERS}
    said = [f"DDCL minus {p}: {_cell(gap)}" for p, gap in gaps.items() if gap]
    ahead = [p for p, gap in gaps.items() if gap and np.mean(gap) < 0]
    return f"Ahead of DDCL on histories: {', '.join(ahead) or 'no peer'} ({'; '.join(said)})."


def _picture(lines: list[dict[str, Any]], file: Path) -> None:
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    problems = list(dict.fromkeys(line["problem"] for line in lines))
    figure = Figure(figsize=(4.5 * len(problems), 3.5), layout="constrained")
    FigureCanvasSVG(figure)
    for problem, axes in zip(problems, figure.subplots(1, len(problems), squeeze=False)[0], strict=True):
        mine = [line for line in lines if line["problem"] == problem]
        models = list(dict.fromkeys(line["model"] for line in mine))
        for shift, kind in ((-0.2, "newest"), (0.2, "history")):
            f1 = [[x["all"]["f1"] for x in mine if x["model"] == m and x["input"] == kind] or [np.nan] for m in models]
            axes.barh(
                np.arange(len(models)) + shift, [np.mean(v) for v in f1], 0.38, xerr=[np.std(v) for v in f1], label=kind
            )
        axes.set_yticks(range(len(models)), models)
        axes.set(title=problem, xlabel="macro-F1")
    axes.legend(fontsize="small")
    with mpl.rc_context({"svg.hashsalt": "ddcl"}):
        figure.savefig(file, metadata={"Date": None})


def main(argv: list[str] | None = None) -> None:
    """Compute, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path, help="folder with the catalogs")
    parser.add_argument("out", type=Path, help="folder for the results")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--report", action="store_true", help="only write tables and picture of the lines there are")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / ("history_short.jsonl" if args.short else "history.jsonl")
    if not args.report:
        with warnings.catch_warnings():
            for kind in (LeakWarning, StabilityWarning):
                warnings.simplefilter("ignore", kind)
            compute(args.shared, args.short, file)
    report(file, args.out, f"python pipelines/history_study.py {args.shared} {args.out}")


if __name__ == "__main__":
    main()
