"""Space-Track, played by a server on this machine: limits are kept, and the account is nowhere to be found after."""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import stat
import subprocess
import sys
import time
import traceback
from pathlib import Path
from urllib.parse import parse_qs, unquote

import pytest

from ddcl_tab import __version__
from ddcl_tab.errors import ConfigurationError, FetchError
from ddcl_tab.space._gp import read_gp
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.space.fetch import fetch_gp, fetch_satcat
from ddcl_tab.space.fetch._http import Limits
from ddcl_tab.space.fetch._query import make_query
from ddcl_tab.space.fetch._retrieve import retrieve
from tests.conftest import SYNTHETIC
from tests.space.fetch_server import chunked, cut, gp, serve, unmeasured, whole
from tests.space.test_fetch_celestrak import later

pytest.importorskip("spacetrack")
USER, PASSWORD, SESSION = "no-such-user@a.example", "pass-Wörd %&'\"<7", "no-such-session-cookie"
SECRETS = (USER, PASSWORD, SESSION, "pass-W", "no-such-user")
HASTY = Limits(connect_s=5.0, read_s=1.0, total_s=10.0, size_bytes=1 << 23)
COLUMNS = ("NORAD_CAT_ID", "DECAY_DATE", "EPOCH", "CURRENT")


def space_track(catalog, login=None, columns=None):
    """What Space-Track answers to each of its addresses."""
    fields = [{"Field": name, "Type": "varchar(9)", "Null": "YES", "Default": None} for name in COLUMNS]

    def answer(handler):
        if handler.path.startswith("/ajaxauth/login"):
            (login or whole(b'""', Set_Cookie=f"chocolatechip={SESSION}; path=/; httponly"))(handler)
        elif "/modeldef/" in handler.path:
            (columns or whole(json.dumps({"data": fields}).encode()))(handler)
        elif handler.path == "/ajaxauth/logout":
            whole(b'"Successfully logged out"')(handler)
        else:
            catalog(handler)

    return [answer]


