"""A real HTTP server on this machine that answers as badly as a test wants, and counts who asks."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler"], None]

_GP = {
    "OBJECT_NAME": "SYNTHETIC",
    "EPOCH": "2031-04-10T12:00:00.000864",
    "MEAN_MOTION": 14.3,
    "ECCENTRICITY": 0.001,
    "INCLINATION": 98.6,
    "RA_OF_ASC_NODE": 10,
    "ARG_OF_PERICENTER": 20,
    "MEAN_ANOMALY": 30,
    "BSTAR": 0.0001,
}
_SATCAT = (
    "OBJECT_NAME,OBJECT_ID,NORAD_CAT_ID,OBJECT_TYPE,OWNER,LAUNCH_DATE,LAUNCH_SITE,DECAY_DATE,PERIOD,INCLINATION,"
    "APOGEE,PERIGEE,RCS\r\n"
)


def gp(rows: int = 300, first: int = 799500001) -> bytes:
    """Synthetic element sets, OMM in JSON."""
    return json.dumps([{**_GP, "OBJECT_ID": "2031-001A", "NORAD_CAT_ID": first + row} for row in range(rows)]).encode()


def satcat(rows: int = 50) -> bytes:
    """A synthetic SATCAT, CelesTrak's CSV."""
    line = "SYNTHETIC DEB,2031-007C,{},DEB,XX,2031-02-03,YY,,100.2,98.61,830,760,0.02\r\n"
    return (_SATCAT + "".join(line.format(799500001 + row) for row in range(rows))).encode()


class Handler(BaseHTTPRequestHandler):
    """Notes the request and gives the next answer of the list; the last one again and again."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server: Any = self.server
        with server.guard:
            server.asked.append((self.command, self.path, dict(self.headers), body.decode()))
            answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
        with contextlib.suppress(ConnectionError):  # clients may leave
            answer(self)
        self.close_connection = True

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass

    def head(self, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in {"Connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()


def whole(body: bytes, code: int = 200, **headers: str) -> Answer:
    """The whole body with its length."""

    def answer(handler: Handler) -> None:
        handler.head(code, {"Content-Length": str(len(body)), **_dashed(headers)})
        handler.wfile.write(body)

    return answer


def cut(body: bytes, at: int, stall_s: float = 0.0, **headers: str) -> Answer:
    """The length of the whole body, but only its first bytes; then silence or the end."""

    def answer(handler: Handler) -> None:
        handler.head(200, {"Content-Length": str(len(body)), **_dashed(headers)})
        handler.wfile.write(body[:at])
        handler.wfile.flush()
        time.sleep(stall_s)

    return answer


def chunked(body: bytes, finished: bool = True) -> Answer:
    """The body in chunks, with or without the chunk that ends it."""

    def answer(handler: Handler) -> None:
        handler.head(200, {"Transfer-Encoding": "chunked"})
        for start in range(0, len(body), 4096):
            piece = body[start : start + 4096]
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if finished:
            handler.wfile.write(b"0\r\n\r\n")

    return answer


def unmeasured(body: bytes) -> Answer:
    """The body without a length: its end is the end of the connection."""

    def answer(handler: Handler) -> None:
        handler.head(200, {})
        handler.wfile.write(body)

    return answer


def drip(body: bytes, pause_s: float) -> Answer:
    """A few bytes at a time, so that no read ever waits long."""

    def answer(handler: Handler) -> None:
        handler.head(200, {"Content-Length": str(len(body))})
        for start in range(0, len(body), 10):
            handler.wfile.write(body[start : start + 10])
            handler.wfile.flush()
            time.sleep(pause_s)

    return answer


def packed(body: bytes, **headers: str) -> Answer:
    """The body as gzip."""
    return whole(gzip.compress(body), Content_Encoding="gzip", **headers)


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@contextlib.contextmanager
def serve() -> Iterator[Any]:
    """A running server: set `answers`, read `asked`, ask at `url`."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.answers, server.guard = [], [whole(b"", 404)], threading.Lock()
    server.daemon_threads = True
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
