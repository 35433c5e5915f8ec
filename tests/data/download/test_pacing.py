"""The limiter: never faster than agreed, slower when told, stopped when shut out."""

import asyncio
import itertools
import time
from email.utils import formatdate

import pytest

from diffsensei.data.download.pacing import Pacer, retry_wait_s


def test_no_window_holds_more_than_the_rate() -> None:
    async def race() -> list[float]:
        pacer = Pacer(100.0)
        return sorted(await asyncio.gather(*(pacer.slot() for _ in range(30))))

    granted = asyncio.run(race())
    gaps = [later - earlier for earlier, later in itertools.pairwise(granted)]
    assert min(gaps) >= 0.01 - 1e-6
    assert granted[-1] - granted[0] < 10.0


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, 1.0),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 1.0),
        ({"retry-after": "-5"}, 1.0),
        ({"retry-after": "315360000"}, 900.0),
        ({"retry-after": "nonsense"}, 1.0),
        ({"retry-after": formatdate(1_000_030, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(10, usegmt=True)}, 1.0),
        ({"x-ratelimit-retry-after": "1000012", "retry-after": "500"}, 12.0),
        ({"x-ratelimit-retry-after": "nan"}, 1.0),
        ({"x-ratelimit-retry-after": "inf"}, 900.0),
    ],
)
def test_retry_wait(headers: dict[str, str], wait_s: float) -> None:
    assert retry_wait_s(headers, now=1_000_000.0) == pytest.approx(wait_s)


def test_a_burst_of_429_is_one_refusal() -> None:
    async def burst() -> Pacer:
        pacer = Pacer(1000.0)
        granted = [await pacer.slot() for _ in range(8)]
        for moment in granted:
            pacer.refused(429, {}, granted=moment)
        return pacer

    pacer = asyncio.run(burst())
    later = time.monotonic() + 1
    pacer.refused(429, {}, granted=later)
    with pytest.raises(ValueError, match="HTTP 429 3 times in a row"):
        pacer.refused(429, {}, granted=later + 1)


def test_403_stops_unless_images_come_between() -> None:
    pacer = Pacer(1.0)
    for _ in range(9):
        pacer.refused(403, {}, granted=0.0)
    pacer.served()
    for _ in range(9):
        pacer.refused(403, {}, granted=0.0)
    with pytest.raises(ValueError, match="403"):
        pacer.refused(403, {}, granted=0.0)
