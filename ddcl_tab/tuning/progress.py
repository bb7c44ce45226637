"""Progress bar of a study, whoever works on it."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from optuna.study import Study
from tqdm import tqdm

from ddcl_tab.tuning.feasibility import is_finished, outcome


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
