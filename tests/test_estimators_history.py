"""Histories: rates and scatter are right, order and gaps do not matter, nonsense is refused by name."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from ddcl_tab import DDCLClassifier, DDCLHistoryClassifier
from ddcl_tab.errors import InputError
from ddcl_tab.features.history import history_features

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
    assert (other.predict_proba(frame) == fitted.predict_proba(frame)).all()


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
    mixed = frame.with_columns(
        OBJECT_TYPE=pl.when(pl.int_range(pl.len()) == 5).then(pl.lit("DEB")).otherwise("OBJECT_TYPE")
    )
    with pytest.raises(InputError, match="NORAD_CAT_ID 1 has two classes"):
        DDCLHistoryClassifier(QUICK).fit(mixed)
    with pytest.raises(InputError, match="y has 3 values for 16 rows"):
        DDCLHistoryClassifier(QUICK).fit(frame, ["A", "B", "A"])
