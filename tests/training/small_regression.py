"""A small regression with dropout that the training loop fits, also as a program of several processes."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import Tensor, nn

from diffsensei.config.schema import Parallelism, TrainStageConfig
from diffsensei.training.trainer import Batches, TrainableStage, train

CONFIG = TrainStageConfig(
    steps=12,
    learning_rate=1e-2,
    warmup_steps=4,
    decay_steps=3,
    weight_decay=0.01,
    max_grad_norm=1.0,
    global_batch_size=(8,),
    micro_batch_size=(4,),
    checkpoint_every_steps=3,
)
AVERAGED = CONFIG.replaced(ema_decay=0.6)
PANEL_BUCKETS = np.array([0] * 30 + [1] * 11 + [2] * 7)
TIERS = (0, 0, 1)
"""Size tier of each bucket."""


class Regression(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(5, 16), nn.GELU(), nn.Dropout(0.2), nn.Linear(16, 1))
        self.frozen = nn.Linear(5, 1).requires_grad_(False)

    def forward(self, batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        noise = 0.01 * torch.randn(len(batch), 1, generator=generator)
        error = (self.layers(batch) - self.frozen(batch) - noise).square().mean()
        return {"loss": error, "double": 2 * error}


class Points:
    """Two parts of four points; ``at`` runs something when a step begins."""

    def __init__(self, at: dict[int, Callable[[], object]] | None = None) -> None:
        self._at = at or {}

    def num_parts(self, step: int) -> int:
        return 2

    def num_items(self, step: int) -> int:
        return 8

    def batch(self, step: int, part: int, device: torch.device) -> Tensor:
        if step in self._at and part == 0:
            self._at[step]()
        return torch.randn(4, 5, generator=torch.Generator().manual_seed(10 * step + part))


class RecordedPanels:
    """A point for each panel of a real batch plan over two size tiers; who read what goes to ``record``.

    ``at`` runs something when this process comes to a step.
    """

    def __init__(self, record: Path, at: dict[int, Callable[[], object]]) -> None:
        from diffsensei.training.batch_plan import plan_batches  # slow to import, and needed here only

        shapes = SimpleNamespace(
            buckets=[SimpleNamespace(tier_index=tier) for tier in TIERS], panel_buckets=PANEL_BUCKETS
        )
        self._plan = plan_batches("step", shapes, (8, 4), (2, 1), seed=5)
        self._points = torch.randn(len(PANEL_BUCKETS), 5, generator=torch.Generator().manual_seed(1))
        self._record, self._at = record, at

    def num_parts(self, step: int) -> int:
        return self._plan.num_parts(step)

    def num_items(self, step: int) -> int:
        return self._plan.num_items(step)

    def batch(self, step: int, part: int, device: torch.device) -> Tensor:
        if step in self._at:
            self._at.pop(step)()  # once, though a step has several parts
        bucket, panels, _ = self._plan.part(step, part)
        entry = {"step": step, "part": part, "tier": TIERS[bucket], "panels": panels.tolist()}
        with self._record.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        return self._points[panels]


def fit(
    workspace: Path,
    config: TrainStageConfig = CONFIG,
    batches: Batches | None = None,
    parallelism: Parallelism = "replicate",
) -> Regression:
    workspace.mkdir(exist_ok=True)
    objective = Regression()
    train(
        TrainableStage("regression", objective, batches or Points()),
        config,
        accelerator=Accelerator(cpu=True),
        seed=7,
        log_every_steps=2,
        workspace=workspace,
        parallelism=parallelism,
    )
    return objective


def crash() -> None:
    raise KeyboardInterrupt


def main(workspace: str, parallelism: Parallelism, ends: str) -> None:
    """One process of a run. ``ends`` is JSON: rank -> [step, signal number that the process sends itself there].

    Each rank writes ``panels-<rank>.jsonl``, the first one ``weights.safetensors`` at the end.
    """
    torch.set_num_threads(1)
    folder, rank = Path(workspace), int(os.environ.get("RANK", "0"))
    at: dict[int, Callable[[], object]] = {}
    if str(rank) in json.loads(ends):
        step, number = json.loads(ends)[str(rank)]
        at[step] = lambda: os.kill(os.getpid(), signal.Signals(number))
    objective = fit(folder, AVERAGED, RecordedPanels(folder / f"panels-{rank}.jsonl", at), parallelism)
    if rank == 0:
        save_file(dict(objective.state_dict()), folder / "weights.safetensors")


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type]
