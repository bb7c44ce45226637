"""The clusterer: finds planted groups, speaks in units, takes both frame libraries, refuses nonsense."""

from __future__ import annotations

import warnings
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from ddcl_tab import DDCLClusterer
from ddcl_tab.errors import ConfigurationError, InputError, LeakWarning
from ddcl_tab.space._satcat import read_satcat

SYNTHETIC = Path(__file__).resolve().parents[2] / "data" / "synthetic_satcat.csv.gz"


def shells(n: int = 300, seed: int = 0) -> tuple[pl.DataFrame, np.ndarray]:
    """Three orbital shells with a launch site each; synthetic."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) % 3
    return pl.DataFrame(
        {
            "PERIGEE": np.array([550.0, 800.0, 1400.0])[group] + rng.normal(0, 5, n),
            "INCLINATION": np.array([53.0, 98.0, 74.0])[group] + rng.normal(0, 0.3, n),
            "SITE": np.array(["AFETR", "TAISC", "PLMSC"])[group],
        }
    ), group


def test_finds_the_shells_and_says_where_they_are():
    frame, group = shells()
    clusterer = DDCLClusterer(3, random_state=0)
    labels = clusterer.fit_predict(frame)
    assert adjusted_rand_score(group, labels) == 1.0
    centers = clusterer.cluster_centers_.sort("PERIGEE")
    np.testing.assert_allclose(centers["PERIGEE"], [550, 800, 1400], atol=3)
    np.testing.assert_allclose(centers["INCLINATION"], [53, 98, 74], atol=0.3)
    assert centers["SITE"].to_list() == ["AFETR", "TAISC", "PLMSC"]
    assert centers["size"].to_list() == [100, 100, 100]


def test_lazy_frames_objects_and_masked_arrays_are_read():
    frame, _ = shells()
    labels = DDCLClusterer(3, random_state=0).fit_predict(frame)
    lazy = DDCLClusterer(3, random_state=0).fit(frame.lazy())
    np.testing.assert_array_equal(lazy.labels_, labels)
    assert isinstance(lazy.cluster_centers_, pl.DataFrame)
    decimals = frame.to_pandas()
    decimals["PERIGEE"] = pd.Series([Decimal(v) for v in decimals["PERIGEE"]], dtype=object)
    np.testing.assert_array_equal(lazy.predict(decimals), labels)
    numbers = frame.select("PERIGEE", "INCLINATION").to_numpy().copy()
    mask = np.arange(600).reshape(300, 2) % 50 == 0
    masked = np.ma.array(np.where(mask, 1e9, numbers), mask=mask)
    missing = np.where(mask, np.nan, numbers)
    array = DDCLClusterer(3, random_state=0).fit(masked)
    np.testing.assert_array_equal(array.labels_, DDCLClusterer(3, random_state=0).fit_predict(missing))
    np.testing.assert_array_equal(array.predict(masked), array.labels_)


def test_sound_by_its_own_measures():
    clusterer = DDCLClusterer(3, random_state=0).fit(shells()[0])
    assert clusterer.terms_["residual"] < 1e-5
    assert clusterer.terms_["quantization"] == pytest.approx(
        clusterer.terms_["reconstruction"] + clusterer.terms_["variance"], rel=1e-5
    )
    assert 0 < clusterer.temperature_ < clusterer.critical_temperature_


def test_predict_transform_and_proba_agree():
    frame, _ = shells()
    clusterer = DDCLClusterer(3, random_state=0).fit(frame)
    distance, q = clusterer.transform(frame), clusterer.predict_proba(frame)
    assert (clusterer.predict(frame) == clusterer.labels_).all()
    assert (distance.argmin(1) == clusterer.labels_).all()
    assert (q.argmax(1) == clusterer.labels_).all()
    np.testing.assert_allclose(q.sum(1), 1.0)
    assert list(clusterer.get_feature_names_out()) == ["ddclclusterer0", "ddclclusterer1", "ddclclusterer2"]


def test_an_unusual_row_scores_lowest():
    frame, _ = shells()
    odd = frame[:1].with_columns(SITE=pl.lit("TAISC"), PERIGEE=pl.lit(1000.0))
    clusterer = DDCLClusterer(3, random_state=0).fit(frame)
    assert clusterer.score_samples(odd)[0] < clusterer.score_samples(frame).min()


def test_scores_are_errors_in_units_of_the_spread_of_the_own_cluster():
    rng = np.random.default_rng(0)
    group = np.arange(400) % 2
    X = np.stack([20.0 * group + rng.normal(0, 1.0, 400), rng.normal(0, np.where(group, 2.0, 0.5))], 1)
    clusterer = DDCLClusterer(2, random_state=0).fit(X)
    x = np.stack([scale(X[:, i]) for i, scale in enumerate(clusterer.encoder_.numeric_)], 1) * clusterer._weights[0]
    gap = (x - clusterer.prototypes_[clusterer.labels_]) ** 2
    spread = np.stack([gap[clusterer.labels_ == k].mean(0) for k in (0, 1)]) + 0.1 * gap.mean()
    np.testing.assert_allclose(clusterer.spreads_, spread, rtol=1e-4)
    wanted = -(gap / spread[clusterer.labels_]).mean(1)
    np.testing.assert_allclose(clusterer.score_samples(X), wanted, rtol=1e-3, atol=1e-6)
    narrow, wide = clusterer.score_samples(np.array([[0.0, 3.0], [20.0, 3.0]]))
    assert narrow < 2 * wide  # three units are much in the narrow group and usual in the wide one


def test_columns_that_say_the_same_share_one_weight():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2))
    copies = np.column_stack([X[:, :1], X[:, :1], X[:, :1], X[:, :1], X[:, 1:]])
    clusterer = DDCLClusterer(2, random_state=0).fit(copies)
    np.testing.assert_allclose(clusterer._weights[0], [0.5] * 4 + [1.0], atol=0.02)
    x = clusterer._embed(copies)
    assert float(x[:, :4].var(0).sum()) == pytest.approx(float(x[:, 4].var()), rel=0.05)


def test_both_frame_libraries_give_the_same():
    frame, _ = shells()
    one = DDCLClusterer(3, random_state=0).fit(frame)
    two = DDCLClusterer(3, random_state=0).fit(frame.to_pandas())
    assert (one.labels_ == two.labels_).all()
    assert isinstance(one.cluster_centers_, pl.DataFrame)
    assert isinstance(two.cluster_centers_, pd.DataFrame)
    assert (one.prototypes_ == two.prototypes_).all()


def test_same_seed_same_bits_other_seed_same_clusters():
    frame, _ = shells()
    one, two, three = (DDCLClusterer(3, random_state=s).fit(frame) for s in (0, 0, 1))
    assert (one.prototypes_ == two.prototypes_).all()
    assert adjusted_rand_score(one.labels_, three.labels_) == 1.0


def test_order_of_rows_and_columns_does_not_matter():
    frame, _ = shells()
    labels = DDCLClusterer(3, random_state=0).fit_predict(frame)
    other = DDCLClusterer(3, random_state=0).fit_predict(frame[::-1, ::-1])
    assert adjusted_rand_score(labels, other[::-1]) == 1.0


def test_missing_values_and_unseen_categories():
    frame, _ = shells()
    gaps = frame.with_columns(
        PERIGEE=pl.when(pl.int_range(pl.len()) % 10 == 0).then(None).otherwise("PERIGEE"),
        SITE=pl.when(pl.int_range(pl.len()) % 7 == 0).then(None).otherwise("SITE"),
    )
    clusterer = DDCLClusterer(3, random_state=0).fit(gaps)
    assert np.isfinite(clusterer.transform(gaps)).all()
    assert np.isfinite(clusterer.transform(gaps.with_columns(SITE=pl.lit("NEW")))).all()


def test_arrays_and_pipelines():
    rng = np.random.default_rng(0)
    group = np.arange(200) % 2
    X = rng.normal(0, 0.1, (200, 3)) + group[:, None]
    labels = make_pipeline(StandardScaler(), DDCLClusterer(2, random_state=0)).fit_predict(X)
    assert adjusted_rand_score(group, labels) == 1.0
    assert clone(DDCLClusterer(4, columns=["x0"])).get_params() == {
        "n_clusters": 4,
        "columns": ["x0"],
        "random_state": None,
    }


def test_the_class_and_the_leaks_are_no_features():
    frame = read_satcat(SYNTHETIC).sample(500, seed=0)
    with pytest.warns(LeakWarning):
        clusterer = DDCLClusterer(3, random_state=0).fit(frame)
    assert not {"OBJECT_TYPE", "OBJECT_NAME", "NORAD_CAT_ID", "OBJECT_ID"} & set(clusterer.encoder_.columns_)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakWarning)
        assert (clusterer.predict(frame.drop("OBJECT_TYPE")) == clusterer.labels_).all()


@parametrize_with_checks([DDCLClusterer(3)])
def test_sklearn_contract(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.mark.parametrize("n", [0, 301, 2.5, True])
def test_wrong_number_of_clusters(n):
    with pytest.raises(ConfigurationError, match=f"from 1 to the number of rows 300, got {n}"):
        DDCLClusterer(n).fit(shells()[0])


def test_wrong_input():
    with pytest.raises(ValueError, match="Expected 2D array"):
        DDCLClusterer(2).fit(np.zeros(3))
    clusterer = DDCLClusterer(2).fit(shells()[0])
    with pytest.raises(InputError, match=r"\['SITE'\] were there in fit"):
        clusterer.predict(shells()[0].drop("SITE"))


def test_one_cluster_and_equal_rows():
    frame, _ = shells()
    assert set(DDCLClusterer(1).fit_predict(frame)) == {0}
    same = DDCLClusterer(2).fit(pl.DataFrame({"PERIGEE": [500.0] * 10}))
    assert np.isfinite(same.prototypes_).all()
    assert np.isfinite(same.score_samples(pl.DataFrame({"PERIGEE": [500.0, 900.0]}))).all()
