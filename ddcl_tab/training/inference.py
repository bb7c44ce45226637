"""Run a trained network over rows."""

from __future__ import annotations

from typing import NamedTuple

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
    n = len(numeric)
    if not n:
        raise InputError("the table has no rows: there is nothing to predict.")
    n_padded = -(-n // CHUNK) * CHUNK
    logits, memberships = [], []
    for start in range(0, n_padded, CHUNK):
        rows = slice(start, min(start + CHUNK, n))
        fill = CHUNK - (rows.stop - rows.start)
        output = network(
            torch.from_numpy(np.pad(numeric[rows], ((0, fill), (0, 0)))).to(device),
            torch.from_numpy(np.pad(categorical[rows], ((0, fill), (0, 0)))).to(device),
        )
        logits.append(output.logits)
        memberships.append(output.reading.assignment.q)
    probability = torch.cat(logits)[:n].double().softmax(dim=1)
    q = torch.cat(memberships)[:n].double()
    return Prediction(probability.cpu().numpy(), (q / q.sum(dim=1, keepdim=True)).cpu().numpy())
