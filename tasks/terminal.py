"""What a person sees while a flow runs: one bar per stage with an ETA, or plain lines where nobody watches.

Everything goes to stderr, so the result of a command stays alone on stdout. ``TERM=dumb`` asks for plain lines.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

PLAIN_LINE_EVERY_S = 10.0
STAGE_WIDTH = 30


class StageView(Protocol):
    """Told what happens to each stage; draws it."""

    def started(self, stage: str) -> None: ...

    def progressed(self, stage: str, progress: Mapping[str, Any]) -> None:
        """``progress`` is the stage's ``progress.json``: label, done, total, unit, eta_s, figures."""

    def finished(self, stage: str, how: str, seconds: float) -> None: ...


def print_lines(lines: Sequence[str]) -> None:
    """Lines for a person beside the result, never read as markup."""
    console = Console(stderr=True, highlight=False)
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


@contextmanager
def open_view() -> Iterator[StageView]:
    """Live bars on a terminal, plain lines elsewhere."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        yield PlainView(console)
        return
    with LiveView(console) as view:
        yield view


class PlainView:
    """A line when a stage starts, at most every ten seconds while it runs, and when it ends."""

    def __init__(self, console: Console, every_s: float = PLAIN_LINE_EVERY_S) -> None:
        self._console = console
        self._every_s = every_s
        self._last: dict[str, float] = {}

    def started(self, stage: str) -> None:
        self._last[stage] = time.monotonic()
        self._line(f"{stage:<{STAGE_WIDTH}} started")

    def progressed(self, stage: str, progress: Mapping[str, Any]) -> None:
        now = time.monotonic()
        if now - self._last.get(stage, float("-inf")) >= self._every_s:
            self._last[stage] = now
            state = f"{share(progress):4.0%}  {describe_progress(progress)}  eta {_eta(progress)}"
            self._line(f"{stage:<{STAGE_WIDTH}} {state}")

    def finished(self, stage: str, how: str, seconds: float) -> None:
        self._line(ended(stage, how, seconds))

    def _line(self, text: str) -> None:
        self._console.print(f"{time.strftime('%H:%M:%S')}  {text}", markup=False, soft_wrap=True)


class LiveView:
    """A bar for each stage that runs; above them, a line for each that ended, so that no terminal is too low."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn(f"{{task.description:<{STAGE_WIDTH}}}"),
            BarColumn(bar_width=12),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[state]}"),
            console=console,
        )
        self._console = console
        self._rows: dict[str, TaskID] = {}

    def __enter__(self) -> "LiveView":
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def started(self, stage: str) -> None:
        self._rows[stage] = self._bars.add_task(stage, total=None, state="starting")

    def progressed(self, stage: str, progress: Mapping[str, Any]) -> None:
        if stage not in self._rows:
            self.started(stage)
        state = f"{describe_progress(progress)}  eta {_eta(progress)}"
        self._bars.update(
            self._rows[stage], total=progress.get("total") or None, completed=progress.get("done", 0), state=state
        )

    def finished(self, stage: str, how: str, seconds: float) -> None:
        if stage in self._rows:
            self._bars.remove_task(self._rows.pop(stage))
        self._console.print(ended(stage, how, seconds), markup=False, soft_wrap=True)


def ended(stage: str, how: str, seconds: float) -> str:
    """The line of a stage that is over: its name, what became of it, and how long that took."""
    return f"{stage:<{STAGE_WIDTH}} {how if how == 'reused' else f'{how} in {clock(seconds)}'}"


def share(progress: Mapping[str, Any]) -> float:
    """Done of total in [0, 1]; 0 while the total is unknown."""
    total = progress.get("total") or 0
    return min(progress.get("done", 0) / total, 1.0) if total else 0.0


def describe_progress(progress: Mapping[str, Any]) -> str:
    """For example ``stage 1  238/700 steps  loss 0.123``."""
    parts = [
        str(progress.get("label", "")),
        f"{progress.get('done', 0)}/{progress.get('total', 0)} {progress.get('unit', '')}",
    ]
    parts += [f"{name} {value:.4g}" for name, value in (progress.get("figures") or {}).items()]
    return "  ".join(part for part in parts if part)


def clock(seconds: float) -> str:
    """Seconds as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _eta(progress: Mapping[str, Any]) -> str:
    eta = progress.get("eta_s")
    return "-" if eta is None else clock(eta)


def print_table(rows: Sequence[Mapping[str, str]]) -> None:
    """A table on stdout; all ``rows`` have the keys of the first, which head its columns."""
    table = Table(box=None, pad_edge=False)
    for column in rows[0] if rows else ():
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    Console(highlight=False).print(table)
