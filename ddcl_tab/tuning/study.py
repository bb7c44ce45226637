"""Open a study in its storage, with a sampler that does not care who asks, or when."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

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
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.tuning.feasibility import FeasiblePruner


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
