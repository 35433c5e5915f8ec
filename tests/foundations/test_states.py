"""The probe of states: its answers, its truth, and that it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch

from diffsensei.config.presets.parts import EMBEDDED_JUDGES
from diffsensei.foundations import judge_encoders
from diffsensei.foundations.drawn_pool import BUCKETS, PoolPanel
from diffsensei.foundations.labels import READ_STATES
from diffsensei.foundations.state_probe import StateProbe
from diffsensei.foundations.states import NOT_SHOWN, StateCrops, state_crops, state_figures

VALUES = {"pose": ("up", "down"), "facing": ("left", "right", "away")}


def test_answers_are_the_likeliest_values_in_their_order() -> None:
    probe = StateProbe((8, 8, 8, 8), 16, VALUES)
    assert probe.answers(np.array([0.1, 0.2, 3.0, -1.0, 2.9])) == {"pose": "down", "facing": "left"}
    crops = [np.full((9, 30), 200, np.uint8), np.zeros((40, 12), np.uint8)]
    probe.eval()
    logits = probe.logits(crops)
    assert logits.shape == (2, 5)
    np.testing.assert_allclose(logits[1], probe.logits(crops[1:])[0], atol=1e-4)
    assert probe.logits([]).shape == (0, 5)


def test_config_builds_the_same_probe() -> None:
    torch.manual_seed(0)
    probe = StateProbe((8, 8, 8, 8), 16, VALUES, {"pose": 0.9, "facing": 0.7})
    again = StateProbe(**probe.config())
    again.load_state_dict(probe.state_dict())
    image = [np.arange(256, dtype=np.uint8).reshape(16, 16)]
    np.testing.assert_array_equal(probe.eval().logits(image), again.eval().logits(image))
    assert again.held_out_accuracy == {"pose": 0.9, "facing": 0.7}


@pytest.mark.parametrize("config", [None, BUCKETS])
def test_labels_are_the_drawn_states(panels: list[PoolPanel], config: object) -> None:
    crops = state_crops(panels, config)
    total = sum(len(panel.characters) for panel in panels)
    assert 0.8 * total < len(crops.images) <= total
    assert all(min(image.shape) >= 8 for image in crops.images)
    assert {name: len(values) for name, values in crops.labels.items()} == dict.fromkeys(READ_STATES, len(crops.images))
    away = crops.labels["facing"] == READ_STATES["facing"].index("away")
    np.testing.assert_array_equal(crops.labels["expression"] == NOT_SHOWN, away)
    if config is None:
        first = next(panel for panel in panels if panel.characters)
        assert crops.labels["distance"][0] == READ_STATES["distance"].index(first.distance)
        assert crops.labels["pose"][0] == READ_STATES["pose"].index(first.characters[0].labels["pose"])


def test_figures_leave_out_what_is_not_shown() -> None:
    class Standing(StateProbe):
        def answers(self, logits: np.ndarray) -> dict[str, str]:
            return {"expression": "neutral", "pose": "standing", "facing": "left", "distance": "close"}

    probe = Standing((8, 8, 8, 8), 16, READ_STATES).eval()
    labels = {name: np.array([0, 1, 1, 0]) for name in READ_STATES} | {"expression": np.array([0, 1, NOT_SHOWN, 0])}
    figures = state_figures(probe, StateCrops([np.zeros((8, 8), np.uint8)] * 4, labels))
    assert figures["accuracy_expression"] == figures["majority_expression"] == 0.6667
    assert figures["accuracy_pose"] == figures["majority_pose"] == 0.5
    assert figures["num_crops"] == 4


def test_the_shipped_probe_reads_a_world_that_no_training_saw(panels: list[PoolPanel]) -> None:
    """Far above the majority class, and about as well as its config says."""
    probe = judge_encoders.load_state_probe(EMBEDDED_JUDGES.states)
    said = judge_encoders.read_probe_accuracy(EMBEDDED_JUDGES.states)
    assert said == probe.held_out_accuracy
    figures = state_figures(probe, state_crops(panels, BUCKETS))
    for name in READ_STATES:
        assert figures[f"accuracy_{name}"] > figures[f"majority_{name}"] + 0.2, name
        assert abs(figures[f"accuracy_{name}"] - said[name]) < 0.12, name


def test_what_is_no_probe_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json lacks held_out_accuracy; it is no probe of states"):
        judge_encoders.read_probe_accuracy(EMBEDDED_JUDGES.dialog_detector)
    with pytest.raises(ValueError, match="its configuration does not fit"):
        judge_encoders.load_state_probe(EMBEDDED_JUDGES.dialog_detector)
