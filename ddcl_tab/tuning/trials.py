"""One trial: sample parameters, train fold by fold, judge each training by its certificate."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from sklearn.base import clone
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_method_params

from ddcl_tab.errors import InputError, LeakWarning, StabilityWarning, TrainingError
from ddcl_tab.estimators import DDCLClassifier
from ddcl_tab.tuning import claims
from ddcl_tab.tuning.feasibility import BROKEN, TRAINING, is_finished, set_constraints

#: Seconds between two looks at a study whose missing trials run elsewhere.
POLL = 0.3
#: User attributes of a trial.
FOLDS, VERDICT, ERROR, SURPLUS = "folds", "verdict", "error", "surplus"


@dataclass(frozen=True)
class Task:
    """All that a process needs to run trials.

    Attributes
    ----------
    estimator : estimator
        Unfitted :class:`~ddcl_tab.DDCLClassifier`, or a Pipeline that ends in one.
    prefix : str
        What the classifier's parameters begin with.
    X, y : table and labels
    fit_params : dict
        Passed to ``fit``; those with a value a row are cut to the fold.
    folds : list of (ndarray, ndarray)
        Row numbers to train and to score on.
    scorer : callable
        ``scorer(estimator, X, y)``; higher is better.
    space : dict
        Parameter name to distribution.
    n_trials : int
        Of the study, whoever runs them.
    deadline : float or None
        Seconds since the epoch; no trial begins after it.
    """

    estimator: Any
    prefix: str
    X: Any
    y: NDArray[Any]
    fit_params: dict[str, Any]
    folds: list[tuple[NDArray[np.intp], NDArray[np.intp]]]
    scorer: Any
    space: dict[str, BaseDistribution] = field(default_factory=dict)
    n_trials: int = 0
    deadline: float | None = None


def classifier_of(estimator: Any) -> DDCLClassifier:
    """The classifier itself, or the last step of a Pipeline."""
    return estimator if isinstance(estimator, DDCLClassifier) else estimator.steps[-1][1]


def fit_fold(task: Task, parameters: dict[str, Any], fold: int) -> Any:
    """Estimator with some parameters, trained on one fold and certified.

    What the certificate says is read from it, and leaks are told once, by the search: neither is warned of here.
    """
    train, _ = task.folds[fold]
    quiet, certified = {f"{task.prefix}verbose": 0}, {f"{task.prefix}certify": "epoch"}
    estimator = clone(task.estimator).set_params(**quiet | parameters | certified)
    rows = _safe_indexing(task.X, train)
    fit_params = _check_method_params(task.X, task.fit_params, indices=train)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StabilityWarning)
        warnings.simplefilter("ignore", LeakWarning)
        return estimator.fit(rows, task.y[train], **fit_params)


def run_trial(trial: Trial, task: Task, on_fold: Callable[[], None]) -> float:
    """Mean score over the folds.

    After each fold the margins of its certificate become constraints, and the mean score so far is reported.

    Raises
    ------
    optuna.TrialPruned
        The trial became infeasible, or is worse than others were at this fold.
    InputError
        The scorer gave no number.
    """
    records: list[dict[str, float]] = []
    for fold, (_, test) in enumerate(task.folds):
        start = time.perf_counter()
        try:
            fitted = fit_fold(task, trial.params, fold)
        except TrainingError as error:
            set_constraints(trial, fold, {TRAINING: BROKEN})
            trial.set_user_attr(VERDICT, str(error))
            raise TrialPruned from error
        fit_time = time.perf_counter() - start
        stability = classifier_of(fitted).stability_
        set_constraints(trial, fold, stability.margins)
        score = float(task.scorer(fitted, _safe_indexing(task.X, test), task.y[test]))
        if not np.isfinite(score):
            raise InputError(f"scoring gave {score} on fold {fold}: a search needs numbers to compare.")
        records.append({"score": score, "fit_time": fit_time, "score_time": time.perf_counter() - start - fit_time})
        trial.set_user_attr(FOLDS, records)
        trial.set_user_attr(VERDICT, stability.verdict)
        trial.report(float(np.mean([record["score"] for record in records])), fold)
        on_fold()
        if trial.should_prune():
            raise TrialPruned
    return float(np.mean([record["score"] for record in records]))


def run_trials(study: Study, task: Task, on_fold: Callable[[], None]) -> None:
    """Run trials until the study has its number, together with other processes that do the same.

    A process that finds nothing to begin waits, and takes over the trials of those that die.

    Parameters
    ----------
    study : Study
    task : Task
    on_fold : callable
        Called without arguments after each fold and each look at the others.
    """
    while task.deadline is None or time.time() < task.deadline:
        claims.reclaim(study)
        if sum(map(is_finished, study.get_trials(deepcopy=False))) >= task.n_trials:
            return
        if not _run_one(study, task, on_fold):
            time.sleep(POLL)
        on_fold()


def _run_one(study: Study, task: Task, on_fold: Callable[[], None]) -> bool:
    """Run a trial, if one is left to begin."""
    if sum(t.state != TrialState.WAITING for t in _counted(study)) >= task.n_trials:
        return False
    trial = study.ask(task.space)
    with claims.Claim(trial):
        # Several processes may have begun the last one at once: numbers are unique, so they agree on who is too many.
        if sum(t.number < trial.number for t in _counted(study)) >= task.n_trials:
            trial.set_user_attr(SURPLUS, True)
            claims.fail(study, trial.number)
            return False
        try:
            value = run_trial(trial, task, on_fold)
        except TrialPruned:
            _tell(study, trial, state=TrialState.PRUNED)
        except UpdateFinishedTrialError:
            return True  # this process had been taken for gone, and the trial is queued again
        except Exception as error:
            trial.set_user_attr(ERROR, f"{type(error).__name__}: {error}")
            claims.fail(study, trial.number)
            raise
        except BaseException:  # interrupted: somebody else, or this process later, takes it up
            claims.requeue(study, study.get_trials()[trial.number])
            raise
        else:
            _tell(study, trial, values=value)
    return True


def _counted(study: Study) -> list[FrozenTrial]:
    """Trials that count, or will: a failed one never does."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.FAIL]


def _tell(study: Study, trial: Trial, **result: Any) -> None:
    try:
        study.tell(trial, **result)
    except UpdateFinishedTrialError:
        return
    except ValueError:
        # Also what Optuna raises if somebody else has ended the trial.
        if study.get_trials(deepcopy=False)[trial.number].state == TrialState.RUNNING:
            raise
