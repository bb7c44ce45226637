"""Whether explanations are true: hiding columns, deletion and insertion, SHAP, prototypes, their names, seeds, dates.

    python pipelines/faithfulness_study.py ../shared/data pipelines/results/

Five trainings on the same rows (split by launch, seed 0; only ``random_state`` differs) are kept in
``build/faithfulness`` and reused; all figures are on the rows held out. ``--short`` does it all on the synthetic
catalog of ``data/`` with small networks, to see that it works.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
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
from study_tools import REPORT, commit, mean_std, study_folder

from ddcl_tab import DDCLClassifier
from ddcl_tab.app._catalog import has_known_class
from ddcl_tab.app._evaluation import split_catalog
from ddcl_tab.app._tables import SYNTHETIC_NOTE, as_markdown
from ddcl_tab.errors import LeakWarning, StabilityWarning
from ddcl_tab.interpret._cards import name_truth, prototype_cards
from ddcl_tab.interpret._model import FittedModel, shapley_values, take
from ddcl_tab.space._gp import read_elsets
from ddcl_tab.space._join import join_elsets
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.space._schema import ORBIT_COLUMNS

ROOT = Path(__file__).resolve().parents[1]
SATCAT = "satcat/spacetrack_satcat_current_2025-03-16.json.gz"
ELSETS = {year: f"elsets/spacetrack_3le_{day}.txt.gz" for year, day in (("2022", "2022-01-22"), ("2025", "2025-03-15"))}
SYNTHETIC = ROOT / "data" / "synthetic_satcat.csv.gz"
N_SEEDS = 5
#: Goals: rank correlation with hiding a column, distance of areas from SHAP's, agreement of prototypes over seeds.
HIDING_GOAL, AREA_GOAL, ARI_GOAL = 0.8, 0.01, 0.8
#: Prototypes taken away one after another.
N_REMOVED = 5


class Sizes(NamedTuple):
    """Rows for curves over columns and for matching tokens; for hiding columns; for SHAP, which is slow."""

    rows: int = 1000
    hidden: int = 500
    shap: int = 200


class Material(NamedTuple):
    """Models and rows of a study."""

    models: list[FittedModel]
    train: pl.DataFrame
    test: pl.DataFrame
    sizes: Sizes
    same_objects: tuple[pl.DataFrame, pl.DataFrame] | None


def fit_all(catalog: pl.DataFrame, cache: Path, settings: dict[str, Any], n_seeds: int, sizes: Sizes) -> Material:
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
    return Material(models, known[parts.train], known[parts.test], sizes, None)


def two_dates(data: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same objects with the orbits of their element sets of 2022 and of 2025."""
    satcat = read_satcat(data / SATCAT).with_columns(pl.lit(None, pl.Float64).alias(name) for name in ORBIT_COLUMNS)
    frames = [join_elsets(satcat, read_elsets(data / file)) for file in ELSETS.values()]
    there = frames[0]["PERIOD"].is_not_null() & frames[1]["PERIOD"].is_not_null()
    return frames[0].filter(there), frames[1].filter(there)


def sample(frame: pl.DataFrame, n: int, seed: int) -> pl.DataFrame:
    """Some rows, in their order."""
    return frame[np.sort(np.random.default_rng(seed).choice(len(frame), min(n, len(frame)), replace=False))]


def hiding_table(material: Material) -> list[dict[str, Any]]:
    """Per seed: how well the exact contributions predict what hiding a column does."""
    rows = []
    for seed, model in enumerate(material.models):
        part = sample(material.test, material.sizes.hidden, seed)
        table, contribution = model.encode(part), model.read(part).reasons.contribution
        effects = {
            "values of other rows": checks.hiding_effects(model, table, model.encode(material.train), seed),
            "set to missing": checks.missing_effects(model, table),
        }
        rows += [
            {"seed": seed, "hidden by": how} | checks.agreement(contribution, effect)._asdict()
            for how, effect in effects.items()
        ]
    return rows


