"""Strict loading of hub-format folders written here by the libraries themselves."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torchvision.models.resnet import BasicBlock, ResNet
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    ViTMAEConfig,
    ViTMAEModel,
)

from diffsensei.foundations import judge_encoders, loading
from diffsensei.foundations.magi_dialogs import MagiDialogDetector
from diffsensei.foundations.vocabulary import clip_tokenizer
from diffsensei.magi.timm_backbone import RESNETS, rename_timm_resnet, resnet_config
from tests.magi.tiny_magi import write_tiny_magi

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
    for load in (
        loading.load_vae,
        judge_encoders.load_judge_dino,
        loading.load_magi_image_encoder,
        loading.load_llm,
        loading.load_magi,
        judge_encoders.load_dialog_detector,
    ):
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


@pytest.fixture
def whole_magi(tmp_path: Path) -> Path:
    return write_tiny_magi(tmp_path)


def objects(folder: Path) -> list[np.ndarray]:
    (page,) = loading.load_magi(str(folder)).detect_objects([np.arange(4800, dtype=np.uint8).reshape(80, 60)])
    return [page.boxes, page.scores, page.labels]


def test_whole_magi_holds_exactly_the_tensors_on_disk_but_the_reader_of_text(whole_magi: Path) -> None:
    magi = loading.load_magi(str(whole_magi))
    own, stored = magi.network.state_dict(), load_file(whole_magi / STATE)
    heads = {key for key in stored if not key.startswith(("detection_transformer.", "crop_embedding_model.", "ocr_"))}
    assert heads < own.keys()
    for key in heads:
        torch.testing.assert_close(own[key], stored[key])
    ours, theirs = (
        sum(value.numel() for key, value in state.items() if not key.startswith("ocr_model."))
        for state in (own, stored)
    )
    assert ours == theirs
    assert not any(parameter.requires_grad for parameter in magi.parameters())
    assert {parameter.dtype for parameter in magi.parameters()} == {torch.float32}
    assert magi.network.crop_embedding_model.config.mask_ratio == 0.0
    assert loading.load_magi_image_encoder(str(whole_magi)).model.config.hidden_size == 12


def test_half_precision_magi_is_read_as_float32(whole_magi: Path) -> None:
    def halve(state: dict[str, torch.Tensor]) -> None:
        state |= {key: value.half() for key, value in state.items() if value.is_floating_point()}

    rewrite(whole_magi / STATE, halve)
    assert {value.dtype for value in loading.load_magi(str(whole_magi)).parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("key", "listed"),
    [
        ("bbox_predictor.layers.2.bias", "bbox_predictor.layers.2.bias"),
        ("is_this_text_a_dialogue.layers.0.weight", "is_this_text_a_dialogue.layers.0.weight"),
        ("detection_transformer.decoder.layernorm.weight", "decoder.layernorm.weight"),
        (
            "detection_transformer.backbone.conv_encoder.model.embedder.embedder.normalization.running_mean",
            "backbone.model.embedder.embedder.normalization.running_mean",
        ),
        ("crop_embedding_model.embeddings.cls_token", "embeddings.cls_token"),
    ],
)
def test_a_tensor_of_magi_lost_or_of_another_shape_is_named(whole_magi: Path, key: str, listed: str) -> None:
    stored = load_file(whole_magi / STATE)
    for state, wrong in (
        ({name: value for name, value in stored.items() if name != key}, "1 missing"),
        (stored | {key: torch.zeros(7)}, "1 of another shape"),
    ):
        save_file(state, whole_magi / STATE)
        with pytest.raises(ValueError, match=f"keys {wrong}: {re.escape(listed)}$") as caught:
            loading.load_magi(str(whole_magi))
        assert str(caught.value).startswith(f"{whole_magi}: ")


@pytest.mark.parametrize(
    "stranger", ["tail_head.weight", "detection_transformer.stranger", "crop_embedding_model.stranger"]
)
def test_a_tensor_magi_does_not_have_is_named(whole_magi: Path, stranger: str) -> None:
    rewrite(whole_magi / STATE, lambda state: state.update({stranger: torch.zeros(2)}))
    with pytest.raises(
        ValueError, match=f"keys 1 unexpected: {stranger.split('.', 1)[1]}|keys 1 unexpected: {stranger}"
    ):
        loading.load_magi(str(whole_magi))


def test_magi_as_the_pickle_it_was_published_as(whole_magi: Path) -> None:
    expected = objects(whole_magi)
    torch.save(load_file(whole_magi / STATE), whole_magi / "pytorch_model.bin")
    (whole_magi / STATE).unlink()
    for one, two in zip(objects(whole_magi), expected, strict=True):
        np.testing.assert_array_equal(one, two)
    assert loading.load_magi_image_encoder(str(whole_magi)).model.config.hidden_size == 12
    assert isinstance(judge_encoders.load_dialog_detector(str(whole_magi)), MagiDialogDetector)


class Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("sprung",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Trap(), "cannot be loaded"),
        ([1, 2], "pytorch_model.bin is not a state dict"),
        ({"bbox_predictor": "text"}, "pytorch_model.bin is not a state dict"),
    ],
)
def test_a_pickle_is_never_run(
    whole_magi: Path, content: object, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, whole_magi / "pytorch_model.bin")
    (whole_magi / STATE).unlink()
    with pytest.raises(ValueError, match=message) as caught:
        loading.load_magi(str(whole_magi))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "sprung").exists()


def test_magi_without_weights(whole_magi: Path) -> None:
    (whole_magi / STATE).unlink()
    with pytest.raises(ValueError, match=r"neither model\.safetensors nor pytorch_model\.bin in "):
        judge_encoders.load_dialog_detector(str(whole_magi))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"disable_detections": True}, "expected a whole Magi, got one whose configuration says disable_detections"),
        ({"disable_crop_embeddings": True}, "says disable_crop_embeddings"),
        ({"detection_image_preprocessing_config": None}, "without detection_image_preprocessing_config"),
    ],
)
def test_magi_with_a_part_switched_off(whole_magi: Path, change: dict[str, Any], message: str) -> None:
    path = whole_magi / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        loading.load_magi(str(whole_magi))


@pytest.mark.parametrize("stored_as", ["options of the detector", "backbone_config"])
def test_magi_over_a_backbone_of_timm(tmp_path: Path, stored_as: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same weights under timm's names, and a configuration as older libraries wrote it, give the same objects."""
    monkeypatch.setitem(RESNETS, "resnet18", ("basic", [1, 1, 1, 1]))
    plain, timm = tmp_path / "plain", tmp_path / "timm"
    plain.mkdir()
    write_tiny_magi(plain, backbone=resnet_config("resnet18").to_dict())
    shutil.copytree(plain, timm)
    place = "detection_transformer.backbone.conv_encoder.model."
    own, names = load_file(timm / STATE), ResNet(BasicBlock, [1, 1, 1, 1]).state_dict()
    renamed = rename_timm_resnet({place + name: name for name in names if not name.startswith("fc.")}, place)
    state = {key: value for key, value in own.items() if not key.startswith(place)}
    state |= {place + name: own[key] for key, name in renamed.items() if key in own}
    assert len(state) == len(own)
    assert f"{place}layer4.0.bn2.running_var" in state
    save_file(state, timm / STATE)
    config = json.loads((timm / "config.json").read_text())
    detection = config["detection_model_config"]
    old = {
        "pruned_heads": {},
        "torchscript": False,
        "top_k": 50,
        "scale_embedding": False,
        "max_position_embeddings": 1024,
    }
    if stored_as == "backbone_config":
        new = {"backbone_config": {"model_type": "timm_backbone", "backbone": "resnet18", "out_indices": [1, 2, 3, 4]}}
    else:
        new = {"backbone_config": None, "backbone": "resnet18", "use_timm_backbone": True, "dilation": False}
        new |= {"use_pretrained_backbone": True, "backbone_kwargs": {"in_chans": 3, "out_indices": [1, 2, 3, 4]}}
    config["detection_model_config"] = detection | old | new
    (timm / "config.json").write_text(json.dumps(config))
    for one, two in zip(objects(timm), objects(plain), strict=True):
        np.testing.assert_array_equal(one, two)

    config["detection_model_config"]["dilation"] = True
    config["detection_model_config"]["backbone_config"] = None
    (timm / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="expected a backbone without dilation"):
        loading.load_magi(str(timm))
