"""Released SEED-Story weights as the outputs of our two stages: language model, and de-tokenizer."""

from pathlib import Path

import torch

from diffsensei.baselines.seed_story.detokenizer import FeatureResampler
from diffsensei.baselines.seed_story.prompts import StoryPrompts
from diffsensei.baselines.seed_story.resamplers import StoryResamplers
from diffsensei.config.baselines import SeedStoryConfig
from diffsensei.config.schema import UNetConfig
from diffsensei.foundations.reading import refuse_keys
from diffsensei.models.unet import save_unet
from diffsensei.models.weights import below
from diffsensei.released.changes import split_agent
from diffsensei.released.checkpoints import unet_of_state
from diffsensei.released.language_model import VOCABULARY_TABLES, load_llama
from diffsensei.released.placement import whole_folder
from diffsensei.released.settings import RELEASED
from diffsensei.released.stored import fill, first_shape, pickled_state
from diffsensei.released.tokenizer import load_llm_tokenizer

_UNET, _RESAMPLER = "unet.", "resampler."
_CPU = torch.device("cpu")


def import_seed_story(
    agent: Path,
    detokenizer: Path,
    llm: Path,
    tokenizer: Path,
    method: SeedStoryConfig,
    unet: UNetConfig,
    output: Path,
) -> None:
    """Write ``llm/``, ``resamplers/``, ``unet/`` and ``resampler/`` in float32, for `stages.build_seed_story`.

    ``agent`` and ``detokenizer`` are the published ``pytorch_model.bin`` of each; ``llm`` is the folder of the Llama
    that ``agent`` changes (LoRA is merged in float32) and ``tokenizer`` that of its words with image slots. ``method``
    and ``unet`` give what tensors do not show: head counts, LoRA's alpha, the UNet's blocks.
    Raises ValueError for tensors that are missing, left over or misshapen, or an ``output`` that is not empty.
    """
    with whole_folder(output) as aside:
        _language(agent, llm, tokenizer, method, aside)
        _detokenizer(detokenizer, method, unet, aside)


def _language(agent: Path, llm: Path, tokenizer: Path, method: SeedStoryConfig, output: Path) -> None:
    source, language = str(agent), method.language
    state, changes = split_agent(pickled_state(agent), language.lora_alpha, source)
    if changes is None or changes.rank is None:
        raise ValueError(f"{source}: expected LoRA factors of the language model, found none; give the MLLM's weights")
    absent = set(VOCABULARY_TABLES) - changes.replaced.keys()
    both = changes.factors.keys() & changes.replaced.keys()
    refuse_keys(source, missing=absent, unexpected=both, mismatched=set())
    num_slots, llm_dim = first_shape(state, "input_resampler.query", 2, source)
    num_features, feature_dim = first_shape(state, "output_resampler.query", 2, source)
    if num_slots != language.num_slots or any(width % language.resampler_heads for width in (llm_dim, feature_dim)):
        raise ValueError(
            f"{source}: expected {language.num_slots} image slots and widths in multiples of "
            f"{language.resampler_heads} heads, got {num_slots} slots, widths {llm_dim} and {feature_dim}; set "
            "baselines.seed_story.language.num_slots and resampler_heads"
        )
    with torch.device("meta"):
        resamplers = StoryResamplers(num_slots, num_features, feature_dim, llm_dim, language.resampler_heads)
    fill(resamplers, state, source, device=_CPU, dtype=torch.float32)
    resamplers.save_pretrained(output / "resamplers")

    words = load_llm_tokenizer(tokenizer)
    StoryPrompts(words, num_slots, language.max_caption_tokens)
    vocabulary = first_shape(changes.replaced, VOCABULARY_TABLES[0], 2, source)[0]
    odd = {name for name in VOCABULARY_TABLES if changes.replaced[name].shape != (vocabulary, llm_dim)}
    refuse_keys(source, missing=set(), unexpected=set(), mismatched=odd)
    if len(words) > vocabulary:
        raise ValueError(
            f"expected at most {vocabulary} tokens, as {agent} embeds, got {len(words)} in {tokenizer}; give the "
            "tokenizer of SEED-Story"
        )
    model = load_llama(llm, changes, device=_CPU, dtype=torch.float32, vocabulary=vocabulary)
    model.save_pretrained(output / "llm")
    words.save_pretrained(output / "llm")


def _detokenizer(weights: Path, method: SeedStoryConfig, config: UNetConfig, output: Path) -> None:
    state, source = pickled_state(weights), str(weights)
    odd = {name for name in state if not name.startswith((_UNET, _RESAMPLER))}
    refuse_keys(source, missing=set(), unexpected=odd, mismatched=set())
    of_unet, of_resampler = below(_UNET, state), below(_RESAMPLER, state)
    unet = unet_of_state(of_unet, f"{source} (unet)", config, None, RELEASED)
    fill(unet, of_unet, f"{source} (unet)", device=_CPU, dtype=torch.float32)
    save_unet(unet, output / "unet")

    source = f"{source} (resampler)"
    with torch.device("meta"):
        resampler = FeatureResampler(
            **method.resampler.model_dump(),
            feature_dim=first_shape(of_resampler, "proj_in.weight", 2, source)[1],
            first_dim=first_shape(of_resampler, "unet_proj_1.weight", 2, source)[0],
            second_dim=first_shape(of_resampler, "unet_proj_2.weight", 2, source)[0],
            pooled_dim=first_shape(of_resampler, "unet_attnpool.c_proj.weight", 2, source)[0],
        )
    fill(resampler, of_resampler, source, device=_CPU, dtype=torch.float32)
    resampler.save_pretrained(output / "resampler")
