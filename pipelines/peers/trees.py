"""Trees: gradient boosting, a random forest and boosted additive terms, with the defaults of their libraries."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from ddcl_tab.app._evaluation import peer_frame

#: CatBoost wants texts for categories, missing ones included.
MISSING = "missing"


class Trees:
    """A scikit-learn classifier behind the interface of the benchmark.

    Parameters
    ----------
    estimator : classifier
        Unfitted; takes a pandas frame with missing values and, unless ``texts``, categorical dtypes.
    texts : bool, default=False
        Hand categories over as texts, ``"missing"`` where there is none.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
    """

    def __init__(self, estimator: Any, *, texts: bool = False) -> None:
        self.estimator, self.texts = estimator, texts

    def fit(self, X: pl.DataFrame, y: NDArray[Any], groups: NDArray[Any] | None = None) -> Self:
        """Fit on all rows; these libraries make no use of groups."""
        table = peer_frame(X, X.columns, pl.Series(range(len(X))))
        self.categories_ = {name: table[name].cat.categories for name in table.select_dtypes("category")}
        self.classes_, label = np.unique(y, return_inverse=True)
        self.estimator.fit(self._hand_over(table), label)
        return self

    def predict_proba(self, X: pl.DataFrame) -> NDArray[np.float64]:
        """Class probabilities, shape (n, C)."""
        table = X.to_pandas()
        for name in X.columns:
            known = self.categories_.get(name)
            if known is None:
                table[name] = table[name].astype("float64")
            else:
                table[name] = pd.Categorical(table[name].where(table[name].isin(known)), categories=known)
        return np.asarray(self.estimator.predict_proba(self._hand_over(table)), dtype=np.float64)

    def _hand_over(self, table: pd.DataFrame) -> pd.DataFrame:
        if not self.texts:
            return table
        return table.assign(**{name: table[name].astype(object).fillna(MISSING) for name in self.categories_})


def hist_gradient_boosting(seed: int, **settings: Any) -> Trees:
    """scikit-learn's; stops early on a random tenth of its rows, as it does above 10,000 rows by default."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return Trees(HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=seed, **settings))


def random_forest(seed: int, **settings: Any) -> Trees:
    """scikit-learn's, which knows missing values; categories become one column each."""
    from sklearn.ensemble import RandomForestClassifier

    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), make_column_selector(dtype_include="category")),
        remainder="passthrough",
    )
    return Trees(make_pipeline(columns, RandomForestClassifier(n_jobs=1, random_state=seed, **settings)))


def lightgbm(seed: int, **settings: Any) -> Trees:
    """LightGBM."""
    from lightgbm import LGBMClassifier

    return Trees(LGBMClassifier(n_jobs=1, random_state=seed, deterministic=True, verbose=-1, **settings))


def xgboost(seed: int, **settings: Any) -> Trees:
    """XGBoost."""
    from xgboost import XGBClassifier

    return Trees(XGBClassifier(enable_categorical=True, n_jobs=1, random_state=seed, **settings))


def catboost(seed: int, **settings: Any) -> Trees:
    """CatBoost with its ordered statistics of categories."""
    from catboost import CatBoostClassifier

    class ByDtype(CatBoostClassifier):
        """Takes the text columns for categories."""

        def fit(self, X: pd.DataFrame, y: Any) -> Any:
            return super().fit(X, y, cat_features=[name for name in X if X[name].dtype.kind == "O"])

    return Trees(
        ByDtype(thread_count=1, random_seed=seed, verbose=False, allow_writing_files=False, **settings), texts=True
    )


def additive(seed: int, **settings: Any) -> Trees:
    """Explainable boosting machine: a sum of one-column and two-column terms."""
    from interpret.glassbox import ExplainableBoostingClassifier

    return Trees(ExplainableBoostingClassifier(n_jobs=1, random_state=seed, **settings))
