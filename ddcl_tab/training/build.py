"""Make a network from a seed, without touching anybody else's randomness."""

from __future__ import annotations

import threading
from typing import Any

import torch

from ddcl_tab.nn.network import TableNetwork
from ddcl_tab.nn.readouts import DDCLReadout

#: Modules draw their initial weights from torch's global generator, which is seeded and put back under this lock.
_BUILDING = threading.Lock()


def build_network(seed: int, device: torch.device, *, n_prototypes: int, d_token: int, **sizes: Any) -> TableNetwork:
    """Untrained network with a DDCL readout; the same seed gives the same weights and dropout masks.

    Parameters
    ----------
    seed : int
    device : torch.device
    n_prototypes, d_token : int
    **sizes
        The other parameters of :class:`TableNetwork`, without the generator.

    Returns
    -------
    TableNetwork
    """
    with _BUILDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TableNetwork(
            DDCLReadout(n_prototypes, d_token),
            d_token=d_token,
            generator=torch.Generator(device).manual_seed(seed),
            **sizes,
        )
    return network.to(device)
