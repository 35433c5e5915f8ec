"""Look-alikes by hash: the vectorised search agrees with the obvious one."""

import numpy as np

from diffsensei.data.duplicates import LookAlikes
from tests.benchmarks.look_alikes import clustered, every_pair


def test_agrees_with_the_obvious_loop() -> None:
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


def test_counts_of_many_equal_those_of_every_pair() -> None:
    """Clusters of near copies, and pieces that thousands share, as the flat skies of a series do."""
    values = clustered(3000, seed=3)
    alike = LookAlikes([f"{int(value):016x}" for value in values])
    counts = alike.counts()
    assert counts.tolist() == every_pair(values).tolist()
    assert (counts > 0).mean() > 0.2
    chosen = np.zeros(len(values), dtype=bool)
    chosen[::10] = True
    expected = [
        (place, int(others[0]))
        for place in range(0, len(values), 10)
        if len(others := [int(other) for other in alike.matches(place) if other % 10])
    ]
    assert [tuple(pair) for pair in alike.pairs_between(chosen).tolist()] == expected
