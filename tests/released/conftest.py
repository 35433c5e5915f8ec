"""A folder in the released layout at tiny size, and checkpoints of its training.

Tensors are named here by hand, from the tables of the released files, and not by asking the modules that will read
them; only what is stock there too (SDXL's UNet, text encoders and autoencoder) comes from the libraries.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffsensei.models  # noqa: F401  before diffusers: torchvision must be importable beside a CPU build of torch

# isort: split

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file
from sentencepiece import sentencepiece_model_pb2
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from diffsensei.config.schema import SamplingConfig
from diffsensei.inference.request import CharacterRequest, PanelRequest

State = dict[str, Tensor]

QUERIES, CHARACTERS = 4, 4
TEXT = 16
WIDTH = 2 * TEXT
POOLED = 12
CLIP, MAGI = 24, 16
LLM, LLM_LAYERS, LLM_FFN = 64, 2, 48
LLM_LINEAR = {
    "self_attn.q_proj": (LLM, LLM),
    "self_attn.k_proj": (LLM, LLM),
    "self_attn.v_proj": (LLM, LLM),
    "self_attn.o_proj": (LLM, LLM),
    "mlp.gate_proj": (LLM_FFN, LLM),
    "mlp.up_proj": (LLM_FFN, LLM),
    "mlp.down_proj": (LLM, LLM_FFN),
}
"""(out, in) of the linear layers of one block."""
CROSS_ATTENTION = {
    "down_blocks.1.attentions.0": 1,
    "up_blocks.0.attentions.0": 1,
    "up_blocks.0.attentions.1": 1,
    "mid_block.attentions.0": 1,
}
"""Transformers of the tiny UNet and how many blocks each has; all are 64 wide."""
UNET_CONFIG = {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.21.0",
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [32, 64],
    "layers_per_block": 1,
    "transformer_layers_per_block": [1, 1],
    "attention_head_dim": [2, 4],
    "cross_attention_dim": WIDTH,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": POOLED + 6 * 8,
}


def draw(*shape: int, scale: float = 0.2) -> Tensor:
    return scale * torch.randn(*shape)


def norm(name: str, width: int) -> State:
    return {f"{name}.weight": 1 + draw(width), f"{name}.bias": draw(width)}


def linear(name: str, out: int, width: int, bias: bool = True) -> State:
    return {f"{name}.weight": draw(out, width)} | ({f"{name}.bias": draw(out)} if bias else {})


def stock_unet() -> State:
    unet = UNet2DConditionModel.from_config(UNET_CONFIG)
    return {name: tensor.clone() for name, tensor in unet.state_dict().items()}


def manga_unet() -> State:
    """SDXL's tensors, character keys and values in every cross-attention, and the dialog embedding."""
    state = stock_unet()
    for transformer, blocks in CROSS_ATTENTION.items():
        for block in range(blocks):
            processor = f"{transformer}.transformer_blocks.{block}.attn2.processor"
            state[f"{processor}.to_k_ip.weight"] = draw(64, WIDTH)
            state[f"{processor}.to_v_ip.weight"] = draw(64, WIDTH, scale=1.0)
    return state | {"dialog_bbox_embedding": torch.randn(32)}


def resampler() -> State:
    dim, inner = 16, 2 * 64
    state = {"latents": draw(1, QUERIES, dim), "dummy_tokens": draw(QUERIES, WIDTH)}
    state |= linear("proj_in", dim, CLIP) | linear("proj_in_magi", dim, MAGI)
    for layer in range(2):
        attention, mlp = f"layers.{layer}.0", f"layers.{layer}.1"
        state |= norm(f"{attention}.norm1", dim) | norm(f"{attention}.norm2", dim)
        state |= linear(f"{attention}.to_q", inner, dim, bias=False)
        state |= linear(f"{attention}.to_kv", 2 * inner, dim, bias=False)
        state |= linear(f"{attention}.to_out", dim, inner, bias=False)
        state |= norm(f"{mlp}.0", dim)
        state |= linear(f"{mlp}.1", 4 * dim, dim, bias=False) | linear(f"{mlp}.3", dim, 4 * dim, bias=False)
    return state | linear("proj_out", WIDTH, dim) | norm("norm_out", WIDTH)


