"""Optuna's own pictures of a study."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial
from optuna.visualization.matplotlib import plot_contour, plot_optimization_history, plot_param_importances

from ddcl_tab.atomic import write_whole
from ddcl_tab.tuning.feasibility import outcome

_INFEASIBLE = "infeasible"
#: Pixels an inch.
_DPI = 120


def save_plots(study: Study, folder: str | os.PathLike[str], *, score_name: str, prefix: str = "") -> dict[str, str]:
    """Save ``history.png``, ``contour.png`` (``n_prototypes`` x ``lr_ratio``) and ``importance.png``.

    Optuna marks infeasible trials in grey, but draws trials that ran to their end only. Ours are stopped as soon as
    they are infeasible; here they stand at the mean score of the folds that they finished. Importance is that of
    feasible trials.

    Parameters
    ----------
    study : Study
        Of :class:`~ddcl_tab.tuning.DDCLSearchCV`.
    folder : path
        Exists.
    score_name : str
        Label of the score.
    prefix : str
        What the classifier's parameters begin with in the study.

    Returns
    -------
    dict
        File name to why it could not be drawn; empty if all were.
    """
    folder = Path(folder)
    trials = study.get_trials(deepcopy=False)
    complete = [t for t in trials if t.state == TrialState.COMPLETE and outcome(t) == "complete"]
    scored = complete + [t for t in trials if outcome(t) == _INFEASIBLE and t.value is not None]
    pair = [f"{prefix}n_prototypes", f"{prefix}lr_ratio"]
    missing = {}
    with _leaving_no_trace():
        if scored:
            history: Any = plot_optimization_history(_study_of(trials, scored), target_name=score_name)
            _name_infeasible(history)
            _save(history, folder / "history.png")
        else:
            missing["history.png"] = "no trial has a score"
        if all(len({t.params[name] for t in scored if name in t.params}) > 1 for name in pair):
            axes: Any = plot_contour(_study_of(trials, scored), params=pair, target_name=score_name)
            _name_infeasible(axes)
            _save(axes, folder / "contour.png")
        else:
            missing["contour.png"] = f"it needs scored trials that differ in {' and in '.join(pair)}"
        if len({t.value for t in complete}) > 1:
            names = sorted({name for t in complete for name in t.params})
            _save(plot_param_importances(_study_of(trials, complete), params=names), folder / "importance.png")
        else:
            missing["importance.png"] = "it needs two complete feasible trials with different scores"
    return missing


def _study_of(trials: list[FrozenTrial], drawn: list[FrozenTrial]) -> Study:
    """Copy of a study in which some trials ran to their end, and all others failed; numbers stay."""
    study = optuna.create_study(direction="maximize")
    numbers = {trial.number for trial in drawn}
    for trial in trials:
        if trial.number in numbers:
            study.add_trial(
                create_trial(
                    value=trial.value,
                    params=trial.params,
                    distributions=trial.distributions,
                    constraints=trial.constraints,
                )
            )
        else:
            study.add_trial(create_trial(state=TrialState.FAIL))
    return study


def _name_infeasible(axes: Any) -> None:
    """Infeasible trials are what Optuna draws last: light grey on grey, and not in the legend."""
    axes.collections[-1].set(label=_INFEASIBLE, facecolor="white", edgecolor="black", linewidth=1.0)
    axes.legend()


def _save(axes: Any, path: Path) -> None:
    picture = io.BytesIO()
    axes.figure.savefig(picture, format=path.suffix[1:], dpi=_DPI, bbox_inches="tight")
    write_whole(path, picture.getvalue())
    plt.close(axes.figure)


@contextmanager
def _leaving_no_trace() -> Iterator[None]:
    """Style, warnings and logging are as before afterwards; no window opens."""
    verbosity = optuna.logging.get_verbosity()
    with matplotlib.rc_context(), plt.ioff(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(verbosity)
