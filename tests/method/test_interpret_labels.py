"""Likely label errors: planted ones are found, launches stay together, given probabilities are reused."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from ddcl_tab import DDCLClassifier
from ddcl_tab.errors import ConfigurationError, InputError
from ddcl_tab.interpret._labels import OutOfFold, likely_label_errors, out_of_fold
from ddcl_tab.space._join import launch_of
from ddcl_tab.space._synthetic import synthetic_catalog

CLF = DDCLClassifier(
    n_prototypes=6, d_token=16, n_heads=2, n_blocks=1, max_epochs=8, lr=5e-3, certify=False, random_state=0
)
FEATURES = ["PERIOD", "INCLINATION", "APOGEE", "PERIGEE", "RCS_SIZE", "LAUNCH_YEAR"]


@pytest.fixture(scope="module")
def table() -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """Features, true classes and launches of 1200 invented objects, of two classes that differ in orbit and size."""
    raw = synthetic_catalog(1500, random_state=3).filter(pl.col("OBJECT_TYPE").is_in(["PAYLOAD", "DEBRIS"]))
    launch = launch_of(raw).to_numpy()
    numbers = [name for name in FEATURES if name != "RCS_SIZE"]
    return (
        raw.select(FEATURES).with_columns(pl.col(numbers).cast(pl.Float64)),
        raw["OBJECT_TYPE"].to_numpy(),
        launch,
    )


@pytest.fixture(scope="module")
def planted(table):
    """Records with 30 classes exchanged, which rows those are, and what models out of fold say."""
    X, y, launch = table
    wrong = np.sort(np.random.default_rng(0).choice(len(y), 30, replace=False))
    recorded = y.copy()
    recorded[wrong] = np.where(y[wrong] == "PAYLOAD", "DEBRIS", "PAYLOAD")
    return recorded, wrong, out_of_fold(CLF, X, recorded, launch, n_folds=3)


def test_planted_errors_are_found_first(table, planted):
    X, y, launch = table
    recorded, wrong, judged = planted
    found = likely_label_errors(CLF, X, recorded, launch, judged=judged)
    hits = np.isin(found["row"].to_numpy(), wrong)
    assert hits.sum() >= 0.7 * len(wrong)
    assert len(found) < 0.15 * len(y)
    assert hits[:10].mean() >= 0.5  # 2.2 % of all rows are planted
    assert (found["recorded"].to_numpy() == recorded[found["row"].to_numpy()]).all()
    assert (found["recorded"] != found["predicted"]).all()


def test_table_is_sorted_and_gives_the_reason_of_the_fold(table, planted):
    X, _, launch = table
    recorded, _, judged = planted
    found = likely_label_errors(CLF, X, recorded, launch, judged=judged)
    assert isinstance(found, pl.DataFrame)
    assert found.columns == ["row", "recorded", "predicted", "probability", "probability_recorded", "reason"]
    margin = (found["probability"] - found["probability_recorded"]).to_numpy()
    assert (np.diff(margin) <= 0).all()
    assert (margin > 0).all()
    assert found["reason"].to_list() == [judged.reasons[row] for row in found["row"]]
    said = [f"{name} {min(p, 0.99):.2f}: " for name, p in found.select("predicted", "probability").rows()]
    assert all(reason.startswith(own) for reason, own in zip(found["reason"], said, strict=True))
    assert np.array_equal(found["probability"].to_numpy(), judged.probability[found["row"].to_numpy()].max(axis=1))


def test_folds_keep_launches_together_and_models_have_not_seen_their_rows(table, planted):
    X, _, launch = table
    recorded, _, judged = planted
    folds_of_launch = pl.DataFrame({"launch": launch, "fold": judged.fold}).group_by("launch").n_unique()
    assert folds_of_launch["fold"].max() == 1
    fold = judged.fold == 1
    model = DDCLClassifier(**CLF.get_params()).fit(X.filter(~fold), recorded[~fold], groups=launch[~fold])
    assert np.array_equal(model.predict_proba(X.filter(fold)), judged.probability[fold])


def test_reasons_are_of_the_row_itself_and_like_rows_of_that_class_that_the_fold_was_fitted_on(table, planted):
    X, _, launch = table
    recorded = planted[0]
    name = pl.Series([f"OBJECT {i}" for i in range(len(recorded))])
    frame = X.with_columns(OBJECT_TYPE=pl.Series(recorded), OBJECT_NAME=name).head(400)
    clf = DDCLClassifier(**CLF.get_params() | {"max_epochs": 15, "family": None})
    with pytest.warns(match="OBJECT_NAME"):
        own = out_of_fold(clf, frame, groups=launch[:400], n_folds=2)
    X_only, y = frame.drop("OBJECT_TYPE").to_pandas(), frame["OBJECT_TYPE"]
    with pytest.warns(match="OBJECT_NAME"):
        given = out_of_fold(clf, X_only, y, launch[:400], n_folds=2)
    assert given.reasons == own.reasons
    predicted = own.classes[own.probability.argmax(axis=1)]
    n_sizes = n_heights = 0
    for i, reason in enumerate(own.reasons):
        example = int(re.fullmatch(r".*; like OBJECT (\d+)", reason)[1])
        assert recorded[example] == predicted[i]
        assert own.fold[example] != own.fold[i]
        if size := re.search(r"RCS_SIZE (\w+)", reason):
            n_sizes += 1
            assert size[1] == (X["RCS_SIZE"][i] or "missing")
        if height := re.search(r"(?:: |, )perigee ([\d.]+) km \(", reason):
            n_heights += 1
            assert float(height[1]) == pytest.approx(X["PERIGEE"][i], rel=1e-3)
    assert min(n_sizes, n_heights) > 20


def test_rows_without_names_have_no_example_and_classes_given_go_before_the_column(table):
    X, y, launch = table
    quick = DDCLClassifier(**CLF.get_params() | {"max_epochs": 1})
    column = pl.Series(np.roll(y[:200], 7))
    own = out_of_fold(quick, X.head(200), y[:200], launch[:200], n_folds=2)
    with_column = X.head(200).with_columns(OBJECT_TYPE=column)
    other = out_of_fold(quick, with_column, y[:200], launch[:200], n_folds=2)
    assert not any("; like " in reason for reason in own.reasons)  # a number within the fold would mislead
    assert other.reasons == own.reasons
    assert np.array_equal(other.probability, own.probability)


def test_confident_learning_by_hand():
    # Means of the own probability: a (0.9 + 0.8 + 0.1) / 3 = 0.6, b (0.7 + 0.5) / 2 = 0.6.
    p_a = np.array([0.9, 0.8, 0.1, 0.3, 0.5, 0.95])
    y = np.array(["a", "a", "a", "b", "b", "UNKNOWN"])
    judged = OutOfFold(np.array(["a", "b"]), np.stack([p_a, 1 - p_a], axis=1), np.zeros(6), list("uvwxyz"))
    judged.probability[5] = np.nan
    frame = pd.DataFrame({"NORAD_CAT_ID": np.arange(6) + 10, "OBJECT_NAME": list("ABCDEF"), "OBJECT_TYPE": y})
    found = likely_label_errors(CLF, frame, judged=judged)
    assert found.to_dict("records") == [
        {"row": 2, "NORAD_CAT_ID": 12, "OBJECT_NAME": "C", "recorded": "a", "predicted": "b",
         "probability": 0.9, "probability_recorded": 0.1, "reason": "w"},
    ]  # fmt: skip
    both = likely_label_errors(CLF, pl.DataFrame(frame), judged=judged)
    assert isinstance(both, pl.DataFrame)
    assert both.rows() == [tuple(found.iloc[0])]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_of_both_libraries_give_the_same_list(table, library):
    X, y, launch = table
    frame = X.with_columns(OBJECT_TYPE=pl.Series(y), OBJECT_NAME=pl.Series(launch)).head(300)
    frame = frame.with_columns(OBJECT_TYPE=pl.when(pl.int_range(300) < 3).then(None).otherwise("OBJECT_TYPE"))
    clf = DDCLClassifier(**CLF.get_params() | {"max_epochs": 1, "target": "OBJECT_TYPE"})
    with pytest.warns(match="OBJECT_NAME"):
        judged = out_of_fold(clf, frame, groups=launch[:300], n_folds=2)
    assert np.isnan(judged.probability[:3]).all()
    assert list(judged.fold[:3]) == [-1, -1, -1]
    assert judged.reasons[:3] == ["", "", ""]
    native = frame if library == "polars" else frame.to_pandas()
    with pytest.warns(match="OBJECT_NAME"):
        again = out_of_fold(clf, native, groups=launch[:300], n_folds=2)
    assert np.array_equal(again.probability, judged.probability, equal_nan=True)
    assert type(likely_label_errors(clf, native, judged=again)) is type(native)


@pytest.mark.parametrize("dtype", ["string", "Int64", "boolean", object])
def test_missing_classes_of_pandas_are_judged_by_nobody(dtype):
    rng, index = np.random.default_rng(0), np.arange(60) % 2
    names = {"Int64": [4, 7], "boolean": [False, True]}.get(dtype, ["a", "b"])
    y = pd.Series([names[i] for i in index], dtype=dtype).mask(np.arange(60) < 3, pd.NA)
    frame = pd.DataFrame({"x": rng.normal(size=60) + index, "z": rng.normal(size=60)})
    clf = DDCLClassifier(**CLF.get_params() | {"max_epochs": 1, "class_weight": {names[0]: 2}})
    judged = out_of_fold(clf, frame.assign(OBJECT_TYPE=y), n_folds=2)
    assert judged.classes.tolist() == names
    assert np.flatnonzero(judged.fold < 0).tolist() == [0, 1, 2]
    found = likely_label_errors(clf, frame.assign(OBJECT_TYPE=y), judged=judged)
    assert set(found["recorded"]) <= set(names)
    lazy = pl.from_pandas(frame.assign(OBJECT_TYPE=pd.Series(y.astype(object), dtype=y.dtype))).lazy()
    assert np.array_equal(out_of_fold(clf, lazy, n_folds=2).fold, judged.fold)
    with pytest.raises(InputError, match=r"missing labels \(row 0; 3 in all\)"):
        out_of_fold(clf, frame, y, n_folds=2)
    with pytest.raises(ConfigurationError, match=r"its keys \['no class'\] are not among the classes"):
        out_of_fold(clf.set_params(class_weight={"no class": 2}), frame[3:], y[3:], n_folds=2)


def test_a_class_that_a_training_part_lacks_gets_probability_zero():
    X = np.random.default_rng(0).normal(size=(60, 2))
    y = np.array(["a", "b"] * 29 + ["c", "c"])
    clf = DDCLClassifier(**CLF.get_params() | {"max_epochs": 1, "class_weight": {"c": 3.0}})
    with pytest.warns(UserWarning, match="least populated class"):
        judged = out_of_fold(clf, X, y, groups=np.r_[np.arange(58), 58, 58], n_folds=3)
    assert list(judged.classes) == ["a", "b", "c"]
    assert (judged.probability[judged.fold == judged.fold[-1], 2] == 0).all()
    assert judged.probability.sum(axis=1) == pytest.approx(1)


def test_messages():
    X, y = np.zeros((10, 2)), np.array(["a", "b"] * 5)
    with pytest.raises(ConfigurationError, match="must be a DDCLClassifier, not LogisticRegression"):
        likely_label_errors(LogisticRegression(), X, y)
    for n_folds in (1, 2.5, True):
        with pytest.raises(ConfigurationError, match="n_folds must be an integer of at least 2"):
            out_of_fold(CLF, X, y, n_folds=n_folds)
    with pytest.raises(InputError, match="2 groups for 5 folds"):
        out_of_fold(CLF, X, y, groups=y)
    with pytest.raises(InputError, match="nothing can disagree"):
        out_of_fold(CLF, X, ["a"] * 10)
    judged = OutOfFold(np.array(["a", "b"]), np.full((10, 2), 0.5), np.zeros(10), [""] * 10)
    with pytest.raises(InputError, match=r"shape \(10, 2\) for 9 rows"):
        likely_label_errors(CLF, X[1:], y[1:], judged=judged)
    with pytest.raises(InputError, match=r"classes \['c'\]"):
        likely_label_errors(CLF, X, ["c"] * 10, judged=judged)
    with pytest.raises(InputError, match="no probability for some rows"):
        likely_label_errors(CLF, X, y, judged=judged._replace(probability=np.full((10, 2), np.nan)))
