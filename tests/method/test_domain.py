"""What a domain says about columns, and that the method knows none by itself."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from ddcl_tab import DDCLClassifier, DDCLClusterer
from ddcl_tab.errors import FamilyContextWarning, InputError, LeakWarning, ModelFileError
from ddcl_tab.estimators import Domain, _classifier, _domain
from ddcl_tab.estimators._domain import GENERIC, domain_named, domain_of
from ddcl_tab.estimators._model_file import read_state
from ddcl_tab.space import SATCAT_COLUMNS
from ddcl_tab.space._domain import SPACE

QUICK = {
    "n_prototypes": 3,
    "max_epochs": 2,
    "d_token": 8,
    "n_heads": 2,
    "n_blocks": 1,
    "certify": False,
    "random_state": 0,
}


def barrels(n: int = 120) -> pd.DataFrame:
    """Made-up wines: several barrels of a vineyard; the label gives the cultivar away."""
    random = np.random.default_rng(5)
    alcohol, vineyard = random.normal(13.0, 1.0, n), np.arange(n) // 6
    cultivar = np.where(alcohol > 13.0, "red", "white").astype(object)
    cultivar[:9] = "not tasted"
    return pd.DataFrame(
        {
            "alcohol": alcohol,
            "ash": random.normal(2.3, 0.2, n),
            "label": cultivar,
            "visit": np.arange(n),
            "barrel": [f"B{i}" for i in range(n)],
            "vineyard": vineyard,
            "cultivar": cultivar,
        }
    )


def vineyards(frame) -> np.ndarray:
    return np.asarray(frame["vineyard"])


WINE = Domain(
    name="wine",
    columns=frozenset({"alcohol", "ash"}),
    units={"alcohol": "%"},
    leaks={"label": "printed from the cultivar"},
    bookkeeping={"visit": "about the record", "vineyard": "a place", "barrel": "a name"},
    target="cultivar",
    unknown="not tasted",
    identifiers=("barrel",),
    display=("barrel",),
    group_columns=("vineyard",),
    group=vineyards,
    say=lambda column, numbers, text: f"strength {text}" if column == "alcohol" else None,
)


@pytest.fixture
def wine(monkeypatch):
    monkeypatch.setattr(_domain, "_installed", lambda: (WINE, SPACE))
    return barrels()


def test_a_domain_of_ones_own_is_followed_from_fit_to_file(wine, tmp_path):
    with pytest.warns(LeakWarning, match=r"label \(printed from the cultivar\)"):
        clf = DDCLClassifier(**QUICK).fit(wine)
    assert clf.domain_ is WINE
    assert list(clf.feature_names_in_) == ["alcohol", "ash"]
    assert clf.encoder_.numeric_[0].unit == "%"
    assert clf.classes_.tolist() == ["red", "white"]
    assert clf.n_unlabelled_ == 9
    assert set(clf.prototypes_["medoid"]) <= set(wine["barrel"])
    assert clf.prototypes_["name"].str.contains(r"strength 1\d|ash ").any()
    clf.save(tmp_path / "wine.ddcl")
    loaded = DDCLClassifier.load(tmp_path / "wine.ddcl")
    assert loaded.domain_ is WINE
    np.testing.assert_array_equal(loaded.predict_proba(wine), clf.predict_proba(wine))


def test_groups_of_the_domain_stay_together_in_the_validation_part(wine, monkeypatch):
    seen = []
    split = _classifier.split_validation
    monkeypatch.setattr(_classifier, "split_validation", lambda rows, *a: seen.append(rows.group) or split(rows, *a))
    DDCLClassifier(**QUICK, allow_leaks=True).fit(wine)
    assert len(np.unique(seen[0])) == len(np.unique(wine["vineyard"][9:]))


def test_columns_that_the_domain_knows_to_be_late_are_hidden_in_training_and_validation(wine, monkeypatch):
    late = dataclasses.replace(WINE, late=(("ash",), ("barrel", "unheard of")))
    monkeypatch.setattr(_domain, "_installed", lambda: (late,))
    seen = []
    train = _classifier.train_network
    monkeypatch.setattr(_classifier, "train_network", lambda *a, **k: seen.append(a[2:4]) or train(*a, **k))
    frame = wine.drop(columns="label")
    DDCLClassifier(**QUICK, validation_fraction=0.3).fit(frame)
    rows, validation = seen[0]
    hidden = rows.epoch(torch.Generator().manual_seed(0)).numeric.isnan().numpy()
    assert hidden[:, 0].sum() == 0
    assert 0.15 < hidden[:, 1].mean() < 0.45  # ash; of the other set the model has no column
    assert bool(validation.numeric[:, 1].isnan().any())
    DDCLClassifier(**QUICK, validation_fraction=0.3, hidden_share=0.0).fit(frame)
    rows, validation = seen[1]
    assert not bool(rows.epoch(torch.Generator().manual_seed(0)).numeric.isnan().any())
    assert not bool(validation.numeric.isnan().any())


class Neighbours:
    """Number of the other barrels of a vineyard."""

    NEEDED, NAMES, COUNTS = ("vineyard", "barrel"), ("others",), ()

    def __init__(self, vineyard: np.ndarray, barrel: np.ndarray) -> None:
        self.vineyard, self.barrel = vineyard, barrel

    @classmethod
    def count(cls, catalog: pl.DataFrame) -> Neighbours:
        barrel = catalog["barrel"].str.slice(1).cast(pl.Int64)
        return cls(catalog["vineyard"].to_numpy(), barrel.to_numpy())

    def including(self, frame: pl.DataFrame) -> Neighbours:
        more = self.count(frame)
        barrel, first = np.unique(np.append(self.barrel, more.barrel), return_index=True)
        return Neighbours(np.append(self.vineyard, more.vineyard)[first], barrel)

    def recount(self, catalog: pl.DataFrame) -> Neighbours:
        return self.count(catalog)

    def columns(self, frame: pl.DataFrame, *, counts: bool = False) -> pl.DataFrame:
        there = self.including(frame).vineyard
        return pl.DataFrame({"others": [float((there == v).sum() - 1) for v in frame["vineyard"]]})

    def without_context(self, frame: pl.DataFrame) -> np.ndarray:
        return ~np.isin(frame["vineyard"].to_numpy(), self.vineyard)

    def to_arrays(self) -> dict[str, np.ndarray]:
        return {"vineyard": self.vineyard, "barrel": self.barrel}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Neighbours:
        return cls(**arrays)


def test_families_of_ones_own_are_followed_from_fit_to_file(wine, monkeypatch, tmp_path):
    """They are of the domain: the method knows no launch."""
    monkeypatch.setattr(_domain, "_installed", lambda: (dataclasses.replace(WINE, families=Neighbours),))
    wine["vineyard"] = np.minimum(wine["vineyard"], 12)
    clf = DDCLClassifier(family="auto", allow_leaks=True, **QUICK).fit(wine)
    assert clf.encoder_.columns_ == ["alcohol", "ash", "label", "others"]
    assert clf._features_of(wine[:9])["others"].tolist() == [5.0] * 9  # of rows without a class, too
    clf.save(tmp_path / "wine.ddcl")
    loaded = DDCLClassifier.load(tmp_path / "wine.ddcl")
    np.testing.assert_array_equal(loaded.predict_proba(wine[:20]), clf.predict_proba(wine[:20]))
    with pytest.raises(InputError, match="families need the columns vineyard, which the frame lacks"):
        clf.predict(wine.drop(columns="vineyard"))
    with pytest.warns(FamilyContextWarning, match="1 of 1 rows"):
        clf.predict(wine[:1].assign(vineyard=99))
    without = DDCLClassifier(family="auto", allow_leaks=True, **QUICK).fit(wine.drop(columns="vineyard"))
    assert without.families_ is None


def test_a_clusterer_is_not_told_the_target(wine):
    with pytest.warns(LeakWarning):
        clusterer = DDCLClusterer(n_clusters=2, random_state=0).fit(wine)
    assert "cultivar" not in clusterer.encoder_.columns_


def test_a_model_whose_domain_is_not_installed_says_so(wine, tmp_path, monkeypatch):
    DDCLClassifier(**QUICK, allow_leaks=True).fit(wine).save(tmp_path / "wine.ddcl")
    monkeypatch.setattr(_domain, "_installed", lambda: (SPACE,))
    with pytest.raises(ModelFileError, match=r"the domain 'wine' is not installed; there are '', 'space'"):
        read_state(DDCLClassifier, tmp_path / "wine.ddcl")
    with zipfile.ZipFile(tmp_path / "wine.ddcl") as archive:
        assert b'"domain": "wine"' in archive.read("state.json")


def test_without_a_domain_nothing_is_known():
    frame = barrels()
    assert domain_of(frame) is GENERIC
    assert domain_of(frame.to_numpy()) is GENERIC
    with pytest.raises(InputError, match=r"no column is known to hold the classes among .*: set target="):
        DDCLClassifier(**QUICK).fit(frame)
    clf = DDCLClassifier(**QUICK, target="cultivar").fit(frame.drop(columns=["label", "barrel"]))
    assert "not tasted" in clf.classes_  # nobody said that this is no class
    assert domain_named("") is GENERIC


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, lambda data: pl.DataFrame(data).to_arrow()])
def test_catalogs_are_told_by_their_columns(library):
    assert domain_of(library({"NORAD_CAT_ID": [5], "x": [1.0]})).name == "space"
    assert domain_of(library({"OBJECT_TYPE": ["DEBRIS"], "x": [1.0]})).name == "space"
    assert domain_of(library({"PERIGEE": [500.0], "APOGEE": [510.0]})).name == "space"
    assert domain_of(library({"PERIOD": [3.2], "depth": [0.01]})) is GENERIC  # of a planet, in days
    assert SPACE.units["INCLINATION"] == "deg"
    assert {column.name for column in SATCAT_COLUMNS} <= SPACE.columns


@pytest.mark.parametrize(
    ("package", "absent"),
    [
        ("ddcl_tab", ("torch", "pandas", "polars", "sklearn")),
        ("ddcl_tab.nn", ("pandas", "polars", "sklearn", "scipy")),
        ("ddcl_tab.estimators", ("ddcl_tab.space", "ddcl_tab.app", "matplotlib", "optuna", "jinja2")),
        ("ddcl_tab.space", ("torch", "sklearn", "matplotlib")),
    ],
)
def test_a_package_loads_what_it_needs_and_no_more(package, absent):
    """A codebook pays for no tables, a stranger's table for no catalog reader, a reader for no network."""
    code = f"import sys, {package}; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("column", sorted(SPACE.columns))
def test_every_catalog_column_is_said_in_words(column):
    unit = SPACE.units.get(column, "")
    for numbers, text in (
        ((0.25,), f"0.25 {unit}".strip()),
        ((0.25, 0.5), f"0.25-0.5 {unit}".strip()),
        ((), "missing"),
    ):
        said = SPACE.phrase(column, numbers, text)
        assert "FAMILY_" not in said
        assert ("_" not in said) or column == "RCS_SIZE"
        if column.endswith("_SHARE") and numbers:
            assert said.startswith("25 % of" if len(numbers) == 1 else "25-50 % of")
        else:
            assert text in said


def test_deviations_are_above_or_below_the_median():
    name = "FAMILY_INCLINATION_DEVIATION"
    assert SPACE.phrase(name, (-0.2,), "-0.2 deg") == "inclination 0.2 deg below the median of its launch"
    assert SPACE.phrase(name, (0.2,), "0.2 deg") == "inclination 0.2 deg above the median of its launch"
