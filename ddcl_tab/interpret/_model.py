"""A fitted classifier as arrays: encode rows, exchange columns, predict; sampled Shapley values of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._explain import Explained, written_cells
from ddcl_tab.estimators._table import EncodedRows
from ddcl_tab.estimators._validation import library_of
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

    def encode(self, X: object) -> EncodedRows:
        """Scaled numbers and category codes of a frame or array."""
        return self.classifier.encoder_.transform(self.classifier._features_of(X))

    def read(self, X: object, examples: object = None, catalog: object = None) -> Explained:
        """A frame or array encoded, and everything that the model says of it; parameters as of `explain`."""
        return self.classifier.decide(X, examples, catalog)

    def predict(self, encoded: EncodedRows) -> Prediction:
        """Class probabilities and memberships of encoded rows."""
        return predict_rows(self.classifier.network_, *encoded, torch.device(self.classifier.device))


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


#: Orders in which columns are exchanged, each with its reverse; see pipelines/results/faithfulness.
N_ORDERS = 8
#: Rows explained in one go, to bound memory.
CHUNK = 512


def column_contributions(classifier: DDCLClassifier, X: Any, background: Any = None, *, random_state: int = 0) -> Any:
    """Sampled Shapley values: contribution of each column to the probability of the decided class, row by row.

    `DDCLClassifier.explain` splits the log-odds exactly and at no cost. These values ask the network again and again
    instead, and follow what exchanging columns does more closely (pipelines/results/faithfulness).

    The columns of a background row are exchanged for those of the row, one after another in random order; a column's
    contribution is the change of probability that it brings, on average over orders and background rows. The
    contributions of a row sum to its probability minus that of the background rows used.

    Parameters
    ----------
    classifier : DDCLClassifier
        Fitted.
    X : frame or array, shape (n, p)
        Rows to explain.
    background : frame or array, optional
        Rows to compare with, such as the catalog. Default: ``X`` itself.
    random_state : int, default=0
        Of orders and background rows; the same gives the same bits.

    Returns
    -------
    frame
        ``n * p`` rows: ``row``, ``prediction``, ``column``, ``value`` (in its unit, as text), ``contribution``
        (in probability, from -1 to 1), strongest first within a row; polars for polars, else pandas.

    Notes
    -----
    Shapley values (Strumbelj and Kononenko, Knowl. Inf. Syst. 41, 2014) with orders taken forwards and backwards
    (Mitchell et al., JMLR 23, 2022). Columns that say the same thing, such as period and semi-major axis, share what
    they say.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from ddcl_tab import DDCLClassifier
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = DDCLClassifier(n_prototypes=6, max_epochs=20, random_state=0).fit(X, y)
    >>> table = column_contributions(clf, X[:1], background=X)
    >>> list(table.columns)
    ['row', 'prediction', 'column', 'value', 'contribution']
    >>> table["column"][0] in ("petal length (cm)", "petal width (cm)")
    True
    """
    model = FittedModel(classifier)
    rows = model.read(X)
    background = rows.encoded if background is None else model.encode(background)
    values = shapley_values(model, rows.encoded, background, rows.reasons.winner, random_state)
    n, n_columns = values.shape
    row, column = np.repeat(np.arange(n), n_columns), np.argsort(-np.abs(values), axis=1, kind="stable").ravel()
    cells = written_cells(rows.columns, rows.domain, row, column)
    table = {
        "row": row.tolist(),
        "prediction": classifier.classes_[rows.reasons.winner[row]].tolist(),
        "column": [model.columns[t] for t in column],
        "value": [f"{value} {unit}".strip() for value, unit in zip(cells.value, cells.unit, strict=True)],
        "contribution": values[row, column].tolist(),
    }
    return classifier._frame_of(table, library_of(X))


def shapley_values(
    model: FittedModel, encoded: EncodedRows, background: EncodedRows, decided: NDArray[np.intp], random_state: int
) -> NDArray[np.float64]:
    """Contributions to the probability of class ``decided[i]`` of row ``i``, shape (n, T).

    Parameters
    ----------
    model : FittedModel
    encoded, background : EncodedRows
        Rows to explain, rows to compare with.
    decided : ndarray of int, shape (n,)
    random_state : int

    Returns
    -------
    ndarray, shape (n, T)
    """
    if not len(background.numeric):
        raise ConfigurationError("background has no rows: pass rows to compare with, or leave it out")
    random = np.random.default_rng(random_state)
    n, n_columns = len(decided), encoded.numeric.shape[1] + encoded.categorical.shape[1]
    orders = np.array([random.permutation(n_columns) for _ in range(N_ORDERS)])
    values = np.zeros((n, n_columns))
    for start in range(0, n, CHUNK):
        rows = np.arange(start, min(start + CHUNK, n))
        for order in orders:
            other = take(background, random.integers(len(background.numeric), size=len(rows)))
            for path in (order, order[::-1]):
                values[rows] += _along(model, take(encoded, rows), other, decided[rows], path)
    return values / (2 * N_ORDERS)


def _along(
    model: FittedModel, encoded: EncodedRows, other: EncodedRows, decided: NDArray[np.intp], path: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Change of probability as the columns of ``other`` are exchanged for those of ``encoded`` along a path."""
    n, n_columns = len(decided), len(path)
    position = np.argsort(path)
    # Step s has the first s columns of the path from the row, the others from the background row.
    steps = [exchange(encoded, other, np.tile(position >= s, (n, 1))) for s in range(n_columns + 1)]
    together = EncodedRows(np.concatenate([s.numeric for s in steps]), np.concatenate([s.categorical for s in steps]))
    probability = model.predict(together).probability[np.arange(len(together.numeric)), np.tile(decided, n_columns + 1)]
    gained = np.diff(probability.reshape(n_columns + 1, n), axis=0)
    return gained[position].T
