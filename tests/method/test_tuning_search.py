"""DDCLSearchCV as a scikit-learn search: what it tells, what it never chooses, how it goes on."""

from __future__ import annotations

import pickle
import re
import sys

import matplotlib
import numpy as np
import optuna
import pandas as pd
import polars as pl
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ddcl_tab import DDCLClassifier
from ddcl_tab.app._tune import save_plots
from ddcl_tab.errors import ConfigurationError, InputError, LeakWarning, TrainingError
from ddcl_tab.space._join import launch_of
from ddcl_tab.tuning._search import DDCLSearchCV

#: The smallest training of iris that is sound.
TINY = DDCLClassifier(
    n_prototypes=6,
    temperature=0.3,
    lr=0.02,
    lr_ratio=50.0,
    d_token=8,
    n_heads=2,
    n_blocks=1,
    max_epochs=10,
    random_state=0,
)
#: Its surroundings; without a reference fit, since lr_ratio is named.
SPACE = {
    "n_prototypes": IntDistribution(5, 7),
    "temperature": FloatDistribution(0.1, 0.3, log=True),
    "lr": FloatDistribution(0.015, 0.03, log=True),
    "lr_ratio": FloatDistribution(40.0, 80.0, log=True),
    "quantization_weight": FloatDistribution(0.05, 0.2, log=True),
    "d_token": None,
    "n_blocks": None,
}
#: The second choice overshoots: its step is far beyond the largest stable one.
SOUND_OR_NOT = CategoricalDistribution((100.0, 1e5))
ONLY_RATIO = dict.fromkeys(["n_prototypes", "lr", "temperature", "quantization_weight", "n_blocks", "d_token"])


#: One fold, for what needs no more.
EVEN_AND_ODD = [(np.arange(0, 150, 2), np.arange(1, 150, 2))]


def search(estimator=TINY, **changes) -> DDCLSearchCV:
    settings = {"n_trials": 3, "cv": 2, "storage": None, "space": SPACE, "random_state": 0}
    return DDCLSearchCV(estimator, **(settings | changes))


def by_ratio(estimator, X, y) -> float:
    """A score that loves what the certificate forbids."""
    return estimator.lr_ratio


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True, as_frame=True)


@pytest.fixture(scope="module")
def searched(iris) -> DDCLSearchCV:
    return search().fit(*iris)


# --- conventions ----------------------------------------------------------------------------------------------------


def test_best_is_the_best_row_of_cv_results(searched, iris):
    X, y = iris
    results = pd.DataFrame(searched.cv_results_)
    assert len(results) == 3
    best = results.loc[searched.best_index_]
    assert best["rank_test_score"] == 1
    assert best["mean_test_score"] == searched.best_score_ == results["mean_test_score"].max()
    assert best["params"] == searched.best_params_
    assert searched.best_estimator_.get_params().items() >= searched.best_params_.items()
    assert searched.score(X, y) == pytest.approx(-log_loss(y, searched.predict_proba(X)))


def test_cv_results_hold_folds_times_parameters_and_margins(searched):
    results = pd.DataFrame(searched.cv_results_)
    complete = results[results["state"] == "complete"]
    folds = complete[["split0_test_score", "split1_test_score"]]
    assert np.allclose(folds.mean(axis=1), complete["mean_test_score"])
    assert np.allclose(folds.std(axis=1, ddof=0), complete["std_test_score"])
    assert (results["mean_fit_time"] > 0).all()
    margins = results.filter(like="margin_")
    assert set(margins.columns) == {f"margin_{name}" for name in searched.best_estimator_.stability_.margins}
    assert ((margins < 0).all(axis=1) == results["feasible"]).all()
    for name, distribution in searched.space_.items():
        assert results[f"param_{name}"].between(distribution.low, distribution.high).all()


def test_the_estimator_s_own_parameters_are_the_first_trial(searched):
    first = searched.cv_results_["params"][0]
    assert first == {name: TINY.get_params()[name] for name in first}


def test_clone_and_parameters_of_the_estimator():
    copy = clone(search()).set_params(n_trials=7, estimator__lr=0.5)
    assert copy.n_trials == 7
    assert copy.estimator.lr == 0.5
    assert not hasattr(copy, "best_params_")


