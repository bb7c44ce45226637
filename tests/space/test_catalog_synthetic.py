"""The synthetic catalog: shares, formats, physics, learnability, determinism, files, failures."""

from __future__ import annotations

import gzip
import json
import re
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ddcl_tab.errors import CatalogError, ConfigurationError
from ddcl_tab.space import regime, synthetic_catalog, write_satcat
from ddcl_tab.space._elements import semi_major_axis_from_altitudes, semi_major_axis_from_period
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.space._schema import SPACETRACK_COLUMNS

ORBIT = ["PERIOD", "INCLINATION", "APOGEE", "PERIGEE"]
ENDINGS = ["json", "json.gz", "csv", "csv.gz"]


@pytest.fixture(scope="module")
def catalog() -> pl.DataFrame:
    return synthetic_catalog(5000, random_state=0)


def orbits(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop_nulls(ORBIT).with_columns(pl.col(ORBIT).cast(pl.Float64))


def shares(frame: pl.DataFrame, column: str) -> dict[str | None, float]:
    return dict(frame[column].value_counts(normalize=True).iter_rows())


@pytest.mark.parametrize("n_rows", [50, 51, 137, 5000])
def test_number_of_rows_and_shares_of_classes(n_rows):
    frame = synthetic_catalog(n_rows, random_state=3)
    assert frame.height == n_rows
    share = shares(frame, "OBJECT_TYPE")
    wanted = {"PAYLOAD": 0.46, "DEBRIS": 0.44, "ROCKET BODY": 0.08, "UNKNOWN": 0.02}
    assert share == pytest.approx(wanted, abs=1.5 / n_rows)


def test_columns_and_formats_of_space_track(catalog):
    assert catalog.columns == list(SPACETRACK_COLUMNS)
    assert set(catalog.dtypes) == {pl.String}
    patterns = {
        "INTLDES": r"\d{4}-\d{3}[A-HJ-NP-Z]{1,3}",
        "NORAD_CAT_ID": r"9\d{8}",
        "LAUNCH": r"\d{4}-\d\d-\d\d",
        "PERIOD": r"\d+\.\d\d",
        "INCLINATION": r"\d+\.\d\d",
        "APOGEE": r"\d+",
        "PERIGEE": r"\d+",
        "RCSVALUE": "0",
        "RCS_SIZE": "SMALL|MEDIUM|LARGE",
        "LAUNCH_YEAR": r"\d{4}",
        "LAUNCH_NUM": r"[1-9]\d*",
        "CURRENT": "Y",
        "SATNAME": "SYNTHETIC (SAT|R/B|DEB|OBJECT) .*",
        "COMMENT": re.escape("SYNTHETIC: made by ddcl-tab synth --rows 5000 --seed 0"),
    }
    for column, pattern in patterns.items():
        values = catalog[column].drop_nulls()
        assert values.str.contains(f"^({pattern})$").all(), column
    assert catalog["DECAY"].null_count() == 5000
    assert (catalog["INTLDES"] == catalog["OBJECT_ID"]).all()
    assert (catalog["SATNAME"] == catalog["OBJECT_NAME"]).all()
    assert (catalog["NORAD_CAT_ID"] == catalog["OBJECT_NUMBER"]).all()


def test_identifiers_are_unique_and_agree(catalog):
    assert catalog["NORAD_CAT_ID"].n_unique() == catalog["OBJECT_ID"].n_unique() == 5000
    built = catalog["LAUNCH_YEAR"] + "-" + catalog["LAUNCH_NUM"].str.zfill(3) + catalog["LAUNCH_PIECE"]
    assert (built == catalog["OBJECT_ID"]).all()
    assert (catalog["LAUNCH"].str.slice(0, 4) == catalog["LAUNCH_YEAR"]).all()
    assert catalog["LAUNCH"].str.to_date().is_sorted()
    per_launch = catalog.with_columns(launch=pl.col("OBJECT_ID").str.slice(0, 8)).group_by("launch")
    assert per_launch.agg(pl.col("SITE").n_unique())["SITE"].max() == 1
    years = catalog["LAUNCH_YEAR"].cast(pl.Int64)
    assert (years.min(), years.max()) >= (1960, 2015)
    assert years.max() <= 2025


def test_missing_values(catalog):
    assert catalog["RCS_SIZE"].null_count() == 250
    missing = catalog.select(pl.col(ORBIT).is_null())
    assert missing.sum().row(0) == (100,) * 4
    assert missing.select(pl.all_horizontal(ORBIT) == pl.any_horizontal(ORBIT)).to_series().all()


def test_orbits_obey_keplers_law(catalog):
    rows = orbits(catalog)
    from_period = semi_major_axis_from_period(rows["PERIOD"].to_numpy())
    from_altitudes = semi_major_axis_from_altitudes(rows["PERIGEE"].to_numpy(), rows["APOGEE"].to_numpy())
    # Altitudes are rounded to 1 km, the period to 0.01 min (0.25 km in low orbits).
    assert np.abs(from_period - from_altitudes).max() < 1


def test_regimes_of_the_real_catalog_occur(catalog):
    rows = orbits(catalog)
    names = regime(*(rows[column].to_numpy() for column in ("PERIGEE", "APOGEE", "INCLINATION")))
    assert {"LEO", "GEO", "EGO", "GTO", "NSO", "LMO"} <= set(names)
    assert 0.65 < np.mean(names == "LEO") < 0.9
    assert "UFO" not in names


def test_fragments_stand_around_few_launches(catalog):
    debris = catalog.filter(pl.col("OBJECT_TYPE") == "DEBRIS")
    largest = debris["OBJECT_ID"].str.slice(0, 8).value_counts(sort=True)["count"]
    assert largest.head(14).sum() > 0.7 * debris.height
    assert largest.max() < 0.5 * debris.height
    # Gabbard: the orbits of one cloud share the distance of the break-up, between every perigee and apogee.
    name = debris["OBJECT_ID"].str.slice(0, 8).value_counts(sort=True).row(0)[0]
    cloud = orbits(debris.filter(pl.col("OBJECT_ID").str.starts_with(name)))
    lows, highs = cloud["PERIGEE"].quantile(0.95), cloud["APOGEE"].quantile(0.05)
    assert lows <= highs + 60
    assert cloud["PERIGEE"].min() > 200


def test_size_classes_follow_the_type(catalog):
    size = {kind: shares(rows, "RCS_SIZE") for (kind,), rows in catalog.group_by("OBJECT_TYPE")}
    assert size["DEBRIS"]["SMALL"] > 0.6
    assert size["ROCKET BODY"]["LARGE"] > 0.8
    assert size["PAYLOAD"]["LARGE"] > 0.6
    assert min(size["PAYLOAD"]["SMALL"], size["PAYLOAD"]["MEDIUM"], size["DEBRIS"]["MEDIUM"]) > 0.005


def test_types_can_be_learned_but_not_perfectly(catalog):
    # Measured with this model over three folds by launch: 0.86 (seed 0), 0.84 (seed 1).
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import f1_score
    from sklearn.model_selection import GroupShuffleSplit
    from sklearn.preprocessing import OrdinalEncoder

    numbers = catalog.select(pl.col([*ORBIT, "LAUNCH_YEAR"]).cast(pl.Float64)).to_numpy()
    labels = OrdinalEncoder().fit_transform(
        catalog.select(pl.col("COUNTRY", "SITE", "RCS_SIZE").fill_null("?")).to_numpy()
    )
    X, y = np.hstack([numbers, labels]), catalog["OBJECT_TYPE"].to_numpy()
    launches = catalog["OBJECT_ID"].str.slice(0, 8).to_numpy()
    train, test = next(GroupShuffleSplit(test_size=0.33, random_state=0).split(X, y, launches))
    model = HistGradientBoostingClassifier(categorical_features=[5, 6, 7], max_iter=40, random_state=0)
    score = f1_score(y[test], model.fit(X[train], y[train]).predict(X[test]), average="macro")
    assert 0.75 < score < 0.95


def test_same_seed_same_catalog(catalog):
    assert catalog.equals(synthetic_catalog(5000, random_state=0))
    assert not catalog.drop("COMMENT").equals(synthetic_catalog(5000, random_state=1).drop("COMMENT"))
    assert synthetic_catalog(np.int64(60), np.int64(2)).equals(synthetic_catalog(60, 2))


def test_five_thousand_rows_take_under_two_seconds():
    start = time.process_time()
    synthetic_catalog(5000, random_state=7)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("seed", range(20))
def test_small_catalogs_of_any_seed(seed):
    assert synthetic_catalog(50, random_state=seed).height == 50


@pytest.mark.parametrize("n_rows", [49, 0, -5, 100_001, 5000.0, "5000", None, True])
def test_wrong_number_of_rows(n_rows):
    with pytest.raises(ConfigurationError, match=r"n_rows is an integer from 50 to 100000, not "):
        synthetic_catalog(n_rows)


@pytest.mark.parametrize("seed", [-1, 0.5, None, False])
def test_wrong_seed(seed):
    with pytest.raises(ConfigurationError, match=r"random_state is an integer from 0 to "):
        synthetic_catalog(100, random_state=seed)


# --- files


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_hold_the_frame_and_are_reproducible(tmp_path: Path, ending):
    frame = synthetic_catalog(80, random_state=5)
    one, two = tmp_path / f"one.{ending}", tmp_path / f"two.{ending}"
    write_satcat(frame, one)
    write_satcat(frame.select(reversed(frame.columns)), str(two))
    assert one.read_bytes() == two.read_bytes()
    content = gzip.decompress(one.read_bytes()) if ending.endswith("gz") else one.read_bytes()
    if "json" in ending:
        assert json.loads(content) == frame.to_dicts()
    else:
        back = pl.read_csv(content, infer_schema=False)
        assert back.with_columns(pl.all().replace("", None)).equals(frame)
        assert content.startswith(b'"INTLDES","NORAD_CAT_ID"')
    assert sorted(path.name for path in tmp_path.iterdir()) == [one.name, two.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_package_reads_what_it_writes(tmp_path: Path, ending):
    frame = synthetic_catalog(300, random_state=6)
    path = tmp_path / f"synthetic.{ending}"
    write_satcat(frame, path)
    read = read_satcat(path)
    assert read["OBJECT_TYPE"].to_list() == frame["OBJECT_TYPE"].to_list()
    assert read["PERIGEE"].to_list() == frame["PERIGEE"].cast(pl.Float64).to_list()
    assert read["RCS_SIZE"].to_list() == frame["RCS_SIZE"].to_list()


def test_an_older_file_is_replaced(tmp_path: Path):
    path = tmp_path / "synthetic.csv"
    path.write_text("old")
    write_satcat(synthetic_catalog(50), path)
    assert path.read_text().count("\n") == 51


@pytest.mark.parametrize("name", ["a.parquet", "a.gz", "json", "a.CSV", "a.json.gz.bak"])
def test_wrong_ending(tmp_path: Path, name):
    with pytest.raises(ConfigurationError, match=r"path ends in \.json, \.json\.gz, \.csv or \.csv\.gz, not "):
        write_satcat(synthetic_catalog(50), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_wrong_frames_and_folders(tmp_path: Path):
    frame = synthetic_catalog(50)
    with pytest.raises(CatalogError, match=r"column SITE: a SATCAT has this column"):
        write_satcat(frame.drop("SITE"), tmp_path / "a.csv")
    with pytest.raises(CatalogError, match=r"column EXTRA: a SATCAT has no such column"):
        write_satcat(frame.with_columns(EXTRA=pl.lit("")), tmp_path / "a.csv")
    with pytest.raises(
        CatalogError, match=r"column PERIOD: value 'Float64' breaks the rule: every value is text or null"
    ):
        write_satcat(frame.with_columns(pl.col("PERIOD").cast(pl.Float64)), tmp_path / "a.csv")
    with pytest.raises(CatalogError, match=r"none: the folder exists\. Make the folder first"):
        write_satcat(frame, tmp_path / "none" / "a.csv")
    assert not list(tmp_path.iterdir())
