"""A study as scikit-learn tells of a search."""

from __future__ import annotations

from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial
from scipy.stats import rankdata

from ddcl_tab.errors import TrainingError
from ddcl_tab.tuning.feasibility import is_finished, margins_of, outcome, violation
from ddcl_tab.tuning.trials import FOLDS, VERDICT


def cv_results(study: Study, n_splits: int) -> dict[str, Any]:
    """Arrays with one entry a finished trial, in the order of their numbers.

    Parameters
    ----------
    study : Study
    n_splits : int

    Returns
    -------
    dict
        ``trial``, ``state`` (``"complete"``, ``"pruned"``, ``"infeasible"``), ``feasible``, ``verdict``, ``params``,
        ``param_NAME``, ``split{i}_test_score`` (NaN where the trial had been stopped), ``mean_test_score`` and
        ``std_test_score`` over the folds that were trained, ``rank_test_score`` (complete feasible trials first, all
        others share the last rank), mean and standard deviation of ``fit_time`` and ``score_time`` in seconds, and
        ``margin_CONDITION``, the worst over the folds, NaN where it was not measured.
    """
    trials = [trial for trial in study.get_trials(deepcopy=False) if is_finished(trial)]
    results: dict[str, Any] = {
        "trial": np.array([trial.number for trial in trials]),
        "state": np.array([outcome(trial) for trial in trials]),
        "feasible": np.array([not violation(trial) for trial in trials]),
        "verdict": np.array([trial.user_attrs.get(VERDICT, "") for trial in trials], dtype=object),
        "params": [dict(trial.params) for trial in trials],
    }
    for name in _names(trial.params for trial in trials):
        values = [trial.params.get(name) for trial in trials]
        results[f"param_{name}"] = np.ma.masked_array(values, mask=[value is None for value in values])
    scores = np.array([_folds(trial, "score", n_splits) for trial in trials]).reshape(-1, n_splits)
    results |= {f"split{i}_test_score": scores[:, i] for i in range(n_splits)}
    for name, table in {
        "test_score": scores,
        "fit_time": np.array([_folds(trial, "fit_time", n_splits) for trial in trials]),
        "score_time": np.array([_folds(trial, "score_time", n_splits) for trial in trials]),
    }.items():
        trained = np.ma.masked_invalid(table.reshape(-1, n_splits))
        results[f"mean_{name}"] = trained.mean(axis=1).filled(np.nan)
        results[f"std_{name}"] = trained.std(axis=1).filled(np.nan)
    results["rank_test_score"] = _rank(results["mean_test_score"], results["state"] == "complete")
    margins = [margins_of(trial) for trial in trials]
    for name in _names(margins):
        results[f"margin_{name}"] = np.array([margin.get(name, np.nan) for margin in margins])
    return results


def _names(dicts: Any) -> list[str]:
    """Keys in the order in which they come."""
    return list(dict.fromkeys(key for entry in dicts for key in entry))


def _folds(trial: FrozenTrial, name: str, n_splits: int) -> list[float]:
    values = [record[name] for record in trial.user_attrs.get(FOLDS, [])]
    return values + [np.nan] * (n_splits - len(values))


def _rank(score: Any, ranked: Any) -> Any:
    rank = np.full(len(score), ranked.sum() + 1, dtype=np.int32)
    rank[ranked] = rankdata(-score[ranked], method="min")
    return rank


def best_index(results: dict[str, Any]) -> int | None:
    """Index of the best trial, or None where no feasible one ran to its end."""
    complete = results["state"] == "complete"
    return int(np.where(complete, results["mean_test_score"], -np.inf).argmax()) if complete.any() else None


def no_best(study: Study) -> TrainingError:
    """Error that says how near the nearest trial came."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if is_finished(trial)]
    if not trials:
        return TrainingError(f"no trial of study {study.study_name!r} ended before the timeout: give it more time.")
    nearest = min(trials, key=violation)
    margins = ", ".join(f"{name} {margin:+.3g}" for name, margin in margins_of(nearest).items())
    parameters = ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in nearest.params.items()
    )
    return TrainingError(
        f"none of {len(trials)} trials was feasible. The nearest is trial {nearest.number} ({parameters}) with margins "
        f"{margins} (below 0 where a condition holds): {nearest.user_attrs.get(VERDICT, '')}. Change the space, or the "
        "estimator that it starts from."
    )
