"""Training checkpoints of the reference code (``ckpt.pth``) as the outputs of this project's stages.

They are pickles of what was trained: ``{"unet_trained"}`` after text-to-image pre-training, ``{"image_proj",
"unet_trained"}`` after stage 1, and after stage 2 the flat state of the agent. DDP's ``module.`` may precede names.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from peft import get_peft_model_state_dict, set_peft_model_state_dict

from diffsensei.config.schema import REFERENCE, FidelityConfig, IdentityAdapterConfig, ModelConfig, UNetConfig
from diffsensei.foundations.locations import resolve
from diffsensei.foundations.reading import refuse_keys
from diffsensei.models.agent_resampler import AgentResamplers
from diffsensei.models.identity_adapter import LEARNT_NORMS, IdentityAdapter
from diffsensei.models.unet import add_manga_conditions, build_unet, save_unet
from diffsensei.released.changes import LanguageModelChanges, split_agent
from diffsensei.released.language_model import VOCABULARY_TABLES, load_llama
from diffsensei.released.networks import agent_from, resampler_from
from diffsensei.released.placement import whole_folder
from diffsensei.released.settings import GeneratorSettings
from diffsensei.released.stored import State, fill, first_shape, read_pickle, stored
from diffsensei.released.tokenizer import load_llm_tokenizer

CPU = torch.device("cpu")
UNET, RESAMPLER = "unet_trained", "image_proj"


def import_checkpoint(
    checkpoint: Path, model: ModelConfig, max_characters: int, output: Path, *, fidelity: FidelityConfig = REFERENCE
) -> list[Path]:
    """Convert ``checkpoint`` to the output of the stage that corresponds; returns the folders in ``output``.

    Pre-training gives ``unet/``; stage 1 ``unet/`` and ``resampler/``, which record ``fidelity``; stage 2 ``adapter/``
    and, where more was trained in the language model than the adapter holds (all of embedding and head; its norms
    without ``model.adapter.train_norms``), ``llm/``: the Llama of ``model.foundations.llm`` (a local folder) with that,
    which the adapter belongs to. ``model`` gives what tensors do not show, but for its own ``fidelity``: that is of
    training to come. Raises ValueError if tensors do not fit it.
    """
    settings = GeneratorSettings(head_dim=model.resampler.head_dim, max_characters=max_characters)
    content = read_pickle(checkpoint)
    with whole_folder(output) as aside:
        if UNET in content:
            _convert_image_generator(content, str(checkpoint), model.unet, settings.with_fidelity(fidelity), aside)
        else:
            state = _named(content, str(checkpoint))
            _convert_identity_adapter(state, str(checkpoint), model, max_characters, aside)
        return [output / path.name for path in sorted(aside.iterdir())]


def _convert_image_generator(
    content: dict[str, Any], source: str, config: UNetConfig, settings: GeneratorSettings, output: Path
) -> None:
    refuse_keys(source, missing=set(), unexpected=content.keys() - {UNET, RESAMPLER}, mismatched=set())
    num_queries = None
    if RESAMPLER in content:
        state = _named(content[RESAMPLER], f"{source} ({RESAMPLER})")
        resampler = resampler_from(state, f"{source} ({RESAMPLER})", settings, device=CPU, dtype=torch.float32)
        resampler.save_pretrained(output / "resampler")
        num_queries = resampler.config["num_queries"]
    state = _named(content[UNET], f"{source} ({UNET})")
    unet = unet_of_state(state, f"{source} ({UNET})", config, num_queries, settings)
    fill(unet, state, f"{source} ({UNET})", device=CPU, dtype=torch.float32)
    save_unet(unet, output / "unet")


def unet_of_state(
    state: State, source: str, config: UNetConfig, num_queries: int | None, settings: GeneratorSettings
) -> UNet2DConditionModel:
    text_key = next((name for name in state if name.endswith("attn2.to_k.weight")), "attn2.to_k.weight")
    embedding = first_shape(state, "add_embedding.linear_1.weight", 2, source)[1]
    with torch.device("meta"):
        unet = build_unet(
            config,
            in_channels=first_shape(state, "conv_in.weight", 4, source)[1],
            cross_attention_dim=first_shape(state, text_key, 2, source)[1],
            pooled_dim=embedding - 6 * config.addition_time_embed_dim,
        )
        if num_queries is not None:
            add_manga_conditions(unet, num_queries, max_characters=settings.max_characters, mask=settings.mask)
    return unet


def _convert_identity_adapter(state: State, source: str, model: ModelConfig, max_characters: int, output: Path) -> None:
    resamplers, changes = split_agent(state, model.adapter.lora_alpha, source)
    if changes is None or changes.rank is None:
        raise ValueError(
            f"{source}: expected a checkpoint of pre-training, stage 1 or stage 2 of the reference code, found neither "
            f"{UNET} nor LoRA factors of the language model; give its ckpt.pth"
        )
    agent = agent_from(resamplers, source, model.adapter.resampler_heads, device=CPU, dtype=torch.float32)
    num_queries, odd = divmod(agent.config["num_tokens"], max_characters)
    if odd:
        raise ValueError(
            f"{source}: expected tokens for {max_characters} characters, got {agent.config['num_tokens']} tokens in "
            "all; set data.conditioning.max_characters"
        )
    location = resolve(model.foundations.llm)
    if location.is_hub:
        raise ValueError(
            f"expected a local folder for model.foundations.llm, got {model.foundations.llm!r}; download the Llama "
            "that stage 2 started from, and see `diffsensei import language-model --help`"
        )
    tokenizer = load_llm_tokenizer(location.folder())
    beneath = {name: tensor for name, tensor in changes.replaced.items() if _lies_beneath(name, model.adapter)}
    learnt = {name: tensor for name, tensor in changes.replaced.items() if name not in beneath}
    only_beneath = LanguageModelChanges({}, beneath, changes.alpha)
    llm = load_llama(location.folder(), only_beneath, device=CPU, dtype=torch.float32)
    if beneath:
        llm.save_pretrained(output / "llm")
        tokenizer.save_pretrained(output / "llm")
    config = model.adapter.replaced(lora_rank=changes.rank)
    adapter = IdentityAdapter(llm, tokenizer, config, max_characters, num_queries, agent.config["token_dim"])
    _learn(adapter, agent, replace(changes, replaced=learnt), source)
    adapter.save_adapter(output / "adapter")


def _lies_beneath(name: str, adapter: IdentityAdapterConfig) -> bool:
    """Whether a tensor that was trained whole belongs into the Llama, as the adapter has no place for it.

    Of the vocabulary's tables it holds no more than their image-token rows.
    """
    is_norm = name.removesuffix(".weight").rsplit(".", 1)[-1] in LEARNT_NORMS
    return name in VOCABULARY_TABLES or (is_norm and not adapter.train_norms)


def _learn(adapter: IdentityAdapter, agent: AgentResamplers, changes: LanguageModelChanges, source: str) -> None:
    """Give ``adapter`` all it holds: resamplers, LoRA, norms if it trains them.

    Its image-token rows, if it trains them, are those of the Llama it was built on.
    """
    adapter.agent.load_state_dict(agent.state_dict())
    trained = {name: tensor.read() for name, tensor in changes.replaced.items()}
    for name, (down, up) in changes.factors.items():
        module = name.removesuffix(".weight")
        trained |= {f"{module}.lora_A.weight": down.read(), f"{module}.lora_B.weight": up.read()}
    own = get_peft_model_state_dict(adapter.llm, save_embedding_layers=False)
    prefix = "base_model.model."
    wanted = {name.removeprefix(prefix) for name in own if ".token_adapter." not in name}
    refuse_keys(
        source,
        missing=wanted - trained.keys(),
        unexpected=trained.keys() - wanted,
        mismatched={name for name in wanted & trained.keys() if trained[name].shape != own[f"{prefix}{name}"].shape},
    )
    set_peft_model_state_dict(adapter.llm, own | {f"{prefix}{name}": tensor for name, tensor in trained.items()})


def _named(tensors: Any, source: str) -> State:
    """Tensors by name, without DDP's prefix. Raises ValueError if they are none."""
    if not isinstance(tensors, Mapping):
        raise ValueError(f"{source}: expected a dict of tensors, got {type(tensors).__name__}; give its ckpt.pth")
    return stored({str(name).removeprefix("module."): tensor for name, tensor in tensors.items()}, source)
