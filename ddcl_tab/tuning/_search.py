"""``DDCLSearchCV``: hyperparameter search among sound trainings only."""

from __future__ import annotations

import numbers
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Self

import joblib
import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.metrics import check_scoring, log_loss, make_scorer
from sklearn.model_selection import BaseCrossValidator, StratifiedGroupKFold, StratifiedKFold, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ddcl_tab.errors import ConfigurationError, InputError, TrainingError
from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._columns import as_table
from ddcl_tab.estimators._families import family_groups
from ddcl_tab.estimators._validation import check_class_weight, check_groups, check_labels, take, take_target
from ddcl_tab.training._stability import Stability
from ddcl_tab.tuning._space import Window, check_search, default_space, inside, measure_window
from ddcl_tab.tuning._study import SeededSampler, best_index, cv_results, digest, fingerprint, no_best, open_study
from ddcl_tab.tuning._trials import Task, classifier_of, fit_fold, is_finished, run_trials
from ddcl_tab.tuning._workers import Progress, run_workers


def _has(name: str) -> Any:
    return available_if(lambda search: hasattr(getattr(search, "best_estimator_", search.estimator), name))


#: Study attribute: what the study was made for, its seed, its space and how that was measured.
SETUP = "ddcl_tab"
N_SPLITS = 3


