"""Our own encoder with other readouts, and with a prototype head of another kind; trained as ours is.

Same column tokens, encoder, AdamW with its schedule, batches, epochs, distillation, validation part, choice of the
epoch and calibration as :class:`DDCLClassifier`, whose defaults are read from it. The terms of its objective that only
prototypes have (quantisation, the columns read off the prototypes) are left out, which costs these peers nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from skorch import NeuralNet
from torch import Tensor, nn
from torch.nn import functional

from ddcl_tab import DDCLClassifier
from ddcl_tab.nn import Reading
from ddcl_tab.nn._network import TableNetwork
from ddcl_tab.nn._quantization import precise
from ddcl_tab.training._callbacks import BestEpoch, EarlyStop, LearningRates
from ddcl_tab.training._distillation import hard_targets, training_rows
from ddcl_tab.training._net import MIN_BATCH, MIN_STEPS, WEIGHT_DECAY
from ddcl_tab.training._rows import Batches, RowsDataset
from peers.class_token import RowNetwork
from peers.networks import CHUNK, CPU, encode


def reading_of(summary: Tensor) -> Reading:
    """Reading of a summary ``(B, D)`` as the one token of its row: without prototypes both decide alike."""
    return Reading(summary, summary.unsqueeze(1))


class MeanReadout(nn.Module):
    """Mean of the tokens: of the columns, or of a row's class token, which it is itself."""

    def forward(self, tokens: Tensor) -> Reading:
        """Read ``(B, T, D)``."""
        return reading_of(tokens.mean(dim=1))


class PMAReadout(nn.Module):
    """Pooling by multi-head attention with one seed vector (Set Transformer, arXiv:1810.00825, section 3.2)."""

    def __init__(self, d_token: int, n_heads: int = 4) -> None:
        super().__init__()
        self.seed = nn.Parameter(torch.randn(1, 1, d_token) * d_token**-0.5)
        self.attention = nn.MultiheadAttention(d_token, n_heads, batch_first=True)
        self.attention_norm, self.norm = nn.LayerNorm(d_token), nn.LayerNorm(d_token)
        self.feed_forward = nn.Sequential(nn.Linear(d_token, d_token), nn.ReLU())

    def forward(self, tokens: Tensor) -> Reading:
        """Read ``(B, T, D)``."""
        seed = self.seed.expand(len(tokens), -1, -1)
        mixed = self.attention_norm(seed + self.attention(seed, tokens, tokens, need_weights=False)[0])
        summary = self.norm(mixed + self.feed_forward(mixed))[:, 0]
        return reading_of(summary)


class SlotAttentionReadout(nn.Module):
    """Mean of slots that compete for the tokens (Slot Attention, arXiv:2006.15055, algorithm 1).

    The slots start from learned vectors instead of random ones, so that a prediction is deterministic.
    """

    def __init__(self, d_token: int, n_slots: int = 4, n_iterations: int = 3) -> None:
        super().__init__()
        self.n_iterations = n_iterations
        self.slots = nn.Parameter(torch.randn(n_slots, d_token) * d_token**-0.5)
        self.token_norm, self.slot_norm, self.norm = (nn.LayerNorm(d_token) for _ in range(3))
        self.query, self.key, self.value = (nn.Linear(d_token, d_token, bias=False) for _ in range(3))
        self.update = nn.GRUCell(d_token, d_token)

    def forward(self, tokens: Tensor) -> Reading:
        """Read ``(B, T, D)``."""
        tokens = self.token_norm(tokens)
        key, value = self.key(tokens), self.value(tokens)
        slots = self.slots.expand(len(tokens), -1, -1)
        for _ in range(self.n_iterations):
            logits = self.query(self.slot_norm(slots)) @ key.mT * key.shape[-1] ** -0.5
            share = logits.softmax(dim=1, dtype=precise(logits.dtype)) + 1e-8  # in float16 this is 0
            seen = (share / share.sum(-1, keepdim=True)).to(value.dtype) @ value
            slots = self.update(seen.flatten(0, 1), slots.flatten(0, 1)).view_as(slots)
        summary = self.norm(slots.mean(dim=1))
        return reading_of(summary)


