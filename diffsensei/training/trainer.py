"""The one training loop: accumulation, clipping, averaging, logging, checkpoints, preemption. Nothing of manga.

Every random draw comes from a stream named by (seed, step, part of the global batch), and batches are functions of the
same: a resumed run continues bit for bit without saved generator states, and more processes see the same batches.
"""

import contextlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.profiler import record_function

from diffsensei.config.base import config_digest
from diffsensei.config.schema import Parallelism, TrainStageConfig
from diffsensei.progress import Progress
from diffsensei.seeding import stream_seed
from diffsensei.training.background_saver import BackgroundSaver
from diffsensei.training.checkpoints import Checkpoint, CheckpointFolder
from diffsensei.training.metrics import GRAD_NORM, LEARNING_RATE, LOSS, PANELS_PER_S, MetricsLog, Window
from diffsensei.training.optimizer import learning_rate
from diffsensei.training.parts import whole
from diffsensei.training.preemption import PREEMPTED, Preemption
from diffsensei.training.ranks import leave_in_order
from diffsensei.training.sharding import checkpoint_mesh, gather_weights, replicate_weights, shard_weights
from diffsensei.training.state import TrainingState

logger = logging.getLogger(__name__)


class Batches(Protocol):
    """Batches as a function of the step. A global batch comes in parts, each the work of one forward pass."""

    def num_parts(self, step: int) -> int:
        """Parts of the global batch of optimizer step ``step``, over all processes."""

    def num_items(self, step: int) -> int:
        """Items in the global batch of ``step``."""

    def batch(self, step: int, part: int, device: torch.device) -> Any:
        """Part ``part`` of the global batch of ``step``, on ``device``."""


@dataclass(frozen=True)
class TrainableStage:
    """What a stage of the paper brings to the loop."""

    label: str
    objective: nn.Module
    """``objective(batch, generator)`` gives losses by name (0-d tensors), of which ``loss`` is minimised over all
    parameters that require gradients."""
    batches: Batches


def train(
    stage: TrainableStage,
    config: TrainStageConfig,
    *,
    accelerator: Accelerator,
    seed: int,
    log_every_steps: int,
    workspace: Path,
    parallelism: Parallelism = "replicate",
) -> None:
    """Train ``stage.objective`` in place for ``config.steps`` optimizer steps; continues from ``workspace``.

    It ends with the last step's weights or, with ``config.ema_decay``, their moving average. Processes each hold all of
    it meanwhile (``replicate``) or a part (``shard``); in the end the main process has the whole either way, and after
    ``shard`` no other.

    Checkpoints go to ``workspace/checkpoints`` every ``config.checkpoint_every_steps`` and at the end; the log to
    ``workspace/metrics.jsonl`` and ``workspace/tensorboard``. Raises SystemExit(143) after SIGTERM, once the step is
    finished and saved; ValueError when a loss or gradient is not finite (the last good checkpoint stays).
    """
    leave_in_order()
    _Run(stage, config, accelerator, seed, log_every_steps, workspace, parallelism).run()


