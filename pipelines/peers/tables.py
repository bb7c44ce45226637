"""Lines of the benchmark to tables: mean and spread over folds, and paired differences to the best boosting model."""

from __future__ import annotations

import statistics
from typing import Any

import polars as pl

from ddcl_tab.app._tables import as_markdown
from peers import MODELS, OURS
from peers.tasks import TASKS

FIGURES = ("macro_f1", "accuracy", "balanced_accuracy", "log_loss", "ece")
SECONDS = ("fit_seconds", "predict_seconds")
#: What the paired table compares.
COMPARED = ("macro_f1", "log_loss", "ece")
#: Figures of the rows that belong to neither Starlink nor OneWeb.
ORDINARY = "ordinary"

Lines = list[dict[str, Any]]


def summarise(lines: Lines) -> dict[str, Any]:
    """Tables as plain values, by task.

    Parameters
    ----------
    lines : list of dict
        One a task, fold and model, without failures.

    Returns
    -------
    dict
        By task: ``reference``, the boosting model with the best mean macro-F1 (None without one); ``models``, by model
        ``folds``, ``figures``, ``ordinary`` and ``minus_reference``, each figure with ``mean`` and ``std``. Differences
        are taken fold by fold, on the folds that both models have.
    """
    return {task: _summarise([line for line in lines if line["task"] == task]) for task in TASKS if _has(lines, task)}


def _has(lines: Lines, task: str) -> bool:
    return any(line["task"] == task for line in lines)


def _summarise(lines: Lines) -> dict[str, Any]:
    by_model = {
        name: {line["fold"]: line for line in lines if line["model"] == name}
        for name in MODELS
        if any(line["model"] == name for line in lines)
    }
    reference = _best_boosting(by_model)
    return {
        "reference": reference,
        "title": TASKS[lines[0]["task"]].title,
        "columns": lines[0]["columns"],
        "models": {name: _figures(folds, by_model.get(reference, {})) for name, folds in by_model.items()},
    }


def _best_boosting(by_model: dict[str, dict[int, dict[str, Any]]]) -> str | None:
    """Best mean macro-F1 among those that have the most folds: a model that has only easy ones must not win."""
    boosting = {name: folds for name, folds in by_model.items() if MODELS[name].boosting}
    most = max(map(len, boosting.values()), default=0)
    whole = {name: folds for name, folds in boosting.items() if len(folds) == most}
    means = {name: statistics.mean(line["macro_f1"] for line in folds.values()) for name, folds in whole.items()}
    return max(means, key=means.__getitem__, default=None)


def _figures(folds: dict[int, dict[str, Any]], reference: dict[int, dict[str, Any]]) -> dict[str, Any]:
    lines, both = list(folds.values()), sorted(folds.keys() & reference.keys())
    minus = {name: [folds[f][name] - reference[f][name] for f in both] for name in COMPARED}
    if any(line["n_ordinary"] < line["n_test"] for line in lines):
        minus["ordinary"] = [folds[f][ORDINARY]["macro_f1"] - reference[f][ORDINARY]["macro_f1"] for f in both]
    notes = ("prototypes_in_use", "n_prototypes", "prototypes_dead", "effective_prototypes", "stable", "epochs")
    return {
        "folds": sorted(folds),
        "figures": {name: _spread([line[name] for line in lines]) for name in FIGURES + SECONDS},
        ORDINARY: {name: _spread([line[ORDINARY][name] for line in lines]) for name in FIGURES},
        "minus_reference": {name: _spread(values) for name, values in minus.items() if values},
        "notes": [{"fold": f} | {name: folds[f].get(name) for name in notes} for f in folds if notes[0] in folds[f]],
    }


def _spread(values: list[float]) -> dict[str, float | None]:
    return {"mean": statistics.mean(values), "std": statistics.stdev(values) if len(values) > 1 else None}


def _say(spread: dict[str, float | None], pattern: str = ".3f") -> str:
    mean, std = spread["mean"], spread["std"]
    return f"{mean:{pattern}}" if std is None else f"{mean:{pattern}} ± {std:.3f}"


