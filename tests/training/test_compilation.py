"""Compiled blocks: the same losses, and weights under the same names."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor
from torch._dynamo.utils import counters
from torch._inductor import config as inductor_config

from diffsensei.config.schema import TrainStageConfig, UNetConfig
from diffsensei.models.compilation import compile_blocks
from diffsensei.models.unet import add_manga_conditions, build_unet, load_unet, save_unet
from diffsensei.training.batch import PanelBatch
from diffsensei.training.image_generator import ImageGeneratorObjective
from diffsensei.training.trainer import TrainableStage, train
from tests.training.small_networks import QUERIES, WIDTH, some_batch, some_resampler

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel  # isort: skip

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs the C++ compiler g++")
SIZES = ((8, 6), (4, 12), (10, 8), (12, 4))
"""Latents of a few buckets."""
CONFIG = TrainStageConfig(
    steps=12,
    learning_rate=1e-3,
    warmup_steps=0,
    decay_steps=0,
    weight_decay=0.01,
    max_grad_norm=1.0,
    global_batch_size=(2,),
    micro_batch_size=(2,),
    checkpoint_every_steps=6,
)


class Panels:
    """The small batch on latents of another size at every step; ``graphs``: how many were compiled before each."""

    def __init__(self) -> None:
        self.graphs: list[int] = []

    def num_parts(self, step: int) -> int:
        return 1

    def num_items(self, step: int) -> int:
        return 2

    def batch(self, step: int, part: int, device: torch.device) -> PanelBatch:
        self.graphs.append(counters["stats"]["unique_graphs"])
        moments = torch.randn(2, 8, *SIZES[step % len(SIZES)], generator=torch.Generator().manual_seed(step))
        return replace(some_batch(), moments=moments)


def one_level_unet() -> UNet2DConditionModel:
    """One width, so that the compiler has little to do."""
    torch.manual_seed(0)
    config = UNetConfig(
        block_out_channels=(32,),
        transformer_layers_per_block=(1,),
        layers_per_block=1,
        attention_head_dim=(2,),
        addition_time_embed_dim=8,
    )
    unet = build_unet(config, in_channels=4, cross_attention_dim=WIDTH, pooled_dim=8)
    add_manga_conditions(unet, QUERIES)
    return unet


def fit(unet: UNet2DConditionModel, workspace: Path, panels: Panels) -> dict[str, Tensor]:
    workspace.mkdir(exist_ok=True)
    objective = ImageGeneratorObjective(unet, some_resampler(), 0.5)
    accelerator = Accelerator(cpu=True)
    stage = TrainableStage("stage1", objective, panels)
    train(stage, CONFIG, accelerator=accelerator, seed=3, log_every_steps=1, workspace=workspace)
    return {name: tensor.clone() for name, tensor in objective.state_dict().items()}


@pytest.mark.slow
@needs_compiler
def test_compiled_blocks_train_as_plain_ones(tmp_path: Path) -> None:
    plain = fit(one_level_unet(), tmp_path / "plain", Panels())
    network = one_level_unet()
    compile_blocks(network)
    counters.clear()
    panels = Panels()
    compiled = fit(network, tmp_path / "compiled", panels)

    assert list(compiled) == list(plain)
    logs = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("plain", "compiled")]
    losses = [[json.loads(line)["train/loss"] for line in lines] for lines in logs]
    assert len(losses[0]) == CONFIG.steps
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert not counters["graph_break"]
    assert 0 < panels.graphs[1] <= 4
    assert panels.graphs[1] == counters["stats"]["unique_graphs"]  # other sizes need no others

    save_unet(network, tmp_path / "unet")
    assert load_unet(tmp_path / "unet").state_dict().keys() == one_level_unet().state_dict().keys()
    folder = "checkpoints/step-00000012/weights.safetensors"
    assert load_file(tmp_path / "plain" / folder).keys() == load_file(tmp_path / "compiled" / folder).keys()


def test_a_machine_without_a_compiler_is_told_so() -> None:
    with (
        inductor_config.patch({"cpp.cxx": (None, "no-such-compiler")}),
        pytest.raises(ValueError, match="expected a C\\+\\+ compiler, found none"),
    ):
        compile_blocks(one_level_unet())


@needs_compiler
def test_only_transformer_blocks_are_compiled_and_names_stay() -> None:
    network = one_level_unet()
    names = list(network.state_dict())
    compile_blocks(network)
    kinds = {type(module).__name__ for module in network.modules() if module._compiled_call_impl is not None}
    assert kinds == {"BasicTransformerBlock"}
    assert list(network.state_dict()) == names
