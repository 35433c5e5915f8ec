"""The moving average of weights: by hand, and in the loop."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from diffsensei.training.averaging import WeightAverage, decay_at
from diffsensei.training.checkpoints import Checkpoint, CheckpointFolder
from tests.training.small_regression import AVERAGED, Points, Regression, crash, fit


def checkpoint(workspace: Path) -> Checkpoint:
    newest = CheckpointFolder(workspace / "checkpoints").load_newest()
    assert newest is not None
    return newest


def trained(objective: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in objective.named_parameters() if p.requires_grad}


def test_it_equals_a_loop_over_single_numbers() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = {"a": nn.Parameter(torch.ones(2, 3)), "b": nn.Parameter(torch.tensor([4.0]))}
    average = WeightAverage(weights, 0.5)
    by_hand = {name: parameter.detach().flatten().tolist() for name, parameter in weights.items()}
    for step in range(12):
        for parameter in weights.values():
            parameter.data += torch.randn(parameter.shape, generator=generator)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, parameter in weights.items():
            new = parameter.detach().flatten().tolist()
            by_hand[name] = [decay * old + (1 - decay) * now for old, now in zip(by_hand[name], new, strict=True)]
    before = {name: parameter.detach().clone() for name, parameter in weights.items()}
    for name, values in by_hand.items():
        assert average.state()[name].flatten().tolist() == pytest.approx(values, rel=1e-5)
    assert all(torch.equal(weights[name], before[name]) for name in weights)  # training goes on from the weights
    average.give_to_parameters()
    assert all(torch.equal(weights[name], average.state()[name]) for name in weights)


def test_decay_rises_to_its_value() -> None:
    assert [decay_at(0.5, step) for step in (0, 1, 8, 9, 1000)] == pytest.approx([0.1, 2 / 11, 0.5, 0.5, 0.5])
    assert decay_at(0.9999, 10**6) == 0.9999


def test_channels_last_weights_are_averaged_and_restored_in_their_own_layout() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = WeightAverage(dict(layer.named_parameters()), 0.9)
    layer.weight.data.mul_(2)
    average.update(5)
    other = WeightAverage(dict(layer.named_parameters()), 0.9)
    other.restore(average.state())
    for one in (average, other):
        one.update(6)
    assert all(torch.equal(value, other.state()[name]) for name, value in average.state().items())
    assert average.state()["weight"].is_contiguous()


def test_the_loop_ends_with_the_average_of_the_weights_it_went_through(tmp_path: Path) -> None:
    """The weights after each step, from runs that stop there, averaged in double precision."""
    expected = {name: weight.double() for name, weight in trained(Regression()).items()}
    config = AVERAGED.replaced(decay_steps=0)  # a shorter run then has the rates of a longer one
    for done in range(1, config.steps + 1):
        averaged = fit(tmp_path / str(done), config.replaced(steps=done))
        saved = checkpoint(tmp_path / str(done)).tensors
        decay = min(0.6, done / (9 + done))
        for name, weight in saved["weights"].items():
            expected[name] = decay * expected[name] + (1 - decay) * weight.double()
            torch.testing.assert_close(saved["average"][name].double(), expected[name], rtol=1e-5, atol=1e-6)
            assert torch.equal(trained(averaged)[name], saved["average"][name])
    last = {name: (weight, saved["average"][name]) for name, weight in saved["weights"].items()}
    assert all(not torch.equal(weight, average) for weight, average in last.values())


def test_averaging_does_not_touch_training(tmp_path: Path) -> None:
    fit(tmp_path / "with", AVERAGED)
    plain = fit(tmp_path / "without", AVERAGED.replaced(ema_decay=None))
    assert "average" not in checkpoint(tmp_path / "without").tensors
    for name, weight in checkpoint(tmp_path / "with").tensors["weights"].items():
        assert torch.equal(weight, trained(plain)[name]), name


@pytest.mark.parametrize("stop", [1, 4, 11])
def test_an_interrupted_run_ends_with_the_same_average(tmp_path: Path, stop: int) -> None:
    straight = fit(tmp_path / "straight", AVERAGED)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "w", AVERAGED, Points({stop: crash}))
    resumed = fit(tmp_path / "w", AVERAGED)
    again = fit(tmp_path / "w", AVERAGED)  # a finished run gives its average once more
    for name, weight in trained(straight).items():
        assert torch.equal(weight, trained(resumed)[name]), name
        assert torch.equal(weight, trained(again)[name]), name
    one, other = checkpoint(tmp_path / "w"), checkpoint(tmp_path / "straight")
    for group in ("weights", "optimizer", "average"):
        assert one.tensors[group].keys() == other.tensors[group].keys()
        assert all(torch.equal(tensor, other.tensors[group][name]) for name, tensor in one.tensors[group].items())
