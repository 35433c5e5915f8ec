"""Released folders and language models converted to this project's own, once, on disk."""

from pathlib import Path

import torch

from diffsensei.config.schema import FidelityConfig
from diffsensei.released.language_model import load_llama
from diffsensei.released.loading import LORA_ALPHA, load_released
from diffsensei.released.placement import whole_folder
from diffsensei.released.tokenizer import load_llm_tokenizer


def import_released(
    released: Path,
    output: Path,
    *,
    with_mllm: bool = True,
    fidelity: FidelityConfig | None = None,
    lora_alpha: float = LORA_ALPHA,
) -> None:
    """Write the pipeline of a released folder to ``output``, in float32, for `DiffSenseiPipeline.from_pretrained`.

    Arguments and errors as of `load_released`; also raises ValueError if ``output`` exists and is not empty.
    """
    with whole_folder(output) as aside:
        pipeline = load_released(released, with_mllm=with_mllm, fidelity=fidelity, lora_alpha=lora_alpha)
        pipeline.save_pretrained(aside)


def import_language_model(llm: Path, tokenizer: Path, output: Path) -> None:
    """Join a Llama (SEED-X's ``llm`` folder: shards of safetensors or pickles) and its tokenizer folder in ``output``.

    The result serves as ``model.foundations.llm``, on which stage 2 trains an adapter with fresh resamplers. Tensors
    keep the precision they are stored in. Raises ValueError if either does not fit, or ``output`` is not empty.
    """
    with whole_folder(output) as aside:
        words = load_llm_tokenizer(tokenizer)
        model = load_llama(llm, device=torch.device("cpu"), dtype=None)
        if len(words) > model.config.vocab_size:
            raise ValueError(
                f"expected at most {model.config.vocab_size} tokens, as {llm} embeds, got {len(words)} in {tokenizer}; "
                "give the tokenizer of that language model"
            )
        model.save_pretrained(aside)
        words.save_pretrained(aside)