def removal_table(material: Material) -> list[dict[str, Any]]:
    """Per seed: what taking away the prototype that adds most does, and how far a scorecard of prototypes comes."""
    rows = []
    y = material.test["OBJECT_TYPE"].to_numpy()
    for seed, model in enumerate(material.models):
        q = checks.token_memberships(model, model.encode(material.test))
        removal, classes = checks.remove_strongest(model, q), model.classifier.classes_
        by_model = classes[checks.decide_tokens(model, q).argmax(axis=1)]
        by_card = classes[checks.scorecard(model, q).argmax(axis=1)]
        rows.append(
            {
                "seed": seed,
                "probability falls": removal.falls,
                "mean change": float((removal.after - removal.before).mean()),
                "decision changes": float(removal.changed.mean()),
                "macro-F1": float(f1_score(y, by_model, average="macro")),
                "scorecard, macro-F1": float(f1_score(y, by_card, average="macro")),
                "scorecard agrees with the model": float((by_card == by_model).mean()),
            }
        )
    return rows


def prototype_table(material: Material) -> list[dict[str, Any]]:
    """Area under the deletion curve over prototypes: by what they add to the decision against random order."""
    rows = []
    for seed, model in enumerate(material.models):
        q = checks.token_memberships(model, model.encode(sample(material.test, material.sizes.rows, seed)))
        random, used = np.random.default_rng(seed), q.mean(axis=1)
        orders = {
            "by what they add": np.argsort(-checks.prototype_parts(model, q), axis=1)[:, :N_REMOVED],
            "by weight": np.argsort(-used, axis=1)[:, :N_REMOVED],
            "random": np.argsort(random.random(used.shape), axis=1)[:, :N_REMOVED],
        }
        areas = {name: checks.area(checks.prototype_deletion(model, q, order)) for name, order in orders.items()}
        rows.append({"seed": seed, **areas})
    return rows


