"""Strict loading of hub-format folders written here by the libraries themselves."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    ViTMAEConfig,
    ViTMAEModel,
)

from diffsensei.foundations import loading
from diffsensei.foundations.vocabulary import clip_tokenizer

STATE = "model.safetensors"


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """text_encoder, text_encoder_2, their tokenizers and vae, random and tiny, in half precision."""
    folder = tmp_path_factory.mktemp("sdxl")
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    config = CLIPTextConfig(vocab_size=len(tokenizer), num_hidden_layers=2, projection_dim=8, **sizes)
    CLIPTextModel(config).half().save_pretrained(folder / "text_encoder")
    CLIPTextModelWithProjection(config).half().save_pretrained(folder / "text_encoder_2")
    tokenizer.save_pretrained(folder / "tokenizer")
    tokenizer.save_pretrained(folder / "tokenizer_2")
    vision = CLIPVisionConfig(num_hidden_layers=1, image_size=16, patch_size=8, projection_dim=8, **sizes)
    CLIPVisionModelWithProjection(vision).half().save_pretrained(folder / "image_encoder")
    AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, layers_per_block=1).half().save_pretrained(folder / "vae")
    return folder


@pytest.fixture
def copied(sdxl: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sdxl, tmp_path / "sdxl"))


def rewrite(path: Path, change: Any) -> None:
    state = load_file(path)
    change(state)
    save_file(state, path, metadata={"format": "pt"})


def test_half_precision_is_read_as_float32_frozen(sdxl: Path) -> None:
    vae = loading.load_vae(str(sdxl / "vae"))
    assert {p.dtype for p in vae.parameters()} == {torch.float32}
    assert not vae.training
    assert not any(p.requires_grad for p in vae.parameters())
    assert loading.load_vae(str(sdxl / "vae"), dtype=torch.bfloat16).dtype == torch.bfloat16


def test_class_of_text_encoder_follows_its_config(sdxl: Path) -> None:
    first = loading.load_text_encoder(str(sdxl / "text_encoder"))
    second = loading.load_text_encoder(str(sdxl / "text_encoder_2"))
    assert type(first.model) is CLIPTextModel
    assert type(second.model) is CLIPTextModelWithProjection
    assert second.tokenizer("two people").input_ids == clip_tokenizer()("two people").input_ids


def test_text_encoder_of_another_architecture(copied: Path) -> None:
    path = copied / "text_encoder" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"architectures": ["T5EncoderModel"]}))
    with pytest.raises(ValueError, match=r"expected architecture CLIPTextModel or .*, got T5EncoderModel"):
        loading.load_text_encoder(str(copied / "text_encoder"))


def test_image_encoder_without_preprocessor_gets_clips_own_at_its_size(sdxl: Path) -> None:
    encoder = loading.load_clip_image_encoder(str(sdxl / "image_encoder"))
    pixels = encoder.processor(images=[np.zeros((40, 24, 3), np.uint8)], return_tensors="pt").pixel_values
    assert pixels.shape == (1, 3, 16, 16)
    assert encoder.model(pixels).image_embeds.shape == (1, 8)


@pytest.mark.parametrize(
    ("part", "state", "load"),
    [
        ("text_encoder", STATE, loading.load_text_encoder),
        ("vae", "diffusion_pytorch_model.safetensors", loading.load_vae),
    ],
)
def test_all_wrong_keys_are_listed(copied: Path, part: str, state: str, load: Any) -> None:
    path = copied / part / state
    names = sorted(load_file(path))
    lost, bent = names[0], next(name for name in names[1:] if name.endswith("weight"))

    def change(values: dict[str, torch.Tensor]) -> None:
        values["stranger"] = values.pop(lost)
        values[bent] = torch.zeros(3)

    rewrite(path, change)
    with pytest.raises(ValueError, match="keys") as caught:
        load(str(copied / part))
    message = str(caught.value)
    assert f"1 missing: {lost}" in message
    assert "1 unexpected: stranger" in message
    assert f"1 of another shape: {bent}" in message
    assert "\n" not in message


@pytest.mark.parametrize("lost", ["config.json", "diffusion_pytorch_model.safetensors"])
def test_missing_file_is_named(copied: Path, lost: str) -> None:
    (copied / "vae" / lost).unlink()
    with pytest.raises(ValueError, match=r"vae: no (config\.json|\*\.safetensors) in "):
        loading.load_vae(str(copied / "vae"))


def test_pickled_weights_are_not_read(copied: Path) -> None:
    folder = copied / "vae"
    torch.save(load_file(folder / "diffusion_pytorch_model.safetensors"), folder / "diffusion_pytorch_model.bin")
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"no \*\.safetensors"):
        loading.load_vae(str(folder))


def test_damaged_weights(copied: Path) -> None:
    (copied / "text_encoder" / STATE).write_bytes(b"junk" * 100)
    with pytest.raises(ValueError, match="text_encoder: cannot be loaded") as caught:
        loading.load_text_encoder(str(copied / "text_encoder"))
    assert "\n" not in str(caught.value)


def test_missing_tokenizer(copied: Path) -> None:
    shutil.rmtree(copied / "tokenizer")
    with pytest.raises(ValueError, match=r"text_encoder: no tokenizer folder .*/tokenizer$"):
        loading.load_text_encoder(str(copied / "text_encoder"))


def test_what_the_hub_cannot_give_is_one_line_with_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for load in (loading.load_vae, loading.load_judge_dino, loading.load_magi_image_encoder, loading.load_llm):
        with pytest.raises(
            ValueError, match=r"^nobody/nothing/part: cannot be loaded; it must be downloaded"
        ) as caught:
            load("nobody/nothing/part")
        assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- Magi


@pytest.fixture
def magi(tmp_path: Path) -> tuple[Path, ViTMAEModel]:
    """A checkpoint in Magi's layout: the crop encoder under its prefix, beside parts that are not read."""
    torch.manual_seed(1)
    config = ViTMAEConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
        mask_ratio=0.75,
    )
    encoder = ViTMAEModel(config).eval()
    encoder.save_pretrained(tmp_path / "plain")
    folder = tmp_path / "magi"
    folder.mkdir()
    state = {f"crop_embedding_model.{key}": value for key, value in load_file(tmp_path / "plain" / STATE).items()}
    save_file(state | {"ocr_model.head.weight": torch.zeros(2)}, folder / STATE)
    preprocessing = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 16, "width": 16},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "resample": 2,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "rescale_factor": 1 / 255,
    }
    top = {
        "detection_model_config": {},
        "crop_embedding_model_config": config.to_dict(),
        "crop_embedding_image_preprocessing_config": preprocessing,
    }
    (folder / "config.json").write_text(json.dumps(top))
    return folder, encoder


