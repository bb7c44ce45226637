"""Rows for training: merge equal ones, set a validation part aside, slice batches; run a trained network over rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ddcl_tab.errors import InputError
from ddcl_tab.nn._network import TableNetwork

#: A validation part smaller than this many rows measures nothing; training then runs without one.
MIN_VALIDATION_ROWS = 20

#: Codes that every categorical column reserves: missing, and rare or unseen.
MISSING, UNSEEN, N_RESERVED = 0, 1, 2


class Rows(NamedTuple):
    """Encoded rows with what training needs of them; arrays of equal length ``n``.

    Attributes
    ----------
    numeric : ndarray (n, n_numeric) float32; categorical : ndarray (n, n_categorical) int64
        Scaled numbers and codes of categories, as `ddcl_tab.estimators` makes them.
    label : ndarray (n,) int64
        Class index.
    weight : ndarray (n,) float64
        Weight in the loss.
    group : ndarray (n,) int64
        Rows of one group stay on one side of the validation split.
    """

    numeric: NDArray[np.float32]
    categorical: NDArray[np.int64]
    label: NDArray[np.int64]
    weight: NDArray[np.float64]
    group: NDArray[np.int64]

    def take(self, index: NDArray[np.intp]) -> Rows:
        """Rows of ``index``."""
        return Rows(
            self.numeric[index], self.categorical[index], self.label[index], self.weight[index], self.group[index]
        )


def both(rows: Rows, more: Rows) -> Rows:
    """Rows and more rows after them."""
    parts: list[NDArray[Any]] = [np.concatenate([a, b]) for a, b in zip(tuple(rows), tuple(more), strict=True)]
    return Rows(*parts)


class Late(NamedTuple):
    """Columns that new rows lack, because they are filled some time after a row is made.

    Attributes
    ----------
    columns : ndarray of bool, shape (S, T)
        Sets of columns, numbers first, that are missing together; one of them in each row that lacks any.
    share : float
        Share of the rows that lack one of the sets, in (0, 1].
    """

    columns: NDArray[np.bool_]
    share: float

    def hide(self, rows: Rows, draw: NDArray[np.floating]) -> Rows:
        """Rows of which ``share`` lack a set of columns.

        Parameters
        ----------
        rows : Rows
        draw : ndarray, shape (n,)
            Uniform in [0, 1): a row below ``share`` lacks a set, and where it falls below it says which.

        Examples
        --------
        >>> numeric, label = np.ones((3, 2), np.float32), np.zeros(3, np.int64)
        >>> rows = Rows(numeric, np.full((3, 1), 5), label, np.ones(3), np.arange(3))
        >>> late = Late(np.array([[False, False, True], [True, False, True]]), share=0.5)
        >>> hidden = late.hide(rows, np.array([0.1, 0.3, 0.6]))
        >>> hidden.numeric[:, 0], hidden.categorical[:, 0]
        (array([ 1., nan,  1.], dtype=float32), array([0, 0, 5]))
        """
        which = np.minimum(draw / self.share * len(self.columns), len(self.columns) - 1).astype(np.intp)
        gone = self.columns[which] & (draw < self.share)[:, None]
        n_numeric = rows.numeric.shape[1]
        return rows._replace(
            numeric=np.where(gone[:, :n_numeric], np.float32(np.nan), rows.numeric),
            categorical=np.where(gone[:, n_numeric:], MISSING, rows.categorical),
        )


def merge_equal(rows: Rows, *, grouped: bool) -> Rows:
    """Merge rows that are equal in columns, class and group into one that carries their weight, and sort them.

    Training then depends on the weighted set of rows alone: neither on their order nor on whether a row stands twice
    or weighs two. Rows without weight go.

    Parameters
    ----------
    rows : Rows
    grouped : bool
        Whether ``rows.group`` means anything; if not, every merged row becomes a group of its own.

    Returns
    -------
    Rows

    Examples
    --------
    >>> two = np.zeros(2)
    >>> rows = Rows(np.ones((2, 1), np.float32), np.zeros((2, 0), np.int64), np.zeros(2, np.int64),
    ...             np.array([1.0, 2.0]), np.zeros(2, np.int64))
    >>> merge_equal(rows, grouped=False).weight
    array([3.])
    """
    # By weight first: a sum of floats depends on the order of its terms.
    order = np.argsort(rows.weight, kind="stable")
    rows = rows.take(order[rows.weight[order] > 0])
    group = rows.group if grouped else np.zeros_like(rows.group)
    # One NaN for all: a missing value has as many bit patterns as there are ways to compute it.
    numeric = np.where(np.isnan(rows.numeric), np.float32(np.nan), rows.numeric)
    key = np.concatenate(
        [numeric.view(np.int32).astype(np.int64), rows.categorical, rows.label[:, None], group[:, None]], axis=1
    )
    _, first, inverse = np.unique(key, axis=0, return_index=True, return_inverse=True)
    merged = rows.take(first)
    weight = np.bincount(inverse, weights=rows.weight, minlength=len(first)).astype(np.float64)
    group = merged.group if grouped else np.arange(len(first), dtype=np.int64)
    return merged._replace(weight=weight, group=group)


def split_validation(rows: Rows, fraction: float, rng: np.random.Generator) -> tuple[Rows, Rows | None]:
    """Set aside whole groups for validation, about ``fraction`` of each class.

    Groups are taken in random order unless they would put more than ``fraction`` of a class into validation, so one
    large group (a fragment cloud with a fifth of all debris) never becomes the validation set by itself.

    Parameters
    ----------
    rows : Rows
    fraction : float
        Share of each class, in [0, 1).
    rng : numpy Generator

    Returns
    -------
    train, validation : Rows, Rows or None
        None where the validation part would have under ``MIN_VALIDATION_ROWS`` rows.
    """
    group, index = np.unique(rows.group, return_inverse=True)
    n_classes = int(rows.label.max()) + 1
    size = np.zeros((len(group), n_classes))
    np.add.at(size, (index, rows.label), 1.0)
    quota = fraction * size.sum(axis=0)
    taken, used = np.zeros(len(group), dtype=bool), np.zeros(n_classes)
    for g in rng.permutation(len(group)):
        if np.all(used + size[g] <= quota):
            taken[g] = True
            used += size[g]
    validation = np.flatnonzero(taken[index])
    if len(validation) < MIN_VALIDATION_ROWS:
        return rows, None
    return rows.take(np.flatnonzero(~taken[index])), rows.take(validation)


class Batch(NamedTuple):
    """Rows for one step of training, as tensors on one device.

    Attributes
    ----------
    inputs : dict of Tensor
        ``numeric (B, n_numeric)`` and ``categorical (B, n_categorical)``: the arguments of :class:`TableNetwork`.
    target : Tensor, shape (B, C)
        Probability of each class to learn; rows sum to 1.
    weight : Tensor, shape (B,)
        Has mean 1 over all rows of the data set.
    """

    inputs: dict[str, Tensor]
    target: Tensor
    weight: Tensor

    def first(self, n: int) -> Batch:
        """The first ``n`` rows, or all where there are fewer."""
        return Batch({name: part[:n] for name, part in self.inputs.items()}, self.target[:n], self.weight[:n])


class RowsDataset(Dataset):
    """Rows as tensors on one device.

    Parameters
    ----------
    rows : Rows
    target : ndarray, shape (n, C), float32
        Probability of each class to learn; rows sum to 1.
    device : torch.device
    """

    def __init__(self, rows: Rows, target: NDArray[np.float32], device: torch.device) -> None:
        self.numeric = torch.from_numpy(rows.numeric).to(device)
        self.categorical = torch.from_numpy(rows.categorical).to(device)
        self.target = torch.from_numpy(target).to(device)
        self.weight = torch.from_numpy((rows.weight / rows.weight.mean()).astype(np.float32)).to(device)
        self.label, self.group = rows.label, rows.group

    def epoch(self, generator: torch.Generator) -> RowsDataset:
        """Rows of another epoch: the same ones."""
        return self

    def __len__(self) -> int:
        return len(self.label)

    def batch(self, index: Tensor | slice) -> Batch:
        """Rows of ``index``."""
        inputs = {"numeric": self.numeric[index], "categorical": self.categorical[index]}
        return Batch(inputs, self.target[index], self.weight[index])


class Batches:
    """Batches sliced from whole tensors; a row-by-row loader would spend more time collating than training.

    Parameters
    ----------
    dataset : RowsDataset
    batch_size : int
    generator : torch.Generator, optional
        Shuffles anew at every pass, which is another epoch of the dataset; without one, all rows as they are.
    """

    def __init__(self, dataset: RowsDataset, batch_size: int, generator: torch.Generator | None = None) -> None:
        self.dataset, self.batch_size, self.generator = dataset, batch_size, generator

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        dataset, n = self.dataset, len(self.dataset)
        order = None
        if self.generator is not None:
            dataset = dataset.epoch(self.generator)
            order = torch.randperm(n, generator=self.generator).to(dataset.target.device)
        for start in range(0, n, self.batch_size):
            part = slice(start, min(start + self.batch_size, n))
            yield dataset.batch(part if order is None else order[part])


#: Rows in one pass, filled up with empty rows at the end: matrix products of one fixed shape make a row's result
#: independent, to the bit, of which rows stand beside it.
CHUNK = 256


class Prediction(NamedTuple):
    """What a network says about rows.

    Attributes
    ----------
    probability : ndarray, shape (n, C), float64
    q : ndarray, shape (n, K), float64
        Prototype memberships, the mean over the columns; rows sum to 1.
    """

    probability: NDArray[np.float64]
    q: NDArray[np.float64]


class Decision(NamedTuple):
    """What a network says about rows, and what each column has to do with it.

    Attributes
    ----------
    prediction : Prediction
    contribution : ndarray, shape (n, T, C), float64
        ``(1/T) h(zhat_t)`` without the bias of the head ``h``: the logits of a row are the sum over its columns, plus
        the bias.
    prototype : ndarray, shape (n, T), int64
        Strongest prototype of each column's token.
    """

    prediction: Prediction
    contribution: NDArray[np.float64]
    prototype: NDArray[np.int64]

    def take(self, rows: NDArray[np.intp]) -> Decision:
        """Some rows, in that order."""
        prediction = Prediction(*(part[rows] for part in self.prediction))
        return Decision(prediction, self.contribution[rows], self.prototype[rows])


def predict_rows(
    network: TableNetwork, numeric: NDArray[np.float32], categorical: NDArray[np.int64], device: torch.device
) -> Prediction:
    """Class probabilities and memberships of encoded rows.

    Parameters
    ----------
    network : TableNetwork
        In evaluation mode.
    numeric : ndarray, shape (n, n_numeric); categorical : ndarray, shape (n, n_categorical)
    device : torch.device

    Returns
    -------
    Prediction

    Raises
    ------
    InputError
        There are no rows.
    """
    logits, q = _over_chunks(
        lambda output: (output.logits, output.reading.assignment.q.mean(dim=1)), network, numeric, categorical, device
    )
    return _prediction(logits, q)


def decide_rows(
    network: TableNetwork, numeric: NDArray[np.float32], categorical: NDArray[np.int64], device: torch.device
) -> Decision:
    """As :func:`predict_rows`, with the contribution and the strongest prototype of each column."""

    def parts(output: Any) -> tuple[Tensor, ...]:
        q = output.reading.assignment.q
        return output.logits, q.mean(dim=1), output.contributions.double(), q.argmax(dim=2)

    logits, q, contribution, prototype = _over_chunks(parts, network, numeric, categorical, device)
    return Decision(_prediction(logits, q), contribution.cpu().numpy(), prototype.cpu().numpy())


def token_distances(
    network: TableNetwork, numeric: NDArray[np.float32], categorical: NDArray[np.int64], device: torch.device
) -> NDArray[np.float64]:
    """Squared distances of the rows' tokens to the prototypes, mean over the columns, shape (n, K).

    Parameters as of :func:`predict_rows`.
    """
    (distances,) = _over_chunks(
        lambda output: (output.reading.assignment.distances.mean(dim=1),), network, numeric, categorical, device
    )
    return distances.double().cpu().numpy()


def _prediction(logits: Tensor, q: Tensor) -> Prediction:
    q = q.double()
    return Prediction(logits.double().softmax(dim=1).cpu().numpy(), (q / q.sum(dim=1, keepdim=True)).cpu().numpy())


@torch.no_grad()
def _over_chunks(
    parts: Callable[[Any], tuple[Tensor, ...]],
    network: TableNetwork,
    numeric: NDArray[np.float32],
    categorical: NDArray[np.int64],
    device: torch.device,
) -> list[Tensor]:
    """Some tensors of the outputs for ``CHUNK`` rows after another; the last chunk is filled up with empty rows."""
    n = len(numeric)
    if not n:
        raise InputError("the table has no rows: there is nothing to predict.")
    found = []
    for start in range(0, n, CHUNK):
        rows = slice(start, min(start + CHUNK, n))
        fill = CHUNK - (rows.stop - rows.start)
        output = network(
            torch.from_numpy(np.pad(numeric[rows], ((0, fill), (0, 0)))).to(device),
            torch.from_numpy(np.pad(categorical[rows], ((0, fill), (0, 0)))).to(device),
        )
        found.append([part[: rows.stop - rows.start] for part in parts(output)])
    return [torch.cat(some) for some in zip(*found, strict=True)]
