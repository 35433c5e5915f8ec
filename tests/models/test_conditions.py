"""Batches of conditions: joined, selected, moved."""

import torch

from diffsensei.models.conditions import Conditions, Layout, micro_conditions


def some(batch: int) -> Conditions:
    layout = Layout.empty(batch, num_characters=2, num_dialogs=3)
    return Conditions(
        torch.randn(batch, 4, 8),
        torch.randn(batch, 6),
        torch.full((batch, 6), 1023.0),
        torch.randn(batch, 9, 8),
        layout,
    )


def test_concatenate_then_select_gives_the_parts_back() -> None:
    first, second = some(2), some(3)
    both = Conditions.concatenated([first, second])
    assert torch.equal(both[2:].text_tokens, second.text_tokens)
    assert torch.equal(both[:2].character_tokens, first.character_tokens)  # type: ignore[arg-type]
    assert both.layout is not None
    assert both[torch.tensor([4])].layout.dialog_boxes.shape == (1, 3, 4)  # type: ignore[union-attr]


def test_none_stays_none() -> None:
    plain = Conditions(torch.randn(1, 4, 8), torch.randn(1, 6), torch.zeros(1, 6))
    both = Conditions.concatenated([plain, plain])
    assert both.character_tokens is None
    assert both[:1].layout is None
    assert both.to("cpu").layout is None


def test_half_precision_spares_coordinates_and_sizes() -> None:
    halved = some(1).to(dtype=torch.bfloat16)
    assert halved.text_tokens.dtype == halved.character_tokens.dtype == torch.bfloat16  # type: ignore[union-attr]
    assert halved.time_ids.dtype == torch.float32
    assert halved.time_ids[0, 0] == 1023.0
    assert halved.layout is not None
    assert halved.layout.character_boxes.dtype == torch.float32
    assert halved.layout.character_exists.dtype == torch.bool


def test_micro_conditions_order() -> None:
    assert micro_conditions((300, 200), (4, 0), (64, 48)) == [300.0, 200.0, 4.0, 0.0, 64.0, 48.0]
