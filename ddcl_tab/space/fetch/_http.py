"""HTTP as both providers need it: who asks, how long to wait, what each failure means and how asking can end."""

from __future__ import annotations

import importlib
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from importlib.metadata import version
from typing import Any, NamedTuple

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


class Limits(NamedTuple):
    """Bounds of one download.

    Attributes
    ----------
    connect_s : float
        Seconds to connect.
    read_s : float
        Seconds without a byte.
    total_s : float
        Seconds for the whole answer, against servers that drip.
    size_bytes : int
        Size of the answer, packed and unpacked; the whole of Space-Track's GP is about 40 MB.
    """

    connect_s: float = 10.0
    read_s: float = 60.0
    total_s: float = 900.0
    size_bytes: int = 1 << 28


class NotAsked(FetchError):
    """No request reached the server, so none counts against its limits."""


class Broken(FetchError):
    """A request was sent, but no whole answer came; it may be sent again, a few times."""


class Refused(FetchError):
    """The server gave a whole answer, and it is not the catalog; asking again would be hammering.

    Parameters
    ----------
    message : str
    retry_after_s : float
        What the server asked to wait; default 0.
    """

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message, retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return str(self.args[0])


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


def age(seconds: float) -> str:
    """Text of a span of time.

    Parameters
    ----------
    seconds : float

    Returns
    -------
    str
        In minutes below two hours, hours below two days, else days.

    Examples
    --------
    >>> age(59), age(7260), age(864000)
    ('0 min', '2 h', '10 d')
    """
    for unit, size, most in (("min", 60, 7200), ("h", 3600, 172800)):
        if seconds < most:
            return f"{max(0, seconds) // size:.0f} {unit}"
    return f"{seconds // 86400:.0f} d"


_SHOWN = 200
# No refusal holds for longer, whatever the server says.
_LONGEST_WAIT_S = 86400.0


def make_client(limits: Limits, **settings: Any) -> Any:
    """HTTP client that names this package, waits within limits and follows no redirect by itself.

    Parameters
    ----------
    limits : Limits
    **settings
        Others of ``httpx2.Client``.

    Returns
    -------
    httpx2.Client

    Examples
    --------
    >>> with make_client(Limits(read_s=5.0)) as client:
    ...     client.timeout, client.headers["User-Agent"].split("/")[0]
    (Timeout(connect=10.0, read=5.0, write=5.0, pool=5.0), 'ddcl-tab')
    """
    httpx2 = need("httpx2")
    return httpx2.Client(
        headers={"User-Agent": f"ddcl-tab/{version('ddcl-tab')}", "Accept-Encoding": "gzip"},
        timeout=httpx2.Timeout(limits.read_s, connect=limits.connect_s),
        follow_redirects=False,
        verify=_certificates(),
        **settings,
    )


@cache
def _certificates() -> Any:
    # Reading all certificates takes 40 ms: once is enough.
    return need("httpx2").create_ssl_context()


def outcome_of(error: Exception, provider: str) -> FetchError:
    """What a failure of the HTTP library means; its own text is kept, none of the objects it refers to.

    Parameters
    ----------
    error : Exception
    provider : str

    Returns
    -------
    FetchError
        `NotAsked` where there was no connection, else `Broken`.

    Examples
    --------
    >>> import httpx2
    >>> outcome_of(httpx2.ConnectError("no route"), "CelesTrak")
    NotAsked('CelesTrak cannot be reached (ConnectError: no route)')
    """
    httpx2 = need("httpx2")
    said = f"{type(error).__name__}: {printable(str(error)) or 'nothing more is known'}"
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError | httpx2.PoolTimeout):
        return NotAsked(f"{provider} cannot be reached ({said})")
    return Broken(f"the answer of {provider} broke off ({said})")


def refusal(response: Any, provider: str, text: str = "") -> Refused:
    """Error of an answer that is not 200.

    Parameters
    ----------
    response : httpx2.Response
    provider : str
    text : str
        Beginning of the answer, shown in one line; default nothing.

    Returns
    -------
    Refused

    Examples
    --------
    >>> import httpx2
    >>> str(refusal(httpx2.Response(403), "CelesTrak", "<b>No.</b>"))
    'CelesTrak answered HTTP 403 Forbidden: No.'
    """
    seconds = _retry_after_s(response.headers.get("Retry-After", ""))
    phrase = f"HTTP {response.status_code} {response.reason_phrase}".strip()
    asks = f"; it asks to wait {age(seconds)} (Retry-After)" if seconds else ""
    shown = printable(re.sub(r"<[^>]*>", " ", text))
    return Refused(f"{provider} answered {printable(phrase)}{asks}" + (f": {shown}" if shown else ""), seconds)


def printable(text: str) -> str:
    r"""One line of at most 200 characters that a terminal shows as they are.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> printable("a\n \x1b[31mb")
    'a [31mb'
    """
    return " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())[:_SHOWN]


def _retry_after_s(written: str) -> float:
    """Seconds of a Retry-After header, which holds seconds or a date; 0 where it holds neither."""
    try:
        if written.strip().isdecimal():
            seconds = float(written)
        else:
            date = parsedate_to_datetime(written)
            seconds = (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), _LONGEST_WAIT_S)
