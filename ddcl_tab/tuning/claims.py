"""Who runs a trial, and what happens to it when its process is gone.

Optuna's heartbeat works on databases only, so trials carry their own: the process that runs a trial leaves its host,
number and start time in it, and renews a time stamp. A trial whose process is gone is marked as failed, and its
parameters are queued again.
"""

from __future__ import annotations

import logging
import platform
import time
from datetime import datetime
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

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