def test_magi_crop_encoder_out_of_its_large_checkpoint(magi: tuple[Path, ViTMAEModel]) -> None:
    folder, original = magi
    loaded = loading.load_magi_image_encoder(str(folder))
    pixels = loaded.processor(images=[np.full((20, 30, 3), 255, np.uint8)], return_tensors="pt").pixel_values
    assert pixels.shape == (1, 3, 16, 16)
    assert float(pixels.min()) == 1.0
    pixels = torch.rand(2, 3, 16, 16)
    original.config.mask_ratio = 0.0
    noise = torch.arange(4).float().expand(2, -1)
    with torch.no_grad():
        expected = original(pixels, noise=noise).last_hidden_state[:, 0]
        torch.testing.assert_close(loaded.model(pixels, noise=noise).last_hidden_state[:, 0], expected)
    assert loaded.model.config.mask_ratio == 0.0


def test_magi_crop_encoder_as_its_configuration_has_it(magi: tuple[Path, ViTMAEModel]) -> None:
    plain = magi[0].parent / "plain"
    loading.load_magi_image_encoder(str(magi[0])).processor.save_pretrained(plain)
    for folder in (magi[0], plain):
        assert loading.load_magi_image_encoder(str(folder), patches="masked").model.config.mask_ratio == 0.75


def test_magi_crop_encoder_is_strict(magi: tuple[Path, ViTMAEModel]) -> None:
    folder, _ = magi

    def change(state: dict[str, torch.Tensor]) -> None:
        state["crop_embedding_model.stranger"] = state.pop("crop_embedding_model.embeddings.cls_token")

    rewrite(folder / STATE, change)
    with pytest.raises(ValueError, match=r"1 missing: embeddings\.cls_token; 1 unexpected: stranger"):
        loading.load_magi_image_encoder(str(folder))


def test_magi_is_refused_as_a_dialog_detector(magi: tuple[Path, ViTMAEModel]) -> None:
    with pytest.raises(ValueError, match="Magi's detector cannot be read yet"):
        loading.load_dialog_detector(str(magi[0]))
