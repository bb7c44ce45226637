"""One catalog from the cache or its provider: when to ask, what to accept, and what a user reads about it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from filelock import FileLock, Timeout

from ddcl_tab.errors import CatalogError, FetchError
from ddcl_tab.space._gp import read_gp
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.space.fetch._cache import Entry, State, Stored, cache_folder, sha256
from ddcl_tab.space.fetch._http import Broken, Limits, NotAsked, Refused, age, download, need
from ddcl_tab.space.fetch._query import Query
from ddcl_tab.space.fetch._spacetrack import ask_spacetrack

# A broken download may be begun again, but a line that always breaks must not become a stream of requests.
_MOST_TRIES = 3
# A provider has the odd row that breaks a rule; more than this share is another file than the catalog.
_MOST_BAD = 0.01


@dataclass(frozen=True)
class Fetched:
    """A catalog in the cache.

    Attributes
    ----------
    path : Path
    stored : Stored
        Rows, rows that break rules, time of retrieval and address.
    provider : str
    next_at : float
        When the provider may be asked again (s since 1970); 0: now.
    problem : str or None
        What the user should know: a redirect, or why the file is not newer.
    """

    path: Path
    stored: Stored
    provider: str
    next_at: float
    problem: str | None = None


def retrieve(query: Query, limits: Limits | None = None) -> Fetched:
    """Catalog from the cache, or from its provider where that may be asked.

    Parameters
    ----------
    query : Query
        From `ddcl_tab.space.fetch._query.make_query`.
    limits : Limits, optional
        Default: those of `Limits`.

    Returns
    -------
    Fetched

    Raises
    ------
    FetchError
        Nothing new came; where the cache has an older one, the message says where. Only where the provider could not
        be reached at all does the older one stand in.
    ConfigurationError
        Space-Track without an account.
    """
    limits = limits or Limits()
    entry = Entry(cache_folder(), query.file)
    # As long as the other process may take; then this one finds the answer in the cache.
    lock = FileLock(entry.lock_path, timeout=limits.total_s + limits.connect_s + limits.read_s)
    try:
        lock.acquire()
    except Timeout:
        raise FetchError(
            f"{entry.lock_path}: another process has been fetching this for {lock.timeout:.0f} s"
        ) from None
    try:
        return _retrieve(query, entry, limits)
    except OSError as error:
        entry.new_path.unlink(missing_ok=True)  # a full disk needs the room
        raise FetchError(f"{entry.path}: the cache cannot be written: {error.strerror or error}") from error
    finally:
        lock.release()


def _retrieve(query: Query, entry: Entry, limits: Limits) -> Fetched:
    state = entry.load()
    entry.recover(state)
    current = entry.current(state)
    next_at = state.asked_again_at()
    if next_at and current and not state.refusal:
        return Fetched(entry.path, current, query.provider, next_at)
    if next_at:
        reason = state.refusal or f"{entry.path} was fetched, but is gone or has been changed"
        raise FetchError(f"{reason}. {_when(query, next_at)}{_cached(entry, current)}")
    _check_tries(query, entry, state, current)
    try:
        url = _ask(query, entry, state, limits)
        return _accept(query, entry, state, url)
    except NotAsked as error:
        state.sent = state.sent[:-1]
        entry.save(state)
        if current is None:
            raise FetchError(f"{error}; nothing is cached. Check the network, and run this again") from error
        old = f"the cached one of {utc(current.retrieved_at)} ({age(time.time() - current.retrieved_at)} old)"
        return Fetched(entry.path, current, query.provider, 0.0, f"{error}; using {old}")
    except Broken as error:
        entry.new_path.unlink(missing_ok=True)
        raise FetchError(f"{error}. Run this again{_cached(entry, current)}") from error
    except Refused as error:
        state.settle(max(query.interval_s, error.retry_after_s), str(error))
        entry.new_path.unlink(missing_ok=True)
        entry.save(state)
        raise FetchError(f"{error}. {_when(query, state.asked_again_at())}{_cached(entry, current)}") from error


def _ask(query: Query, entry: Entry, state: State, limits: Limits) -> str:
    """Put the answer into the entry's new file; the address that gave it."""
    if query.source == "spacetrack":
        ask_spacetrack(query, entry, state, limits)
        return query.url
    need("httpx2")
    entry.note_request(state)
    return download(query, entry.new_path, limits)


def _check_tries(query: Query, entry: Entry, state: State, current: Stored | None) -> None:
    state.sent = state.sent_within(query.interval_s)
    if len(state.sent) >= _MOST_TRIES:
        again = min(state.sent) + query.interval_s
        raise FetchError(
            f"{len(state.sent)} requests brought no whole answer. {_when(query, again)}{_cached(entry, current)}"
        )


