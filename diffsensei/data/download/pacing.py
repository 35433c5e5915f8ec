"""One limiter for all connections of a downloader, as the image hosts ask: evenly spaced, slower when told so."""

import asyncio
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

WAIT_RANGE_S = (1.0, 900.0)
"""What a server may make us wait; it can neither hammer itself nor park us for years."""
MAX_REFUSALS_IN_A_ROW = {403: 10, 429: 3}
"""So many answers of a kind with no image in between mean that the host has shut us out."""
SLOWEST_REQUESTS_PER_S = 0.05


class Pacer:
    """Grants request slots at least ``1 / requests_per_s`` apart, so no one-second window ever holds more."""

    def __init__(self, requests_per_s: float) -> None:
        self._interval_s = 1.0 / requests_per_s
        self._next = 0.0
        self._lock = asyncio.Lock()
        self._in_a_row = dict.fromkeys(MAX_REFUSALS_IN_A_ROW, 0)
        self._slowed = float("-inf")

    async def slot(self) -> float:
        """Wait for the next slot; returns the moment (monotonic seconds) it was granted."""
        async with self._lock:
            while (wait := self._next - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            granted = time.monotonic()
            self._next = granted + self._interval_s
            return granted

    def served(self) -> None:
        """An image came: the host still wants us."""
        self._in_a_row = dict.fromkeys(MAX_REFUSALS_IN_A_ROW, 0)

    def refused(self, status: int, headers: Mapping[str, str], *, granted: float) -> None:
        """The host answered 403 or 429 to the request ``granted`` then; on 429 everybody pauses and the rate is halved.

        Raises ValueError once `MAX_REFUSALS_IN_A_ROW` is reached: going on would be rude, and useless.
        """
        if status == 429 and granted <= self._slowed:
            return  # it was on its way before we slowed down, so it says nothing new
        self._in_a_row[status] += 1
        if self._in_a_row[status] >= MAX_REFUSALS_IN_A_ROW[status]:
            raise ValueError(
                f"the image host answered HTTP {status} {self._in_a_row[status]} times in a row: it has shut us out; "
                "wait an hour, lower data.download.requests_per_s, and run again: what is fetched stays fetched"
            )
        if status == 429:
            self._slowed = time.monotonic()
            self._interval_s = min(self._interval_s * 2, 1.0 / SLOWEST_REQUESTS_PER_S)
            self._next = max(self._next, time.monotonic() + retry_wait_s(headers, now=time.time()))


def retry_wait_s(headers: Mapping[str, str], *, now: float) -> float:
    """Seconds to wait by ``X-RateLimit-Retry-After`` (unix time) or ``Retry-After`` (seconds or a date), clamped."""
    low, high = WAIT_RANGE_S
    absolute, plain = headers.get("x-ratelimit-retry-after"), headers.get("retry-after")
    try:
        if absolute is not None:
            wait = float(absolute) - now
        elif plain is not None and plain.strip().replace(".", "", 1).isdigit():
            wait = float(plain)
        elif plain is not None:
            wait = parsedate_to_datetime(plain).timestamp() - now
        else:
            wait = low
    except (ValueError, OverflowError, TypeError):
        wait = low
    return min(max(wait, low), high) if wait == wait else low
