"""Coverage for people: tables for a terminal, and what falls below a threshold."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from diffsensei.data.coverage import COUNTS, OK, Coverage

LABELS = ("series", "state", "reason", "split")


def shortfalls(coverage: Coverage, minimums: Mapping[str, float]) -> list[str]:
    """A line for each share that is below its minimum; keys: pages, panels, characters, dialogs, held_out."""
    found = []
    for what, least in minimums.items():
        share = coverage.held_out_share if what == "held_out" else coverage.share(what)
        if share < least:
            named = "held-out pages" if what == "held_out" else what
            found.append(f"{share:.1%} of the {named} are there, expected at least {least:.1%}")
    return found


def print_coverage(coverage: Coverage) -> None:
    """The tables on stdout: every series, state, reason and split; then totals and held-out pages."""
    console = Console(highlight=False)
    console.print(_table(LABELS, coverage.rows))
    totals = [{"state": state} | total for state, total in coverage.totals.items()]
    console.print(_table(("state",), totals))
    shares = ", ".join(f"{coverage.share(what):.1%} of {what}" for what in COUNTS)
    console.print(f"{OK}: {shares}", markup=False)
    if coverage.held_out is None:
        console.print("held-out pages are not chosen yet: `diffsensei run ingest` cuts the panels", markup=False)
        return
    lost = coverage.held_out["lost_by_series"]
    named = f" ({', '.join(f'{series} {count}' for series, count in lost.items())})" if lost else ""
    console.print(
        f"held out: {coverage.held_out['chosen']} of {coverage.held_out['wanted']} pages, "
        f"{coverage.held_out['lost']} lost{named}",
        markup=False,
    )


def _table(labels: Sequence[str], rows: Sequence[Mapping[str, object]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in labels:
        table.add_column(name, overflow="fold", no_wrap=name != "series")
    for name in COUNTS:
        table.add_column(name, justify="right")
    for row in rows:
        # Names come from outside: brackets in them are no markup.
        table.add_row(*(str(row[name]).replace("[", r"\[") for name in labels), *(f"{row[name]:,}" for name in COUNTS))
    return table