def test_a_search_in_memory_or_on_a_file_can_be_pickled(searched, iris, tmp_path):
    X, _ = iris
    on_file = search(n_trials=1, storage=tmp_path / "j").fit(*iris)
    for fitted in (searched, on_file):
        again = pickle.loads(pickle.dumps(fitted))
        assert np.array_equal(again.predict_proba(X), fitted.predict_proba(X))
        assert len(again.study_.trials) == len(fitted.study_.trials)


def test_same_seed_same_trials_other_seed_others(searched, iris):
    again, other = search(refit=False).fit(*iris), search(refit=False, random_state=1).fit(*iris)
    assert again.cv_results_["params"] == searched.cv_results_["params"]
    assert np.array_equal(again.cv_results_["mean_test_score"], searched.cv_results_["mean_test_score"])
    assert other.cv_results_["params"][1:] != searched.cv_results_["params"][1:]
    assert not hasattr(again, "best_estimator_")


def test_an_estimator_without_seed_takes_that_of_the_search(iris):
    unseeded = clone(TINY).set_params(random_state=None)
    first, again = (search(unseeded, n_trials=1).fit(*iris) for _ in range(2))
    assert np.array_equal(first.predict_proba(iris[0]), again.predict_proba(iris[0]))


def test_pandas_polars_and_arrays_give_the_same_trials(searched, iris):
    X, y = iris
    polars, array = search(refit=False).fit(pl.from_pandas(X), y), search(refit=False).fit(X.to_numpy(), y)
    assert np.array_equal(polars.cv_results_["mean_test_score"], searched.cv_results_["mean_test_score"])
    assert np.array_equal(array.cv_results_["mean_test_score"], searched.cv_results_["mean_test_score"])


