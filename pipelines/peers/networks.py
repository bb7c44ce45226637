"""Published networks for tables: FT-Transformer, an MLP with periodic embeddings, TabM; recipes of their papers.

They see the columns as our own network does (:class:`TableEncoder`: scaled numbers, category codes), then numbers by
quantile, as their papers do. The validation part and the calibration of the logits are those of ``DDCLClassifier``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.preprocessing import QuantileTransformer
from sklearn.utils import check_random_state
from torch import Tensor, nn
from torch.nn import functional

from ddcl_tab import DDCLClassifier
from ddcl_tab.estimators._table import TableEncoder
from ddcl_tab.training._callbacks import best_scale, is_worse, row_losses
from ddcl_tab.training._distillation import hard_targets
from ddcl_tab.training._rows import Batches, Rows, RowsDataset, merge_equal, split_validation

CPU = torch.device("cpu")
#: Rows of one pass when nothing is learned.
CHUNK = 1024


class Encoded(NamedTuple):
    """Training rows as ``DDCLClassifier`` makes them of the same frame, labels, groups and seed."""

    encoder: TableEncoder
    classes: NDArray[Any]
    train: Rows
    validation: Rows | None
    seed: int


def encode(X: pl.DataFrame, y: NDArray[Any], groups: NDArray[Any] | None, random_state: int) -> Encoded:
    """Encode rows and set the validation part aside."""
    classes, label = np.unique(y, return_inverse=True)
    encoder = TableEncoder().fit(X)
    group = np.zeros_like(label) if groups is None else np.unique(groups, return_inverse=True)[1]
    rows = Rows(*encoder.transform(X), label, np.ones(len(label)), group)
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    rows = merge_equal(rows, grouped=groups is not None)
    parts = split_validation(rows, DDCLClassifier().validation_fraction, np.random.default_rng(seed))
    return Encoded(encoder, classes, *parts, seed)


class Columns:
    """Inputs for networks that know no missing numbers: quantiles, zero where missing, and codes that say so.

    Parameters
    ----------
    rows : Rows
        Training rows.
    cardinalities : list of int
        Of the categorical columns.
    seed : int

    Attributes
    ----------
    n_numeric : int
    cardinalities : list of int
        Codes of each categorical column, then two for each pattern of missing numbers.
    """

    def __init__(self, rows: Rows, cardinalities: list[int], seed: int) -> None:
        spread = np.nanmax(rows.numeric, axis=0) > np.nanmin(rows.numeric, axis=0)
        self._kept = np.flatnonzero(spread)
        missing = np.isnan(rows.numeric)
        _, first = np.unique(missing, axis=1, return_index=True)
        self._patterns = [column for column in sorted(first) if missing[:, column].any()]
        n_quantiles = max(10, min(1000, len(rows.label) // 30))
        self._quantiles = QuantileTransformer(
            n_quantiles=n_quantiles, output_distribution="normal", subsample=None, random_state=seed
        ).fit(rows.numeric[:, self._kept])
        self.n_numeric = len(self._kept)
        self.cardinalities = [*cardinalities, *(2 for _ in self._patterns)]

    def __call__(self, numeric: NDArray[Any], categorical: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Numbers float32 without NaN and codes int64."""
        numbers = np.nan_to_num(self._quantiles.transform(numeric[:, self._kept])).astype(np.float32)
        return numbers, np.concatenate([categorical, np.isnan(numeric[:, self._patterns])], axis=1, dtype=np.int64)

    def rows(self, rows: Rows) -> Rows:
        """The same for rows with all that belongs to them."""
        numeric, categorical = self(rows.numeric, rows.categorical)
        return rows._replace(numeric=numeric, categorical=categorical)


#: Builds a module ``(numeric, categorical) -> logits (B, members, C)`` from columns, training numbers and classes.
Build = Callable[[Columns, Tensor, int], nn.Module]


