"""The shipped weights: complete, unaltered, small, loadable, and as good as their manifest says."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from diffsensei.config.presets.parts import EMBEDDED_FOUNDATIONS, EMBEDDED_JUDGES
from diffsensei.foundations import judge_encoders, loading, locations
from diffsensei.foundations.drawn_pool import PoolPanel, bucket_panels, crops
from diffsensei.foundations.manifest import MANIFEST, MAX_BYTES, check_manifest, read_manifest
from diffsensei.foundations.parts import PARTS
from diffsensei.foundations.quality import autoencoder_figures, detector_figures
from diffsensei.foundations.recipes import FoundationRecipes
from diffsensei.foundations.unet import unet_figures

TEXT_ENCODERS = (EMBEDDED_FOUNDATIONS.text_encoder, EMBEDDED_FOUNDATIONS.text_encoder_2)


def test_files_are_those_of_the_manifest_and_small() -> None:
    manifest = check_manifest(locations.WEIGHTS)
    assert list(manifest.parts) == list(PARTS)
    total = sum(path.stat().st_size for path in locations.WEIGHTS.rglob("*") if path.is_file())
    assert total <= MAX_BYTES
    assert not [name for name in manifest.files if name.endswith((".bin", ".pt", ".pkl", ".py"))]


def test_recipes_are_the_ones_recorded() -> None:
    recipes = FoundationRecipes()
    for name, part in read_manifest(locations.WEIGHTS).parts.items():
        assert part.recipe == getattr(recipes, name).model_dump(mode="json"), name
        assert part.steps_scale == 1.0


def test_judges_were_trained_on_another_world_with_other_seeds() -> None:
    recipes = FoundationRecipes()
    pools = [recipes.conditioning_pool.seed, recipes.judging_pool.seed, recipes.held_out_pool.seed]
    assert len(set(pools)) == 3
    parts = {name: getattr(recipes, name).fit.seed for name in PARTS}
    assert len(set(parts.values())) == len(parts)


def test_altered_lost_and_extra_files_are_named(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(locations.WEIGHTS, tmp_path / "weights"))
    (folder / "vae" / "config.json").write_text("{}")
    (folder / "llm" / "config.json").unlink()
    (folder / "stranger.txt").write_text("")
    with pytest.raises(ValueError, match=r"llm/config\.json is missing.*stranger\.txt is not in.*vae/config\.json has"):
        check_manifest(folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(ValueError, match=r"no manifest\.json in .*diffsensei run foundations"):
        read_manifest(folder)


def test_text_encoders_have_the_sizes_of_the_design() -> None:
    first = loading.load_text_encoder(EMBEDDED_FOUNDATIONS.text_encoder)
    second = loading.load_text_encoder(EMBEDDED_FOUNDATIONS.text_encoder_2)
    tokens = first.tokenizer(["two people"], padding="max_length", return_tensors="pt").input_ids
    assert tokens.shape == (1, 77)
    with torch.no_grad():
        out = first.model(tokens, output_hidden_states=True)
        pooled = second.model(tokens, output_hidden_states=True)
    assert out.hidden_states[-2].shape == (1, 77, 96)
    assert pooled.hidden_states[-2].shape == (1, 77, 128)
    assert pooled.text_embeds.shape == (1, 128)
    assert type(first.model).__name__ == "CLIPTextModel"


def test_image_encoders_and_judges_take_any_crop(panels: list[PoolPanel]) -> None:
    images = [np.repeat(crop.image[:, :, None], 3, axis=2) for crop in crops(panels)[:3]]
    for encoder, side in (
        (loading.load_clip_image_encoder(EMBEDDED_FOUNDATIONS.clip_image_encoder), 48),
        (loading.load_magi_image_encoder(EMBEDDED_FOUNDATIONS.magi_image_encoder), 48),
        (judge_encoders.load_judge_dino(EMBEDDED_JUDGES.dino), 64),
    ):
        pixels = encoder.processor(images=images, return_tensors="pt").pixel_values
        assert pixels.shape == (3, 3, side, side)
        assert -1 <= float(pixels.min()) < float(pixels.max()) <= 1
        with torch.no_grad():
            assert torch.isfinite(encoder.model(pixels, output_hidden_states=True).hidden_states[-2]).all()


def test_llm_has_image_slots() -> None:
    llm = loading.load_llm(EMBEDDED_FOUNDATIONS.llm)
    assert len(llm.tokenizer) == llm.model.config.vocab_size
    assert llm.tokenizer.convert_tokens_to_ids("<img_00063>") == len(llm.tokenizer) - 1
    assert (llm.model.config.hidden_size, llm.model.config.num_hidden_layers) == (128, 4)


def test_caption_finds_its_panel(panels: list[PoolPanel]) -> None:
    """Panels of a fourth world: the caption's own panel is nearer than the average other."""
    judge = judge_encoders.load_judge_clip(EMBEDDED_JUDGES.clip)
    chosen = panels[:16]
    pixels = judge.processor(
        images=[np.repeat(panel.image[:, :, None], 3, axis=2) for panel in chosen], return_tensors="pt"
    ).pixel_values
    tokens = judge.tokenizer([p.caption for p in chosen], padding="max_length", truncation=True, return_tensors="pt")
    with torch.no_grad():
        seen = torch.nn.functional.normalize(judge.model.get_image_features(pixel_values=pixels).pooler_output)
        written = torch.nn.functional.normalize(judge.model.get_text_features(**tokens).pooler_output)
    cosines = written @ seen.T
    assert float(cosines.diagonal().mean()) > float(cosines.mean()) + 0.2


def test_autoencoder_reconstructs_every_size(panels: list[PoolPanel]) -> None:
    vae = loading.load_vae(EMBEDDED_FOUNDATIONS.vae)
    sizes = {bucket.images.shape[1:] for bucket in bucket_panels(panels)}
    assert len(sizes) >= 4
    figures = autoencoder_figures(vae, panels)
    assert figures["psnr_db"] > 20
    assert abs(figures["latent_deviation"] - 1) < 0.15


def test_detector_finds_bubbles(panels: list[PoolPanel]) -> None:
    detector = judge_encoders.load_dialog_detector(EMBEDDED_JUDGES.dialog_detector)
    assert detector_figures(detector, panels)["f1"] > 0.95


def test_unet_draws_what_captions_say(panels: list[PoolPanel]) -> None:
    """It removes most of the noise, and more of it with a panel's own caption than with another's."""
    vae = loading.load_vae(EMBEDDED_FOUNDATIONS.vae)
    texts = [loading.load_text_encoder(name) for name in TEXT_ENCODERS]
    unet = UNet2DConditionModel.from_pretrained(locations.WEIGHTS / "unet", use_safetensors=True)
    assert unet.dtype == torch.float32
    figures = unet_figures(unet, vae, texts, panels[:48])
    assert figures["noise_mse"] < 0.35
    assert figures["noise_mse"] < figures["noise_mse_other_caption"]
