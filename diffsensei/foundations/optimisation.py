"""The training loop all foundations share: a seeded, deterministic AdamW with warm-up and cosine decay."""

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from diffsensei.foundations.recipes import FitRecipe
from diffsensei.progress import Progress
from diffsensei.seeding import stream_seed

Made = TypeVar("Made")

_LAST_RATE = 0.02
_MAX_GRAD_NORM = 1.0


def build(recipe: FitRecipe, make: Callable[[], Made]) -> Made:
    """``make()`` with its random initialisation drawn from the recipe's seed; global state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(recipe.seed, "init") % 2**63)
        return make()


def fit(
    recipe: FitRecipe, modules: Iterable[nn.Module], loss_of_step: Callable[[int], Tensor], progress: Progress
) -> None:
    """Take ``recipe.steps`` steps on what ``loss_of_step(step)`` returns; modules are left in evaluation mode."""
    modules = list(modules)
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    decayed = [p for p in parameters if p.ndim >= 2]
    others = [p for p in parameters if p.ndim < 2]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, recipe.learning_rate, betas=(0.9, 0.99), weight_decay=recipe.weight_decay)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, recipe))
    for module in modules:
        module.train()
    for step in range(recipe.steps):
        loss = loss_of_step(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, _MAX_GRAD_NORM)
        optimizer.step()
        scheduler.step()
        progress.advance(loss=round(float(loss.detach()), 5))
    for module in modules:
        module.eval()


def _rate(step: int, recipe: FitRecipe) -> float:
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    share = (step - recipe.warmup_steps) / max(recipe.steps - recipe.warmup_steps, 1)
    return _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * share))
