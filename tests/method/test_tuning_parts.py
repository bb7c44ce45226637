"""Parts of the search: constraints, pruner, window of the ratio, fingerprint, claims."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from dataclasses import fields, replace

import numpy as np
import optuna
import pandas as pd
import polars as pl
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.pruners import MedianPruner, PercentilePruner
from optuna.trial import TrialState
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from ddcl_tab import DDCLClassifier
from ddcl_tab.training._certificate import EpochCertificate
from ddcl_tab.training._stability import Stability
from ddcl_tab.tuning import _trials as claims
from ddcl_tab.tuning._space import RATIO_LIMITS, WANTED_LAG, default_space, inside, measure_window
from ddcl_tab.tuning._study import SeededSampler, fingerprint, open_study
from ddcl_tab.tuning._trials import FeasiblePruner, margins_of, outcome, set_constraints, violation

#: Every figure far below any limit.
SOUND = EpochCertificate(**{field.name: 1e-9 for field in fields(EpochCertificate)})


def new_study(**settings) -> optuna.Study:
    return optuna.create_study(direction="maximize", **settings)


# --- constraints and pruner -----------------------------------------------------------------------------------------


def test_constraints_keep_the_worst_margin_of_each_condition():
    study = new_study()
    trial = study.ask()
    set_constraints(trial, 0, {"a": -0.5, "b": -0.9})
    set_constraints(trial, 1, {"a": -0.7, "b": 0.25})
    study.tell(trial, 1.0)
    (frozen,) = study.trials
    assert margins_of(frozen) == {"a": -0.5, "b": 0.25}
    assert violation(frozen) == 0.25
    assert outcome(frozen) == "infeasible"


@pytest.mark.parametrize("margin", [0.0, math.nan, math.inf, 1e300])
def test_a_margin_that_is_met_exactly_or_is_no_number_is_infeasible_and_finite(margin):
    study = new_study()
    trial = study.ask()
    set_constraints(trial, 0, {"a": margin})
    study.tell(trial, 1.0)
    assert 0.0 < violation(study.trials[0]) < 1e7
    with pytest.raises(ValueError, match="No feasible"):
        _ = study.best_trial


def test_pruner_stops_infeasible_trials_and_hides_them_from_the_inner_one():
    study = new_study(pruner=FeasiblePruner(MedianPruner(n_startup_trials=1)))
    for score, margin in [(1.0, -0.1), (9.0, 0.1), (9.0, 0.1)]:
        trial = study.ask()
        trial.report(score, 0)
        trial.set_constraint("a", margin)
        study.tell(trial, score)
    for score, margin, pruned in [(2.0, -0.1, False), (0.5, -0.1, True), (99.0, 0.1, True)]:
        trial = study.ask()
        trial.set_constraint("a", margin)
        trial.report(score, 0)
        assert bool(trial.should_prune()) is pruned
    # By itself the inner pruner would measure the sound trial of score 2 against those of score 9.
    study.pruner = MedianPruner(n_startup_trials=1)
    trial = study.ask()
    trial.report(2.0, 0)
    assert trial.should_prune()


def test_inner_pruner_sees_feasible_trials_only():
    seen = []

    class Spy(PercentilePruner):
        def prune(self, study, trial):
            seen.append([t.number for t in study.trials])
            return super().prune(study, trial)

    study = new_study(pruner=FeasiblePruner(Spy(50.0)))
    for number, margin in enumerate([-1.0, 1.0, -1.0]):
        trial = study.ask()
        trial.set_constraint("a", margin)
        trial.report(float(number), 0)
        trial.should_prune()
        study.tell(trial, float(number))
    assert seen == [[0], [0, 2]]


# --- space ----------------------------------------------------------------------------------------------------------


def stability(**figures) -> Stability:
    first = replace(SOUND, sharpness=1e9, lag=1e9)  # Adam has not settled: does not count
    return Stability((first, replace(SOUND, **figures)))


def test_window_is_bounded_by_the_stable_step_and_the_wanted_lag():
    window = measure_window(stability(sharpness=0.1, lag=WANTED_LAG / 4), 10.0)
    assert window.high == pytest.approx(50.0)
    assert window.low == pytest.approx(2.5)
    assert (window.sharpness, window.lag) == (0.1, WANTED_LAG / 4)


def test_window_holds_the_ratio_of_a_stable_fit():
    assert stability().is_stable
    assert measure_window(stability(), 0.01).low == 0.01
    assert measure_window(stability(sharpness=0.5), 2000.0).high == 2000.0


def test_window_reads_the_lag_of_the_epoch_that_was_kept():
    epochs = tuple(replace(SOUND, epoch=i + 1, lag=lag) for i, lag in enumerate((0.9, 0.2, 0.4)))
    assert measure_window(Stability(epochs, kept=2), 10.0).lag == 0.2
    assert measure_window(Stability(epochs), 10.0).lag == 0.4


def test_window_moves_down_with_an_overshooting_step():
    overshooting = stability(sharpness=5.0, lag=0.01)
    assert not overshooting.is_stable
    window = measure_window(overshooting, 10.0)
    assert window.high == pytest.approx(1.0)
    assert window.low < window.high


@pytest.mark.parametrize("figure", [0.0, 1e-12, 1e12, math.inf, math.nan])
def test_window_is_open_and_within_its_limits_whatever_was_measured(figure):
    for figures in ({"sharpness": figure}, {"lag": figure}, {"sharpness": figure, "lag": figure}):
        window = measure_window(stability(**figures), 10.0)
        assert RATIO_LIMITS[0] <= window.low < window.high <= RATIO_LIMITS[1]


def test_default_space_holds_the_estimator_s_own_values():
    for own in ({}, {"n_prototypes": 3, "d_token": 8, "n_heads": 2, "lr": 0.1}, {"d_token": 160, "n_heads": 32}):
        parameters = DDCLClassifier(**own).get_params()
        space = default_space(parameters, None)
        assert set(space) == {"n_prototypes", "lr", "temperature", "quantization_weight", "n_blocks", "d_token"}
        for name, distribution in space.items():
            assert inside(distribution, parameters[name]) == parameters[name]
            # The number of prototypes follows the columns where it is None: the first trial draws it.
            assert parameters[name] is not None or name == "n_prototypes"
        width = space["d_token"]
        assert width.low % parameters["n_heads"] == width.step % parameters["n_heads"] == 0


def test_inside_brings_numbers_in_and_gives_up_on_choices():
    assert inside(FloatDistribution(1.0, 2.0), 9.0) == 2.0
    assert inside(IntDistribution(8, 16, step=4), 12) == 12
    assert inside(IntDistribution(8, 16, step=4), 13) is None
    assert inside(optuna.distributions.CategoricalDistribution((1, 2)), 3) is None


# --- fingerprint ----------------------------------------------------------------------------------------------------


def test_fingerprint_sees_a_change_and_no_difference_of_library():
    X = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": ["x", "y", None]})
    clf = DDCLClassifier(random_state=0)
    folds = [(np.array([0, 1]), np.array([2]))]
    made = fingerprint(X, [0, 1, 0], folds, clf, {"scoring": "accuracy"})
    assert fingerprint(pl.from_pandas(X), np.array([0, 1, 0]), folds, clf, {"scoring": "accuracy"}) == made
    assert fingerprint(X, [0, 1, 0], folds, DDCLClassifier(random_state=5, verbose=1), {"scoring": "accuracy"}) == made
    others = {
        "rows": fingerprint(X.assign(a=[1.0, 2.0, 3.0]), [0, 1, 0], folds, clf, {"scoring": "accuracy"}),
        "folds": fingerprint(X, [0, 1, 0], [], clf, {"scoring": "accuracy"}),
        "estimator parameters": fingerprint(X, [0, 1, 0], folds, DDCLClassifier(lr=1.0), {"scoring": "accuracy"}),
        "search settings": fingerprint(X, [0, 1, 0], folds, clf, {"scoring": len}),
    }
    for name, other in others.items():
        assert [key for key in made if made[key] != other[key]] == [name]


def test_fingerprint_holds_no_address_in_memory():
    made = [
        fingerprint([[1.0]], [0], [], make_pipeline(FunctionTransformer(lambda x: x), DDCLClassifier()), {})
        for _ in range(2)
    ]
    assert made[0] == made[1]


# --- sampler and storage --------------------------------------------------------------------------------------------


def test_trials_do_not_depend_on_who_asks(tmp_path):
    space = {"x": FloatDistribution(0.0, 1.0), "k": IntDistribution(1, 9)}

    def ask(study) -> dict:
        trial = study.ask(space)
        study.tell(trial, trial.params["x"])
        return trial.params

    one = open_study(None, "a", seed=3)
    alone = [ask(one) for _ in range(14)]
    # A new start for each trial, as if every one had been killed after it; ten are drawn blindly, then it learns.
    restarted = [ask(open_study(tmp_path / "j", "a", seed=3)) for _ in range(14)]
    assert restarted == alone
    assert len({params["x"] for params in alone}) == 14
    assert [ask(open_study(None, "a", seed=4))] != alone[:1]


def test_opening_a_study_says_nothing_and_changes_no_logging(capsys, tmp_path):
    before = optuna.logging.get_verbosity()
    open_study(tmp_path / "j", "a", seed=0)
    assert optuna.logging.get_verbosity() == before
    assert capsys.readouterr().err == ""
    assert isinstance(open_study(tmp_path / "j", "a", seed=0).sampler, SeededSampler)


def test_a_lock_of_a_killed_process_holds_nobody_up(tmp_path):
    code = (
        "import os, signal, sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    open_study(tmp_path / "j", "a", seed=0)
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "j.lock")], check=False)
    assert killed.returncode == -9
    start = time.perf_counter()
    open_study(tmp_path / "j", "a", seed=0).set_user_attr("k", 1)
    assert time.perf_counter() - start < 5.0


# --- claims ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def running():
    """A study with one running trial of x = 0.5, and the trial."""
    study = new_study()
    study.enqueue_trial({"x": 0.5})
    return study, study.ask({"x": FloatDistribution(0.0, 1.0)})


def test_a_claimed_trial_is_left_alone(running):
    study, trial = running
    with claims.Claim(trial):
        claims.reclaim(study)
        assert [t.state for t in study.trials] == [TrialState.RUNNING]


@pytest.mark.parametrize("change", [{"pid": 2**22 + 1}, {"started": 1.0}])
def test_a_trial_whose_process_is_gone_is_queued_again_once(running, change):
    study, trial = running
    trial.set_user_attr("owner", claims.owner() | change)
    for _ in range(2):
        claims.reclaim(study)
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    again = study.ask({"x": FloatDistribution(0.0, 1.0)})
    assert (again.number, again.params, again.user_attrs["retry_of"]) == (1, {"x": 0.5}, 0)


def test_a_trial_of_another_machine_is_taken_over_when_its_stamp_is_old(running):
    study, trial = running
    trial.set_user_attr("owner", {"host": "elsewhere", "pid": os.getpid(), "started": 1.0})
    for age, state in [(0.0, TrialState.RUNNING), (claims.STALE + 1.0, TrialState.FAIL)]:
        trial.set_user_attr("seen", time.time() - age)
        claims.reclaim(study)
        assert study.trials[0].state == state


def test_a_running_trial_renews_its_stamp(running, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.01)
    study, trial = running
    with claims.Claim(trial):
        deadline = time.monotonic() + 5.0
        while "seen" not in study.trials[0].user_attrs and time.monotonic() < deadline:
            time.sleep(0.01)
    assert abs(study.trials[0].user_attrs["seen"] - time.time()) < 5.0


def test_a_trial_that_keeps_killing_its_process_is_given_up(running, caplog):
    study, _ = running
    for number in range(claims.MAX_RETRIES + 1):
        claims.requeue(study, study.trials[number])
        if number < claims.MAX_RETRIES:
            study.ask({"x": FloatDistribution(0.0, 1.0)})
    assert [t.state for t in study.trials] == [TrialState.FAIL] * (claims.MAX_RETRIES + 1)
    assert "lost its process 3 times" in caplog.text
    claims.requeue(study, study.trials[0])  # of a trial that has ended nothing is queued
    assert len(study.trials) == claims.MAX_RETRIES + 1