def markdown(summary: dict[str, Any], header: list[str], failures: Lines, paired: dict[str, Any]) -> str:
    """Tables as text.

    Parameters
    ----------
    summary : dict
        Of :func:`summarise`.
    header : list of str
        Lines above the tables.
    failures : list of dict
        Lines of models that raised.
    paired : dict
        By task and peer: ``folds``, and as ``figures`` what :func:`peers.paired.paired_difference` found.
    """
    parts = ["# Accuracy on the catalog, all models side by side", "\n".join(header), "## Defaults", _HOW_TO_READ]
    for name, task in summary.items():
        parts += [f"### {task['title'][0].upper()}{task['title'][1:]}", f"Columns: {', '.join(task['columns'])}."]
        parts += [
            _figure_table(task),
            _difference_table(task),
            *_paired_table(name, paired.get(name, {})),
            *_notes(task),
        ]
    if failures:
        parts.append("## Failures")
        parts += [f"- {line['task']}, fold {line['fold']}, {line['model']}: {line['error']}" for line in failures]
    return "\n\n".join(part for part in parts if part) + "\n"


_HOW_TO_READ = """\
Mean ± standard deviation over the folds; log-loss in nats, ECE in 15 bins. Seconds are processor seconds of one thread.
"Without Starlink, OneWeb" leaves those objects out of the test part; the models are the same. Differences are model
minus the boosting model with the best mean macro-F1, fold by fold: more is better for macro-F1, less for log-loss and
ECE. "row form" is DDCLClassifier as it was until prototypes read column tokens."""


def _figure_table(task: dict[str, Any]) -> str:
    rows = []
    for name, model in task["models"].items():
        row = {"model": name, "folds": str(len(model["folds"]))}
        row |= {figure: _say(model["figures"][figure]) for figure in FIGURES}
        row["fit"] = f"{model['figures']['fit_seconds']['mean']:.1f} s"
        row["predict"] = f"{model['figures']['predict_seconds']['mean']:.2f} s"
        rows.append(row)
    return as_markdown(pl.DataFrame(rows))


def _difference_table(task: dict[str, Any]) -> str:
    if task["reference"] is None:
        return ""
    rows = []
    for name, model in task["models"].items():
        minus = model["minus_reference"]
        row = {f"minus {task['reference']}": name}
        row |= {figure: _say(minus[figure], "+.3f") if figure in minus else "" for figure in COMPARED}
        if ORDINARY in minus:
            row["macro_f1, no Starlink, OneWeb"] = _say(minus[ORDINARY], "+.3f")
            row["itself, no Starlink, OneWeb"] = _say(model[ORDINARY]["macro_f1"])
        rows.append(row)
    return as_markdown(pl.DataFrame(rows))


def _paired_table(task: str, found: dict[str, Any]) -> list[str]:
    if not found:
        return []
    rows = [
        {f"{OURS} minus": peer, "folds": str(len(part["folds"]))}
        | {name: f"{of['difference']:+.4f} ± {of['standard_error']:.4f}" for name, of in part["figures"].items()}
        for peer, part in found.items()
    ]
    (draws,) = {part["draws"] for part in found.values()}
    units = "fragments" if TASKS[task].cloud else "launches"
    about = f"Paired bootstrap over the test {units}, {draws} draws: difference ± standard error."
    if task.endswith("-copies"):
        about += f" {OURS} is the one trained without copies: it hides columns itself."
    return [about, as_markdown(pl.DataFrame(rows))]


def _notes(task: dict[str, Any]) -> list[str]:
    return [
        f"{OURS}, fold {note['fold']}: {note['prototypes_in_use']} of {note['n_prototypes']} prototypes in use, "
        + ("" if note["prototypes_dead"] is None else f"{note['prototypes_dead']} dead, ")
        + f"{note['effective_prototypes']:.1f} effective prototypes per test row, "
        f"training {'stable' if note['stable'] else 'not certified as stable'} ({note['epochs']} epochs)."
        for note in task["models"].get(OURS, {}).get("notes", [])
    ]
