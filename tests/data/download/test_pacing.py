"""The limiter: never faster than agreed, slower when told, stopped when shut out."""

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffsensei.data.download.pacing import Pacer, retry_wait_s


def granted_together(*pacers: Pacer, count: int) -> list[float]:
    """Moments at which ``count`` slots were granted to ``pacers`` that all ask at once."""

    async def race() -> list[float]:
        slots = (pacer.slot() for pacer, _ in zip(itertools.cycle(pacers), range(count), strict=False))
        return sorted(await asyncio.gather(*slots))

    return asyncio.run(race())


def test_no_window_holds_more_than_the_rate(tmp_path: Path) -> None:
    """Two limiters of one file are as two processes: the lock is that of the open file."""
    granted = granted_together(Pacer(tmp_path / "images", 100.0), Pacer(tmp_path / "images", 100.0), count=30)
    gaps = [later - earlier for earlier, later in itertools.pairwise(granted)]
    assert min(gaps) >= 0.0105 - 1e-6, "a second's slots take a second and the slack"
    assert granted[-1] - granted[0] < 10.0


def test_budgets_are_apart(tmp_path: Path) -> None:
    minute = Pacer(tmp_path / "at-home", 40.0, per_s=60.0)
    first = asyncio.run(minute.slot())
    assert asyncio.run(Pacer(tmp_path / "api", 5.0).slot()) - first < 1.0
    assert json.loads((tmp_path / "at-home").read_bytes())["next"] - first == pytest.approx(60.05 / 40)


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


def test_a_burst_of_429_is_one_refusal(tmp_path: Path) -> None:
    async def burst() -> Pacer:
        pacer = Pacer(tmp_path / "images", 1000.0)
        granted = [await pacer.slot() for _ in range(8)]
        for moment in granted:
            pacer.refused(429, {}, granted=moment)
        return pacer

    pacer = asyncio.run(burst())
    later = time.monotonic() + 1
    pacer.refused(429, {}, granted=later)
    with pytest.raises(ValueError, match="HTTP 429 3 times in a row"):
        pacer.refused(429, {}, granted=later + 1)


def test_403_stops_unless_images_come_between(tmp_path: Path) -> None:
    pacer = Pacer(tmp_path / "images", 1.0)
    for _ in range(9):
        pacer.refused(403, {}, granted=0.0)
    pacer.served()
    for _ in range(9):
        pacer.refused(403, {}, granted=0.0)
    with pytest.raises(ValueError, match="403"):
        pacer.refused(403, {}, granted=0.0)


def shut_out(path: Path) -> None:
    pacer = Pacer(path, 1000.0)
    for _ in range(2):
        pacer.refused(429, {}, granted=time.monotonic() + 1)
    with pytest.raises(ValueError, match="wait 60 min"):
        pacer.refused(429, {}, granted=time.monotonic() + 1)


def edit(path: Path, **fields: float) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | fields))


def test_refusals_add_up_over_processes_and_the_pause_is_remembered(tmp_path: Path) -> None:
    shut_out(tmp_path / "images")
    began = time.monotonic()
    with pytest.raises(ValueError, match="wait 60 min"):
        asyncio.run(Pacer(tmp_path / "images", 1000.0).slot())
    edit(tmp_path / "images", closed_until=began + 600)
    with pytest.raises(ValueError, match="wait 10 min"):
        asyncio.run(Pacer(tmp_path / "images", 1000.0).slot())
    assert time.monotonic() - began < 0.5, "said at once"
    edit(tmp_path / "images", closed_until=began, next=began)
    pacer = Pacer(tmp_path / "images", 1000.0)
    asyncio.run(pacer.slot())
    pacer.refused(429, {}, granted=time.monotonic())  # counted from the start again


def test_slower_after_429_and_as_before_an_hour_later(tmp_path: Path) -> None:
    pacer = Pacer(tmp_path / "images", 10.0)
    pacer.refused(429, {}, granted=time.monotonic())
    edit(tmp_path / "images", next=0.0)
    first = asyncio.run(pacer.slot())
    assert json.loads((tmp_path / "images").read_bytes())["next"] - first == pytest.approx(0.21)
    edit(tmp_path / "images", next=0.0, slowed_at=max(0.0, first - 3601))
    if first > 3601:  # the machine has been up for long enough to have such a moment
        second = asyncio.run(pacer.slot())
        assert json.loads((tmp_path / "images").read_bytes())["next"] - second == pytest.approx(0.105)


@pytest.mark.parametrize("field", ["next", "closed_until", "slowed_at"])
def test_moments_of_before_a_reboot_neither_park_nor_burst(tmp_path: Path, field: str) -> None:
    asyncio.run(Pacer(tmp_path / "images", 20.0).slot())
    edit(tmp_path / "images", **{field: time.monotonic() + 1e7})
    began = time.monotonic()
    granted = granted_together(Pacer(tmp_path / "images", 20.0), count=3)
    assert granted[-1] - began < 5.0
    assert granted[0] - began >= 0.05
    assert min(later - earlier for earlier, later in itertools.pairwise(granted)) >= 0.05


def test_wall_clock_jumps_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's absolute time against a clock that was set wrong is a wait of at most a quarter of an hour."""
    monkeypatch.setattr(time, "time", lambda: 0.0)
    pacer = Pacer(tmp_path / "images", 10.0)
    pacer.refused(429, {"x-ratelimit-retry-after": "1700000000"}, granted=time.monotonic())
    assert json.loads((tmp_path / "images").read_bytes())["next"] - time.monotonic() <= 900.0
    monkeypatch.setattr(time, "time", lambda: 1e11)
    pacer.refused(429, {"x-ratelimit-retry-after": "1700000000"}, granted=time.monotonic())
    assert json.loads((tmp_path / "images").read_bytes())["next"] - time.monotonic() <= 900.0


@given(content=st.binary(max_size=600))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_delays_and_never_parks(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "images"
    path.write_bytes(content)
    began = time.monotonic()
    granted = asyncio.run(Pacer(path, 200.0).slot())
    assert granted - began < 1.0
    assert not content or granted - began >= 0.005


def test_every_flipped_byte_of_the_file_is_survived(tmp_path: Path) -> None:
    path = tmp_path / "images"
    asyncio.run(Pacer(path, 1000.0).slot())
    content = path.read_bytes()
    for index in range(0, len(content.rstrip()), 3):
        path.write_bytes(content[:index] + bytes([content[index] ^ 0x15]) + content[index + 1 :])
        with contextlib.suppress(TimeoutError):  # a flipped digit may make a wait, of a quarter of an hour at most
            asyncio.run(asyncio.wait_for(Pacer(path, 1000.0).slot(), 0.2))


HOLDER = """
import os, sys, time
from pathlib import Path
from diffsensei.data.download.pacing import Pacer
with Pacer(Path(sys.argv[1]), 1000.0)._shared():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_holder_that_is_killed_frees_the_others(tmp_path: Path) -> None:
    path = tmp_path / "images"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    threading.Timer(0.3, holder.kill).start()
    began = time.monotonic()
    granted = asyncio.run(Pacer(path, 1000.0).slot())
    assert 0.25 <= granted - began < 5.0
    holder.wait()
    holder.stdout.close()
