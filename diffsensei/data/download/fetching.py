"""One image over HTTP, politely and distrustfully: deadlines, caps, checked redirects, retries for what may pass."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import httpx

from diffsensei.config.schema import DownloadConfig
from diffsensei.data.download.addresses import PinnedTransport, Resolver, check_url, resolve_host
from diffsensei.data.download.pacing import MAX_REFUSALS_IN_A_ROW, Pacer
from diffsensei.data.refusal import Refusal
from diffsensei.seeding import stream_seed

MAX_REDIRECTS = 2
BACKOFF_S = 0.5
"""Wait before the second try; it doubles with each further one."""
MAX_BACKOFF_S = 60.0
GONE = (404, 410, 451)
"""Final at once: the page was removed, and asking again would be rude."""


class ImageFetcher:
    """Fetches bytes of images. Use as an async context manager; safe for concurrent ``fetch`` calls.

    ``routes`` maps a host name to the base url that stands in for it (the loopback server of the synthetic world).
    """

    def __init__(
        self,
        download: DownloadConfig,
        *,
        contact: str,
        version: str,
        routes: Mapping[str, str] | None = None,
        resolve: Resolver = resolve_host,
    ) -> None:
        self._config = download
        self._routes = dict(routes or {})
        self._pacer = Pacer(download.requests_per_s)
        self.requests = 0
        self._client = httpx.AsyncClient(
            transport=PinnedTransport(routes=self._routes, max_connections=download.max_connections, resolve=resolve),
            headers={"user-agent": f"diffsensei-pipeline/{version} ({contact})", "accept-encoding": "identity"},
            timeout=download.timeout_s,
            follow_redirects=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def fetch(self, url: str) -> bytes:
        """The body at ``url``.

        Raises `Refusal` (after the retries a transient fault deserves), ValueError when the host has shut us out.
        """
        for attempt in range(1, self._config.max_attempts + 1):
            try:
                return await self._try(url)
            except Refusal as refusal:
                if not refusal.transient or attempt == self._config.max_attempts:
                    raise
            jitter = 0.5 + stream_seed(attempt, url) / 2**63
            await asyncio.sleep(min(BACKOFF_S * 2 ** (attempt - 1), MAX_BACKOFF_S) * jitter)
        raise AssertionError("unreachable: max_attempts is positive")

    async def _try(self, url: str) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            target = check_url(url, allowed_hosts=self._config.allowed_hosts, routes=self._routes)
            granted = await self._pacer.slot()
            self.requests += 1
            try:
                async with (
                    asyncio.timeout(self._config.timeout_s),
                    self._client.stream("GET", target) as response,
                ):
                    if not response.has_redirect_location:
                        return await self._body(response, granted)
                    url = str(target.join(response.headers["location"]))
            except (TimeoutError, httpx.TimeoutException):
                evidence = f"no complete answer in {self._config.timeout_s:g} s"
                raise Refusal("timeout", evidence, state="missing", transient=True) from None
            except httpx.RemoteProtocolError:
                evidence = "the connection closed before the announced end"
                raise Refusal("short_body", evidence, state="missing", transient=True) from None
            except httpx.TransportError as error:
                raise Refusal("unreachable", type(error).__name__, state="missing", transient=True) from None
            except httpx.InvalidURL:
                raise Refusal("bad_url", "redirected to something that is no url") from None
        raise Refusal("too_many_redirects", f"more than {MAX_REDIRECTS}")

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


def _raise_for(status: int) -> None:
    if status in GONE:
        raise Refusal(f"dead_url_{status}", f"HTTP {status}", state="removed")
    if status == 429:
        raise Refusal("rate_limited", "HTTP 429", state="missing", transient=True)
    if status >= 500 or status == 408:
        raise Refusal(f"server_error_{status}", f"HTTP {status}", state="missing", transient=True)
    raise Refusal(f"refused_{status}", f"HTTP {status}", state="missing", transient=status == 403)
