"""Fetching from a server that fails in every way a server can."""

from __future__ import annotations

import gzip
import json
import re
import resource
import subprocess
import sys
import time
from email.utils import formatdate
from typing import Any

import pytest
from click.testing import CliRunner
from filelock import FileLock

from ddcl_tab import __version__
from ddcl_tab.cli import main
from ddcl_tab.errors import ConfigurationError, FetchError, FetchWarning
from ddcl_tab.space._gp import read_gp
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.space.fetch import fetch_gp, fetch_satcat
from ddcl_tab.space.fetch._http import Limits
from ddcl_tab.space.fetch._query import COMMON_GROUPS, make_query
from ddcl_tab.space.fetch._retrieve import retrieve
from tests.space.fetch_server import chunked, cut, drip, gp, packed, satcat, serve, unmeasured, whole

pytest.importorskip("httpx2")
HASTY = Limits(connect_s=5.0, read_s=1.0, total_s=2.5, size_bytes=1 << 20)
CLOSED = "http://127.0.0.1:9/"  # the discard service, which nothing offers


@pytest.fixture
def server(tmp_path, monkeypatch):
    with serve() as running:
        monkeypatch.setenv("DDCL_TAB_CELESTRAK_URL", running.url)
        monkeypatch.setenv("DDCL_TAB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("NO_PROXY", "*")
        yield running


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def ask(group="active"):
    return retrieve(make_query("gp", group=group), HASTY)


def later(cache, seconds=7201):
    """Set all times of the cache back, as if `seconds` had passed."""
    for path in cache.glob("*.state.json"):
        state = json.loads(path.read_bytes())
        state["settled_at"] -= seconds
        state["sent"] = [sent - seconds for sent in state["sent"]]
        for stored in state["stored"]:
            stored["retrieved_at"] -= seconds
        path.write_text(json.dumps(state))


def test_gp_is_fetched_once_and_then_comes_from_the_cache(server, cache):
    server.answers = [whole(gp(100))]
    first = fetch_gp()
    assert read_gp(first).height == 100
    assert fetch_gp() == first
    assert fetch_gp("ACTIVE") == first
    [(method, path, headers, _)] = server.asked
    assert (method, path) == ("GET", "/NORAD/elements/gp.php?GROUP=active&FORMAT=json")
    assert headers["User-Agent"] == f"ddcl-tab/{__version__}"
    later(cache)
    server.answers = [whole(gp(101))]
    assert read_gp(fetch_gp()).height == 101
    assert len(server.asked) == 2
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".json", ".lock"]


def test_satcat_is_the_whole_file(server):
    server.answers = [packed(satcat(50))]
    assert read_satcat(fetch_satcat()).height == 50
    assert server.asked[0][1] == "/pub/satcat.csv"


def test_each_group_is_asked_by_itself(server):
    server.answers = [whole(gp(3))]
    assert fetch_gp("stations") != fetch_gp("iridium-33-debris")
    assert len(server.asked) == 2


