"""The fetcher against a hostile server: each rudeness ends in a typed refusal within its deadline."""

import asyncio
import tempfile
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from diffsensei.config.schema import DownloadConfig
from diffsensei.data.download import fetching
from diffsensei.data.download.fetching import ImageFetcher
from diffsensei.data.refusal import Refusal

DOWNLOAD = DownloadConfig(
    requests_per_s=1000.0,
    max_connections=2,
    timeout_s=0.5,
    max_attempts=3,
    max_bytes=100_000,
    max_megapixels=1.0,
    allowed_hosts=("mangadex.org",),
)


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "BACKOFF_S", 0.01)


def fetch(server, path: str, download: DownloadConfig = DOWNLOAD, limits: Path | None = None) -> bytes:
    async def run() -> bytes:
        async with ImageFetcher(
            download, contact="+me@example.org", version="1", limits=limits or Path(fresh), routes=server.routes
        ) as fetcher:
            return await fetcher.fetch(server.url(path))

    with tempfile.TemporaryDirectory() as fresh:
        return asyncio.run(run())


def refusal(server, path: str, download: DownloadConfig = DOWNLOAD) -> Refusal:
    with pytest.raises(Refusal) as caught:
        fetch(server, path, download)
    return caught.value


def hang(request: BaseHTTPRequestHandler, _: int) -> None:
    time.sleep(10.0)


def drip(request: BaseHTTPRequestHandler, _: int) -> None:
    """Slowloris: each byte in time, the whole never."""
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    for _ in range(100):
        request.wfile.write(b"x")
        request.wfile.flush()
        time.sleep(0.1)


def endless(request: BaseHTTPRequestHandler, _: int) -> None:
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b"x" * 65536)


def hang_up(request: BaseHTTPRequestHandler, _: int) -> None:
    request.close_connection = True
    request.connection.close()


def test_body_and_manners(server) -> None:
    server.answers["/a"] = server.body(b"image")
    assert fetch(server, "/a") == b"image"
    (headers,) = server.headers
    assert headers["user-agent"] == "diffsensei-pipeline/1 (+me@example.org)"
    assert not {"via", "authorization", "cookie", "referer"} & {name.lower() for name in headers}


@pytest.mark.parametrize("status", [404, 410, 451])
def test_gone_is_final_at_once(server, status: int) -> None:
    server.answers["/a"] = server.body(b"", status=status)
    refused = refusal(server, "/a")
    assert (refused.reason, refused.state, refused.transient) == (f"dead_url_{status}", "removed", False)
    assert server.hits["/a"] == 1


def test_server_error_passes_or_not(server) -> None:
    error = server.body(b"", status=503)
    server.answers["/passes"] = server.in_turn(error, error, server.body(b"ok"))
    assert fetch(server, "/passes") == b"ok"
    server.answers["/stays"] = error
    refused = refusal(server, "/stays")
    assert (refused.reason, refused.transient, server.hits["/stays"]) == ("server_error_503", True, 3)


def test_429_waits_as_told(server) -> None:
    server.answers["/a"] = server.in_turn(server.body(b"", status=429, Retry_After="1"), server.body(b"ok"))
    began = time.monotonic()
    assert fetch(server, "/a") == b"ok"
    assert time.monotonic() - began >= 1.0


def test_429_for_ever_stops_the_run(server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffsensei.data.download.pacing.WAIT_RANGE_S", (0.01, 0.02))
    server.answers["/a"] = server.body(b"", status=429, Retry_After="315360000")
    with pytest.raises(ValueError, match="shut us out"):
        fetch(server, "/a", DOWNLOAD.replaced(max_attempts=9))
    assert server.hits["/a"] == 3


def test_deadlines(server) -> None:
    for answer in (hang, drip):
        server.answers["/a"] = answer
        began = time.monotonic()
        refused = refusal(server, "/a", DOWNLOAD.replaced(max_attempts=1))
        assert (refused.reason, refused.state) == ("timeout", "missing")
        assert time.monotonic() - began < 5.0, "the deadline is that of the whole request"


def test_broken_connections(server) -> None:
    server.answers["/short"] = server.body(b"half", Content_Length="400", Connection="close")
    assert refusal(server, "/short", DOWNLOAD.replaced(timeout_s=2.0)).reason in ("short_body", "timeout")
    server.answers["/closed"] = hang_up
    assert refusal(server, "/closed").transient
    server.routes[server.host] = "http://127.0.0.1:9"
    assert refusal(server, "/nobody").reason == "unreachable"


def test_byte_cap(server) -> None:
    server.answers["/announced"] = server.body(b"", Content_Length=str(10**12))
    assert refusal(server, "/announced").reason == "too_large"
    server.answers["/endless"] = endless
    began = time.monotonic()
    assert refusal(server, "/endless", DOWNLOAD.replaced(timeout_s=30.0)).reason == "too_large"
    assert time.monotonic() - began < 10.0
    assert server.hits["/endless"] == 1


def test_compressed_body_is_never_inflated(server) -> None:
    server.answers["/a"] = server.body(b"\x1f\x8b", Content_Encoding="gzip")
    assert refusal(server, "/a").reason == "encoded_body"


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://127.0.0.1/secret", "bad_url"),
        ("https://127.0.0.1/secret", "forbidden_host"),
        ("https://169.254.169.254/latest/meta-data", "forbidden_host"),
        ("https://evil.example/a.png", "forbidden_host"),
        ("file:///etc/passwd", "bad_url"),
        ("//evil.example/a.png", "forbidden_host"),
        ("/loop", "too_many_redirects"),
    ],
)
def test_redirects_are_checked_again(server, location: str, reason: str) -> None:
    server.answers["/a"] = server.answers["/loop"] = server.body(b"", status=302, Location=location)
    assert refusal(server, "/a").reason == reason


def test_allowed_redirect_is_followed(server) -> None:
    server.answers["/a"] = server.body(b"", status=302, Location="/b")
    server.answers["/b"] = server.body(b"ok")
    assert fetch(server, "/a") == b"ok"


def test_redirect_to_a_private_address_by_name(server, tmp_path: Path) -> None:
    """An allowed host that resolves to a private address: nothing is sent."""
    server.answers["/a"] = server.body(b"", status=302, Location="https://inside.mangadex.org/a.png")

    async def inside(host: str) -> list[str]:
        assert host == "inside.mangadex.org"
        return ["10.0.0.7"]

    async def run() -> None:
        routes = server.routes
        async with ImageFetcher(
            DOWNLOAD, contact="x", version="1", limits=tmp_path, routes=routes, resolve=inside
        ) as fetcher:
            await fetcher.fetch(server.url("/a"))

    with pytest.raises(Refusal, match="private_address"):
        asyncio.run(run())


def test_loopback_needs_a_route(server) -> None:
    server.answers["/a"] = server.body(b"secret")
    server.routes.clear()
    assert refusal(server, "/a").reason == "forbidden_host"
    assert not server.hits
