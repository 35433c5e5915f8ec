"""The whole intake against a hostile host, a bad disk and bad luck: a typed outcome for each, in time and memory."""

import errno
import gzip
import hashlib
import os
import socket
import threading
import time
import tracemalloc
from collections.abc import Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest

from diffsensei.config.schema import DownloadConfig
from diffsensei.data.download import fetching
from diffsensei.data.download.pages import fetch_all, write_fetched
from diffsensei.data.download.retries import retry_reasons
from diffsensei.data.halves import Half
from diffsensei.data.images import encode_png

DOWNLOAD = DownloadConfig(
    requests_per_s=1000.0,
    max_connections=3,
    timeout_s=0.8,
    max_attempts=2,
    max_bytes=200_000,
    max_megapixels=1.0,
    allowed_hosts=("mangadex.org",),
)
LONGEST_S = 20.0
"""Two tries of 0.8 s each, and what a busy machine needs beside; without deadlines some hosts would hold for ever."""
MOST_MEMORY = 20 * 2**20
IMAGE = encode_png(np.random.default_rng(1).integers(0, 256, (24, 16), dtype=np.uint8))
OTHER = encode_png(np.random.default_rng(2).integers(0, 256, (24, 16), dtype=np.uint8))
PATH = f"/data/chapter/1-{hashlib.sha256(IMAGE).hexdigest()}.png"
TEN_YEARS_S = 315_360_000


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "BACKOFF_S", 0.01)
    monkeypatch.setattr("diffsensei.data.download.pacing.WAIT_RANGE_S", (0.01, 0.02))


def fetch(urls: list[str], folder: Path, routes: Mapping[str, str], download: DownloadConfig = DOWNLOAD) -> list[Half]:
    records, _ = fetch_all(
        urls,
        download=download,
        contact="x",
        library=folder,
        limits=folder / "limits",
        progress=folder / "progress.json",
        routes=routes,
        chapters={},
    )
    return records