def column_table(material: Material) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Deletion and insertion over columns by exact contributions, sampled Shapley values, SHAP and in random order.

    And how alike exact contributions and SHAP are.
    """
    rows: list[dict[str, Any]] = []
    alike: list[float] = []
    for seed, model in enumerate(material.models):
        part = sample(material.test, material.sizes.rows, seed)
        table, background = model.encode(part), model.encode(material.train)
        decided = model.predict(table).probability.argmax(axis=1)
        exact = model.read(part).reasons.contribution
        sampled = shapley_values(model, table, background, decided, seed)
        values = {"exact": exact, "sampled": sampled, "random": np.random.default_rng(seed).random(exact.shape)}
        few = np.arange(min(material.sizes.shap, len(exact)))
        if find_spec("shap"):
            theirs = shap_values(model, take(table, few), background, decided[few], seed)
            alike += [float(np.corrcoef(a, b)[0, 1]) for a, b in zip(exact[few], theirs, strict=True)]
            values = {"SHAP": theirs} | {f"{name}, rows of SHAP": value[few] for name, value in values.items()} | values
        for name, value in values.items():
            judged = take(table, np.arange(len(value)))
            deletion, insertion = checks.column_curves(
                model, judged, background, np.argsort(-value, axis=1, kind="stable"), seed
            )
            areas = {"deletion": checks.area(deletion), "insertion": checks.area(insertion)}
            rows.append({"seed": seed, "order": name, "rows": len(value)} | areas)
    said = "correlation of exact contributions with SHAP, median over rows"
    return rows, {said: float(np.nanmedian(alike))} if alike else {}


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
    part = sample(material.test, material.sizes.rows, 0)
    memberships = [checks.token_memberships(model, model.encode(part)) for model in material.models]
    seeds = []
    for a, b in combinations(range(len(memberships)), 2):
        matching = checks.match_prototypes(memberships[a], memberships[b])
        figures = {"ARI": matching.ari, "ARI within columns": matching.ari_within, "tokens matched": matching.agreement}
        overlap = float(np.mean([pair[2] for pair in matching.pairs]))
        seeds.append({"seeds": f"{a}, {b}", **figures, "overlap": overlap})
    dates = []
    for seed, model in enumerate(material.models) if material.same_objects else ():
        tables = [model.encode(sample(frame, material.sizes.rows, seed)) for frame in material.same_objects]
        then, now = (checks.token_memberships(model, table).argmax(axis=2) for table in tables)
        decided = [model.predict(table).probability.argmax(axis=1) for table in tables]
        dates.append(
            {
                "seed": seed,
                "tokens of the same prototype": float((then == now).mean()),
                "same class": float((decided[0] == decided[1]).mean()),
            }
        )
    return seeds, dates


def names_table(material: Material) -> list[dict[str, Any]]:
    """Per seed: of what share of tokens the names of prototypes are true, median over the prototypes."""
    rows = []
    for seed, model in enumerate(material.models):
        cards = prototype_cards(model.classifier, material.train)
        for name, part in (("training", material.train), ("held out", material.test)):
            members, others = np.nanmedian(name_truth(model.classifier, part, cards), axis=0)
            rows.append({"seed": seed, "rows": name, "of members": float(members), "of others": float(others)})
    return rows


def rounded(rows: list[dict[str, Any]]) -> str:
    """Markdown table of figures to three decimals."""
    return as_markdown(
        pl.DataFrame([{k: f"{v:.3f}" if isinstance(v, float) else str(v) for k, v in row.items()} for row in rows])
    )


def mean_of(rows: list[dict[str, Any]], name: str) -> str:
    """Mean and standard deviation of one column of a table."""
    return mean_std(row[name] for row in rows)


def report(figures: dict[str, Any], notes: list[str]) -> str:
    """The results file."""
    removal, seeds, hiding = figures["removal"], figures["seeds"], figures["hiding"]
    by_rows = [row for row in hiding if row["hidden by"] == "values of other rows"]
    parts = [
        "# Are the explanations true?",
        *notes,
        "## Contributions beside what hiding a column does",
        "A contribution belongs to a column as seen beside the others. Here one column at a time is hidden from the "
        f"network, by values that it has in {checks.N_HIDDEN} other rows or as missing, and the fall of the log-odds "
        "of the class against the runner-up is compared with the contribution: Spearman's correlation over all rows "
        "and columns, over the columns of a row (median), and the share of rows in which both are largest in one "
        "column.",
        rounded(hiding),
        f"With values of other rows {mean_of(by_rows, 'pooled')} (goal: {HIDING_GOAL}).",
        "## Deletion and insertion of columns",
        "Areas under the curves of the decided class's probability; deletion: lower is truer, insertion: higher. All "
        "orders on the same rows with the same background rows; SHAP, which is slow, on the first of them.",
        rounded(figures["columns"]),
        *_against_shap(figures["columns"]),
        *(f"{name}: {value:.3f}." for name, value in figures["alike"].items()),
        "## Taking away the prototype that adds most, and a scorecard",
        rounded(removal),
        f"Without the prototype that adds most, the probability of the class falls in "
        f"{mean_of(removal, 'probability falls')} of the rows and another class is decided in "
        f"{mean_of(removal, 'decision changes')}; elsewhere the tokens' other prototypes say the same. A scorecard, "
        "*each column's strongest prototype alone*, agrees with the model on "
        f"{mean_of(removal, 'scorecard agrees with the model')} of the rows: macro-F1 "
        f"{mean_of(removal, 'scorecard, macro-F1')} against {mean_of(removal, 'macro-F1')}.",
        "## Deletion of prototypes",
        f"Area under the curve of the decided class's probability as up to {N_REMOVED} prototypes go; lower is truer.",
        rounded(figures["prototypes"]),
        "## The same prototypes from other seeds",
        *(
            [
                rounded(seeds),
                f"ARI of all tokens {mean_of(seeds, 'ARI')}, of those of one column "
                f"{mean_of(seeds, 'ARI within columns')} (goal: {ARI_GOAL}).",
            ]
            if seeds
            else ["Not measured: it needs two trainings."]
        ),
        "## Names of prototypes",
        "Share of the tokens that the name of a prototype is true of: of its members, and of the other tokens of the "
        "columns that it names; median over the prototypes (goals: at least 0.9, and at most half as much).",
        rounded(figures["names"]),
    ]
    if figures["dates"]:
        parts += [
            "## The same prototypes on another date",
            "One model, the same objects with the orbits of January 2022 and of March 2025.",
            rounded(figures["dates"]),
        ]
    return "\n\n".join(parts) + "\n"


def _against_shap(columns: list[dict[str, Any]]) -> list[str]:
    """How far the areas of exact contributions are from SHAP's on the same rows, mean over the seeds."""
    said = []
    for name in ("exact", "sampled"):
        gaps = {
            curve: float(
                np.mean([row[curve] for row in columns if row["order"] == f"{name}, rows of SHAP"])
                - np.mean([row[curve] for row in columns if row["order"] == "SHAP"])
            )
            for curve in ("deletion", "insertion")
            if any(row["order"] == "SHAP" for row in columns)
        }
        if gaps:
            far = ", ".join(f"{curve} {gap:+.3f}" for curve, gap in gaps.items())
            said.append(f"{name.capitalize()} less SHAP, mean over the seeds: {far} (goal: within {AREA_GOAL}).")
    return said


