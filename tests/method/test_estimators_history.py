"""Histories: rates and scatter are right, order and gaps do not matter, nonsense is refused by name."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone

from ddcl_tab import DDCLClassifier, DDCLHistoryClassifier
from ddcl_tab.errors import ConfigurationError, InputError
from ddcl_tab.estimators._history import history_features, training_histories
from ddcl_tab.estimators._table import TableEncoder

QUICK = DDCLClassifier(n_prototypes=4, d_token=16, n_heads=2, n_blocks=1, max_epochs=12, certify=False, random_state=0)
EPOCHS = [datetime(2019, 12, 19, tzinfo=UTC) + timedelta(days=600 * i) for i in range(4)]


def long_frame(n: int = 120, seed: int = 0) -> pl.DataFrame:
    """Synthetic: debris sinks, payloads hold their height, from one and the same band."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        debris, start = i % 2 == 1, rng.uniform(500, 600)
        for k, epoch in enumerate(EPOCHS):
            height = start - 8.0 * k * debris + rng.normal(0, 0.2)
            rows.append((i, epoch + timedelta(hours=i % 24), height, "DEBRIS" if debris else "PAYLOAD"))
    return pl.DataFrame(rows, schema=["NORAD_CAT_ID", "EPOCH", "PERIGEE", "OBJECT_TYPE"], orient="row")


@pytest.fixture(scope="module")
def fitted() -> DDCLHistoryClassifier:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return DDCLHistoryClassifier(QUICK).fit(long_frame(), id="norad_cat_id", time="epoch")


def test_rate_and_scatter_are_those_of_a_line():
    frame = long_frame(2)
    wide = history_features(frame)
    for i in range(2):
        one = frame.filter(pl.col("NORAD_CAT_ID") == i)
        t = np.array([e.timestamp() / (86400 * 365.25) for e in one["EPOCH"]])
        slope, level = np.polyfit(t - t.mean(), one["PERIGEE"].to_numpy(), 1)
        scatter = np.sqrt(np.mean((one["PERIGEE"].to_numpy() - level - slope * (t - t.mean())) ** 2))
        assert wide["PERIGEE_RATE"][i] == pytest.approx(slope, abs=1e-6)
        assert wide["PERIGEE_SCATTER"][i] == pytest.approx(scatter, abs=1e-6)
        assert wide["PERIGEE"][i] == one.sort("EPOCH")["PERIGEE"][-1]
    assert wide["N_EPOCHS"].to_list() == [4, 4]
    assert wide["SPAN_YEARS"][0] == pytest.approx(1800 / 365.25)


def test_gaps_leave_nulls():
    frame = long_frame(3)
    newest = frame.group_by("NORAD_CAT_ID", maintain_order=True).last().select(frame.columns)
    wide = history_features(newest)
    assert wide["PERIGEE_RATE"].null_count() == wide["PERIGEE_SCATTER"].null_count() == 3
    two = frame.filter(pl.col("EPOCH") > datetime(2022, 1, 1, tzinfo=UTC))
    wide = history_features(two)
    assert wide["PERIGEE_RATE"].null_count() == 0
    assert wide["PERIGEE_SCATTER"].null_count() == 3
    holes = frame.with_columns(PERIGEE=pl.when(pl.int_range(pl.len()) % 4 == 1).then(None).otherwise("PERIGEE"))
    assert history_features(holes)["PERIGEE_RATE"].is_finite().all()


def test_only_the_history_tells_and_it_is_learned(fitted):
    test = long_frame(60, seed=1)
    assert fitted.score(test) > 0.95
    assert fitted.objects(test).tolist() == list(range(60))
    proba = fitted.predict_proba(test)
    assert proba.shape == (60, 2)
    np.testing.assert_allclose(proba.sum(1), 1.0)
    assert fitted.predict(long_frame(1)[-1:]).shape == (1,)  # one epoch is enough to ask


def test_order_of_rows_and_library_do_not_matter(fitted):
    test = long_frame(60, seed=1)
    expected = fitted.predict_proba(test)
    assert (fitted.predict_proba(test.sample(fraction=1.0, shuffle=True, seed=0)) == expected).all()
    np.testing.assert_allclose(fitted.predict_proba(test.to_pandas()), expected, atol=1e-6)


def test_the_number_of_an_object_is_no_feature(fitted):
    test = long_frame(20, seed=1)
    moved = test.with_columns(NORAD_CAT_ID=pl.col("NORAD_CAT_ID") + 50_000)
    assert (fitted.predict_proba(moved) == fitted.predict_proba(test)).all()
    assert "NORAD_CAT_ID" not in fitted.classifier_.feature_names_in_


def test_labels_by_row(fitted):
    frame = long_frame()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = DDCLHistoryClassifier(QUICK).fit(frame.drop("OBJECT_TYPE"), frame["OBJECT_TYPE"].to_numpy())
        mixed = frame.sample(fraction=1.0, shuffle=True, seed=3)
        shuffled = DDCLHistoryClassifier(QUICK).fit(mixed.drop("OBJECT_TYPE"), mixed["OBJECT_TYPE"].to_numpy())
    assert (other.predict_proba(frame) == fitted.predict_proba(frame)).all()
    assert (shuffled.predict_proba(frame) == fitted.predict_proba(frame)).all()


