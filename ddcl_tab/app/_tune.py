"""Tune on the training part of a catalog, and score the best parameters on the launches held out; Optuna's pictures."""

from __future__ import annotations

import io
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import optuna
import pandas as pd
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from optuna.exceptions import ExperimentalWarning
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial
from optuna.visualization.matplotlib import plot_contour, plot_optimization_history, plot_param_importances

from ddcl_tab._files import write_whole
from ddcl_tab.app._catalog import has_known_class, require_target
from ddcl_tab.app._evaluation import split_catalog
from ddcl_tab.app._svg import number
from ddcl_tab.app._tables import as_markdown, rounded
from ddcl_tab.app._train import TrainingRun, train_catalog
from ddcl_tab.errors import LeakWarning
from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.space._families import Families, family_columns
from ddcl_tab.tuning._search import DDCLSearchCV
from ddcl_tab.tuning._trials import outcome

_INFEASIBLE = "infeasible"
#: Pixels an inch.
_DPI = 120


def save_plots(study: Study, folder: str | os.PathLike[str], *, score_name: str, prefix: str = "") -> dict[str, str]:
    """Save ``history.png``, ``contour.png`` (``n_prototypes`` x ``lr_ratio``) and ``importance.png``.

    Optuna marks infeasible trials in grey, but draws trials that ran to their end only. Ours are stopped as soon as
    they are infeasible; here they stand at the mean score of the folds that they finished. Importance is that of
    feasible trials.

    Parameters
    ----------
    study : Study
        Of :class:`~ddcl_tab.tuning.DDCLSearchCV`.
    folder : path
        Exists.
    score_name : str
        Label of the score.
    prefix : str
        What the classifier's parameters begin with in the study.

    Returns
    -------
    dict
        File name to why it could not be drawn; empty if all were.
    """
    folder = Path(folder)
    trials = study.get_trials(deepcopy=False)
    complete = [t for t in trials if t.state == TrialState.COMPLETE and outcome(t) == "complete"]
    scored = complete + [t for t in trials if outcome(t) == _INFEASIBLE and t.value is not None]
    pair = [f"{prefix}n_prototypes", f"{prefix}lr_ratio"]
    missing = {}
    with _leaving_no_trace():
        if scored:
            history = _axes(plot_optimization_history(_study_of(trials, scored), target_name=score_name))
            _name_infeasible(history)
            history.xaxis.set_major_locator(MaxNLocator(integer=True))
            _save(history, folder / "history.png")
        else:
            missing["history.png"] = "no trial has a score"
        if all(len({t.params[name] for t in scored if name in t.params}) > 1 for name in pair):
            axes = _axes(plot_contour(_study_of(trials, scored), params=pair, target_name=score_name))
            _name_infeasible(axes)
            _save(axes, folder / "contour.png")
        else:
            missing["contour.png"] = f"it needs scored trials that differ in {' and in '.join(pair)}"
        if len({t.value for t in complete}) > 1:
            names = sorted({name for t in complete for name in t.params})
            _save(plot_param_importances(_study_of(trials, complete), params=names), folder / "importance.png")
        else:
            missing["importance.png"] = "it needs two complete feasible trials with different scores"
    return missing


def _study_of(trials: list[FrozenTrial], drawn: list[FrozenTrial]) -> Study:
    """Copy of a study in which some trials ran to their end, and all others failed; numbers stay."""
    study = optuna.create_study(direction="maximize")
    numbers = {trial.number for trial in drawn}
    for trial in trials:
        if trial.number in numbers:
            study.add_trial(
                create_trial(
                    value=trial.value,
                    params=trial.params,
                    distributions=trial.distributions,
                    constraints=trial.constraints,
                )
            )
        else:
            study.add_trial(create_trial(state=TrialState.FAIL))
    return study


def _name_infeasible(axes: Axes) -> None:
    """Infeasible trials are what Optuna draws last: light grey on grey, and not in the legend."""
    axes.collections[-1].set(label=_INFEASIBLE, facecolor="white", edgecolor="black", linewidth=1.0)
    axes.legend()


def _axes(drawn: Axes | NDArray[Any]) -> Axes:
    """What Optuna drew on: one pair of axes for all that is asked of it here."""
    return cast(Axes, drawn)


