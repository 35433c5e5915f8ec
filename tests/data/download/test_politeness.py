"""What hosts see of any number of downloaders together: never more than was agreed, in any one second."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

REQUESTS_PER_S = 20
SECONDS = 3.0

DOWNLOADER = """
import asyncio, json, sys, time
from pathlib import Path
from diffsensei.config.schema import DownloadConfig
from diffsensei.data.download.fetching import ImageFetcher

async def run(name, routes, url, config, limits, seconds):
    config = DownloadConfig(**config)
    async with ImageFetcher(config, contact="x", version="1", limits=Path(limits), routes=routes) as fetcher:
        print("ready", flush=True)
        sys.stdin.readline()
        until = time.monotonic() + seconds

        async def connection(number):
            while time.monotonic() < until:
                await fetcher.fetch(f"{url}/{name}/{number}")

        await asyncio.gather(*(connection(number) for number in range(config.max_connections)))

asyncio.run(run(**json.loads(sys.argv[1])))
"""


def start(server, limits: Path, name: int) -> subprocess.Popen:
    config = {
        "requests_per_s": REQUESTS_PER_S,
        "max_connections": 2,
        "timeout_s": 5.0,
        "max_attempts": 2,
        "max_bytes": 1000,
        "max_megapixels": 1.0,
        "allowed_hosts": ["mangadex.org"],
    }
    arguments = {
        "name": name,
        "routes": server.routes,
        "url": server.url(""),
        "config": config,
        "limits": str(limits),
        "seconds": SECONDS,
    }
    process = subprocess.Popen(
        [sys.executable, "-c", DOWNLOADER, json.dumps(arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for number in range(2):
        server.answers[f"/{name}/{number}"] = server.body(b"image")
    return process


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [1, 2, 4])
def test_no_second_holds_more_requests_than_agreed(server, tmp_path: Path, num_processes: int) -> None:
    """From four on, one of them is killed half-way, which changes nothing for the rest."""
    processes = [start(server, tmp_path, name) for name in range(num_processes)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    if num_processes == 4:
        time.sleep(SECONDS / 2)
        processes.pop().kill()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    arrivals = sorted(server.arrivals)
    in_a_second = [sum(first <= moment < first + 1.0 for moment in arrivals) for first in arrivals]
    assert max(in_a_second) <= REQUESTS_PER_S
    assert len(arrivals) >= 0.5 * REQUESTS_PER_S * SECONDS, "polite, not idle"
