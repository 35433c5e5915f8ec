"""Trying again what failed for one reason, without touching the rest: dead urls come back, hosts have bad days."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from diffsensei.data.download.journal import Journal


def retry_reasons(library: Path, reasons: Sequence[str]) -> dict[str, int]:
    """Let the next download try every url of ``library`` again that failed for one of ``reasons``.

    Returns how many there are by reason. Raises ValueError, naming the reasons there are with their counts, when none
    or an unknown one is given, when nothing was downloaded yet, or while a download is under way.
    """
    path = library / "journal.jsonl"
    if not path.is_file():
        raise ValueError(f"nothing was downloaded into {library} yet; `diffsensei run ingest` does")
    with Journal(path) as journal:
        failed = {url: record for url, record in journal.read().items() if record.state != "ok"}
        counts = Counter(record.reason for record in failed.values())
        _check(reasons, counts)
        journal.retry(url for url, record in failed.items() if record.reason in reasons)
    return {reason: counts[reason] for reason in dict.fromkeys(reasons)}


def _check(reasons: Sequence[str], counts: Mapping[str, int]) -> None:
    known = ", ".join(f"{reason} ({count})" for reason, count in sorted(counts.items())) or "none, all was fetched"
    unknown = [reason for reason in reasons if reason not in counts]
    if unknown:
        raise ValueError(f"no url failed for {unknown[0]!r}; reasons there are: {known}")
    if not reasons:
        raise ValueError(f"expected --reason REASON; reasons there are: {known}")
