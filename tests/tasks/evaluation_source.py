"""What there is before Manga109 comes: small drawn data to train on, and a pre-trained UNet, here of random weights."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import diffsensei.models  # noqa: F401  before transformers: torchvision must be importable beside a CPU build of torch

# isort: split

import pytest
import torch

from diffsensei.config import ExperimentConfig, load_preset
from diffsensei.config.schema import SyntheticSource
from diffsensei.foundations.loading import load_text_encoder, load_vae
from diffsensei.models.text import text_widths
from diffsensei.models.unet import build_unet, save_unet
from infra.stage import Stage
from tasks.stages import pipeline_stages
from tests.data.annotation.tiny_chat_server import Log, serve_chat
from tests.tasks.carried_out import carry_out

TRAINED_WORLD = SyntheticSource(num_series=2, pages_per_series=4, page_height=240, seed=1)
OTHER_WORLD = TRAINED_WORLD.replaced(pages_per_series=3, seed=5)
METHODS = ("storydiffusion", "sdxl_t2i")
"""Those that draw with the pre-trained UNet alone: a compared one and one of the DiffSensei family."""
DATA = ("annotations", "download", "validate", "panels")


@dataclass(frozen=True)
class Trained:
    """Results by stage, and the server that captions."""

    results: dict[str, Path]
    captions: Log

    def config(self, manga109: Path) -> ExperimentConfig:
        """Preset tiny, made small, with ``manga109`` to evaluate on."""
        source = {"kind": "manga109", "root": str(manga109), "accept_terms": True, "pages_per_book": 2}
        return load_preset(
            "tiny",
            [
                f"data.source={TRAINED_WORLD.model_dump_json()}",
                f"data.evaluation_source={json.dumps(source)}",
                "data.annotation.captioner.backend=openai",
                "data.annotation.captioner.model=seer",
                f"data.annotation.captioner.server={self.captions.url}",
                "sampling.steps=2",
                "baselines.storydiffusion.sampling.steps=2",
                "evaluation.bootstrap_resamples=50",
                "runtime.num_threads=1",
            ],
        )


@contextmanager
def trained_before(folder: Path) -> Iterator[Trained]:
    """Everything below ``folder``, which the environment names as the store's place meanwhile."""
    (folder / "manga109").mkdir()
    with pytest.MonkeyPatch.context() as patch, serve_chat() as captions, ThreadPoolExecutor(2) as executor:
        patch.setenv("DIFFSENSEI_STORE", str(folder / "store"))
        patch.setenv("DIFFSENSEI_LIMITS", str(folder / "limits"))
        torch.set_num_threads(1)
        found = Trained({"pretrain": folder / "pretrain"}, captions)
        config = found.config(folder / "manga109")
        write_pretrained(config, folder / "pretrain")
        stages = [stage for stage in pipeline_stages(config) if stage.name in DATA]
        carry_out(stages, config, found.results, folder, executor)
        yield found


def write_pretrained(config: ExperimentConfig, folder: Path) -> None:
    """What the stage ``pretrain`` leaves to those that draw with it."""
    torch.manual_seed(0)
    names = config.model.foundations
    width, pooled = text_widths([load_text_encoder(names.text_encoder), load_text_encoder(names.text_encoder_2)])
    channels = load_vae(names.vae).config["latent_channels"]
    unet = build_unet(config.model.unet, in_channels=channels, cross_attention_dim=width, pooled_dim=pooled)
    save_unet(unet, folder / "unet")


def evaluation_stages(config: ExperimentConfig) -> list[Stage]:
    """The stages of the second benchmark, for `METHODS` alone."""
    stages = [stage for stage in pipeline_stages(config) if stage.name.startswith("evaluation_")]
    left_out = {
        stage.name
        for stage in stages
        if stage.name.startswith("evaluation_generate_") and not stage.name.endswith(METHODS)
    }
    return [
        replace(stage, inputs={name: source for name, source in stage.inputs.items() if source not in left_out})
        for stage in stages
        if stage.name not in left_out
    ]