def reset(request: BaseHTTPRequestHandler, _: int) -> None:
    """Half of the body, then RST."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(IMAGE)))
    request.end_headers()
    request.wfile.write(IMAGE[: len(IMAGE) // 2])
    request.wfile.flush()
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    request.connection.close()
    request.close_connection = True


def slowloris_headers(request: BaseHTTPRequestHandler, _: int) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(100):
        request.wfile.write(f"X-{number}: 1\r\n".encode())
        request.wfile.flush()
        time.sleep(0.1)


def slowloris_body(request: BaseHTTPRequestHandler, _: int) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(IMAGE)))
    request.end_headers()
    for byte in IMAGE[:100]:
        request.wfile.write(bytes([byte]))
        request.wfile.flush()
        time.sleep(0.1)


def endless_headers(request: BaseHTTPRequestHandler, _: int) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        request.wfile.write(b"X-Again: " + b"x" * 4096 + b"\r\n")


def endless_chunks(request: BaseHTTPRequestHandler, _: int) -> None:
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    while True:
        request.wfile.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")


def no_http(request: BaseHTTPRequestHandler, _: int) -> None:
    request.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n" * 50)
    request.close_connection = True


def answers(server) -> dict[str, tuple]:
    """Name -> what the server does, and the states and reasons that may come of it."""
    body = server.body
    bomb = gzip.compress(bytes(50 * 2**20))
    return {
        "reset mid-body": (reset, {"unreachable", "short_body"}),
        "short body": (
            body(IMAGE[:100], Content_Length=str(len(IMAGE)), Connection="close"),
            {"short_body", "timeout"},
        ),
        "length too short": (body(IMAGE, Content_Length=str(len(IMAGE) - 50)), {"truncated_image", "broken_image"}),
        "length is no number": (body(IMAGE, Content_Length="many"), {"broken_http"}),
        "negative length": (body(IMAGE, Content_Length="-5"), {"broken_http"}),
        "slowloris, headers": (slowloris_headers, {"timeout"}),
        "slowloris, body": (slowloris_body, {"timeout"}),
        "endless headers": (endless_headers, {"broken_http"}),
        "endless body": (endless_chunks, {"too_large"}),
        "no HTTP": (no_http, {"broken_http", "short_body"}),
        "wrong image": (body(OTHER), {"sha256_mismatch"}),
        "HTML with 200": (body(b"<!doctype html><p>Gone", Content_Type="image/png"), {"not_an_image"}),
        "empty with 200": (body(b""), {"not_an_image"}),
        "gzip bomb": (body(bomb, Content_Encoding="gzip"), {"encoded_body"}),
        "bomb under another coding": (body(bomb, Content_Encoding="br, gzip"), {"encoded_body"}),
        "redirect to metadata": (
            body(b"", status=302, Location="https://169.254.169.254/latest/meta-data"),
            {"forbidden_host"},
        ),
        "redirect to a private address": (body(b"", status=301, Location="https://10.0.0.1/"), {"forbidden_host"}),
        "redirect to a file": (body(b"", status=307, Location="file:///etc/passwd"), {"bad_url"}),
        "redirect to nonsense": (body(b"", status=302, Location="https://[::1"), {"broken_http"}),
        "redirect loop": (body(b"", status=302, Location=PATH), {"too_many_redirects"}),
        "redirect without a place": (body(b"", status=302), {"refused_302"}),
        "5xx for ever": (body(b"", status=502), {"server_error_502"}),
        "gone": (body(b"", status=410), {"dead_url_410"}),
        "legal": (body(b"", status=451), {"dead_url_451"}),
        "teapot": (body(b"", status=418), {"refused_418"}),
        "forbidden": (body(b"", status=403), {"refused_403"}),
    }


CASES = (
    *("reset mid-body", "short body", "length too short", "length is no number", "negative length"),
    *("slowloris, headers", "slowloris, body", "endless headers", "endless body", "no HTTP", "wrong image"),
    *("HTML with 200", "empty with 200", "gzip bomb", "bomb under another coding", "redirect to metadata"),
    *("redirect to a private address", "redirect to a file", "redirect to nonsense", "redirect loop"),
    *("redirect without a place", "5xx for ever", "gone", "legal", "teapot", "forbidden"),
)


def test_every_case_is_listed(server) -> None:
    assert set(CASES) == set(answers(server))


@pytest.mark.parametrize("case", CASES)
def test_a_rude_answer_is_one_refused_url_and_the_rest_goes_on(server, tmp_path: Path, case: str) -> None:
    rude, reasons = answers(server)[case]
    server.answers |= {PATH: rude, "/before.png": server.body(OTHER), "/after.png": server.body(OTHER)}
    began = time.monotonic()
    tracemalloc.start()
    try:
        before, refused, after = fetch(
            [server.url(path) for path in ("/before.png", PATH, "/after.png")], tmp_path, server.routes
        )
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < LONGEST_S
    assert (before.state, after.state) == ("ok", "ok")
    assert refused.reason in reasons
    assert refused.state in ("missing", "removed", "quarantined")
    assert bool(refused.sha256) == (refused.reason in ("sha256_mismatch", "not_an_image", "truncated_image")), case


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Retry_After": str(TEN_YEARS_S)},
        {"Retry_After": f"-{TEN_YEARS_S}"},
        {"Retry_After": formatdate(time.time() + TEN_YEARS_S, usegmt=True)},
        {"X_RateLimit_Retry_After": str(int(time.time()) + TEN_YEARS_S)},
        {"X_RateLimit_Retry_After": str(-TEN_YEARS_S)},
        {"X_RateLimit_Retry_After": "1e400"},
    ],
)
def test_a_storm_of_429_stops_soon_whatever_wait_it_names(server, tmp_path: Path, headers: dict[str, str]) -> None:
    paths = [f"/{number}.png" for number in range(20)]
    server.answers |= dict.fromkeys(paths, server.body(b"", status=429, **headers))
    began = time.monotonic()
    urls = [server.url(path) for path in paths]
    for expected in ("HTTP 429 3 times in a row", "wait 60 min"):
        with pytest.raises(ValueError, match=expected) as caught:
            fetch(urls, tmp_path, server.routes)
        assert "\n" not in str(caught.value)
    assert time.monotonic() - began < LONGEST_S
    assert sum(server.hits.values()) <= 3 + 2 * DOWNLOAD.max_connections, "the second start asked nobody"


def test_many_403_stop_the_run_and_what_came_is_kept(server, tmp_path: Path) -> None:
    server.answers["/good.png"] = server.body(OTHER)
    paths = ["/good.png", *(f"/{number}.png" for number in range(30))]
    server.answers |= dict.fromkeys(paths[1:], server.body(b"", status=403))
    urls = [server.url(path) for path in paths]
    with pytest.raises(ValueError, match="HTTP 403 10 times in a row"):
        fetch(urls, tmp_path, server.routes, DOWNLOAD.replaced(max_connections=1))
    assert sum(server.hits.values()) == 11, "once each"
    assert fetch(urls[:1], tmp_path, server.routes)[0].state == "ok", "it needs no request"


def test_down_then_up(server, tmp_path: Path) -> None:
    server.answers[PATH] = server.body(IMAGE)
    (down,) = fetch([server.url(PATH)], tmp_path, {server.host: "http://127.0.0.1:9"})
    assert (down.reason, down.state, down.transient) == ("unreachable", "missing", True)
    (up,) = fetch([server.url(PATH)], tmp_path, server.routes)
    assert up.state == "ok"


def test_no_name_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    (record,) = fetch(["https://uploads.mangadex.org/data/a/1.png"], tmp_path, {})
    assert (record.reason, record.state, record.transient) == ("unreachable", "missing", True)
    assert record.evidence == "no address for uploads.mangadex.org"


def test_a_retry_asks_for_those_urls_and_no_others(server, tmp_path: Path) -> None:
    server.answers |= {"/good.png": server.body(OTHER), "/wrong.png": server.body(b"<html>")}
    urls = [server.url(path) for path in ("/good.png", "/wrong.png", "/dead.png")]
    fetch(urls, tmp_path, server.routes)
    server.hits.clear()
    fetch(urls, tmp_path, server.routes)
    assert not server.hits
    assert retry_reasons(tmp_path, ["dead_url_404"]) == {"dead_url_404": 1}
    server.answers["/dead.png"] = server.body(IMAGE)
    assert [record.state for record in fetch(urls, tmp_path, server.routes)] == ["ok", "quarantined", "ok"]
    assert dict(server.hits) == {"/dead.png": 1}


def test_two_downloaders_at_once(server, tmp_path: Path) -> None:
    """Of one library: one works, the other says so in a line; of two libraries: both, through one limiter."""
    waiting = threading.Event()

    def slow(request: BaseHTTPRequestHandler, before: int) -> None:
        waiting.set()
        time.sleep(0.5)
        server.body(OTHER)(request, before)

    server.answers["/slow.png"] = slow
    urls = [server.url("/slow.png")]
    found: list[Half] = []
    first = threading.Thread(target=lambda: found.extend(fetch(urls, tmp_path, server.routes)))
    first.start()
    assert waiting.wait(5.0)
    with pytest.raises(ValueError, match="another download is writing"):
        fetch(urls, tmp_path, server.routes)
    first.join()
    assert [record.state for record in found] == ["ok"]
    assert server.hits["/slow.png"] == 1


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_at_any_write_loses_nothing(
    server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    """The k-th flush fails, for every k until none does: the run ends loudly, the next one goes on to the same end."""
    pictures = [encode_png(np.full((8, 8), number, dtype=np.uint8)) for number in range(4)]
    paths = [f"/1-{hashlib.sha256(data).hexdigest()}.png" for data in pictures]
    server.answers |= {path: server.body(data) for path, data in zip(paths, pictures, strict=True)}
    server.answers[paths[3]] = server.body(b"<html>")
    urls = [server.url(path) for path in paths]
    whole = fetch(urls, tmp_path / "whole", server.routes)
    flush = os.fsync
    for failing in range(1, 50):
        calls = [0]

        def sometimes(descriptor: int, calls: list[int] = calls, failing: int = failing) -> None:
            calls[0] += 1
            if calls[0] == failing:
                raise OSError(fault, os.strerror(fault))
            flush(descriptor)

        folder = tmp_path / str(failing)
        monkeypatch.setattr(os, "fsync", sometimes)
        survived = True
        try:
            fetch(urls, folder, server.routes)
        except OSError as error:
            survived = error.errno != fault
        monkeypatch.setattr(os, "fsync", flush)
        assert fetch(urls, folder, server.routes) == whole
        (folder / "output").mkdir()
        write_fetched(whole, library=folder, output=folder / "output")
        assert len(list((folder / "output/objects").glob("*/*"))) == 3
        assert not list(folder.glob("*/*/*.part"))
        if survived:
            break
    assert survived
    assert failing > len(urls), "every flush was made to fail once"
