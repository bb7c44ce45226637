"""Tables at the edge: each is learned from, or one clear error says why not. And nothing global is left changed."""

from __future__ import annotations

import datetime
import decimal
import random
import threading
import warnings
from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from joblib import Parallel, delayed
from sklearn.datasets import load_iris

from ddcl_tab import DDCLClassifier
from ddcl_tab.errors import DDCLTabError, InputError
from ddcl_tab.estimators._validation import check_groups

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
        (
            pd.DataFrame(np.c_[X, X], columns=["x", "x"]),
            Y,
            r"must have different names, but \['x'\] occur more than once",
        ),
        (pa.table([X, X], names=["x", "x"]), Y, r"must have different names, but \['x'\] occur more than once"),
        (pd.DataFrame({"x": pd.to_timedelta(np.arange(N), "D")}), Y, "column 'x' is of type Duration"),
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


# --- labels of every library ------------------------------------------------------------------------------------------

GONE = np.arange(N) % 5 == 2
TEXTS, NUMBERS, FLAGS = Y, np.arange(N) % 3 - 1, np.arange(N) % 3 > 0


def gaps(values, nothing=None) -> list:
    return [nothing if gone else value for gone, value in zip(GONE, values.tolist(), strict=True)]


def in_pandas(values, dtype, nothing=None):
    return pd.Series(gaps(values, nothing), dtype=dtype)


#: Labels with gaps, and the labels that are there.
GAPS = {
    "pandas str": (in_pandas(TEXTS, "str"), TEXTS),
    "pandas string": (in_pandas(TEXTS, "string"), TEXTS),
    "pandas string[pyarrow]": (in_pandas(TEXTS, "string[pyarrow]"), TEXTS),
    "pandas Int64": (in_pandas(NUMBERS, "Int64"), NUMBERS),
    "pandas int8[pyarrow]": (in_pandas(NUMBERS, "int8[pyarrow]"), NUMBERS),
    "pandas boolean": (in_pandas(FLAGS, "boolean"), FLAGS),
    "pandas bool[pyarrow]": (in_pandas(FLAGS, "bool[pyarrow]"), FLAGS),
    "pandas Float64": (in_pandas(NUMBERS, "Float64"), NUMBERS.astype(float)),
    "pandas float": (in_pandas(NUMBERS, float), NUMBERS.astype(float)),
    "pandas category": (in_pandas(TEXTS, "category"), TEXTS),
    "pandas category of integers": (in_pandas(NUMBERS, "Int64").astype("category"), NUMBERS),
    "pandas convert_dtypes": (in_pandas(FLAGS, object).convert_dtypes(), FLAGS),
    "pandas object, NA": (in_pandas(TEXTS, object, pd.NA), TEXTS),
    "pandas object, None": (in_pandas(FLAGS, object, None), FLAGS),
    "pandas object, NaT": (in_pandas(NUMBERS, object, pd.NaT), NUMBERS),
    "pandas object, NaN": (in_pandas(TEXTS, object, float("nan")), TEXTS),
    "polars String": (pl.Series(gaps(TEXTS)), TEXTS),
    "polars Int64": (pl.Series(gaps(NUMBERS)), NUMBERS),
    "polars Boolean": (pl.Series(gaps(FLAGS)), FLAGS),
    "polars Categorical": (pl.Series(gaps(TEXTS), dtype=pl.Categorical), TEXTS),
    "polars Enum": (pl.Series(gaps(TEXTS), dtype=pl.Enum(["c", "b", "a"])), TEXTS),
    "polars Object": (pl.Series(gaps(TEXTS, pd.NA), dtype=pl.Object), TEXTS),
    "polars Float64, NaN": (pl.Series(gaps(NUMBERS.astype(float), float("nan"))), NUMBERS.astype(float)),
    "arrow string": (pa.chunked_array([gaps(TEXTS)]), TEXTS),
    "arrow dictionary": (pa.chunked_array([pa.array(gaps(TEXTS)).dictionary_encode()]), TEXTS),
    "arrow bool": (pa.chunked_array([gaps(FLAGS)]), FLAGS),
}
#: Labels with gaps that stand in no frame.
LOOSE = {
    "list, NaN among texts": gaps(TEXTS, float("nan")),
    "list, None": gaps(NUMBERS),
    "masked texts": np.ma.array(TEXTS, mask=GONE),
    "masked integers": np.ma.array(NUMBERS, mask=GONE),
    "array of pandas": in_pandas(NUMBERS, "Int64").array,
    "arrow array": pa.array(gaps(TEXTS)),
    "StringDType": np.array(gaps(TEXTS, np.nan), dtype=np.dtypes.StringDType(na_object=np.nan)),
}


def frame_of(labels):
    if isinstance(labels, pl.Series):
        return pl.DataFrame({"x": X, "OBJECT_TYPE": labels})
    return (pd.DataFrame if isinstance(labels, pd.Series) else pa.table)({"x": X, "OBJECT_TYPE": labels})


@cache
def fitted_on(kind: str) -> DDCLClassifier:
    """On the rows that have labels, these of one type."""
    labels = {"U": TEXTS, "i": NUMBERS, "b": FLAGS, "f": NUMBERS.astype(float)}[kind]
    return tiny(max_epochs=1).fit(pd.DataFrame({"x": X[~GONE]}), labels[~GONE])


@pytest.mark.parametrize("name", GAPS)
def test_rows_without_a_label_are_left_out_whatever_says_so(name):
    labels, there = GAPS[name]
    frame = frame_of(labels)
    clf = tiny(max_epochs=1).fit(frame)
    assert clf.n_unlabelled_ == GONE.sum()
    assert clf.classes_.dtype == there.dtype
    known = fitted_on(there.dtype.kind)
    np.testing.assert_array_equal(clf.classes_, known.classes_)
    np.testing.assert_array_equal(clf.predict_proba(frame), known.predict_proba(frame))


