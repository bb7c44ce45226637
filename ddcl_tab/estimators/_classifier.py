"""``DDCLClassifier``: the scikit-learn face of the network."""

from __future__ import annotations

import logging
import os
import warnings
from typing import Any, Literal, Self

import narwhals.stable.v2 as nw
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ddcl_tab.errors import ConfigurationError, InputError, LeakWarning
from ddcl_tab.estimators._columns import as_table, is_frame
from ddcl_tab.estimators._domain import Domain, domain_of
from ddcl_tab.estimators._explain import Examples, Explained, fitted_html, reasons_of
from ddcl_tab.estimators._families import (
    Families,
    GroupFamilies,
    family_groups,
    family_rows,
    warn_without_context,
    with_family_columns,
)
from ddcl_tab.estimators._model_file import read_state, write_state
from ddcl_tab.estimators._prototypes import Columns, Members, default_prototypes, describe_prototypes
from ddcl_tab.estimators._table import EncodedRows, TableEncoder
from ddcl_tab.estimators._validation import (
    check_groups,
    check_labels,
    check_parameters,
    check_weight,
    class_weights,
    display_names,
    is_named,
    library_of,
    names_unknown_parameters,
    recorded_classes,
    take,
    take_target,
    target_of,
)
from ddcl_tab.nn._network import TableNetwork
from ddcl_tab.training._certificate import EpochCertificate
from ddcl_tab.training._checkpoint import CheckpointFile, training_fingerprint
from ddcl_tab.training._distillation import hard_targets, training_rows
from ddcl_tab.training._net import build_network, train_network
from ddcl_tab.training._objective import Objective
from ddcl_tab.training._rows import (
    Late,
    Prediction,
    Rows,
    RowsDataset,
    decide_rows,
    merge_equal,
    predict_rows,
    split_validation,
)
from ddcl_tab.training._stability import Stability, warn_unstable

_log = logging.getLogger("ddcl_tab")


