"""Llama folders of the hub (the release's, SEED-X's), tensor by tensor, with what stage 2 changed merged on the way."""

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from diffsensei.released.changes import LanguageModelChanges
from diffsensei.released.layout import read_object
from diffsensei.released.stored import fill, folder_state

VOCABULARY_TABLES = ("model.embed_tokens.weight", "lm_head.weight")


def load_llama(
    folder: Path,
    changes: LanguageModelChanges | None = None,
    *,
    device: torch.device,
    dtype: torch.dtype | None,
    vocabulary: int | None = None,
) -> LlamaForCausalLM:
    """``folder/config.json`` and its weights (one file or shards, safetensors or pickle), frozen.

    ``vocabulary`` is its size where ``changes`` replace embedding and head by tables of another.
    Changes are merged in float32 before the conversion to ``dtype``. Fixed frequencies that older versions of the
    library stored with each layer (``rotary_emb.inv_freq``) are passed over. Raises ValueError if tensors are missing,
    left over or misshapen, or if ``changes`` do not fit them.
    """
    settings = read_object(folder / "config.json")
    if settings.get("model_type") != "llama":
        raise ValueError(f"{folder}: expected a Llama, got {settings.get('model_type')}; give the folder of the MLLM")
    config = LlamaConfig.from_dict(settings)
    rotary = {f"model.layers.{layer}.self_attn.rotary_emb.inv_freq" for layer in range(config.num_hidden_layers)}
    state = {name: tensor for name, tensor in folder_state(folder).items() if name not in rotary}
    if vocabulary is not None and changes is not None:
        config.vocab_size = vocabulary
        state |= {name: changes.replaced[name] for name in VOCABULARY_TABLES if name in changes.replaced}
    with torch.device("meta"):
        llm = LlamaForCausalLM(config)
    if changes is None:
        fill(llm, state, str(folder), device=device, dtype=dtype)
    else:
        changes.check(state, f"changes of the language model {folder}")
        fill(llm, state, str(folder), device=device, dtype=dtype, changed=changes.merged)
    # Its frequencies are no part of the state; on the meta device they were not computed.
    llm.model.rotary_emb = type(llm.model.rotary_emb)(config).to(device)
    return llm.eval().requires_grad_(False)