def test_command_prints_where_how_many_when_and_from_whom(server):
    server.answers = [whole(gp(7))]
    for _ in range(2):
        result = CliRunner().invoke(main, ["fetch", "gp", "--group", "stations"])
        assert result.exit_code == 0, result.output
        lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
        assert lines["path"].endswith("gp-stations.json")
        assert lines["rows"] == "7"
        assert "UTC, 0 min ago" in lines["retrieved"]
        assert lines["source"].startswith(f"CelesTrak, {server.url}/NORAD/elements/gp.php?GROUP=stations")
        assert "; asked again from" in lines["source"]
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            whole(b"GP data has not updated since your\nlast successful download.", 403),
            "403 Forbidden: GP data has not",
        ),
        (whole(b"", 404), "HTTP 404 Not Found"),
        (whole(b"slow down", 429, Retry_After="10800"), "asks to wait 3 h (Retry-After): slow down"),
        (whole(b"", 500), "HTTP 500"),
        (whole(b"", 304), "HTTP 304"),
        (whole(gp(100), 206, Content_Range="bytes 5-6/7"), "HTTP 206 Partial Content"),
        (whole(b"<!doctype html><title>Login</title>"), "is not the catalog"),
        (whole(b'Invalid query: "GROUP=active&FORMAT=json" (GROUP "active" not found)'), 'GROUP "active" not found'),
        (whole(b"[]"), "the file holds no element set"),
        (whole(b'[{"NORAD_CAT_ID": "x"}]'), "the GP file lacks"),
        (whole(gp(3)[:-30]), "the JSON is damaged or cut off"),
        (whole(b"\x00\x01\x02\xff" * 30), "is not the catalog"),
        (whole(gp(100).replace(b'"ECCENTRICITY": 0.001', b'"ECCENTRICITY": 7', 30)), "30 of 100 rows break rules"),
        (whole(b" " * (1 << 21)), "announces 2097152 bytes; at most 1048576 are read"),
        (chunked(b" " * (1 << 21)), "is larger than 1048576 bytes"),
        (packed(b" " * (1 << 26)), "unpacks to more than 1048576 bytes"),
        (unmeasured(gp(100)), "does not say how long its answer is"),
        (whole(gp(3), Content_Encoding="br"), "packed its answer as 'br'"),
        (whole(b"", 302, Location="http://attic.example/gp.json"), "redirected to 'http://attic.example/gp.json'"),
        (whole(b"", 301, Location="http://localhost:1/x"), "redirects are followed on the same host only"),
        (whole(b"", 302, Location="file:///etc/passwd"), "same host only"),
        (whole(b"", 302), "same host only"),
        (whole(b"", 302, Location="/again"), "redirected more than 3 times"),
    ],
)
def test_a_refusal_stops_and_is_remembered(server, cache, answer, said):
    server.answers = [whole(gp(5))]
    old = ask().path
    kept = old.read_bytes()
    later(cache)
    server.answers, server.asked = [answer], []
    messages = []
    for _ in range(3):
        with pytest.raises(FetchError) as caught:
            ask()
        messages.append(str(caught.value))
    assert said in messages[0]
    assert messages[0] == messages[1] == messages[2]
    assert "\n" not in messages[0]
    assert "CelesTrak is not asked for this again before 20" in messages[0]
    assert f"Cached: {old}, retrieved 20" in messages[0]
    assert "(2 h ago)" in messages[0]
    assert len(server.asked) == (4 if "3 times" in said else 1)
    assert old.read_bytes() == kept
    assert not [path for path in cache.iterdir() if path.suffix not in (".json", ".lock")]
    later(cache, 7201 if "Retry-After" not in said else 10801)
    server.answers = [whole(gp(6))]
    assert ask().stored.rows == 6


def test_retry_after_holds_longer_than_two_hours(server, cache):
    date = formatdate(time.time() + 5 * 3600 + 30, usegmt=True)
    server.answers = [whole(b"", 429, Retry_After=date)]
    with pytest.raises(FetchError, match="asks to wait 5 h"):
        ask()
    later(cache)
    with pytest.raises(FetchError, match="asks to wait 5 h"):
        ask()
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (cut(gp(100), 5000), "broke off"),
        (cut(satcat(50), len(satcat(30))), "broke off"),
        (cut(gp(100), 0), "broke off"),
        (chunked(gp(100), finished=False), "broke off"),
        (cut(gp(100), 5000, stall_s=1.5), "ReadTimeout"),
        (drip(gp(100), 0.05), "took longer than 2 s"),
        (whole(gzip.compress(gp(100))[:-9], Content_Encoding="gzip"), "gzip of CelesTrak's answer is damaged"),
        (whole(gp(100), Content_Encoding="gzip"), "gzip of CelesTrak's answer is damaged"),
        (lambda handler: None, "broke off"),
        (lambda handler: handler.wfile.write(b"SSH-2.0-synthetic\r\n"), "broke off"),
    ],
)
def test_a_cut_is_never_whole_and_is_tried_three_times_at_most(server, cache, answer, said):
    server.answers = [whole(gp(5))]
    kept = ask().path.read_bytes()
    later(cache)
    server.answers, server.asked = [answer], []
    for _ in range(3 if "took" not in said else 1):
        with pytest.raises(FetchError, match=f"{said}.*Run this again.*Cached: "):
            ask()
    assert not [path for path in cache.iterdir() if path.suffix not in (".json", ".lock")]
    if "took" in said:
        return
    for _ in range(2):
        with pytest.raises(
            FetchError, match=r"3 requests brought no whole answer\. CelesTrak is not asked for this again"
        ):
            ask()
    assert len(server.asked) == 3
    [old] = cache.glob("*active.json")
    assert old.read_bytes() == kept
    later(cache)
    server.answers = [whole(gp(6))]
    assert ask().stored.rows == 6


