"""Downloaders of several processes against a host that notes when each request comes: what it sees of them together."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.data.hostile_server import HostileServer, hostile_server

NUM_CONNECTIONS = 2

DOWNLOADER = """
import asyncio, json, sys, time
from pathlib import Path
from diffsensei.config.schema import DownloadConfig
from diffsensei.data.download.fetching import ImageFetcher

async def run(url, routes, config, limits, seconds):
    config = DownloadConfig(**config)
    async with ImageFetcher(config, contact="x", version="1", limits=Path(limits), routes=routes) as fetcher:
        print("ready", flush=True)
        sys.stdin.readline()
        until = time.monotonic() + seconds

        async def connection():
            while time.monotonic() < until:
                await fetcher.fetch(url)

        await asyncio.gather(*(connection() for _ in range(config.max_connections)))

asyncio.run(run(**json.loads(sys.argv[1])))
"""


@dataclass(frozen=True)
class Traffic:
    """What the host saw."""

    num_processes: int
    agreed: int
    """Requests a second that all together may send."""
    most_in_a_second: int
    """The fullest window of one second."""
    reached: float
    """Requests a second, from the first to the last."""


def observe(num_processes: int, agreed: int, seconds: float, *, kill_one: bool = False) -> Traffic:
    """Let ``num_processes`` download for ``seconds``; one of them may be killed half-way, by SIGKILL."""
    with hostile_server() as server, tempfile.TemporaryDirectory() as limits:
        server.answers["/image"] = server.body(b"image")
        processes = [_start(server, Path(limits), agreed, seconds) for _ in range(num_processes)]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        if kill_one:
            time.sleep(seconds / 2)
            processes[-1].kill()
        codes = [(process.communicate(), process.returncode)[1] for process in processes]
        assert codes == [0] * (num_processes - kill_one) + [-9] * kill_one
        arrivals = sorted(server.arrivals)
    most = max(sum(first <= moment < first + 1.0 for moment in arrivals) for first in arrivals)
    return Traffic(num_processes, agreed, most, (len(arrivals) - 1) / (arrivals[-1] - arrivals[0]))


def table(agreed: int = 50, seconds: float = 5.0) -> Iterator[str]:
    """A line for 1 to 4 processes. Raises AssertionError, before anything is told, where a second held too many."""
    for num_processes in (1, 2, 3, 4):
        seen = observe(num_processes, agreed, seconds)
        assert seen.most_in_a_second <= agreed, seen
        yield (
            f"{num_processes} downloading: {seen.reached:.1f} requests/s of {agreed} agreed, "
            f"at most {seen.most_in_a_second} in any second"
        )


def _start(server: HostileServer, limits: Path, agreed: int, seconds: float) -> subprocess.Popen[str]:
    arguments = {
        "url": server.url("/image"),
        "routes": server.routes,
        "config": {
            "requests_per_s": agreed,
            "max_connections": NUM_CONNECTIONS,
            "timeout_s": 10.0,
            "max_attempts": 2,
            "max_bytes": 1000,
            "max_megapixels": 1.0,
            "allowed_hosts": ["mangadex.org"],
        },
        "limits": str(limits),
        "seconds": seconds,
    }
    process = subprocess.Popen(
        [sys.executable, "-c", DOWNLOADER, json.dumps(arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process
