"""Tables at the edge: each is learned from, or one clear error says why not. And nothing global is left changed."""

from __future__ import annotations

import datetime
import random
import threading
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from joblib import Parallel, delayed
from sklearn.datasets import load_iris

from ddcl_tab import DDCLClassifier
from ddcl_tab.errors import DDCLTabError, InputError
from ddcl_tab.estimators.inputs import check_groups

N = 60
RNG = np.random.default_rng(0)
Y = np.array(["a", "b", "c"])[np.arange(N) % 3]
X = RNG.normal(size=N) + np.arange(N) % 3


def tiny(**changes) -> DDCLClassifier:
    settings = {"n_prototypes": 4, "d_token": 8, "n_heads": 2, "n_blocks": 1, "max_epochs": 2, "certify": False}
    return DDCLClassifier(**(settings | {"random_state": 0} | changes))


def decides(clf, frame) -> None:
    probability = clf.predict_proba(frame)
    assert np.isfinite(probability).all()
    np.testing.assert_allclose(probability.sum(axis=1), 1.0, atol=1e-6)


def holes(values, what):
    values = np.array(values, dtype=float)
    values[::7] = what
    return values


COLUMNS = {
    "NaN": holes(X, np.nan),
    "constant": np.ones(N),
    "all missing": np.full(N, np.nan),
    "1e30": X * 1e30,
    "1e300": X * 1e300,
    "1e-300": X * 1e-300,
    "booleans": X > 0,
    "texts": np.array(["u", "v", "w", "x"], dtype=object)[np.arange(N) % 4],
    "texts with gaps": np.array(["u", None, "w", "x"], dtype=object)[np.arange(N) % 4],
    "one text a row": np.array([f"t{i}" for i in range(N)], dtype=object),
    "integers": np.arange(N) * 10**15,
    "all None": np.full(N, None, dtype=object),
}


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("name", COLUMNS)
def test_odd_columns_work_beside_an_ordinary_one(name, library):
    values = COLUMNS[name].tolist() if library is pl.DataFrame else COLUMNS[name]
    frame = library({"x": X, "odd": values})
    decides(tiny().fit(frame, Y), frame)


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_categorical_types_and_many_levels_work(library):
    levels = [f"level {i % 1000}" for i in range(2000)]
    frame = library({"x": np.tile(X, 34)[:2000], "c": levels})
    frame = frame.astype({"c": "category"}) if library is pd.DataFrame else frame.cast({"c": pl.Categorical})
    clf = tiny().fit(frame, np.tile(Y, 34)[:2000])
    decides(clf, frame[:10])
    unseen = library({"x": X[:2], "c": ["level 3", "never seen"]})
    decides(clf, unseen)


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_dates_work_or_are_refused_by_name(library):
    day = datetime.datetime(2020, 1, 1)
    frame = library({"x": X, "when": [day + datetime.timedelta(days=i) for i in range(N)]})
    try:
        decides(tiny().fit(frame, Y), frame)
    except InputError as error:
        assert "when" in str(error)  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize("empty", [None, float("nan"), ""])
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_objects_without_any_designator_are_groups_of_their_own(library, empty):
    columns = {"NORAD_CAT_ID": [90001, 90002, 90003], "OBJECT_ID": [empty] * 3}
    frame = pd.DataFrame(columns) if library == "pandas" else pl.DataFrame(columns)
    assert check_groups(None, frame, 3).tolist() == [0, 1, 2]


def test_duplicate_values_and_200_columns_work():
    frame = pd.DataFrame({f"c{i}": X + (RNG.normal(size=N) if i % 2 else 0.0) for i in range(200)})
    decides(tiny(max_epochs=1).fit(frame, Y), frame)


def test_one_class_works():
    clf = tiny().fit(X[:, None], np.repeat("a", N))
    decides(clf, X[:, None])
    assert set(clf.predict(X[:, None])) == {"a"}


def test_more_prototypes_than_rows_and_one_row_a_class_work():
    decides(tiny(n_prototypes=64).fit(X[:9, None], Y[:9]), X[:9, None])
    decides(tiny(validation_fraction=0.0).fit(X[:3, None], Y[:3]), X[:3, None])


@pytest.mark.parametrize(
    ("frame", "y", "message"),
    [
        (pd.DataFrame({"x": holes(X, np.inf)}), Y, r"column 'x' holds an infinite value \(row 0, inf; 9 in all\)"),
        (pl.DataFrame({"x": holes(X, -np.inf)}), Y, r"column 'x' holds an infinite value \(row 0, inf; 9 in all\)"),
        (np.empty((0, 1)), Y[:0], "0 sample"),
        (np.empty((N, 0)), Y, "0 feature"),
        (X[:-1, None], Y, "59"),
        (pd.DataFrame(np.c_[X, X], columns=["x", "x"]), Y, "x"),
        (pd.DataFrame({"x": [[1]] * N}), Y, "column 'x', row 0 holds"),
    ],
)
def test_what_cannot_be_learned_from_is_one_clear_error(frame, y, message):
    with pytest.raises((DDCLTabError, ValueError, TypeError), match=message):
        tiny().fit(frame, y)


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_columns_at_prediction(library):
    frame = library({"x": X, "c": COLUMNS["texts"].tolist()})
    clf = tiny().fit(frame, Y)
    expected = clf.predict_proba(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            turned = clf.predict_proba(frame[["c", "x"]])
        except ValueError as error:
            assert "order" in str(error)  # noqa: PT017 - either outcome is right
        else:
            np.testing.assert_array_equal(turned, expected)
    with pytest.raises(ValueError, match="c"):
        clf.predict_proba(frame[["x"]])
    with pytest.raises(ValueError, match=r"number|text"):
        clf.predict_proba(library({"x": ["a"] * N, "c": COLUMNS["texts"].tolist()}))


# --- threads, processes, global state ---------------------------------------------------------------------------------


def fitted_probability(seed: int):
    data, label = load_iris(return_X_y=True)
    return tiny(random_state=seed, max_epochs=4).fit(data, label).predict_proba(data)


def test_fits_in_threads_and_in_loky_workers_are_those_alone():
    alone = [fitted_probability(seed) for seed in (0, 1)]
    found: dict[int, np.ndarray] = {}
    threads = [threading.Thread(target=lambda s=s: found.update({s: fitted_probability(s)})) for s in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    workers = Parallel(2, backend="loky")(delayed(fitted_probability)(seed) for seed in (0, 1))
    for seed in (0, 1):
        np.testing.assert_array_equal(found[seed], alone[seed])
        np.testing.assert_array_equal(workers[seed], alone[seed])


def global_state():
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": [part.tolist() if hasattr(part, "tolist") else part for part in np.random.get_state()],  # noqa: NPY002
        "random": random.getstate(),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "grad": torch.is_grad_enabled(),
        "filters": list(warnings.filters),
        "errors": np.geterr(),
    }


def test_nothing_global_is_left_changed():
    before = global_state()
    clf = tiny().fit(X[:, None], Y)
    clf.predict(X[:, None])
    clf.explain(X[:3, None])
    with pytest.raises(DDCLTabError):
        tiny(n_prototypes=-1).fit(X[:, None], Y)
    assert global_state() == before
