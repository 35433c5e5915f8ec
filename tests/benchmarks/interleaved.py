"""Two ways to compute the same thing, timed in one run: A, B, A, B, ..., the ratio of their medians."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

LEAST_S = 0.02


@dataclass(frozen=True)
class Case:
    """One comparison. ``check`` raises AssertionError unless both give the same."""

    name: str
    check: Callable[[], None]
    plain: Callable[[], object]
    ours: Callable[[], object]
    goal: float
    """The ratio aimed at; 0 where there is no goal."""


@dataclass(frozen=True)
class Ratio:
    """Medians of one case in seconds, and how far the single repeats lie apart."""

    plain_s: float
    ours_s: float
    low: float
    """Quartiles of the ratios of neighbouring repeats."""
    high: float

    @property
    def times_faster(self) -> float:
        return self.plain_s / self.ours_s


def measure(case: Case, repeats: int) -> Ratio:
    """Time ``case`` after checking it. Each side is called over and over for at least `LEAST_S` a repeat, so that both
    are warm."""
    case.check()
    loops = [max(1, round(LEAST_S / _seconds(call, 3))) for call in (case.plain, case.ours)]
    plain, ours = [], []
    for _ in range(repeats):
        plain.append(_seconds(case.plain, loops[0]))
        ours.append(_seconds(case.ours, loops[1]))
    ratios = [a / b for a, b in zip(plain, ours, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return Ratio(statistics.median(plain), statistics.median(ours), low, high)


def _seconds(call: Callable[[], object], loops: int) -> float:
    """Processor time of this process, per call: on a shared machine the others' share does not count."""
    began = time.process_time()
    for _ in range(loops):
        call()
    return (time.process_time() - began) / loops
