"""Novelty tasks of ``trust_study.py``: regimes held out of training and planted outliers, ours beside peers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor

from ddcl_tab import DDCLClassifier
from ddcl_tab.app._evaluation import split_catalog
from ddcl_tab.estimators._table import CATEGORY_WEIGHT
from ddcl_tab.interpret._trust import NoveltyScore, prototype_distances
from ddcl_tab.space import regime

ORBIT = ("PERIOD", "APOGEE", "PERIGEE", "INCLINATION", "SEMIMAJOR_AXIS", "ECCENTRICITY")
SEED = 0


def regimes(frame: pl.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Orbits to hold out; the last two lie inside the range of the others."""
    perigee, apogee, tilt = (frame[name].fill_null(np.nan).to_numpy() for name in ("PERIGEE", "APOGEE", "INCLINATION"))
    kind = regime(perigee, apogee, tilt)
    eccentricity = (apogee - perigee) / (apogee + perigee + 2 * 6378.135)
    return {
        "geosynchronous and above": np.isin(kind, ["GEO", "IGO", "EGO", "GHO", "HAO"]),
        "eccentricity above 0.25": np.nan_to_num(eccentricity) > 0.25,
        "medium Earth orbit": np.isin(kind, ["NSO", "MEO"]),
        "low Earth orbit above 1300 km": (kind == "LEO") & (perigee > 1300),
    }


def planted(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The same rows made impossible or strange in one way each."""
    rng, n = np.random.default_rng(SEED), len(rows)
    other = rows[rng.permutation(n)]
    orbit = [name for name in ORBIT if name in rows.columns]
    every = [*orbit, "COUNTRY", "SITE", "RCS_SIZE", "LAUNCH_YEAR"]
    return {
        "altitudes of another object": rows.with_columns(other["APOGEE"], other["PERIGEE"]),
        "whole orbit of another object": rows.with_columns(*[other[name] for name in orbit]),
        "inclination uniform over 0-180 deg": rows.with_columns(INCLINATION=pl.Series(rng.uniform(0, 180, n))),
        "period ten times as long": rows.with_columns(pl.col("PERIOD") * 10),
        "each column of another object": rows.with_columns(*[rows[name][rng.permutation(n)] for name in every]),
    }


def novelty_scores(clf: DDCLClassifier, train: pl.DataFrame, rows: pl.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Ours, what else the model offers, and peers on the same columns; higher is more foreign."""
    table, seen = (_columns(clf, part) for part in (rows, train))
    forest = IsolationForest(n_estimators=200, random_state=SEED).fit(seen)
    factor = LocalOutlierFactor(n_neighbors=20, novelty=True).fit(seen)
    return {
        "NoveltyScore": NoveltyScore(clf).fit(train).novelty(rows),
        "distance to the nearest prototype": prototype_distances(clf, rows).min(axis=1),
        "1 - probability of the class": 1 - clf.predict_proba(rows).max(axis=1),
        "IsolationForest": -forest.score_samples(table),
        "LocalOutlierFactor": -factor.score_samples(table),
    }


def _columns(clf: DDCLClassifier, rows: pl.DataFrame) -> NDArray[np.float64]:
    """Scaled numbers without a limit, 0 where missing, and categories as NoveltyScore has them."""
    read, codes = clf.encoder_.read(rows), clf.encoder_.transform(rows).categorical
    numbers = [(s.squash(read[s.name].values) - s.mean) / s.std for s in clf.encoder_.numeric_]
    indicators = [CATEGORY_WEIGHT * np.eye(n)[codes[:, i]] for i, n in enumerate(clf.encoder_.cardinalities_)]
    return np.concatenate([np.nan_to_num(np.stack(numbers, axis=1)), *indicators], axis=1)


def novelty_lines(frame: pl.DataFrame, clf: DDCLClassifier, n_train: int, name: str) -> Iterator[dict[str, Any]]:
    """AUROC of every score: held-out regimes, then planted outliers, against rows of held-out launches."""
    split = split_catalog(frame, "OBJECT_TYPE", "launch", SEED)
    rng = np.random.default_rng(SEED)
    for held, mask in regimes(frame).items():
        train = frame[_draw(split.train[~mask[split.train]], n_train, rng)]
        yield _auroc(
            clone(clf).fit(train),
            train,
            frame[split.test[~mask[split.test]]],
            frame.filter(mask),
            name,
            f"held out: {held}",
        )
    train = frame[_draw(split.train, n_train, rng)]
    fitted = clone(clf).fit(train)
    for what, rows in planted(frame[split.test]).items():
        yield _auroc(fitted, train, frame[split.test], rows, name, f"planted: {what}")


def _draw(rows: NDArray[np.intp], n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    return rows if len(rows) <= n else np.sort(rng.choice(rows, n, replace=False))


def _auroc(clf: Any, train: pl.DataFrame, usual: pl.DataFrame, foreign: pl.DataFrame, name: str, what: str) -> dict:
    rows = pl.concat([usual, foreign.select(usual.columns)], how="vertical_relaxed")
    is_foreign = np.repeat([0, 1], [len(usual), len(foreign)])
    scores = novelty_scores(clf, train, rows)
    figures = {score_name: float(roc_auc_score(is_foreign, value)) for score_name, value in scores.items()}
    return {"catalog": name, "foreign rows": what, "n": len(foreign)} | figures