def _accept(query: Query, entry: Entry, state: State, url: str) -> Fetched:
    """Make the new file the cached one, if it is the catalog."""
    retrieved_at = time.time()
    rows, bad_rows = _count_rows(query, entry)
    stored = Stored(sha256(entry.new_path), rows, bad_rows, retrieved_at, url)
    entry.store(state, stored, query.interval_s)
    # CelesTrak asks that a person learns of every redirect.
    moved = f"{query.provider} redirected to {url}; a newer version of ddcl-tab may know the new address"
    return Fetched(entry.path, stored, query.provider, state.asked_again_at(), moved if url != query.url else None)


def _count_rows(query: Query, entry: Entry) -> tuple[int, int]:
    """Good and bad rows; an error where the file is something else, such as a page in HTML with code 200."""
    try:
        good, bad = (read_gp if query.kind == "gp" else read_satcat)(entry.new_path, on_error="collect")
    except CatalogError as error:
        shown = CatalogError(error.rule, file=query.url, line=error.line, column=error.column, value=error.value)
        raise Refused(f"the answer of {query.provider} is not the catalog: {shown}") from error
    bad_rows = bad["line"].n_unique()
    if bad_rows > _MOST_BAD * (good.height + bad_rows):
        raise Refused(
            f"the answer of {query.provider} is not the catalog: {bad_rows} of {good.height + bad_rows} rows break "
            f"rules, the first in {_first(bad)}"
        )
    return good.height, bad_rows


def _first(bad: pl.DataFrame) -> str:
    row = bad.row(0, named=True)
    return f"line {row['line']}, column {row['column']}: value {row['value']!r} breaks the rule: {row['rule']}"


def _when(query: Query, next_at: float) -> str:
    return f"{query.provider} is not asked for this again before {utc(next_at)}"


def _cached(entry: Entry, current: Stored | None) -> str:
    if current is None:
        return ""
    old = age(time.time() - current.retrieved_at)
    return f". Cached: {entry.path}, retrieved {utc(current.retrieved_at)} ({old} ago)"


def utc(seconds: float) -> str:
    """Text of a time for messages.

    Parameters
    ----------
    seconds : float
        Since 1970, UTC.

    Returns
    -------
    str

    Examples
    --------
    >>> utc(0)
    '1970-01-01 00:00:00 UTC'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def summary(fetched: Fetched) -> str:
    """Path, rows, time of retrieval, age and source, a line each.

    Parameters
    ----------
    fetched : Fetched

    Returns
    -------
    str

    Examples
    --------
    >>> from pathlib import Path
    >>> from ddcl_tab.space.fetch._cache import Stored
    >>> stored = Stored(sha256="", rows=7, bad_rows=0, retrieved_at=0.0, url="https://a.example/gp.json")
    >>> print(summary(Fetched(Path("gp.json"), stored, "CelesTrak", next_at=7200.0)))
    path       gp.json
    rows       7
    retrieved  1970-01-01 00:00:00 UTC, ... d ago
    source     CelesTrak, https://a.example/gp.json; asked again from 1970-01-01 02:00:00 UTC on
    """
    stored = fetched.stored
    again = f"; asked again from {utc(fetched.next_at)} on" if fetched.next_at else ""
    return "\n".join(
        (
            f"path       {fetched.path}",
            f"rows       {stored.rows}",
            f"retrieved  {utc(stored.retrieved_at)}, {age(time.time() - stored.retrieved_at)} ago",
            f"source     {fetched.provider}, {stored.url}{again}",
        )
    )


def problems(fetched: Fetched) -> list[str]:
    """What is not as it should be: one line each.

    Parameters
    ----------
    fetched : Fetched

    Returns
    -------
    list of str

    Examples
    --------
    >>> from pathlib import Path
    >>> from ddcl_tab.space.fetch._cache import Stored
    >>> stored = Stored(sha256="", rows=7, bad_rows=2, retrieved_at=0.0, url="https://a.example/gp.json")
    >>> problems(Fetched(Path("gp.json"), stored, "CelesTrak", next_at=0.0))
    ["rows that break rules, not counted: 2. Read the file with on_error='collect' to see them"]
    """
    lines = [fetched.problem] if fetched.problem else []
    if fetched.stored.bad_rows:
        count = fetched.stored.bad_rows
        lines.append(f"rows that break rules, not counted: {count}. Read the file with on_error='collect' to see them")
    return lines