def _save(axes: Axes, path: Path) -> None:
    picture = io.BytesIO()
    figure = cast(Figure, axes.figure)
    figure.savefig(picture, format=path.suffix[1:], dpi=_DPI, bbox_inches="tight")
    write_whole(path, picture.getvalue())
    plt.close(figure)


@contextmanager
def _leaving_no_trace() -> Iterator[None]:
    """Style, warnings and logging are as before afterwards; no window opens."""
    verbosity = optuna.logging.get_verbosity()
    with matplotlib.rc_context(), plt.ioff(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(verbosity)


TRIALS_FILE, BEST_FILE, STUDY_FILE = "trials.csv", "best.toml", "study.journal"
SEARCH_FILES = (TRIALS_FILE, "history.png", "contour.png", "importance.png")
SPLIT = "launch"
SCORING = "neg_log_loss"
#: Row of the score table with the initial parameters.
UNTUNED = "DDCLClassifier untuned"


def make_search(
    *,
    target: str,
    seed: int,
    settings: dict[str, Any],
    n_trials: int,
    timeout: float | None,
    storage: str,
    study_name: str,
    n_workers: int,
) -> DDCLSearchCV:
    """A search that shows its progress and does not refit.

    Parameters
    ----------
    target : str
        Column of the classes.
    seed : int
        Of the search and all models.
    settings : dict
        Initial parameters of :class:`~ddcl_tab.DDCLClassifier`.
    n_trials, timeout, storage, study_name
        As in :class:`~ddcl_tab.tuning.DDCLSearchCV`.
    n_workers : int
        Processes.
    """
    return DDCLSearchCV(
        DDCLClassifier(**{"random_state": seed} | settings | {"target": target}),
        n_trials=n_trials,
        timeout=timeout,
        scoring=SCORING,
        storage=storage,
        study_name=study_name,
        n_jobs=n_workers,
        refit=False,
        random_state=seed,
        verbose=1,
    )


def fit_search(search: DDCLSearchCV, frame: pl.DataFrame, seed: int) -> None:
    """Search on what ``train`` trains on, with folds by launch.

    Families are counted in the whole catalog, as ``train`` does; a fold alone knows some of the siblings. The columns
    that follow are those of the search, whose classifier then counts none itself.

    Parameters
    ----------
    search : DDCLSearchCV
    frame : polars.DataFrame
        As :func:`~ddcl_tab.app._catalog.load_catalog` returns it.
    seed : int
        Of the split.

    Raises
    ------
    InputError
        The catalog lacks the target column, or cannot be split.
    TrainingError
        No trial was feasible.
    """
    target = str(search.estimator.target)
    require_target(frame, target)
    if search.estimator.family == "auto" and set(Families.NEEDED) <= set(frame.columns):
        frame = frame.hstack(family_columns(frame, counts=search.estimator.family_counts))
        search.set_params(estimator__family=None)
    known = frame.filter(has_known_class(frame, target))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakWarning)  # the commands never offer leaks
        search.fit(known[split_catalog(known, target, SPLIT, seed).train])


def score_best(search: DDCLSearchCV, frame: pl.DataFrame, seed: int, settings: dict[str, Any]) -> TrainingRun:
    """Train with the best parameters and with the initial ones, and score both on the launches held out.

    Parameters
    ----------
    search : DDCLSearchCV
        Fitted.
    frame : polars.DataFrame
        As :func:`~ddcl_tab.app._catalog.load_catalog` returns it.
    seed : int
        Of the split.
    settings : dict
        Initial parameters.

    Returns
    -------
    TrainingRun
        Of the best, whose peers include the untuned classifier.
    """
    target = str(search.estimator.target)
    tuned, untuned = (
        train_catalog(frame, target=target, split=SPLIT, seed=seed, settings=chosen, verbose=1)
        for chosen in (settings | search.best_params_, settings)
    )
    tuned.metrics["peers"] = {UNTUNED: _scores_of(untuned.metrics)} | tuned.metrics["peers"]
    return tuned


def _scores_of(metrics: dict[str, Any]) -> dict[str, Any]:
    """What the metrics of a run share with those of a peer."""
    peer = next(iter(metrics["peers"].values()))
    return {name: metrics[name] for name in peer}


