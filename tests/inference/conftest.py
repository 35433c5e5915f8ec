"""Trained parts as the stages leave them (random weights), on the embedded foundations; and panels to draw."""

from dataclasses import dataclass
from pathlib import Path

import diffsensei.models  # noqa: F401  before transformers: torchvision must be importable beside a CPU build of torch

# isort: split

import numpy as np
import pytest
import torch
from PIL import Image

from diffsensei.config.presets import tiny
from diffsensei.config.schema import Foundations, ModelConfig, SamplingConfig, UNetConfig
from diffsensei.foundations.loading import (
    load_clip_image_encoder,
    load_llm,
    load_magi_image_encoder,
    load_text_encoder,
    load_vae,
)
from diffsensei.inference.request import CharacterRequest, PanelRequest
from diffsensei.models.character_features import feature_widths
from diffsensei.models.identity_adapter import IdentityAdapter
from diffsensei.models.resampler import Resampler
from diffsensei.models.text import text_widths
from diffsensei.models.unet import add_manga_conditions, build_unet, save_unet

UNET = UNetConfig(
    block_out_channels=(32, 64),
    transformer_layers_per_block=(0, 1),
    layers_per_block=1,
    attention_head_dim=(2, 4),
    addition_time_embed_dim=16,
)


@dataclass(frozen=True)
class Trained:
    model: ModelConfig
    pretrain: Path
    stage1: Path
    stage2: Path

    @property
    def foundations(self) -> Foundations:
        return self.model.foundations


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("stages")
    model = tiny().model.replaced(unet=UNET.model_dump())
    names = model.foundations
    clip, magi = load_clip_image_encoder(names.clip_image_encoder), load_magi_image_encoder(names.magi_image_encoder)
    width, pooled = text_widths([load_text_encoder(names.text_encoder), load_text_encoder(names.text_encoder_2)])
    unet = build_unet(
        UNET,
        in_channels=load_vae(names.vae).config["latent_channels"],
        cross_attention_dim=width,
        pooled_dim=pooled,
    )
    save_unet(unet, root / "pretrain" / "unet")
    num_queries = model.resampler.num_queries
    add_manga_conditions(unet, num_queries)
    with torch.no_grad():
        # Conditions must show in the image, as they do after training.
        unet.dialog_bbox_embedding.mul_(50.0)
        for name, weight in unet.named_parameters():
            if name.endswith("to_v_ip.weight"):
                weight.mul_(4.0)
    save_unet(unet, root / "stage1" / "unet")
    clip_dim, magi_dim = feature_widths(clip, magi)
    resampler = Resampler(**model.resampler.model_dump(), clip_dim=clip_dim, magi_dim=magi_dim, output_dim=width)
    resampler.save_pretrained(root / "stage1" / "resampler")
    llm = load_llm(names.llm)
    adapter = IdentityAdapter(
        llm.model, llm.tokenizer, model.adapter, num_characters=4, num_queries=num_queries, token_dim=width
    )
    with torch.no_grad():
        for parameter in adapter.trainable_parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    adapter.save_adapter(root / "stage2" / "adapter")
    return Trained(model, root / "pretrain", root / "stage1", root / "stage2")


@pytest.fixture(scope="session")
def sampling() -> SamplingConfig:
    return SamplingConfig(
        steps=3,
        guidance_scale=2.0,
        character_scale=1.0,
        adapter_blend=0.4,
        negative_prompt="",
        batch_size=4,
    )


@pytest.fixture(scope="session")
def requests_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the layout of the benchmark: ``panels.jsonl`` and ``references/``."""
    folder = tmp_path_factory.mktemp("benchmark")
    (folder / "references").mkdir()
    stream = np.random.default_rng(0)
    for name, size in {"a": (40, 30), "b": (25, 33), "c": (48, 48)}.items():
        drawing = Image.fromarray(stream.integers(0, 256, size, dtype=np.uint8))
        drawing.save(folder / "references" / f"{name}.png")

    def character(name: str, *box: float) -> CharacterRequest:
        return CharacterRequest(id=name, box=box, reference=f"references/{name}.png")  # type: ignore[arg-type]

    panels = [
        PanelRequest(
            panel_id="two",
            height=32,
            width=32,
            caption="a boy and a girl",
            characters=(character("a", 0.0, 0.1, 0.5, 1.0), character("b", 0.5, 0.2, 1.0, 0.9)),
            dialogs=((0.1, 0.0, 0.6, 0.3),),
            seed=11,
        ),
        PanelRequest(panel_id="nobody", height=32, width=32, caption="rain", seed=12),
        PanelRequest(
            panel_id="wide",
            height=24,
            width=40,
            caption="the girl laughs",
            characters=(character("c", 0.2, 0.0, 0.8, 1.0),),
            seed=13,
        ),
        PanelRequest(
            panel_id="bubbles",
            height=32,
            width=32,
            caption="",
            characters=(character("a", 0.4, 0.3, 0.9, 1.0),),
            dialogs=((0.0, 0.0, 0.3, 0.5), (0.6, 0.0, 1.0, 0.4)),
            seed=14,
        ),
        PanelRequest(panel_id="last", height=32, width=32, caption="two friends", seed=15),
    ]
    (folder / "panels.jsonl").write_text("".join(panel.model_dump_json() + "\n" for panel in panels))
    return folder
