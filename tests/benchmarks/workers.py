"""``python -m tests.benchmarks workers``: stitching and cutting large pages, in a plain loop, in the sandbox, by Dask.

Wall-clock times: a machine that others use shows less than its own. A cluster's start is not counted.
"""

import time
from collections.abc import Callable
from concurrent.futures import Executor
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp

from rich.console import Console
from rich.table import Table

from diffsensei.data.panels import cutting
from diffsensei.data.validation.stitch import LIMITS, StitchTask, _stitch_file, shared_sandbox, stitch_batch
from infra.dask_cluster import local_cluster
from tests.benchmarks import pages

ROUNDS = 2
"""Times over which each page is worked on."""
REPEATS = 3


def main() -> None:
    validated, _ = pages.drawn_pages()
    files = sorted((validated / "pages").iterdir())
    width = 2 * round(pages.PAGE_HEIGHT * 2 / 3)
    tasks = [StitchTask(f"{path.stem}-{turn}", (path,), (width,), 0.0) for turn in range(ROUNDS) for path in files]
    cutting_plan = [cutting.PageCuts(path, path.stem, panel_boxes=_frames(width)) for path in files] * ROUNDS
    times = {"stitch, plain loop": _best(lambda: _stitch_plainly(tasks))}
    shared_sandbox(LIMITS).run(len, ())
    times["stitch, sandbox"] = _best(lambda: stitch_batch(tasks, _folder(), 40.0))
    times["cut, plain loop"] = _best(lambda: [cutting._cut_page(cuts) for cuts in cutting_plan])
    for workers in (1, 2):
        with local_cluster(workers, _folder()) as executor:
            _warm(executor, workers)
            times[f"stitch, Dask, {workers}"] = _best(lambda: _stitch_by(executor, tasks))
            times[f"cut, Dask, {workers}"] = _best(lambda: _cut_by(executor, cutting_plan))
    table = Table(title=f"{len(tasks)} double pages of {pages.PAGE_HEIGHT}x{width}, best of {REPEATS}, wall clock")
    for heading in ("what", "pages/s", "against the plain loop"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for name, seconds in times.items():
        plain = times[f"{name.partition(',')[0]}, plain loop"]
        table.add_row(name, f"{len(tasks) / seconds:.1f}", f"{plain / seconds:.2f}")
    Console(width=120).print(table)
    for work in ("stitch", "cut"):
        gained = times[f"{work}, Dask, 1"] / times[f"{work}, Dask, 2"]
        Console(width=120).print(
            f"{work}: 2 Dask workers are {gained:.2f} times as fast as 1 (goal: 1.8 on 2 free cores)"
        )


def _frames(width: int) -> list[list[int]]:
    """Eight panels to a page."""
    edges, half = [width * place // 4 for place in range(5)], pages.PAGE_HEIGHT // 2
    return [[left, top, right, top + half] for top in (0, half) for left, right in pairwise(edges)]


def _stitch_plainly(tasks: list[StitchTask]) -> None:
    folder = _folder()
    for task in tasks:
        _stitch_file(task, folder, 40.0)


def _stitch_by(executor: Executor, tasks: list[StitchTask]) -> None:
    folder = _folder()
    batches = [tasks[start : start + 5] for start in range(0, len(tasks), 5)]
    for future in [executor.submit(stitch_batch, batch, folder, 40.0) for batch in batches]:
        assert not any(outcome.reason for outcome in future.result())


def _cut_by(executor: Executor, plan: list[cutting.PageCuts]) -> None:
    folder = _folder()
    batches = [plan[start : start + 5] for start in range(0, len(plan), 5)]
    futures = [
        executor.submit(cutting.write_shard, batch, folder / cutting.shard_name(shard))
        for shard, batch in enumerate(batches)
    ]
    for future in futures:
        future.result()


def _warm(executor: Executor, workers: int) -> None:
    """Imports, and a child for each worker."""
    for future in [executor.submit(_start_child, number) for number in range(4 * workers)]:
        future.result()


def _start_child(number: int) -> int:
    time.sleep(0.3)
    return shared_sandbox(LIMITS).run(abs, number)


def _best(call: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def _folder() -> Path:
    return Path(mkdtemp(dir=pages.drawn_pages()[1].parent))