def test_a_pipeline_is_searched_with_the_names_of_its_steps(iris):
    X, y = iris
    pipeline = make_pipeline(StandardScaler(), TINY)
    ranges = {f"ddclclassifier__{name}": value for name, value in SPACE.items()}
    fitted = search(pipeline, n_trials=2, space=ranges).fit(X, y, groups=np.arange(150) // 5)
    assert set(fitted.best_params_) == {
        f"ddclclassifier__{name}" for name in ("n_prototypes", "lr", "lr_ratio", "temperature", "quantization_weight")
    }
    assert fitted.best_estimator_[-1].lr_ratio == fitted.best_params_["ddclclassifier__lr_ratio"]
    assert fitted.transform(X).shape == (150, fitted.best_params_["ddclclassifier__n_prototypes"])


def test_catalogs_need_no_y_and_keep_launches_together(synthetic):
    catalog = synthetic.sample(500, seed=1)
    tested = []

    def note(estimator, X, y) -> float:
        tested.append(set(launch_of(X).to_list()))
        return 0.0

    with pytest.warns(LeakWarning) as warned:
        fitted = search(clone(TINY).set_params(max_epochs=16), n_trials=1, scoring=note).fit(catalog)
    assert len([w for w in warned if w.category is LeakWarning]) == 1  # of the refit; the folds say nothing
    known = catalog.filter(pl.col("OBJECT_TYPE") != "UNKNOWN")
    assert not tested[0] & tested[1]
    assert tested[0] | tested[1] == set(launch_of(known).to_list())
    assert set(fitted.predict(catalog)) <= {"DEBRIS", "PAYLOAD", "ROCKET BODY"}
    assert fitted.n_splits_ == 2


def test_missing_classes_are_left_out_and_classes_weighed_by_name(iris):
    X, y = iris
    hidden = np.arange(150) % 30 == 0
    names = pd.Series(np.array(["s", "v", "w"])[y], dtype="string").mask(hidden)
    weighed = clone(TINY).set_params(class_weight={"s": 2.0}, max_epochs=20)
    X = X.convert_dtypes().mask(np.arange(600).reshape(150, 4) % 97 == 0)  # NA among the features too
    fitted = search(weighed, n_trials=1).fit(X.assign(OBJECT_TYPE=names))
    assert fitted.classes_.tolist() == ["s", "v", "w"]
    assert fitted.best_estimator_.n_unlabelled_ == 0
    known = search(weighed, n_trials=1, refit=False).fit(X[~hidden], names[~hidden])
    assert known.best_score_ == fitted.best_score_
    score = fitted.score(X[~hidden], names[~hidden].tolist())
    assert fitted.score(pl.from_pandas(X[~hidden]).lazy(), names[~hidden]) == score
    for method in (search().fit, fitted.score):
        with pytest.raises(InputError, match=r"missing labels \(row 0; 5 in all\)"):
            method(X, names)
    with pytest.raises(ConfigurationError, match=r"its keys \[0\] are not among the classes \['s', 'v', 'w'\]"):
        search(clone(TINY).set_params(class_weight={0: 2.0})).fit(X.assign(OBJECT_TYPE=names))


def test_lazy_frames_and_masked_arrays_give_the_trials_of_plain_ones(iris):
    X, y = iris
    values = X.to_numpy().copy()
    values[::9, 1] = np.nan
    masked = np.ma.array(np.nan_to_num(values, nan=99.0), mask=np.isnan(values))
    frame = pl.from_numpy(values, list(X.columns)).with_columns(OBJECT_TYPE=y.to_numpy())
    brief = {"n_trials": 1, "refit": False, "cv": EVEN_AND_ODD}
    expected = search(**brief).fit(values, y).best_score_
    for table, labels in ((masked, y), (frame.lazy(), None)):
        assert search(**brief).fit(table, labels).best_score_ == expected


def test_a_test_fold_may_lack_a_class_but_no_training_fold(iris):
    X, y = iris
    rows = np.arange(150)
    lacking = [(rows, rows[:100]), (rows, rows[50:])]
    assert search(n_trials=1, cv=lacking).fit(X, y).best_score_ < 0
    with pytest.raises(InputError, match="fold 1 has no row of 2"):
        search(cv=[(rows, rows), (rows[:100], rows)]).fit(X, y)


def test_weights_are_cut_to_the_folds(iris):
    X, y = iris
    # Rows of weight 0 count for nothing: without them class 2 is never said.
    fitted = search(n_trials=1, refit=False).fit(X, y, sample_weight=np.where(y == 2, 0.0, 1.0))
    assert fitted.best_score_ < search(n_trials=1, refit=False).fit(X, y).best_score_ - 0.5


# --- feasibility ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def half_sound(iris) -> DDCLSearchCV:
    space = ONLY_RATIO | {"lr_ratio": SOUND_OR_NOT}
    return search(n_trials=5, space=space, scoring=by_ratio).fit(*iris)


def test_an_infeasible_trial_is_never_the_best(half_sound):
    results = pd.DataFrame(half_sound.cv_results_)
    infeasible = results[results["state"] == "infeasible"]
    assert set(infeasible["param_lr_ratio"]) == {1e5}
    assert (infeasible["mean_test_score"] > half_sound.best_score_).all()
    assert not infeasible["feasible"].any()
    assert half_sound.best_params_ == {"lr_ratio": 100.0}
    assert (infeasible["rank_test_score"] > results.loc[half_sound.best_index_, "rank_test_score"]).all()


def test_an_infeasible_trial_stops_at_its_first_bad_fold_and_says_why(half_sound):
    results = pd.DataFrame(half_sound.cv_results_)
    infeasible = results[results["state"] == "infeasible"]
    assert infeasible["split1_test_score"].isna().all()
    assert (infeasible.filter(like="margin_") > 0).any(axis=1).all()
    assert infeasible["verdict"].str.contains("not stable").all()
    trial = half_sound.study_.trials[int(infeasible["trial"].iloc[0])]
    assert trial.state == optuna.trial.TrialState.PRUNED
    assert max(trial.constraints.values()) > 0
    assert half_sound.study_.best_trial.params == half_sound.best_params_


def test_no_feasible_trial_is_an_error_that_names_the_nearest(iris):
    hopeless = search(n_trials=2, space=ONLY_RATIO | {"lr_ratio": FloatDistribution(1e5, 1e6)})
    with pytest.raises(TrainingError, match=r"none of 2 trials was feasible. The nearest is trial \d \(lr_ratio=") as e:
        hopeless.fit(*iris)
    assert re.search(r"with margins .*\w \+\d", str(e.value))
    assert "not stable: " in str(e.value)
    assert len(hopeless.cv_results_["params"]) == len(hopeless.study_.trials) == 2


def test_a_training_that_breaks_off_is_infeasible_and_the_search_goes_on(iris):
    space = dict.fromkeys(["n_prototypes", "temperature", "quantization_weight", "n_blocks", "d_token"])
    space |= {"lr": CategoricalDistribution((0.02, 1e30)), "lr_ratio": None}
    fitted = search(n_trials=4, space=space).fit(*iris)
    results = pd.DataFrame(fitted.cv_results_)
    broken = results[results["param_lr"] == 1e30]
    assert len(broken) > 0
    assert (broken["state"] == "infeasible").all()
    assert fitted.best_params_ == {"lr": 0.02}


def test_the_window_of_the_ratio_is_measured_and_kept_by_the_study(iris, tmp_path):
    assert search(n_trials=1, space=SPACE | {"lr_ratio": None}).fit(*iris).window_ is None
    space = {name: ranges for name, ranges in SPACE.items() if name != "lr_ratio"}
    measured = search(n_trials=1, storage=tmp_path / "j", space=space).fit(*iris)
    again = search(n_trials=2, storage=tmp_path / "j", space=space).fit(*iris)
    assert again.window_ == measured.window_
    assert measured.window_.low <= TINY.lr_ratio <= measured.window_.high
    assert measured.space_["lr_ratio"].high == measured.window_.high


# --- going on -------------------------------------------------------------------------------------------------------


def test_a_study_goes_on_where_it_was_and_gives_the_trials_of_an_unbroken_one(iris, tmp_path):
    # More trials than the sampler draws blindly (10): it must also learn from those of the first call.
    quick = {"space": ONLY_RATIO | {"lr_ratio": SPACE["lr_ratio"]}, "refit": False, "cv": EVEN_AND_ODD}
    unbroken = search(n_trials=13, **quick).fit(*iris)
    search(n_trials=4, storage=tmp_path / "j", **quick).fit(*iris)
    complete = search(n_trials=4, storage=tmp_path / "j", **quick).fit(*iris)
    assert len(complete.study_.trials) == 4  # nothing was missing
    resumed = search(n_trials=13, storage=tmp_path / "j", **quick).fit(*iris)
    assert resumed.cv_results_["params"] == unbroken.cv_results_["params"]
    assert np.array_equal(resumed.cv_results_["mean_test_score"], unbroken.cv_results_["mean_test_score"])


@pytest.mark.parametrize(
    ("changes", "rows", "other"),
    [
        ({}, slice(0, 149), "rows and folds"),
        ({"cv": 3}, slice(None), "folds"),
        ({"estimator": clone(TINY).set_params(dropout=0.2)}, slice(None), "estimator parameters"),
        ({"scoring": "accuracy"}, slice(None), "search settings"),
    ],
)
def test_a_study_of_something_else_is_refused(iris, tmp_path, changes, rows, other):
    X, y = iris
    named = {"storage": tmp_path / "j", "study_name": "mine", "n_trials": 1, "refit": False}
    search(**named).fit(X, y)
    with pytest.raises(ConfigurationError, match=f"study 'mine' was made with other {other}: give"):
        search(**(named | changes)).fit(X[rows], y[rows])


def test_rows_are_the_same_in_another_library_or_process(iris, tmp_path):
    X, y = iris
    named = {"storage": tmp_path / "j", "study_name": "mine", "n_trials": 1, "refit": False}
    search(**named).fit(X, y)
    assert len(search(**named).fit(pl.from_pandas(X), y.tolist()).study_.trials) == 1


def test_trials_of_others_and_files_that_are_no_journal_are_refused(iris, tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    other = optuna.create_study(storage=url, study_name="mine", direction="maximize")
    other.add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(ConfigurationError, match="holds trials that DDCLSearchCV did not make"):
        search(storage=url, study_name="mine").fit(*iris)
    catalog = tmp_path / "catalog.csv"
    catalog.write_text("a,b\n1,2\n")
    with pytest.raises(ConfigurationError, match=r"catalog.csv cannot be opened"):
        search(storage=catalog).fit(*iris)
    assert catalog.read_text() == "a,b\n1,2\n"
    with pytest.raises(ConfigurationError, match=r"postgresql\+psycopg://me:\*\*\*@localhost") as error:
        search(storage="postgresql+psycopg://me:secret@localhost:1/x").fit(*iris)
    assert "secret" not in str(error.value)


def test_a_database_whose_package_is_absent_names_the_extra(iris, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"cannot be opened: .* pip install 'ddcl-tab\[postgres\]'"):
        search(storage="postgresql+psycopg://me@localhost:1/x").fit(*iris)


def test_an_interrupted_trial_is_queued_again(iris, tmp_path):
    def interrupted(estimator, X, y) -> float:
        if not interrupted.done:
            interrupted.done = True
            raise KeyboardInterrupt
        return float((estimator.predict(X) == y).mean())

    interrupted.done = False
    going = search(storage=tmp_path / "j", scoring=interrupted, refit=False)
    with pytest.raises(KeyboardInterrupt):
        going.fit(*iris)
    going.fit(*iris)
    trials = going.study_.trials
    assert [t.state.name for t in trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert trials[1].params == trials[0].params == going.cv_results_["params"][0]
    assert trials[1].user_attrs["retry_of"] == 0


def test_timeout_begins_no_trial_after_it(iris):
    with pytest.raises(TrainingError, match="no trial of study"):
        search(timeout=1e-6).fit(*iris)


# --- errors and side effects ----------------------------------------------------------------------------------------


def test_all_broken_parameters_are_said_at_once(iris):
    space = {
        "temperature": FloatDistribution(0.5, 2.0),
        "d_token": IntDistribution(8, 9),
        "depth": IntDistribution(1, 2),
        "lr": 0.1,
    }
    with pytest.raises(ConfigurationError) as error:
        search(n_trials=0, n_jobs=2, scoring="goodness", timeout=-1, space=space).fit(*iris)
    said = str(error.value)
    for part in (
        "8 parameters break their rules",
        "n_trials must be an integer of at least 1, not 0",
        "scoring must be the name of a scikit-learn scorer or a callable, not 'goodness'",
        "timeout must be None or a number of seconds above 0, not -1",
        "storage must be a file or a URL where n_jobs is not 1",
        "space['temperature']: temperature must be a number in (0, 1)",
        "space['d_token']: d_token must be a multiple of n_heads (2), not 9",
        "space names 'depth', which is no parameter of the estimator",
        "space['lr'] must be an Optuna distribution or None, not 0.1",
    ):
        assert part in said
    with pytest.raises(ConfigurationError, match="estimator must be a DDCLClassifier or a Pipeline"):
        search(StandardScaler()).fit(*iris)
    with pytest.raises(ConfigurationError, match="storage must be in a folder that exists"):
        search(storage="nowhere/at/all.journal").fit(*iris)


def test_a_score_that_is_no_number_is_an_error(iris):
    with pytest.raises(InputError, match="scoring gave nan on fold 0"):
        search(scoring=lambda estimator, X, y: float("nan")).fit(*iris)


def test_the_bar_tells_trials_best_and_infeasible(iris, capsys):
    space = ONLY_RATIO | {"lr_ratio": SOUND_OR_NOT}
    search(n_trials=5, space=space, scoring=by_ratio, refit=False, verbose=1).fit(*iris)
    shown = capsys.readouterr().err
    assert "5/5" in shown
    assert "best=100" in shown
    assert "infeasible=1" in shown


def test_pictures_are_drawn_and_leave_no_trace(half_sound, searched, tmp_path):
    style, verbosity = dict(matplotlib.rcParams), optuna.logging.get_verbosity()
    assert save_plots(searched.study_, tmp_path, score_name="log-likelihood") == {}
    for name in ("history.png", "contour.png", "importance.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
        (tmp_path / name).unlink()
    missing = save_plots(half_sound.study_, tmp_path, score_name="ratio")
    assert missing.keys() == {"contour.png", "importance.png"}
    assert "n_prototypes" in missing["contour.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["history.png"]
    assert dict(matplotlib.rcParams) == style
    assert optuna.logging.get_verbosity() == verbosity
    assert matplotlib.pyplot.get_fignums() == []
