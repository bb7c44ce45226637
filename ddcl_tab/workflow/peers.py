"""Peers that every result stands beside: majority class, logistic regression, gradient boosting."""

from __future__ import annotations

import pandas as pd
import polars as pl
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer

#: Gradient boosting bins a categorical column into at most this many categories; rarer ones become missing.
MAX_CATEGORIES = 254


def peer_table(frame: pl.DataFrame, names: list[str], train: pl.Series) -> pd.DataFrame:
    """Same columns as a pandas frame with categorical dtypes, whose categories come from the training rows.

    Parameters
    ----------
    frame : polars.DataFrame
    names : list of str
        Columns to use.
    train : polars.Series of int
        Row numbers of the training part.
    """
    table = frame.select(names).to_pandas()
    for name in names:
        if frame[name].dtype == pl.String:
            common = frame[name][train].drop_nulls().value_counts(sort=True).head(MAX_CATEGORIES)[name].sort().to_list()
            table[name] = pd.Categorical(table[name].where(table[name].isin(common)), categories=common)
        else:
            table[name] = table[name].astype("float64")
    return table


def make_peers(seed: int) -> dict[str, Pipeline]:
    """Unfitted peers by name."""
    logistic = make_column_transformer(
        (
            make_pipeline(
                SimpleImputer(strategy="median", add_indicator=True),
                QuantileTransformer(output_distribution="normal", n_quantiles=200, random_state=seed),
            ),
            make_column_selector(dtype_include="number"),
        ),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
    )
    boosting = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=seed)
    return {
        "majority class": make_pipeline(DummyClassifier(strategy="prior")),
        "logistic regression": make_pipeline(logistic, LogisticRegression(max_iter=2000)),
        "HistGradientBoosting": make_pipeline(boosting),
    }
