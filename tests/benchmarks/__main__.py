"""``python -m tests.benchmarks``: one table of ratios, each measured in one run against the plain way.

Ratios depend on the machine less than times do, but they do: quote them with it. ``python -m tests.benchmarks`` with
``formats``, ``workers`` or ``galleries`` prints what is measured in times: storage formats, the scaling of data work,
and a report of 950 panels.
"""

import sys

import torch
from rich.console import Console
from rich.table import Table

from tests.benchmarks import formats, galleries, politeness, scoring, votes, workers
from tests.benchmarks.cases import MODULES
from tests.benchmarks.interleaved import measure

REPEATS = 7


def main() -> None:
    torch.set_num_threads(1)
    table = Table(title=f"One thread of the CPU, medians of {REPEATS} interleaved repeats, processor time")
    for heading in ("what", "plain, ms", "ours, ms", "times faster", "quartiles", "goal"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for module in MODULES:
        for case in module.cases():
            ratio = measure(case, REPEATS)
            table.add_row(
                case.name,
                f"{1e3 * ratio.plain_s:.2f}",
                f"{1e3 * ratio.ours_s:.2f}",
                f"{ratio.times_faster:.1f}",
                f"{ratio.low:.1f} to {ratio.high:.1f}",
                f"{case.goal:.0f}" if case.goal else "",
            )
    console = Console(width=120)
    console.print(table)
    for line in politeness.table():
        console.print(line)
    seconds = scoring.run_seconds()
    console.print(f"Scoring {scoring.PANELS} panels by 7 sets from their features: {seconds:.1f} s")
    console.print(votes.measured())


if __name__ == "__main__":
    {"formats": formats.main, "galleries": galleries.main, "workers": workers.main}.get("".join(sys.argv[1:]), main)()
