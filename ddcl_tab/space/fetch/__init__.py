"""Fetch catalogs from CelesTrak and Space-Track into a cache, within what both allow."""

from __future__ import annotations

import warnings
from pathlib import Path

from ddcl_tab.errors import FetchWarning
from ddcl_tab.space.fetch._query import Source, make_query
from ddcl_tab.space.fetch._retrieve import Fetched, problems, retrieve

__all__ = ["fetch_gp", "fetch_satcat"]


def fetch_gp(group: str | None = None, *, source: Source = "celestrak") -> Path:
    """File of current element sets, for `ddcl_tab.space.read_gp`.

    CelesTrak is asked once in two hours for each group, Space-Track once an hour; in between the cached file is given.
    A refusal counts as an answer. Where the provider cannot be reached, an older file stands in, with a warning.

    Parameters
    ----------
    group : str, optional
        Of CelesTrak's groups; default ``"active"``. Space-Track has none: it gives every object in orbit that was
        observed within 30 days.
    source : {"celestrak", "spacetrack"}
        Default CelesTrak, which needs no account. Space-Track's is read from ``SPACETRACK_IDENTITY`` and
        ``SPACETRACK_PASSWORD`` in the environment, or from ``~/.netrc``.

    Returns
    -------
    Path
        In the folder ``DDCL_TAB_CACHE``, by default where the system keeps caches. The file may be replaced by the
        next call.

    Raises
    ------
    FetchError
        Nothing came, or not the catalog; the message says when to ask again and what is cached.
    ConfigurationError
        An unknown source, a group that cannot be one, or no account.

    Examples
    --------
    >>> fetch_gp("no such group!")
    Traceback (most recent call last):
    ddcl_tab.errors.ConfigurationError: group='no such group!': a group of CelesTrak is up to 64 letters...
    """
    return _path(retrieve(make_query("gp", source, group)))


def fetch_satcat(*, source: Source = "celestrak") -> Path:
    """File of the current satellite catalog, for `ddcl_tab.space.read_satcat`.

    CelesTrak is asked once in two hours, Space-Track once a day; otherwise as `fetch_gp`.

    Parameters
    ----------
    source : {"celestrak", "spacetrack"}
        Default CelesTrak.

    Returns
    -------
    Path
        As of `fetch_gp`.

    Raises
    ------
    FetchError, ConfigurationError
        As of `fetch_gp`.

    Examples
    --------
    >>> fetch_satcat(source="attic")
    Traceback (most recent call last):
    ddcl_tab.errors.ConfigurationError: a catalog is 'satcat' or 'gp' of 'celestrak' or 'spacetrack', not 'satcat' of...
    """
    return _path(retrieve(make_query("satcat", source)))


def _path(fetched: Fetched) -> Path:
    for problem in problems(fetched):
        warnings.warn(problem, FetchWarning, stacklevel=3)
    return fetched.path
