"""Ask Space-Track through the library `spacetrack`, within its limits on requests; the account leaves no trace."""

from __future__ import annotations

import contextlib
import json
import logging
import netrc
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock

from ddcl_tab._files import write_whole
from ddcl_tab.errors import ConfigurationError, FetchError
from ddcl_tab.space.fetch._cache import Entry, State
from ddcl_tab.space.fetch._http import (
    Broken,
    Limits,
    NotAsked,
    Refused,
    check_measured,
    make_client,
    need,
    outcome_of,
    refusal,
    write_chunks,
)
from ddcl_tab.space.fetch._query import SPACETRACK_PREDICATES, Query

IDENTITY_ENV, PASSWORD_ENV = "SPACETRACK_IDENTITY", "SPACETRACK_PASSWORD"


@dataclass(frozen=True)
class Account:
    """User and password; neither shows in its text."""

    identity: str = field(repr=False)
    password: str = field(repr=False)


def find_account(host: str) -> Account:
    """Account for a host: both variables of the environment, else the host's line in ``~/.netrc``.

    There is no option for it: arguments of a process can be read by every user of a machine.

    Parameters
    ----------
    host : str

    Returns
    -------
    Account

    Raises
    ------
    ConfigurationError
        None is there, one of the variables is missing, or netrc cannot be read; the message holds none of its words.
    """
    identity, password = os.environ.get(IDENTITY_ENV), os.environ.get(PASSWORD_ENV)
    if identity and password:
        return Account(identity, password)
    if identity or password:
        missing = PASSWORD_ENV if identity else IDENTITY_ENV
        raise ConfigurationError(f"{missing} is not set, but the other half of the account is. Set both or neither")
    found = _from_netrc(host)
    if found is None:
        raise ConfigurationError(
            f"Space-Track needs an account (free, from www.space-track.org): set {IDENTITY_ENV} and {PASSWORD_ENV}, "
            f"or write 'machine {host} login NAME password SECRET' into ~/.netrc"
        )
    return found


def _from_netrc(host: str) -> Account | None:
    path = Path.home() / ".netrc"
    line: int | None = None
    try:
        found = netrc.netrc().authenticators(host) if path.is_file() else None
    except netrc.NetrcParseError as error:
        line = error.lineno or 0  # its message may quote the password
    except (OSError, ValueError):
        line = 0
    if line is not None:
        place = f", line {line}" if line else ""
        raise ConfigurationError(
            f"{path}{place}: netrc cannot be read. Correct it, and let nobody else read it (chmod 600)"
        )
    return Account(found[0], found[2]) if found and found[0] and found[2] else None


# From Space-Track's documentation: fewer than 30 requests a minute and 300 an hour.
_MOST = ((60, 29), (3600, 299))
_FILE = "spacetrack-requests.json"


def count_request(folder: Path) -> None:
    """Note that a request is about to be sent, or stop it.

    Parameters
    ----------
    folder : Path
        Of the cache.

    Raises
    ------
    NotAsked
        It would be one too many; the message says when it is not.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for _ in range(29):
    ...         count_request(Path(folder))
    ...     count_request(Path(folder))
    Traceback (most recent call last):
    ddcl_tab.space.fetch._http.NotAsked: Space-Track allows fewer than 30 requests in 60 s...
    """
    path = folder / _FILE
    with FileLock(path.with_suffix(".lock"), timeout=60):
        now = time.time()
        sent = [when for when in _read(path) if abs(now - when) < _MOST[-1][0]]
        for span, most in _MOST:
            recent = sorted(when for when in sent if abs(now - when) < span)
            if len(recent) >= most:
                wait = recent[-most] + span - now
                raise NotAsked(
                    f"Space-Track allows fewer than {most + 1} requests in {span} s, and that many were sent. "
                    f"Ask again in {max(1, wait):.0f} s"
                )
        write_whole(path, json.dumps([*sent, now]))


def _read(path: Path) -> list[float]:
    try:
        return [float(when) for when in json.loads(path.read_bytes())]
    except (FileNotFoundError, ValueError, TypeError):
        return []


