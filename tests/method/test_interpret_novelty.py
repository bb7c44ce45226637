"""Novelty: foreign rows score higher, prototypes' order does not matter, the same rows give the same bits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from ddcl_tab import DDCLClassifier
from ddcl_tab.errors import ConfigurationError, InputError
from ddcl_tab.estimators._columns import NumericColumn
from ddcl_tab.estimators._table import CATEGORY_WEIGHT
from ddcl_tab.interpret._trust import NoveltyScore, prototype_distances
from ddcl_tab.training._rows import predict_rows

QUICK = {"n_prototypes": 6, "d_token": 16, "n_heads": 2, "n_blocks": 1, "max_epochs": 3, "lr": 5e-3}
COLUMNS = ["PERIOD", "INCLINATION", "APOGEE", "PERIGEE", "RCS_SIZE", "COUNTRY"]


@pytest.fixture(scope="module")
def catalog(synthetic) -> pl.DataFrame:
    """Objects up to 30,000 km, then those above."""
    known = synthetic.filter(pl.col("OBJECT_TYPE") != "UNKNOWN", pl.col("PERIGEE").is_not_null())
    low, high = known.filter(pl.col("APOGEE") < 30_000), known.filter(pl.col("PERIGEE") > 30_000)
    return pl.concat([low.sample(700, seed=0), high.sample(60, seed=0)])


@pytest.fixture(scope="module")
def fitted(catalog) -> DDCLClassifier:
    train = catalog.head(500)
    return DDCLClassifier(**QUICK, certify=False, random_state=0).fit(train.select(COLUMNS), train["OBJECT_TYPE"])


@pytest.fixture(scope="module")
def novelty(fitted, catalog) -> NoveltyScore:
    return NoveltyScore(fitted).fit(catalog.head(500))


def test_a_regime_that_was_held_out_scores_higher(novelty, catalog):
    unseen = catalog.tail(260)
    assert roc_auc_score(unseen["PERIGEE"] > 30_000, novelty.novelty(unseen)) > 0.99


def test_planted_outliers_score_higher(novelty, catalog):
    rows = catalog[500:700]
    rng = np.random.default_rng(0)
    impossible = rows.with_columns(*[rows[name][rng.permutation(200)] for name in COLUMNS])
    before, after = novelty.novelty(rows), novelty.novelty(impossible)
    assert roc_auc_score(np.repeat([0, 1], 200), np.concatenate([before, after])) > 0.8


def test_oracle_by_hand(fitted, catalog):
    # Five rows, so the score is the mean distance to all of them, computed here from the columns themselves.
    base, row = catalog[:5].select(COLUMNS), catalog[600:601].select(COLUMNS)
    encoder = fitted.encoder_
    total = np.zeros(5)
    for scale in encoder.numeric_:
        a, b = (encoder.read(part)[scale.name] for part in (base, row))
        assert isinstance(a, NumericColumn)
        total += ((scale.squash(a.values) - scale.squash(b.values)) / scale.std) ** 2
    codes, code = encoder.transform(base).categorical, encoder.transform(row).categorical
    total += 2 * CATEGORY_WEIGHT**2 * (codes != code).sum(axis=1)
    assert NoveltyScore(fitted).fit(base).novelty(row) == pytest.approx([np.sqrt(total).mean()])


@settings(max_examples=20)
@given(st.floats(1e5, 1e12), st.floats(1.0, 10.0))
def test_beyond_the_range_farther_is_never_less_novel(novelty, catalog, apogee, factor):
    row = catalog[600:601]
    near, far = (novelty.novelty(row.with_columns(APOGEE=pl.lit(value)))[0] for value in (apogee, apogee * factor))
    assert near <= far
    assert near > novelty.novelty(row)[0]


def test_missing_and_huge_values_have_a_finite_score(novelty, catalog):
    row = catalog[600:601]
    for value in (None, 1.7e308, -1.7e308):
        score = novelty.novelty(row.with_columns(APOGEE=pl.lit(value, dtype=pl.Float64)))
        assert np.isfinite(score).all()
    assert np.isfinite(novelty.novelty(row.with_columns(COUNTRY=pl.lit("NOBODY"), RCS_SIZE=pl.lit(None)))).all()


def test_both_libraries_and_any_order_give_the_same_bits(novelty, catalog):
    rows = catalog[500:700]
    score = novelty.novelty(rows)
    assert np.array_equal(novelty.novelty(pd.DataFrame(rows.to_dict(as_series=False))), score)
    order = np.random.default_rng(0).permutation(200)
    assert np.array_equal(novelty.novelty(rows[order]), score[order])
    assert novelty.get_params(deep=False) == {"classifier": novelty.classifier}


# --- distances to the prototypes ------------------------------------------------------------------------------------


def test_distances_are_means_over_the_columns_of_those_that_decide(fitted, catalog):
    distance = prototype_distances(fitted, catalog)
    assert distance.shape == (760, 6)
    network, table = fitted.network_, fitted.encoder_.transform(catalog)
    with torch.no_grad():
        z = network.encoder(network.tokenizer(*(torch.from_numpy(part) for part in table))).double()
        each = (z[:, :, None] - network.readout.prototypes.double()).square().sum(dim=3)
        q = (-each / network.readout.temperature).softmax(dim=2)
    assert distance == pytest.approx(each.mean(dim=1).numpy(), rel=1e-3, abs=1e-3)
    assert q.mean(dim=1).numpy() == pytest.approx(fitted.transform(catalog), abs=1e-3)


def test_a_row_has_the_same_bits_whoever_stands_beside_it(fitted, catalog):
    assert np.array_equal(prototype_distances(fitted, catalog[300:310]), prototype_distances(fitted, catalog)[300:310])
    table = fitted.encoder_.transform(catalog)
    assert np.array_equal(predict_rows(fitted.network_, *table, torch.device("cpu")).q, fitted.transform(catalog))


def test_permuted_prototypes_give_the_same_scores(novelty, catalog, tmp_path):
    fitted = novelty.classifier
    fitted.save(tmp_path / "model.ddcl")
    other = DDCLClassifier.load(tmp_path / "model.ddcl")
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    with torch.no_grad():
        prototypes = other.network_.readout.prototypes
        prototypes.copy_(prototypes[order].clone())
    before, after = (prototype_distances(clf, catalog) for clf in (fitted, other))
    assert after == pytest.approx(before[:, order], rel=1e-4, abs=1e-4)
    assert after.min(axis=1) == pytest.approx(before.min(axis=1), rel=1e-4, abs=1e-4)
    assert np.array_equal(NoveltyScore(other).fit(catalog.head(500)).novelty(catalog), novelty.novelty(catalog))


# --- failure paths --------------------------------------------------------------------------------------------------


def test_messages(fitted, catalog):
    with pytest.raises(ConfigurationError, match="need a fitted DDCLClassifier, not LogisticRegression"):
        NoveltyScore(LogisticRegression()).fit(catalog)
    with pytest.raises(NotFittedError):
        NoveltyScore(DDCLClassifier()).fit(catalog)
    with pytest.raises(NotFittedError):
        NoveltyScore(fitted).novelty(catalog)
    with pytest.raises(InputError, match="X has 4 rows: novelty needs at least 5"):
        NoveltyScore(fitted).fit(catalog.head(4))
    with pytest.raises(InputError, match="PERIOD"):
        NoveltyScore(fitted).fit(catalog.drop("PERIOD"))
    with pytest.raises(InputError, match="no rows"):
        prototype_distances(fitted, catalog.head(0))
