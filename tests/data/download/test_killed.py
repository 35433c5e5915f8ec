"""SIGKILL at any moment: the result is that of an uninterrupted download, to the byte, and little is asked twice."""

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from diffsensei.data.download.journal import Journal
from diffsensei.data.images import encode_png
from diffsensei.data.objects import Objects

NUM_KILLS = 30
NUM_CONNECTIONS = 3
CONTENT_TRIES = 2
START_S = 0.1
"""About what a decoding process takes to start; most kills come later."""

STARTER = """
import json, os, sys, traceback
from pathlib import Path
from diffsensei.config.schema import DownloadConfig
from diffsensei.data.download.pages import fetch_all, write_fetched

def download(urls, routes, config, library, limits, output):
    records, _ = fetch_all(urls, download=DownloadConfig(**config), contact="x", library=Path(library),
                           limits=Path(limits), progress=Path(library) / "progress.json", routes=routes, chapters={})
    write_fetched(records, library=Path(library), output=Path(output))

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            download(**json.loads(line))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""
"""Forks a download for each line it reads, so that thirty starts do not import everything thirty times."""


class Downloads:
    """Downloads in processes of their own."""

    def __init__(self, arguments: dict) -> None:
        self._line = json.dumps(arguments) + "\n"
        self._starter = subprocess.Popen(
            [sys.executable, "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, kill_after_s: float | None = None) -> int:
        """Start one and wait; its wait status (9 when killed)."""
        assert self._starter.stdin is not None
        assert self._starter.stdout is not None
        self._starter.stdin.write(self._line)
        self._starter.stdin.flush()
        process = int(self._starter.stdout.readline())
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return int(self._starter.stdout.readline())

    def close(self) -> None:
        self._starter.communicate()


def world(server) -> list[str]:
    """60 urls: good ones, dead ones, wrong images and torn ones."""
    urls = []
    for number in range(60):
        data = encode_png(np.random.default_rng(number).integers(0, 256, (24, 16), dtype=np.uint8))
        path = f"/data/chapter/{number}-{hashlib.sha256(data).hexdigest()}.png"
        if number % 10 == 3:
            data = data[:-20]
        if number % 10 != 7:
            server.answers[path] = server.body(data)
        urls.append(server.url(path))
    return urls


def journaled(path: Path) -> set[str]:
    if not path.exists():
        return set()
    with Journal(path) as journal:
        return set(journal.read())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_thirty_kills_and_an_uninterrupted_download_give_the_same(server, tmp_path: Path) -> None:
    urls = world(server)
    config = {
        "requests_per_s": 18.0,
        "max_connections": NUM_CONNECTIONS,
        "timeout_s": 5.0,
        "max_attempts": 2,
        "max_bytes": 100_000,
        "max_megapixels": 1.0,
        "allowed_hosts": ["mangadex.org"],
    }

    def downloads(name: str, **changes: object) -> Downloads:
        (tmp_path / f"output-{name}").mkdir()
        return Downloads(
            {
                "urls": urls,
                "routes": server.routes,
                "config": config | changes,
                "library": str(tmp_path / name),
                "limits": str(tmp_path / f"limits-{name}"),
                "output": str(tmp_path / f"output-{name}"),
            }
        )

    whole = downloads("whole", requests_per_s=1000.0)
    assert whole.run() == 0
    whole.close()
    requests_uninterrupted = sum(server.hits.values())
    server.hits.clear()

    killed = downloads("killed")
    moments = random.Random(20)
    num_killed = 0
    for _ in range(3 * NUM_KILLS):
        acknowledged = journaled(tmp_path / "killed/journal.jsonl")
        before = server.hits.copy()
        status = killed.run(moments.uniform(0.0, 0.2) + (START_S if moments.random() < 0.8 else 0.0))
        asked = {server.url(path) for path in server.hits if server.hits[path] > before[path]}
        assert not asked & acknowledged, "what was acknowledged before the kill is not asked for again"
        assert not list((tmp_path / "output-killed").iterdir()) or status == 0
        num_killed += status == signal.SIGKILL
        if num_killed == NUM_KILLS:
            break
        assert status == signal.SIGKILL, "it ended before it could be killed"
    assert killed.run() == 0
    killed.close()

    assert files(tmp_path / "output-killed") == files(tmp_path / "output-whole")
    assert len(files(tmp_path / "output-whole/objects")) == 48
    kept = Objects(tmp_path / "killed/objects")
    assert all(kept.is_intact(path.name) for path in (tmp_path / "killed/objects").glob("*/*"))
    most = requests_uninterrupted + NUM_KILLS * NUM_CONNECTIONS * CONTENT_TRIES
    assert sum(server.hits.values()) <= most
