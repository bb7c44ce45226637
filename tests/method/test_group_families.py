"""Families by a column of any table: what the columns say, that a part says what the whole says, what a file keeps."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold

from ddcl_tab import DDCLClassifier
from ddcl_tab._files import read_model, write_model
from ddcl_tab.errors import ConfigurationError, FamilyContextWarning, InputError, LeakWarning, ModelFileError
from ddcl_tab.estimators import DDCLHistoryClassifier, _classifier
from ddcl_tab.estimators._families import CELLS_PER_RANGE, GroupFamilies, family_groups
from ddcl_tab.interpret import out_of_fold, prototype_cards
from ddcl_tab.tuning import DDCLSearchCV

SETTINGS = {"n_prototypes": 4, "d_token": 8, "n_heads": 2, "n_blocks": 1, "max_epochs": 2, "certify": False}
SETTINGS |= {"augmented_share": 0.0, "random_state": 0}
MADE = ["family size", "pulse family deviation", "pulse family spread", "age family deviation", "age family spread"]


def visits(n: int = 120, n_patients: int = 12, seed: int = 0) -> pl.DataFrame:
    """Visits of patients: the pulse is their own, some values and some patients are missing."""
    random = np.random.default_rng(seed)
    patient = random.integers(0, n_patients, n)
    pulse = 60.0 + 5.0 * patient + random.normal(0.0, 4.0, n)
    return pl.DataFrame(
        {
            "patient": [f"P{number}" if number else None for number in patient],
            "pulse": np.where(random.random(n) < 0.1, np.nan, pulse),
            "age": random.integers(20, 80, n),
            "ward": random.choice(["north", "south"], n),
            "ill": np.where(pulse > 85.0 + random.normal(0.0, 4.0, n), "yes", "no"),
        }
    ).with_columns(pl.col("pulse").fill_nan(None))


def made(clf: DDCLClassifier, X, catalog=None) -> np.ndarray:
    """What the classifier adds to rows, shape (n, 5)."""
    return pl.DataFrame(clf._features_of(X, catalog)).select(MADE).to_numpy()


def naive(frame: pl.DataFrame, widths: dict[str, float]) -> np.ndarray:
    """The same from the definitions, row by row."""
    result = np.full((len(frame), len(MADE)), np.nan)
    rows = frame.to_dicts()
    for i, row in enumerate(rows):
        if row["patient"] is None:
            continue
        others = [other for j, other in enumerate(rows) if j != i and other["patient"] == row["patient"]]
        result[i, 0] = len(others)
        for j, name in enumerate(("pulse", "age")):
            known = [np.rint(o[name] / widths[name]) * widths[name] for o in others if o[name] is not None]
            if known:
                low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
                result[i, 2 * j + 1] = np.nan if row[name] is None else row[name] - middle
                result[i, 2 * j + 2] = high - low
    return result


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return visits()


@pytest.fixture(scope="module")
def fitted(rows) -> DDCLClassifier:
    return DDCLClassifier(family="patient", target="ill", **SETTINGS).fit(rows)


# What the columns say


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 10_000))
def test_each_column_is_what_its_name_says(n, n_patients, seed):
    frame = visits(n, n_patients, seed)
    families = GroupFamilies.of(frame, "patient", ["pulse", "age", "ward"])
    found = families.columns(frame.select(families.NEEDED))
    assert found.columns == MADE
    np.testing.assert_allclose(found.fill_null(np.nan).to_numpy(), naive(frame, families.widths), atol=1e-9)
    pulse = frame["pulse"].drop_nulls()
    if len(pulse) > 2:
        width = (np.quantile(pulse, 0.75) - np.quantile(pulse, 0.25)) / CELLS_PER_RANGE
        assert families.widths["pulse"] == pytest.approx(width)


@settings(max_examples=20)
@given(st.integers(2, 40), st.integers(0, 10_000), st.integers(-40, 40))
def test_in_another_unit_the_columns_are_in_that_unit(n, seed, power):
    frame = visits(n, 4, seed)
    other = frame.with_columns(pl.col("pulse") * 2.0**power)
    one, two = (
        GroupFamilies.of(f, "patient", ["pulse"]).columns(f).fill_null(np.nan).to_numpy() for f in (frame, other)
    )
    np.testing.assert_array_equal(one * [1.0, 2.0**power, 2.0**power], two)


@settings(max_examples=20)
@given(st.integers(1, 60), st.integers(0, 10_000), st.data())
def test_a_part_says_what_the_whole_says_in_any_order(n, seed, data):
    frame = visits(n, 5, seed)
    frame = pl.concat([frame, frame[: n // 3]])  # equal rows count as often as they stand there
    families = GroupFamilies.of(frame, "patient", ["pulse", "age", "ward"])
    read = frame.select(families.NEEDED)
    part = data.draw(st.lists(st.integers(0, len(frame) - 1), unique=True))
    assert families.columns(read[part]).equals(families.columns(read)[part])
    shuffled = np.random.default_rng(seed).permutation(len(frame))
    again = GroupFamilies.of(frame[shuffled], "patient", ["pulse", "age", "ward"])
    for name, array in families.to_arrays().items():
        np.testing.assert_array_equal(again.to_arrays()[name], array)


def test_a_table_without_numbers_gives_the_size():
    frame = pl.DataFrame({"cluster": ["a", "a", "a", "b", None], "colour": ["red", "blue", "red", "red", "red"]})
    families = GroupFamilies.of(frame, "cluster", ["colour"])
    assert families.columns(frame).to_dict(as_series=False) == {"family size": [2.0, 2.0, 2.0, 0.0, None]}
    assert families.columns(frame.clear()).shape == (0, 1)


def test_values_at_the_ends_of_floats_and_constants():
    frame = pl.DataFrame({"g": ["a"] * 4, "x": [1e308, -1e308, 1.5e308, -1.7e308], "one": [5.0] * 4, "no": [None] * 4})
    families = GroupFamilies.of(frame, "g", ["x", "one", "no"])
    found = families.columns(frame)
    assert np.isfinite(list(families.widths.values())).all()
    assert found["one family deviation"].to_list() == [0.0] * 4
    assert found["no family spread"].null_count() == 4


def test_families_are_told_by_value_whatever_its_type():
    texts = pl.DataFrame({"g": ["3", "3", "4", None], "x": [1.0, 2.0, 3.0, 4.0]})
    expected = GroupFamilies.of(texts, "g", ["x"])
    for values in ([3, 3, 4, None], [3.0, 3.0, 4.0, None]):
        frame = texts.with_columns(g=pl.Series(values))
        np.testing.assert_array_equal(GroupFamilies.of(frame, "g", ["x"]).families, expected.families)
        assert expected.columns(frame).equals(expected.columns(texts))
    category = texts.to_pandas().astype({"g": "category"})
    np.testing.assert_array_equal(GroupFamilies.of(category, "g", ["x"]).families, expected.families)
    large = pl.DataFrame({"g": [2**60, 2**60 + 1], "x": [1.0, 2.0]})  # one and the same float
    assert len(GroupFamilies.of(large, "g", ["x"]).families) == 2
    number = family_groups("g", pl.concat([texts, texts])).tolist()
    assert number[:3] == number[4:7]
    assert number[0] == number[1]
    assert len(set(number)) == 4  # a row without a family is alone
    assert family_groups("auto", texts) is None
    assert family_groups("g", texts.to_numpy()) is None


# In a classifier


def test_the_column_is_no_feature_and_its_families_stay_whole(rows, monkeypatch):
    seen = []
    split = _classifier.split_validation
    monkeypatch.setattr(_classifier, "split_validation", lambda r, *a: seen.append(r.group) or split(r, *a))
    clf = DDCLClassifier(family="patient", target="ill", **SETTINGS).fit(rows)
    assert list(clf.feature_names_in_) == ["pulse", "age", "ward", *MADE]
    n_families = rows["patient"].drop_nulls().n_unique() + rows["patient"].null_count()
    assert len(np.unique(seen[0])) == n_families
    DDCLClassifier(family="patient", target="ill", **SETTINGS).fit(rows, groups=np.arange(len(rows)) % 7)
    assert len(np.unique(seen[1])) == 7
    with_label = clf.predict(rows)
    np.testing.assert_array_equal(clf.predict(rows.drop("ill")), with_label)


def test_libraries_labels_apart_and_parts_agree(rows, fitted):
    np.testing.assert_array_equal(made(fitted, rows), naive_of(fitted, rows))
    frame = rows.to_pandas().set_index(np.arange(len(rows))[::-1])
    apart = DDCLClassifier(family="patient", **SETTINGS).fit(frame.drop(columns="ill"), frame["ill"])
    np.testing.assert_array_equal(apart.predict_proba(frame), fitted.predict_proba(rows))
    for part in (slice(3, 4), slice(0, 120, 5)):
        np.testing.assert_allclose(fitted.predict_proba(rows[part]), fitted.predict_proba(rows)[part], atol=1e-6)
        np.testing.assert_array_equal(made(fitted, frame[part]), made(fitted, rows)[part])
    again = clone(fitted).fit(rows)
    np.testing.assert_array_equal(again.predict_proba(rows), fitted.predict_proba(rows))


def naive_of(clf: DDCLClassifier, frame: pl.DataFrame) -> np.ndarray:
    """Columns by another way to the same bits: counted anew in the cells of fit."""
    families = clf.families_.recount(frame.select(clf.families_.NEEDED))
    return families.columns(frame.select(families.NEEDED)).fill_null(np.nan).to_numpy()


def test_new_rows_join_for_the_call_and_a_catalog_takes_the_place(rows):
    clf = DDCLClassifier(family="patient", target="ill", **SETTINGS).fit(rows[:90])
    new = rows[90:]
    np.testing.assert_array_equal(made(clf, new), naive_of(clf, rows)[90:])
    assert clf.families_.members.sum() == rows[:90]["patient"].drop_nulls().len()
    np.testing.assert_array_equal(made(clf, new, new), naive_of(clf, new))
    for ask in (clf.predict, clf.predict_proba, clf.transform):
        assert not np.array_equal(clf.predict_proba(new), clf.predict_proba(new, catalog=new))
        np.testing.assert_array_equal(ask(new, catalog=rows), ask(new))
    assert clf.decide(new, catalog=rows).sentences() == clf.decide(new).sentences()
    assert clf.explain(new, catalog=rows).equals(clf.explain(new))
    assert clf.score(new, new["ill"], catalog=rows) == clf.score(new, new["ill"])
    stranger = rows[:2].with_columns(patient=pl.Series(["Q1", None]))
    with pytest.warns(FamilyContextWarning, match="1 of 2 rows"):
        found = made(clf, stranger)
    assert found[0, 0] == 0.0
    assert np.isnan(found[0, 1:]).all()
    assert np.isnan(found[1]).all()


def test_a_family_of_a_catalog_may_be_a_column(synthetic):
    frame = synthetic.sample(300, seed=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakWarning)
        clf = DDCLClassifier(family="COUNTRY", family_counts=True, **SETTINGS).fit(frame)
    assert isinstance(clf.families_, GroupFamilies)
    assert "COUNTRY" not in clf.feature_names_in_
    assert not [name for name in clf.feature_names_in_ if name.startswith("FAMILY_")]
    units = {scale.name: scale.unit for scale in clf.encoder_.numeric_}
    assert (units["PERIGEE family deviation"], units["PERIGEE family spread"], units["family size"]) == ("km", "km", "")


def test_search_folds_and_cards(rows):
    grid = {"family": [None, "auto", "patient"]}
    search = GridSearchCV(
        DDCLClassifier(target="ill", **SETTINGS), grid, cv=GroupKFold(2), error_score="raise", n_jobs=None
    )
    frame = rows.to_pandas()
    number = family_groups("patient", frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FamilyContextWarning)  # a fold knows no patient of the other
        search.fit(frame.drop(columns="ill"), frame["ill"], groups=number)
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] == scores[1]
    tuned = DDCLSearchCV(DDCLClassifier(family="patient", target="ill", **SETTINGS), cv=2, storage=None)
    assert all(
        not set(number[train]) & set(number[test]) for train, test in tuned._prepare(frame, None, None, {}).folds
    )
    judged = out_of_fold(DDCLClassifier(family="patient", target="ill", **SETTINGS), rows, n_folds=3)
    assert np.isfinite(judged.probability).all()
    assert all(len(np.unique(judged.fold[number == patient])) == 1 for patient in np.unique(number))
    assert len(prototype_cards(DDCLClassifier(family="patient", target="ill", **SETTINGS).fit(rows), rows)) == 4


@pytest.mark.parametrize(
    ("change", "family", "error", "message"),
    [
        (
            lambda X: X,
            "patients",
            ConfigurationError,
            r"family='patients' is no column of the frame\. Did you mean pat",
        ),
        (lambda X: X, "zzz", ConfigurationError, r"no column of the frame\. It has patient, pulse"),
        (lambda X: X, "", ConfigurationError, "family must be 'auto', the name of a column, or None, not ''"),
        (lambda X: X, 3, ConfigurationError, "family must be 'auto', the name of a column, or None, not 3"),
        (lambda X: X, "ill", ConfigurationError, "family='ill' is the column of the classes"),
        (lambda X: X.rename({"age": "family size"}), "patient", InputError, "columns called as .* family size. Rename"),
        (lambda X: X.rename({"age": "a family spread"}), "patient", InputError, "a family spread. Rename"),
        (lambda X: X.with_columns(patient=pl.lit([1])), "patient", InputError, "column 'patient' is of type List"),
    ],
)
def test_wrong_families_are_refused_by_name(rows, change, family, error, message):
    with pytest.raises(error, match=message):
        DDCLClassifier(family=family, target="ill", **SETTINGS).fit(change(rows))


def test_what_predict_lacks_is_said(rows, fitted):
    with pytest.raises(ConfigurationError, match="in no frame whose columns have names: hand over a frame, or set"):
        DDCLClassifier(family="patient", **SETTINGS).fit(np.eye(4), [0, 1, 0, 1])
    with pytest.raises(InputError, match="families need the columns patient, which the frame lacks"):
        fitted.predict(rows.drop("patient"))
    with pytest.raises(InputError, match="hand over a frame"):
        fitted.predict(np.zeros((2, 3)))
    with pytest.raises(InputError, match="column 'age' held numbers in fit; row 0 now holds the text 'old'"):
        fitted.predict(rows, catalog=rows.with_columns(age=pl.lit("old")))
    with pytest.raises(ConfigurationError, match="family_counts must be True or False, not 1"):
        DDCLClassifier(family_counts=1).fit(rows)
    long = pd.DataFrame({"norad_cat_id": [1, 2], "epoch": pd.Timestamp("2020-01-01"), "OBJECT_TYPE": ["A", "B"]})
    with pytest.raises(ConfigurationError, match="copies of a history would count as members"):
        DDCLHistoryClassifier(DDCLClassifier(family="patient")).fit(long)


# Model file


def test_families_come_back_from_file_and_pickle(rows, fitted, tmp_path):
    fitted.save(tmp_path / "a.ddcl")
    loaded = DDCLClassifier.load(tmp_path / "a.ddcl")
    assert loaded.families_.NEEDED == fitted.families_.NEEDED
    for again in (loaded, pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(again.predict_proba(rows), fitted.predict_proba(rows))
    loaded.save(tmp_path / "b.ddcl")
    assert (tmp_path / "b.ddcl").read_bytes() == (tmp_path / "a.ddcl").read_bytes()
    arrays = {name: a for name, a in read_model(tmp_path / "a.ddcl").weights.items() if name.startswith("families.")}
    assert len(arrays) == 7
    content = b"".join(array.tobytes() for array in arrays.values())
    assert not [name for name in rows["patient"].drop_nulls() if name.encode() in content]
    values = np.frombuffer(content[: len(content) // 8 * 8], dtype=np.float64)
    assert not np.isin(rows["pulse"].drop_nulls(), values).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a["families.cells"].__setitem__((0, 3), 0), "cells hold rows"),
        (lambda a: a["families.cells"].__setitem__((0, 0), 10**6), "cells are of those families and columns"),
        (lambda a: a["families.cells"].__setitem__((0, 1), 2), "cells are of those families and columns"),
        (lambda a: a["families.cells"].__setitem__((0, 2), 2**62), "cells are in range"),
        (lambda a: a.update({"families.cells": a["families.cells"][::-1]}), "cells are different and sorted"),
        (lambda a: a.update({"families.cells": a["families.cells"][:, :3]}), "cells are four numbers"),
        (lambda a: a["families.widths"].__setitem__(0, np.nan), "widths are above 0 and finite"),
        (lambda a: a.update({"families.widths": a["families.widths"][:1]}), "each column of numbers has a width"),
        (lambda a: a["families.members"].__setitem__(0, 2**50), "families have members"),
        (lambda a: a["families.members"].__setitem__(0, 1), "rows are members of families"),
        (lambda a: a.update({"families.families": a["families.families"][::-1]}), "families are different and sorted"),
        (lambda a: a.update({"families.counted": a["families.counted"][1:]}), "hashes stand for rows"),
        (lambda a: a.update({"families.times": a["families.times"].astype(np.float32)}), "times of the families must"),
        (lambda a: a["families.column"].__setitem__(0, 65), "they are those of the column"),
        (lambda a: a.pop("families.times"), "not cells, column, counted, families, members, widths"),
        (lambda a: [a.pop(name) for name in list(a) if "families." in name], "families are the arrays"),
    ],
)
def test_altered_families_are_our_error(fitted, tmp_path, change, message):
    fitted.save(tmp_path / "a.ddcl")
    state, weights, _ = read_model(tmp_path / "a.ddcl")
    weights = {name: array.copy() for name, array in weights.items()}
    change(weights)
    write_model(tmp_path / "a.ddcl", state, weights)
    with pytest.raises(ModelFileError, match=message):
        DDCLClassifier.load(tmp_path / "a.ddcl")
