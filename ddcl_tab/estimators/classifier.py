"""``DDCLClassifier``: the scikit-learn face of the network."""

from __future__ import annotations

import logging
from typing import Any, Self

import narwhals.stable.v2 as nw
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from ddcl_tab.errors import InputError
from ddcl_tab.estimators import inputs
from ddcl_tab.estimators.fitted import FittedPrototypes
from ddcl_tab.estimators.parameters import check_parameters
from ddcl_tab.estimators.prototypes import Members, describe_prototypes
from ddcl_tab.estimators.resume import describe_training
from ddcl_tab.features import Table, TableEncoder, as_table, is_frame
from ddcl_tab.nn.network import TableNetwork
from ddcl_tab.training.build import build_network
from ddcl_tab.training.checkpoint import CheckpointFile
from ddcl_tab.training.inference import predict_rows
from ddcl_tab.training.net import train_network
from ddcl_tab.training.objective import Objective
from ddcl_tab.training.rows import Rows, RowsDataset, merge_equal, split_validation
from ddcl_tab.training.stability import warn_unstable
from ddcl_tab.training.teacher import hard_targets, training_rows

_log = logging.getLogger("ddcl_tab")


class DDCLClassifier(ClassifierMixin, FittedPrototypes, BaseEstimator):
    """Classify the rows of a table by prototypes (DDCL-Attention, arXiv:2604.03850).

    Columns become tokens, a transformer encoder mixes them into one token ``z`` a row, and ``z`` is assigned softly
    to ``n_prototypes`` prototypes. The class probabilities are decided by the prototypes alone, so the memberships of
    a row (:meth:`transform`, :meth:`explain`) are the whole reason for its class.

    Parameters
    ----------
    n_prototypes : int, default=32
        Number ``K`` of prototypes.
    temperature : float, default=0.02
        Final temperature relative to the critical one, ``T / T_c`` in (0, 1). Lower: fewer prototypes share a row.
    lr : float, default=0.002
        Learning rate of the encoder (AdamW).
    lr_ratio : float, default=10
        Learning rate of the prototypes over that of the encoder.
    quantization_weight : float, default=0.1
        Weight ``lambda`` of the soft quantisation loss.
    column_weight : float, default=0.1
        Weight of telling the row's own columns from its prototypes. Higher: prototypes follow the physical structure
        inside a class more closely, and decide the class less sharply.
    teacher_share : float, default=0.7
        Share of the rows of an epoch that are made up from two training rows each and labelled by a teacher (gradient
        boosting and randomised trees, fitted on the training rows first); 0 trains on the table alone, and tables under
        1,000 rows have no teacher.
    d_token : int, default=64
        Width of a token; a multiple of ``n_heads``.
    n_blocks, n_heads : int, default=2, 4
        Transformer blocks, attention heads.
    dropout : float, default=0
        Share of activations dropped while training. A teacher leaves little to learn by heart.
    batch_size : int, default=256
        Rows in a step; fewer in small tables, so that an epoch has at least eight steps.
    max_epochs : int, default=50
    patience : int, default=8
        Epochs in a row that are worse than the best one on the validation part before training stops (after the
        annealing); worse is by more than the standard error of the difference.
    validation_fraction : float, default=0.1
        Share of each class set aside to choose the epoch and to calibrate; whole groups where groups are known.
    class_weight : dict or "balanced", optional
        Factor of the weights of each class's rows. A dict from class to weight, ``{"ROCKET BODY": 5}``: classes that it
        does not name weigh 1. "balanced": all classes weigh the same.
    target : str, default="OBJECT_TYPE"
        Column that holds the classes in ``fit(df)``.
    allow_leaks : bool, default=False
        Learn from catalog columns that give the class away.
    certify : {"epoch", "end", False}, default="epoch"
        Measure the certificate after every epoch, after the last one, or never; see ``stability_``.
    device : str, default="cpu"
    random_state : int, RandomState instance or None, default=None
        The same integer gives the same bits on one machine.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Columns learned from; only when fitted on a frame.
    prototypes_ : frame
        One row a prototype, largest first: ``name``, ``share`` of the training rows, ``share CLASS`` of its rows,
        ``says CLASS`` (its own probability for each class), ``medoid`` (its most typical training row), quantiles of
        each numeric column in its unit, most common category of each categorical one. polars if fitted on polars, else
        pandas.
    stability_ : Stability
        Certificate of the training: ``verdict``, ``margins``, ``to_frame()``.
    history_ : list of dict
        Per epoch: losses, ``tau``, the three terms of the identity on a probe batch with its residual, the tokens'
        variance, usage and dead prototypes; ``best`` marks the epoch kept.
    n_iter_ : int
        Epochs trained.
    n_unlabelled_ : int
        Rows of ``fit(df)`` left out because their label is missing or UNKNOWN.
    network_ : TableNetwork
    encoder_ : TableEncoder

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = DDCLClassifier(n_prototypes=6, max_epochs=20, random_state=0).fit(X, y)
    >>> bool(clf.score(X, y) > 0.9)
    True
    >>> clf.transform(X).shape
    (150, 6)
    """

    def __init__(
        self,
        *,
        n_prototypes: int = 32,
        temperature: float = 0.02,
        lr: float = 2e-3,
        lr_ratio: float = 10.0,
        quantization_weight: float = 0.1,
        column_weight: float = 0.1,
        teacher_share: float = 0.7,
        d_token: int = 64,
        n_blocks: int = 2,
        n_heads: int = 4,
        dropout: float = 0.0,
        batch_size: int = 256,
        max_epochs: int = 50,
        patience: int = 8,
        validation_fraction: float = 0.1,
        class_weight: dict[Any, float] | str | None = None,
        target: str = "OBJECT_TYPE",
        allow_leaks: bool = False,
        certify: str | bool = "epoch",
        device: str = "cpu",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.n_prototypes = n_prototypes
        self.temperature = temperature
        self.lr = lr
        self.lr_ratio = lr_ratio
        self.quantization_weight = quantization_weight
        self.column_weight = column_weight
        self.teacher_share = teacher_share
        self.d_token = d_token
        self.n_blocks = n_blocks
        self.n_heads = n_heads
        self.dropout = dropout
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.class_weight = class_weight
        self.target = target
        self.allow_leaks = allow_leaks
        self.certify = certify
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        """Tags: missing values and categories are welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, groups: Any = None) -> Self:
        """Train on a table.

        Parameters
        ----------
        X : pandas, polars or pyarrow frame (a lazy one is collected), or array (masked is missing), shape (n, p)
            Without ``y``, a frame that holds the column ``target``; its rows of ``"UNKNOWN"`` or missing class are left
            out (``n_unlabelled_``).
        y : array-like, shape (n,), optional
            Classes: texts, booleans or numbers, none missing.
        sample_weight : array-like, shape (n,), optional
            A row of weight 2 and the same row twice give the same model.
        groups : array-like, shape (n,), optional
            Rows of one group stay together in the validation split. Default: the launch, where the frame has the
            columns ``OBJECT_ID`` and ``NORAD_CAT_ID``.

        Returns
        -------
        DDCLClassifier

        Raises
        ------
        ConfigurationError
            Parameters break their rules; all of them are listed. Or a key of ``class_weight`` is no class.
        InputError, ValueError, TypeError
            The table cannot be learned from as it is.
        TrainingError
            The loss stopped being finite.
        KeyboardInterrupt
            As it came: an interrupted fit leaves no fitted classifier. (``ddcl-tab train`` keeps the best epoch.)

        Warns
        -----
        LeakWarning
            Columns that give the class away were left out.
        StabilityWarning
            A condition of sound training failed; says what to change. Once in a search or cross-validation.
        """
        self._fit(X, y, sample_weight, groups)
        if self.certify and not self.stability_.is_stable:
            warn_unstable(self.stability_)
        return self

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of rows told right; ``y`` has the class of each row, none missing (InputError)."""
        X = as_table(X)
        return float(super().score(X, inputs.check_labels(X, y), sample_weight))

    def _fit(self, X: Any, y: Any, sample_weight: Any, groups: Any, checkpoint: CheckpointFile | None = None) -> None:
        """All of :meth:`fit` but its last warning; with a checkpoint an interrupted training is kept."""
        check_parameters(self.get_params(deep=False))
        self.n_unlabelled_ = 0
        X = as_table(X)
        if y is None:
            X, y, kept = inputs.take_target(X, self.target)
            sample_weight, groups = inputs.take(sample_weight, kept), inputs.take(groups, kept)
            self.n_unlabelled_ = int(len(kept) - kept.sum())
            _log.info("%d rows without a known %s are left out of training", self.n_unlabelled_, self.target)
        features = self._check_features(X)
        y = inputs.check_labels(features, y)
        weight = inputs.check_weight(sample_weight, len(y))
        group = inputs.check_groups(groups, X, len(y))
        self.classes_, label = np.unique(y, return_inverse=True)
        self.encoder_ = TableEncoder(allow_leaks=self.allow_leaks).fit(features, sample_weight=weight)
        if is_frame(features):
            self.feature_names_in_ = np.array(self.encoder_.columns_, dtype=object)
            self.n_features_in_ = len(self.encoder_.columns_)
        self._frame_library = inputs.library_of(X)
        table = self.encoder_.transform(features)
        self._train(table, label, weight, group, checkpoint)
        self._describe(features, table, label, weight, inputs.display_names(X, len(y)))

    def _check_features(self, X: Any) -> Any:
        """A frame without the target column, or a two-dimensional array; at least one row and column."""
        if not is_frame(X):
            return validate_data(self, X, dtype=None, ensure_all_finite=False)
        frame = nw.from_native(X, eager_only=True).drop(self.target, strict=False)
        if 0 in frame.shape:
            raise InputError(
                f"Found array with {frame.shape[0]} sample(s) and {frame.shape[1]} feature(s) (shape={frame.shape}) "
                f"while a minimum of 1 is required: the columns are {frame.columns}."
            )
        return frame.to_native()

    def _train(
        self,
        table: Table,
        label: NDArray[np.int64],
        weight: NDArray[np.float64],
        group: Any,
        checkpoint: CheckpointFile | None,
    ) -> None:
        random = check_random_state(self.random_state)
        seed = int(random.randint(2**31 - 1))
        class_weight = inputs.class_weights(self.class_weight, self.classes_, label, weight)
        rows = Rows(*table, label, weight * class_weight[label], np.zeros_like(label) if group is None else group)
        rows = merge_equal(rows, grouped=group is not None)
        if checkpoint is not None:
            checkpoint.identify(describe_training(self, rows, seed))
        train, validation = split_validation(rows, self.validation_fraction, np.random.default_rng(seed))
        device = torch.device(self.device)
        self.network_ = self._build_network(seed)
        n_classes = len(self.classes_)
        self.history_, self._certificates, self._interrupted = train_network(
            self.network_,
            Objective(
                quantization_weight=self.quantization_weight,
                column_weight=self.column_weight,
                cardinalities=self.encoder_.cardinalities_,
            ),
            training_rows(train, n_classes, self.teacher_share, seed, device),
            None if validation is None else RowsDataset(validation, hard_targets(validation, n_classes), device),
            lr=self.lr,
            lr_ratio=self.lr_ratio,
            final_temperature=self.temperature,
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            patience=self.patience,
            generator=torch.Generator().manual_seed(seed),
            device=device,
            certify=self.certify,
            verbose=self.verbose,
            checkpoint=checkpoint,
        )
        self.n_iter_ = len(self.history_)

    def _build_network(self, seed: int) -> TableNetwork:
        return build_network(
            seed,
            torch.device(self.device),
            n_prototypes=self.n_prototypes,
            n_numeric=len(self.encoder_.numeric_),
            cardinalities=self.encoder_.cardinalities_,
            n_classes=len(self.classes_),
            d_token=self.d_token,
            n_blocks=self.n_blocks,
            n_heads=self.n_heads,
            dropout=self.dropout,
        )

    def _describe(self, X: Any, table: Table, label: Any, weight: Any, names: list[str]) -> None:
        """Order the prototypes by their share of the training rows and describe them."""
        device = torch.device(self.device)
        q = predict_rows(self.network_, *table, device).q
        order = np.argsort(-(q * weight[:, None]).sum(axis=0), kind="stable")
        prototypes = self.network_.readout.prototypes
        with torch.no_grad():
            prototypes.copy_(prototypes[torch.from_numpy(order).to(device)])
            verdict = self.network_.head(prototypes).double().softmax(dim=1).cpu().numpy()
        members = Members(self.encoder_.read(X), q[:, order], weight, label, self.classes_, names)
        self._prototype_table = describe_prototypes(members, verdict)
