"""Conformal sets: promise, oracle, weights of launches, failure paths."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from ddcl_tab import DDCLClassifier
from ddcl_tab.errors import ConfigurationError, InputError
from ddcl_tab.interpret._trust import ConformalSets


class AsGiven(BaseEstimator):
    """A classifier whose probabilities are the columns of the table."""

    target = "OBJECT_TYPE"

    def __init__(self, classes):
        self.classes = classes
        self.classes_ = np.array(classes)

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        return np.asarray(X[["p0", "p1"]] if hasattr(X, "columns") else X, dtype=float)


def two(p0) -> np.ndarray:
    p0 = np.asarray(p0, dtype=float)
    return np.stack([p0, 1 - p0], axis=1)


ABOUT = AsGiven(["a", "b"])


# --- the promise ----------------------------------------------------------------------------------------------------


def clouds(rng: np.random.Generator, n_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores in groups: one level a group, sizes from 1 to hundreds, large groups far easier than small ones."""
    size = rng.geometric(1 / (1 + 300 * (rng.random(n_groups) < 0.05)))
    centre = np.where(size > 30, 0.9, rng.random(n_groups))
    group = np.repeat(np.arange(n_groups), size)
    return np.clip(centre[group] + rng.normal(0, 0.05, len(group)), 0, 1), group


@pytest.mark.parametrize("level", [0.7, 0.9])
def test_a_random_row_of_a_new_group_is_covered_at_the_level(level):
    rng = np.random.default_rng(0)
    n_groups, hits = 40, []
    for _ in range(800):
        p, group = clouds(rng, n_groups + 1)
        new = group == n_groups
        sets = ConformalSets(ABOUT, level).fit(
            np.concatenate([two(p[~new]), two([0.5] * n_groups)]),
            ["a"] * (~new).sum() + ["b"] * n_groups,
            groups=np.concatenate([group[~new], 1000 + np.arange(n_groups)]),
        )
        hits.append(sets.predict_set(two(p[new]))[:, 0].mean())
    error = 3 * np.std(hits) / np.sqrt(len(hits))
    # From below the promise, from above that nothing is given away: at most one group in 41 and ties.
    assert level - error <= np.mean(hits) <= level + 1 / (n_groups + 1) + error


def test_rows_weighed_alike_would_break_the_promise():
    rng = np.random.default_rng(1)
    by_rows, by_groups = [], []
    for _ in range(300):
        p, group = clouds(rng, 61)
        new = group == 60
        y = np.array(["a", "b"])[[0] * (~new).sum() + [1] * 60]
        X = np.concatenate([two(p[~new]), two([0.5] * 60)])
        launch = np.concatenate([group[~new], 1000 + np.arange(60)])
        by_groups.append(ConformalSets(ABOUT, 0.8).fit(X, y, launch).predict_set(two(p[new]))[:, 0].mean())
        by_rows.append(ConformalSets(ABOUT, 0.8).fit(X, y).predict_set(two(p[new]))[:, 0].mean())
    # The promise itself is the test above; here the same groups, with a large cloud outvoting the small launches.
    assert np.mean(by_rows) < 0.7 < np.mean(by_groups)


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 1000), min_size=19, max_size=80, unique=True),
    st.sampled_from([0.5, 0.8, 0.9, 0.95]),
    st.randoms(use_true_random=False),
)
def test_threshold_is_the_order_statistic_of_single_rows(values, level, random):
    # Oracle: without groups, the ceil(level (n + 1))-th smallest score (Vovk's split conformal prediction).
    p = 1 - np.array(values) / 1000
    n = len(p)
    sets = ConformalSets(ABOUT, level).fit(two(np.concatenate([p, 1 - p])), ["a"] * n + ["b"] * n)
    expected = np.sort(1 - p)[int(np.ceil(level * (n + 1) - 1e-9)) - 1]
    assert sets.threshold_ == pytest.approx([expected, expected])
    order = list(range(n))
    random.shuffle(order)
    shuffled = ConformalSets(ABOUT, level).fit(two(np.concatenate([p[order], 1 - p[order]])), ["a"] * n + ["b"] * n)
    assert np.array_equal(shuffled.threshold_, sets.threshold_)


