"""A released SEED-Story, written here by hand with peft's older names, becomes the outputs of both stages."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from diffsensei.baselines.seed_story.detokenizer import FeatureResampler
from diffsensei.baselines.seed_story.method import NO_FIRST_STAGE
from diffsensei.baselines.seed_story.released import import_seed_story
from diffsensei.baselines.seed_story.resamplers import StoryResamplers
from diffsensei.baselines.seed_story.stages import build_seed_story
from diffsensei.config.baselines import SeedStoryConfig
from diffsensei.config.presets import tiny
from diffsensei.foundations.loading import load_clip_image_encoder, load_llm, load_text_encoder
from diffsensei.models.text import text_widths
from diffsensei.models.unet import build_unet, save_unet
from flows.cli import app
from tests.baselines.asked import Asked
from tests.baselines.trained import TEXT, weights_in

RANK, ALPHA = 2, 16.0
SIZES = {"dim": 16, "depth": 1, "heads": 2, "head_dim": 8, "num_queries": 4}
PREFIX = "llm.base_model.model."
NETWORKS = ("llm/model", *(f"{name}/diffusion_pytorch_model" for name in ("resampler", "resamplers", "unet")))
PAGE = (Asked("0", "a boy runs", given="first.png"), Asked("1", "a girl laughs", seed=1))


@pytest.fixture(scope="module")
def recipe(world: Any) -> SeedStoryConfig:
    config = tiny().baselines.seed_story
    language = config.language.replaced(num_slots=4, resampler_heads=2, lora_rank=RANK, lora_alpha=ALPHA)
    return config.replaced(
        visual_encoder=world.foundations["clip_image_encoder"],
        llm=world.foundations["llm"],
        language=language.model_dump(),
        resampler=SIZES,
        sampling=config.sampling.replaced(steps=1).model_dump(),
    )


@pytest.fixture(scope="module")
def written(world: Any, experiment: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Path]:
    """The state dicts of both files, and the folder of the networks that they describe."""
    torch.manual_seed(0)
    own = tmp_path_factory.mktemp("own")
    loaded = load_llm(world.foundations["llm"])
    llm = loaded.model
    vision = load_clip_image_encoder(world.foundations["clip_image_encoder"]).model.config
    resamplers = StoryResamplers(
        4, (vision.image_size // vision.patch_size) ** 2, vision.hidden_size, llm.config.hidden_size, 2
    )
    agent = {name: tensor.clone() for name, tensor in resamplers.state_dict().items()}
    for name, parameter in llm.named_parameters():
        module = name.removesuffix(".weight")
        if name.endswith("_proj.weight"):
            down, up = 0.2 * torch.randn(RANK, parameter.shape[1]), 0.2 * torch.randn(parameter.shape[0], RANK)
            agent[f"{PREFIX}{module}.lora_A.default.weight"] = down
            agent[f"{PREFIX}{module}.lora_B.default.weight"] = up
            parameter.data = parameter.data + ALPHA / RANK * (up @ down)
        elif "layernorm" in name or "embed_tokens" in name or "lm_head" in name:
            parameter.data = parameter.data + 0.1 * torch.randn_like(parameter)
            agent[f"{PREFIX}{module}.modules_to_save.default.weight"] = parameter.data.clone()
    llm.save_pretrained(own / "llm")
    loaded.tokenizer.save_pretrained(own / "llm")
    resamplers.save_pretrained(own / "resamplers")

    encoders = [load_text_encoder(world.foundations[name]) for name in TEXT]
    width, pooled = text_widths(encoders)
    unet = build_unet(experiment.model.unet, in_channels=4, cross_attention_dim=width, pooled_dim=pooled)
    save_unet(unet, own / "unet")
    first = encoders[0].model.config.hidden_size
    resampler = FeatureResampler(
        **SIZES, feature_dim=vision.hidden_size, first_dim=first, second_dim=width - first, pooled_dim=pooled
    )
    resampler.save_pretrained(own / "resampler")
    drawing = {f"unet.{name}": tensor for name, tensor in unet.state_dict().items()}
    drawing |= {f"resampler.{name}": tensor for name, tensor in resampler.state_dict().items()}
    return agent, drawing, own


def convert(
    world: Any, experiment: Any, recipe: SeedStoryConfig, agent: Any, drawing: Any, root: Path, base: Path | None = None
) -> Path:
    torch.save(agent, root / "agent.bin")
    torch.save(drawing, root / "drawing.bin")
    llm, output = Path(world.foundations["llm"]), root / "imported"
    files = root / "agent.bin", root / "drawing.bin"
    import_seed_story(*files, base or llm, llm, recipe, experiment.model.unet, output)
    return output


def test_it_draws_as_the_networks_it_was_written_from(
    world: Any, experiment: Any, recipe: SeedStoryConfig, written: tuple[Any, Any, Path], tmp_path: Path
) -> None:
    agent, drawing, own = written
    imported = convert(world, experiment, recipe, agent, drawing, tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 20), dtype=np.uint8)).save(tmp_path / "first.png")
    foundations = experiment.model.foundations.replaced(**world.named(*TEXT, "vae"))
    drawn = []
    for folder in (own, imported):
        method = build_seed_story(recipe, "given", foundations, folder, folder, torch.device("cpu"))
        drawn.append({name: i.tobytes() for name, i in method.generate([PAGE], tmp_path, recipe.sampling)})
        assert NO_FIRST_STAGE not in method.deviations
    assert drawn[0] == drawn[1]


def test_the_base_may_lack_the_rows_of_image_tokens(
    world: Any, experiment: Any, recipe: SeedStoryConfig, written: tuple[Any, Any, Path], tmp_path: Path
) -> None:
    base = load_llm(world.foundations["llm"]).model
    base.resize_token_embeddings(base.config.vocab_size - 6)
    base.save_pretrained(tmp_path / "base")
    imported = convert(world, experiment, recipe, *written[:2], tmp_path, tmp_path / "base")
    wanted, got = (load_llm(str(folder / "llm")).model.state_dict() for folder in (written[2], imported))
    assert all(torch.equal(wanted[name], tensor) for name, tensor in got.items())


@pytest.mark.parametrize(
    ("of_agent", "name"),
    [
        (True, "output_resampler.ln_q.weight"),
        (True, f"{PREFIX}lm_head.modules_to_save.default.weight"),
        (True, f"{PREFIX}model.layers.0.self_attn.q_proj.lora_A.default.weight"),
        (False, "unet.conv_in.weight"),
        (False, "resampler.unet_attnpool.c_proj.bias"),
    ],
)
@pytest.mark.parametrize("fault", ["missing", "another shape", "left over"])
def test_what_does_not_fit_is_refused_in_one_line(
    world: Any,
    experiment: Any,
    recipe: SeedStoryConfig,
    written: tuple[Any, Any, Path],
    tmp_path: Path,
    of_agent: bool,
    name: str,
    fault: str,
) -> None:
    agent, drawing = dict(written[0]), dict(written[1])
    state = agent if of_agent else drawing
    if fault == "left over":
        state[f"more.{name}"] = state[name]
    elif fault == "missing":
        del state[name]
    else:
        state[name] = state[name][:1, ..., :1] if state[name].ndim > 1 else state[name][:1]
    with pytest.raises(ValueError, match=r"\.bin|language model") as refused:
        convert(world, experiment, recipe, agent, drawing, tmp_path)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "imported").exists()


def test_the_command_converts_or_says_in_one_line_why_not(
    world: Any, experiment: Any, recipe: SeedStoryConfig, written: tuple[Any, Any, Path], tmp_path: Path
) -> None:
    agent, drawing, own = written
    torch.save(agent, tmp_path / "agent.bin")
    torch.save(drawing, tmp_path / "drawing.bin")
    llm = world.foundations["llm"]
    settings = {f"baselines.seed_story.resampler.{name}": value for name, value in SIZES.items()}
    for name in ("num_slots", "resampler_heads", "lora_alpha"):
        settings[f"baselines.seed_story.language.{name}"] = getattr(recipe.language, name)
    for name, value in experiment.model.unet.model_dump(mode="json").items():
        settings[f"model.unet.{name}"] = value
    sets = [word for path, value in settings.items() for word in ("--set", f"{path}={value}")]

    def invoke(agent: str, output: str) -> tuple[int, str, str]:
        files = [str(tmp_path / name) for name in (agent, "drawing.bin")]
        places = ["--llm", llm, "--tokenizer", llm, "--output", str(tmp_path / output)]
        done = CliRunner().invoke(app, ["import", "seed-story", *files, *places, "--preset", "tiny", *sets])
        return done.exit_code, done.stdout, done.stderr

    assert invoke("agent.bin", "imported") == (0, f"{tmp_path / 'imported'}\n", "")
    wanted, got = weights_in(own), weights_in(tmp_path / "imported")
    assert got.keys() == wanted.keys() == {f"{name}.safetensors" for name in NETWORKS}
    for name in got:
        saved, converted = (load_file(folder / name) for folder in (own, tmp_path / "imported"))
        for key, tensor in saved.items():
            torch.testing.assert_close(converted[key], tensor, atol=1e-6, rtol=1e-5)

    code, out, err = invoke("nowhere.bin", "other")
    assert (code, out) == (2, "")
    assert err.startswith("error: expected nowhere.bin in ")
    assert err.count("\n") == 1
    assert not (tmp_path / "other").exists()
