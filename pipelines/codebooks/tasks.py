"""What is compressed: handwritten digits, patches of photographs, rows of the catalog; each into four codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from peers.class_token import ClassTokenEncoder
from sklearn.datasets import load_digits, load_sample_images
from sklearn.model_selection import GroupShuffleSplit
from torch import Tensor, nn
from torch.nn import functional

from codebooks.quantizers import DIM
from ddcl_tab.estimators._table import TableEncoder
from ddcl_tab.nn._network import ColumnTokenizer
from ddcl_tab.space._join import launch_of
from ddcl_tab.space._satcat import read_satcat

#: Codes of one row or image, and the width of hidden layers.
N_CODES, HIDDEN = 4, 256
CATALOG = "satcat/spacetrack_satcat_current_2025-03-16.json.gz"
SYNTHETIC = Path(__file__).resolve().parents[2] / "data" / "synthetic_satcat.csv.gz"
Batch = tuple[Tensor, ...]


class Task(NamedTuple):
    """Data with an encoder to ``N_CODES * DIM`` numbers, a decoder from them, and the error of what it says."""

    train: Batch
    test: Batch
    encoder: Callable[[], nn.Module]
    decoder: Callable[[], nn.Module]
    error: Callable[[Tensor, Batch], Tensor]


def _mlp(n_in: int, n_out: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(n_in, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, n_out)
    )


def _images(pixels: np.ndarray, seed: int) -> Task:
    """Four fifths to learn from; pixels in units of the standard deviation of all of them."""
    x = torch.tensor((pixels - pixels.mean()) / pixels.std(), dtype=torch.float32)
    x = x[torch.tensor(np.random.default_rng(seed).permutation(len(x)))]
    n, width = len(x) * 4 // 5, x.shape[1]
    return Task(
        (x[:n],),
        (x[n:],),
        lambda: _mlp(width, N_CODES * DIM),
        lambda: _mlp(N_CODES * DIM, width),
        lambda out, batch: functional.mse_loss(out, batch[0]),
    )


def digits(seed: int, shared: Path) -> Task:
    """1,797 digits of 8 x 8 grey pixels."""
    return _images(load_digits().data, seed)


def photos(seed: int, shared: Path) -> Task:
    """8 x 8 colour patches of scikit-learn's two photographs, which do not overlap."""
    patches = []
    for image in load_sample_images().images:
        rows, columns = image.shape[0] // 8, image.shape[1] // 8
        cut = image[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8, 3)
        patches.append(cut.transpose(0, 2, 1, 3, 4).reshape(-1, 192))
    return _images(np.concatenate(patches).astype(np.float64), seed)


class RowEncoder(nn.Module):
    """Feature tokenizer and transformer; the class token becomes the numbers to quantise."""

    def __init__(self, edges: Sequence[Sequence[float]], cardinalities: list[int], d_token: int = 32) -> None:
        super().__init__()
        self.tokenizer = ColumnTokenizer(edges, cardinalities, d_token)
        self.encoder = ClassTokenEncoder(
            d_token=d_token, n_blocks=1, n_heads=4, dropout=0.0, generator=torch.Generator()
        )
        self.out = _mlp(d_token, N_CODES * DIM)

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """``(B, n_numeric), (B, n_categorical) -> (B, N_CODES * DIM)``."""
        return self.out(self.encoder(self.tokenizer(numeric, categorical))[:, 0])


def catalog(seed: int, shared: Path) -> Task:
    """Rows of the 2025 catalog without the class, or of the synthetic one; launches stay on one side of the split."""
    file = shared / CATALOG
    frame = read_satcat(file if file.exists() else SYNTHETIC).drop("OBJECT_TYPE")
    launch = launch_of(frame)
    train, test = next(GroupShuffleSplit(1, test_size=0.2, random_state=seed).split(frame, groups=launch))
    encoder = TableEncoder().fit(frame[train])
    cardinalities = [len(codes.categories) + 2 for codes in encoder.categorical_]
    n_numeric = len(encoder.numeric_)
    parts = (encoder.transform(frame[rows]) for rows in (train, test))
    batches = [(torch.from_numpy(part.numeric), torch.from_numpy(part.categorical)) for part in parts]

    def error(out: Tensor, batch: Batch) -> Tensor:
        """Mean over columns: squared error of scaled numbers that are there, cross-entropy of categories."""
        numeric, categorical = batch
        there = ~numeric.isnan()
        gap = (out[:, :n_numeric] - numeric.nan_to_num()).square() * there
        terms = list(gap.sum(0) / there.sum(0).clamp_min(1))
        start = n_numeric
        for i, n in enumerate(cardinalities):
            terms.append(functional.cross_entropy(out[:, start : start + n], categorical[:, i]))
            start += n
        return torch.stack(terms).mean()

    return Task(
        batches[0],
        batches[1],
        lambda: RowEncoder(encoder.edges_, cardinalities),
        lambda: _mlp(N_CODES * DIM, n_numeric + sum(cardinalities)),
        error,
    )


TASKS = {"digits": digits, "photos": photos, "catalog": catalog}