def test_a_cloud_counts_as_one_launch():
    p = np.concatenate([np.linspace(0.5, 0.9, 19), np.full(1000, 0.1)])
    launch = np.concatenate([np.arange(19), np.full(1000, 19)])
    X, y = np.concatenate([two(p), two(np.zeros(20))]), ["a"] * len(p) + ["b"] * 20
    sets = ConformalSets(ABOUT, 0.9).fit(X, y, groups=np.concatenate([launch, 100 + np.arange(20)]))
    assert sets.threshold_[0] == pytest.approx(0.5)
    assert list(sets.n_groups_) == [20, 20]
    # A row twice in its launch changes nothing either.
    twice = ConformalSets(ABOUT, 0.9).fit(
        np.concatenate([X, X]), y * 2, groups=np.tile(np.concatenate([launch, 100 + np.arange(20)]), 2)
    )
    assert np.array_equal(twice.threshold_, sets.threshold_)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_a_higher_level_never_takes_a_class_away(seed):
    rng = np.random.default_rng(seed)
    X, y = two(rng.random(200)), np.array(["a", "b"])[np.arange(200) % 2]
    low, high = (ConformalSets(ABOUT, level).fit(X, y).predict_set(X) for level in (0.7, 0.9))
    assert (low <= high).all()


# --- figures, frames, probabilities made elsewhere ------------------------------------------------------------------


def test_coverage_counts_launches_and_rows():
    n = 20
    calibration = two(np.concatenate([np.linspace(0.6, 0.99, n), np.linspace(0.0, 0.3, n)]))
    sets = ConformalSets(ABOUT, 0.9).fit(calibration, ["a"] * n + ["b"] * n)
    p0 = [0.99, 0.01, 0.01, 0.01, 0.99]  # class a: launch 1 is covered, launch 2 not at all, launch 3 is
    table = sets.coverage(two(p0), ["a"] * 5, groups=[1, 2, 2, 2, 3])
    first, second = table.iloc[0], table.iloc[1]
    assert (first["class"], first["rows"], first["groups"], first["level"]) == ("a", 5, 3, 0.9)
    assert first["coverage"] == pytest.approx(2 / 3)
    assert first["standard_error"] == pytest.approx(1 / 3)
    assert first["coverage_rows"] == pytest.approx(0.4)
    assert first["set_size"] == pytest.approx(1.0)
    assert second["rows"] == 0
    assert np.isnan(second["coverage"])


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_frames_are_grouped_by_launch_and_rows_of_unknown_class_left_out(library):
    p = np.round(np.linspace(0.02, 0.98, 60), 3)
    frame = {
        "p0": p,
        "p1": 1 - p,
        "OBJECT_TYPE": ["b"] * 29 + ["UNKNOWN", None] + ["a"] * 29,
        "OBJECT_ID": [f"2001-{i // 2:03d}A" for i in range(60)],
        "NORAD_CAT_ID": list(range(60)),
    }
    sets = ConformalSets(ABOUT, 0.8).fit(library(frame))
    assert list(sets.n_groups_) == [15, 15]
    coverage = sets.coverage(library(frame))
    assert isinstance(coverage, library)
    assert list(coverage["rows"]) == [29, 29]
    same = ConformalSets(ABOUT, 0.8).fit(library(frame | {"p0": [0.5] * 60}), probability=two(p))
    assert np.array_equal(same.threshold_, sets.threshold_)


@pytest.mark.parametrize("dtype", ["string", "string[pyarrow]", "category", object])
def test_missing_classes_of_pandas_are_left_out_and_lazy_frames_collected(dtype):
    p = np.linspace(0.02, 0.98, 60)
    y = pd.Series(["b"] * 30 + ["a"] * 30, dtype=dtype).mask(np.arange(60) % 10 == 0, pd.NA)
    frame = pd.DataFrame({"p0": p, "p1": 1 - p, "OBJECT_TYPE": y})
    sets = ConformalSets(ABOUT, 0.8).fit(frame)
    known = y.notna().to_numpy()
    assert np.array_equal(sets.threshold_, ConformalSets(ABOUT, 0.8).fit(two(p[known]), y[known]).threshold_)
    assert sets.coverage(frame)["rows"].tolist() == [27, 27]
    lazy = pl.from_pandas(frame.astype({"OBJECT_TYPE": "string"})).lazy()
    assert np.array_equal(ConformalSets(ABOUT, 0.8).fit(lazy).threshold_, sets.threshold_)
    assert np.array_equal(sets.predict_set(lazy), sets.predict_set(two(p)))
    assert isinstance(sets.coverage(lazy), pl.DataFrame)
    for method in (sets.fit, sets.coverage):
        with pytest.raises(InputError, match=r"missing labels \(row 0; 6 in all\)"):
            method(two(p), y)


