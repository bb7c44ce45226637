"""Several processes that work on one study, and the progress of all of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from optuna.study import Study
from tqdm import tqdm

from ddcl_tab.errors import TrainingError
from ddcl_tab.tuning._study import open_study
from ddcl_tab.tuning._trials import POLL, Task, is_finished, outcome, reclaim, run_trials


class Progress:
    """Context that shows trials done, the best feasible score and how many were infeasible.

    The time left is reckoned from the mean over the trials of this call.

    Parameters
    ----------
    study : Study
    n_trials : int
        Of the study, those of earlier calls included.
    disable : bool
    """

    def __init__(self, study: Study, n_trials: int, disable: bool) -> None:
        self._study = study
        self._n_trials = n_trials
        self._disable = disable
        self._said = False

    def __enter__(self) -> Self:
        done = sum(map(is_finished, self._study.get_trials(deepcopy=False)))
        self._bar = tqdm(
            total=self._n_trials, initial=done, desc="trials", unit="trial", smoothing=0.0, disable=self._disable
        )
        self.look()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.look()
        self._bar.close()

    def look(self) -> None:
        """Read the study and show where it stands."""
        if self._disable:
            return
        trials = [trial for trial in self._study.get_trials(deepcopy=False) if is_finished(trial)]
        # A terminal sees the time run; a log file gets a line a trial.
        if len(trials) == self._bar.n and self._said and not sys.stderr.isatty():
            return
        outcomes = [outcome(trial) for trial in trials]
        scores = [float(t.value or 0.0) for t, said in zip(trials, outcomes, strict=True) if said == "complete"]
        best = f"{max(scores):.4g}" if scores else "none yet"
        self._bar.n = len(trials)
        self._bar.set_postfix(best=best, infeasible=outcomes.count("infeasible"), pruned=outcomes.count("pruned"))
        self._said = True


#: Killed processes that are replaced before the search gives up.
MAX_REPLACED = 10

# A fresh interpreter for each: forking one that has computed with torch or polars may hang.
_CONTEXT = multiprocessing.get_context("spawn")


class _Worker:
    """A process and the end of the pipe that its error comes through."""

    def __init__(self, *arguments: Any) -> None:
        self._pipe, theirs = _CONTEXT.Pipe(duplex=False)
        self.process = _CONTEXT.Process(target=_work, args=(theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()

    def raise_error(self) -> None:
        """Raise what ended the process, if it was an error."""
        if self.process.exitcode and self.process.exitcode > 0:
            try:
                error = self._pipe.recv()
            except EOFError:
                error = TrainingError(
                    f"a worker ended with exit code {self.process.exitcode}; its message is above. In a script, "
                    "call fit under `if __name__ == '__main__':`: the worker imports the script anew."
                )
            raise error

    def is_killed(self) -> bool:
        return self.process.exitcode is not None and self.process.exitcode < 0


def run_workers(study: Study, task: Task, storage: str, n_workers: int, seed: int, on_look: Callable[[], None]) -> None:
    """Run a task in several processes, and replace those that are killed.

    Parameters
    ----------
    study : Study
    task : Task
    storage : str
        That the study is in.
    n_workers : int
    seed : int
        Of the study.
    on_look : callable
        Called without arguments several times a second.

    Raises
    ------
    TrainingError
        More than ten workers were killed.
    Exception
        What ended a worker.
    """
    arguments = (task, storage, study.study_name, seed)
    workers = [_Worker(*arguments) for _ in range(n_workers)]
    replaced = 0
    try:
        while any(worker.process.is_alive() or worker.is_killed() for worker in workers):
            if sum(map(is_finished, study.get_trials(deepcopy=False))) >= task.n_trials:
                return  # who is left has nothing to do
            for i, worker in enumerate(workers):
                worker.raise_error()
                if worker.is_killed():
                    replaced += 1
                    if replaced > MAX_REPLACED:
                        raise TrainingError(f"{replaced} workers were killed; is there memory enough for {n_workers}?")
                    reclaim(study)
                    workers[i] = _Worker(*arguments)
            on_look()
            time.sleep(POLL)
        for worker in workers:
            worker.raise_error()
    finally:
        for worker in workers:
            worker.process.terminate()
            worker.process.join()
        reclaim(study)


def _work(pipe: Connection, task: Task, storage: str, name: str, seed: int) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever interrupts the search ends its workers too
    torch.set_num_threads(1)  # the other cores are for the other workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        run_trials(open_study(storage, name, seed), task, lambda: None)
    except Exception as error:
        pipe.send(error)
        raise SystemExit(1) from None


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