def agent(positions: bool = True) -> State:
    state: State = {}
    for prefix, embed, width in (("input_resampler", LLM, WIDTH), ("output_resampler", WIDTH, LLM)):
        state |= {f"{prefix}.pos_embed": draw(CHARACTERS * QUERIES, embed)} if positions else {}
        state |= {f"{prefix}.query": draw(CHARACTERS * QUERIES, embed)}
        state |= linear(f"{prefix}.kv_proj", embed, width, bias=False)
        state |= {f"{prefix}.attn.in_proj_weight": draw(3 * embed, embed)}
        state |= {f"{prefix}.attn.in_proj_bias": draw(3 * embed)}
        state |= linear(f"{prefix}.attn.out_proj", embed, embed)
        state |= norm(f"{prefix}.ln_q", embed) | norm(f"{prefix}.ln_kv", embed)
    return state


def llama(rows: int) -> State:
    state = {"model.embed_tokens.weight": draw(rows, LLM), "lm_head.weight": draw(rows, LLM)}
    for layer in range(LLM_LAYERS):
        block = f"model.layers.{layer}"
        for name, (out, width) in LLM_LINEAR.items():
            state |= linear(f"{block}.{name}", out, width, bias=False)
        state |= {f"{block}.input_layernorm.weight": 1 + draw(LLM)}
        state |= {f"{block}.post_attention_layernorm.weight": 1 + draw(LLM)}
        state |= {f"{block}.self_attn.rotary_emb.inv_freq": 10000.0 ** -(torch.arange(0, 32, 2) / 32)}
    return state | {"model.norm.weight": 1 + draw(LLM)}


def llm_changes(rank: int, name: str = ".default") -> State:
    """What stage 2 of the reference code trains in the language model, under peft's names."""
    base = "llm.base_model.model"
    state: State = {}
    for layer in range(LLM_LAYERS):
        block = f"{base}.model.layers.{layer}"
        for module, (out, width) in LLM_LINEAR.items():
            state[f"{block}.{module}.lora_A{name}.weight"] = draw(rank, width)
            state[f"{block}.{module}.lora_B{name}.weight"] = draw(out, rank)
        for learnt in ("input_layernorm", "post_attention_layernorm"):
            state[f"{block}.{learnt}.modules_to_save{name}.weight"] = 1 + draw(LLM)
    return state | {f"{base}.model.norm.modules_to_save{name}.weight": 1 + draw(LLM)}


def clip_vision() -> State:
    top, ffn = "vision_model", 32
    state = {
        f"{top}.embeddings.class_embedding": draw(CLIP),
        f"{top}.embeddings.patch_embedding.weight": draw(CLIP, 3, 14, 14, scale=0.02),
        f"{top}.embeddings.position_embedding.weight": draw(5, CLIP),
        f"{top}.embeddings.position_ids": torch.arange(5).expand(1, -1).clone(),
        "visual_projection.weight": draw(10, CLIP),
    }
    state |= norm(f"{top}.pre_layrnorm", CLIP) | norm(f"{top}.post_layernorm", CLIP)
    for layer in range(3):
        block = f"{top}.encoder.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            state |= linear(f"{block}.self_attn.{part}", CLIP, CLIP)
        state |= norm(f"{block}.layer_norm1", CLIP) | norm(f"{block}.layer_norm2", CLIP)
        state |= linear(f"{block}.mlp.fc1", ffn, CLIP) | linear(f"{block}.mlp.fc2", CLIP, ffn)
    return state


def magi() -> State:
    """A ViT-MAE encoder under the names transformers used until its version 5."""
    ffn = 24
    state = {
        "embeddings.cls_token": draw(1, 1, MAGI),
        "embeddings.position_embeddings": draw(1, 5, MAGI),
        "embeddings.patch_embeddings.projection.weight": draw(MAGI, 3, 16, 16, scale=0.02),
        "embeddings.patch_embeddings.projection.bias": draw(MAGI),
    }
    for layer in range(2):
        block = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            state |= linear(f"{block}.attention.attention.{part}", MAGI, MAGI)
        state |= linear(f"{block}.attention.output.dense", MAGI, MAGI)
        state |= linear(f"{block}.intermediate.dense", ffn, MAGI) | linear(f"{block}.output.dense", MAGI, ffn)
        state |= norm(f"{block}.layernorm_before", MAGI) | norm(f"{block}.layernorm_after", MAGI)
    return state | norm("layernorm", MAGI)


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def pickle_state(path: Path, state: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)