def test_out_of_fold_probabilities_may_lack_rows_of_unknown_class():
    frame = pl.DataFrame({"p0": [0.5] * 41, "p1": [0.5] * 41, "OBJECT_TYPE": ["a"] * 20 + ["b"] * 20 + ["UNKNOWN"]})
    p = np.concatenate([two(np.linspace(0, 1, 40)), [[np.nan, np.nan]]])
    assert ConformalSets(ABOUT, 0.9).fit(frame, probability=p).n_groups_.tolist() == [20, 20]


def test_works_on_the_classifier(synthetic):
    rows = synthetic.sample(1500, seed=0).drop("OBJECT_NAME", "DECAY", "COMMENT")
    settings = {"n_prototypes": 6, "d_token": 16, "n_heads": 2, "n_blocks": 1, "max_epochs": 3, "certify": False}
    clf = DDCLClassifier(**settings, random_state=0, allow_leaks=False)
    y = rows["OBJECT_TYPE"].to_numpy()
    known = y != "UNKNOWN"
    features = rows.select("PERIOD", "INCLINATION", "APOGEE", "PERIGEE", "RCS_SIZE", "OBJECT_ID", "OBJECT_TYPE")
    part = np.arange(1500) % 3
    with pytest.warns(match="OBJECT_ID"):
        clf.fit(features.filter(part == 0))
    sets = ConformalSets(clf, level=0.9).fit(features.filter(part == 1))
    covered = sets.coverage(features.filter(part == 2))
    assert covered["rows"].sum() == known[part == 2].sum()
    assert ((covered["coverage"] - 0.9).abs() < 4 * covered["standard_error"] + 0.05).all()
    assert sets.predict_set(features.filter(part == 2)).shape == (500, 3)


# --- failure paths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, 1.5, float("nan"), True, "0.9", 1])
def test_level_must_be_a_share(level):
    with pytest.raises(ConfigurationError, match=r"level must be a number in \(0, 1\)"):
        ConformalSets(ABOUT, level).fit(two([0.5]), ["a"])


def test_constructor_only_stores():
    assert ConformalSets("nonsense", level=7).get_params(deep=False) == {"classifier": "nonsense", "level": 7}


def test_too_few_launches_say_how_many_are_needed():
    with pytest.raises(InputError, match=r"class 'a' has 8 groups.* level 0.9 needs 9: lower level"):
        ConformalSets(ABOUT, 0.9).fit(two(np.linspace(0, 1, 28)), ["a"] * 8 + ["b"] * 20)
    with pytest.raises(InputError, match="class 'b' has 0 groups"):
        ConformalSets(ABOUT, 0.9).fit(two(np.linspace(0, 1, 20)), ["a"] * 20)


def test_messages_for_what_does_not_fit_together():
    X, y = two(np.linspace(0, 1, 40)), ["a"] * 20 + ["b"] * 20
    with pytest.raises(InputError, match=r"classes \['c'\] that the classifier does not know"):
        ConformalSets(ABOUT, 0.9).fit(X, ["c"] * 40)
    with pytest.raises(InputError, match=r"one column for each class, \(40, 2\), not shape \(39, 2\)"):
        ConformalSets(ABOUT, 0.9).fit(X, y, probability=X[1:])
    with pytest.raises(InputError, match="probability has NaN"):
        ConformalSets(ABOUT, 0.9).fit(X, y, probability=np.full((40, 2), np.nan))
    with pytest.raises(InputError, match="groups has 3 values for 40 rows"):
        ConformalSets(ABOUT, 0.9).fit(X, y, groups=[1, 2, 3])
    with pytest.raises(ConfigurationError, match="predict_proba, which str lacks"):
        ConformalSets("model").fit(X, y)
    with pytest.raises(NotFittedError):
        ConformalSets(DDCLClassifier()).fit(X, y)
    with pytest.raises(NotFittedError):
        ConformalSets(ABOUT).predict_set(X)