@pytest.fixture
def server(tmp_path, monkeypatch):
    with serve() as running:
        monkeypatch.setenv("DDCL_TAB_SPACETRACK_URL", running.url)
        monkeypatch.setenv("DDCL_TAB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("SPACETRACK_IDENTITY", USER)
        monkeypatch.setenv("SPACETRACK_PASSWORD", PASSWORD)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("NO_PROXY", "*")
        yield running


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def ask(kind="gp"):
    return retrieve(make_query(kind, "spacetrack"), HASTY)


def paths(server):
    return [unquote(path) for _, path, _, _ in server.asked]


def test_gp_is_asked_within_one_session_and_then_cached_for_an_hour(server, cache):
    server.answers = space_track(chunked(gp(300)))
    path = fetch_gp(source="spacetrack")
    assert read_gp(path).height == 300
    assert fetch_gp(source="spacetrack") == path
    login, columns, question, logout = paths(server)
    assert (login, columns, logout) == ("/ajaxauth/login", "/basicspacedata/modeldef/class/gp", "/ajaxauth/logout")
    assert question.startswith("/basicspacedata/query/class/gp/")
    for part in ("decay_date/null-val", "epoch/>now-30", "orderby/norad_cat_id asc", "format/json"):
        assert f"/{part}" in question
    assert parse_qs(server.asked[0][3]) == {"identity": [USER], "password": [PASSWORD]}
    assert {headers["User-Agent"] for _, _, headers, _ in server.asked} == {f"ddcl-tab/{__version__}"}
    later(cache, 3601)
    assert fetch_gp(source="spacetrack") == path
    assert len(server.asked) == 7  # the names of the columns are known for a day
    assert stat.S_IMODE(cache.stat().st_mode) & 0o077 == 0


def test_satcat_is_asked_once_a_day(server, cache):
    server.answers = space_track(whole(gzip.decompress(SYNTHETIC.read_bytes())))
    assert read_satcat(fetch_satcat(source="spacetrack")).height == 5000
    assert paths(server)[2].startswith("/basicspacedata/query/class/satcat/")
    assert "/current/Y" in paths(server)[2]
    later(cache, 86300)
    fetch_satcat(source="spacetrack")
    assert len(server.asked) == 4
    later(cache, 101)
    fetch_satcat(source="spacetrack")
    assert len(server.asked) == 7


REFUSALS = {
    "403": (space_track(whole(f"no, {PASSWORD}".encode(), 403)), "Space-Track answered HTTP 403 Forbidden. Space", 3),
    "401": (space_track(whole(b"", 401)), "HTTP 401 Unauthorized", 3),
    "limit": (space_track(whole(b'{"error": "You\'ve violated your query rate limit."}', 500)), "HTTP 500", 3),
    "429": (space_track(whole(b"", 429, Retry_After="7200")), "asks to wait 2 h", 3),
    "redirect": (space_track(whole(b"", 302, Location="http://127.0.0.1:9/")), "HTTP 302", 3),
    "login redirect": (space_track(whole(b""), whole(b"", 307, Location="http://localhost:9/")), "HTTP 307", 1),
    "login echo": (space_track(whole(b""), whole(f"{USER} {PASSWORD}".encode(), 500)), "HTTP 500", 1),
    "columns": (space_track(whole(b""), columns=whole(b"", 404)), "HTTP 404", 2),
    "limit in 200": (space_track(whole(b'{"error": "You\'ve violated your query rate limit."}')), "not the catalog", 4),
    "page": (space_track(whole(b"<html><body>Maintenance")), "not the catalog", 4),
    "nothing": (space_track(whole(b"[]")), "not the catalog", 4),
    "too large": (space_track(whole(b" " * (1 << 24))), "larger than 8388608 bytes", 4),
    "bomb": (space_track(whole(gzip.compress(b" " * (1 << 26)), Content_Encoding="gzip")), "larger than 8388608", 4),
    "no length": (space_track(unmeasured(gp(3))), "does not say how long", 3),
}
BREAKS = {
    "cut": (space_track(cut(gp(300), 9000)), "broke off"),
    "chunks": (space_track(chunked(gp(300), finished=False)), "broke off"),
    "stall": (space_track(cut(gp(300), 9000, stall_s=1.5)), "ReadTimeout"),
    "gone": (space_track(lambda handler: None), "broke off"),
    "login": (space_track(whole(b""), whole(b'{"Login": "Failed"}')), "does not accept the account"),
    "login echo": (space_track(whole(b""), whole(f"<{USER} {PASSWORD}".encode())), "not understood"),
    "login gone": (space_track(whole(b""), lambda handler: None), "broke off"),
    "columns echo": (space_track(whole(b""), columns=whole(f'["{SESSION}"]'.encode())), "not understood"),
    "column gone": (space_track(whole(b""), columns=whole(b'{"data": []}')), "not understood"),
}


@pytest.fixture
def all_logs():
    """Everything that any library logs, down to the least."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def everything(error: BaseException) -> str:
    """An error with all that it hangs on to: its chain, and the variables of every frame of it."""
    seen, text, todo = set(), "", [error]
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        text += repr(one) + str(one) + repr(vars(one))
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if "ddcl_tab" in frame.f_code.co_filename and "/tests/" not in frame.f_code.co_filename:
                text += repr(frame.f_locals)
            elif "site" in frame.f_code.co_filename and "pytest" not in frame.f_code.co_filename:
                text += frame.f_code.co_filename + repr(frame.f_locals)
        todo += [next_one for next_one in (one.__cause__, one.__context__) if next_one]
    return text


def no_secret_in(text: str) -> None:
    for secret in SECRETS:
        assert secret not in text


def written(folder: Path) -> str:
    return "".join(path.read_bytes().decode("utf-8", "replace") for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_stops_at_once_and_leaves_no_trace_of_the_account(server, cache, name, all_logs, capfd):
    server.answers, said, asked = REFUSALS[name]
    for _ in range(3):
        with pytest.raises(FetchError, match="Space-Track is not asked for this again before") as caught:
            ask()
        assert said in str(caught.value)
        no_secret_in(everything(caught.value))
    assert len(server.asked) == asked, paths(server)
    no_secret_in(all_logs.getvalue() + "".join(capfd.readouterr()) + written(cache))


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_is_tried_three_times_at_most_and_leaves_no_trace(server, cache, name, all_logs, capfd):
    server.answers, said = BREAKS[name]
    for attempt in range(5):
        with pytest.raises(FetchError) as caught:
            ask()
        assert (said if attempt < 3 else "3 requests brought no whole answer") in str(caught.value)
        no_secret_in(everything(caught.value))
    assert sum(path == "/ajaxauth/login" for path in paths(server)) == 3
    assert not list(cache.glob("*.new"))
    no_secret_in(all_logs.getvalue() + "".join(capfd.readouterr()) + written(cache))


def test_a_good_session_leaves_no_trace_either(server, cache, all_logs, capfd):
    server.answers = space_track(whole(gp(3)))
    found = ask()
    no_secret_in(repr(found) + all_logs.getvalue() + "".join(capfd.readouterr()) + written(cache))


def test_the_command_shows_no_secret(server, cache):
    for kind, answers, code in (("gp", space_track(whole(gp(3))), 0), ("satcat", REFUSALS["403"][0], 2)):
        server.answers = answers
        command = [
            sys.executable,
            "-X",
            "dev",
            "-W",
            "ignore",
            "-m",
            "ddcl_tab.cli",
            "fetch",
            kind,
            "--source",
            "spacetrack",
        ]
        done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
        assert done.returncode == code, done.stderr
        assert len(done.stderr.splitlines()) == code // 2
        no_secret_in(done.stdout + done.stderr + written(cache))


def test_offline_the_cached_one_is_used(server, cache):
    server.answers = space_track(whole(gp(3)))
    ask()
    later(cache)
    server.shutdown()
    server.server_close()
    found = ask()
    assert "Space-Track cannot be reached" in found.problem
    assert found.stored.rows == 3


def test_requests_are_counted_over_processes(server, cache):
    server.answers = space_track(lambda handler: None)
    cache.mkdir()
    note = cache / "spacetrack-requests.json"
    note.write_text(json.dumps([time.time() - 20] * 27))
    with pytest.raises(FetchError, match=r"fewer than 30 requests in 60 s.*Ask again in (3\d|40) s"):
        ask()
    assert len(server.asked) == 2
    note.write_text(json.dumps([time.time() - 100] * 299))
    with pytest.raises(FetchError, match=r"fewer than 300 requests in 3600 s.*Ask again in (34\d\d|3500) s"):
        ask()
    assert len(server.asked) == 2


def test_netrc_holds_the_account(server, monkeypatch, tmp_path):
    monkeypatch.delenv("SPACETRACK_IDENTITY")
    with pytest.raises(ConfigurationError, match="SPACETRACK_IDENTITY is not set, but the other half"):
        ask()
    monkeypatch.delenv("SPACETRACK_PASSWORD")
    with pytest.raises(ConfigurationError, match=r"needs an account .* or write 'machine 127.0.0.1 login NAME"):
        ask()
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine other.example login a password b\n")
    netrc.chmod(0o600)
    with pytest.raises(ConfigurationError, match="needs an account"):
        ask()
    netrc.write_text(f"machine 127.0.0.1 login {USER} password a b\n")
    with pytest.raises(ConfigurationError, match=r"\.netrc, line \d: netrc cannot be read") as caught:
        ask()
    no_secret_in(everything(caught.value))
    assert not server.asked
    netrc.write_text(f"machine 127.0.0.1 login {USER} password no-such\n")
    server.answers = space_track(whole(gp(3)))
    assert ask().stored.rows == 3
    assert parse_qs(server.asked[0][3]) == {"identity": [USER], "password": ["no-such"]}


@pytest.mark.parametrize(
    "url", ["https://space-track.org.a.example/", "https://a.example", "http://www.space-track.org"]
)
def test_the_account_goes_to_space_track_only(server, monkeypatch, url):
    monkeypatch.setenv("DDCL_TAB_SPACETRACK_URL", url)
    with pytest.raises(ConfigurationError, match="DDCL_TAB_SPACETRACK_URL"):
        ask()


def test_without_the_extra_it_says_what_to_install(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "spacetrack", None)
    with pytest.raises(FetchError, match=r"pip install 'ddcl-tab\[spacetrack\]'"):
        ask()
