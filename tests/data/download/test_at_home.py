"""MangaDex@Home on a network of one's own: refreshed base urls, reports of loads, and nothing that fails a download."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from diffsensei.config.schema import DownloadConfig
from diffsensei.data.download import at_home, fetching
from diffsensei.data.download.fetching import ImageFetcher
from diffsensei.data.refusal import Refusal

Result = TypeVar("Result")
CHAPTER = "01234567-89ab-4cde-8f01-23456789abcd"
NODE = "node.mangadex.network"
IMAGE = "/data/0123abcd/1-page.png"
OLD = f"/old-token{IMAGE}"
NEW = f"/new-token{IMAGE}"
ASK = f"/at-home/server/{CHAPTER}"
DOWNLOAD = DownloadConfig(
    requests_per_s=1000.0,
    max_connections=2,
    timeout_s=0.5,
    max_attempts=2,
    max_bytes=100_000,
    max_megapixels=1.0,
    allowed_hosts=("mangadex.org", "mangadex.network"),
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "BACKOFF_S", 0.01)
    monkeypatch.setattr(at_home, "API_REQUESTS_PER_S", 1000.0)
    monkeypatch.setattr(at_home, "AT_HOME_REQUESTS_PER_MINUTE", 6000.0)


@pytest.fixture
def network(server):
    """API, report endpoint and two nodes; the old base url is forbidden, the new one serves."""
    for host in (NODE, "dead.mangadex.network", "uploads.mangadex.org", at_home.API_HOST, at_home.REPORT_HOST):
        server.routes[host] = server.base
    server.answers |= {
        OLD: server.body(b"", status=403),
        NEW: server.body(b"image", X_Cache="HIT"),
        ASK: answer(server, f"https://{NODE}/new-token"),
        "/report": server.body(b"{}"),
    }
    return server


def answer(server, base: object):
    return server.body(json.dumps({"result": "ok", "baseUrl": base, "chapter": {"hash": "0123abcd"}}).encode())


def run(network, work: Callable[[ImageFetcher], Awaitable[Result]], limits: Path) -> Result:
    async def inside() -> Result:
        async with ImageFetcher(DOWNLOAD, contact="x", version="1", limits=limits, routes=network.routes) as fetcher:
            return await work(fetcher)

    return asyncio.run(inside())


def fetch(network, limits: Path, path: str = OLD, chapter: str | None = CHAPTER, host: str = NODE) -> bytes:
    return run(network, lambda fetcher: fetcher.fetch(f"https://{host}{path}", chapter), limits)


def reports(network) -> list[dict]:
    return [json.loads(body) for path, body in network.posted if path == "/report"]


def test_a_403_is_answered_by_one_question_and_one_more_try(network, tmp_path: Path) -> None:
    assert fetch(network, tmp_path) == b"image"
    assert dict(network.hits) == {OLD: 1, ASK: 1, NEW: 1, "/report": 2}
    assert not any(name.lower() in ("authorization", "cookie") for headers in network.headers for name in headers)


def test_every_load_from_a_node_is_reported(network, tmp_path: Path) -> None:
    fetch(network, tmp_path)
    failed, loaded = sorted(reports(network), key=lambda load: load["success"])
    assert {**failed, "duration": 0} == {
        "url": f"https://{NODE}{OLD}",
        "success": False,
        "bytes": 0,
        "duration": 0,
        "cached": False,
    }
    assert {**loaded, "duration": 0} == {
        "url": f"https://{NODE}{NEW}",
        "success": True,
        "bytes": 5,
        "duration": 0,
        "cached": True,
    }
    assert 0 <= loaded["duration"] < 5000


def test_loads_from_mangadex_itself_are_not_reported(network, tmp_path: Path) -> None:
    assert fetch(network, tmp_path, NEW, host="uploads.mangadex.org") == b"image"
    assert reports(network) == []


def test_an_unreachable_node_is_replaced(network, tmp_path: Path) -> None:
    network.routes["dead.mangadex.network"] = "http://127.0.0.1:9"
    assert fetch(network, tmp_path, host="dead.mangadex.network") == b"image"
    assert network.hits[ASK] == 1


def test_one_answer_serves_a_chapter(network, tmp_path: Path) -> None:
    pages = [f"/data/0123abcd/{number}-page.png" for number in range(4)]
    for page in pages:
        network.answers[f"/old-token{page}"] = network.body(b"", status=403)
        network.answers[f"/new-token{page}"] = network.body(page.encode())

    async def all_pages(fetcher: ImageFetcher) -> list[bytes]:
        return await asyncio.gather(*(fetcher.fetch(f"https://{NODE}/old-token{page}", CHAPTER) for page in pages))

    assert run(network, all_pages, tmp_path) == [page.encode() for page in pages]
    assert network.hits[ASK] == 1


def test_a_fresh_base_that_forbids_too_is_not_insisted_on(network, tmp_path: Path) -> None:
    network.answers[NEW] = network.body(b"", status=403)
    with pytest.raises(Refusal) as caught:
        fetch(network, tmp_path)
    assert (caught.value.reason, caught.value.state, caught.value.transient) == ("refused_403", "missing", True)
    assert (network.hits[OLD], network.hits[ASK], network.hits[NEW]) == (1, 1, 1)


def test_without_a_chapter_nothing_is_asked(network, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="refused_403"):
        fetch(network, tmp_path, chapter=None)
    assert (network.hits[OLD], network.hits[ASK]) == (1, 0)


def test_a_chapter_that_is_gone_is_a_dead_url(network, tmp_path: Path) -> None:
    network.answers[ASK] = network.body(b"", status=404)
    with pytest.raises(Refusal) as caught:
        fetch(network, tmp_path)
    assert (caught.value.reason, caught.value.state, caught.value.transient) == ("dead_url_404", "missing", False)


@pytest.mark.parametrize(
    "base",
    [
        *("", None, 7, [], "not a url", "http://node.mangadex.network/t", "https://evil.example/t"),
        *("https://127.0.0.1/t", "https://169.254.169.254/t", "https://user@node.mangadex.network/t", "file:///etc"),
        f"https://{NODE}/old-token",
    ],
)
def test_a_base_url_is_believed_no_more_than_any_other(network, tmp_path: Path, base: object) -> None:
    network.answers[ASK] = answer(network, base)
    with pytest.raises(Refusal, match="refused_403"):
        fetch(network, tmp_path)
    assert (network.hits[OLD], network.hits[ASK]) == (1, 1)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b"[" * 100_000, b"x" * 3_000_000, b"\xff\xfe"])
def test_an_api_that_talks_nonsense(network, tmp_path: Path, body: bytes) -> None:
    network.answers[ASK] = network.body(body)
    with pytest.raises(Refusal, match="refused_403"):
        fetch(network, tmp_path)


@pytest.mark.parametrize("status", [302, 400, 403, 500, 503])
def test_an_api_that_does_not_answer_is_asked_once_a_chapter(network, tmp_path: Path, status: int) -> None:
    network.answers[ASK] = network.body(b"", status=status, Location="https://127.0.0.1/")

    async def twice(fetcher: ImageFetcher) -> None:
        for _ in range(2):
            with pytest.raises(Refusal, match="refused_403"):
                await fetcher.fetch(f"https://{NODE}{OLD}", CHAPTER)

    run(network, twice, tmp_path)
    assert network.hits[ASK] == 1


def test_an_api_that_shuts_us_out_stops_the_run(network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffsensei.data.download.pacing.WAIT_RANGE_S", (0.01, 0.02))
    network.answers[ASK] = network.body(b"", status=429)

    async def insist(fetcher: ImageFetcher) -> None:
        for number in range(9):
            chapter = f"{number}{CHAPTER[1:]}"
            network.answers[f"/at-home/server/{chapter}"] = network.body(b"", status=429)
            with pytest.raises(Refusal, match="refused_403"):
                await fetcher.fetch(f"https://{NODE}{OLD}", chapter)

    with pytest.raises(ValueError, match=r"HTTP 429 3 times in a row \(at-home\)"):
        run(network, insist, tmp_path)


@pytest.mark.parametrize("trouble", ["refuses", "hangs", "is down"])
def test_reports_never_fail_a_download(network, tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_home, "REPORT_TIMEOUT_S", 0.3)
    if trouble == "is down":
        network.routes[at_home.REPORT_HOST] = "http://127.0.0.1:9"
    network.answers["/report"] = {
        "refuses": network.body(b"", status=429, Retry_After="1"),
        "hangs": lambda *_: time.sleep(3.0),
        "is down": network.body(b""),
    }[trouble]
    began = time.monotonic()
    assert fetch(network, tmp_path, NEW) == b"image"
    assert time.monotonic() - began < 2.0


def test_a_world_of_ones_own_has_no_business_with_mangadex(server, tmp_path: Path) -> None:
    server.answers["/data/a/1.png"] = server.body(b"", status=403)
    with pytest.raises(Refusal, match="refused_403"):
        fetch(server, tmp_path, "/data/a/1.png", host=server.host)
    assert dict(server.hits) == {"/data/a/1.png": 1}