def main() -> None:
    """Compute all tables and write them as Markdown and JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the real catalogs; --short does not read it")
    parser.add_argument("out", type=Path, help="folder of the results")
    parser.add_argument("--short", action="store_true", help="the synthetic catalog and small networks")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "faithfulness", help="folder of the models")
    parser.add_argument("--seeds", type=int, default=N_SEEDS, help="trainings; agreement over seeds needs two")
    args = parser.parse_args()
    commit()
    torch.set_num_threads(1)
    settings: dict[str, Any] = {}
    if args.short:
        settings = {"max_epochs": 3, "n_prototypes": 8, "d_token": 16, "n_heads": 2, "certify": False}
        material = fit_all(read_satcat(SYNTHETIC).sample(800, seed=0), args.cache, settings, 2, Sizes(40, 40, 10))
    else:
        catalog = join_elsets(read_satcat(args.data / SATCAT), read_elsets(args.data / ELSETS["2025"]))
        material = fit_all(catalog, args.cache, settings, args.seeds, Sizes())._replace(
            same_objects=two_dates(args.data)
        )
    columns, alike = column_table(material)
    seeds, dates = stability_tables(material)
    figures = {
        "hiding": hiding_table(material),
        "removal": removal_table(material),
        "names": names_table(material),
        "prototypes": prototype_table(material),
        "columns": columns,
        "alike": alike,
        "seeds": seeds,
        "dates": dates,
    }
    packages = ("ddcl-tab", "torch", "scikit-learn", "numpy", "polars", *(["shap"] if find_spec("shap") else []))
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    notes = [
        f"Made by `{shlex.join(['python', 'pipelines/faithfulness_study.py', *sys.argv[1:]])}` (python "
        f"{platform.python_version()}, {versions}); trainings: {len(material.models)}, on "
        f"the same {len(material.train)} rows, all figures on the {len(material.test)} rows of launches held out.",
        *([f"{SYNTHETIC_NOTE}. Small networks: this shows that the command works, nothing else."] * args.short),
    ]
    folder = study_folder(args.out, "faithfulness", args.short)
    (folder / "data.json").write_text(json.dumps({"commit": commit(), "notes": notes, **figures}, indent=2) + "\n")
    (folder / REPORT).write_text(report(figures, notes))


if __name__ == "__main__":
    main()
