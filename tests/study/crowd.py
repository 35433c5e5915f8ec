"""Many raters at once against a server of their own, in another process."""

import asyncio
import os
import random
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from diffsensei.study.packets import read_tokens

ROOT = Path(__file__).parents[2]


@dataclass
class Crowd:
    """What raters were told."""

    acknowledged: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """(packet, vote) of every vote of which the server said that it is stored."""
    waits_s: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@contextmanager
def served(study: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A server of ``study``, and its address; killed at the end."""
    command = [sys.executable, "-c", "from flows.cli import main; main()", "study", "serve", str(study), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        process.stdout.readline()
        yield address, process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


async def vote_all(
    address: str,
    study: Path,
    crowd: Crowd,
    kill: "tuple[subprocess.Popen[str], float] | None" = None,
    thinking_s: float = 0.0,
) -> None:
    """Everybody who has an invitation answers everything, until done or the server is gone.

    ``kill``: a process, and after how many seconds of voting it gets SIGKILL. Before each vote a rater thinks for up to
    ``thinking_s``.
    """
    context = ssl.create_default_context()
    async with AsyncExitStack() as stack:
        tasks = []
        for packet, token in read_tokens(study).items():
            client = httpx.AsyncClient(base_url=address, timeout=60, verify=context)
            await stack.enter_async_context(client)
            tasks.append(asyncio.create_task(_rater(client, packet, token, crowd, thinking_s)))
        if kill is not None:
            process, after_s = kill
            while not crowd.acknowledged and not all(task.done() for task in tasks):
                await asyncio.sleep(0.002)
            await asyncio.sleep(after_s)
            process.send_signal(signal.SIGKILL)
        await asyncio.gather(*tasks)


async def _rater(client: httpx.AsyncClient, packet: str, token: str, crowd: Crowd, thinking_s: float) -> None:
    try:
        joined = await client.post("/session", content=token)
        cookie = {"Cookie": joined.headers["set-cookie"].partition(";")[0]}
        opened = (await client.get("/packet", headers=cookie)).json()
        headers = cookie | {"X-Form-Token": opened["form_token"]}
        for trial in opened["packet"]["trials"]:
            if trial["trial"] in opened["answered"]:
                continue
            choices = {aspect["name"]: 0 for aspect in opened["packet"]["aspects"]}
            vote = {"trial": trial["trial"], "choices": choices, "duration_ms": len(crowd.acknowledged)}
            await asyncio.sleep(random.uniform(0, thinking_s))
            began = time.perf_counter()
            answer = await client.post("/votes", json=vote, headers=headers)
            crowd.waits_s.append(time.perf_counter() - began)
            if answer.status_code == 200:
                crowd.acknowledged.append((packet, vote))
            else:
                crowd.refused.append(answer.text)
    except httpx.TransportError:
        return