class DDCLSearchCV(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Search hyperparameters of a :class:`~ddcl_tab.DDCLClassifier` with Optuna, among sound trainings only.

    Every fold of every trial is certified (``stability_``), and the margins of the certificate are constraints: a trial
    that violates one in any fold is stopped there, keeps the sampler away from its parameters, and is never the best.

    Parameters
    ----------
    estimator : DDCLClassifier or Pipeline
        A Pipeline ends in a DDCLClassifier. Its own parameters are the first trial, brought into the space, so the
        result is no worse on the folds than what it began with.
    n_trials : int, default=50
        Finished trials in the study, those of earlier calls included.
    timeout : float, optional
        Seconds after which no trial begins.
    cv : int, splitter or iterable, optional
        Default: three folds; stratified, and whole groups together where groups are known.
    scoring : str or callable, default="neg_log_loss"
    storage : str or path, optional, default="ddcl_tab_tuning.journal"
        Journal file, or URL of a database (``"postgresql+psycopg://user@host/name"``). A killed search goes on where it
        was, and several processes or machines work together, if they name the same storage and study. None keeps the
        study in memory.
    study_name : str, optional
        Default: a name made from rows, folds, parameters and settings, so that the same call finds its study again.
    n_jobs : int, default=1
        Processes; -1 is one a core. Each computes on one thread.
    space : dict, optional
        Parameter name, as in ``estimator.get_params()``, to Optuna distribution; replaces or extends the default one.
        None as a value leaves a parameter as it is in ``estimator``.
    refit : bool, default=True
        Fit ``best_estimator_`` on all rows.
    random_state : int, RandomState instance or None, default=None
        Of the sampler, and of ``estimator`` if it has none. With ``n_jobs=1`` the same integer gives the same trials,
        also if they were interrupted. A study keeps the seed that it began with.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    best_estimator_ : estimator
    best_params_ : dict
    best_score_ : float
        Mean over the folds.
    best_index_ : int
        Into ``cv_results_``.
    cv_results_ : dict of arrays
        As in ``GridSearchCV``, with ``state``, ``feasible``, ``verdict`` and ``margin_CONDITION``; see
        :func:`ddcl_tab.tuning._study.cv_results`.
    study_ : optuna.Study
    space_ : dict
        Distributions searched.
    window_ : Window or None
        Of ``lr_ratio``, with the figures of the reference fit; None if ``space`` names ``lr_ratio``.
    scorer_, n_splits_, refit_time_, classes_, n_features_in_, feature_names_in_

    Notes
    -----
    Default space: ``n_prototypes``, ``lr``, ``lr_ratio``, ``temperature``, ``quantization_weight``, ``n_blocks``,
    ``d_token``. The window of ``lr_ratio`` comes from one fit of ``estimator`` on the first fold: above the smallest
    ratio that tracks the encoder, below the largest stable one (:func:`ddcl_tab.tuning._space.measure_window`).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from ddcl_tab import DDCLClassifier
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> tiny = DDCLClassifier(
    ...     n_prototypes=6, temperature=0.3, lr=0.01, lr_ratio=100, d_token=8, n_heads=2, n_blocks=1, max_epochs=12
    ... )
    >>> fixed = dict.fromkeys(["n_prototypes", "d_token", "n_blocks"])
    >>> search = DDCLSearchCV(tiny, n_trials=1, storage=None, space=fixed, random_state=0).fit(X, y)
    >>> sorted(search.best_params_)
    ['lr', 'lr_ratio', 'quantization_weight', 'temperature']
    >>> search.predict_proba(X).shape
    (150, 3)
    """

    best_estimator_: DDCLClassifier | Pipeline

    def __init__(
        self,
        estimator: DDCLClassifier | Pipeline,
        *,
        n_trials: int = 50,
        timeout: float | None = None,
        cv: int | BaseCrossValidator | Iterable[Any] | None = None,
        scoring: str | Callable[..., float] = "neg_log_loss",
        storage: str | os.PathLike[str] | None = "ddcl_tab_tuning.journal",
        study_name: str | None = None,
        n_jobs: int | None = 1,
        space: dict[str, BaseDistribution | None] | None = None,
        refit: bool = True,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.n_trials = n_trials
        self.timeout = timeout
        self.cv = cv
        self.scoring = scoring
        self.storage = storage
        self.study_name = study_name
        self.n_jobs = n_jobs
        self.space = space
        self.refit = refit
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        """Tags of the estimator."""
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags

    def fit(self, X: Any, y: Any = None, *, groups: Any = None, **fit_params: Any) -> Self:
        """Run the trials that the study lacks, and fit the best parameters on all rows.

        Parameters
        ----------
        X : pandas or polars frame, or array, shape (n, p)
            Without ``y``, a frame that holds the column ``target`` of the classifier.
        y : array-like, shape (n,), optional
            Classes, none missing.
        groups : array-like, shape (n,), optional
            Rows of one group stay together, in the folds and in the classifier's own validation split. Default: the
            families where ``family`` of the classifier names a column, else the groups that the frame's domain knows,
            such as launches.
        **fit_params
            Passed to ``estimator.fit``; cut to the fold where they have a value a row.

        Returns
        -------
        DDCLSearchCV

        Raises
        ------
        ConfigurationError
            Parameters break their rules, a key of ``class_weight`` is no class, the storage cannot be opened, or the
            study was made for something else.
        InputError
            The table or the folds cannot be used as they are.
        TrainingError
            No trial was feasible; says how near the nearest came. ``study_`` and ``cv_results_`` are set all the same.
        """
        task = self._prepare(X, y, groups, fit_params)
        deadline = None if self.timeout is None else time.time() + self.timeout
        made_for = fingerprint(task.X, task.y, task.folds, self.estimator, self._decisive())
        self.study_ = open_study(self.storage, self.study_name or self._name(made_for), seed=0)
        setup = self._set_up(task, made_for)
        self.space_ = {key: json_to_distribution(text) for key, text in setup["space"].items()}
        self.window_ = None if setup["window"] is None else Window(**setup["window"])
        task = replace(self._seeded(task, setup["seed"]), space=self.space_, n_trials=self.n_trials, deadline=deadline)
        self._run(task, setup["seed"])
        self.cv_results_ = cv_results(self.study_, self.n_splits_)
        index = best_index(self.cv_results_)
        if index is None:
            raise no_best(self.study_)
        self.best_index_ = index
        self.best_params_ = self.cv_results_["params"][index]
        self.best_score_ = float(self.cv_results_["mean_test_score"][index])
        if self.refit:
            start = time.perf_counter()
            self.best_estimator_ = clone(task.estimator).set_params(**self.best_params_)
            self.best_estimator_.fit(task.X, task.y, **task.fit_params)
            self.refit_time_ = time.perf_counter() - start
        return self

    @_has("predict")
    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable class of each row, shape (n,)."""
        return self._best().predict(as_table(X))

    @_has("predict_proba")
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Class probabilities, shape (n, C)."""
        return self._best().predict_proba(as_table(X))

    @_has("transform")
    def transform(self, X: Any) -> NDArray[np.float64]:
        """Prototype memberships, shape (n, K)."""
        return self._best().transform(as_table(X))

    @_has("get_feature_names_out")
    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the columns of :meth:`transform`."""
        return self._best().get_feature_names_out(input_features)

    def score(self, X: Any, y: Any) -> float:
        """``scoring`` of ``best_estimator_``; higher is better. ``y`` has the class of each row, none missing."""
        X = as_table(X)
        return float(self.scorer_(self._best(), X, check_labels(X, y)))

    @property
    def classes_(self) -> NDArray[Any]:
        """Classes of ``best_estimator_``."""
        return self._best().classes_

    @property
    def n_features_in_(self) -> int:
        """Columns of ``best_estimator_``."""
        return self._best().n_features_in_

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        """Names of the columns of ``best_estimator_``."""
        return self._best().feature_names_in_

    def _best(self) -> Any:
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_

    def _prepare(self, X: Any, y: Any, groups: Any, fit_params: dict[str, Any]) -> Task:
        """Check everything; rows, folds and scorer."""
        prefix = check_search(self.get_params(deep=False))
        X = as_table(X)
        if y is None:
            X, y, kept = take_target(X, classifier_of(self.estimator).target)
            groups = take(groups, kept)
            fit_params = {k: take(v, kept) if np.shape(v) == kept.shape else v for k, v in fit_params.items()}
        y = check_labels(X, y)
        check_class_weight(classifier_of(self.estimator).class_weight, np.unique(y))
        family = classifier_of(self.estimator).family
        group = check_groups(family_groups(family, X) if groups is None else groups, X, len(y))
        # A bare classifier derives launches itself; in a Pipeline the columns may be gone by then.
        if group is not None and (groups is not None or prefix):
            fit_params = fit_params | {f"{prefix}groups": group}
        folds = self._folds(X, y, group)
        self.n_splits_ = len(folds)
        self.scorer_ = _scorer(self.estimator, self.scoring, y)
        return Task(self.estimator, prefix, X, y, fit_params, folds, self.scorer_)

    def _folds(self, X: Any, y: NDArray[Any], group: Any) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        cv = N_SPLITS if self.cv is None else self.cv
        if isinstance(cv, numbers.Integral):
            cv = StratifiedKFold(int(cv)) if group is None else StratifiedGroupKFold(int(cv))
        folds = list(check_cv(cv, y, classifier=True).split(np.empty((len(y), 1)), y, group))
        for i, (train, _) in enumerate(folds):
            lost = sorted(set(y.tolist()) - set(y[train].tolist()))
            if lost:
                raise InputError(
                    f"fold {i} has no row of {', '.join(map(str, lost))} to train on: leave classes of few rows or few "
                    "groups out, or set cv to fewer or other folds."
                )
        return folds

    def _name(self, made_for: dict[str, str]) -> str:
        # Two seeds are two studies.
        seed = int(self.random_state) if isinstance(self.random_state, numbers.Integral) else None
        return f"ddcl-{digest([made_for, seed])}"

    def _decisive(self) -> dict[str, Any]:
        """Settings that make trials comparable."""
        ranges = {name: d and distribution_to_json(d) for name, d in (self.space or {}).items()}
        return {"scoring": self.scoring, "space": sorted(ranges.items())}

    def _set_up(self, task: Task, made_for: dict[str, str]) -> dict[str, Any]:
        """What a study keeps about itself: read where it has it, else made, which takes one fit."""
        if (setup := self.study_.user_attrs.get(SETUP)) is not None:
            other = [name for name, value in made_for.items() if setup["made for"][name] != value]
            if other:
                raise ConfigurationError(
                    f"study {self.study_.study_name!r} was made with other {' and '.join(other)}: "
                    "give study_name another name, or go on with what it was made for."
                )
            return setup
        if self.study_.get_trials(deepcopy=False):
            raise ConfigurationError(
                f"study {self.study_.study_name!r} holds trials that DDCLSearchCV did not make: "
                "give study_name another name."
            )
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        window, ranges = self._measure_space(self._seeded(task, seed))
        if SETUP in self.study_.user_attrs:  # of another process that began at the same time, and was faster
            return self._set_up(task, made_for)
        setup = {
            "made for": made_for,
            "seed": seed,
            "space": {name: distribution_to_json(distribution) for name, distribution in ranges.items()},
            "window": window and window.__dict__,
        }
        self.study_.set_user_attr(SETUP, setup)
        own = self.estimator.get_params()
        start = {name: inside(distribution, own[name]) for name, distribution in ranges.items()}
        self.study_.enqueue_trial({name: value for name, value in start.items() if value is not None})
        return setup

    def _measure_space(self, task: Task) -> tuple[Window | None, dict[str, BaseDistribution]]:
        own = classifier_of(self.estimator).get_params()
        wanted = self.space or {}
        window = None
        if f"{task.prefix}lr_ratio" not in wanted:
            try:
                fitted = fit_fold(task, {f"{task.prefix}verbose": self.verbose}, 0)
                stability = classifier_of(fitted).stability_
            except TrainingError:
                stability = Stability(())  # nothing was measured: the window stays as wide as it may be
            window = measure_window(stability, own["lr_ratio"])
        ranges = {f"{task.prefix}{name}": d for name, d in default_space(own, window).items()} | wanted
        return window, {name: d for name, d in ranges.items() if d is not None}

    def _seeded(self, task: Task, seed: int) -> Task:
        if classifier_of(self.estimator).random_state is not None:
            return task
        return replace(task, estimator=clone(self.estimator).set_params(**{f"{task.prefix}random_state": seed}))

    def _run(self, task: Task, seed: int) -> None:
        self.study_.sampler = SeededSampler(seed)
        if sum(map(is_finished, self.study_.get_trials(deepcopy=False))) >= self.n_trials:
            return
        n_jobs = joblib.effective_n_jobs(self.n_jobs)
        with Progress(self.study_, self.n_trials, disable=not self.verbose) as progress:
            if n_jobs == 1:
                run_trials(self.study_, task, progress.look)
            else:
                run_workers(self.study_, task, str(self.storage), n_jobs, seed, progress.look)


def _scorer(estimator: DDCLClassifier | Pipeline, scoring: str | Callable[..., float], y: NDArray[Any]) -> Any:
    if scoring == "neg_log_loss":
        # That of scikit-learn stumbles over a test fold in which a class is missing.
        return make_scorer(log_loss, greater_is_better=False, response_method="predict_proba", labels=np.unique(y))
    return check_scoring(estimator, scoring)
