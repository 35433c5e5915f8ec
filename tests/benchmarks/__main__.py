"""``python -m tests.benchmarks``: one table of ratios, each measured in one run against the plain way.

Ratios depend on the machine less than times do, but they do: quote them with it.
"""

import torch
from rich.console import Console
from rich.table import Table

from tests.benchmarks import answers, dialogs, loops, masks, votes
from tests.benchmarks.interleaved import measure

REPEATS = 7


def main() -> None:
    torch.set_num_threads(1)
    table = Table(title=f"One thread of the CPU, medians of {REPEATS} interleaved repeats, processor time")
    for heading in ("what", "plain, ms", "ours, ms", "times faster", "quartiles", "goal"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for module in (masks, dialogs, answers, loops):
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
    Console(width=120).print(table)
    print(votes.measured())


if __name__ == "__main__":
    main()
