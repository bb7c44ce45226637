"""How asking a server can end, and the bounds within which it is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from ddcl_tab.errors import FetchError


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
