"""How foreign a row is to what the classifier has been trained on."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.validation import check_is_fitted

from ddcl_tab.errors import InputError
from ddcl_tab.estimators import DDCLClassifier
from ddcl_tab.features import NumericColumn
from ddcl_tab.interpret.model import FittedModel
from ddcl_tab.training.inference import token_distances

#: Training rows that a row is compared with.
N_NEIGHBOURS = 5
#: Two different categories are 0.2 sqrt(2) standard deviations apart: at a full one, a rare site outweighs any orbit.
CATEGORY_WEIGHT = 0.2
#: Scaled numbers are held here, in standard deviations: files write the largest float for "unknown".
FARTHEST = 50.0


class NoveltyScore(BaseEstimator):
    """Mean distance of a row to its nearest training rows, in the classifier's own scaled columns.

    The network is no help here: it was trained to forget what does not tell classes apart, and a row from elsewhere
    lands among the known ones. On held-out regimes and planted outliers this distance finds far more than the distance
    to the prototypes (``pipelines/results/trust.md`` has both). Numbers count beyond the training range, where the
    classifier itself only sees the end of the range.

    Parameters
    ----------
    classifier : DDCLClassifier
        Fitted.

    Attributes
    ----------
    neighbours_ : sklearn.neighbors.NearestNeighbors
        Of the training rows.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = DDCLClassifier(n_prototypes=6, max_epochs=3, certify=False, random_state=0).fit(X, y)
    >>> score = NoveltyScore(classifier).fit(X)
    >>> bool(score.novelty([[60.0, 3.0, 4.0, 1.0]])[0] > score.novelty(X).max())
    True
    """

    def __init__(self, classifier: DDCLClassifier) -> None:
        self.classifier = classifier

    def fit(self, X: Any, y: Any = None) -> Self:
        """Remember the training rows.

        Parameters
        ----------
        X : frame or array, shape (n, p)
            Rows that the classifier was trained on; at least 5.
        y : ignored

        Returns
        -------
        NoveltyScore

        Raises
        ------
        ConfigurationError, NotFittedError
            ``classifier`` is no fitted DDCLClassifier.
        InputError
            Too few rows.
        """
        points = _coordinates(FittedModel(self.classifier), X)
        if len(points) < N_NEIGHBOURS:
            raise InputError(f"X has {len(points)} rows: novelty needs at least {N_NEIGHBOURS} rows to compare with.")
        self.neighbours_ = NearestNeighbors(n_neighbors=N_NEIGHBOURS).fit(points)
        return self

    def novelty(self, X: Any) -> NDArray[np.float64]:
        """Novelty of each row: the higher, the more foreign.

        Parameters
        ----------
        X : frame or array, shape (n, p)
            Rows of ``fit`` find themselves among their neighbours, so their scores are too low.

        Returns
        -------
        ndarray, shape (n,)
            In standard deviations of the scaled columns. To choose a limit, look at rows held out of ``fit``.

        Raises
        ------
        NotFittedError
        """
        check_is_fitted(self)
        distance, _ = self.neighbours_.kneighbors(_coordinates(FittedModel(self.classifier), X))
        return distance.mean(axis=1)


def prototype_distances(classifier: DDCLClassifier, X: Any) -> NDArray[np.float64]:
    """Squared distances of the rows' tokens to the prototypes.

    The smallest of a row says how well a prototype stands for it; as a novelty score it is weak, see
    :class:`NoveltyScore`.

    Parameters
    ----------
    classifier : DDCLClassifier
        Fitted.
    X : frame or array, shape (n, p)

    Returns
    -------
    ndarray, shape (n, K)
        No unit; in the order of ``prototypes_``.

    Raises
    ------
    ConfigurationError, NotFittedError
        ``classifier`` is no fitted DDCLClassifier.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = DDCLClassifier(n_prototypes=6, max_epochs=3, certify=False, random_state=0).fit(X, y)
    >>> prototype_distances(classifier, X).shape
    (150, 6)
    """
    table = FittedModel(classifier).encode(X)
    return token_distances(classifier.network_, *table, torch.device(classifier.device))


def _coordinates(model: FittedModel, X: Any) -> NDArray[np.float64]:
    """Scaled numbers (0 where missing), which of them are missing, and categories as indicators."""
    codes = model.encode(X).categorical
    encoder = model.classifier.encoder_
    columns = encoder.read(model.classifier._features_of(X))
    numbers = np.zeros((len(codes), len(encoder.numeric_)))
    for i, scale in enumerate(encoder.numeric_):
        column = columns[scale.name]
        # A column of numbers without any value is read as one of texts.
        values = column.values if isinstance(column, NumericColumn) else np.full(len(codes), np.nan)
        with np.errstate(over="ignore"):  # the largest floats are held like any other
            numbers[:, i] = np.clip((scale.squash(values) - scale.mean) / scale.std, -FARTHEST, FARTHEST)
    missing = np.isnan(numbers)
    indicators = [np.eye(n)[codes[:, i]] for i, n in enumerate(encoder.cardinalities_)]
    return np.concatenate(
        [np.where(missing, 0.0, numbers), CATEGORY_WEIGHT * np.concatenate([missing, *indicators], axis=1)], axis=1
    )
