"""Masks against hand-drawn grids and against the definition, box by box and cell by cell."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsensei.config.presets import paper
from diffsensei.data.panels.buckets import build_buckets
from diffsensei.geometry import pixel_box
from diffsensei.models.box_masks import (
    character_mask,
    dialog_mask,
    guessed_size,
    reference_character_mask,
    touched_character_mask,
)
from tests.benchmarks.per_box import exact_attention_mask, reference_attention_mask


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


# ---------------------------------------------------------------- the reference's mask


def reference_box(box: tuple[float, ...], exists: bool, level: tuple[int, int], latents: tuple[int, int]) -> list[str]:
    return drawn(reference_character_mask(torch.tensor([[box]]), torch.tensor([[exists]]), level, latents)[0, 0])


@pytest.mark.parametrize(
    ("box", "exists", "level", "latents", "picture"),
    [
        # Columns at 0 .25 .5 .75 1 and rows at 0 .5 1, both edges included.
        ((0.25, 0.0, 0.75, 0.4), True, (3, 5), (6, 10), [".###.", ".....", "....."]),
        ((0.3, 0.5, 0.7, 1.0), True, (3, 5), (6, 10), [".....", "..#..", "..#.."]),
        ((0.3, 0.1, 0.4, 0.4), True, (3, 5), (6, 10), [".....", ".....", "....."]),
        # A slot without a character, whatever its box says, covers the first cell.
        ((0.5, 0.5, 1.0, 1.0), False, (2, 3), (4, 6), ["#..", "..."]),
        ((0.6, 0.0, 0.2, 1.0), True, (2, 3), (4, 6), ["...", "..."]),
        # Latents of 17 x 60 halve twice to 5 x 15, which the reference reads as 3 x 25: the left half of 25 columns in
        # all of 3 rows is 13 cells of every 25.
        (
            (0.0, 0.0, 0.5, 1.0),
            True,
            (5, 15),
            (17, 60),
            ["#############..", "..........#####", "########.......", ".....##########", "###............"],
        ),
        ((0.0, 0.0, 1.0, 1.0), True, (1, 1), (2, 2), ["#"]),
    ],
)
def test_reference_mask_by_hand(
    box: tuple[float, ...], exists: bool, level: tuple[int, int], latents: tuple[int, int], picture: list[str]
) -> None:
    assert reference_box(box, exists, level, latents) == picture


def levels_of(height: int, width: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """(level, latents) of the SDXL UNet's two attention levels for a panel of so many pixels."""
    latents = (height // 8, width // 8)
    half = (-(-latents[0] // 2), -(-latents[1] // 2))
    return [(half, latents), ((-(-half[0] // 2), -(-half[1] // 2)), latents)]


TRAINING_LEVELS = [
    (bucket, *sizes)
    for bucket in build_buckets(paper().data.buckets)
    for sizes in levels_of(bucket.height, bucket.width)
]


def test_the_reference_misreads_five_feature_maps_of_the_training_sizes() -> None:
    assert len(TRAINING_LEVELS) == 198
    misread = {
        (bucket.height, bucket.width): guessed_size(level[0] * level[1], latents[0] / latents[1])
        for bucket, level, latents in TRAINING_LEVELS
        if guessed_size(level[0] * level[1], latents[0] / latents[1]) != level
    }
    assert misread == {
        (136, 480): (3, 25),
        (352, 184): (24, 11),
        (432, 152): (30, 9),
        (704, 368): (24, 11),
        (864, 304): (30, 9),
    }


random_boxes = st.lists(st.tuples(*[st.floats(-0.25, 1.25, width=32)] * 4, st.booleans()), min_size=1, max_size=4)


@pytest.mark.parametrize("half", ["first", "second"])
@settings(max_examples=20, deadline=None)
@given(random_boxes)
def test_reference_mask_equals_the_per_box_one_at_every_training_size(
    half: str, slots: list[tuple[float, float, float, float, bool]]
) -> None:
    exists = torch.tensor([[slot[4] for slot in slots]])
    boxes = torch.tensor([[slot[:4] for slot in slots]])
    padded = torch.where(exists.unsqueeze(-1), boxes, 0.0)
    for _, level, latents in TRAINING_LEVELS[half == "second" :: 2]:
        owned = reference_character_mask(boxes, exists, level, latents).flatten(2)
        visible = torch.cat([~owned.any(dim=1, keepdim=True), owned], dim=1).transpose(1, 2)
        expected = reference_attention_mask(padded, level, latents, num_queries=1, heads=1) == 0
        assert torch.equal(visible, expected), level


# Cell centres and box edges must not meet within rounding, or Python's doubles and float32 may differ.
sixty_fourths = st.integers(-20, 84).map(lambda n: (n + 0.013) / 64)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(*[sixty_fourths] * 4, st.booleans()), min_size=1, max_size=4), st.data())
def test_exact_mask_equals_the_per_box_one_at_training_sizes(
    slots: list[tuple[float, float, float, float, bool]], data: st.DataObject
) -> None:
    exists = torch.tensor([[slot[4] for slot in slots]])
    boxes = torch.tensor([[slot[:4] for slot in slots]])
    small = [sizes for sizes in TRAINING_LEVELS if sizes[1][0] * sizes[1][1] <= 300]
    for _, level, _ in data.draw(st.lists(st.sampled_from(small), min_size=3, max_size=3)):
        owned = character_mask(boxes, exists, *level).flatten(2)
        visible = torch.cat([~owned.any(dim=1, keepdim=True), owned], dim=1).transpose(1, 2)
        assert torch.equal(visible, exact_attention_mask(boxes, exists, level, num_queries=1)), level


def test_a_touched_cell_counts_whole() -> None:
    boxes = torch.tensor([[[0.26, 0.0, 0.51, 1.0], [0.25, 0.5, 0.5, 0.5], [-1.0, 0.6, 0.1, 2.0]]])
    mask = touched_character_mask(boxes, torch.tensor([[True, True, True]]), 2, 4)
    assert mask[0, 0].tolist() == [[False, True, True, False]] * 2
    assert not mask[0, 1].any()
    assert mask[0, 2].tolist() == [[False] * 4, [True, False, False, False]]
    assert not touched_character_mask(boxes, torch.tensor([[False] * 3]), 2, 4).any()
