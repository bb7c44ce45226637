"""Whether the explanations are true: removal, deletion and insertion, SHAP, seeds, dates, rules alone.

    python pipelines/faithfulness_study.py ../shared/data pipelines/results/

Five trainings on the same rows (split by launch, seed 0; only ``random_state`` differs) are kept in
``build/faithfulness`` and reused; all figures are on the rows held out. ``--short`` does it all on the synthetic
catalog of ``data/`` with small networks, to see that it works.
"""

from __future__ import annotations

import argparse
import json
import platform
import warnings
from importlib.metadata import version
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import faithfulness as checks
import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from study_tools import REPORT, commit, study_folder

from ddcl_tab import DDCLClassifier
from ddcl_tab.app._catalog import has_known_class
from ddcl_tab.app._evaluation import split_catalog
from ddcl_tab.app._tables import SYNTHETIC_NOTE, as_markdown
from ddcl_tab.errors import LeakWarning, StabilityWarning
from ddcl_tab.interpret._model import FittedModel, shapley_values, take
from ddcl_tab.space._gp import read_elsets
from ddcl_tab.space._join import join_elsets
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.space._schema import ORBIT_COLUMNS

ROOT = Path(__file__).resolve().parents[1]
SATCAT = "satcat/spacetrack_satcat_current_2025-03-16.json.gz"
ELSETS = {year: f"elsets/spacetrack_3le_{day}.txt.gz" for year, day in (("2022", "2022-01-22"), ("2025", "2025-03-15"))}
SYNTHETIC = ROOT / "data" / "synthetic_satcat.csv.gz"
#: Columns that both catalogs take from their element sets, so that they show the orbit of that day.
N_SEEDS = 5
#: Rows for curves over columns, and for SHAP, which is slow.
N_ROWS, N_SHAP_ROWS = 1000, 200
#: Prototypes taken away one after another.
N_REMOVED = 5


class Material(NamedTuple):
    """Models and rows of a study."""

    models: list[FittedModel]
    train: pl.DataFrame
    test: pl.DataFrame
    same_objects: tuple[pl.DataFrame, pl.DataFrame] | None


def fit_all(catalog: pl.DataFrame, cache: Path, settings: dict[str, Any], n_seeds: int) -> Material:
    """Train once a seed on the same rows, or take what was trained before."""
    known = catalog.filter(has_known_class(catalog, "OBJECT_TYPE"))
    parts = split_catalog(known, "OBJECT_TYPE", "launch", 0)
    cache.mkdir(parents=True, exist_ok=True)
    models = []
    for seed in range(n_seeds):
        file = cache / f"seed-{seed}.ddcl"
        if not file.exists():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", LeakWarning)
                warnings.simplefilter("ignore", StabilityWarning)
                DDCLClassifier(random_state=seed, verbose=1, **settings).fit(known[parts.train]).save(file)
        models.append(FittedModel(DDCLClassifier.load(file)))
    return Material(models, known[parts.train], known[parts.test], None)


