"""Splits of a catalog. All objects are invented; the real catalog is read in place where it is."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ddcl_tab.app._evaluation import N_FOLDS, SPLITS, TIME_SPLIT_YEAR, split_catalog
from ddcl_tab.errors import CatalogError, InputError
from ddcl_tab.space._join import launch_of
from ddcl_tab.space._satcat import read_satcat


def catalog(n: int = 300, n_launches: int = 60) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    launch = rng.integers(0, n_launches, n)
    return pl.DataFrame(
        {
            "NORAD_CAT_ID": 90_000 + np.arange(n),
            "OBJECT_ID": [None if i % 50 == 0 else f"{2000 + k % 30}-{k:03d}A" for i, k in enumerate(launch)],
            "OBJECT_TYPE": rng.choice(["PAYLOAD", "DEBRIS", "ROCKET BODY"], n, p=[0.5, 0.4, 0.1]),
            "LAUNCH_YEAR": [None if i % 50 == 0 else 2000 + k % 30 for i, k in enumerate(launch)],
        }
    )


def parts_of(frame: pl.DataFrame, kind: str, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame, str]:
    split = split_catalog(frame, "OBJECT_TYPE", kind, seed)
    return frame[split.train], frame[split.test], split.description


@pytest.mark.parametrize("kind", SPLITS)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_row_is_on_one_side(kind, seed):
    split = split_catalog(catalog(), "OBJECT_TYPE", kind, seed)
    assert sorted([*split.train, *split.test]) == list(range(300))
    for part in (split.train, split.test):
        assert len(part) > 0
        assert (np.diff(part) > 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_no_launch_is_on_both_sides(seed):
    train, test, description = parts_of(catalog(), "launch", seed)
    assert not set(launch_of(train)) & set(launch_of(test))
    assert 0.1 < len(test) / 300 < 0.3
    assert set(test["OBJECT_TYPE"]) == set(train["OBJECT_TYPE"])
    assert description == f"by launch, first of 5 stratified folds, seed {seed}"


def test_a_random_split_separates_siblings_and_says_so():
    train, test, description = parts_of(catalog(), "random")
    assert set(launch_of(train)) & set(launch_of(test))
    assert len(test) == 300 // N_FOLDS
    assert "objects of one launch are in both parts, so the scores are optimistic" in description
    share = [
        part["OBJECT_TYPE"].value_counts(normalize=True).sort("OBJECT_TYPE")["proportion"] for part in (train, test)
    ]
    np.testing.assert_allclose(share[0], share[1], atol=0.02)


def test_a_split_by_time_tests_on_later_launches():
    train, test, description = parts_of(catalog(), "time")
    assert train["LAUNCH_YEAR"].max() == TIME_SPLIT_YEAR - 1
    assert test["LAUNCH_YEAR"].min() == TIME_SPLIT_YEAR
    assert test["LAUNCH_YEAR"].null_count() == 0  # a launch without a year is no later launch
    assert train["LAUNCH_YEAR"].null_count() == 6
    assert description == "by time: trained on launches before 2015, tested on launches from 2015 on"


def test_the_seed_shuffles_all_but_the_split_by_time():
    frame = catalog()
    for kind in SPLITS:
        first, again, other = (split_catalog(frame, "OBJECT_TYPE", kind, seed).test.tolist() for seed in (1, 1, 2))
        assert first == again
        assert (first == other) == (kind == "time")


@pytest.mark.parametrize(("year", "side"), [(2010, "before"), (2020, "from")])
def test_a_catalog_of_one_side_of_the_year_is_refused(year, side):
    frame = catalog().with_columns(LAUNCH_YEAR=pl.lit(year))
    with pytest.raises(InputError, match=f"all of this catalog is {side} 2015. Use --split launch"):
        split_catalog(frame, "OBJECT_TYPE", "time", 0)


def test_a_catalog_without_the_column_to_split_by_is_refused_by_name():
    with pytest.raises(CatalogError, match="OBJECT_ID"):
        split_catalog(catalog().drop("OBJECT_ID"), "OBJECT_TYPE", "launch", 0)
    with pytest.raises(InputError, match="LAUNCH_YEAR"):
        split_catalog(catalog().drop("LAUNCH_YEAR"), "OBJECT_TYPE", "time", 0)


def test_one_class_or_too_few_rows_are_refused():
    frame = catalog()
    with pytest.raises(InputError, match="'OBJECT_TYPE' has 1 classes"):
        split_catalog(frame.filter(pl.col("OBJECT_TYPE") == "DEBRIS"), "OBJECT_TYPE", "launch", 0)
    with pytest.raises(InputError, match="at most 4 rows: a split needs two classes and 5 rows of one"):
        split_catalog(frame.group_by("OBJECT_TYPE", maintain_order=True).head(4), "OBJECT_TYPE", "launch", 0)
    with pytest.raises(InputError, match="'OBJECT_TYPE' has 0 classes with at most 0 rows"):
        split_catalog(frame[:0], "OBJECT_TYPE", "launch", 0)


def test_a_split_by_launch_says_where_no_launch_is_known():
    frame = catalog().with_columns(OBJECT_ID=pl.lit(None, pl.String))
    train, test, description = parts_of(frame, "launch")
    assert len(train) + len(test) == 300
    assert description.endswith(
        "seed 0 (no object has an OBJECT_ID: objects of one launch are in both parts, so the scores are optimistic)"
    )


def test_too_few_launches_are_refused():
    with pytest.raises(InputError, match="the catalog holds 4 launches: a split by launch needs 5"):
        split_catalog(catalog(n_launches=4).drop_nulls(), "OBJECT_TYPE", "launch", 0)


def test_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match="split must be one of launch, time, random, not 'orbit'"):
        split_catalog(catalog(), "OBJECT_TYPE", "orbit", 0)


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["DEBRIS", "PAYLOAD", "ROCKET BODY"])])
def test_classes_may_be_categories(dtype):
    frame = catalog()
    split = split_catalog(frame.with_columns(pl.col("OBJECT_TYPE").cast(dtype)), "OBJECT_TYPE", "launch", 0)
    assert split.test.tolist() == split_catalog(frame, "OBJECT_TYPE", "launch", 0).test.tolist()


@pytest.mark.parametrize("kind", ["launch", "random"])
def test_a_class_of_two_rows_does_not_stop_the_split(kind):
    frame = catalog()
    rare = pl.Series("OBJECT_TYPE", ["OTHER"] * 2 + frame["OBJECT_TYPE"].to_list()[2:])
    with pytest.warns(UserWarning, match="least populated class in y has only 2 members"):
        split = split_catalog(frame.with_columns(rare), "OBJECT_TYPE", kind, 0)
    assert len(split.train) + len(split.test) == 300


def test_the_real_catalog_is_split_without_shared_launches(shared_data):
    frame = read_satcat(shared_data / "satcat" / "spacetrack_satcat_current_2025-03-16.json.gz")
    known = frame.filter(pl.col("OBJECT_TYPE") != "UNKNOWN")
    assert len(known) == 13_957 + 13_222 + 2_375  # counts of shared/data/README.md
    for seed in range(2):
        train, test, _ = parts_of(known, "launch", seed)
        assert not set(launch_of(train)) & set(launch_of(test))
        assert test["OBJECT_TYPE"].n_unique() == 3
        assert 0.1 < len(test) / len(known) < 0.35
    train, test, _ = parts_of(known, "time")
    assert train["LAUNCH_YEAR"].max() < 2015 <= test["LAUNCH_YEAR"].min()
    assert min(len(train), len(test)) > 5000