class NetworkPeer:
    """A published network behind the interface of the benchmark.

    Trains with AdamW at a constant rate. The epoch is chosen as ``DDCLClassifier`` chooses its own: the last one whose
    calibrated loss on the validation part cannot be told from the lowest, and training stops ``patience`` epochs later.

    Parameters
    ----------
    build : callable
    seed : int
    lr, weight_decay : float
    max_epochs, batch_size, patience : int

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
    n_iter_, best_epoch_ : int
    valid_loss_ : float
        Calibrated loss of the epoch kept on the validation part, nats.
    """

    def __init__(
        self,
        build: Build,
        seed: int,
        *,
        lr: float,
        weight_decay: float,
        max_epochs: int,
        batch_size: int = 256,
        patience: int = 16,
    ) -> None:
        self.build, self.seed, self.lr, self.weight_decay = build, seed, lr, weight_decay
        self.batch_size, self.max_epochs, self.patience = batch_size, max_epochs, patience

    def fit(self, X: pl.DataFrame, y: NDArray[Any], groups: NDArray[Any] | None = None) -> Self:
        """Train on all rows but the validation part."""
        encoded = encode(X, y, groups, self.seed)
        self.classes_, self.encoder_ = encoded.classes, encoded.encoder
        self.columns_ = Columns(encoded.train, encoded.encoder.cardinalities_, encoded.seed)
        n_classes = len(self.classes_)
        train, validation = (
            None if rows is None else RowsDataset(self.columns_.rows(rows), hard_targets(rows, n_classes), CPU)
            for rows in (encoded.train, encoded.validation)
        )
        # These networks draw weights and dropout masks from torch's own generator.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(encoded.seed)
            self.network_ = self.build(self.columns_, train.numeric, n_classes)
            self._train(train, train if validation is None else validation, encoded.seed)
        return self

    def _train(self, train: RowsDataset, validation: RowsDataset, seed: int) -> None:
        network = self.network_
        groups = getattr(network, "make_parameter_groups", network.parameters)()
        optimizer = torch.optim.AdamW(groups, lr=self.lr, weight_decay=self.weight_decay)
        batches = Batches(train, self.batch_size, torch.Generator().manual_seed(seed))
        weight, lowest = validation.weight.double().numpy(), np.inf
        for epoch in range(1, self.max_epochs + 1):
            network.train()
            for inputs, target, row_weight in batches:
                optimizer.zero_grad()
                logits = network(**inputs)
                # Members of an ensemble learn each for itself.
                said = functional.cross_entropy(
                    logits.flatten(0, 1), target.repeat_interleave(logits.shape[1], 0), reduction="none"
                )
                (row_weight * said.view(logits.shape[:2]).mean(dim=1)).mean().backward()
                optimizer.step()
            logits = _mean_logits(network, validation.numeric, validation.categorical)
            scale = best_scale(logits, validation.label, weight)
            losses = row_losses(scale * logits, validation.label)
            loss = float(np.average(losses, weights=weight))
            if loss < lowest:
                lowest, best = loss, losses
            if not is_worse(losses - best, weight, validation.group):
                self.valid_loss_, self.best_epoch_, self.scale_ = loss, epoch, scale
                kept = copy.deepcopy(network.state_dict())
            elif epoch - self.best_epoch_ >= self.patience:
                break
        self.n_iter_ = epoch
        network.load_state_dict(kept)

    def predict_proba(self, X: pl.DataFrame) -> NDArray[np.float64]:
        """Class probabilities, shape (n, C)."""
        numeric, categorical = self.columns_(*self.encoder_.transform(X))
        logits = _mean_logits(self.network_, torch.from_numpy(numeric), torch.from_numpy(categorical))
        return softmax(self.scale_ * logits, axis=1)


@torch.no_grad()
def _mean_logits(network: nn.Module, numeric: Tensor, categorical: Tensor) -> NDArray[np.float64]:
    """Logarithm of the members' mean probability, shape (n, C)."""
    network.eval()
    parts = zip(numeric.split(CHUNK), categorical.split(CHUNK), strict=True)
    chance = [network(numeric=n, categorical=c).double().softmax(dim=-1).mean(dim=1) for n, c in parts]
    return torch.cat(chance).clamp_min(1e-300).log().numpy()


