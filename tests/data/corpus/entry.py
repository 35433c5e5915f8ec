"""One bad input: how it is made, and what must become of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """A row of the corpus' manifest.

    ``run`` makes the input under the folder it is given, hands it to the code under test, and returns the verdict: the
    reason of the refusal (``truncated_image``), ``error: <first words>`` for a ValueError, or ``accepted``.
    """

    name: str
    kind: str
    """What is bad: ``image``, ``annotation``, ``url``, ``archive``, ``pdf``."""
    expected: str
    run: Callable[[Path], str]
