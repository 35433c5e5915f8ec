"""One limiter for all downloaders of a machine, as hosts ask: evenly spaced, slower when told so, shut when shut out.

Limits count per address, so what was granted, refused and closed is kept in one small file that all processes share.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, PositiveFloat, ValidationError

WAIT_RANGE_S = (1.0, 900.0)
"""What a server may make us wait; it can neither hammer itself nor park us for years."""
MAX_REFUSALS_IN_A_ROW = {403: 10, 429: 3}
"""So many answers of a kind with nothing served in between mean that the host has shut us out."""
PAUSE_S = 3600.0
"""How long nothing is sent once we are shut out, and how long after its last 429 a slowed rate is kept."""
SLOWEST_REQUESTS_PER_S = 0.05
SLACK_S = 0.05
"""A slot may be used so much later than it was granted: slots of a second are spread over a second and this."""
RECORD_BYTES = 512
"""The state is written by one call of one size, which a kill leaves done or not done."""


class Pacer:
    """Grants slots so that no window of ``per_s`` seconds holds more than ``requests``, over all that share ``path``.

    The kernel frees the lock of a process that dies, so none is ever stuck. Moments are those of the monotonic clock,
    which is one for all processes of a machine and knows no jumps; a reboot starts it anew, see `_read`.
    """

    def __init__(self, path: Path, requests: float, per_s: float = 1.0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._interval_s = (per_s + SLACK_S) / requests
        self._waiting = asyncio.Lock()

    async def slot(self) -> float:
        """Wait for the next slot; returns the moment (monotonic seconds) it was granted.

        Raises ValueError while the host has shut us out.
        """
        async with self._waiting:
            while True:
                with self._shared() as state:
                    now = time.monotonic()
                    if state.closed_until > now:
                        raise ValueError(self._shut_out(state, now))
                    if state.next <= now:
                        state.next = now + self._spacing_s(state)
                        return now
                    wait_s = state.next - now
                await asyncio.sleep(wait_s)

    def served(self) -> None:
        """An answer as hoped for came: the host still wants us."""
        with self._shared() as state:
            state.in_a_row = dict.fromkeys(MAX_REFUSALS_IN_A_ROW, 0)

    def refused(self, status: int, headers: Mapping[str, str], *, granted: float) -> None:
        """The host answered 403 or 429 to the request ``granted`` then; on 429 all pause, and go on at half the rate.

        Raises ValueError once `MAX_REFUSALS_IN_A_ROW` is reached: going on would be rude, and useless.
        """
        with self._shared() as state:
            now = time.monotonic()
            if status == 429 and granted <= state.slowed_at:
                return  # it was on its way before we slowed down, so it says nothing new
            state.in_a_row[status] = state.in_a_row.get(status, 0) + 1
            if status == 429:
                state.slowed_at = now
                state.slowdown *= 2
                state.next = max(state.next, now + retry_wait_s(headers, now=time.time()))
            shut_out = state.in_a_row[status] >= MAX_REFUSALS_IN_A_ROW[status]
            if shut_out:
                state.closed_until = now + PAUSE_S
                state.closed_by = f"HTTP {status} {state.in_a_row[status]} times in a row"
                state.in_a_row = {}
        if shut_out:
            raise ValueError(self._shut_out(state, now))

    def _spacing_s(self, state: "_State") -> float:
        """Seconds between slots, as slowed."""
        return min(self._interval_s * state.slowdown, max(self._interval_s, 1.0 / SLOWEST_REQUESTS_PER_S))

    def _shut_out(self, state: "_State", now: float) -> str:
        minutes = max(1, round((state.closed_until - now) / 60))
        return (
            f"the host answered {state.closed_by} ({self._path.name}): it has shut us out; wait {minutes} min, lower "
            "data.download.requests_per_s, and run again: what is fetched stays fetched"
        )

    @contextmanager
    def _shared(self) -> Iterator["_State"]:
        """The state, this process' alone while the context lasts; it is kept however the context ends."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            state = self._read(descriptor)
            try:
                yield state
            finally:
                os.pwrite(descriptor, state.model_dump_json().encode().ljust(RECORD_BYTES), 0)
        finally:
            os.close(descriptor)

    def _read(self, descriptor: int) -> "_State":
        """What is known, as far as it can be true: moments far ahead are of before a reboot, and damage is no grant."""
        content = os.pread(descriptor, RECORD_BYTES, 0)
        now = time.monotonic()
        fresh = _State(next=now + self._interval_s if content else 0.0)
        try:
            state = _State.model_validate_json(content)
        except ValidationError:
            return fresh
        farthest = now + max(WAIT_RANGE_S[1], 1.0 / SLOWEST_REQUESTS_PER_S, self._interval_s)
        if state.next > farthest or state.closed_until > now + PAUSE_S or state.slowed_at > now:
            return fresh
        if now - state.slowed_at > PAUSE_S:
            state.slowdown = 1.0
        return state


class _State(BaseModel):
    """What the file holds; moments in seconds of the monotonic clock."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    next: float
    """No slot before this moment."""
    slowdown: PositiveFloat = 1.0
    """Times the agreed spacing."""
    slowed_at: float = 0.0
    in_a_row: dict[int, int] = {}
    """Refusals by status since something was last served."""
    closed_until: float = 0.0
    closed_by: str = ""


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