def write_clip_tokenizer(folder: Path) -> int:
    """OpenAI's format (``vocab.json``, ``merges.txt``) over letters; returns the number of tokens."""
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    pieces = [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        "gi",
        "rl</w>",
        "girl</w>",
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    write_json(folder / "vocab.json", {piece: number for number, piece in enumerate(pieces)})
    (folder / "merges.txt").write_text("#version: 0.2\ng i\nr l</w>\ngi rl</w>\n")
    specials = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    write_json(folder / "special_tokens_map.json", specials | {"pad_token": "<|endoftext|>"})
    write_json(
        folder / "tokenizer_config.json",
        specials | {"tokenizer_class": "CLIPTokenizer", "model_max_length": 9, "pad_token": "<|endoftext|>"},
    )
    return len(pieces)


def write_text_encoders(folder: Path) -> None:
    for number, model_class in (("", CLIPTextModel), ("_2", CLIPTextModelWithProjection)):
        tokens = write_clip_tokenizer(folder / f"tokenizer{number}")
        config = CLIPTextConfig(
            vocab_size=tokens,
            hidden_size=TEXT,
            intermediate_size=24,
            num_hidden_layers=3,
            num_attention_heads=2,
            max_position_embeddings=9,
            projection_dim=POOLED,
            bos_token_id=tokens - 2,
            eos_token_id=tokens - 1,
        )
        place = folder / f"text_encoder{number}"
        model_class(config).save_pretrained(place)
        named = load_file(place / "model.safetensors")
        named["text_model.embeddings.position_ids"] = torch.arange(9).expand(1, -1).clone()
        save_file(named, place / "model.safetensors", metadata={"format": "pt"})


def write_llm_tokenizer(folder: Path) -> int:
    """SentencePiece's format with byte fallback, image tokens in a file of their own; returns how many there are."""
    model = sentencepiece_model_pb2.ModelProto()
    words = ["▁a", "▁b", "oy", "▁boy", "▁r", "un", "▁run", "▁", "a", "b", "o", "y", "r", "u", "n"]
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    pieces += [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    pieces += [(word, -float(rank), 1) for rank, word in enumerate(words)]
    for piece, score, kind in pieces:
        added = model.pieces.add()
        added.piece, added.score, added.type = piece, score, kind
    model.trainer_spec.model_type = 2
    model.trainer_spec.byte_fallback = True
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = False
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    image = ["<img>", "</img>", *(f"<img_{slot:05d}>" for slot in range(CHARACTERS * QUERIES)), "<patch>"]
    ids = {token: len(pieces) + number for number, token in enumerate(image)}
    write_json(folder / "added_tokens.json", dict(sorted(ids.items())))
    specials = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    write_json(folder / "special_tokens_map.json", specials | {"pad_token": "<unk>"})
    write_json(
        folder / "tokenizer_config.json",
        specials | {"tokenizer_class": "LlamaTokenizer", "legacy": False, "pad_token": None, "sp_model_kwargs": {}},
    )
    return len(pieces) + len(image)


def write_llm(folder: Path, rows: int) -> State:
    """In two shards of safetensors with an index."""
    write_json(
        folder / "config.json",
        {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": rows,
            "hidden_size": LLM,
            "intermediate_size": LLM_FFN,
            "num_hidden_layers": LLM_LAYERS,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 256,
            "rms_norm_eps": 1e-05,
            "rope_theta": 10000.0,
            "rope_scaling": None,
            "pretraining_tp": 1,
            "transformers_version": "4.30.2",
            "tie_word_embeddings": False,
            "torch_dtype": "float32",
        },
    )
    write_json(folder / "generation_config.json", {"do_sample": False, "temperature": 0.9, "top_p": 0.6})
    state = llama(rows)
    names = sorted(state)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for shard, kept in shards.items():
        save_file({name: state[name] for name in kept}, folder / shard, metadata={"format": "pt"})
    weight_map = {name: shard for shard, kept in shards.items() for name in kept}
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    return state


VERBOSE = {
    "_attn_implementation_autoset": True,
    "_name_or_path": "",
    "architectures": None,
    "bad_words_ids": None,
    "chunk_size_feed_forward": 0,
    "diversity_penalty": 0.0,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "is_decoder": False,
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "max_length": 20,
    "num_beams": 1,
    "output_hidden_states": False,
    "pruned_heads": {},
    "return_dict": True,
    "task_specific_params": None,
    "temperature": 1.0,
    "tf_legacy_loss": False,
    "tie_word_embeddings": True,
    "tokenizer_class": None,
    "torch_dtype": None,
    "torchscript": False,
    "use_bfloat16": False,
}
"""What configurations nested in others, as Magi's was, carried along in older versions of transformers."""


def write_scheduler(folder: Path) -> None:
    settings = {
        "_class_name": "EulerDiscreteScheduler",
        "_diffusers_version": "0.19.0.dev0",
        "clip_sample": False,
        "interpolation_type": "linear",
        "sample_max_value": 1.0,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "trained_betas": None,
        "use_karras_sigmas": False,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "num_train_timesteps": 1000,
        "prediction_type": "epsilon",
        "steps_offset": 1,
        "timestep_spacing": "leading",
    }
    write_json(folder / "scheduler_config.json", settings)


@dataclass(frozen=True)
class Release:
    """The folder, and what was written into it by name."""

    folder: Path
    unet: State
    resampler: State
    magi: State
    clip: State
    agent: State
    llm: State


def write_release(folder: Path) -> Release:
    torch.manual_seed(0)
    generator, mllm = folder / "image_generator", folder / "mllm"
    write_json(generator / "model_index.json", {"_class_name": "StableDiffusionXLPipeline"})
    write_scheduler(generator / "scheduler")
    write_text_encoders(generator)
    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        block_out_channels=[32, 32],
        latent_channels=4,
        scaling_factor=0.13025,
    )
    vae.save_pretrained(generator / "vae")
    unet, projector = manga_unet(), resampler()
    write_json(
        generator / "unet" / "config.json", UNET_CONFIG | {"_class_name": "UNetMangaModel", "a_knob_of_theirs": 1}
    )
    # Parameters, not only tensors, lie in the released pickle.
    pickled = unet | {"dialog_bbox_embedding": torch.nn.Parameter(unet["dialog_bbox_embedding"])}
    pickle_state(generator / "unet" / "pytorch_model.bin", pickled)
    pickle_state(generator / "image_proj_model" / "pytorch_model.bin", projector)

    sizes = {"num_attention_heads": 2, "num_channels": 3}
    clip_config = {"model_type": "clip_vision_model", "architectures": ["CLIPVisionModelWithProjection"]} | sizes
    clip_config |= {"hidden_size": CLIP, "intermediate_size": 32, "image_size": 28, "patch_size": 14}
    write_json(
        generator / "clip_image_encoder" / "config.json",
        clip_config | {"num_hidden_layers": 3, "projection_dim": 10, "hidden_act": "gelu"},
    )
    clip = clip_vision()
    save_file(clip, generator / "clip_image_encoder" / "model.safetensors", metadata={"format": "pt"})

    magi_config = {
        "model_type": "vit_mae",
        "hidden_size": MAGI,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
    } | sizes
    write_json(
        generator / "magi_image_encoder" / "config.json",
        VERBOSE | magi_config | {"image_size": 32, "patch_size": 16, "mask_ratio": 0.75},
    )
    encoder = magi()
    pickle_state(generator / "magi_image_encoder" / "pytorch_model.bin", encoder)

    rows = write_llm_tokenizer(mllm / "tokenizer")
    llm = write_llm(mllm / "llm", rows)
    resamplers = agent()
    pickle_state(mllm / "agent" / "pytorch_model.bin", resamplers)
    return Release(folder, unet, projector, encoder, clip, resamplers, llm)


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Written once; copy it before changing anything."""
    return write_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def sampling() -> SamplingConfig:
    return SamplingConfig(
        steps=3, guidance_scale=2.0, character_scale=0.6, adapter_blend=0.4, negative_prompt="", batch_size=2
    )


@pytest.fixture(scope="session")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("references")
    stream = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(stream.integers(0, 256, (40, 30), dtype=np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="session")
def panel() -> PanelRequest:
    return PanelRequest(
        panel_id="panel",
        height=32,
        width=32,
        caption="a girl runs",
        characters=(
            CharacterRequest(id="a", box=(0.0, 0.1, 0.5, 1.0), reference="a.png"),
            CharacterRequest(id="b", box=(0.5, 0.2, 1.0, 0.9), reference="b.png"),
        ),
        dialogs=((0.1, 0.0, 0.6, 0.3),),
        seed=11,
    )


@pytest.fixture(scope="session")
def changes_of_rank() -> Any:
    """`llm_changes`, always the same for the same arguments."""

    def changes(rank: int, name: str = ".default") -> State:
        torch.manual_seed(rank)
        return llm_changes(rank, name)

    return changes
