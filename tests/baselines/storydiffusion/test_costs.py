import pytest

from diffsensei.baselines.storydiffusion.costs import COSTS
from diffsensei.config import ExperimentConfig, load_preset
from tests.costs.workloads import few, workload

TINY = load_preset("tiny")


def cost(config: ExperimentConfig, pages: dict[int, int]) -> float:
    return COSTS["generate_storydiffusion"](workload(config, few(pages))).teraflop


def sharing(*changes: str) -> ExperimentConfig:
    return load_preset("tiny", [f"baselines.storydiffusion.sharing.{change}" for change in changes])


def test_panels_that_read_one_another_cost_more_the_more_often_they_do() -> None:
    never = sharing("early_rate=0.0", "late_rate=0.0", "unshared_steps=0")
    half = sharing("early_rate=0.5", "late_rate=0.5", "unshared_steps=0")
    always = sharing("early_rate=1.0", "late_rate=1.0", "unshared_steps=0")
    pages = {4: 1}
    costs = [cost(config, pages) for config in (never, half, always)]
    assert costs[0] < costs[1] < costs[2]
    assert costs[1] == pytest.approx((costs[0] + costs[2]) / 2)
    # Without sharing a panel costs the same on any page.
    assert cost(never, {4: 1}) == pytest.approx(cost(never, {2: 3}))


def test_the_given_panel_is_not_drawn() -> None:
    assert cost(TINY, {1: 5}) == 0.0
