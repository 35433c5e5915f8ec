import pytest

from diffsensei.training.optimizer import learning_rate
from tests.training.small_regression import CONFIG


def test_rate_rises_stays_and_falls_linearly() -> None:
    rates = [learning_rate(CONFIG, step) for step in range(12)]
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert rates[4:9] == [0.01] * 5
    assert rates[9:] == pytest.approx([0.0075, 0.005, 0.0025])


def test_rate_is_constant_without_warm_up_and_decay() -> None:
    constant = CONFIG.replaced(warmup_steps=0, decay_steps=0)
    assert {learning_rate(constant, step) for step in range(12)} == {1e-2}
