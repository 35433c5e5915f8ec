"""``python -m tests.benchmarks [name ...]``: ratios, each measured in one run against the plain way, and times.

Ratios depend on the machine less than times do, but they do: quote them with it. Without a name, all ratios and the
quick times; with names, those alone. ``formats``, ``workers``, ``galleries`` (a report of 950 panels) and
``annotation_check`` take minutes: only by name.
"""

import sys
from collections.abc import Callable, Iterable
from types import ModuleType

import torch
from rich.console import Console
from rich.table import Table

from tests.benchmarks import (
    annotation_check,
    formats,
    galleries,
    imbalance,
    packing,
    pages,
    politeness,
    scoring,
    stalls,
    votes,
    workers,
)
from tests.benchmarks.cases import MODULES
from tests.benchmarks.interleaved import measure

REPEATS = 7

RATIOS: dict[str, ModuleType] = {module.__name__.rpartition(".")[2]: module for module in MODULES}
TIMES: dict[str, Callable[[], Iterable[str]]] = {
    "politeness": politeness.table,
    "scoring_run": lambda: [f"Scoring {scoring.PANELS} panels by 7 sets from features: {scoring.run_seconds():.1f} s"],
    "frechet": scoring.frechet_lines,
    "page_drawing": lambda: [pages.drawing_speed()],
    "stalls": lambda: [stalls.measured()],
    "packing_share": lambda: [
        f"Tokens of packed prompts that are no padding: {100 * packing.useful_share():.1f} % (97)"
    ],
    "imbalance": lambda: [imbalance.measured()],
    "votes": votes.measured,
}
LONG: dict[str, Callable[[], None]] = {
    "formats": formats.main,
    "workers": workers.main,
    "galleries": galleries.main,
    "annotation_check": annotation_check.main,
}


def main(names: list[str]) -> None:
    """Raises SystemExit, listing what there is, for a name that there is not."""
    known = [*RATIOS, *TIMES, *LONG]
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"no benchmark {', '.join(unknown)}; known: {', '.join(known)}")
    torch.set_num_threads(1)
    names = names or [*RATIOS, *TIMES]
    console = Console(width=120)
    if ratios := [RATIOS[name] for name in names if name in RATIOS]:
        console.print(_ratio_table(ratios))
    for name in names:
        for line in TIMES[name]() if name in TIMES else ():
            console.print(line)
        if name in LONG:
            LONG[name]()


def _ratio_table(modules: Iterable[ModuleType]) -> Table:
    table = Table(title=f"One thread of the CPU, medians of {REPEATS} interleaved repeats, processor time")
    for heading in ("what", "plain, ms", "ours, ms", "times faster", "quartiles", "goal"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for module in modules:
        for case in module.cases():
            ratio = measure(case, REPEATS)
            table.add_row(
                case.name,
                f"{1e3 * ratio.plain_s:.2f}",
                f"{1e3 * ratio.ours_s:.2f}",
                f"{ratio.times_faster:.1f}",
                f"{ratio.low:.1f} to {ratio.high:.1f}",
                f"{case.goal:g}" if case.goal else "",
            )
    return table


if __name__ == "__main__":
    main(sys.argv[1:])
