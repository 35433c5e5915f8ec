"""One image over HTTP, politely and distrustfully: deadlines, caps, checked redirects, retries for what may pass."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from diffsensei.config.schema import DownloadConfig
from diffsensei.data.download.addresses import PinnedTransport, Resolver, check_url, resolve_host
from diffsensei.data.download.at_home import AtHome, Load
from diffsensei.data.download.pacing import MAX_REFUSALS_IN_A_ROW, SLACK_S, Pacer
from diffsensei.data.refusal import Refusal
from diffsensei.seeding import stream_seed

MAX_REDIRECTS = 2
BACKOFF_S = 0.5
"""Wait before the second try; it doubles with each further one."""
MAX_BACKOFF_S = 60.0
GONE = (404, 410, 451)
"""Final at once: the page was removed, and asking again would be rude."""
STALE_BASE = ("refused_403", "unreachable")
"""What a base url gives that is no longer served; the chapter's present one may still be good."""


class ImageFetcher:
    """Fetches bytes of images. Use as an async context manager; safe for concurrent ``fetch`` calls.

    ``limits`` is the folder of the limiters that all downloaders of the machine share. ``routes`` maps a host name to
    the base url that stands in for it (the loopback server of the synthetic world).
    """

    def __init__(
        self,
        download: DownloadConfig,
        *,
        contact: str,
        version: str,
        limits: Path,
        routes: Mapping[str, str] | None = None,
        resolve: Resolver = resolve_host,
    ) -> None:
        self._config = download
        self._routes = dict(routes or {})
        self._pacer = Pacer(limits / "images", download.requests_per_s)
        self.requests = 0
        self._client = httpx.AsyncClient(
            transport=PinnedTransport(routes=self._routes, max_connections=download.max_connections, resolve=resolve),
            headers={"user-agent": f"diffsensei-pipeline/{version} ({contact})", "accept-encoding": "identity"},
            timeout=download.timeout_s,
            follow_redirects=False,
            trust_env=False,
        )
        self._at_home = AtHome(
            self._client,
            limits=limits,
            allowed_hosts=download.allowed_hosts,
            routes=self._routes,
            timeout_s=download.timeout_s,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._at_home.finish()
        await self._client.aclose()

    async def fetch(self, url: str, chapter: str | None = None) -> bytes:
        """The body at ``url``; with its ``chapter`` known, once more from the present base url where this one is stale.

        Raises `Refusal` (after the retries a transient fault deserves), ValueError when the host has shut us out.
        """
        try:
            return await self._persist(url)
        except Refusal as refusal:
            if chapter is None or refusal.reason not in STALE_BASE:
                raise
            fresh = await self._at_home.fresh_url(url, chapter)
            if fresh is None:
                raise
        try:
            return await self._try(fresh)
        except Refusal:
            self._at_home.forget(chapter)
            raise

    async def _persist(self, url: str) -> bytes:
        for attempt in range(1, self._config.max_attempts + 1):
            try:
                return await self._try(url)
            except Refusal as refusal:
                # A host that forbids is not asked again, though another day it may answer.
                final = not refusal.transient or refusal.reason == "refused_403"
                if final or attempt == self._config.max_attempts:
                    raise
            jitter = 0.5 + stream_seed(attempt, url) / 2**63
            await asyncio.sleep(min(BACKOFF_S * 2 ** (attempt - 1), MAX_BACKOFF_S) * jitter)
        raise AssertionError("unreachable: max_attempts is positive")

    async def _try(self, url: str) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            target = check_url(url, allowed_hosts=self._config.allowed_hosts, routes=self._routes)
            sending = _Sending(self._pacer, await self._pacer.slot(), self._config.timeout_s)
            self.requests += 1
            try:
                async with (
                    sending.deadline,
                    self._client.stream("GET", target, extensions={"trace": sending.trace}) as response,
                ):
                    if not response.has_redirect_location:
                        return await self._reported_body(response, sending)
                    url = str(target.join(response.headers["location"]))
            except (TimeoutError, httpx.TimeoutException):
                self._report(target, sending)
                evidence = f"no complete answer in {self._config.timeout_s:g} s"
                raise Refusal("timeout", evidence, state="missing", transient=True) from None
            except httpx.RemoteProtocolError as error:
                self._report(target, sending)
                if "peer closed" in str(error) or "disconnected" in str(error):
                    evidence = "the connection closed before the announced end"
                    raise Refusal("short_body", evidence, state="missing", transient=True) from None
                raise Refusal("broken_http", str(error)[:100], state="missing", transient=True) from None
            except httpx.TransportError as error:
                self._report(target, sending)
                raise Refusal("unreachable", type(error).__name__, state="missing", transient=True) from None
            except httpx.InvalidURL:
                raise Refusal("bad_url", "redirected to something that is no url") from None
        raise Refusal("too_many_redirects", f"more than {MAX_REDIRECTS}")

    async def _reported_body(self, response: httpx.Response, sending: "_Sending") -> bytes:
        """The checked body of a final answer, whose load the network of volunteers is told of."""
        try:
            data = await self._body(response, sending.granted)
        except Refusal:
            self._report(response.url, sending)
            raise
        cached = response.headers.get("x-cache", "").upper().startswith("HIT")
        self._report(response.url, sending, num_bytes=len(data), success=True, cached=cached)
        return data

    async def _body(self, response: httpx.Response, granted: float) -> bytes:
        """The checked body of a final answer; never inflated, never longer than the cap."""
        status = response.status_code
        if status in MAX_REFUSALS_IN_A_ROW:
            self._pacer.refused(status, response.headers, granted=granted)
        if status != 200:
            _raise_for(status)
        if response.headers.get("content-encoding", "identity") != "identity":
            raise Refusal("encoded_body", response.headers["content-encoding"][:40])
        announced = response.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > self._config.max_bytes:
            raise Refusal("too_large", f"{announced} bytes announced, at most {self._config.max_bytes}")
        data = bytearray()
        async for chunk in response.aiter_raw():
            data += chunk
            if len(data) > self._config.max_bytes:
                raise Refusal("too_large", f"more than {self._config.max_bytes} bytes")
        self._pacer.served()
        return bytes(data)

    def _report(
        self, url: httpx.URL, sending: "_Sending", *, num_bytes: int = 0, success: bool = False, cached: bool = False
    ) -> None:
        duration_ms = round(1000 * (time.monotonic() - sending.granted))
        self._at_home.report(Load(str(url), success, num_bytes, duration_ms, cached))


class _Sending:
    """One request on its way: its slot, and its deadline, which waiting for a slot does not use up."""

    def __init__(self, pacer: Pacer, granted: float, timeout_s: float) -> None:
        self._pacer = pacer
        self._timeout_s = timeout_s
        self.granted = granted
        self.deadline = asyncio.timeout(timeout_s)

    async def trace(self, event: str, _: Mapping[str, Any]) -> None:
        """Called by the transport: where connecting took so long that the slot has lapsed, take another."""
        if event.endswith("send_request_headers.started") and time.monotonic() - self.granted > SLACK_S:
            self.deadline.reschedule(None)
            self.granted = await self._pacer.slot()
            self.deadline.reschedule(asyncio.get_running_loop().time() + self._timeout_s)


def _raise_for(status: int) -> None:
    if status in GONE:
        raise Refusal(f"dead_url_{status}", f"HTTP {status}", state="removed")
    if status == 429:
        raise Refusal("rate_limited", "HTTP 429", state="missing", transient=True)
    if status >= 500 or status == 408:
        raise Refusal(f"server_error_{status}", f"HTTP {status}", state="missing", transient=True)
    raise Refusal(f"refused_{status}", f"HTTP {status}", state="missing", transient=status == 403)
