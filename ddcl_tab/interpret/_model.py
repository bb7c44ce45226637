"""A fitted classifier as arrays: encode rows, exchange columns, predict."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.utils.validation import check_is_fitted

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._explain import Explained
from ddcl_tab.estimators._table import EncodedRows
from ddcl_tab.training._rows import Prediction, predict_rows


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
        What each prototype says without the bias; the logits of a row are their ``q``-mean, plus :attr:`bias`.
    bias : ndarray, shape (C,)

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
            logits = (network.readout.prototypes @ network.head.weight.mT).double().cpu().numpy()
            self.bias: NDArray[np.float64] = network.head.bias.double().cpu().numpy()
        self.prototype_logits: NDArray[np.float64] = logits

    def encode(self, X: object) -> EncodedRows:
        """Scaled numbers and category codes of a frame or array."""
        return self.classifier.encoder_.transform(self.classifier._features_of(X))

    def read(self, X: object, examples: object = None, catalog: object = None) -> Explained:
        """A frame or array encoded, and everything that the model says of it; parameters as of `explain`."""
        return self.classifier.decide(X, examples, catalog)

    def predict(self, encoded: EncodedRows) -> Prediction:
        """Class probabilities and memberships of encoded rows."""
        return predict_rows(self.classifier.network_, *encoded, torch.device(self.classifier.device))

    def decide(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Class probabilities, shape (n, C), of memberships ``(n, K)``: the head is linear in them."""
        return softmax(q @ self.prototype_logits + self.bias, axis=1)


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
