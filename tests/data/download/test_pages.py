"""The download stage: verified bytes only, a state for every url, and no second request for what is known."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from diffsensei.config.schema import DownloadConfig, MangaZeroSource, SyntheticSource
from diffsensei.data.download import fetching
from diffsensei.data.download.pages import download_pages, fetch_all, page_urls
from diffsensei.data.images import encode_png
from diffsensei.data.sources.annotations import collect_annotations

DOWNLOAD = DownloadConfig(
    requests_per_s=1000.0,
    max_connections=4,
    timeout_s=2.0,
    max_attempts=2,
    max_bytes=100_000,
    max_megapixels=1.0,
    allowed_hosts=("mangadex.org",),
)


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "BACKOFF_S", 0.01)


def picture(seed: int) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 256, (24, 16), dtype=np.uint8))


def named(data: bytes, number: int = 1) -> str:
    return f"/data/chapter/{number}-{hashlib.sha256(data).hexdigest()}.png"


def fates(server, workspace: Path, paths: list[str], download: DownloadConfig = DOWNLOAD) -> tuple[dict, int]:
    urls = [path if path.startswith("https:") else server.url(path) for path in paths]
    records, requests = fetch_all(urls, download=download, contact="x", workspace=workspace, routes=server.routes)
    assert [record.url for record in records] == urls
    return dict(zip(paths, records, strict=True)), requests


def test_every_url_gets_a_state_and_a_reason(server, tmp_path: Path) -> None:
    good, cut, html = picture(1), picture(2)[:300], b"<html>gone</html>"
    paths = {
        named(good): (good, "ok", ""),
        "/old-style/x1.png": (picture(3), "ok", ""),  # early names carry no digest
        named(picture(2)): (cut, "quarantined", "truncated_image"),
        named(picture(4)): (picture(5), "quarantined", "sha256_mismatch"),
        named(picture(6)): (html, "quarantined", "not_an_image"),
        named(picture(7)): (b"x" * 200_000, "quarantined", "too_large"),
    }
    for path, (data, _, _) in paths.items():
        server.answers[path] = server.body(data)
    paths |= {
        "/dead.png": (b"", "removed", "dead_url_404"),
        "https://127.0.0.1/a.png": (b"", "quarantined", "forbidden_host"),
    }
    found, _ = fates(server, tmp_path, list(paths))
    assert {path: (found[path].state, found[path].reason) for path in paths} == {
        path: verdict for path, (_, *verdict_list) in paths.items() for verdict in [tuple(verdict_list)]
    }
    record = found[named(good)]
    assert (record.width, record.height) == (16, 24)
    for path, (data, state, _) in paths.items():
        stored = tmp_path / ("objects" if state == "ok" else "rejected") / found[path].sha256[:2] / found[path].sha256
        if found[path].sha256:
            assert stored.read_bytes() == data
        else:
            assert state != "ok"
    assert server.hits[named(picture(4))] == 2, "wrong bytes are asked for once more"
    assert server.hits[named(good)] == 1


def test_a_rerun_fetches_only_what_is_unknown_or_may_pass(server, tmp_path: Path) -> None:
    kept, lost = picture(1), picture(2)
    server.answers |= {
        named(kept): server.body(kept),
        named(lost): server.body(lost),
        "/busy": server.body(b"", status=503),
    }
    paths = [named(kept), named(lost), "/busy", "/dead"]
    first, _ = fates(server, tmp_path, paths)
    (tmp_path / "objects" / first[named(lost)].sha256[:2] / first[named(lost)].sha256).write_bytes(b"bit rot")
    server.answers["/busy"] = server.body(picture(3))
    server.hits.clear()
    again, requests = fates(server, tmp_path, paths)
    assert dict(server.hits) == {named(lost): 1, "/busy": 1}
    assert requests == 2
    assert again["/busy"].state == "ok"
    assert again[named(lost)] == first[named(lost)]
    assert again["/dead"].reason == "dead_url_404"


def test_same_url_is_fetched_once() -> None:
    page = {
        "image_path": "a/1.jpg",
        "frames": [],
        "meta": {"url1": "https://h/1", "url2": "https://h/1", "width1": 1, "width2": 1},
    }
    bad: list[Any] = [{}, {"meta": 3}, page | {"image_path": "../../etc/passwd"}, page | {"frames": "x"}]
    assert page_urls([*bad, page, page | {"image_path": "a/2.jpg"}]) == ["https://h/1"]


def test_consent_and_contact_come_first(tmp_path: Path) -> None:
    source = MangaZeroSource(annotations="annotations.json")
    for changes, expected in (
        ({}, "accept_download=true"),
        ({"accept_download": True}, "contact"),
        ({"accept_download": True, "contact": "a\nVia: b"}, "contact"),
    ):
        with pytest.raises(ValueError, match=expected) as caught:
            download_pages(
                source=source.replaced(**changes),
                download=DOWNLOAD,
                annotations=tmp_path,
                workspace=tmp_path,
                output=tmp_path,
            )
        assert "\n" not in str(caught.value)


SLOW_DOWNLOAD = """
import json, sys
from pathlib import Path
from diffsensei.config.schema import DownloadConfig, SyntheticSource
from diffsensei.data.download.pages import download_pages
arguments = json.loads(sys.argv[1])
download_pages(source=SyntheticSource(**arguments["source"]), download=DownloadConfig(**arguments["download"]),
               **{name: Path(arguments[name]) for name in ("annotations", "workspace", "output")})
"""


def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    """SIGKILL in the middle: nothing journaled is fetched again, and the result is the same to the byte."""
    source = SyntheticSource(num_series=1, pages_per_series=8, page_height=96, seed=5, defect_rate=0.3)
    names = ("annotations", "workspace", "output", "workspace-whole", "output-whole", "scratch")
    folders = {name: tmp_path / name for name in names}
    for folder in folders.values():
        folder.mkdir()
    collect_annotations(source=source, workspace=folders["scratch"], output=folders["annotations"])
    slow = DOWNLOAD.replaced(requests_per_s=4.0)
    arguments = {
        "source": source.model_dump(),
        "download": slow.model_dump(),
        **{name: str(folders[name]) for name in ("annotations", "workspace", "output")},
    }
    journal = folders["workspace"] / "journal.jsonl"
    process = subprocess.Popen([sys.executable, "-c", SLOW_DOWNLOAD, json.dumps(arguments)])
    deadline = time.monotonic() + 60
    while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    acknowledged = journal.read_bytes().count(b"\n")
    assert not (folders["output"] / "halves.parquet").exists()

    for suffix in ("", "-whole"):
        download_pages(
            source=source,
            download=DOWNLOAD,
            annotations=folders["annotations"],
            workspace=folders[f"workspace{suffix}"],
            output=folders[f"output{suffix}"],
        )
    resumed, whole = (
        json.loads((folders[name] / "logs/throughput.json").read_text()) for name in ("output", "output-whole")
    )
    assert resumed["requests"] <= whole["requests"] - acknowledged
    files = [
        {
            str(path.relative_to(folders[name])): path.read_bytes()
            for path in folders[name].rglob("*")
            if path.is_file() and "logs" not in path.parts
        }
        for name in ("output", "output-whole")
    ]
    assert files[0] == files[1]
    halves = pd.read_parquet(folders["output"] / "halves.parquet")
    assert len(halves) == resumed["urls"] >= 12
    for row in halves[halves["state"] == "ok"].itertuples():
        content = (folders["output"] / "objects" / row.sha256[:2] / row.sha256).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row.sha256
