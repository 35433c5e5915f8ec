"""A small world on disk: a random panel set, and random encoders in the hub's formats, for every training stage."""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from accelerate.state import AcceleratorState, PartialState

import diffsensei.models  # noqa: F401  before transformers: torchvision must be importable beside a CPU build of torch

# isort: split

from diffusers import AutoencoderKL
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    ViTImageProcessorPil,
    ViTMAEConfig,
    ViTMAEModel,
)

from diffsensei.config.experiment import ExperimentConfig
from diffsensei.config.presets import tiny
from diffsensei.config.schema import ConditioningConfig
from diffsensei.data.images import encode_png
from diffsensei.data.panels.panel_set import CROP_SCHEMA, PANEL_SCHEMA, shard_name
from diffsensei.training.features import encode_features

NUM_PAGES, PANELS_PER_PAGE = 6, 4
CAPTIONS = ("a boy runs", "a girl laughs", "", "rain over the town")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread, and no accelerator state left over from a test with another precision."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    forget_precision()


def forget_precision() -> None:
    """Let the next stage of this process be trained in another one."""
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()
    os.environ.pop("ACCELERATE_MIXED_PRECISION", None)


@dataclass(frozen=True)
class World:
    """Folders with what the training stages read."""

    root: Path
    panels: Path
    features: Path
    foundations: dict[str, str]
    """Arguments of the stages that name a frozen part."""

    def named(self, *names: str) -> dict[str, str]:
        return {name: self.foundations[name] for name in names}


@pytest.fixture(scope="session")
def experiment() -> ExperimentConfig:
    """The tiny preset with even smaller networks and few steps."""
    config = tiny().model_dump()
    config["model"]["unet"] |= {"block_out_channels": (32, 64), "attention_head_dim": (2, 2)}
    config["model"]["unet"]["addition_time_embed_dim"] = 8
    config["model"]["resampler"] = {"dim": 16, "depth": 1, "heads": 2, "head_dim": 8, "num_queries": 4}
    config["model"]["adapter"] |= {"lora_rank": 2, "resampler_heads": 2}
    for stage in config["training"].values():
        if isinstance(stage, dict):
            stage |= {"steps": 4, "global_batch_size": (4,), "micro_batch_size": (2,), "checkpoint_every_steps": 2}
    return ExperimentConfig.model_validate(config)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, experiment: ExperimentConfig) -> World:
    root = tmp_path_factory.mktemp("world")
    write_panel_set(root / "panels" / "train")
    foundations = write_foundations(root / "foundations")
    for name in ("features", "features-workspace"):
        (root / name).mkdir()
    frozen = ("vae", "text_encoder", "text_encoder_2", "clip_image_encoder", "magi_image_encoder")
    encode_features(
        **{name: foundations[name] for name in frozen},
        buckets=experiment.data.buckets,
        cache=experiment.data.cache,
        magi_patches="all",
        num_threads=1,
        panels=root / "panels",
        workspace=root / "features-workspace",
        output=root / "features",
    )
    return World(root, root / "panels", root / "features", foundations)


@pytest.fixture(scope="session")
def conditioning(experiment: ExperimentConfig) -> ConditioningConfig:
    return experiment.data.conditioning