def test_what_a_history_adds_has_units(fitted):
    units = {column.name: column.unit for column in fitted.classifier_.encoder_.numeric_}
    assert units["PERIGEE"] == units["PERIGEE_SCATTER"] == "km"
    assert units["PERIGEE_RATE"] == "km per yr"
    assert units["SPAN_YEARS"] == "yr"
    assert units["N_EPOCHS"] == ""
    space = fitted.classifier_.domain_
    strange = TableEncoder(domain=space).fit(
        pl.DataFrame({"HEART_RATE": [60.0, 70.0], "ECCENTRICITY_RATE": [0.0, 1e-3]})
    )
    assert [column.unit for column in strange.numeric_] == ["", "1 per yr"]


def test_objects_and_lazy_frames_are_read_as_their_values(fitted):
    test = long_frame(20, seed=1)
    expected = fitted.predict_proba(test)
    assert (fitted.predict_proba(test.lazy()) == expected).all()
    objects = pd.DataFrame(
        {
            "NORAD_CAT_ID": test["NORAD_CAT_ID"].to_list(),
            "EPOCH": pd.Series(test["EPOCH"].to_list(), dtype=object),
            "PERIGEE": pd.Series([Decimal(v) for v in test["PERIGEE"]], dtype=object),
        }
    )
    assert (fitted.predict_proba(objects) == expected).all()
    assert history_features(objects.assign(SEEN=pd.Series([True, pd.NA] * 40, dtype=object))).columns == [
        *history_features(objects).columns[:2],
        "SEEN",
        *history_features(objects).columns[2:],
    ]
    with pytest.raises(InputError, match=r"column 'PERIGEE', row 3 holds 'low'"):
        history_features(objects.assign(PERIGEE=pd.Series([1, 2, 3, "low"] * 20, dtype=object)))


@pytest.mark.parametrize("dtype", ["string", "category", object])
def test_objects_without_a_class_are_left_out_and_y_must_have_them_all(dtype):
    long = long_frame(40)
    hidden = long["NORAD_CAT_ID"].to_numpy() < 10
    frame = long.to_pandas()
    frame["OBJECT_TYPE"] = frame["OBJECT_TYPE"].astype(dtype).mask(hidden, pd.NA)
    brief = DDCLHistoryClassifier(clone(QUICK).set_params(max_epochs=1))
    clf = brief.fit(frame)
    known = brief.fit(frame[~hidden])
    assert list(clf.classes_) == ["DEBRIS", "PAYLOAD"]
    assert (clf.predict_proba(long) == known.predict_proba(long)).all()
    told = clf.predict(long)[10:] == np.array(["PAYLOAD", "DEBRIS"])[np.arange(10, 40) % 2]
    assert clf.score(frame) == told.mean()
    for what in (clf.fit, clf.score):
        with pytest.raises(InputError, match="missing labels"):
            what(long.drop("OBJECT_TYPE"), frame["OBJECT_TYPE"])


def test_classes_are_weighed_by_name():
    def debris(class_weight):
        weighed = DDCLHistoryClassifier(clone(QUICK).set_params(max_epochs=3, class_weight=class_weight))
        return weighed.fit(long_frame(40)).predict_proba(long_frame(40))[:, 0].mean()

    assert debris({"DEBRIS": 20}) > debris({"PAYLOAD": 20}) + 0.2
    with pytest.raises(ConfigurationError, match=r"\['DEB'\] are not among the classes \['DEBRIS', 'PAYLOAD'\]"):
        debris({"DEB": 20})


