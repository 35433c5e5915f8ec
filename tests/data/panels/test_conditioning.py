import numpy as np
import pytest

from diffsensei.config.presets import tiny
from diffsensei.config.schema import ConditioningConfig
from diffsensei.data.panels.conditioning import PanelConditions, sample_conditions
from diffsensei.data.panels.training_panels import TrainingPanels
from diffsensei.seeding import numpy_stream

CONFIG = tiny().data.conditioning
SURE = CONFIG.replaced(character_drop_rate=0.0, caption_drop_rate=0.0)


@pytest.fixture
def panels() -> TrainingPanels:
    """One panel with six characters: usable references are crops 10 to 15 (own) and 20, 21 (elsewhere, of the first).

    Character 4 is not usable; character 5 is too small to have a crop of its own and appears nowhere else.
    """
    return TrainingPanels(
        captions=["", "a duel"],
        panel_captions=np.array([1]),
        time_ids=np.zeros((1, 6), np.float32),
        character_starts=np.array([0, 6]),
        character_boxes=np.tile(np.array([[0, 0, 1, 1]], np.float32), (6, 1)),
        character_areas=np.array([10.0, 60.0, 30.0, 40.0, 50.0, 20.0]),
        character_usable=np.array([True, True, True, True, False, True]),
        own_crops=np.array([10, 11, 12, 13, 14, -1]),
        references=np.array([10, 20, 21, 11, 12, 13, 14]),
        reference_ranges=np.array([[0, 3], [3, 4], [4, 5], [5, 6], [6, 7], [7, 7]]),
        dialog_starts=np.array([0, 10]),
        dialog_boxes=np.zeros((10, 4), np.float32),
        dialog_usable=np.array([True] * 9 + [False]),
    )


def draws(panels: TrainingPanels, config: ConditioningConfig, count: int, **more: bool) -> list[PanelConditions]:
    return [sample_conditions(panels, 0, config, numpy_stream(0, "test", index), **more) for index in range(count)]


def test_limits_hold_and_unusable_ones_never_appear(panels: TrainingPanels) -> None:
    for draw in draws(panels, SURE, 200):
        assert sorted(draw.characters.tolist()) == [0, 1, 2, 3]
        assert len(draw.dialogs) == 8
        assert 9 not in draw.dialogs
        assert draw.caption == 1
    orders = {tuple(draw.characters.tolist()) for draw in draws(panels, SURE, 200)}
    assert len(orders) == 24  # every order of four occurs


def test_own_crop_at_the_configured_rate_and_otherwise_another(panels: TrainingPanels) -> None:
    crops = [int(crop) for draw in draws(panels, SURE, 4000) for crop in draw.crops[draw.characters == 0]]
    shares = [crops.count(crop) / len(crops) for crop in (10, 20, 21)]
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25], atol=0.03)
    others = [draw.crops[draw.characters == 0] for draw in draws(panels, SURE.replaced(self_condition_rate=0.0), 300)]
    assert {int(crop) for crop in np.concatenate(others)} == {20, 21}
    alone = [draw.crops[draw.characters == 1] for draw in draws(panels, SURE.replaced(self_condition_rate=0.0), 50)]
    assert {int(crop) for crop in np.concatenate(alone)} == {11}  # its own crop is all there is


def test_drop_and_flip_rates(panels: TrainingPanels) -> None:
    config = CONFIG.replaced(character_drop_rate=0.3, caption_drop_rate=0.2, flip_rate=0.75)
    drawn = draws(panels, config, 4000)
    assert np.mean([0 in draw.characters for draw in drawn]) == pytest.approx(0.7, abs=0.03)
    assert np.mean([draw.caption == 0 for draw in drawn]) == pytest.approx(0.2, abs=0.03)
    assert np.mean(np.concatenate([draw.mirrored for draw in drawn])) == pytest.approx(0.75, abs=0.03)


def test_largest_first_orders_by_area_and_wants_a_target(panels: TrainingPanels) -> None:
    for draw in draws(panels, SURE, 20, largest_first=True):
        assert draw.characters.tolist() == [1, 3, 2, 0]
    few = draws(panels, SURE.replaced(max_characters=2), 20, largest_first=True)
    assert all(draw.characters.tolist() == [1, 3] for draw in few)


def test_the_same_stream_gives_the_same_draw(panels: TrainingPanels) -> None:
    one, other = draws(panels, CONFIG, 1)[0], draws(panels, CONFIG, 1)[0]
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right)
