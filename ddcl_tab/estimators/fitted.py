"""What a fitted classifier answers: classes, memberships, prototypes, reasons; and how it is saved."""

from __future__ import annotations

import os
from typing import Any, Self

import narwhals.stable.v2 as nw
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.estimators import explain, inputs
from ddcl_tab.estimators.html import fitted_html
from ddcl_tab.estimators.state import read_state, write_state
from ddcl_tab.features import TableEncoder, as_table, is_frame
from ddcl_tab.nn.network import TableNetwork
from ddcl_tab.training.certificate import EpochCertificate
from ddcl_tab.training.inference import Prediction, predict_rows
from ddcl_tab.training.stability import Stability


class FittedPrototypes(TransformerMixin):
    """Part of :class:`DDCLClassifier` that only reads what ``fit`` has left behind."""

    classes_: NDArray[Any]
    encoder_: TableEncoder
    network_: TableNetwork
    history_: list[dict[str, Any]]
    device: str
    _certificates: tuple[EpochCertificate, ...]
    _interrupted: int | None = None
    _prototype_table: dict[str, list[Any]]
    _frame_library: str

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Class probabilities, shape (n, C), in the order of ``classes_``."""
        return self._predict(X).probability

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable class of each row, shape (n,)."""
        probability = self.predict_proba(X)
        return self.classes_[probability.argmax(axis=1)]

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Prototype memberships, shape (n, K); rows sum to 1. Columns are named ``prototype_0`` and so on."""
        return self._predict(X).q

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the columns of :meth:`transform`."""
        check_is_fitted(self)
        return np.array([f"prototype_{k}" for k in self._prototype_table["prototype"]], dtype=object)

    @property
    def prototypes_(self) -> Any:
        """Prototypes as a frame; see the class docstring."""
        check_is_fitted(self)
        return self._frame_of(self._prototype_table, self._frame_library)

    def explain(self, X: Any, n_top: int = 3) -> Any:
        """Reasons per row: the strongest prototypes and what they say.

        Parameters
        ----------
        X : frame or array, shape (n, p)
        n_top : int, default=3
            Prototypes named per row.

        Returns
        -------
        frame
            ``n * n_top`` rows with ``row``, ``prediction``, ``probability``, ``rank``, ``prototype``, ``weight``,
            ``says``, ``effect`` (what the probability owes to it: as it is, minus without this prototype; NaN where
            the row has no other), ``name`` and ``medoid``; polars for polars, else pandas.

        Raises
        ------
        ConfigurationError
            ``n_top`` is not between 1 and ``n_prototypes``.
        """
        prediction = self._predict(X)
        n_prototypes = prediction.q.shape[1]
        if not 1 <= n_top <= n_prototypes:
            raise ConfigurationError(f"n_top must be between 1 and n_prototypes ({n_prototypes}), not {n_top!r}")
        table = explain.top_prototypes(
            prediction.q, prediction.probability, self.classes_, self._prototype_table, n_top
        )
        return self._frame_of(table, inputs.library_of(X))

    def decide(self, X: Any) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
        """Probabilities, memberships and reasons in one pass.

        Returns
        -------
        probability : ndarray, shape (n, C)
        q : ndarray, shape (n, K)
        reasons : list of str
            One sentence a row: its strongest prototype with its weight, in physical units.
        """
        probability, q = self._predict(X)
        return probability, q, explain.reasons(q, probability, self.classes_, self._prototype_table)

    @property
    def stability_(self) -> Stability:
        """Certificate of the training; see the class docstring."""
        check_is_fitted(self)
        return Stability(self._certificates, self._interrupted, self.best_epoch_)

    @property
    def best_epoch_(self) -> int:
        """Epoch whose weights were kept, counted from 1."""
        check_is_fitted(self)
        return next(int(row["epoch"]) for row in self.history_ if row["best"])

    def _html_repr(self) -> str:
        """Scikit-learn's diagram, and under it what fit has found."""
        diagram: str = super()._html_repr()
        return diagram + fitted_html(self) if hasattr(self, "network_") else diagram

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model: a zip of JSON and safetensors with checksums, without pickle."""
        check_is_fitted(self)
        write_state(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model that :meth:`save` wrote.

        Raises
        ------
        ModelFileError
            The file is missing, foreign, damaged, altered, or of another version.
        """
        return read_state(cls, path)

    def _features_of(self, X: Any) -> Any:
        """Columns of fit out of ``X``, in their order."""
        X = as_table(X)
        if not is_frame(X):
            return validate_data(self, X, reset=False, dtype=None, ensure_all_finite=False)
        if hasattr(self, "feature_names_in_"):
            return X
        X = nw.from_native(X, eager_only=True).to_numpy()
        return validate_data(self, X, reset=False, dtype=None, ensure_all_finite=False)

    def _predict(self, X: Any) -> Prediction:
        check_is_fitted(self)
        table = self.encoder_.transform(self._features_of(X))
        return predict_rows(self.network_, *table, torch.device(self.device))

    @staticmethod
    def _frame_of(table: dict[str, list[Any]], library: Any) -> Any:
        return nw.from_dict(table, backend=library).to_native()