class _FTTransformer(nn.Module):
    def __init__(self, columns: Columns, n_classes: int, d_block: int, n_blocks: int) -> None:
        super().__init__()
        from rtdl_revisiting_models import FTTransformer

        settings = FTTransformer.get_default_kwargs(n_blocks) | {"d_block": d_block, "d_out": n_classes}
        self.net = FTTransformer(n_cont_features=columns.n_numeric, cat_cardinalities=columns.cardinalities, **settings)

    def make_parameter_groups(self) -> Any:
        """Weight decay for matrices only, as its authors have it."""
        return self.net.make_parameter_groups()

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """Logits ``(B, 1, C)``."""
        return self.net(numeric, categorical if categorical.shape[1] else None).unsqueeze(1)


class _PeriodicMLP(nn.Module):
    def __init__(
        self, columns: Columns, n_classes: int, *, n_blocks: int, d_block: int, dropout: float, frequency_scale: float
    ) -> None:
        super().__init__()
        from rtdl_num_embeddings import PeriodicEmbeddings
        from rtdl_revisiting_models import MLP

        self.embed = PeriodicEmbeddings(columns.n_numeric, lite=False, frequency_init_scale=frequency_scale)
        d_numeric = int(np.prod(self.embed.get_output_shape()))
        self.cardinalities = columns.cardinalities
        self.net = MLP(
            d_in=d_numeric + sum(columns.cardinalities), d_out=n_classes, n_blocks=n_blocks, d_block=d_block,
            dropout=dropout,
        )  # fmt: skip

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """Logits ``(B, 1, C)``."""
        codes = [functional.one_hot(categorical[:, i], n) for i, n in enumerate(self.cardinalities)]
        return self.net(torch.cat([self.embed(numeric).flatten(1), *codes], dim=1)).unsqueeze(1)


class _TabM(nn.Module):
    def __init__(self, columns: Columns, numbers: Tensor, n_classes: int, *, d_block: int, n_bins: int) -> None:
        super().__init__()
        from rtdl_num_embeddings import PiecewiseLinearEmbeddings, compute_bins
        from tabm import TabM

        bins = compute_bins(numbers, n_bins=min(n_bins, len(numbers) // 2))
        self.net = TabM.make(
            n_num_features=columns.n_numeric, cat_cardinalities=columns.cardinalities, d_out=n_classes, d_block=d_block,
            num_embeddings=PiecewiseLinearEmbeddings(bins, 16, activation=False, version="B"),
        )  # fmt: skip

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """Logits ``(B, 32, C)`` of the members."""
        return self.net(numeric, categorical if categorical.shape[1] else None)


def ft_transformer(seed: int, *, d_block: int, n_blocks: int, **training: Any) -> NetworkPeer:
    """FT-Transformer of its authors (arXiv:2106.11959)."""
    return NetworkPeer(lambda c, _, n: _FTTransformer(c, n, d_block, n_blocks), seed, **training)


def periodic_mlp(
    seed: int, *, n_blocks: int, d_block: int, dropout: float, frequency_scale: float, **training: Any
) -> NetworkPeer:
    """MLP on periodic embeddings of the numbers (arXiv:2203.05556)."""
    sizes = {"n_blocks": n_blocks, "d_block": d_block, "dropout": dropout, "frequency_scale": frequency_scale}
    return NetworkPeer(lambda c, _, n: _PeriodicMLP(c, n, **sizes), seed, **training)


def tabm(seed: int, *, d_block: int, n_bins: int, **training: Any) -> NetworkPeer:
    """TabM with piecewise-linear embeddings, 32 members (arXiv:2410.24210)."""
    return NetworkPeer(lambda c, x, n: _TabM(c, x, n, d_block=d_block, n_bins=n_bins), seed, **training)