def test_reasons_name_the_object_and_sum_to_its_log_odds(fitted):
    test = long_frame(6, seed=1).with_columns(pl.col("NORAD_CAT_ID") + 500)
    reasons = fitted.explain(test)
    n_columns = len(fitted.classifier_.encoder_.feature_names_)
    assert reasons.columns[:3] == ["norad_cat_id", "prediction", "probability"]
    assert reasons["norad_cat_id"].to_list() == [500 + i // n_columns for i in range(6 * n_columns)]
    assert reasons["prediction"].to_list()[::n_columns] == fitted.predict(test).tolist()
    assert fitted.explain(test.to_pandas())["contribution"].equals(reasons["contribution"])
    total = reasons.group_by("norad_cat_id", maintain_order=True).agg(
        pl.col("baseline").first() + pl.col("contribution").sum()
    )["baseline"]
    two = np.sort(fitted.predict_proba(test), axis=1)
    np.testing.assert_allclose(total, np.log(two[:, 1] / two[:, 0]), atol=1e-5)
    rate = reasons.filter(pl.col("column") == "PERIGEE_RATE")
    assert rate["unit"].unique().to_list() == ["km per yr"]
    np.testing.assert_allclose(rate["value"].cast(float), fitted.wide(test)["PERIGEE_RATE"], rtol=1e-4)


def test_saved_model_tells_the_same(fitted, tmp_path):
    test = long_frame(20, seed=1)
    fitted.save(tmp_path / "history.ddcl")
    loaded = DDCLHistoryClassifier.load(tmp_path / "history.ddcl")
    assert (loaded.predict_proba(test) == fitted.predict_proba(test)).all()
    other = test.rename({"NORAD_CAT_ID": "number", "EPOCH": "seen"})
    again = DDCLHistoryClassifier.load(tmp_path / "history.ddcl", id="number", time="seen")
    assert (again.predict(other) == fitted.predict(test)).all()


def test_numbers_as_classes_and_groups_do_not_become_features(fitted):
    frame = long_frame()
    coded = frame.with_columns(OBJECT_TYPE=(pl.col("OBJECT_TYPE") == "DEBRIS").cast(pl.Int64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = DDCLHistoryClassifier(QUICK).fit(coded, groups=frame["NORAD_CAT_ID"].to_numpy())
    names = set(other.classifier_.feature_names_in_)
    assert names == set(fitted.classifier_.feature_names_in_)
    test = coded[: 4 * 30]
    assert (other.predict_proba(test) == other.predict_proba(test.drop("OBJECT_TYPE"))).all()
    assert other.score(test) > 0.95


def test_refusals_name_the_object():
    frame = long_frame(4)
    with pytest.raises(InputError, match=r"NORAD_CAT_ID 0 has two rows of EPOCH 2019-12-19"):
        history_features(pl.concat([frame, frame[:1]]))
    with pytest.raises(InputError, match="one column must be named 'number', found none"):
        history_features(frame, id="number")
    with pytest.raises(InputError, match="'EPOCH' must hold dates, got String"):
        history_features(frame.with_columns(pl.col("EPOCH").cast(pl.String)))
    with pytest.raises(InputError, match="'EPOCH' is empty in 16 rows"):
        history_features(frame.with_columns(EPOCH=pl.lit(None, pl.Datetime)))
    with pytest.raises(InputError, match="got ndarray"):
        history_features(np.zeros((3, 3)))
    for odd, told in (("DEB", "'DEB'"), (None, "None")):
        mixed = frame.with_columns(
            OBJECT_TYPE=pl.when(pl.int_range(pl.len()) == 5).then(pl.lit(odd)).otherwise("OBJECT_TYPE")
        )
        with pytest.raises(
            InputError, match=rf"NORAD_CAT_ID 1 has 2 classes in 'OBJECT_TYPE', \[.*{told}.*\]: keep one"
        ):
            DDCLHistoryClassifier(QUICK).fit(mixed)
    with pytest.raises(InputError, match="y has 3 values for 16 rows"):
        DDCLHistoryClassifier(QUICK).fit(frame, ["A", "B", "A"])
    with pytest.raises(InputError, match="groups has 3 values for 16 rows"):
        DDCLHistoryClassifier(QUICK).fit(frame, groups=[1, 2, 3])
    with pytest.raises(InputError, match="NORAD_CAT_ID 0 has 4 groups"):
        DDCLHistoryClassifier(QUICK).fit(frame, groups=np.arange(16))


def test_training_rows_are_histories_of_parts_of_the_frame():
    frame = long_frame(40)
    rows = training_histories(frame, n_thinned=3, seed=1)
    whole = history_features(frame)
    assert rows[:40].equals(whole)
    assert rows.equals(training_histories(frame.sample(fraction=1.0, shuffle=True, seed=2), n_thinned=3, seed=1))
    assert not rows.equals(training_histories(frame, n_thinned=3, seed=2))
    assert set(rows["N_EPOCHS"]) == {1, 2, 3, 4}
    assert rows.is_duplicated().sum() == 0
    newest = rows.join(whole, on="NORAD_CAT_ID", suffix="_whole", maintain_order="left")
    assert (newest["PERIGEE"] == newest["PERIGEE_whole"]).all()  # the newest epoch always stays
    assert (rows["SPAN_YEARS"].is_null() | (rows["SPAN_YEARS"] <= whole["SPAN_YEARS"].max())).all()
    for row in rows.filter(pl.col("N_EPOCHS") == 2).iter_rows(named=True):
        one = frame.filter(pl.col("NORAD_CAT_ID") == row["NORAD_CAT_ID"])
        slopes = [(one["PERIGEE"][3] - one["PERIGEE"][k]) / _years(one, k) for k in range(3)]
        assert min(abs(row["PERIGEE_RATE"] - slope) for slope in slopes) < 1e-6
    assert training_histories(frame, n_thinned=0).equals(whole)


def _years(one: pl.DataFrame, k: int) -> float:
    return (one["EPOCH"][3] - one["EPOCH"][k]).total_seconds() / (86_400 * 365.25)


def test_missing_epochs_at_prediction_do_not_mislead(fitted):
    test = long_frame(100, seed=2)
    two = test.filter(pl.int_range(pl.len()).over("NORAD_CAT_ID") >= 2)
    assert fitted.score(two) > 0.95
