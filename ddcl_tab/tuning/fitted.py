"""What a fitted search answers: all of it is the refitted estimator's answer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ddcl_tab.estimators import inputs
from ddcl_tab.features import as_table


def _has(name: str) -> Any:
    return available_if(lambda search: hasattr(getattr(search, "best_estimator_", search.estimator), name))


class FittedSearch:
    """Part of :class:`~ddcl_tab.tuning.DDCLSearchCV` that only reads what ``fit`` has left behind."""

    estimator: Any
    best_estimator_: Any
    scorer_: Any

    def __sklearn_tags__(self) -> Any:
        """Tags of the estimator."""
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags

    def _best(self) -> Any:
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_

    @_has("predict")
    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable class of each row, shape (n,)."""
        return self._best().predict(as_table(X))

    @_has("predict_proba")
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Class probabilities, shape (n, C)."""
        return self._best().predict_proba(as_table(X))

    @_has("transform")
    def transform(self, X: Any) -> NDArray[np.float64]:
        """Prototype memberships, shape (n, K)."""
        return self._best().transform(as_table(X))

    @_has("get_feature_names_out")
    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the columns of :meth:`transform`."""
        return self._best().get_feature_names_out(input_features)

    def score(self, X: Any, y: Any) -> float:
        """``scoring`` of ``best_estimator_``; higher is better. ``y`` has the class of each row, none missing."""
        X = as_table(X)
        return float(self.scorer_(self._best(), X, inputs.check_labels(X, y)))

    @property
    def classes_(self) -> NDArray[Any]:
        """Classes of ``best_estimator_``."""
        return self._best().classes_

    @property
    def n_features_in_(self) -> int:
        """Columns of ``best_estimator_``."""
        return self._best().n_features_in_

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        """Names of the columns of ``best_estimator_``."""
        return self._best().feature_names_in_
