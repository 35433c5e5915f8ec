"""Masks against hand-drawn grids and against the definition, box by box and cell by cell."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsensei.geometry import pixel_box
from diffsensei.models.conditions import Conditions, Layout
from diffsensei.models.region import Region, character_mask, dialog_mask


def drawn(mask: torch.Tensor) -> list[str]:
    return ["".join("#" if cell else "." for cell in row) for row in mask]


def one_box(box: tuple[float, float, float, float], height: int, width: int) -> list[str]:
    return drawn(character_mask(torch.tensor([[box]]), torch.ones(1, 1, dtype=torch.bool), height, width)[0, 0])


@pytest.mark.parametrize(
    ("box", "size", "picture"),
    [
        ((0.0, 0.0, 0.5, 0.5), (4, 4), ["##..", "##..", "....", "...."]),
        ((0.25, 0.5, 1.0, 0.75), (4, 4), ["....", "....", ".###", "...."]),
        # Centres of 5 columns: .1 .3 .5 .7 .9; of 3 rows: 1/6 1/2 5/6.
        ((0.3, 0.0, 0.7, 0.4), (3, 5), [".##..", ".....", "....."]),
        ((0.31, 0.2, 0.71, 1.0), (3, 5), [".....", "..##.", "..##."]),
        # Smaller than a cell, between centres: the cell that holds its middle.
        ((0.41, 0.34, 0.45, 0.36), (3, 5), [".....", "..#..", "....."]),
        # Leaves the panel: the part inside counts.
        ((-0.5, 0.6, 0.2, 1.7), (3, 5), [".....", ".....", "#...."]),
        # Outside, inverted and empty boxes cover nothing.
        ((1.1, 0.0, 1.6, 1.0), (2, 3), ["...", "..."]),
        ((0.6, 0.0, 0.2, 1.0), (2, 3), ["...", "..."]),
        ((0.0, 0.0, 0.0, 0.0), (2, 3), ["...", "..."]),
        ((0.0, 0.0, 1.0, 1.0), (1, 1), ["#"]),
    ],
)
def test_character_mask_by_hand(
    box: tuple[float, float, float, float], size: tuple[int, int], picture: list[str]
) -> None:
    assert one_box(box, *size) == picture


# Multiples of 1/64 are exact in float32, and so are their products with the sizes below.
edges = st.integers(-32, 96).map(lambda n: n / 64)
boxes = st.tuples(edges, edges, edges, edges)
grids = st.tuples(st.integers(1, 33), st.integers(1, 33))


def covers_centre(box: tuple[float, ...], y: int, x: int, height: int, width: int) -> bool:
    x1, y1, x2, y2 = (min(max(edge, 0.0), 1.0) for edge in box)
    if x2 <= x1 or y2 <= y1:
        return False

    def along(low: float, high: float, cell: int, count: int) -> bool:
        held = [i for i in range(count) if low * count <= i + 0.5 < high * count]
        return cell in (held or [min(int((low + high) / 2 * count), count - 1)])

    return along(x1, x2, x, width) and along(y1, y2, y, height)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(boxes, st.booleans()), min_size=1, max_size=4), grids)
def test_character_mask_is_its_definition(slots: list[tuple[tuple[float, ...], bool]], grid: tuple[int, int]) -> None:
    height, width = grid
    mask = character_mask(
        torch.tensor([[box for box, _ in slots]]), torch.tensor([[exists for _, exists in slots]]), height, width
    )
    expected = [
        [[exists and covers_centre(box, y, x, height, width) for x in range(width)] for y in range(height)]
        for box, exists in slots
    ]
    assert mask[0].tolist() == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(boxes, st.booleans()), min_size=1, max_size=8), grids)
def test_dialog_mask_is_the_union_of_pixel_boxes(
    slots: list[tuple[tuple[float, ...], bool]], grid: tuple[int, int]
) -> None:
    height, width = grid
    expected = np.zeros(grid, dtype=bool)
    for box, exists in slots:
        x1, y1, x2, y2 = pixel_box(np.array(box), height, width)
        if exists:
            expected[y1:y2, x1:x2] = True
    mask = dialog_mask(
        torch.tensor([[box for box, _ in slots]]), torch.tensor([[exists for _, exists in slots]]), height, width
    )
    assert np.array_equal(mask[0, 0].numpy(), expected)


def panel(boxes: list[list[float]], num_queries: int) -> Conditions:
    layout = Layout(
        character_boxes=torch.tensor([boxes]),
        character_exists=torch.ones(1, len(boxes), dtype=torch.bool),
        dialog_boxes=torch.zeros(1, 1, 4),
        dialog_exists=torch.zeros(1, 1, dtype=torch.bool),
    )
    tokens = torch.zeros(1, num_queries * (1 + len(boxes)), 8)
    return Conditions(torch.zeros(1, 3, 8), torch.zeros(1, 8), torch.zeros(1, 6), tokens, layout)


def test_attention_mask_orders_background_then_slots_and_lets_overlaps_share() -> None:
    level = Region(panel([[0.0, 0.0, 0.5, 1.0], [0.25, 0.0, 0.75, 1.0]], num_queries=2)).at(1, 4)
    assert level is not None
    assert level.mask.shape == (1, 1, 4, 6)
    assert drawn(level.mask[0, 0]) == ["..##..", "..####", "....##", "##...."]


def test_every_position_attends_to_something() -> None:
    level = Region(panel([[0.0, 0.0, 0.0, 0.0], [0.2, 0.2, 0.1, 0.9]], num_queries=3)).at(5, 7)
    assert level is not None
    assert level.mask.any(dim=-1).all()


def test_levels_are_built_once_and_told_apart_by_shape_not_area() -> None:
    region = Region(panel([[0.0, 0.0, 0.5, 1.0]], num_queries=1))
    tall, wide = region.at(8, 2), region.at(2, 8)
    assert tall is region.at(8, 2)
    assert tall is not None
    assert wide is not None
    assert not torch.equal(tall.mask, wide.mask)