def write_search(search: DDCLSearchCV, out: Path) -> dict[str, str]:
    """Write all trials and the pictures into a folder; also of a search without a feasible trial.

    Parameters
    ----------
    search : DDCLSearchCV
    out : path
        Exists.

    Returns
    -------
    dict
        Picture that could not be drawn to the reason.
    """
    columns: dict[str, Any] = {
        name: np.ma.asarray(values) for name, values in search.cv_results_.items() if name != "params"
    }
    for name, values in columns.items():
        # Parameters stay as they are: a trial can be trained again from its row.
        if values.dtype.kind == "f" and not name.startswith("param_"):
            columns[name] = np.array([rounded(value) for value in values])
    write_whole(out / TRIALS_FILE, pd.DataFrame(columns).to_csv(index=False))
    return save_plots(search.study_, out, score_name=f"mean {SCORING}")


def write_settings(search: DDCLSearchCV, settings: dict[str, Any], out: Path) -> None:
    """Write the best parameters, with those of ``settings`` that were not searched, for ``train --config``.

    TOML cannot say that there is no family: the first lines say how ``train`` is told.

    Parameters
    ----------
    search : DDCLSearchCV
        Fitted.
    settings : dict
        Initial parameters.
    out : path
        Folder of the file; exists.
    """
    head = (
        f"# Trial {search.cv_results_['trial'][search.best_index_]} of {len(search.cv_results_['trial'])}, "
        f"mean {SCORING} {search.best_score_:.4f} over {search.n_splits_} folds by launch.\n"
    )
    chosen = settings | search.best_params_
    if "family" in chosen and chosen["family"] is None:
        head += "# Searched with --no-family: train with it, too.\n"
        del chosen["family"]
    lines = [f"{name} = {_toml(value)}\n" for name, value in chosen.items()]
    write_whole(out / BEST_FILE, head + "".join(lines))


def _toml(value: Any) -> str:
    """A value that came out of TOML, or a number, as TOML: but for tables it reads as JSON does.

    Examples
    --------
    >>> _toml({"DEBRIS": 2.0}), _toml("balanced"), _toml(False)
    ('{ "DEBRIS" = 2.0 }', '"balanced"', 'false')
    """
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(entry)}" for key, entry in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def trial_table(search: DDCLSearchCV) -> str:
    """All trials, best first: state, score, worst margin, parameters, and why a trial is infeasible."""
    results = search.cv_results_
    margins = {name.removeprefix("margin_"): v for name, v in results.items() if name.startswith("margin_")}
    rows = []
    for i in np.lexsort((-results["mean_test_score"], results["rank_test_score"])):
        measured = {name: values[i] for name, values in margins.items() if not np.isnan(values[i])}
        worst = max(measured, key=lambda name: measured[name], default=None)
        rows.append(
            {
                "trial": str(results["trial"][i]),
                "state": str(results["state"][i]),
                SCORING: f"{results['mean_test_score'][i]:.4f}",
                "worst margin": "" if worst is None else f"{worst} {measured[worst]:+.2g}",
            }
            | {name: _short(value) for name, value in results["params"][i].items()}
            | {"fit": f"{results['mean_fit_time'][i]:.1f} s"}
            | {"why infeasible": "" if results["feasible"][i] else results["verdict"][i]}
        )
    return as_markdown(pl.DataFrame(rows, infer_schema_length=None))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def search_summary(search: DDCLSearchCV) -> str:
    """The search in two lines: trials by state, and the interval of ``lr_ratio``."""
    states = search.cv_results_["state"].tolist()
    counts = ", ".join(f"{states.count(name)} {name}" for name in ("complete", "pruned", "infeasible"))
    lines = [f"{len(states)} trials: {counts}; {search.n_splits_} folds by launch"]
    if search.window_ is not None:
        lines.append(
            f"lr_ratio searched from {number(search.window_.low)} to {number(search.window_.high)}: with the initial "
            f"parameters, the prototypes' step was {number(search.window_.sharpness)} of the largest stable one, and "
            f"their lag in the epoch kept {number(search.window_.lag)}"
        )
    return "\n".join(lines)
