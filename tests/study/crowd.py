"""Many raters at once against a server of their own, in another process.

They speak HTTP by hand: raters share the machine with the server, and a client library would take most of it.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

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
    tasks = [
        asyncio.create_task(_rater(address, packet, token, crowd, thinking_s))
        for packet, token in read_tokens(study).items()
    ]
    if kill is not None:
        process, after_s = kill
        while not crowd.acknowledged and not all(task.done() for task in tasks):
            await asyncio.sleep(0.002)
        await asyncio.sleep(after_s)
        process.send_signal(signal.SIGKILL)
    await asyncio.gather(*tasks)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class _Connection:
    """One that stays open, with one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        lines = {"Host": "127.0.0.1", "Content-Length": str(len(body))} | dict(headers)
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        status, *fields = (await self._reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        got = {name.lower(): value for name, _, value in (line.partition(": ") for line in fields)}
        content = await self._reader.readexactly(int(got.get("content-length", "0")))
        return Answer(int(status.split()[1]), got, content)

    def close(self) -> None:
        self._writer.close()


async def _rater(address: str, packet: str, token: str, crowd: Crowd, thinking_s: float) -> None:
    host, _, port = address.removeprefix("http://").partition(":")
    try:
        connection = _Connection(*await asyncio.open_connection(host, int(port)))
        try:
            await _vote_on_all(connection, packet, token, crowd, thinking_s)
        finally:
            connection.close()
    except (OSError, asyncio.IncompleteReadError):
        return


async def _vote_on_all(connection: _Connection, packet: str, token: str, crowd: Crowd, thinking_s: float) -> None:
    joined = await connection.ask("POST", "/session", {}, token.encode())
    cookie = {"Cookie": joined.headers["set-cookie"].partition(";")[0]}
    opened = json.loads((await connection.ask("GET", "/packet", cookie)).body)
    headers = cookie | {"X-Form-Token": opened["form_token"]}
    for trial in opened["packet"]["trials"]:
        if trial["trial"] in opened["answered"]:
            continue
        choices = {aspect["name"]: 0 for aspect in opened["packet"]["aspects"]}
        vote = {"trial": trial["trial"], "choices": choices, "duration_ms": len(crowd.acknowledged)}
        await asyncio.sleep(random.uniform(0, thinking_s))
        began = time.perf_counter()
        answer = await connection.ask("POST", "/votes", headers, json.dumps(vote).encode())
        crowd.waits_s.append(time.perf_counter() - began)
        if answer.status == 200:
            crowd.acknowledged.append((packet, vote))
        else:
            crowd.refused.append(answer.body.decode())
