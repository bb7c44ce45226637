"""HTTP as both providers need it: who asks, how long to wait, what each failure means; one file, whole or not."""

from __future__ import annotations

import gzip
import importlib
import re
import tempfile
import time
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from ddcl_tab.errors import FetchError
from ddcl_tab.space.fetch._query import Query, is_safe

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


_CHUNK = 1 << 16
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 3
_BODY_SHOWN = 4096


def download(query: Query, path: Path, limits: Limits) -> str:
    """Write the answer to a query, unpacked, to a file.

    Parameters
    ----------
    query : Query
    path : Path
        Whole where nothing is raised. Otherwise absent, as before, or cut: the next download begins again.
    limits : Limits

    Returns
    -------
    str
        The address that answered, after redirects.

    Raises
    ------
    FetchError
        `NotAsked`, `Broken` or `Refused`.
    """
    httpx2 = need("httpx2")
    # Packed bytes have no name: nothing of them is left where the process dies.
    with tempfile.TemporaryFile(dir=path.parent) as body:
        try:
            with make_client(limits) as client:
                response = _send(client, query)
                try:
                    packed = _receive(response, body, query.provider, limits)
                finally:
                    response.close()
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise outcome_of(error, query.provider) from error
        body.seek(0)
        _unpack(body, packed, path, query.provider, limits)
    return str(response.url)


def _send(client: Any, query: Query) -> Any:
    """Send the request; follow redirects by hand, since only the same server is followed."""
    url = query.url
    for _ in range(_MOST_REDIRECTS + 1):
        response = client.send(client.build_request("GET", url), stream=True)
        if response.status_code not in _REDIRECTS:
            return response
        written = response.headers.get("Location", "")
        response.close()
        url = _redirected(url, written, query.provider)
    raise Refused(f"{query.provider} redirected more than {_MOST_REDIRECTS} times, at last to {printable(url)}")


def _redirected(url: str, written: str, provider: str) -> str:
    target = urljoin(url, written)
    try:
        place, here = urlsplit(target), urlsplit(url)
        same = (place.scheme, place.hostname, place.port) == (here.scheme, here.hostname, here.port)
    except ValueError:
        same = False
    if not written or not same or place.username or place.password or not is_safe(place):
        shown = printable(written.split("@")[-1])  # what stands before an @ may be a secret
        raise Refused(f"{provider} redirected to {shown!r}; redirects are followed on the same host only")
    return target


def _receive(response: Any, body: IO[bytes], provider: str, limits: Limits) -> bool:
    """Write the bytes of an answer as they come; whether they are packed."""
    if response.status_code != 200:
        raise refusal(response, provider, _beginning(response))
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise Refused(f"{provider} packed its answer as {printable(encoding)!r}, which nobody asked for")
    check_measured(response, provider)
    length = response.headers.get("Content-Length")
    if int(length or 0) > limits.size_bytes:
        raise Refused(f"{provider} announces {length} bytes; at most {limits.size_bytes} are read")
    # As they come: to wait for a full chunk would hide a server that drips.
    n_bytes = write_chunks(response.iter_raw(), body, provider, limits)
    if length is not None and n_bytes != int(length):
        raise Broken(f"the answer of {provider} broke off after {n_bytes} of {length} bytes")
    return encoding.endswith("gzip")


def check_measured(response: Any, provider: str) -> None:
    """Raise `Refused` where an answer has neither a length nor chunks, so that a cut would not show."""
    headers = response.headers
    if "Content-Length" not in headers and "chunked" not in headers.get("Transfer-Encoding", "").lower():
        raise Refused(f"{provider} does not say how long its answer is, so that a cut would not show")


def write_chunks(chunks: Iterable[bytes], file: IO[bytes], provider: str, limits: Limits) -> int:
    """Write an answer to a file, within the limits on its size and time.

    Parameters
    ----------
    chunks : iterable of bytes
    file : binary file
    provider : str
    limits : Limits

    Returns
    -------
    int
        Number of bytes.

    Raises
    ------
    Refused
        The answer is too large.
    Broken
        It takes too long.
    """
    end, n_bytes = time.monotonic() + limits.total_s, 0
    for chunk in chunks:
        n_bytes += file.write(chunk)
        if n_bytes > limits.size_bytes:
            raise Refused(f"the answer of {provider} is larger than {limits.size_bytes} bytes")
        if time.monotonic() > end:
            raise Broken(f"the answer of {provider} took longer than {limits.total_s:.0f} s ({n_bytes} bytes came)")
    return n_bytes


def _unpack(body: IO[bytes], packed: bool, path: Path, provider: str, limits: Limits) -> None:
    """Write the answer to its file; a small one can unpack to more than any disk holds."""
    size = 0
    try:
        with gzip.GzipFile(fileobj=body) if packed else body as source, path.open("wb") as file:
            while chunk := source.read(_CHUNK):
                size += file.write(chunk)
                if size > limits.size_bytes:
                    raise Refused(f"the answer of {provider} unpacks to more than {limits.size_bytes} bytes")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Broken(f"the gzip of {provider}'s answer is damaged or cut off: {error}") from error


def _beginning(response: Any) -> str:
    """First words of a refusal: CelesTrak says there why."""
    httpx2 = need("httpx2")
    try:
        return next(response.iter_bytes(_BODY_SHOWN), b"").decode("utf-8", "replace")
    except httpx2.HTTPError:
        return ""