class _Run:
    def __init__(
        self,
        stage: TrainableStage,
        config: TrainStageConfig,
        accelerator: Accelerator,
        seed: int,
        log_every_steps: int,
        workspace: Path,
        parallelism: Parallelism,
    ) -> None:
        self._stage, self._config, self._accelerator, self._seed = stage, config, accelerator, seed
        self._log_every_steps, self._workspace = log_every_steps, workspace
        self._is_main = accelerator.is_main_process
        self._sharded = parallelism == "shard"
        prepare = shard_weights if self._sharded else replicate_weights
        self._model = prepare(stage.objective, accelerator)
        self._state = TrainingState(stage.objective, config)
        self._checkpoints = CheckpointFolder(workspace / "checkpoints", checkpoint_mesh() if self._sharded else None)
        self._window = Window()
        self._preemption = Preemption(accelerator)

    def run(self) -> None:
        start = self._resume()
        if self._is_main:
            self._log = MetricsLog(self._workspace, start)
            self._progress = Progress(
                self._workspace / "progress.json", self._stage.label, self._config.steps, unit="steps", start=start
            )
        self._stage.objective.train()
        self._since, self._items = time.monotonic(), 0
        with BackgroundSaver(self._checkpoints) as self._saver, self._preemption.watched():
            for step in range(start, self._config.steps):
                self._step(step)
                self._after(step + 1)
        if self._state.average is not None:
            self._state.average.give_to_parameters()
        if self._sharded:
            gather_weights(self._stage.objective, keep=self._is_main)
        if self._is_main:
            self._log.close()
        self._accelerator.wait_for_everyone()

    def _step(self, step: int) -> None:
        """Optimizer step ``step`` (from 0)."""
        num_processes = self._accelerator.num_processes
        num_passes, rest = divmod(self._stage.batches.num_parts(step), num_processes)
        assert num_passes > 0 == rest, "every process takes equally many parts of a global batch"
        totals: dict[str, Tensor] = {}
        for index in range(num_passes):
            part = index * num_processes + self._accelerator.process_index
            with record_function("batch"):
                batch = self._stage.batches.batch(step, part, self._accelerator.device)
            # Dropout draws from the global generator, so that one gets a named stream as well.
            torch.manual_seed(stream_seed(self._seed, "dropout", step, part))
            generator = torch.Generator(self._accelerator.device)
            generator.manual_seed(stream_seed(self._seed, "noise", step, part))
            last = index == num_passes - 1
            # In parts, gradients are summed after each pass all the same: whole ones would need the weights' room.
            with contextlib.nullcontext() if last else self._accelerator.no_sync(self._model):
                with record_function("forward"):
                    losses: dict[str, Tensor] = self._model(batch, generator)
                with record_function("backward"):
                    self._accelerator.backward(losses["loss"] / num_passes)
            for name, loss in losses.items():
                totals[name] = totals.get(name, 0.0) + loss.detach() / num_passes

        with record_function("optimizer"):
            grad_norm = self._update(step)
        self._window.add({f"train/{name}": loss for name, loss in totals.items()} | {GRAD_NORM: grad_norm})
        self._items += self._stage.batches.num_items(step)

    def _update(self, step: int) -> Tensor:
        """Clip, update, forget the gradients; their norm before clipping (0-d)."""
        parameters, optimizer = self._state.parameters.values(), self._state.optimizer
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        grad_norm = whole(nn.utils.get_total_norm(gradients))
        if self._config.max_grad_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, self._config.max_grad_norm, grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(self._config, step)
        optimizer.step()
        if self._state.average is not None:
            self._state.average.update(step)
        optimizer.zero_grad(set_to_none=True)
        return grad_norm

    def _after(self, done: int) -> None:
        """Log, save or stop after ``done`` optimizer steps."""
        last = done == self._config.steps
        stopping = self._preemption.requested()
        due = last or done % self._config.checkpoint_every_steps == 0
        figures: dict[str, float] = {}
        if due or stopping or done % self._log_every_steps == 0:
            self._check_finite(done)
        if last or done % self._log_every_steps == 0:
            figures = self._write_log(done)
        if self._is_main:
            self._progress.advance(1, **({"loss": round(figures[LOSS], 4)} if figures else {}))
        if due or stopping:
            self._save(done, wait=last or stopping)
        if stopping and not last:
            logger.warning("%s: stopped by SIGTERM after step %d, checkpoint saved", self._stage.label, done)
            raise SystemExit(PREEMPTED)

    def _check_finite(self, done: int) -> None:
        bad = self._window.first_bad_step()
        if bad is not None:
            step = done - len(self._window) + bad + 1
            raise ValueError(
                f"{self._stage.label}: expected a finite loss and gradient, step {step} has none; lower the learning "
                f"rate or check the data. The last good checkpoint in {self._workspace / 'checkpoints'} is kept"
            )

    def _write_log(self, done: int) -> dict[str, float]:
        """Write the means of the window, over all ranks, and start a new one."""
        means = self._window.means()
        values = self._accelerator.reduce(
            torch.tensor(list(means.values()), device=self._accelerator.device), reduction="mean"
        )
        figures = dict(zip(means, values.tolist(), strict=True))
        now = time.monotonic()
        figures[LEARNING_RATE] = learning_rate(self._config, done - 1)
        figures[PANELS_PER_S] = round(self._items / max(now - self._since, 1e-9), 2)
        self._since, self._items, self._window = now, 0, Window()
        if self._is_main:
            self._log.write(done, figures)
        return figures

    def _save(self, done: int, *, wait: bool) -> None:
        """One process writes where all hold the same weights and optimizer state; else each writes its part."""
        names, rows = self._window.rows()
        if rows:
            shared = self._accelerator.reduce(torch.tensor(rows, device=self._accelerator.device), reduction="mean")
            self._window = Window(names, shared.tolist())
        if self._is_main or self._sharded:
            names, rows = self._window.rows()
            state = {"fingerprint": self._fingerprint(), "window_names": names, "window_rows": rows}
            self._saver.save(Checkpoint(done, self._state.tensors(), state))
            if wait:  # before the others leave: a launcher ends the rest soon after the first one
                self._saver.wait()
        self._accelerator.wait_for_everyone()

    def _resume(self) -> int:
        """Load the newest valid checkpoint; the number of steps it has seen."""
        checkpoint = self._checkpoints.load_newest()
        if checkpoint is None:
            return 0
        if checkpoint.state["fingerprint"] != self._fingerprint():
            raise ValueError(
                f"{self._workspace / 'checkpoints'}: expected a checkpoint of this configuration, found another's; "
                f"remove the folder to start over"
            )
        self._state.restore(checkpoint.tensors)
        self._window = Window(checkpoint.state["window_names"], checkpoint.state["window_rows"])
        logger.info("%s: resumed after step %d", self._stage.label, checkpoint.step)
        return checkpoint.step

    def _fingerprint(self) -> dict[str, Any]:
        """What a checkpoint must share with the run that continues it."""
        return {
            "stage": self._stage.label,
            "config": config_digest(self._config),
            "seed": self._seed,
            "num_parameters": sum(parameter.numel() for parameter in self._state.parameters.values()),
        }
