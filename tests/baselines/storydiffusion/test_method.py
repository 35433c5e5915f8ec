"""StoryDiffusion draws pages: what it reads, and that a page is alone in the world."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from diffsensei.baselines.ddim import with_ddim
from diffsensei.baselines.storydiffusion.method import StoryDiffusion
from diffsensei.config.presets import tiny
from diffsensei.config.schema import UNetConfig
from diffsensei.diffusion.noise_schedule import NOISE_SCHEDULE
from diffsensei.foundations.loading import load_text_encoder, load_vae
from diffsensei.methods.image_generator import ImageGenerator
from diffsensei.models.text import text_widths
from diffsensei.models.unet import build_unet
from tests.baselines.asked import Asked, Person
from tests.baselines.trained import assert_drawn_alike

from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler  # isort: skip

RECIPE = tiny().baselines.storydiffusion
SHARING = RECIPE.sharing.replaced(identity_panels=2, page_side=32, unshared_steps=1, early_steps=2)
SAMPLING = RECIPE.sampling.replaced(steps=3, batch_size=2)


PAGE = (
    Asked("0", "a boy", given="nowhere.png"),
    Asked("1", "a girl runs", seed=1),
    Asked("2", "rain", 16, 48, seed=2),
    Asked("3", "a girl laughs", seed=3),
    Asked("4", "night", seed=4),
)
OTHER = (Asked("a", "a cat", seed=5), Asked("b", "a dog", seed=6))


def build(dtype: torch.dtype) -> StoryDiffusion:
    torch.manual_seed(0)
    encoders = [load_text_encoder(f"embedded:{name}", dtype) for name in ("text_encoder", "text_encoder_2")]
    width, pooled = text_widths(encoders)
    config = UNetConfig(
        block_out_channels=(32, 64),
        transformer_layers_per_block=(1, 1),
        layers_per_block=1,
        attention_head_dim=(2, 4),
        addition_time_embed_dim=8,
    )
    unet = build_unet(config, in_channels=4, cross_attention_dim=width, pooled_dim=pooled).eval().to(dtype)
    euler = EulerDiscreteScheduler(**NOISE_SCHEDULE)
    return StoryDiffusion(with_ddim(ImageGenerator(load_vae("embedded:vae"), encoders, unet, euler)), SHARING)


@pytest.fixture(scope="module")
def method() -> StoryDiffusion:
    return build(torch.float32)


def draw(method: StoryDiffusion, *pages: tuple[Asked, ...]) -> dict[str, Image.Image]:
    return dict(method.generate(pages, Path("nowhere"), SAMPLING))


def test_every_panel_that_is_not_given_comes_at_its_size(method: StoryDiffusion) -> None:
    images = draw(method, PAGE)
    assert {name: (image.height, image.width) for name, image in images.items()} == {
        panel.panel_id: (panel.height, panel.width) for panel in PAGE[1:]
    }


def test_a_page_depends_on_itself_alone(method: StoryDiffusion) -> None:
    assert [[page[0].panel_id for page in piece] for piece in method.pieces((PAGE, OTHER), SAMPLING)] == [["0"], ["a"]]
    together = draw(method, PAGE, OTHER)
    for page in (PAGE, OTHER):
        for name, image in draw(method, page).items():
            assert image.tobytes() == together[name].tobytes()


def test_boxes_and_the_given_panel_have_no_influence_to_the_bit(method: StoryDiffusion) -> None:
    plain = draw(method, PAGE)
    boxed = tuple(
        replace(panel, dialogs=((0.0, 0.0, 1.0, 1.0),), characters=(Person((0.0, 0.0, 1.0, 1.0), "nowhere.png"),))
        for panel in PAGE
    )
    changed = (replace(boxed[0], caption="a whale", given="elsewhere.png"), *boxed[1:])
    for name, image in draw(method, changed).items():
        assert image.tobytes() == plain[name].tobytes()


def test_later_captions_leave_identity_panels_alone_and_not_the_other_way_round(method: StoryDiffusion) -> None:
    plain = draw(method, PAGE)
    later = draw(method, (*PAGE[:3], replace(PAGE[3], caption="a whale"), PAGE[4]))
    assert [name for name in plain if later[name].tobytes() != plain[name].tobytes()] == ["3"]
    earlier = draw(method, (PAGE[0], replace(PAGE[1], caption="a whale"), *PAGE[2:]))
    assert all(earlier[name].tobytes() != plain[name].tobytes() for name in plain)


def test_a_page_of_one_panel_is_plain_text_to_image(method: StoryDiffusion) -> None:
    assert set(draw(method, OTHER[:1])) == {"a"}


def test_a_side_that_cannot_be_drawn_is_refused(method: StoryDiffusion) -> None:
    large = SAMPLING.replaced(max_side=16)
    with pytest.raises(ValueError, match="from 8 to 16, got 32 x 32"):
        dict(method.generate([PAGE], Path("nowhere"), large))


def test_it_draws_in_bfloat16(method: StoryDiffusion) -> None:
    assert_drawn_alike(draw(build(torch.bfloat16), PAGE), draw(method, PAGE), tolerance=8.0)
