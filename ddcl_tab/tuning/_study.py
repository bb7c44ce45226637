"""A study in its storage: what it was made for, its sampler, its results as scikit-learn has them."""

from __future__ import annotations

import hashlib
import os
import re
import time
from pathlib import Path
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution
from optuna.pruners import MedianPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import rankdata
from sklearn.base import BaseEstimator
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from ddcl_tab.errors import ConfigurationError, TrainingError
from ddcl_tab.estimators._columns import is_frame, is_missing
from ddcl_tab.tuning._trials import FOLDS, VERDICT, FeasiblePruner, is_finished, margins_of, outcome, violation

#: Parameters that do not decide what a trial gives, or are kept apart.
_LEFT_OUT = ("verbose", "device", "random_state")


def fingerprint(X: Any, y: Any, folds: Any, estimator: BaseEstimator, search: dict[str, Any]) -> dict[str, str]:
    """Short hashes of all that makes trials comparable.

    Parameters
    ----------
    X : frame or array
        The same in pandas, in polars and after a new start.
    y : array-like
    folds : list of (ndarray, ndarray)
    estimator : estimator
        Of its parameters, ``verbose``, ``device`` and ``random_state`` do not count.
    search : dict
        Everything else that decides.

    Returns
    -------
    dict
        ``"rows"``, ``"folds"``, ``"estimator parameters"`` and ``"search settings"``.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> fingerprint(np.eye(2), [0, 1], [], DummyClassifier(), {})["folds"]
    '4f53cda18c2b'
    """
    parameters = sorted(
        (name, _text(value)) for name, value in estimator.get_params().items() if name.split("__")[-1] not in _LEFT_OUT
    )
    return {
        "rows": digest([_columns(X), np.asarray(y).tolist()]),
        "folds": digest([(train.tolist(), test.tolist()) for train, test in folds]),
        "estimator parameters": digest([type(estimator).__name__, parameters]),
        "search settings": digest(sorted((name, _text(value)) for name, value in search.items())),
    }


def _columns(X: Any) -> Any:
    if not is_frame(X):
        return np.asarray(X).tolist()
    frame = nw.from_native(X, eager_only=True)
    # pandas says NaN or NA where polars says null.
    return [(name, [None if is_missing(v) else v for v in frame[name].to_list()]) for name in frame.columns]


def _text(value: Any) -> str:
    """Text of a parameter that is the same in another process: no address in memory; of an estimator its class."""
    return type(value).__name__ if isinstance(value, BaseEstimator) else re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def digest(value: Any) -> str:
    """Short hash of the text of a value."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]


def is_url(storage: str) -> bool:
    """Whether a storage is the address of a database rather than a file."""
    return "://" in storage


def open_study(storage: str | os.PathLike[str] | None, name: str, seed: int) -> Study:
    """Create a study, or open it where its storage has it.

    Parameters
    ----------
    storage : str, path or None
        Journal file, URL of a database, or None for the memory of this process.
    name : str
    seed : int
        Of the sampler.

    Raises
    ------
    ConfigurationError
        The storage cannot be opened, or is no storage.
    """
    verbosity = optuna.logging.get_verbosity()
    try:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return optuna.create_study(
            storage=_open_storage(storage),
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            sampler=SeededSampler(seed),
            pruner=FeasiblePruner(MedianPruner()),
        )
    except (SQLAlchemyError, ImportError, KeyError, ValueError) as error:
        said = str(error).strip().split("\n")[0]
        if isinstance(error, ImportError) and str(storage).startswith("postgresql+psycopg:"):
            said = "PostgreSQL needs the package psycopg. Install it: pip install 'ddcl-tab[postgres]'"
        raise ConfigurationError(f"storage {_shown(storage)} cannot be opened: {said}") from error
    finally:
        optuna.logging.set_verbosity(verbosity)


def _open_storage(storage: str | os.PathLike[str] | None) -> BaseStorage:
    if storage is None:
        return InMemoryStorage()
    if is_url(str(storage)):
        return _open_database(str(storage))
    path = str(Path(storage).resolve())
    return JournalStorage(JournalFileBackend(path, lock_obj=_Lock(path + ".lock")))  # type: ignore[arg-type]


def _open_database(url: str, attempts: int = 5) -> RDBStorage:
    try:
        # No connection is kept open: between two trials lie minutes, and a study may outlive its search.
        return RDBStorage(url, engine_kwargs={"poolclass": NullPool})
    except (IntegrityError, ProgrammingError):
        # Another process makes the tables of an empty database at this moment.
        if attempts == 1:
            raise
    time.sleep(0.5)
    return _open_database(url, attempts - 1)


def _shown(storage: Any) -> str:
    """Storage for a message: without a password."""
    try:
        return make_url(str(storage)).render_as_string(hide_password=True) if is_url(str(storage)) else str(storage)
    except SQLAlchemyError:
        return "URL"


class _Lock:
    """Lock of a journal file that the system frees when its holder is killed.

    Those of Optuna are left behind then, and hold everybody up for half a minute.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = FileLock(path)

    def __reduce__(self) -> tuple[type[_Lock], tuple[str]]:
        return _Lock, (self._path,)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


class SeededSampler(BaseSampler):
    """Tree-structured Parzen estimator with a seed of its own for each trial.

    One random stream would start again when a killed study is resumed, and propose its first trials twice. So the
    parameters of a trial depend on its number and on the trials before it only, not on the process that asks.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._current: tuple[int, BaseSampler] | None = None

    def _sampler(self, trial: FrozenTrial) -> BaseSampler:
        if self._current is None or self._current[0] != trial.number:
            state = np.random.SeedSequence([self.seed, trial.number]).generate_state(1)
            self._current = trial.number, TPESampler(seed=int(state[0]))
        return self._current[1]

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Parameters that are sampled together."""
        return self._sampler(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values of the parameters that are sampled together."""
        return self._sampler(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Value of a single parameter."""
        return self._sampler(trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Passed on."""
        self._sampler(trial).before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """Passed on."""
        self._sampler(trial).after_trial(study, trial, state, values)


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
