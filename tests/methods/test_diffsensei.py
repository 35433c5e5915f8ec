"""DiffSensei as a method: what it consumes, its negative branch, and that a panel's company changes nothing."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffsensei.config.schema import SamplingConfig, UNetConfig
from diffsensei.diffusion.guidance import Predict
from diffsensei.diffusion.noise_schedule import NOISE_SCHEDULE
from diffsensei.diffusion.sampling import denoise, initial_noise
from diffsensei.foundations.loading import load_clip_image_encoder, load_magi_image_encoder, load_text_encoder, load_vae
from diffsensei.methods.character_encoder import CharacterEncoder
from diffsensei.methods.diffsensei import DiffSensei
from diffsensei.methods.image_generator import Branches, ImageGenerator
from diffsensei.methods.painter import Painter
from diffsensei.methods.sdxl_t2i import SdxlTextToImage
from diffsensei.models.character_features import feature_widths
from diffsensei.models.conditions import Conditions
from diffsensei.models.resampler import Resampler
from diffsensei.models.text import text_widths
from diffsensei.models.unet import add_manga_conditions, build_unet, noise_predictor

from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler  # isort: skip

QUERIES = 2
SAMPLING = SamplingConfig(
    steps=4, guidance_scale=2.0, character_scale=1.0, adapter_blend=0.0, negative_prompt="lowres", batch_size=4
)


@dataclass(frozen=True)
class Person:
    box: tuple[float, float, float, float]
    reference: str


@dataclass(frozen=True)
class Asked:
    panel_id: str
    caption: str
    characters: tuple[Person, ...] = ()
    dialogs: tuple[tuple[float, float, float, float], ...] = ()
    seed: int = 0
    height: int = 32
    width: int = 24
    given: str = ""


PANELS = (
    Asked("0", "a boy", (Person((0.0, 0.0, 0.5, 1.0), "a.png"),), ((0.5, 0.0, 1.0, 0.5),), seed=1),
    Asked(
        "1", "a girl and a boy", (Person((0.1, 0.2, 0.4, 1.0), "b.png"), Person((0.5, 0.0, 0.9, 1.0), "a.png")), (), 2
    ),
    Asked("2", "rain", seed=3),
    Asked("3", "", (Person((0.3, 0.3, 0.8, 0.8), "b.png"),), ((0.0, 0.0, 0.3, 0.3), (0.6, 0.6, 1.0, 1.0)), seed=4),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("references")
    stream = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(stream.integers(0, 256, (40, 32), dtype=np.uint8)).save(path / f"{name}.png")
    return path


def build(manga: bool) -> ImageGenerator:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    encoders = (load_text_encoder("embedded:text_encoder"), load_text_encoder("embedded:text_encoder_2"))
    width, pooled = text_widths(encoders)
    config = UNetConfig(
        block_out_channels=(32, 64),
        transformer_layers_per_block=(1, 1),
        layers_per_block=1,
        attention_head_dim=(2, 4),
        addition_time_embed_dim=8,
    )
    unet = build_unet(config, in_channels=4, cross_attention_dim=width, pooled_dim=pooled).eval()
    if manga:
        add_manga_conditions(unet, QUERIES)
    return ImageGenerator(load_vae("embedded:vae"), encoders, unet, EulerDiscreteScheduler(**NOISE_SCHEDULE))


@dataclass(frozen=True, eq=False)
class Recorded(ImageGenerator):
    """Keeps the latents and the conditions of every batch."""

    seen: dict[str, torch.Tensor] = field(default_factory=dict)
    branches: list[Branches] = field(default_factory=list)

    def predictor(self, negative: Conditions, positive: Conditions, sampling: SamplingConfig) -> Predict:
        self.branches.append((negative, positive))
        return super().predictor(negative, positive, sampling)

    @cached_property
    def painter(self) -> Painter:
        def keep(panel_ids: Sequence[str], step: int, timestep: int, latents: torch.Tensor) -> torch.Tensor:
            self.seen.update(zip(panel_ids, latents, strict=True))
            return latents

        return Painter(self.vae, self.unet, self.scheduler, keep)


@pytest.fixture(scope="module")
def diffsensei() -> DiffSensei:
    generator = build(manga=True)
    clip = load_clip_image_encoder("embedded:clip_image_encoder")
    magi = load_magi_image_encoder("embedded:magi_image_encoder")
    clip_dim, magi_dim = feature_widths(clip, magi)
    resampler = Resampler(
        dim=16,
        depth=1,
        heads=2,
        head_dim=8,
        num_queries=QUERIES,
        clip_dim=clip_dim,
        magi_dim=magi_dim,
        output_dim=generator.unet.config["cross_attention_dim"],
    )
    recorded = Recorded(generator.vae, generator.text_encoders, generator.unet, generator.scheduler)
    return DiffSensei(recorded, CharacterEncoder(clip, magi, resampler))


def latents(method: DiffSensei, panels: Sequence[Asked], folder: Path, sampling: SamplingConfig) -> list[torch.Tensor]:
    recorded = method.generator
    assert isinstance(recorded, Recorded)
    recorded.branches.clear()
    assert len(dict(method.generate([panels], folder, sampling))) == len(panels)
    return [recorded.seen[panel.panel_id] for panel in panels]


def drawn_branches(method: DiffSensei) -> Branches:
    assert isinstance(method.generator, Recorded)
    (branches,) = method.generator.branches
    return branches


def test_latents_in_batches_of_four_and_one_agree(diffsensei: DiffSensei, folder: Path) -> None:
    together = latents(diffsensei, PANELS, folder, SAMPLING)
    for panel, expected in zip(PANELS, together, strict=True):
        (alone,) = latents(diffsensei, [panel], folder, SAMPLING)
        torch.testing.assert_close(alone, expected, atol=1e-4, rtol=0)


def test_the_negative_branch_is_a_panel_without_conditions(diffsensei: DiffSensei, folder: Path) -> None:
    """Background tokens, zero tokens in every slot, no box, no dialog: what training shows when all was dropped."""
    latents(diffsensei, PANELS, folder, SAMPLING)
    negative, positive = drawn_branches(diffsensei)
    assert negative.character_tokens is not None
    assert negative.layout is not None
    assert positive.character_tokens is not None
    background = diffsensei.characters.resampler.dummy_tokens
    assert torch.equal(negative.character_tokens[:, :QUERIES], background.expand(4, -1, -1))
    assert not negative.character_tokens[:, QUERIES:].any()
    assert not negative.layout.character_exists.any()
    assert not negative.layout.dialog_exists.any()
    assert torch.equal(negative.character_tokens[2], positive.character_tokens[2])
    assert torch.equal(negative.time_ids, positive.time_ids)
    assert positive.time_ids[0].tolist() == [32.0, 24.0, 0.0, 0.0, 32.0, 24.0]


def with_empty_slots(method: DiffSensei, empty_slots: str) -> DiffSensei:
    """The same networks under another value of the fidelity switch."""
    resampler = copy.deepcopy(method.characters.resampler)
    resampler.register_to_config(empty_slots=empty_slots)
    return DiffSensei(method.generator, replace(method.characters, resampler=resampler))


def test_empty_slots_can_hold_what_the_resampler_makes_of_nothing(diffsensei: DiffSensei, folder: Path) -> None:
    """As in the reference code's inference, in both branches; characters that exist keep their tokens."""
    latents(diffsensei, PANELS, folder, SAMPLING)
    _, expected = drawn_branches(diffsensei)
    method = with_empty_slots(diffsensei, "resampled")
    latents(method, PANELS, folder, SAMPLING)
    negative, positive = drawn_branches(method)
    assert positive.layout is not None
    exists = positive.layout.character_exists
    tokens, zeros = (branch.character_tokens[:, QUERIES:].unflatten(1, (4, QUERIES)) for branch in (positive, expected))
    torch.testing.assert_close(tokens[exists], zeros[exists])
    resampler = method.characters.resampler
    clip_dim, magi_dim = (resampler.config[name] for name in ("clip_dim", "magi_dim"))
    patches = method.characters.clip.model.config
    nothing = torch.zeros(1, 1, (patches.image_size // patches.patch_size) ** 2 + 1, clip_dim)
    with torch.no_grad():
        one = resampler(nothing, torch.zeros(1, 1, magi_dim), torch.ones(1, 1, dtype=torch.bool))[0, QUERIES:]
    assert negative.character_tokens is not None
    for empty in (*tokens[~exists], *negative.character_tokens[:, QUERIES:].unflatten(1, (4, QUERIES)).flatten(0, 1)):
        torch.testing.assert_close(empty, one)


@pytest.mark.parametrize("guidance_scale", [0.0, 0.5, 1.0])
def test_without_guidance_the_conditions_act_alone_in_one_forward(
    guidance_scale: float, diffsensei: DiffSensei, folder: Path
) -> None:
    """Boxes included: the reference code mixes up the branches here and draws with empty boxes."""
    sampling = SAMPLING.replaced(guidance_scale=guidance_scale)
    batches: list[int] = []
    handle = diffsensei.generator.unet.register_forward_pre_hook(lambda _unet, inputs: batches.append(len(inputs[0])))
    drawn = torch.stack(latents(diffsensei, PANELS, folder, sampling))
    handle.remove()
    assert batches == [len(PANELS)] * SAMPLING.steps
    _, positive = drawn_branches(diffsensei)
    predict = noise_predictor(diffsensei.generator.unet, positive)
    noise = initial_noise([panel.seed for panel in PANELS], 4, *drawn.shape[-2:])
    expected = denoise(predict, noise, diffsensei.generator.scheduler, SAMPLING.steps, [panel.seed for panel in PANELS])
    torch.testing.assert_close(drawn, expected, atol=1e-5, rtol=1e-5)
    bare = [replace(panel, characters=(), dialogs=()) for panel in PANELS]
    assert not torch.allclose(torch.stack(latents(diffsensei, bare, folder, sampling)), drawn, atol=1e-3)


def test_more_characters_than_the_model_has_slots_for_are_refused(diffsensei: DiffSensei, folder: Path) -> None:
    crowd = replace(PANELS[1], characters=PANELS[1].characters * 2 + PANELS[0].characters)
    with pytest.raises(ValueError, match="at most 4 characters, got 5"):
        latents(diffsensei, [crowd], folder, SAMPLING)


@pytest.mark.parametrize(
    ("height", "width", "usable"),
    [(34, 24, "32 x 24"), (24, 31, "24 x 32"), (8, 40, "16 x 40"), (72, 24, "64 x 24"), (80, 2, "64 x 16")],
)
def test_sizes_that_cannot_be_drawn_are_refused_with_the_nearest_that_can(
    height: int, width: int, usable: str, diffsensei: DiffSensei, folder: Path
) -> None:
    sampling = SAMPLING.replaced(min_side=16, max_side=64)
    panel = replace(PANELS[2], height=height, width=width)
    factor = diffsensei.generator.painter.factor
    with pytest.raises(ValueError, match=rf"multiples of {factor} pixels from 16 to 64, got .* use {usable}"):
        latents(diffsensei, [panel], folder, sampling)


def test_the_same_reference_gives_the_same_tokens_in_any_slot(diffsensei: DiffSensei, folder: Path) -> None:
    latents(diffsensei, PANELS, folder, SAMPLING)
    tokens = drawn_branches(diffsensei)[1].character_tokens
    assert tokens is not None
    torch.testing.assert_close(tokens[0, QUERIES : 2 * QUERIES], tokens[1, 2 * QUERIES : 3 * QUERIES])


def test_text_to_image_ignores_to_the_bit_what_it_does_not_consume(folder: Path) -> None:
    method = SdxlTextToImage(build(manga=False))
    assert method.consumes == {"caption"}

    def draw(panel: Asked) -> bytes:
        ((_, image),) = method.generate([[panel]], folder, SAMPLING)
        return image.tobytes()

    panel = PANELS[0]
    expected = draw(panel)
    moved = Person((0.5, 0.0, 1.0, 1.0), "nowhere.png")
    for variant in (replace(panel, characters=(moved,)), replace(panel, characters=()), replace(panel, dialogs=())):
        assert draw(variant) == expected
    assert draw(replace(panel, caption="rain")) != expected
    assert draw(replace(panel, seed=9)) != expected
