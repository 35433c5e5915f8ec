"""Training metrics: summed on the device, read every few steps, written to ``metrics.jsonl`` and TensorBoard.

A step costs no synchronisation with the accelerator. What was logged after the checkpoint a run resumes from is cut off
again, so the log of an interrupted run reads like that of a straight one (except for its speed).
"""

import json
import math
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

LOSS = "train/loss"
GRAD_NORM = "optim/grad_norm"
LEARNING_RATE = "optim/lr"
PANELS_PER_S = "perf/panels_per_s"


class Window:
    """The losses and gradient norms of the steps since the last entry of the log."""

    def __init__(self, names: list[str] | None = None, values: list[list[float]] | None = None) -> None:
        """Empty, or as `rows` gave it to a checkpoint: ``values`` has a row per step, ordered like ``names``."""
        self._names = names or []
        self._steps = [torch.tensor(row) for row in values or []]

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, figures: dict[str, Tensor]) -> None:
        """Figures (0-d tensors) of one more step; the names are the same in every step."""
        self._names = list(figures)
        self._steps.append(torch.stack([value.detach().float() for value in figures.values()]))

    def rows(self) -> tuple[list[str], list[list[float]]]:
        """Names, and a row of values per step; waits for the accelerator."""
        return self._names, [] if not self._steps else torch.stack([step.cpu() for step in self._steps]).tolist()

    def first_bad_step(self) -> int | None:
        """Index in the window of the first step with a figure that is not finite."""
        names, rows = self.rows()
        finite = torch.tensor(rows).reshape(len(rows), len(names)).isfinite().all(dim=1)
        return None if finite.all() else int((~finite).nonzero()[0])

    def means(self) -> dict[str, float]:
        names, rows = self.rows()
        return dict(zip(names, torch.tensor(rows).mean(dim=0).tolist(), strict=True))


class MetricsLog:
    """``metrics.jsonl`` and ``tensorboard/`` in ``folder``, continued after ``step`` optimizer steps."""

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / "metrics.jsonl"
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        kept = [line for line in lines if _step_of(line) <= step]
        self._path.write_text("".join(f"{line}\n" for line in kept))
        self._tensorboard = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, figures: dict[str, float]) -> None:
        """An entry after ``step`` optimizer steps."""
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")
        for name, value in figures.items():
            self._tensorboard.add_scalar(name, value, step)

    def close(self) -> None:
        self._tensorboard.close()


def _step_of(line: str) -> float:
    """The step of an entry; infinity for a line torn by a crash."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
