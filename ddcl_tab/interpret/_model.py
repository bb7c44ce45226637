"""A fitted classifier as arrays: encode rows, exchange columns, predict."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.utils.validation import check_is_fitted

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._columns import CategoricalColumn, NumericColumn
from ddcl_tab.estimators._table import EncodedRows
from ddcl_tab.training._rows import Prediction, predict_rows


class ModelRows(NamedTuple):
    """Rows as a fitted model reads and decides them: made once by :meth:`FittedModel.read`, for all explanations.

    Attributes
    ----------
    columns : dict of NumericColumn and CategoricalColumn
        Of each token, as they are, in their units.
    encoded : EncodedRows
    prediction : Prediction
    """

    columns: dict[str, NumericColumn | CategoricalColumn]
    encoded: EncodedRows
    prediction: Prediction

    def take(self, rows: NDArray[np.intp]) -> ModelRows:
        """Some rows, in that order."""
        return ModelRows(
            {name: _take_values(column, rows) for name, column in self.columns.items()},
            take(self.encoded, rows),
            Prediction(self.prediction.probability[rows], self.prediction.q[rows]),
        )


class FittedModel:
    """What the explanations need of a fitted :class:`DDCLClassifier`.

    Parameters
    ----------
    classifier : DDCLClassifier
        Fitted.

    Attributes
    ----------
    classifier : DDCLClassifier
    columns : list of str
        Column of each token, numeric ones first.
    prototype_logits : ndarray, shape (K, C)
        What each prototype says; the logits of a row are their ``q``-mean.

    Raises
    ------
    ConfigurationError
        It is no DDCLClassifier (the last step of a pipeline is ``pipeline[-1]``).
    NotFittedError
    """

    def __init__(self, classifier: DDCLClassifier) -> None:
        if not isinstance(classifier, DDCLClassifier):
            raise ConfigurationError(
                f"explanations need a fitted DDCLClassifier, not {type(classifier).__name__}; of a pipeline hand over "
                "its last step and the rows as that step sees them."
            )
        check_is_fitted(classifier)
        self.classifier = classifier
        self.columns = classifier.encoder_.feature_names_
        network = classifier.network_
        with torch.no_grad():
            logits = network.head(network.readout.prototypes).double().cpu().numpy()
        self.prototype_logits: NDArray[np.float64] = logits

    def encode(self, X: object) -> EncodedRows:
        """Scaled numbers and category codes of a frame or array."""
        return self.classifier.encoder_.transform(self.classifier._features_of(X))

    def read(self, X: object) -> ModelRows:
        """Columns of a frame or array, the rows encoded, and what the network says about them."""
        encoder, features = self.classifier.encoder_, self.classifier._features_of(X)
        columns, encoded = encoder.read(features), encoder.transform(features)
        return ModelRows({name: columns[name] for name in self.columns}, encoded, self.predict(encoded))

    def predict(self, encoded: EncodedRows) -> Prediction:
        """Class probabilities and memberships of encoded rows."""
        return predict_rows(self.classifier.network_, *encoded, torch.device(self.classifier.device))

    def decide(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Class probabilities, shape (n, C), of memberships ``(n, K)``: the head is linear in them."""
        return softmax(q @ self.prototype_logits, axis=1)


def _take_values(
    column: NumericColumn | CategoricalColumn, rows: NDArray[np.intp]
) -> NumericColumn | CategoricalColumn:
    if isinstance(column, NumericColumn):
        return replace(column, values=column.values[rows])
    return replace(column, values=column.values[rows])


def take(encoded: EncodedRows, rows: NDArray[np.intp]) -> EncodedRows:
    """Some rows, in that order."""
    return EncodedRows(encoded.numeric[rows], encoded.categorical[rows])


def exchange(encoded: EncodedRows, other: EncodedRows, columns: NDArray[np.bool_]) -> EncodedRows:
    """Rows whose columns marked in ``columns`` ``(n, T)`` come from ``other``; both have n rows."""
    n_numeric = encoded.numeric.shape[1]
    return EncodedRows(
        np.where(columns[:, :n_numeric], other.numeric, encoded.numeric),
        np.where(columns[:, n_numeric:], other.categorical, encoded.categorical),
    )
