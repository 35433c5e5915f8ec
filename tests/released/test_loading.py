"""A released folder is read whole, exactly and in one precision, or refused in one line."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffsensei.config.schema import SamplingConfig
from diffsensei.inference.pipeline import DiffSenseiPipeline
from diffsensei.inference.request import PanelRequest
from diffsensei.models.resampler import Resampler
from diffsensei.released.loading import load_released

UNET = "image_generator/unet/pytorch_model.bin"
RESAMPLER = "image_generator/image_proj_model/pytorch_model.bin"
MAGI = "image_generator/magi_image_encoder/pytorch_model.bin"
CLIP = "image_generator/clip_image_encoder/model.safetensors"
AGENT = "mllm/agent/pytorch_model.bin"
INDEX = "mllm/llm/model.safetensors.index.json"

Edit = Callable[[dict[str, Tensor]], Any]


@pytest.fixture(scope="module")
def pipeline(release: Any) -> DiffSenseiPipeline:
    return load_released(release.folder)


@pytest.fixture
def copied(release: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(release.folder, tmp_path / "release"))


def edit(path: Path, change: Edit) -> None:
    pickled = path.suffix == ".bin"
    state = torch.load(path, weights_only=True) if pickled else load_file(path)
    change(state)
    if pickled:
        torch.save(state, path)
    else:
        save_file(state, path, metadata={"format": "pt"})


def test_every_tensor_arrives_under_its_name(pipeline: DiffSenseiPipeline, release: Any) -> None:
    for network, written in (
        (pipeline.unet, release.unet),
        (pipeline.resampler, release.resampler),
        (pipeline.agent, release.agent),
        (pipeline.llm, {name: tensor for name, tensor in release.llm.items() if "inv_freq" not in name}),
        (pipeline.clip_image_encoder, {n: t for n, t in release.clip.items() if "position_ids" not in n}),
    ):
        own = network.state_dict()
        assert own.keys() == written.keys()
        for name, tensor in written.items():
            assert torch.equal(own[name], tensor), name
        assert not any(tensor.is_meta for tensor in [*network.parameters(), *network.buffers()])
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_magis_encoder_arrives_under_the_librarys_new_names(pipeline: DiffSenseiPipeline, release: Any) -> None:
    own = pipeline.magi_image_encoder.state_dict()
    assert len(own) == len(release.magi)
    old = {"q_proj": "attention.query", "k_proj": "attention.key", "v_proj": "attention.value"}
    for new_part, old_part in old.items():
        name = f"encoder.layer.1.attention.{old_part}.weight"
        assert torch.equal(own[f"layers.1.attention.{new_part}.weight"], release.magi[name])
    output = release.magi["encoder.layer.0.attention.output.dense.weight"]
    assert torch.equal(own["layers.0.attention.o_proj.weight"], output)
    assert torch.equal(own["layers.0.mlp.fc1.weight"], release.magi["encoder.layer.0.intermediate.dense.weight"])
    assert torch.equal(own["layers.0.mlp.fc2.weight"], release.magi["encoder.layer.0.output.dense.weight"])


def test_what_the_files_do_not_say_is_as_in_the_release(pipeline: DiffSenseiPipeline) -> None:
    assert pipeline.resampler.config["heads"] == 2
    assert pipeline.resampler.config["head_dim"] == 64
    assert pipeline.agent.config["heads"] == 32
    assert pipeline.config["max_caption_tokens"] == 77
    assert pipeline.unet.config["manga_conditions"]["num_queries"] == 4
    assert list(pipeline.magi_image_processor.image_mean) == [0.5] * 3
    assert pipeline.magi_image_processor.size["height"] == 32
    assert pipeline.clip_image_processor.do_center_crop
    assert pipeline.clip_image_processor.crop_size["height"] == 28


def test_the_resampler_computes_what_its_tensors_say(pipeline: DiffSenseiPipeline, release: Any) -> None:
    """Against the equations, written out for one character."""
    state, heads = release.resampler, 2
    torch.manual_seed(1)
    clip, magi = torch.randn(5, 24), torch.randn(16)

    def layer_norm(x: Tensor, name: str) -> Tensor:
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return x * state[f"{name}.weight"] + state[f"{name}.bias"]

    image = torch.cat(
        [
            clip @ state["proj_in.weight"].T + state["proj_in.bias"],
            (state["proj_in_magi.weight"] @ magi + state["proj_in_magi.bias"])[None],
        ]
    )
    latents = state["latents"][0]
    for layer in range(2):
        name = f"layers.{layer}.0"
        normed = layer_norm(latents, f"{name}.norm2")
        query = normed @ state[f"{name}.to_q.weight"].T
        both = torch.cat([layer_norm(image, f"{name}.norm1"), normed]) @ state[f"{name}.to_kv.weight"].T
        key, value = both[:, :128], both[:, 128:]
        mixed = []
        for head in range(heads):
            part = slice(64 * head, 64 * (head + 1))
            weights = (query[:, part] @ key[:, part].T / 8).softmax(-1)
            mixed.append(weights @ value[:, part])
        latents = latents + torch.cat(mixed, dim=1) @ state[f"{name}.to_out.weight"].T
        name = f"layers.{layer}.1"
        hidden = torch.nn.functional.gelu(layer_norm(latents, f"{name}.0") @ state[f"{name}.1.weight"].T)
        latents = latents + hidden @ state[f"{name}.3.weight"].T
    tokens = layer_norm(latents @ state["proj_out.weight"].T + state["proj_out.bias"], "norm_out")
    resampler: Resampler = pipeline.resampler
    computed = resampler(clip[None, None], magi[None, None], torch.tensor([[True]]))[0]
    torch.testing.assert_close(computed[:4], state["dummy_tokens"])
    torch.testing.assert_close(computed[4:], tokens, atol=1e-5, rtol=1e-4)


def test_it_draws_with_and_without_the_mllm(
    pipeline: DiffSenseiPipeline, release: Any, sampling: SamplingConfig, panel: PanelRequest, references: Path
) -> None:
    (image,) = pipeline([panel], references, sampling)
    assert (image.mode, image.size) == ("L", (32, 32))
    without = load_released(release.folder, with_mllm=False)
    assert without.llm is None
    (plain,) = without([panel], references, sampling)
    (unblended,) = pipeline([panel], references, sampling.replaced(adapter_blend=0.0))
    assert np.array_equal(np.asarray(plain), np.asarray(unblended))
    assert not np.array_equal(np.asarray(image), np.asarray(plain))


def test_everything_but_the_autoencoder_is_in_the_asked_precision(
    release: Any, sampling: SamplingConfig, panel: PanelRequest, references: Path
) -> None:
    pipeline = load_released(release.folder, dtype=torch.bfloat16)
    for name, component in pipeline.components.items():
        if isinstance(component, torch.nn.Module):
            kept = {parameter.dtype for parameter in component.parameters()}
            assert kept == {torch.float32 if name == "vae" else torch.bfloat16}, name
    assert torch.equal(pipeline.llm.lm_head.weight, release.llm["lm_head.weight"].bfloat16())
    (image,) = pipeline([panel], references, sampling)
    assert np.asarray(image).std() > 0


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        (UNET, lambda s: s.pop("dialog_bbox_embedding"), r"unet.* 1 missing: dialog_bbox_embedding$"),
        (UNET, lambda s: s.update(extra=torch.zeros(1)), r"1 unexpected: extra$"),
        (UNET, lambda s: s.update(dialog_bbox_embedding=torch.zeros(4)), r"another shape: dialog_bbox_embedding$"),
        (
            UNET,
            lambda s: [s.pop(name) for name in list(s) if ".down_blocks" in f".{name}"],
            r"missing: down_blocks.*and \d+ more",
        ),
        (RESAMPLER, lambda s: s.pop("latents"), r"expected a tensor latents with 3 dimensions"),
        (RESAMPLER, lambda s: s.pop("layers.1.0.to_q.weight"), r"unexpected: layers\.1\."),
        (RESAMPLER, lambda s: s.update({"norm_out.bias": torch.zeros(3)}), r"another shape: norm_out\.bias$"),
        (RESAMPLER, lambda s: s.update(note="words"), r"named tensors only, got others under \['note'\]"),
        (MAGI, lambda s: s.pop("layernorm.bias"), r"magi_image_encoder.* 1 missing: layernorm\.bias$"),
        (MAGI, lambda s: s.update({"decoder.bias": torch.zeros(3)}), r"1 unexpected: decoder\.bias$"),
        (MAGI, lambda s: s.update({"layernorm.bias": torch.zeros(3)}), r"another shape: layernorm\.bias$"),
        (CLIP, lambda s: s.pop("visual_projection.weight"), r"1 missing: visual_projection\.weight$"),
        (AGENT, lambda s: s.pop("output_resampler.ln_q.bias"), r"1 missing: output_resampler\.ln_q\.bias$"),
        (AGENT, lambda s: s.update({"other.weight": torch.zeros(2)}), r"1 unexpected: other\.weight$"),
        (
            "mllm/llm/model-00001-of-00002.safetensors",
            lambda s: s.pop("lm_head.weight"),
            r"index\.json: keys 1 missing: lm_head\.weight$",
        ),
        (
            "mllm/llm/model-00002-of-00002.safetensors",
            lambda s: s.update(rogue=torch.zeros(1)),
            r"index\.json: keys 1 unexpected: rogue$",
        ),
        (
            "mllm/llm/model-00001-of-00002.safetensors",
            lambda s: s.update({"lm_head.weight": torch.zeros(3, 64)}),
            r"another shape: lm_head\.weight$",
        ),
    ],
)
def test_tensors_must_be_exactly_those_of_the_networks(copied: Path, file: str, change: Edit, said: str) -> None:
    edit(copied / file, change)
    with pytest.raises(ValueError, match=said) as error:
        load_released(copied)
    assert "\n" not in str(error.value)


def test_only_the_buffers_of_existing_layers_are_passed_over(copied: Path) -> None:
    shard = copied / "mllm/llm/model-00001-of-00002.safetensors"
    edit(shard, lambda s: s.update({"model.layers.7.self_attn.rotary_emb.inv_freq": torch.zeros(4)}))
    index = copied / INDEX
    index.write_text(
        index.read_text().replace(
            '"weight_map": {', f'"weight_map": {{"{"model.layers.7.self_attn.rotary_emb.inv_freq"}": "{shard.name}", '
        )
    )
    with pytest.raises(ValueError, match=r"1 unexpected: model\.layers\.7\.self_attn\.rotary_emb\.inv_freq$"):
        load_released(copied)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (UNET, "expected pytorch_model.bin in .*unet, found none"),
        ("image_generator/unet/config.json", "expected config.json in .*unet, found none"),
        ("image_generator/scheduler/scheduler_config.json", "expected scheduler_config.json in .*scheduler"),
        ("image_generator/vae/diffusion_pytorch_model.safetensors", r"no \*\.safetensors in .*vae"),
        ("mllm/llm/model-00002-of-00002.safetensors", "expected model-00002-of-00002.safetensors in .*llm"),
        (INDEX, "expected model.safetensors or pytorch_model.bin, whole or in shards, in .*llm"),
        ("mllm/tokenizer/tokenizer.model", "expected tokenizer.json or tokenizer.model in .*tokenizer"),
        ("image_generator/model_index.json", "expected a released DiffSensei at"),
    ],
)
def test_missing_files_are_named(copied: Path, file: str, said: str) -> None:
    (copied / file).unlink()
    with pytest.raises(ValueError, match=said) as error:
        load_released(copied)
    assert "\n" not in str(error.value)


def test_without_the_mllms_folder_only_the_image_generator_loads(copied: Path) -> None:
    shutil.rmtree(copied / "mllm")
    with pytest.raises(ValueError, match="expected the language model in"):
        load_released(copied)
    assert load_released(copied, with_mllm=False).llm is None


def test_parts_of_different_releases_are_refused(copied: Path) -> None:
    def narrower(state: dict[str, Tensor]) -> None:
        for name in ("proj_out.weight", "proj_out.bias", "norm_out.weight", "norm_out.bias"):
            state[name] = state[name][:16].clone()
        state["dummy_tokens"] = state["dummy_tokens"][:, :16].clone()

    edit(copied / RESAMPLER, narrower)
    with pytest.raises(ValueError, match="cross-attention width 32 of the resampler, got 16"):
        load_released(copied)