def two_dates(data: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same objects with the orbits of their element sets of 2022 and of 2025."""
    satcat = read_satcat(data / SATCAT).with_columns(pl.lit(None, pl.Float64).alias(name) for name in ORBIT_COLUMNS)
    frames = [join_elsets(satcat, read_elsets(data / file)) for file in ELSETS.values()]
    there = frames[0]["PERIOD"].is_not_null() & frames[1]["PERIOD"].is_not_null()
    return frames[0].filter(there), frames[1].filter(there)


def removal_table(material: Material) -> list[dict[str, Any]]:
    """Per seed: what taking away the strongest prototype does, and how far rules alone come."""
    rows = []
    y = material.test["OBJECT_TYPE"].to_numpy()
    for seed, model in enumerate(material.models):
        prediction = model.predict(model.encode(material.test))
        removal = checks.remove_strongest(model, prediction.q)
        classes = model.classifier.classes_
        by_model = classes[prediction.probability.argmax(axis=1)]
        by_rule = classes[checks.decision_list(model, prediction.q)]
        rows.append(
            {
                "seed": seed,
                "probability falls": removal.falls,
                "mean change": float((removal.after - removal.before).mean()),
                "decision changes": float(removal.changed.mean()),
                "of these, as said": removal.changed_as_said,
                "macro-F1": float(f1_score(y, by_model, average="macro")),
                "rules alone, macro-F1": float(f1_score(y, by_rule, average="macro")),
                "rules agree with the model": float((by_rule == by_model).mean()),
            }
        )
    return rows


def prototype_table(material: Material) -> list[dict[str, Any]]:
    """Area under the deletion curve over prototypes: by weight against random order among those with a membership."""
    rows = []
    for seed, model in enumerate(material.models):
        q = model.predict(model.encode(material.test)).q
        random = np.random.default_rng(seed)
        orders = {
            "by weight": np.argsort(-q, axis=1)[:, :N_REMOVED],
            "random": np.argsort(random.random(q.shape), axis=1)[:, :N_REMOVED],
        }
        areas = {name: checks.area(checks.prototype_deletion(model, q, order)) for name, order in orders.items()}
        rows.append({"seed": seed, **areas})
    return rows


def column_table(material: Material, n_shap_rows: int) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Deletion and insertion over columns: ours, SHAP, random order; and how alike ours and SHAP are."""
    rows: list[dict[str, Any]] = []
    alike: list[float] = []
    for seed, model in enumerate(material.models):
        random = np.random.default_rng(seed)
        chosen = random.choice(len(material.test), min(N_ROWS, len(material.test)), replace=False)
        table, background = model.encode(material.test[np.sort(chosen)]), model.encode(material.train)
        decided = model.predict(table).probability.argmax(axis=1)
        ours = shapley_values(model, table, background, decided, seed)
        values = {"ours": ours, "random": random.random(ours.shape)}
        few = np.arange(min(n_shap_rows, len(ours)))
        if find_spec("shap"):
            theirs = shap_values(model, take(table, few), background, decided[few], seed)
            alike += [float(np.corrcoef(a, b)[0, 1]) for a, b in zip(ours[few], theirs, strict=True)]
            values |= {"SHAP": theirs}
        for name, value in values.items():
            part = take(table, few) if "SHAP" in values else table
            order = np.argsort(-value[: len(part.numeric)], axis=1)
            deletion, insertion = checks.column_curves(model, part, background, order, seed)
            rows.append(
                {"seed": seed, "order": name, "deletion": checks.area(deletion), "insertion": checks.area(insertion)}
            )
    return rows, {"correlation of ours with SHAP, median over rows": float(np.median(alike))} if alike else {}


def shap_values(
    model: FittedModel, table: Any, background: Any, decided: NDArray[np.intp], seed: int
) -> NDArray[np.float64]:
    """SHAP's permutation explainer on the encoded columns, contributions to the decided class."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks of the library on import
        import shap
    n_numeric = table.numeric.shape[1]

    def probability(x: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = type(table)(x[:, :n_numeric].astype(np.float32), x[:, n_numeric:].astype(np.int64))
        return model.predict(rows).probability

    random = np.random.default_rng(seed)
    some = take(background, random.choice(len(background.numeric), 50, replace=False))
    flat = [np.concatenate([part.numeric, part.categorical], axis=1).astype(float) for part in (some, table)]
    explainer = shap.explainers.Permutation(probability, flat[0], seed=seed)
    found = explainer(flat[1], max_evals=4 * (flat[1].shape[1] + 1), silent=True).values
    return found[np.arange(len(decided)), :, decided]


def stability_tables(material: Material) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Prototypes matched over pairs of seeds, and over two dates by one model."""
    memberships = [model.predict(model.encode(material.test)).q for model in material.models]
    seeds = []
    for a, b in combinations(range(len(memberships)), 2):
        matching = checks.match_prototypes(memberships[a], memberships[b])
        overlap = float(np.mean([pair[2] for pair in matching.pairs]))
        seeds.append(
            {"seeds": f"{a}, {b}", "ARI": matching.ari, "rows matched": matching.agreement, "overlap": overlap}
        )
    dates = []
    for seed, model in enumerate(material.models) if material.same_objects else ():
        then, now = (model.predict(model.encode(frame)) for frame in material.same_objects)
        matching = checks.match_prototypes(then.q, now.q)
        same = float((then.q.argmax(axis=1) == now.q.argmax(axis=1)).mean())
        decided = float((then.probability.argmax(axis=1) == now.probability.argmax(axis=1)).mean())
        dates.append({"seed": seed, "ARI": matching.ari, "same prototype": same, "same class": decided})
    return seeds, dates


def rounded(rows: list[dict[str, Any]]) -> str:
    """Markdown table of figures to three decimals."""
    return as_markdown(
        pl.DataFrame([{k: f"{v:.3f}" if isinstance(v, float) else str(v) for k, v in row.items()} for row in rows])
    )


def mean_of(rows: list[dict[str, Any]], name: str) -> str:
    """Mean and standard deviation of one column of a table."""
    values = [row[name] for row in rows]
    spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):.3f} ± {spread:.3f}"


