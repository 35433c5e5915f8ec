"""Look-alikes by hash: the vectorised search agrees with the obvious one."""

import numpy as np

from diffsensei.data import duplicates
from diffsensei.data.duplicates import LookAlikes


def test_agrees_with_the_obvious_loop(monkeypatch) -> None:
    monkeypatch.setattr(duplicates, "BLOCK", 7)
    rng = np.random.default_rng(0)
    base = [int(value) for value in rng.integers(0, 2**63, 12, dtype=np.uint64)]
    values: list[int | None] = [*base, None, None]
    for value in base:
        for flips in (1, 4, 5):
            changed = value
            for bit in rng.choice(64, flips, replace=False):
                changed ^= 1 << int(bit)
            values.append(changed)
    alike = LookAlikes(["" if value is None else f"{value:016x}" for value in values])
    expected = [
        [
            other
            for other, candidate in enumerate(values)
            if other != place and None not in (value, candidate) and (value ^ candidate).bit_count() <= 4
        ]
        for place, value in enumerate(values)
    ]
    assert [alike.matches(place).tolist() for place in range(len(values))] == expected
    assert alike.counts().tolist() == [len(others) for others in expected]
    assert max(map(len, expected)) >= 2


def test_none_at_all() -> None:
    assert LookAlikes([]).counts().tolist() == []
    assert LookAlikes(["", ""]).counts().tolist() == [0, 0]