class PerceiverReadout(nn.Module):
    """Mean of latents that cross-attend to the tokens (Perceiver, arXiv:2103.03206, one cross-attention)."""

    def __init__(self, d_token: int, n_latents: int = 8) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(n_latents, d_token) * d_token**-0.5)
        self.query, self.key, self.value = (nn.Linear(d_token, d_token) for _ in range(3))
        self.norm = nn.LayerNorm(d_token)
        self.feed_forward = nn.Sequential(nn.Linear(d_token, 2 * d_token), nn.GELU(), nn.Linear(2 * d_token, d_token))

    def forward(self, tokens: Tensor) -> Reading:
        """Read ``(B, T, D)``."""
        query = self.query(self.latents).expand(len(tokens), -1, -1)
        latents = self.latents + functional.scaled_dot_product_attention(query, self.key(tokens), self.value(tokens))
        summary = (latents + self.feed_forward(self.norm(latents))).mean(dim=1)
        return reading_of(summary)


#: Reads a class token, which its encoder puts in front of the columns; all others read the columns.
CLASS_TOKEN = "class token"
#: Builds a readout of tokens of a given width.
READOUTS: dict[str, Callable[[int], nn.Module]] = {
    "mean": lambda d_token: MeanReadout(),
    CLASS_TOKEN: lambda d_token: MeanReadout(),
    "PMA": PMAReadout,
    "Slot Attention": SlotAttentionReadout,
    "Perceiver": PerceiverReadout,
}
#: Parameters of ``DDCLClassifier`` that mean the same here.
SHARED = (
    "lr", "lr_ratio", "augmented_share", "d_token", "n_blocks", "n_heads", "dropout", "batch_size", "max_epochs",
    "patience",
)  # fmt: skip
#: Prototypes of one token a row; ``DDCLClassifier`` has some for each column.
N_PROTOTYPES = 32


class DistanceHead(nn.Module):
    """Classes by distance to prototypes of their own (distance-based cross-entropy, arXiv:1805.03438).

    The logit of a class is the soft minimum of the squared distances to its prototypes, on a learned scale.

    Parameters
    ----------
    n_classes, per_class, d_token : int

    Shapes
    ------
    ``(B, D) -> (B, C)``.
    """

    def __init__(self, n_classes: int, per_class: int, d_token: int) -> None:
        super().__init__()
        # Tokens leave the encoder with entries of unit variance, so prototypes start among them.
        self.prototypes = nn.Parameter(torch.randn(n_classes, per_class, d_token))
        self.weight = nn.Parameter(torch.ones(()))
        self.bias = nn.Parameter(torch.zeros(n_classes))

    def forward(self, z: Tensor) -> Tensor:
        """Logits of tokens."""
        prototypes = self.prototypes.flatten(0, 1)
        distance = z.square().sum(1, keepdim=True) - 2 * z @ prototypes.mT + prototypes.square().sum(1)
        closeness = -distance.unflatten(1, self.prototypes.shape[:2]) / z.shape[1] ** 0.5
        return self.weight * closeness.logsumexp(dim=2) + self.bias


class _Net(NeuralNet):
    """Cross-entropy of the readout's decision alone."""

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        self._set_training(True)
        inputs, target, weight = batch
        logits = self.module_(**inputs).logits
        loss = (weight * functional.cross_entropy(logits, target, reduction="none")).mean()
        loss.backward()
        return {"loss": loss, "y_pred": logits}