@pytest.mark.parametrize("name", [*GAPS, *LOOSE])
def test_labels_that_are_missing_in_y_are_said(name):
    y = LOOSE[name] if name in LOOSE else GAPS[name][0]
    for method in (tiny().fit, fitted_on("U").score):
        with pytest.raises(InputError, match=r"Input y contains NaN or missing labels \(row 2; 12 in all\)"):
            method(pd.DataFrame({"x": X}), y)


@pytest.mark.parametrize("name", GAPS)
def test_whole_labels_of_every_library_become_plain_ones(name):
    labels, there = GAPS[name]
    whole = labels.filter(pa.array(~GONE)) if name.startswith("arrow") else labels[np.flatnonzero(~GONE)]
    clf = tiny(max_epochs=1).fit(X[~GONE, None], whole)
    assert clf.classes_.dtype.kind == there.dtype.kind
    assert clf.score(X[~GONE, None], whole) == (clf.predict(X[~GONE, None]) == there[~GONE]).mean()


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (1, r"row 7 holds 1 of type int, and row 0 holds 'a'"),
        (True, r"row 7 holds True of type bool, and row 0 holds 'a'"),
        (datetime.date(2031, 1, 1), r"row 7 holds datetime.date\(2031, 1, 1\) of type date\."),
        (np.timedelta64(1, "D"), "row 7 holds .* of type timedelta64"),
    ],
)
def test_labels_of_two_kinds_name_the_row(odd, message):
    y = [odd if row == 7 else label for row, label in enumerate(Y.tolist())]
    with pytest.raises(InputError, match=message):
        tiny().fit(X[:, None], y)
    with pytest.raises(InputError, match=message):
        tiny().fit(pd.DataFrame({"x": X, "OBJECT_TYPE": pd.Series(y, dtype=object)}))


@pytest.mark.parametrize("name", ["sample_weight", "groups"])
def test_values_for_fewer_rows_than_the_frame_has_are_counted(name):
    frame = pd.DataFrame({"x": X, "OBJECT_TYPE": pd.Series(np.where(np.arange(N) % 7, Y, None), dtype="string")})
    with pytest.raises(
        InputError, match=r"there are 60 rows, those without a label included, and values of shape \(51"
    ):
        tiny().fit(frame, **{name: np.ones(51)})
    assert tiny(max_epochs=1).fit(frame, **{name: np.arange(60) + 1.0}).n_unlabelled_ == 9


def test_bytes_are_no_labels():
    labels = Y.astype("S")
    with pytest.raises(InputError, match=r"class labels are texts, .* not bytes.*np.char.decode"):
        tiny().fit(X[:, None], labels)
    assert tiny(max_epochs=1).fit(X[:, None], np.char.decode(labels)).classes_.tolist() == ["a", "b", "c"]


def test_integers_as_labels_keep_every_digit():
    # Made into floats, the first two would be one.
    for numbers in ([2**53, 2**53 + 1, -(2**63)], [2**63, 2**64 - 1, 5]):
        frame = pd.DataFrame({"x": X, "OBJECT_TYPE": pd.Series(numbers * 20, dtype=object)})
        assert tiny(max_epochs=1).fit(frame).classes_.tolist() == sorted(numbers)
    with pytest.raises(InputError, match="must fit into 64 bits"):
        tiny().fit(X[:, None], [10**20, 1, 2] * 20)


# --- tables of every kind: dates and numbers as objects, lazy, masked -------------------------------------------------


def test_objects_lazy_frames_and_masked_arrays_give_the_bits_of_plain_ones():
    values = holes(X, np.nan)
    days = [datetime.datetime(2031, 1, 1) + datetime.timedelta(days=int(i)) for i in range(N)]
    plain = pl.DataFrame({"x": values, "when": days}).with_columns(pl.col("x").fill_nan(None))
    clf = tiny().fit(plain, Y)
    expected = clf.predict_proba(plain)
    numbers = [pd.NA if v != v else decimal.Decimal(float(v)) for v in values]
    objects = pd.DataFrame({"x": pd.Series(numbers, dtype=object), "when": pd.Series(days, dtype=object)})
    in_polars = pl.DataFrame({name: pl.Series(objects[name].to_list(), dtype=pl.Object) for name in objects})
    for table in (plain.lazy(), objects, in_polars, objects.convert_dtypes(), plain.to_arrow()):
        np.testing.assert_array_equal(tiny().fit(table, Y).predict_proba(plain), expected)
        np.testing.assert_array_equal(clf.predict_proba(table), expected)
        assert clf.score(table, Y) == clf.score(plain, Y)
        for name in ("column", "value", "contribution", "prototype"):
            assert list(clf.explain(table)[name]) == clf.explain(plain)[name].to_list()
    lazy = plain.with_columns(OBJECT_TYPE=pl.Series(Y)).lazy()
    assert isinstance(clf.explain(lazy), pl.DataFrame)
    np.testing.assert_array_equal(tiny().fit(lazy).predict_proba(lazy), expected)
    filled = np.ma.array(np.where(np.isnan(values), 1e9, values)[:, None], mask=np.isnan(values)[:, None])
    array = tiny().fit(filled, Y)
    np.testing.assert_array_equal(array.predict_proba(filled), tiny().fit(values[:, None], Y).predict_proba(filled))
    as_objects = np.array([[v] for v in numbers], dtype=object)
    np.testing.assert_array_equal(array.predict_proba(as_objects), array.predict_proba(filled))


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
