"""Several processes on one study: in a journal file and in a real PostgreSQL, also when one of them is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from optuna.trial import TrialState

from ddcl_tab.errors import ConfigurationError, InputError
from ddcl_tab.tuning._search import DDCLSearchCV
from ddcl_tab.tuning._study import open_study
from tests.method.test_tuning_search import SPACE, TINY, iris  # noqa: F401 - a fixture

N_TRIALS = 4


def search(storage, **changes) -> DDCLSearchCV:
    settings = {"n_trials": N_TRIALS, "cv": 2, "study_name": "shared", "space": SPACE, "random_state": 0}
    return DDCLSearchCV(TINY, storage=storage, **(settings | changes))


def no_score(estimator, X, y) -> float:
    return float("nan")


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """URL of a database on a server of its own, which listens on a socket in a new folder only."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = programs[-1] if programs else shutil.which("initdb")
    if found is None:
        pytest.skip("no PostgreSQL: neither /usr/lib/postgresql/*/bin/initdb nor initdb in PATH")
    programs_folder = Path(found).parent
    # The server refuses root, so it runs as the user that its package makes.
    user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="ddcl-tab-pg-"))  # not tmp_path: a socket's path is short, and postgres's
    try:
        if user:
            shutil.chown(folder, "postgres", "postgres")
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder, **user}
        data = ["-D", str(folder / "data")]
        subprocess.run([programs_folder / "initdb", *data, "-U", "tab", "-A", "trust", "--no-sync"], **quiet)
        settings = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        log = ["-l", str(folder / "log"), "-o", settings]
        subprocess.run([programs_folder / "pg_ctl", *data, *log, "-w", "start"], **quiet)
        try:
            yield f"postgresql+psycopg://tab@/postgres?host={folder}"
        finally:
            subprocess.run([programs_folder / "pg_ctl", *data, "-m", "immediate", "-w", "stop"], **quiet)
    finally:
        shutil.rmtree(folder)


def kill_one_worker(study) -> int:
    """Kill the first worker that is in the middle of a trial; returns the number of the trial."""
    deadline = time.monotonic() + 120.0
    while time.monotonic() < deadline:
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            if "owner" in trial.user_attrs and trial.intermediate_values:
                os.kill(trial.user_attrs["owner"]["pid"], signal.SIGKILL)
                return trial.number
        time.sleep(0.05)
    raise AssertionError("no worker began a trial")


def killed_study_is_complete(storage: str, n_jobs: int, iris) -> None:  # noqa: F811
    fitted = search(storage, n_jobs=n_jobs)
    thread = Thread(target=fitted.fit, args=iris)
    thread.start()
    lost = kill_one_worker(open_study(storage, "shared", seed=0))
    thread.join(timeout=120.0)
    assert not thread.is_alive()
    trials = fitted.study_.trials
    finished = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len(finished) == N_TRIALS == len(fitted.cv_results_["params"])
    assert trials[lost].state == TrialState.FAIL
    (retry,) = [trial for trial in finished if trial.user_attrs.get("retry_of") == lost]
    assert retry.params == trials[lost].params
    # Every trial is accounted for: finished, killed and tried again, or begun by two at once as one too many.
    others = [trial for trial in trials if trial not in finished and trial.number != lost]
    assert all(trial.state == TrialState.FAIL and trial.user_attrs["surplus"] for trial in others)
    assert all(len(trial.user_attrs["folds"]) == 2 for trial in trials if trial.state == TrialState.COMPLETE)
    assert np.isfinite(fitted.predict_proba(iris[0])).all()
    # The whole study can be read again, and has nothing left to do.
    assert search(storage).fit(*iris).best_params_ == fitted.best_params_


# Each worker is a new interpreter that imports torch, 3 s of one core: the next three take 10 s or more.
def test_one_of_three_workers_killed_loses_nothing_on_a_journal_file(iris, tmp_path):  # noqa: F811
    killed_study_is_complete(str(tmp_path / "j"), 3, iris)


@pytest.mark.slow
def test_one_of_two_workers_killed_loses_nothing_in_postgresql(iris, postgres):  # noqa: F811
    killed_study_is_complete(postgres, 2, iris)


def test_postgresql_gives_the_trials_of_a_journal_file(iris, postgres, tmp_path):  # noqa: F811
    few = {"n_trials": 3, "study_name": "same", "refit": False}
    database, journal = search(postgres, **few).fit(*iris), search(tmp_path / "j", **few).fit(*iris)
    assert database.cv_results_["params"] == journal.cv_results_["params"]
    assert np.array_equal(database.cv_results_["mean_test_score"], journal.cv_results_["mean_test_score"])
    assert open_study(postgres, "same", seed=0).best_trial.params == database.best_params_
    with pytest.raises(ConfigurationError, match="made with other folds"):
        search(postgres, **(few | {"cv": 3})).fit(*iris)


def test_an_error_in_a_worker_is_raised_here(iris, tmp_path):  # noqa: F811
    failing = search(tmp_path / "j", n_jobs=2, scoring=no_score)
    with pytest.raises(InputError, match="scoring gave nan on fold 0"):
        failing.fit(*iris)
    states = {trial.state for trial in failing.study_.trials}
    assert TrialState.FAIL in states
    assert TrialState.RUNNING not in states
