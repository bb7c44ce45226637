"""Run a trained network over rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ddcl_tab.errors import InputError
from ddcl_tab.nn.network import TableNetwork

#: Rows in one pass, filled up with empty rows at the end: matrix products of one fixed shape make a row's result
#: independent, to the bit, of which rows stand beside it.
CHUNK = 256


class Prediction(NamedTuple):
    """What a network says about rows.

    Attributes
    ----------
    probability : ndarray, shape (n, C), float64
    q : ndarray, shape (n, K), float64
        Prototype memberships; rows sum to 1.
    """

    probability: NDArray[np.float64]
    q: NDArray[np.float64]


@torch.no_grad()
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
    logits, memberships = [], []
    for output in _chunks(network, numeric, categorical, device):
        logits.append(output.logits)
        memberships.append(output.reading.assignment.q)
    probability = torch.cat(logits)[: len(numeric)].double().softmax(dim=1)
    q = torch.cat(memberships)[: len(numeric)].double()
    return Prediction(probability.cpu().numpy(), (q / q.sum(dim=1, keepdim=True)).cpu().numpy())


@torch.no_grad()
def token_distances(
    network: TableNetwork, numeric: NDArray[np.float32], categorical: NDArray[np.int64], device: torch.device
) -> NDArray[np.float64]:
    """Squared distances, shape (n, K), of the rows' tokens to the prototypes; parameters as of :func:`predict_rows`."""
    chunks = _chunks(network, numeric, categorical, device)
    return torch.cat([c.reading.assignment.distances for c in chunks])[: len(numeric)].double().cpu().numpy()


def _chunks(
    network: TableNetwork, numeric: NDArray[np.float32], categorical: NDArray[np.int64], device: torch.device
) -> Iterator[Any]:
    """Outputs for ``CHUNK`` rows after another; the last chunk is filled up with empty rows."""
    n = len(numeric)
    if not n:
        raise InputError("the table has no rows: there is nothing to predict.")
    for start in range(0, n, CHUNK):
        rows = slice(start, min(start + CHUNK, n))
        fill = CHUNK - (rows.stop - rows.start)
        yield network(
            torch.from_numpy(np.pad(numeric[rows], ((0, fill), (0, 0)))).to(device),
            torch.from_numpy(np.pad(categorical[rows], ((0, fill), (0, 0)))).to(device),
        )
