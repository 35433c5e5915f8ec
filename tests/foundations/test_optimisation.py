import json
from pathlib import Path

import torch
from torch import nn

from diffsensei.foundations.optimisation import build, fit
from diffsensei.foundations.recipes import FitRecipe
from diffsensei.progress import Progress

RECIPE = FitRecipe(seed=3, steps=60, batch=4, learning_rate=0.05, warmup_steps=5, weight_decay=0.0)


def test_same_seed_same_start_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    one = build(RECIPE, lambda: nn.Linear(4, 4))
    torch.testing.assert_close(torch.rand(3), expected, atol=0, rtol=0)
    torch.testing.assert_close(build(RECIPE, lambda: nn.Linear(4, 4)).weight, one.weight, atol=0, rtol=0)
    other = build(RECIPE.replaced(seed=4), lambda: nn.Linear(4, 4))
    assert not torch.equal(other.weight, one.weight)


def test_fit_lowers_the_loss_counts_its_steps_and_ends_in_evaluation_mode(tmp_path: Path) -> None:
    model = build(RECIPE, lambda: nn.Linear(4, 1))
    inputs = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    target = inputs.sum(dim=1, keepdim=True)
    losses: list[float] = []

    def loss_of_step(step: int) -> torch.Tensor:
        assert step == len(losses)
        loss = (model(inputs) - target).square().mean()
        losses.append(float(loss.detach()))
        return loss

    path = tmp_path / "progress.json"
    fit(RECIPE, [model], loss_of_step, Progress(path, "test", RECIPE.steps, "steps"))
    assert len(losses) == RECIPE.steps
    assert losses[-1] < 0.1 * losses[0]
    assert not model.training
    state = json.loads(path.read_text())
    assert (state["done"], state["total"]) == (RECIPE.steps, RECIPE.steps)
    assert "loss" in state["figures"]
