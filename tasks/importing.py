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


def convert_storygen(folder: Path, output: Path) -> None:
    """A released StoryGen to the output of its second stage. Raises ValueError for tensors that do not fit."""
    from diffsensei.baselines.storygen.released import import_storygen

    hide_loading_bars()
    import_storygen(folder, output)


def convert_ms_diffusion(weights: Path, config: ExperimentConfig, output: Path) -> list[str]:
    """A released MS-Diffusion to its stage's output; returns names that were passed over. Raises likewise."""
    from diffsensei.baselines.ms_diffusion.released import import_ms_diffusion

    hide_loading_bars()
    return import_ms_diffusion(weights, config.baselines.ms_diffusion, config.model.unet, output)


def convert_seed_story(
    agent: Path, detokenizer: Path, llm: Path, tokenizer: Path, config: ExperimentConfig, output: Path
) -> None:
    """A released SEED-Story to the outputs of its two stages, in one folder. Raises ValueError likewise."""
    from diffsensei.baselines.seed_story.released import import_seed_story

    hide_loading_bars()
    import_seed_story(agent, detokenizer, llm, tokenizer, config.baselines.seed_story, config.model.unet, output)
