"""Download one file over HTTP: whole or not at all, resumed where that is safe, never beyond its bounds."""

from __future__ import annotations

import dataclasses
import gzip
import time
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from ddcl_tab.space.fetch._cache import Entry, Part, State
from ddcl_tab.space.fetch._http import Broken, Limits, Refused, make_client, need, outcome_of, printable, refusal
from ddcl_tab.space.fetch._query import Query, is_safe

_CHUNK = 1 << 16
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 3
_BODY_SHOWN = 4096


def download(query: Query, entry: Entry, state: State, limits: Limits) -> None:
    """Put the answer, unpacked, into the entry's new file.

    Bytes go to the part file as they come, still packed, so that a broken download can be resumed: by a range of the
    same version, which only a strong entity tag proves. In all other cases the next one starts anew.

    Parameters
    ----------
    query : Query
    entry : Entry
    state : State
        Its `part` is what the part file holds; changed and saved as bytes come.
    limits : Limits

    Raises
    ------
    FetchError
        `NotAsked`, `Broken` or `Refused`.
    """
    if not _is_whole(query, entry, state):
        _receive(query, entry, state, limits)
    _unpack(entry, state, query.provider, limits)


def _is_whole(query: Query, entry: Entry, state: State) -> bool:
    """Whether all bytes are there already: a process died between the last byte and the end."""
    part = state.part
    if part is None or part.total is None or abs(time.time() - part.at) > query.interval_s:
        return False
    return part.url == query.url and _size(entry.part_path) == part.total


def _receive(query: Query, entry: Entry, state: State, limits: Limits) -> None:
    httpx2 = need("httpx2")
    state.sent.append(time.time())
    entry.save(state)  # before the request: a process that dies must not forget that it asked
    try:
        with make_client(limits) as client:
            response = _send(client, query, _range_headers(query, entry, state))
            try:
                _save(response, query, entry, state, limits)
            finally:
                response.close()
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        raise outcome_of(error, query.provider) from error


def _range_headers(query: Query, entry: Entry, state: State) -> dict[str, str]:
    part, size = state.part, _size(entry.part_path)
    if part is None or part.etag is None or part.total is None or part.url != query.url or not 0 < size < part.total:
        return {}
    return {"Range": f"bytes={size}-", "If-Range": part.etag}


def _send(client: Any, query: Query, headers: dict[str, str]) -> Any:
    """Send the request; follow redirects by hand, since only the same server is followed."""
    url = query.url
    for _ in range(_MOST_REDIRECTS + 1):
        response = client.send(client.build_request("GET", url, headers=headers), stream=True)
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


def _save(response: Any, query: Query, entry: Entry, state: State, limits: Limits) -> None:
    """Write the body to the part file, beginning where the answer begins."""
    if response.status_code == 206:
        start, state.part = _continued(response, entry, state, query.provider)
    elif response.status_code == 200:
        start, state.part = 0, _part_of(response, query)
    else:
        raise refusal(response, query.provider, _beginning(response))
    length = response.headers.get("Content-Length")
    if length is None and "chunked" not in response.headers.get("Transfer-Encoding", "").lower():
        raise Refused(f"{query.provider} does not say how long its answer is, so that a cut would not show")
    if start + int(length or 0) > limits.size_bytes:
        raise Refused(
            f"{query.provider} announces {start + int(length or 0)} bytes; at most {limits.size_bytes} are read"
        )
    entry.save(state)
    got = _write(response, entry.part_path, start, query.provider, limits)
    if length is not None and got != int(length):
        raise Broken(f"the answer of {query.provider} broke off after {got} of {length} bytes")


def _part_of(response: Any, query: Query) -> Part:
    """What a new part file will hold."""
    headers = response.headers
    encoding = headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise Refused(f"{query.provider} packed its answer as {printable(encoding)!r}, which nobody asked for")
    etag, length = headers.get("ETag", ""), headers.get("Content-Length")
    # Weak tags (W/"...") promise the same meaning, not the same bytes.
    resumable = etag.startswith('"') and length is not None and headers.get("Accept-Ranges", "").lower() != "none"
    return Part(
        url=query.url,
        answered_by=str(response.url),
        encoding=encoding.removeprefix("x-").removeprefix("identity"),
        at=time.time(),
        etag=etag if resumable else None,
        total=int(length) if resumable else None,
    )


def _continued(response: Any, entry: Entry, state: State, provider: str) -> tuple[int, Part]:
    """Place where a range begins, and what the part file holds; an error where it is not what was asked for."""
    part, size, headers = state.part, _size(entry.part_path), response.headers
    if part is not None and part.total is not None:
        wanted = f"bytes {size}-{part.total - 1}/{part.total}"
        encoding = headers.get("Content-Encoding", "").strip().lower().removeprefix("x-").removeprefix("identity")
        same = headers.get("ETag", part.etag) == part.etag and encoding == part.encoding
        if same and headers.get("Content-Range", "") == wanted:
            return size, dataclasses.replace(part, at=time.time())
    state.part = None  # what is there fits to nothing any more
    raise Broken(f"{provider} sent another range than it was asked for")


def _write(response: Any, path: Path, start: int, provider: str, limits: Limits) -> int:
    end, got = time.monotonic() + limits.total_s, 0
    with path.open("ab" if start else "wb") as file:
        for chunk in response.iter_raw():  # as it comes: to wait for a full chunk would hide a server that drips
            got += file.write(chunk)
            if start + got > limits.size_bytes:
                raise Refused(f"the answer of {provider} is larger than {limits.size_bytes} bytes")
            if time.monotonic() > end:
                raise Broken(f"the answer of {provider} took longer than {limits.total_s:.0f} s ({got} bytes came)")
    return got


def _unpack(entry: Entry, state: State, provider: str, limits: Limits) -> None:
    """Move or unpack the part file into the new one; a small file can unpack to more than any disk holds."""
    if state.part is None or state.part.encoding != "gzip":
        entry.part_path.replace(entry.new_path)
        return
    size = 0
    try:
        with gzip.open(entry.part_path) as packed, entry.new_path.open("wb") as file:
            while chunk := packed.read(_CHUNK):
                size += file.write(chunk)
                if size > limits.size_bytes:
                    raise Refused(f"the answer of {provider} unpacks to more than {limits.size_bytes} bytes")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        state.part = None
        raise Broken(f"the gzip of {provider}'s answer is damaged or cut off: {error}") from error


def _beginning(response: Any) -> str:
    """First words of a refusal: CelesTrak says there why."""
    httpx2 = need("httpx2")
    try:
        return next(response.iter_bytes(_BODY_SHOWN), b"").decode("utf-8", "replace")
    except httpx2.HTTPError:
        return ""


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
