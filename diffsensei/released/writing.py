"""A pipeline in the released layout, as the reference code reads it."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from diffsensei.inference.pipeline import DiffSenseiPipeline
from diffsensei.released.layout import IMAGE_GENERATOR, MLLM, PICKLED, RESAMPLER
from diffsensei.released.placement import whole_folder
from diffsensei.released.settings import GeneratorSettings, settings_of

_STOCK = ("scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "vae")
"""Components that the release's index lists, as a stock SDXL pipeline's does."""

MAX_SHARD_SIZE = "5GB"


def write_released(pipeline: DiffSenseiPipeline, folder: Path, *, max_shard_size: str = MAX_SHARD_SIZE) -> None:
    """Write ``folder`` in the released layout, from which `load_released` gives the same pipeline, bit for bit.

    Beyond the release there are small files the reference code passes over: ``preprocessor_config.json`` of the image
    encoders, and ``config.json`` of resampler and agent with what tensors do not show (`settings`, head counts). Magi's
    configuration gets the mask ratio it runs with. Tensors keep the precision they have. ``folder`` appears whole or
    not at all; raises ValueError if it exists and is not empty, or for an ablation that this layout has no place for.
    """
    settings = settings_of(pipeline)
    with whole_folder(Path(folder)) as aside:
        _write_image_generator(pipeline, settings, aside / IMAGE_GENERATOR)
        if pipeline.llm is not None:
            _write_mllm(pipeline, aside / MLLM, max_shard_size)


def _write_image_generator(pipeline: DiffSenseiPipeline, settings: GeneratorSettings, folder: Path) -> None:
    for name in _STOCK:
        if name != "unet":
            getattr(pipeline, name).save_pretrained(folder / name)
    index: dict[str, Any] = {"_class_name": "StableDiffusionXLPipeline"}
    index |= {name: pipeline.config[name] for name in _STOCK}
    _write_json(folder / "model_index.json", index)

    pipeline.unet.save_config(folder / "unet")
    stock = json.loads((folder / "unet" / "config.json").read_text())
    stock.pop("manga_conditions", None)
    _write_json(folder / "unet" / "config.json", stock)
    _pickle(pipeline.unet, folder / "unet")

    _pickle(pipeline.resampler, folder / RESAMPLER)
    _write_json(folder / RESAMPLER / "config.json", settings.model_dump(mode="json"))

    pipeline.clip_image_encoder.save_pretrained(folder / "clip_image_encoder", max_shard_size="1TB")
    pipeline.clip_image_processor.save_pretrained(folder / "clip_image_encoder")
    _write_magi(pipeline, folder / "magi_image_encoder")


def _write_magi(pipeline: DiffSenseiPipeline, folder: Path) -> None:
    """Through safetensors, since saving is what gives the tensors back the names checkpoints are stored under."""
    pipeline.magi_image_encoder.save_pretrained(folder, max_shard_size="1TB")
    named = folder / "model.safetensors"
    torch.save(load_file(named), folder / PICKLED)
    named.unlink()
    pipeline.magi_image_processor.save_pretrained(folder)


def _write_mllm(pipeline: DiffSenseiPipeline, folder: Path, max_shard_size: str) -> None:
    pipeline.llm_tokenizer.save_pretrained(folder / "tokenizer")
    pipeline.llm.save_pretrained(folder / "llm", max_shard_size=max_shard_size)
    _pickle(pipeline.agent, folder / "agent")
    settings = {
        "heads": pipeline.agent.config["heads"],
        "max_caption_tokens": pipeline.config["max_caption_tokens"],
    }
    _write_json(folder / "agent" / "config.json", settings)


def _pickle(module: nn.Module, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(dict(module.state_dict()), folder / PICKLED)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
