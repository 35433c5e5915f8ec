"""MangaDex@Home: where a chapter's images lie now, and the report of each load that the network asks for.

By api.mangadex.org/docs: base urls are promised for 15 minutes and asked for again on a 403; at most 5 requests a
second, and 40 a minute for base urls; loads from hosts without ``mangadex.org`` are reported; nothing carries a login.
"""

import asyncio
import json
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from diffsensei.data.download.addresses import check_url
from diffsensei.data.download.pacing import Pacer
from diffsensei.data.refusal import Refusal

API_HOST = "api.mangadex.org"
REPORT_HOST = "api.mangadex.network"
API_REQUESTS_PER_S = 5.0
AT_HOME_REQUESTS_PER_MINUTE = 40.0
BASE_LIFETIME_S = 15 * 60.0
MAX_ANSWER_BYTES = 2**20
MAX_PENDING_REPORTS = 64
REPORT_TIMEOUT_S = 5.0
IMAGE_PATH = re.compile(r"/(?:data|data-saver)/[^/?#]+/[^/?#]+$")
"""``/quality/hash/filename``: what of an image's url stays when its base changes."""


@dataclass(frozen=True)
class Load:
    """One load of an image, as the network wants it told; ``bytes`` received, ``duration`` in milliseconds."""

    url: str
    success: bool
    bytes: int
    duration: int
    cached: bool


class AtHome:
    """Asks for base urls and reports loads over ``client``, which must check addresses and follow no redirects.

    With ``routes``, only the hosts they name are contacted: a world of one's own has no business with MangaDex.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        limits: Path,
        allowed_hosts: Sequence[str],
        routes: Mapping[str, str],
        timeout_s: float,
    ) -> None:
        self._client = client
        self._allowed_hosts = allowed_hosts
        self._routes = routes
        self._timeout_s = timeout_s
        self._api = Pacer(limits / "api", API_REQUESTS_PER_S)
        self._at_home = Pacer(limits / "at-home", AT_HOME_REQUESTS_PER_MINUTE, per_s=60.0)
        self._bases: dict[str, tuple[str, float]] = {}
        self._asking = asyncio.Lock()
        self._reports: set[asyncio.Task[None]] = set()

    async def fresh_url(self, url: str, chapter: str) -> str | None:
        """The same image under its chapter's present base url, or None where that cannot be told or is no news.

        Raises `Refusal` ``dead_url_404`` when the chapter is gone, ValueError when the API has shut us out.
        """
        image = IMAGE_PATH.search(url)
        if image is None or not self._may_contact(API_HOST):
            return None
        async with self._asking:
            base, until = self._bases.get(chapter, ("", 0.0))
            if time.monotonic() >= until or (base and url.startswith(base)):
                base = await self._ask(chapter)
                self._bases[chapter] = (base, time.monotonic() + BASE_LIFETIME_S)
        fresh = base.rstrip("/") + image[0]
        try:
            check_url(fresh, allowed_hosts=self._allowed_hosts, routes=self._routes)
        except Refusal:
            return None
        return fresh if fresh != url else None

    def forget(self, chapter: str) -> None:
        """The base url of ``chapter`` did not serve: ask again for the next image."""
        self._bases.pop(chapter, None)

    def report(self, load: Load) -> None:
        """Tell the network of ``load`` in the background, if it came from there; trouble with that is nobody's."""
        host = httpx.URL(load.url).host
        if "mangadex.org" in host or not self._may_contact(REPORT_HOST) or len(self._reports) >= MAX_PENDING_REPORTS:
            return
        task = asyncio.create_task(self._send(load))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def finish(self) -> None:
        """See the reports under way to their end, for a few seconds at most."""
        pending = set(self._reports)
        if pending:
            await asyncio.wait(pending, timeout=REPORT_TIMEOUT_S)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    def _may_contact(self, host: str) -> bool:
        return not self._routes or host in self._routes

    async def _ask(self, chapter: str) -> str:
        """The base url of ``chapter``, or nothing when the API does not give one."""
        await self._at_home.slot()
        granted = await self._api.slot()
        url = check_url(
            f"https://{API_HOST}/at-home/server/{chapter}", allowed_hosts=self._allowed_hosts, routes=self._routes
        )
        data = bytearray()
        try:
            async with asyncio.timeout(self._timeout_s), self._client.stream("GET", url) as response:
                if response.status_code == 429:
                    self._at_home.refused(429, response.headers, granted=granted)
                async for chunk in response.aiter_raw():
                    data += chunk
                    if len(data) > MAX_ANSWER_BYTES:
                        return ""
        except (TimeoutError, httpx.HTTPError, Refusal):
            return ""
        if response.status_code == 404:
            raise Refusal("dead_url_404", "HTTP 404 for its chapter", state="missing")
        if response.status_code != 200:
            return ""
        self._at_home.served()
        try:
            base = json.loads(data)["baseUrl"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""
        return base if isinstance(base, str) else ""

    async def _send(self, load: Load) -> None:
        with suppress(TimeoutError, httpx.HTTPError, Refusal, ValueError):
            granted = await self._api.slot()
            url = check_url(f"https://{REPORT_HOST}/report", allowed_hosts=self._allowed_hosts, routes=self._routes)
            async with (
                asyncio.timeout(REPORT_TIMEOUT_S),
                self._client.stream("POST", url, json=asdict(load)) as response,
            ):
                if response.status_code == 429:
                    self._api.refused(429, response.headers, granted=granted)
