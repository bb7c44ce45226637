"""What a user reads about a fetched catalog."""

from __future__ import annotations

import time

from ddcl_tab.fetch.outcomes import age, utc
from ddcl_tab.fetch.retrieve import Fetched


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
    >>> from ddcl_tab.fetch.cache import Stored
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
    >>> from ddcl_tab.fetch.cache import Stored
    >>> stored = Stored(sha256="", rows=7, bad_rows=2, retrieved_at=0.0, url="https://a.example/gp.json")
    >>> problems(Fetched(Path("gp.json"), stored, "CelesTrak", next_at=0.0))
    ["rows that break rules, not counted: 2. Read the file with on_error='collect' to see them"]
    """
    lines = [fetched.problem] if fetched.problem else []
    if fetched.stored.bad_rows:
        told = f"rows that break rules, not counted: {fetched.stored.bad_rows}"
        lines.append(f"{told}. Read the file with on_error='collect' to see them")
    return lines
