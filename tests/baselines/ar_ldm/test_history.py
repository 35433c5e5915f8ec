"""What AR-LDM's UNet reads: the layout of the context, what is hidden, and what nothing means."""

from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from diffsensei.baselines.ar_ldm.blip import load_grounded_captions
from diffsensei.baselines.ar_ldm.history import CAPTION_TYPE, PAIR_TYPE, History, HistoryEncoder
from diffsensei.config.presets import tiny
from diffsensei.foundations.loading import load_text_encoder

LENGTH, TEXT_LENGTH, WINDOW, SIDE = 5, 12, 3, 16


@pytest.fixture(scope="module")
def encoder(world: Any) -> HistoryEncoder:
    torch.manual_seed(0)
    text = load_text_encoder(world.foundations["text_encoder"])
    sizes = {"image_side": SIDE, "patch_side": 8, "vision_dim": 16, "num_layers": 1, "num_heads": 2}
    config = tiny().baselines.ar_ldm.blip.replaced(**sizes)
    pairs = load_grounded_captions(config, text.model.config.hidden_size, text.tokenizer)
    return HistoryEncoder(text, pairs, LENGTH).eval().requires_grad_(False)


def history(exists: tuple[bool, ...] = (True, True, False), *, seed: int = 0) -> History:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (1, WINDOW, SIDE, SIDE), generator=generator).to(torch.uint8)
    return History(images, [["a boy", "rain", "a girl"][: sum(exists)]], torch.tensor([exists]))


def encode(encoder: HistoryEncoder, past: History, caption: str = "a girl", nothing: bool = False) -> Any:
    return encoder([caption], past, torch.tensor([nothing]))


def test_lengths_types_and_places(encoder: HistoryEncoder) -> None:
    context, visible = encode(encoder, history())
    assert context.shape[:2] == visible.shape == (1, TEXT_LENGTH + WINDOW * LENGTH)
    past = history()
    pairs, _ = encoder.pairs(past.images[0], ["a boy", "rain", ""], LENGTH)
    second = pairs[1] + encoder.types.weight[PAIR_TYPE] + encoder.places.weight[1]
    start = TEXT_LENGTH + LENGTH
    torch.testing.assert_close(context[0, start : start + LENGTH], second)
    alone, _ = encode(encoder, History(past.images[:, :0], [[]], past.exists[:, :0]))
    torch.testing.assert_close(alone, context[:, :TEXT_LENGTH])
    ids = encoder.tokenizer(["a girl"], padding="max_length", max_length=TEXT_LENGTH, return_tensors="pt")
    states = encoder.text_model(ids.input_ids, attention_mask=ids.attention_mask).last_hidden_state
    torch.testing.assert_close(alone, states + encoder.types.weight[CAPTION_TYPE])


def test_padding_and_absent_pairs_are_hidden(encoder: HistoryEncoder) -> None:
    _, visible = encode(encoder, history())
    caption, pairs = visible[0, :TEXT_LENGTH], visible[0, TEXT_LENGTH:].view(WINDOW, LENGTH)
    assert 0 < caption.sum() < TEXT_LENGTH
    assert pairs[0].any()
    assert pairs[1].any()
    assert not pairs[2].any()


def test_captions_are_grounded_in_their_images(encoder: HistoryEncoder) -> None:
    first, second = (encode(encoder, history(seed=seed))[0] for seed in (0, 1))
    assert torch.equal(first[:, :TEXT_LENGTH], second[:, :TEXT_LENGTH])
    assert not torch.allclose(first[:, TEXT_LENGTH:], second[:, TEXT_LENGTH:])


def test_nothing_does_not_depend_on_caption_or_history_and_hides_only_what_is_absent(encoder: HistoryEncoder) -> None:
    first, visible = encode(encoder, history(seed=0), "a girl", nothing=True)
    second, _ = encode(encoder, history(seed=1), "rain over the town", nothing=True)
    assert torch.equal(first, second)
    assert visible[0, : TEXT_LENGTH + 2 * LENGTH].all()
    assert not visible[0, TEXT_LENGTH + 2 * LENGTH :].any()


def test_what_is_hidden_has_no_influence_on_the_unet(encoder: HistoryEncoder) -> None:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=(2, 4),
        cross_attention_dim=encoder.text_model.config.hidden_size,
    ).eval()
    past, later = history(), history()
    later.images[:, 2] = 255 - later.images[:, 2]
    latents, time = torch.randn(1, 4, 8, 8), torch.tensor([300])

    def predict(of: History) -> torch.Tensor:
        context, visible = encode(encoder, of)
        with torch.no_grad():
            return unet(latents, time, context, encoder_attention_mask=visible).sample

    plain = predict(past)
    assert torch.equal(predict(later), plain)
    past.images[:, 1] = 255 - past.images[:, 1]
    assert not torch.allclose(predict(past), plain)
