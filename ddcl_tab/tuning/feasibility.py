"""Margins of the certificate as constraints of a trial, and a pruner that knows them."""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Any

from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

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