@pytest.mark.parametrize("pack", [False, True])
def test_a_broken_download_is_begun_again(server, pack):
    body = gzip.compress(gp(100), mtime=0) if pack else gp(100)
    extra = {"Content_Encoding": "gzip"} if pack else {}
    server.answers = [cut(body, len(body) // 3, ETag='"version-1"', **extra), whole(body, **extra)]
    with pytest.raises(FetchError, match=r"Run this again$"):
        ask()
    assert ask().path.read_bytes() == gp(100)
    assert not any("Range" in headers for _, _, headers, _ in server.asked)


def test_a_redirect_on_the_same_host_is_followed(server):
    server.answers = [whole(b"", 301, Location="/moved/gp.json?x=1"), whole(gp(4))]
    found = ask()
    assert found.stored.rows == 4
    assert found.stored.url == f"{server.url}/moved/gp.json?x=1"
    assert found.problem.startswith(f"CelesTrak redirected to {found.stored.url}")
    assert [path for _, path, _, _ in server.asked][1] == "/moved/gp.json?x=1"


def test_offline_the_cached_one_is_used_and_named(server, cache, monkeypatch):
    query = make_query("gp")
    with pytest.raises(FetchError, match=r"CelesTrak cannot be reached .*; nothing is cached\. Check the network"):
        retrieve(query._replace(url=CLOSED + "x"), HASTY)
    server.answers = [whole(gp(5))]
    path = ask().path
    later(cache, 3 * 3600)
    server.shutdown()
    server.server_close()
    for _ in range(4):  # what never reached the server counts against nothing
        found = ask()
    assert found.path == path
    with pytest.warns(FetchWarning, match=r"CelesTrak cannot be reached .*; using the cached one of 20.* \(3 h old\)"):
        assert fetch_gp() == path
    result = CliRunner().invoke(main, ["fetch", "gp"])
    assert result.exit_code == 0
    assert result.stderr.startswith("Note: CelesTrak cannot be reached")
    assert len(result.stderr.splitlines()) == 1
    assert "3 h ago" in result.stdout


def test_a_cached_file_that_was_changed_is_not_taken_for_the_catalog(server, cache):
    server.answers = [whole(gp(5))]
    path = ask().path
    path.write_bytes(gp(4))
    with pytest.raises(FetchError, match=r"is gone or has been changed. CelesTrak is not asked for this again before"):
        ask()
    later(cache)
    assert ask().stored.rows == 5
    assert len(server.asked) == 2


def test_a_crash_between_state_and_file_loses_neither_version(server, cache):
    server.answers = [whole(gp(5))]
    path = ask().path
    old = path.read_bytes()
    later(cache)
    server.answers = [whole(gp(6))]
    ask()
    new = path.read_bytes()
    path.write_bytes(old)  # as if the process had died before it replaced the file, and the new one had been lost
    assert ask().stored.rows == 5
    path.with_name(path.name + ".new").write_bytes(new)  # or was still there
    assert ask().stored.rows == 6
    path.rename(path.with_name(path.name + ".new"))
    assert ask().path.read_bytes() == new
    assert len(server.asked) == 2


def test_a_damaged_note_stops_everything(server, cache):
    server.answers = [whole(gp(5))]
    ask()
    [note] = cache.glob("*.state.json")
    for text in ("{", "[]", "{}", '{"version": 1, "stored": 7}', note.read_text().replace("0.", '"a')):
        note.write_text(text)
        with pytest.raises(FetchError, match=r"state.json: the note of when this was last asked is damaged"):
            ask()
    assert len(server.asked) == 1


def test_a_clock_that_was_wrong_does_not_forbid_asking_for_years(server, cache):
    server.answers = [whole(gp(5))]
    ask()
    later(cache, -10 * 365 * 86400)
    ask()
    assert len(server.asked) == 2


def test_rows_that_break_rules_are_counted_and_named(server):
    server.answers = [whole(gp(100).replace(b'"ECCENTRICITY": 0.001', b'"ECCENTRICITY": 7', 1))]
    with pytest.warns(FetchWarning, match="rows that break rules, not counted: 1"):
        fetch_gp()


def command(*arguments: str, **settings: Any) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "ddcl_tab.cli", "fetch", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


def test_processes_at_the_same_time_share_one_request(server):
    server.answers = [cut(gp(100), len(gp(100)), stall_s=1.0)]  # slow, so that they overlap
    processes = [command("gp") for _ in range(4)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0], outputs
    assert len({stdout.splitlines()[0] for stdout, _ in outputs}) == 1
    assert len(server.asked) == 1


def test_a_process_that_never_ends_is_not_waited_for_for_ever(server, cache):
    cache.mkdir()
    query = make_query("gp")
    with FileLock(cache / f"{query.file}.lock"), pytest.raises(FetchError, match=r"another process has been fetching"):
        retrieve(query, Limits(0.1, 0.1, 0.1))
    assert not server.asked


def test_after_a_killed_process_the_next_one_begins_again(server, cache):
    server.answers = [cut(gp(100), 20000, stall_s=20), whole(gp(100))]
    process = command("gp")
    end = time.monotonic() + 30
    while time.monotonic() < end and not server.asked:
        time.sleep(0.02)
    time.sleep(0.2)  # so that some bytes have come
    process.kill()
    process.communicate()
    assert not list(cache.glob("*active.json"))
    assert ask().path.read_bytes() == gp(100)
    assert len(server.asked) == 2
    assert not [path for path in cache.iterdir() if path.suffix not in (".json", ".lock")]


def test_notes_of_versions_that_resumed_are_read(server, cache):
    server.answers = [whole(gp(5))]
    path = ask().path
    [note] = cache.glob("*.state.json")
    note.write_text(json.dumps({**json.loads(note.read_bytes()), "part": {"url": server.url, "etag": None}}))
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(gp(5)[:100])
    assert ask().path == path
    assert not part.exists()
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gp", "--group", "a&FORMAT=tle"), "letters, digits and hyphens"),
        (("gp", "--group", ""), "letters, digits and hyphens"),
        (("gp", "--group", "../../x"), "letters, digits and hyphens"),
        (("satcat", "--group", "active"), "only CelesTrak's element sets come in groups"),
        (("gp", "--source", "spacetrack", "--group", "active"), "only CelesTrak's element sets come in groups"),
    ],
)
def test_wrong_questions_are_not_sent(server, arguments, said):
    result = CliRunner().invoke(main, ["fetch", *arguments])
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not server.asked


