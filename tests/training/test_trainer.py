"""The loop on a small regression with dropout: it must not matter to it what is trained."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from diffsensei.training.checkpoints import CheckpointFolder
from diffsensei.training.trainer import TrainableStage, train
from tests.training.small_regression import CONFIG, Points, crash, fit


def weights(objective: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in objective.named_parameters()}


def assert_equal(one: nn.Module, other: nn.Module) -> None:
    for name, parameter in weights(one).items():
        assert torch.equal(parameter, weights(other)[name]), name


def log_of(workspace: Path) -> list[dict[str, float]]:
    entries = [json.loads(line) for line in (workspace / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in entry.items() if not name.startswith("perf/")} for entry in entries]


def test_it_learns_and_logs(tmp_path: Path) -> None:
    objective = fit(tmp_path / "w", CONFIG.replaced(steps=200, learning_rate=3e-2))
    entries = [json.loads(line) for line in (tmp_path / "w" / "metrics.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries] == list(range(2, 201, 2))
    assert entries[-1]["train/loss"] < 0.4 * entries[0]["train/loss"]
    assert entries[-1]["train/double"] == pytest.approx(2 * entries[-1]["train/loss"])
    assert entries[-1]["perf/panels_per_s"] > 0
    assert entries[0]["optim/lr"] == pytest.approx(1.5e-2)
    assert objective.frozen.weight.grad is None
    assert list((tmp_path / "w" / "tensorboard").glob("events*"))
    progress = json.loads((tmp_path / "w" / "progress.json").read_text())
    assert (progress["done"], progress["total"], progress["unit"]) == (200, 200, "steps")


@pytest.mark.parametrize("stop", [1, 4, 6, 11])
def test_an_interrupted_run_ends_as_a_straight_one(tmp_path: Path, stop: int) -> None:
    straight = fit(tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "w", batches=Points({stop: crash}))
    assert_equal(fit(tmp_path / "w"), straight)
    assert log_of(tmp_path / "w") == log_of(tmp_path / "straight")


def test_sigterm_saves_after_the_step_and_exits_143(tmp_path: Path) -> None:
    straight = fit(tmp_path / "straight")
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as exit_info:
        fit(tmp_path / "w", batches=Points({4: lambda: os.kill(os.getpid(), signal.SIGTERM)}))
    assert exit_info.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is handler
    assert (tmp_path / "w" / "checkpoints" / "step-00000005").is_dir()  # steps 0 to 4, though 5 is not a multiple of 3
    assert_equal(fit(tmp_path / "w"), straight)
    assert log_of(tmp_path / "w") == log_of(tmp_path / "straight")


def test_echoes_of_one_sigterm_are_one_request_and_a_later_one_ends_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler signals every process of a job, and its launchers pass on what they got."""

    def ask_twice() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit):
        fit(tmp_path / "echoed", batches=Points({4: ask_twice}))
    assert (tmp_path / "echoed" / "checkpoints" / "step-00000005").is_dir()
    monkeypatch.setattr("diffsensei.training.preemption.SAME_REQUEST_S", -1.0)
    with pytest.raises(SystemExit):
        fit(tmp_path / "asked again", batches=Points({4: ask_twice}))
    assert not (tmp_path / "asked again" / "checkpoints" / "step-00000005").exists()


def test_accumulated_parts_equal_one_large_batch(tmp_path: Path) -> None:
    class Whole(Points):
        def num_parts(self, step: int) -> int:
            return 1

        def batch(self, step: int, part: int, device: torch.device) -> Tensor:
            return torch.cat([Points.batch(self, step, part, device) for part in range(2)])

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(5, 1)

        def forward(self, batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
            return {"loss": (self.layer(batch) - batch.sum(dim=1, keepdim=True)).square().mean()}

    results = []
    for name, batches in (("parts", Points()), ("whole", Whole())):
        (tmp_path / name).mkdir()
        objective = Plain()
        train(
            TrainableStage("plain", objective, batches),
            CONFIG,
            accelerator=Accelerator(cpu=True),
            seed=0,
            log_every_steps=4,
            workspace=tmp_path / name,
        )
        results.append(objective.layer.weight.detach())
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    class Broken(Points):
        def batch(self, step: int, part: int, device: torch.device) -> Tensor:
            batch = super().batch(step, part, device)
            return batch * float("nan") if (step, part) == (7, 1) else batch

    with pytest.raises(ValueError, match="step 8 has none"):
        fit(tmp_path / "w", batches=Broken())
    assert sorted(path.name for path in (tmp_path / "w" / "checkpoints").iterdir()) == [
        "step-00000003",
        "step-00000006",
    ]
    assert_equal(fit(tmp_path / "w"), fit(tmp_path / "straight"))


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    fit(tmp_path / "w")
    with pytest.raises(ValueError, match="found another's"):
        fit(tmp_path / "w", CONFIG.replaced(steps=20, learning_rate=5e-3))


def test_a_finished_run_only_loads(tmp_path: Path) -> None:
    first = fit(tmp_path / "w")
    again = fit(tmp_path / "w", batches=Points(dict.fromkeys(range(12), crash)))
    assert_equal(again, first)


def test_gradients_are_clipped_to_the_given_norm(tmp_path: Path) -> None:
    """With plain gradient scale removed by Adam, clipping shows in the moments it keeps."""
    fit(tmp_path / "w", CONFIG.replaced(steps=1, max_grad_norm=1e-3, checkpoint_every_steps=1))
    checkpoint = CheckpointFolder(tmp_path / "w" / "checkpoints").load_newest()
    assert checkpoint is not None
    first_moments = [value for name, value in checkpoint.tensors["optimizer"].items() if name.startswith("exp_avg:")]
    norm = torch.stack([(value / 0.1).square().sum() for value in first_moments]).sum().sqrt()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)
