"""Libraries that only fetching needs."""

from __future__ import annotations

import importlib
from typing import Any

from ddcl_tab.errors import FetchError

_EXTRAS = {"httpx2": "fetch", "platformdirs": "fetch", "spacetrack": "spacetrack"}


def need(module: str) -> Any:
    """Module of an extra.

    Parameters
    ----------
    module : {"httpx2", "platformdirs", "spacetrack"}

    Returns
    -------
    module

    Raises
    ------
    FetchError
        It is not installed; the message says how to.

    Examples
    --------
    >>> need("platformdirs").__name__
    'platformdirs'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        extra = _EXTRAS[module]
        raise FetchError(
            f"fetching needs the package {error.name}. Install it: pip install 'ddcl-tab[{extra}]'"
        ) from error
