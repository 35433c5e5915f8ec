"""How far a long piece of work is: one small JSON file that whoever waits can draw as a bar with an ETA."""

import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")

WRITE_EVERY_S = 0.5


class Progress:
    """Writes ``{label, done, total, unit, elapsed_s, eta_s, figures}`` to ``path``, at most twice a second.

    The file is replaced whole, so a reader never sees half of it. ``start`` counts work that an earlier attempt
    already did: it shows in ``done`` but not in the speed.
    """

    def __init__(self, path: Path, label: str, total: int, unit: str = "items", start: int = 0) -> None:
        self._path = path
        self._label = label
        self._total = total
        self._unit = unit
        self._start = start
        self._done = start
        self._figures: dict[str, float] = {}
        self._began = time.monotonic()
        self._written = float("-inf")
        self._write()

    def advance(self, count: int = 1, **figures: float) -> None:
        """``count`` more items are done; ``figures`` (a loss, a rate) are shown beside the bar."""
        self._done += count
        self._figures |= figures
        if self._done >= self._total or time.monotonic() - self._written >= WRITE_EVERY_S:
            self._write()

    def track(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass ``items`` through and count each one when the next is asked for."""
        for item in items:
            yield item
            self.advance()

    def _write(self) -> None:
        self._written = time.monotonic()
        elapsed = self._written - self._began
        fresh = self._done - self._start
        eta = elapsed / fresh * (self._total - self._done) if fresh else None
        state = {
            "label": self._label,
            "done": self._done,
            "total": self._total,
            "unit": self._unit,
            "elapsed_s": round(elapsed, 2),
            "eta_s": None if eta is None else round(max(eta, 0.0), 1),
            "figures": self._figures,
        }
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(state))
        os.replace(temporary, self._path)
