"""Weights of the original DiffSensei converted to this project's formats, in this process."""

from pathlib import Path

from diffsensei.config import ExperimentConfig
from diffsensei.config.schema import FidelityConfig
from tasks.drawing import hide_loading_bars


def convert_released(
    released: Path, output: Path, with_mllm: bool, fidelity: FidelityConfig | None, lora_alpha: float
) -> None:
    """A released folder to a pipeline's; without ``fidelity`` as the folder says, or reference.

    Raises ValueError for files that are missing or do not fit.
    """
    from diffsensei.released.imports import import_released

    hide_loading_bars()
    import_released(released, output, with_mllm=with_mllm, fidelity=fidelity, lora_alpha=lora_alpha)


def convert_checkpoint(
    checkpoint: Path, config: ExperimentConfig, fidelity: FidelityConfig, output: Path
) -> list[Path]:
    """A training checkpoint to folders of a stage's output. Raises ValueError for tensors that do not fit."""
    from diffsensei.released.checkpoints import import_checkpoint

    hide_loading_bars()
    max_characters = config.data.conditioning.max_characters
    return import_checkpoint(checkpoint, config.model, max_characters, output, fidelity=fidelity)


def convert_language_model(llm: Path, tokenizer: Path, output: Path) -> None:
    """A Llama and its tokenizer to one folder. Raises ValueError for files that are missing or do not fit."""
    from diffsensei.released.imports import import_language_model

    hide_loading_bars()
    import_language_model(llm, tokenizer, output)