@pytest.mark.parametrize(
    "url",
    ["http://celestrak.org", "ftp://celestrak.org", "celestrak.org", "https://a:secret-word@b.example", "https://[x/"],
)
def test_an_address_that_is_not_safe_is_refused(monkeypatch, url):
    monkeypatch.setenv("DDCL_TAB_CELESTRAK_URL", url)
    with pytest.raises(ConfigurationError, match="DDCL_TAB_CELESTRAK_URL") as caught:
        make_query("gp")
    assert "secret-word" not in str(caught.value)


def test_help_names_the_common_groups_and_both_limits():
    text = " ".join(CliRunner().invoke(main, ["fetch", "--help"]).output.split())
    assert all(group in text.replace("- ", "-") for group in COMMON_GROUPS)
    assert "once in two hours" in text


def test_a_cache_that_cannot_be_written_is_named(monkeypatch, tmp_path, server):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DDCL_TAB_CACHE", str(tmp_path / "file" / "x"))
    result = CliRunner().invoke(main, ["fetch", "gp"])
    assert result.exit_code == 2
    assert "no folder for the cache" in result.stderr
    assert "Set DDCL_TAB_CACHE" in result.stderr


def test_a_disk_that_is_full_is_one_line(server, cache):
    server.answers = [whole(gp(100))]
    process = command("gp", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)))
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert re.fullmatch(r"Error: .*-gp-active.json: the cache cannot be written: File too large\n", stderr)
    assert ask().stored.rows == 100


def test_without_the_extra_it_says_what_to_install(monkeypatch, server):
    monkeypatch.setitem(sys.modules, "httpx2", None)
    result = CliRunner().invoke(main, ["fetch", "gp"])
    assert result.exit_code == 2
    assert result.stderr == "Error: fetching needs the package httpx2. Install it: pip install 'ddcl-tab[fetch]'\n"
