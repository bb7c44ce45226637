"""Space-Track's limits on requests, kept over all processes that share the cache."""

from __future__ import annotations

import json
import time
from pathlib import Path

from filelock import FileLock

from ddcl_tab.fetch.cache import write_whole
from ddcl_tab.fetch.outcomes import NotAsked

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
    ddcl_tab.fetch.outcomes.NotAsked: Space-Track allows fewer than 30 requests in 60 s...
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
        write_whole(path, [*sent, now])


def _read(path: Path) -> list[float]:
    try:
        return [float(when) for when in json.loads(path.read_bytes())]
    except (FileNotFoundError, ValueError, TypeError):
        return []
