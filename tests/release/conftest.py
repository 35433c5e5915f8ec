"""Trained parts as the stages leave them (random weights) on the embedded foundations, a score, and a built bundle."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffsensei.models  # noqa: F401  before transformers: torchvision must be importable beside a CPU build of torch

# isort: split

import pytest
import torch

from diffsensei.config.presets import tiny
from diffsensei.config.schema import UNetConfig
from diffsensei.foundations.loading import (
    load_clip_image_encoder,
    load_llm,
    load_magi_image_encoder,
    load_text_encoder,
    load_vae,
)
from diffsensei.models.character_features import feature_widths
from diffsensei.models.identity_adapter import IdentityAdapter
from diffsensei.models.resampler import Resampler
from diffsensei.models.text import text_widths
from diffsensei.models.unet import add_manga_conditions, build_unet, save_unet
from diffsensei.release.bundle import build_bundle

UNET = UNetConfig(
    block_out_channels=(32, 64),
    transformer_layers_per_block=(0, 1),
    layers_per_block=1,
    attention_head_dim=(2, 4),
    addition_time_embed_dim=16,
)
SUMMARY = """{"metrics": [{"name": "clip", "label": "CLIP", "definition": "cosine", "higher_is_better": true}],
"methods": [{"name": "ground_truth", "label": "Ground truth", "role": "oracle"},
            {"name": "diffsensei", "label": "DiffSensei", "role": "method"}],
"results": [{"method": "ground_truth", "metric": "clip", "value": 0.31, "low": 0.3, "high": 0.32, "n_used": 97,
             "state": "computed"},
            {"method": "diffsensei", "metric": "clip", "value": null, "low": null, "high": null, "n_used": 0,
             "state": "not computed: no judge"}],
"num_series": 8, "num_pages": 16, "num_panels": 97, "confidence": 0.95}"""


@dataclass(frozen=True)
class Stages:
    """Arguments of `build_bundle` but for workspace and output."""

    arguments: dict[str, Any]


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("stages")
    config = tiny()
    model = config.model.replaced(unet=UNET.model_dump())
    names = model.foundations
    text_encoders = [load_text_encoder(names.text_encoder), load_text_encoder(names.text_encoder_2)]
    width, pooled = text_widths(text_encoders)
    latent_channels = load_vae(names.vae).config["latent_channels"]
    unet = build_unet(UNET, in_channels=latent_channels, cross_attention_dim=width, pooled_dim=pooled)
    num_queries = model.resampler.num_queries
    add_manga_conditions(unet, num_queries)
    save_unet(unet, root / "stage1" / "unet")
    clip_dim, magi_dim = feature_widths(
        load_clip_image_encoder(names.clip_image_encoder), load_magi_image_encoder(names.magi_image_encoder)
    )
    resampler = Resampler(**model.resampler.model_dump(), clip_dim=clip_dim, magi_dim=magi_dim, output_dim=width)
    resampler.save_pretrained(root / "stage1" / "resampler")
    llm = load_llm(names.llm)
    adapter = IdentityAdapter(
        llm.model, llm.tokenizer, model.adapter, num_characters=4, num_queries=num_queries, token_dim=width
    )
    adapter.save_adapter(root / "stage2" / "adapter")
    (root / "score").mkdir()
    (root / "score" / "summary.json").write_text(SUMMARY)
    return Stages(
        {
            "release": config.release,
            "model": model,
            "sampling": config.sampling.replaced(steps=3),
            "conditioning": config.data.conditioning,
            "source_kind": config.data.source.kind,
            "stage1": root / "stage1",
            "stage2": root / "stage2",
            "score": root / "score",
        }
    )


@pytest.fixture(scope="session")
def bundle(stages: Stages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, built once; copy it before changing anything."""
    workspace, output = tmp_path_factory.mktemp("workspace"), tmp_path_factory.mktemp("bundle")
    build_bundle(**stages.arguments, workspace=workspace, output=output)
    return output