def write_panel_set(folder: Path) -> None:
    """Noise images of random sizes, up to three characters and dialogs each; the same two ids on every page."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    blob, panels, crops = bytearray(), [], []

    def store(height: int, width: int) -> dict[str, Any]:
        png = encode_png(rng.integers(0, 256, (height, width), dtype=np.uint8))
        address = {"shard": 0, "offset": len(blob), "length": len(png), "crc32": zlib.crc32(png)}
        blob.extend(png)
        return {"height": height, "width": width, **address}

    for page in range(NUM_PAGES):
        for index in range(PANELS_PER_PAGE):
            panel_id = f"{page:016x}-{index}"
            identities = rng.choice(["a", "b", "c"], int(rng.integers(0, 4)), replace=False).tolist()
            characters = []
            for place, identity in enumerate(identities):
                corner, far = rng.uniform(0.0, 0.4, 2), rng.uniform(0.5, 1.0, 2)
                box = [*corner.tolist(), *far.tolist()]
                kind = int(rng.integers(0, 2))
                characters.append({"id": identity, "box": box, "page_box": [100 * v for v in box], "type": kind})
                about = {"page_id": f"{page:016x}", "panel_id": panel_id, "character_id": identity, "type": kind}
                size = store(int(rng.integers(13, 40)), int(rng.integers(13, 40)))
                crops.append({"crop_id": len(crops), "character_index": place, **about, **size})
            dialogs = [[0.0, 0.0, 0.3, float(height)] for height in rng.uniform(0.2, 0.5, int(rng.integers(0, 3)))]
            panels.append(
                {
                    "panel_id": panel_id,
                    "page_id": f"{page:016x}",
                    "series": "noise",
                    "page_index": page,
                    "panel_index": index,
                    "caption": CAPTIONS[int(rng.integers(len(CAPTIONS)))],
                    "characters": characters,
                    "dialogs": dialogs,
                    "excluded_ids": ["c"],
                    **store(*rng.integers(40, 120, 2).tolist()),
                }
            )
    (folder / shard_name(0)).write_bytes(bytes(blob))
    pq.write_table(pa.Table.from_pylist(panels, schema=PANEL_SCHEMA), folder / "panels.parquet")
    pq.write_table(pa.Table.from_pylist(crops, schema=CROP_SCHEMA), folder / "crops.parquet")


def write_foundations(folder: Path) -> dict[str, str]:
    """Random encoders in the hub's folder formats; the references by argument name."""
    torch.manual_seed(0)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.5,
    )
    vae.save_pretrained(folder / "vae")

    alphabet = [f"{letter}{end}" for letter in "abcdefghijklmnopqrstuvwxyz" for end in ("", "</w>")]
    vocabulary = {token: index for index, token in enumerate(["<|startoftext|>", "<|endoftext|>", *alphabet])}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=12)
    sizes = {
        "vocab_size": len(vocabulary),
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 12,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    CLIPTextModel(CLIPTextConfig(hidden_size=8, **sizes)).save_pretrained(folder / "text_encoder")
    with_projection = CLIPTextModelWithProjection(CLIPTextConfig(hidden_size=16, projection_dim=8, **sizes))
    with_projection.save_pretrained(folder / "text_encoder_2")
    for name in ("tokenizer", "tokenizer_2"):
        tokenizer.save_pretrained(folder / name)

    vision = {"image_size": 16, "patch_size": 8, "intermediate_size": 16}
    vision |= {"num_hidden_layers": 2, "num_attention_heads": 2}
    square = {"height": 16, "width": 16}
    clip = CLIPVisionModelWithProjection(CLIPVisionConfig(hidden_size=12, projection_dim=6, **vision))
    clip.save_pretrained(folder / "clip_image_encoder")
    processor = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=square)
    processor.save_pretrained(folder / "clip_image_encoder")
    ViTMAEModel(ViTMAEConfig(hidden_size=8, mask_ratio=0.0, **vision)).save_pretrained(folder / "magi_image_encoder")
    ViTImageProcessorPil(size=square).save_pretrained(folder / "magi_image_encoder")
    write_llm(folder / "llm")
    names = ("vae", "text_encoder", "text_encoder_2", "clip_image_encoder", "magi_image_encoder", "llm")
    return {name: str(folder / name) for name in names}


def write_llm(folder: Path) -> None:
    specials = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    words = sorted({word for caption in CAPTIONS for word in caption.split()})
    slots = ["<img>", "</img>", *(f"<img_{index:05d}>" for index in range(16))]
    pieces = [*specials.values(), *words, "<0x0A>", *slots]
    base = Tokenizer(models.WordLevel({piece: index for index, piece in enumerate(pieces)}, unk_token="<unk>"))
    base.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=base, **specials).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(pieces),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