def ask_spacetrack(query: Query, entry: Entry, state: State, limits: Limits) -> None:
    """Put Space-Track's answer into the entry's new file.

    Four requests: login, names of the columns (cached for a day by `spacetrack`), the catalog, logout. Nothing is sent
    after an answer other than 200, redirects included.

    Parameters
    ----------
    query : Query
    entry : Entry
    state : State
        Notes the request.
    limits : Limits

    Raises
    ------
    ConfigurationError
        No account.
    FetchError
        `NotAsked`, `Broken` or `Refused`.
    """
    need("spacetrack")
    find_account(_host(query))  # a missing account is an error before anything is noted
    entry.note_request(state)
    problem = _session(query, entry, limits)
    if problem is not None:
        # Raised here, where no frame of the traceback and no earlier error holds the account.
        raise problem


def _session(query: Query, entry: Entry, limits: Limits) -> FetchError | None:
    try:
        with _unlogged_cookies():
            _ask(query, entry, limits, find_account(_host(query)))
    except Exception as error:  # of any kind: its frames hold the password
        return _without_secrets(error, query.provider)
    return None


@contextlib.contextmanager
def _unlogged_cookies() -> Iterator[None]:
    """Keep the session's cookie out of the log: httpcore2 writes all headers of an answer at level DEBUG."""

    def harmless(record: logging.LogRecord) -> bool:
        return "receive_response_headers.complete" not in record.getMessage()

    loggers = [logging.getLogger(name) for name in ("httpcore2.http11", "httpcore2.proxy")]
    for logger in loggers:
        logger.addFilter(harmless)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(harmless)


def _without_secrets(error: Exception, provider: str) -> FetchError:
    """A new error that refers to nothing in the old one."""
    from spacetrack import AuthenticationError

    httpx2 = need("httpx2")
    if isinstance(error, Refused):
        return Refused(str(error), error.retry_after_s)
    if isinstance(error, FetchError):
        return type(error)(str(error))
    if isinstance(error, AuthenticationError):
        return Broken(f"{provider} does not accept the account; log in with a browser to see why, and correct it")
    if isinstance(error, httpx2.HTTPError | httpx2.StreamError):
        return outcome_of(error, provider)
    if isinstance(error, OSError):
        return FetchError(f"the answer of {provider} cannot be written: {error.strerror}")
    # Its text is kept back: it could quote what was sent.
    return Broken(f"the answer of {provider} is not understood ({type(error).__name__})")


def _ask(query: Query, entry: Entry, limits: Limits, account: Account) -> None:
    from spacetrack import SpaceTrackClient

    httpx2 = need("httpx2")
    gate = _Gate(query, entry)
    client = make_client(limits, event_hooks={"request": [gate.before], "response": [gate.after]})
    session = SpaceTrackClient(
        account.identity,
        account.password,
        base_url=query.base,
        httpx_client=client,
        cache_path=entry.folder / "spacetrack",
    )
    try:
        chunks = session.generic_request(
            query.kind,
            controller="basicspacedata",
            iter_content=True,
            format="json",
            **SPACETRACK_PREDICATES[query.kind],
        )
        with entry.new_path.open("wb") as file:
            write_chunks((chunk.encode() for chunk in chunks), file, query.provider, limits)
    finally:
        # Logs out; a session that cannot be ended ends by itself after two hours.
        with contextlib.suppress(httpx2.HTTPError, FetchError):
            session.close()


class _Gate:
    """Stands before and after every request that the library sends, also those that the caller does not see."""

    def __init__(self, query: Query, entry: Entry) -> None:
        self.query, self.entry, self.shut = query, entry, False

    def before(self, request: Any) -> None:
        if self.shut:  # neither another login nor a logout after a refusal
            raise NotAsked("nothing is sent after a refusal")
        here, there = urlsplit(self.query.base), request.url
        if (there.scheme, there.host, there.port) != (here.scheme, here.hostname, here.port):
            self.shut = True
            raise Refused(f"{self.query.provider}: a request for another host was stopped")
        count_request(self.entry.folder)

    def after(self, response: Any) -> None:
        if response.status_code != 200:
            self.shut = True
            # Without its text: an answer to a login may quote it.
            raise refusal(response, self.query.provider)
        try:
            check_measured(response, self.query.provider)
        except Refused:
            self.shut = True
            raise


def _host(query: Query) -> str:
    return urlsplit(query.base).hostname or ""
