"""Two ways to compute the same thing, timed in one run: A, B, A, B, ..., the ratio of their medians."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


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
    """Time ``case`` after checking it, which also warms both sides up. The fast side runs for at least a millisecond
    a repeat."""
    case.check()
    loops = max(1, round(1e-3 / max(_seconds(case.ours, 1), 1e-7)))
    plain, ours = [], []
    for _ in range(repeats):
        plain.append(_seconds(case.plain, 1))
        ours.append(_seconds(case.ours, loops))
    ratios = [a / b for a, b in zip(plain, ours, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return Ratio(statistics.median(plain), statistics.median(ours), low, high)


def _seconds(call: Callable[[], object], loops: int) -> float:
    """Processor time of this process, per call: on a shared machine the others' share does not count."""
    began = time.process_time()
    for _ in range(loops):
        call()
    return (time.process_time() - began) / loops