def report(figures: dict[str, Any], notes: list[str]) -> str:
    """The results file."""
    removal, seeds = figures["removal"], figures["seeds"]
    parts = [
        "# Are the explanations true?",
        *notes,
        "## Taking away the strongest prototype, and rules alone",
        rounded(removal),
        f"The decision changes in {mean_of(removal, 'decision changes')} of the rows, and then in "
        f"{mean_of(removal, 'of these, as said')} of them away from the class for which the prototype spoke (goal: "
        f"0.95). The probability of that class falls in only {mean_of(removal, 'probability falls')} of all rows: "
        "elsewhere other prototypes of the same class take over, and some of them are surer. So `explain` gives each "
        "prototype's own `effect`, with its sign. A decision list, *the class of the strongest prototype*, agrees with "
        f"the model on {mean_of(removal, 'rules agree with the model')} of the rows: macro-F1 "
        f"{mean_of(removal, 'rules alone, macro-F1')} against {mean_of(removal, 'macro-F1')}.",
        "## Deletion of prototypes",
        f"Area under the curve of the decided class's probability as up to {N_REMOVED} prototypes go; lower is truer.",
        rounded(figures["prototypes"]),
        "## Deletion and insertion of columns",
        "Areas under the curves of the decided class's probability; deletion: lower is truer, insertion: higher. All "
        "orders on the same rows with the same background rows.",
        rounded(figures["columns"]),
        *(f"{name}: {value:.3f}." for name, value in figures["alike"].items()),
        "## The same prototypes from other seeds",
        rounded(seeds),
        f"ARI {mean_of(seeds, 'ARI')} (goal: 0.8).",
    ]
    if figures["dates"]:
        parts += [
            "## The same prototypes on another date",
            "One model, the same objects with the orbits of January 2022 and of March 2025.",
            rounded(figures["dates"]),
        ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Compute all tables and write them as Markdown and JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the real catalogs; --short does not read it")
    parser.add_argument("out", type=Path, help="folder of the results")
    parser.add_argument("--short", action="store_true", help="the synthetic catalog and small networks")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "faithfulness", help="folder of the models")
    args = parser.parse_args()
    commit()
    torch.set_num_threads(1)
    settings: dict[str, Any] = {}
    if args.short:
        settings = {"max_epochs": 3, "n_prototypes": 8, "d_token": 16, "n_heads": 2, "certify": False}
        material = fit_all(read_satcat(SYNTHETIC).sample(800, seed=0), args.cache, settings, n_seeds=2)
    else:
        catalog = join_elsets(read_satcat(args.data / SATCAT), read_elsets(args.data / ELSETS["2025"]))
        material = fit_all(catalog, args.cache, settings, N_SEEDS)._replace(same_objects=two_dates(args.data))
    columns, alike = column_table(material, 10 if args.short else N_SHAP_ROWS)
    seeds, dates = stability_tables(material)
    figures = {
        "removal": removal_table(material),
        "prototypes": prototype_table(material),
        "columns": columns,
        "alike": alike,
        "seeds": seeds,
        "dates": dates,
    }
    packages = ("ddcl-tab", "torch", "scikit-learn", "numpy", "polars", *(["shap"] if find_spec("shap") else []))
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    notes = [
        f"Made by `python pipelines/faithfulness_study.py {'--short ' if args.short else ''}../shared/data "
        f"pipelines/results/` (python {platform.python_version()}, {versions}); {len(material.models)} trainings on "
        f"the same {len(material.train)} rows, all figures on the {len(material.test)} rows of launches held out.",
        *([f"{SYNTHETIC_NOTE}. Small networks: this shows that the command works, nothing else."] * args.short),
    ]
    folder = study_folder(args.out, "faithfulness", args.short)
    (folder / "data.json").write_text(json.dumps({"commit": commit(), "notes": notes, **figures}, indent=2) + "\n")
    (folder / REPORT).write_text(report(figures, notes))


if __name__ == "__main__":
    main()