class ReadoutPeer:
    """Our encoder with another readout behind the interface of the benchmark.

    Parameters
    ----------
    readout : str
        Of :data:`READOUTS`.
    seed : int
    by_distance : bool, default=False
        Decide by distance to prototypes instead of by a linear head.
    **settings
        Of :data:`SHARED`, and ``n_prototypes``; default: :func:`shared_settings`.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
    n_iter_, best_epoch_ : int
    """

    def __init__(self, readout: str, seed: int, *, by_distance: bool = False, **settings: Any) -> None:
        self.readout, self.seed, self.by_distance = readout, seed, by_distance
        self.settings = shared_settings() | settings

    def fit(self, X: pl.DataFrame, y: NDArray[Any], groups: NDArray[Any] | None = None) -> Self:
        """Train on all rows but the validation part."""
        encoded = encode(X, y, groups, self.seed)
        self.classes_, self.encoder_ = encoded.classes, encoded.encoder
        self.network_ = self._build(encoded.seed)
        n_classes = len(self.classes_)
        train = training_rows(encoded.train, n_classes, self.settings["augmented_share"], encoded.seed, CPU)
        held_out = encoded.validation
        validation = None if held_out is None else RowsDataset(held_out, hard_targets(held_out, n_classes), CPU)
        self._train(train, validation, encoded.seed)
        return self

    def _build(self, seed: int) -> TableNetwork:
        s, n_classes = self.settings, len(self.classes_)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self._make(
                edges=self.encoder_.edges_,
                cardinalities=self.encoder_.cardinalities_,
                n_classes=n_classes,
                generator=torch.Generator().manual_seed(seed),
                **{name: s[name] for name in ("d_token", "n_blocks", "n_heads", "dropout")},
            )
            if self.by_distance:
                network.head = DistanceHead(n_classes, max(1, s["n_prototypes"] // n_classes), s["d_token"])
        return network

    def _make(self, **sizes: Any) -> TableNetwork:
        """Network of these sizes."""
        kind = RowNetwork if self.readout == CLASS_TOKEN else TableNetwork
        return kind(READOUTS[self.readout](self.settings["d_token"]), **sizes)

    def _train(self, train: RowsDataset, validation: RowsDataset | None, seed: int) -> None:
        s = self.settings
        batch_size = min(s["batch_size"], max(MIN_BATCH, len(train) // MIN_STEPS))
        best = BestEpoch(validation, s["max_epochs"], s["patience"])
        rates = LearningRates(s["max_epochs"] * len(Batches(train, batch_size)))
        net = _Net(
            self.network_,
            nn.CrossEntropyLoss,
            optimizer=torch.optim.AdamW,
            optimizer__param_groups=[
                ("head.prototypes", {"lr": s["lr"] * s["lr_ratio"], "weight_decay": 0.0}),
                ("*bias", {"weight_decay": 0.0}),
                ("*norm.*", {"weight_decay": 0.0}),
            ],
            optimizer__weight_decay=WEIGHT_DECAY,
            lr=s["lr"],
            max_epochs=s["max_epochs"],
            batch_size=batch_size,
            iterator_train=Batches,
            iterator_train__generator=torch.Generator().manual_seed(seed),
            train_split=None,
            callbacks=[("rates", rates), ("best", best)],
            callbacks__print_log=None,
            verbose=0,
        ).initialize()
        net.notify("on_train_begin")
        with contextlib.suppress(EarlyStop):
            net.fit_loop(train)
        net.notify("on_train_end")
        self.network_.eval()
        self.n_iter_, self.best_epoch_ = len(net.history), best.epoch_

    @torch.no_grad()
    def predict_proba(self, X: pl.DataFrame) -> NDArray[np.float64]:
        """Class probabilities, shape (n, C)."""
        numeric, categorical = (torch.from_numpy(part) for part in self.encoder_.transform(X))
        parts = zip(numeric.split(CHUNK), categorical.split(CHUNK), strict=True)
        return torch.cat([self.network_(*part).logits for part in parts]).double().softmax(dim=1).numpy()


def shared_settings() -> dict[str, Any]:
    """Settings of these peers: those of ``DDCLClassifier``, and how many prototypes a head by distance has."""
    ours = DDCLClassifier().get_params()
    return {name: ours[name] for name in SHARED} | {"n_prototypes": N_PROTOTYPES}
