"""How a version stands among the others: the one file of it that changes after it was made.

``data/status.js`` is empty in a version by itself. The site that gathers versions writes it anew: whether its figures
are stale, what differs from the version before it, where the others are. The pages' script shows what it says.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from reports.data_files import data_text, write_data
from reports.results_table import interval_text, signed_text
from reports.version_diff import VersionDiff

NAME = "status"


@dataclass(frozen=True)
class Staleness:
    """What the store would give today for a version's configuration.

    ``fresh``: every result is the same; ``stale``: ``stages`` says of those that are not why; ``unknown``: it cannot
    be told, ``reason`` says why.
    """

    state: Literal["fresh", "stale", "unknown"]
    reason: str
    stages: Mapping[str, str]


@dataclass(frozen=True)
class Neighbour:
    """Another version, with addresses relative to this version's folder."""

    label: str
    address: str


@dataclass(frozen=True)
class Difference:
    """A figure minus that of the version before."""

    text: str
    interval: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Status:
    """``differences``: ``set/method/metric`` -> difference to ``previous``; ``diff`` is the page that has them all."""

    home: str
    staleness: Staleness
    previous: Neighbour | None
    newer: Neighbour | None
    diff: str
    differences: Mapping[str, Difference]


def differences_of(diff: VersionDiff) -> dict[str, Difference]:
    """As `Status.differences`."""
    return {
        f"{row.set_name}/{row.method}/{row.metric}": Difference(
            "" if row.difference is None else signed_text(row.difference),
            interval_text(row.low, row.high, signed=True),
            row.verdict,
            row.reason,
        )
        for row in diff.figures
    }


def write_status(version: Path, status: Status | None) -> None:
    """Write ``data/status.js`` of the version in that folder."""
    write_data(version / "data", NAME, None if status is None else asdict(status))


def status_text(status: Status) -> str:
    """The content of that file."""
    return data_text(NAME, asdict(status))
