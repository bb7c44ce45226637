"""Inject faults into downloads and count what came of it: python pipelines/fetch_faults.py pipelines/results/.

A server on this machine cuts, changes, packs and refuses on purpose, at places drawn at random; a second part kills the
process that fetches. After each fault the cache must hold a whole version that the server once gave, or the old one.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from study_tools import REPORT, commit, study_folder

from ddcl_tab.errors import FetchError
from ddcl_tab.space.fetch._http import Limits
from ddcl_tab.space.fetch._query import make_query
from ddcl_tab.space.fetch._retrieve import retrieve
from tests.space.fetch_server import chunked, cut, gp, packed, satcat, serve, unmeasured, whole

TRIALS, KILLS = 30, 40
ABOUT = """Each fault is followed by three questions in a row. A break is an error once, then the whole file; a refusal
is an error three times, after one request, and leaves the old file.
[docs/notes/reliability.md](../../../docs/notes/reliability.md) says what else was tried."""
BOMB = packed(b" " * (1 << 26))
# Patient, so that a busy machine is not taken for a fault; only the fault of silence is met in a hurry.
LIMITS = Limits(connect_s=10.0, read_s=10.0, total_s=60.0, size_bytes=1 << 19)
HASTY = LIMITS._replace(read_s=0.5)


def faults(body: bytes, draw: random.Random) -> dict:
    """Answers that are wrong, each with the answer that follows where the request is sent again."""
    at, gz = draw.randrange(len(body)), gzip.compress(body, mtime=0)
    line_end = body.find(b"\n", at) + 1 or at
    flipped = draw.randrange(20, len(gz))
    return {
        "cut at a random byte": (cut(body, at), whole(body)),
        "cut at the end of a line": (cut(body, line_end if line_end < len(body) else at), whole(body)),
        "cut, with an entity tag": (cut(body, at, ETag='"version-1"'), whole(body, ETag='"version-2"')),
        "chunked, cut": (chunked(body[:at], finished=False), chunked(body)),
        "silence at a random byte": (cut(body, at, stall_s=0.7), whole(body)),
        "gzip, cut": (whole(gz[: draw.randrange(len(gz))], Content_Encoding="gzip"), packed(body)),
        "gzip, one byte changed": (
            whole(gz[:flipped] + bytes([gz[flipped] ^ 255]) + gz[flipped + 1 :], Content_Encoding="gzip"),
            packed(body),
        ),
        "gzip bomb of 64 MiB": (BOMB, whole(body)),
        "no length, cut at the end of a line": (unmeasured(body[:line_end]), whole(body)),
        "HTTP 403": (whole(b"not updated", 403), whole(body)),
        "HTTP 404": (whole(b"", 404), whole(body)),
        "HTTP 429, Retry-After": (whole(b"", 429, Retry_After="60"), whole(body)),
        "HTTP 500": (whole(b"", 500), whole(body)),
        "HTML with 200": (whole(b"<html><body>Maintenance"), whole(body)),
        "redirect to another host": (whole(b"", 302, Location="http://localhost:9/"), whole(body)),
    }


def inject(server, cache: Path, kind: str, name: str, draw: random.Random, count: Counter) -> None:
    """One fault on top of an older version, then the same question twice more."""
    for path in cache.glob("*"):
        path.unlink() if path.is_file() else None
    old, new = (gp(40), gp(60)) if kind == "gp" else (satcat(100), satcat(150))
    query = make_query(kind)
    server.answers = [whole(old)]
    retrieve(query, LIMITS)
    [note] = cache.glob("*.state.json")
    note.write_text(json.dumps({**json.loads(note.read_bytes()), "wait_s": 0}))  # as if two hours had passed
    server.answers, server.asked[:] = list(faults(new, draw)[name]), []
    for attempt in range(3):
        try:
            retrieve(query, HASTY if "silence" in name and attempt == 0 else LIMITS)
        except FetchError:
            count["errors"] += 1
        held = (cache / query.file).read_bytes()
        count["neither old nor new"] += held not in (old, new)
    count["faults"] += 1
    count["requests"] += len(server.asked)
    count["new version at the end"] += held == new


def kill(server, cache: Path, draw: random.Random, count: Counter) -> None:
    """Kill a process while it fetches, and let another one finish."""
    for path in cache.glob("*"):
        path.unlink() if path.is_file() else None
    body, query = gp(60), make_query("gp")
    slow = cut(body, draw.randrange(1, len(body)), stall_s=30)
    server.answers, server.asked[:] = [slow if draw.random() < 0.5 else whole(body), whole(body)], []
    process = subprocess.Popen([sys.executable, "-m", "ddcl_tab.cli", "fetch", "gp"], stdout=subprocess.DEVNULL)
    end = time.monotonic() + 20
    while not server.asked and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(draw.uniform(0, 0.15))
    process.kill()
    process.wait()
    path = cache / query.file
    count["neither absent nor whole"] += path.is_file() and path.read_bytes() != body
    count["finished before the kill"] += path.is_file()
    try:
        retrieve(query, LIMITS)
    except FetchError as error:
        print(error)
        count["errors of the next process"] += 1
    count["whole after the next process"] += path.is_file() and path.read_bytes() == body
    count["requests"] += len(server.asked)
    count["kills"] += 1


def main() -> None:
    """Inject, kill, write the tables."""
    out, draw, counts = study_folder(Path(sys.argv[1]), "fetch_faults"), random.Random(0), {}
    made_by = f"`python pipelines/fetch_faults.py {sys.argv[1]}`, commit {commit()}, seed 0, servers on this machine."
    with serve() as server, tempfile.TemporaryDirectory() as folder:
        os.environ |= {"DDCL_TAB_CELESTRAK_URL": server.url, "DDCL_TAB_CACHE": folder, "NO_PROXY": "*"}
        names = list(faults(gp(2), draw))
        for name in names:
            counts[name] = Counter()
            for trial in range(TRIALS):
                inject(server, Path(folder), ("gp", "satcat")[trial % 2], name, draw, counts[name])
        kills: Counter = Counter()
        for _ in range(KILLS):
            kill(server, Path(folder), draw, kills)
    columns = ("faults", "requests", "errors", "new version at the end", "neither old nor new")
    lines = [f"| fault | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(str(counts[name][column]) for column in columns)} |" for name in names]
    total: Counter = sum((counts[name] for name in names), Counter())
    lines += [f"| **all** | {' | '.join(str(total[column]) for column in columns)} |"]
    killed = ("kills", "finished before the kill", "neither absent nor whole", "requests",
              "whole after the next process", "errors of the next process")  # fmt: skip
    text = f"# Faults in downloads\n\n{made_by}\n\n{ABOUT}\n\n" + "\n".join(lines)
    text += (
        "\n\n| killed processes | |\n|---|---|\n" + "\n".join(f"| {name} | {kills[name]} |" for name in killed) + "\n"
    )
    (out / REPORT).write_text(text)


if __name__ == "__main__":
    main()
