"""One trial: claim it, sample parameters, train fold by fold, judge each; margins of the certificate are constraints.

A claim says whose process runs it, so that it is run again when that process is gone.
"""

from __future__ import annotations

import logging
import math
import platform
import time
import warnings
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_method_params

from ddcl_tab.errors import FamilyContextWarning, InputError, LeakWarning, StabilityWarning, TrainingError
from ddcl_tab.estimators._classifier import DDCLClassifier

#: Constraint of a training that broke off, or whose figure is not a number.
BROKEN = 1e6
#: Optuna calls 0 feasible; a condition that is met exactly at its limit is not.
_LEAST = 1e-9
#: Condition of a training that broke off.
TRAINING = "training"


def set_constraints(trial: Trial, fold: int, margins: dict[str, float]) -> None:
    """Hand the margins of one fold to Optuna.

    A constraint can be set once only, so each fold has its own, named ``FOLD:CONDITION``; a trial is feasible if every
    condition holds in every fold.

    Parameters
    ----------
    trial : Trial
    fold : int
    margins : dict
        Condition to figure over limit, minus 1; below 0 where it holds, NaN where it could not be measured.
    """
    for name, margin in margins.items():
        worst = BROKEN if math.isnan(margin) else min(margin, BROKEN)
        trial.set_constraint(f"{fold}:{name}", worst if worst < 0.0 else max(worst, _LEAST))


def margins_of(trial: FrozenTrial) -> dict[str, float]:
    """Worst margin of each condition over the folds that were trained."""
    margins: dict[str, float] = {}
    for key, value in trial.constraints.items():
        name = key.partition(":")[2]
        margins[name] = max(value, margins.get(name, -math.inf))
    return margins


def violation(trial: FrozenTrial) -> float:
    """Sum of the violated constraints: 0 for a feasible trial. Optuna's samplers order infeasible trials by it."""
    return sum(value for value in trial.constraints.values() if value > 0.0)


def is_finished(trial: FrozenTrial) -> bool:
    """Whether a trial counts: it ran to its end, or was stopped on purpose."""
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def outcome(trial: FrozenTrial) -> str:
    """``"complete"``, ``"pruned"`` or ``"infeasible"``."""
    if violation(trial):
        return "infeasible"
    return "complete" if trial.state == TrialState.COMPLETE else "pruned"


class FeasiblePruner(BasePruner):
    """Prune infeasible trials at once, and let another pruner compare the others among themselves.

    Optuna's pruners do not look at constraints: an infeasible trial with a good score would push feasible ones out.

    Parameters
    ----------
    inner : BasePruner
        Sees feasible trials only.
    """

    def __init__(self, inner: BasePruner) -> None:
        self.inner = inner

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to stop the trial."""
        return violation(trial) > 0.0 or self.inner.prune(_FeasibleView(study), trial)  # type: ignore[arg-type]


class _FeasibleView:
    """A study whose infeasible trials do not show."""

    def __init__(self, study: Study) -> None:
        self._study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return [trial for trial in self._study.get_trials(deepcopy, states) if not violation(trial)]

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.get_trials()


#: Seconds between two time stamps of a running trial.
BEAT = 20.0
#: Seconds without a time stamp after which a process on another machine counts as gone; clocks may differ by less.
STALE = 180.0
#: A trial that took its process with it is tried again this many times: its memory may not suffice for it ever.
MAX_RETRIES = 2

_OWNER, _SEEN, RETRY_OF, _RETRIES = "owner", "seen", "retry_of", "retries"
_log = logging.getLogger("ddcl_tab")


def owner() -> dict[str, Any]:
    """Host, number and start time of this process: no other one has the same three."""
    process = psutil.Process()
    return {"host": platform.node(), "pid": process.pid, "started": process.create_time()}


class Claim:
    """Context in which a trial is known to be run by this process.

    Parameters
    ----------
    trial : Trial
    """

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._done = Event()
        self._thread = Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._trial.set_user_attr(_OWNER, owner())
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._done.wait(BEAT):
            try:
                self._trial.set_user_attr(_SEEN, time.time())
            except UpdateFinishedTrialError:  # another process took this one for gone
                return


def is_abandoned(trial: FrozenTrial) -> bool:
    """Whether the process that runs a trial is gone."""
    claimed = trial.user_attrs.get(_OWNER)
    if claimed is not None and claimed["host"] == platform.node():
        return not _is_alive(claimed["pid"], claimed["started"])
    started = trial.datetime_start or datetime.now()
    return time.time() - trial.user_attrs.get(_SEEN, started.timestamp()) > STALE


def _is_alive(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        # A number is given again to later processes; the clock that start times are read from may be set by a little.
        return abs(process.create_time() - started) < 2.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def reclaim(study: Study) -> None:
    """Queue the trials again whose processes are gone."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if is_abandoned(trial):
            requeue(study, trial)


def requeue(study: Study, trial: FrozenTrial) -> None:
    """Mark a running trial as failed and queue its parameters again, unless another process has done so."""
    if not fail(study, trial.number):
        return
    retries = trial.user_attrs.get(_RETRIES, 0)
    if retries >= MAX_RETRIES:
        _log.warning("trial %d lost its process %d times and is given up: %s", trial.number, retries + 1, trial.params)
        return
    parameters = trial.system_attrs.get("fixed_params", {}) | trial.params
    study.enqueue_trial(parameters, user_attrs={RETRY_OF: trial.number, _RETRIES: retries + 1})


def fail(study: Study, number: int) -> bool:
    """Mark a running trial as failed; False if it had already ended."""
    try:
        study.tell(number, state=TrialState.FAIL)
    except (ValueError, UpdateFinishedTrialError):
        return False
    return True


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

    estimator: DDCLClassifier | Pipeline
    prefix: str
    X: Any
    y: NDArray[Any]
    fit_params: dict[str, Any]
    folds: list[tuple[NDArray[np.intp], NDArray[np.intp]]]
    scorer: Any
    space: dict[str, BaseDistribution] = field(default_factory=dict)
    n_trials: int = 0
    deadline: float | None = None


def classifier_of(estimator: DDCLClassifier | Pipeline) -> DDCLClassifier:
    """The classifier itself, or the last step of a Pipeline."""
    return estimator if isinstance(estimator, DDCLClassifier) else estimator.steps[-1][1]


def fit_fold(task: Task, parameters: dict[str, Any], fold: int) -> Any:
    """Estimator with some parameters, trained on one fold and certified.

    What the certificate says is read from it, and the search warns of leaks once: there are no warnings here.
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
        with warnings.catch_warnings():
            # Of a table cut into folds, each knows a part of the families.
            warnings.simplefilter("ignore", FamilyContextWarning)
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
        reclaim(study)
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
    with Claim(trial):
        # Several processes may have begun the last one at once: numbers are unique, so they agree on who is too many.
        if sum(t.number < trial.number for t in _counted(study)) >= task.n_trials:
            trial.set_user_attr(SURPLUS, True)
            fail(study, trial.number)
            return False
        try:
            value = run_trial(trial, task, on_fold)
        except TrialPruned:
            _tell(study, trial, state=TrialState.PRUNED)
        except UpdateFinishedTrialError:
            return True  # this process had been taken for gone, and the trial is queued again
        except Exception as error:
            trial.set_user_attr(ERROR, f"{type(error).__name__}: {error}")
            fail(study, trial.number)
            raise
        except BaseException:  # interrupted: somebody else, or this process later, takes it up
            requeue(study, study.get_trials()[trial.number])
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
