"""The region from panel to level: what a mask looks like to attention, and that it is built once."""

import torch

from diffsensei.models.character_layouts import character_layout
from diffsensei.models.conditions import Conditions, Layout
from diffsensei.models.region import PlacedRegion, Region


def drawn(mask: torch.Tensor) -> list[str]:
    return ["".join("#" if cell else "." for cell in row) for row in mask]


def panel(boxes: list[list[float]], num_queries: int) -> Conditions:
    layout = Layout(
        character_boxes=torch.tensor([boxes]),
        character_exists=torch.ones(1, len(boxes), dtype=torch.bool),
        dialog_boxes=torch.zeros(1, 1, 4),
        dialog_exists=torch.zeros(1, 1, dtype=torch.bool),
    )
    tokens = torch.zeros(1, num_queries * (1 + len(boxes)), 8)
    return Conditions(torch.zeros(1, 3, 8), torch.zeros(1, 8), torch.zeros(1, 6), tokens, layout)


def placed(boxes: list[list[float]], num_queries: int, layout: str = "mask", mask: str = "exact") -> PlacedRegion:
    """On latents of 2 x 8; masks do without a network."""
    return Region(panel(boxes, num_queries)).on((2, 8), character_layout(layout, mask), unet=None)


def test_attention_mask_orders_background_then_slots_and_lets_overlaps_share() -> None:
    level = placed([[0.0, 0.0, 0.5, 1.0], [0.25, 0.0, 0.75, 1.0]], num_queries=2).at(1, 4)
    assert level is not None
    assert level.mask.shape == (1, 1, 4, 6)
    assert drawn(level.mask[0, 0]) == ["..##..", "..####", "....##", "##...."]


def test_every_position_attends_to_something() -> None:
    level = placed([[0.0, 0.0, 0.0, 0.0], [0.2, 0.2, 0.1, 0.9]], num_queries=3).at(5, 7)
    assert level is not None
    assert level.mask.any(dim=-1).all()


def test_levels_are_built_once_and_told_apart_by_shape_not_area() -> None:
    region = placed([[0.0, 0.0, 0.5, 1.0]], num_queries=1)
    tall, wide = region.at(8, 2), region.at(2, 8)
    assert tall is region.at(8, 2)
    assert tall is not None
    assert wide is not None
    assert not torch.equal(tall.mask, wide.mask)


def test_a_loop_keeps_what_was_placed_on_its_latents() -> None:
    region, layout = Region(panel([[0.0, 0.0, 0.5, 1.0]], num_queries=1)), character_layout("mask", "exact")
    first = region.on((2, 8), layout, unet=None)
    assert first is region.on((2, 8), layout, unet=None)
    assert first is not region.on((4, 4), layout, unet=None)


def test_without_layout_every_position_attends_to_the_background_and_to_all_who_exist() -> None:
    conditions = panel([[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 0.0, 0.0]], num_queries=2)
    assert conditions.layout is not None
    conditions.layout.character_exists[0, 1] = False
    level = Region(conditions).on((2, 8), character_layout("none", "exact"), unet=None).at(2, 8)
    assert level is not None
    assert level.mask.shape == (1, 1, 1, 6)
    assert drawn(level.mask[0, 0]) == ["####.."]


def test_reference_masks_send_the_first_cell_to_padding_instead_of_the_background() -> None:
    conditions = panel([[0.6, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]], num_queries=1)
    assert conditions.layout is not None
    conditions.layout.character_exists[0, 1] = False
    level = Region(conditions).on((2, 8), character_layout("mask", "reference"), unet=None).at(1, 4)
    assert level is not None
    # Columns stand at 0, 1/3, 2/3 and 1; tokens are background, character, padding.
    assert drawn(level.mask[0, 0]) == ["..#", "#..", ".#.", ".#."]
