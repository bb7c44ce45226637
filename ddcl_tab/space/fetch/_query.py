"""What can be asked: the addresses of both providers, how often each may be asked, where its answer is cached."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

from ddcl_tab.errors import ConfigurationError

Kind = Literal["satcat", "gp"]
Source = Literal["celestrak", "spacetrack"]

CELESTRAK_ENV, SPACETRACK_ENV = "DDCL_TAB_CELESTRAK_URL", "DDCL_TAB_SPACETRACK_URL"
SPACETRACK_DOMAIN = "space-track.org"
# Named on CelesTrak's page of current GP data; the option takes every other group too.
COMMON_GROUPS = (
    "active",
    "stations",
    "last-30-days",
    "starlink",
    "oneweb",
    "gnss",
    "geo",
    "weather",
    "fengyun-1c-debris",
    "cosmos-2251-debris",
    "iridium-33-debris",
)

_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
# CelesTrak's usage policy: nothing changes more often. Space-Track's guidelines: TLEs once an hour, SATCAT once a day.
_INTERVALS_S = {
    ("celestrak", "gp"): 7200,
    ("celestrak", "satcat"): 7200,
    ("spacetrack", "gp"): 3600,
    ("spacetrack", "satcat"): 86400,
}
SPACETRACK_PREDICATES: dict[Kind, dict[str, str]] = {
    "gp": {"decay_date": "null-val", "epoch": ">now-30", "orderby": "norad_cat_id asc"},
    "satcat": {"current": "Y", "orderby": "norad_cat_id asc"},
}
"""What Space-Track is asked for: element sets of the last 30 days of what is in orbit; the current SATCAT."""


class Query(NamedTuple):
    """One question to one provider.

    Attributes
    ----------
    source, kind : str
    base, url : str
        Where the provider answers, and the address of the answer.
    file : str
        Name of the answer in the cache.
    interval_s : int
        Seconds between two requests.
    """

    source: Source
    kind: Kind
    base: str
    url: str
    file: str
    interval_s: int

    @property
    def provider(self) -> str:
        """Name for messages."""
        return {"celestrak": "CelesTrak", "spacetrack": "Space-Track"}[self.source]


def make_query(kind: Kind, source: Source = "celestrak", group: str | None = None) -> Query:
    """Query for a catalog.

    Parameters
    ----------
    kind : {"satcat", "gp"}
    source : {"celestrak", "spacetrack"}
        Default CelesTrak.
    group : str, optional
        Of CelesTrak's element sets; default ``"active"``.

    Returns
    -------
    Query

    Raises
    ------
    ConfigurationError
        Another kind or source, a group that cannot be one, or an address in the environment that is not safe.

    Examples
    --------
    >>> make_query("gp", group="weather").url
    'https://celestrak.org/NORAD/elements/gp.php?GROUP=weather&FORMAT=json'
    >>> make_query("satcat").file
    'celestrak.org-satcat.csv'
    """
    if (source, kind) not in _INTERVALS_S:
        raise ConfigurationError(
            f"a catalog is 'satcat' or 'gp' of 'celestrak' or 'spacetrack', not {kind!r} of {source!r}"
        )
    if group is not None and (source, kind) != ("celestrak", "gp"):
        raise ConfigurationError(
            f"group={group!r}: only CelesTrak's element sets come in groups. Leave it out, or fetch gp from celestrak"
        )
    celestrak_group = "active" if group is None else group
    base, tail, name = _celestrak(kind, celestrak_group) if source == "celestrak" else _spacetrack(kind)
    place = urlsplit(base)
    slug = re.sub(r"[^A-Za-z0-9.-]+", "_", place.netloc + place.path.rstrip("/"))
    return Query(source, kind, base, base + tail, f"{slug}-{name}", _INTERVALS_S[source, kind])


def _celestrak(kind: Kind, group: str) -> tuple[str, str, str]:
    base = _base_url(CELESTRAK_ENV, "https://celestrak.org/")
    if kind == "satcat":
        return base, "pub/satcat.csv", "satcat.csv"
    if not _GROUP.fullmatch(group):
        raise ConfigurationError(
            f"group={group!r}: a group of CelesTrak is up to 64 letters, digits and hyphens, such as "
            f"{', '.join(COMMON_GROUPS[:4])}"
        )
    # JSON: catalog numbers of six digits do not fit into two lines, and a cut shows. CelesTrak takes both cases of
    # letters; one cached file for both keeps the same answer from being asked twice.
    return base, f"NORAD/elements/gp.php?GROUP={group}&FORMAT=json", f"gp-{group.lower()}.json"


def _spacetrack(kind: Kind) -> tuple[str, str, str]:
    base = _base_url(SPACETRACK_ENV, f"https://www.{SPACETRACK_DOMAIN}/")
    host = urlsplit(base).hostname or ""
    # The account goes there: no wrong variable of the environment may send it elsewhere.
    if not (is_loopback(host) or host == SPACETRACK_DOMAIN or host.endswith("." + SPACETRACK_DOMAIN)):
        raise ConfigurationError(f"{SPACETRACK_ENV}: the account is sent to {SPACETRACK_DOMAIN} only, not to {host!r}")
    return base, f"basicspacedata/query/class/{kind}", f"{kind}.json"


def _base_url(variable: str, default: str) -> str:
    written = os.environ.get(variable) or default
    try:
        place = urlsplit(written)
        host = place.hostname or ""
        _ = place.port
    except ValueError:
        raise ConfigurationError(f"{variable} is no address; set it to one such as {default}") from None
    if place.username or place.password:  # not shown: it holds a secret
        raise ConfigurationError(f"{variable}: an address holds no user or password. Take them out")
    if not host or place.query or place.fragment or not is_safe(place):
        raise ConfigurationError(
            f"{variable}: value {written!r} breaks the rule: an https address without query (http on this machine only)"
        )
    return written if written.endswith("/") else written + "/"


def is_safe(place: SplitResult) -> bool:
    """Whether an address is https, or http to this machine.

    Parameters
    ----------
    place : urllib.parse.SplitResult

    Returns
    -------
    bool

    Examples
    --------
    >>> [is_safe(urlsplit(url)) for url in ("https://a.example/", "http://a.example/", "http://[::1]:80/")]
    [True, False, True]
    """
    return place.scheme == "https" or (place.scheme == "http" and is_loopback(place.hostname or ""))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name alone.

    Parameters
    ----------
    host : str

    Returns
    -------
    bool

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("localhost.a.example")
    (True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