class DDCLClassifier(ClassifierMixin, TransformerMixin, BaseEstimator):
    """Classify the rows of a table by prototypes (DDCL-Attention, arXiv:2604.03850).

    Columns become tokens, a transformer encoder lets each token see the others, and every token is assigned softly to
    ``n_prototypes`` prototypes that all columns share. The class is decided by the mean of what the prototypes say, so
    the part of each column in a decision is exact (:meth:`explain`), not estimated.

    Parameters
    ----------
    n_prototypes : int, optional
        Number ``K`` of prototypes. Default: 4 a column, at least 32 and at most 128.
    temperature : float, default=0.05
        Final temperature relative to the critical one, ``T / T_c`` in (0, 1). Lower: fewer prototypes share a token.
    lr : float, default=0.002
        Learning rate of the encoder (AdamW, and Muon for the matrices of its blocks).
    lr_ratio : float, default=50
        Learning rate of the prototypes over that of the encoder.
    quantization_weight : float, default=0.1
        Weight ``lambda`` of the soft quantisation loss.
    column_weight : float, default=0.1
        Weight of the loss of the row's own columns, each read off the prototypes of its token. Higher: prototypes keep
        closer to the values of columns, and decide the class less sharply.
    contribution_weight : float, default=0.3
        Weight of the loss that makes the contribution of a column what the column does when another row's value takes
        its place. Higher: truer reasons, and a class that is decided less sharply; 0: contributions add up, and need
        not fall on the columns that matter (pipelines/results/faithfulness).
    augmented_share : float, default=0.7
        Share of the rows of an epoch that are augmented: mixed from two training rows each and labelled by distillation
        from trees (gradient boosting and randomised trees, fitted on the training rows first). 0 trains on the table
        alone, and so do tables under 1,000 rows.
    hidden_share : float, default=0.3
        Share of the rows of an epoch, and of the validation part, that lack columns which the frame's domain knows to
        be filled late, such as RCS_SIZE of new objects in a catalog. 0 hides nothing; where the domain knows none,
        nothing is hidden.
    d_token : int, default=64
        Width of a token; a multiple of ``n_heads``.
    n_blocks, n_heads : int, default=2, 4
        Transformer blocks, attention heads.
    dropout : float, default=0
        Share of activations dropped while training; augmented rows leave little to learn by heart.
    batch_size : int, default=256
        Rows in a step; fewer in small tables, so that an epoch has at least sixteen steps.
    max_epochs : int, default=30
    patience : int, default=8
        Epochs in a row that are worse than the best one on the validation part before training stops (after the
        annealing); worse is by more than the standard error of the difference.
    validation_fraction : float, default=0.1
        Share of each class set aside to choose the epoch and to calibrate; whole groups where groups are known.
    class_weight : dict or "balanced", optional
        Factor of the weights of each class's rows. A dict from class to weight, ``{"ROCKET BODY": 5}``: classes that it
        does not name weigh 1. "balanced": all classes weigh the same.
    target : str, optional
        Column that holds the classes in ``fit(df)``. Default: the one that the frame's domain names, ``OBJECT_TYPE`` in
        catalogs of space objects.
    family : str or None, default="auto"
        Columns about the other rows of each row's family, besides its own. They need no label, so all rows of ``fit``
        count, those of unknown class included; rows to predict join their families for that call.

        "auto": what the frame's domain makes of them; in a catalog, what else came from the launch
        (`ddcl_tab.space.FAMILY_COLUMNS`). The same as None where the domain knows no families, the frame lacks their
        columns, or ``target`` is one of these. What it is worth is measured in pipelines/results/family. Take None
        where the class is the family itself, such as the launch of a fragment.

        The name of a column: its values name the families, such as patients, clusters or instruments. The column itself
        is no feature, and its families stay whole in the validation split. Each column ``x`` of numbers gets
        ``x family deviation`` (own value minus the median of the other members) and ``x family spread`` (their
        interquartile range), and there is ``family size`` (number of the other members).
    family_counts : bool, default=False
        With "auto", also the numbers of siblings (`ddcl_tab.space.FAMILY_COUNTS`): only for catalogs that are not asked
        about launches later than those learned from, since a large launch in tight shells was a break-up before 2015
        and is a constellation since. With the name of a column the size is always there, and this changes nothing.
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
        One row a prototype, largest first: ``name`` (columns, their values among its members, the class it votes for),
        ``share`` of all column tokens of the training rows, ``share CLASS`` of its rows, ``votes CLASS`` (what a column
        there adds to the log-odds of the class, in nats, more than columns do on average), ``medoid`` (the training row
        of that class that is most made of it), and up to five columns that it speaks of: ``column_1``,
        ``column_1_share`` of its members, ``column_1_values`` (true of 95 % of those), and so on. polars if fitted on
        polars, else pandas.
    stability_ : Stability
        Certificate of the training: ``verdict``, ``margins``, ``to_frame()``.
    history_ : list of dict
        Per epoch: losses, ``tau``, the three terms of the identity on a probe batch with its residual, the tokens'
        variance, usage and dead prototypes; ``best`` marks the epoch kept.
    n_iter_ : int
        Epochs trained.
    n_unlabelled_ : int
        Rows of ``fit(df)`` left out because their label is missing, or UNKNOWN in a catalog.
    domain_ : Domain
        What is known about the columns: that of the frame.
    families_ : Families or None
        Counts of the rows of fit by family, from which the family columns of any row follow; None where unused. Model
        files hold them.
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

    classes_: NDArray[Any]
    domain_: Domain
    encoder_: TableEncoder
    families_: Families | None
    network_: TableNetwork
    history_: list[dict[str, Any]]
    device: str
    _certificates: tuple[EpochCertificate, ...]
    _interrupted: int | None = None
    _prototype_table: dict[str, list[Any]]
    _frame_library: Literal["pandas", "polars"]

    @names_unknown_parameters
    def __init__(
        self,
        *,
        n_prototypes: int | None = None,
        temperature: float = 0.05,
        lr: float = 2e-3,
        lr_ratio: float = 50.0,
        quantization_weight: float = 0.1,
        column_weight: float = 0.1,
        contribution_weight: float = 0.3,
        augmented_share: float = 0.7,
        hidden_share: float = 0.3,
        d_token: int = 64,
        n_blocks: int = 2,
        n_heads: int = 4,
        dropout: float = 0.0,
        batch_size: int = 256,
        max_epochs: int = 30,
        patience: int = 8,
        validation_fraction: float = 0.1,
        class_weight: dict[Any, float] | str | None = None,
        target: str | None = None,
        family: str | None = "auto",
        family_counts: bool = False,
        allow_leaks: bool = False,
        certify: str | bool = "epoch",
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_prototypes = n_prototypes
        self.temperature = temperature
        self.lr = lr
        self.lr_ratio = lr_ratio
        self.quantization_weight = quantization_weight
        self.column_weight = column_weight
        self.contribution_weight = contribution_weight
        self.augmented_share = augmented_share
        self.hidden_share = hidden_share
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
        self.family = family
        self.family_counts = family_counts
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
            Without ``y``, a frame that holds the column ``target``; its rows of missing class, and those that a catalog
            calls ``"UNKNOWN"``, are left out (``n_unlabelled_``).
        y : array-like, shape (n,), optional
            Classes: texts, booleans or numbers, none missing.
        sample_weight : array-like, shape (n,), optional
            A row of weight 2 and the same row twice give the same model.
        groups : array-like, shape (n,), optional
            Rows of one group stay together in the validation split. Default: the families where ``family`` names a
            column, else the groups that the frame's domain knows, such as the launch of each object of a catalog.

        Returns
        -------
        DDCLClassifier

        Raises
        ------
        ConfigurationError
            Parameters break their rules; all of them are listed. Or a key of ``class_weight`` is no class, or
            ``family`` no column of the frame.
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
        self.fit_with_checkpoint(X, y, sample_weight, groups)
        if self.certify and not self.stability_.is_stable:
            warn_unstable(self.stability_)
        return self

    def fit_with_checkpoint(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        groups: Any = None,
        *,
        checkpoint: CheckpointFile | None = None,
        catalog: Any = None,
    ) -> Self:
        """Train as :meth:`fit` does, with a file after every epoch, and without a StabilityWarning.

        A KeyboardInterrupt after the first epoch ends training, and the classifier is fitted with the best epoch so far
        (the last one while annealing is not over); ``stability_`` says so.

        Parameters
        ----------
        X, y, sample_weight, groups
            As in :meth:`fit`.
        checkpoint : CheckpointFile, optional
            Written after every epoch, and resumed from. Without one a KeyboardInterrupt is raised on.
        catalog : frame, optional
            Rows that count in their families besides those of ``X``, such as the catalog that ``X`` is a part of.
            Nothing else is learned from them; without ``family`` they are not used.

        Returns
        -------
        DDCLClassifier

        Raises
        ------
        CheckpointError
            The checkpoint to go on with was made for other rows, parameters or versions.
        WriteError
            The checkpoint cannot be written.
        """
        check_parameters(self.get_params(deep=False))
        self.n_unlabelled_ = 0
        X = as_table(X)
        self.domain_ = domain_of(X)
        X = self._count_families(X, catalog)
        if y is None:
            target = target_of(self.target, X)
            X, y, kept = take_target(X, target)
            sample_weight, groups = take(sample_weight, kept), take(groups, kept)
            self.n_unlabelled_ = int(len(kept) - kept.sum())
            _log.info("%d rows without a known %s are left out of training", self.n_unlabelled_, target)
        features = self._check_features(X)
        y = check_labels(features, y)
        weight = check_weight(sample_weight, len(y))
        group = check_groups(family_groups(self.family, X) if groups is None else groups, X, len(y))
        self.classes_, label = np.unique(y, return_inverse=True)
        self.encoder_ = TableEncoder(allow_leaks=self.allow_leaks, domain=self.domain_)
        self.encoder_.fit(features, sample_weight=weight)
        if is_frame(features):
            self.feature_names_in_ = np.array(self.encoder_.columns_, dtype=object)
            self.n_features_in_ = len(self.encoder_.columns_)
        self._frame_library = library_of(X)
        encoded = self.encoder_.transform(features)
        self._train(encoded, label, weight, group, checkpoint)
        self._describe(features, encoded, label, weight, display_names(X, len(y)))
        return self

    def score(self, X: Any, y: Any, sample_weight: Any = None, catalog: Any = None) -> float:
        """Accuracy on rows whose classes are ``y``, none missing (InputError); ``catalog`` as in `predict_proba`."""
        X = as_table(X)
        return float(accuracy_score(check_labels(X, y), self.predict(X, catalog), sample_weight=sample_weight))

    def predict_proba(self, X: Any, catalog: Any = None) -> NDArray[np.float64]:
        """Class probabilities, shape (n, C), in the order of ``classes_``.

        Parameters
        ----------
        X : frame or array, shape (n, p)
        catalog : frame, optional
            The table in which the families of the rows are counted, such as a newer catalog, in place of the one of
            fit.

        Warns
        -----
        FamilyContextWarning
            Of some rows no other member of the family is known.

        Raises
        ------
        ConfigurationError
            There is a ``catalog``, and the model uses no families.
        """
        return self._predict(X, catalog).probability

    def predict(self, X: Any, catalog: Any = None) -> NDArray[Any]:
        """Most probable class of each row, shape (n,); parameters as in :meth:`predict_proba`."""
        probability = self._predict(X, catalog).probability
        return self.classes_[probability.argmax(axis=1)]

    def transform(self, X: Any, catalog: Any = None) -> NDArray[np.float64]:
        """Prototype memberships, shape (n, K); rows sum to 1. Columns are named ``prototype_0`` and so on.

        Parameters as in :meth:`predict_proba`.
        """
        return self._predict(X, catalog).q

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the columns of :meth:`transform`."""
        check_is_fitted(self)
        return np.array([f"prototype_{k}" for k in self._prototype_table["prototype"]], dtype=object)

    @property
    def prototypes_(self) -> Any:
        """Prototypes as a frame; see the class docstring."""
        check_is_fitted(self)
        return self._frame_of(self._prototype_table, self._frame_library)

    def explain(self, X: Any, examples: Any = None, catalog: Any = None) -> Any:
        """Reasons per row: what each column adds to its class against the runner-up.

        Parameters
        ----------
        X : frame or array, shape (n, p)
        examples : frame, optional
            Rows of known class, in the target column, among which a similar one is found for each row. Default: ``X``,
            where it has that column.
        catalog : frame, optional
            As in :meth:`predict_proba`.

        Returns
        -------
        frame
            One row a row and column, strongest contribution first: ``row``, ``prediction``, ``probability``,
            ``runner_up``, ``baseline``, ``rank``, ``column``, ``value`` (the row's own), ``unit``, ``contribution``
            (nats), ``prototype`` (strongest one of the column's token), ``like`` (the most similar row of known class
            that has the predicted one; empty without any); polars for polars, else pandas. For each row ``baseline``
            plus all contributions is the log-odds of its class against the runner-up.

        Notes
        -----
        The logits are the mean over the columns' tokens of what their prototypes say. A contribution is a column's part
        of it, less that of the column on average over the training rows; it belongs to the column as seen beside the
        others, for tokens have seen each other. What hiding a column does is measured in
        pipelines/results/faithfulness.
        """
        return self._frame_of(self.decide(X, examples, catalog).table(), library_of(X))

    def decide(self, X: Any, examples: Any = None, catalog: Any = None) -> Explained:
        """Everything that is said of rows, computed once: probabilities, memberships, reasons and sentences.

        Parameters as in :meth:`explain`.

        Returns
        -------
        Explained
        """
        check_is_fitted(self)
        X = as_table(X)
        features = self._features_of(X, catalog)
        columns, encoded = self._token_columns(features), self.encoder_.transform(features)
        decision = decide_rows(self.network_, *encoded, torch.device(self.device))
        reasons = reasons_of(decision, self._column_means, self.network_.head.bias.detach().double().cpu().numpy())
        similar = self._examples(X, columns, encoded, examples, catalog)
        return Explained(encoded, decision, reasons, columns, similar, self.classes_, self.domain_)

    def _examples(self, X: Any, columns: Columns, encoded: EncodedRows, examples: Any, catalog: Any) -> Examples | None:
        """The rows of known class among ``examples``, by default ``X``; None where ``X`` has no classes."""
        given = X if examples is None else as_table(examples)
        recorded = recorded_classes(given, self.target)
        if recorded is None:
            if examples is None:
                return None
            raise InputError("examples must be a frame with the classes in its target column; hand over one as in fit.")
        known = np.flatnonzero([label is not None for label in recorded])
        names = np.array(display_names(given, len(recorded)), dtype=object)[known]
        points = self.encoder_.coordinates(columns, encoded)
        if given is X:
            place = np.full(len(recorded), -1)
            place[known] = np.arange(len(known))
            return Examples(points, place, points[known], recorded[known], names)
        features = self._features_of(nw.from_native(given, eager_only=True)[known.tolist()].to_native(), catalog)
        among = self.encoder_.coordinates(self._token_columns(features), self.encoder_.transform(features))
        by_name = {name: i for i, name in enumerate(names)} if is_named(given) and is_named(X) else {}
        itself = np.array([by_name.get(name, -1) for name in display_names(X, len(points))])
        return Examples(points, itself, among, recorded[known], names)

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
            The file is missing, foreign, damaged, altered, or of a format that this version cannot read.
        """
        return read_state(cls, path)

    def _check_features(self, X: Any) -> Any:
        """A frame without the target column, or a two-dimensional array; at least one row and column."""
        if not is_frame(X):
            return validate_data(self, X, dtype=None, ensure_all_finite=False)
        frame = nw.from_native(X, eager_only=True)
        target = target_of(self.target, X)
        no_features = [target] if target is not None else []
        if isinstance(self.families_, GroupFamilies):
            no_features.append(self.families_.column)
        frame = frame.drop(no_features, strict=False)
        if 0 in frame.shape:
            raise InputError(
                f"Found array with {frame.shape[0]} sample(s) and {frame.shape[1]} feature(s) (shape={frame.shape}) "
                f"while a minimum of 1 is required: the columns are {frame.columns}."
            )
        return frame.to_native()

    def _train(
        self,
        encoded: EncodedRows,
        label: NDArray[np.int64],
        weight: NDArray[np.float64],
        group: NDArray[np.int64] | None,
        checkpoint: CheckpointFile | None,
    ) -> None:
        random = check_random_state(self.random_state)
        seed = int(random.randint(2**31 - 1))
        class_weight = class_weights(self.class_weight, self.classes_, label, weight)
        rows = Rows(*encoded, label, weight * class_weight[label], np.zeros_like(label) if group is None else group)
        rows = merge_equal(rows, grouped=group is not None)
        if checkpoint is not None:
            settings, encoder = self.get_params(deep=False), self.encoder_.to_json()
            checkpoint.identify(training_fingerprint(settings, self.classes_.tolist(), encoder, rows, seed))
        train, validation = split_validation(rows, self.validation_fraction, np.random.default_rng(seed))
        late = self._late()
        if late is not None and validation is not None:
            n = len(validation.label)
            validation = late.hide(validation, np.random.default_rng(seed).permutation(n) / n)
        device = torch.device(self.device)
        self.network_ = self._build_network(seed)
        n_classes = len(self.classes_)
        self.history_, self._certificates, self._interrupted = train_network(
            self.network_,
            Objective(
                quantization_weight=self.quantization_weight,
                column_weight=self.column_weight,
                contribution_weight=self.contribution_weight,
                cardinalities=self.encoder_.cardinalities_,
            ),
            training_rows(train, n_classes, self.augmented_share, seed, device, late),
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

    def _late(self) -> Late | None:
        """Columns of fit that new rows lack; None where there are none, or none are to be hidden."""
        names = self.encoder_.feature_names_
        sets = [[name in late for name in names] for late in self.domain_.late]
        sets = [there for there in sets if any(there)]
        return Late(np.array(sets), float(self.hidden_share)) if sets and self.hidden_share > 0 else None

    def _build_network(self, seed: int) -> TableNetwork:
        return build_network(
            seed,
            torch.device(self.device),
            n_prototypes=self.n_prototypes or default_prototypes(len(self.encoder_.feature_names_)),
            edges=self.encoder_.edges_,
            cardinalities=self.encoder_.cardinalities_,
            n_classes=len(self.classes_),
            d_token=self.d_token,
            n_blocks=self.n_blocks,
            n_heads=self.n_heads,
            dropout=self.dropout,
        )

    def _describe(
        self, X: Any, encoded: EncodedRows, label: NDArray[np.int64], weight: NDArray[np.float64], names: list[str]
    ) -> None:
        """Order the prototypes by their share of the training rows and describe them."""
        device = torch.device(self.device)
        share = weight @ predict_rows(self.network_, *encoded, device).q
        order = np.argsort(-share, kind="stable")
        prototypes = self.network_.readout.prototypes
        with torch.no_grad():
            prototypes.copy_(prototypes[torch.from_numpy(order).to(device)])
            said = (prototypes @ self.network_.head.weight.mT).double().cpu().numpy()
        decision = decide_rows(self.network_, *encoded, device)
        self._column_means = np.average(decision.contribution, axis=0, weights=weight)
        votes = (said - share[order] @ said / share.sum()) / len(self.encoder_.feature_names_)
        votes -= votes.mean(axis=1, keepdims=True)
        columns = self._token_columns(X)
        members = Members(columns, decision.prototype, decision.prediction.q, weight, label, self.classes_, names)
        self._prototype_table = describe_prototypes(members, votes, self.domain_)

    def _token_columns(self, features: Any) -> Columns:
        """Columns of each token as they are, in their units, in the order of the tokens."""
        columns = self.encoder_.read(features)
        return {name: columns[name] for name in self.encoder_.feature_names_}

    def _count_families(self, X: Any, catalog: Any) -> Any:
        """Count the families of the rows of fit and of a catalog; the frame with what follows for each row."""
        self.families_ = None
        families = self._families_of(X)
        if families is None:
            return X
        rows = family_rows(families, X)
        if catalog is not None:
            families = families.recount(family_rows(families, catalog)).including(rows)
        self.families_ = families
        return with_family_columns(X, families.columns(rows, counts=self.family_counts))

    def _families_of(self, X: Any) -> Families | None:
        """Counts of the rows by family; None where there are no families."""
        if self.family is None:
            return None
        target = target_of(self.target, X)
        if self.family == "auto":
            kind = self.domain_.families
            if kind is None or not self.domain_.has_families(X) or target in kind.NEEDED:
                return None  # a family column must not be made of classes
            return kind.count(family_rows(kind, X))
        if self.family == target:
            raise ConfigurationError(f"family={self.family!r} is the column of the classes: name another, or None.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LeakWarning)  # fit says it of all columns
            there = nw.from_native(X, eager_only=True).columns if is_frame(X) else []
            features = self.domain_.features_among(there, allow_leaks=self.allow_leaks)
        return GroupFamilies.of(X, self.family, [name for name in features if name != target])

    def _features_of(self, X: Any, catalog: Any = None) -> Any:
        """Columns of fit out of ``X``, in their order, with those of families counted in a catalog or in fit."""
        X = as_table(X)
        families = self.families_
        if families is None and catalog is not None:
            raise ConfigurationError("catalog is where families are counted, and this model was fitted without them.")
        if families is not None:
            rows = family_rows(families, X)
            families = families if catalog is None else families.recount(family_rows(families, catalog))
            warn_without_context(families, rows)
            X = with_family_columns(X, families.columns(rows, counts=self.family_counts))
        if not is_frame(X):
            return validate_data(self, X, reset=False, dtype=None, ensure_all_finite=False)
        if hasattr(self, "feature_names_in_"):
            return X
        X = nw.from_native(X, eager_only=True).to_numpy()
        return validate_data(self, X, reset=False, dtype=None, ensure_all_finite=False)

    def _predict(self, X: Any, catalog: Any = None) -> Prediction:
        check_is_fitted(self)
        encoded = self.encoder_.transform(self._features_of(X, catalog))
        return predict_rows(self.network_, *encoded, torch.device(self.device))

    @staticmethod
    def _frame_of(table: dict[str, list[Any]], library: Literal["pandas", "polars"]) -> Any:
        return nw.from_dict(table, backend=library).to_native()
