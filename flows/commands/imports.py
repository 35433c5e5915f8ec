"""Conversion of weights that others released."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from diffsensei.config import load_preset
from diffsensei.config.schema import CORRECTED, REFERENCE, FidelityConfig
from flows.commands.options import NewFolder, Overrides, Preset

imports = typer.Typer(no_args_is_help=True, help="Convert weights that others released.")

Fidelity = Literal["reference", "corrected"]
FIDELITY: dict[Fidelity, FidelityConfig] = {"reference": REFERENCE, "corrected": CORRECTED}
AS_TRAINED = (
    "reference: masks, hidden patches of Magi's encoder and empty slots as in the original code, which trained these "
    "weights; corrected: as in ours, for weights trained on with ours."
)


@imports.command("released", epilog="Example: diffsensei import released DiffSensei --output pipeline")
def import_released(
    folder: Annotated[Path, typer.Argument(help="The downloaded release: image_generator/ and mllm/.")],
    output: NewFolder,
    mllm: Annotated[bool, typer.Option(help="Convert the language model too (52 GB).")] = True,
    fidelity: Annotated[
        Fidelity | None, typer.Option(help=f"{AS_TRAINED} Without it: what the folder says, or reference.")
    ] = None,
    lora_alpha: Annotated[float, typer.Option(help="Of LoRA in an agent file of one's own training.")] = 64.0,
) -> None:
    """The released folder to a pipeline's, which `diffsensei generate --checkpoint` takes."""
    from tasks.importing import convert_released

    convert_released(folder, output, mllm, FIDELITY[fidelity] if fidelity else None, lora_alpha)
    typer.echo(str(output))


@imports.command("checkpoint", epilog="Example: diffsensei import checkpoint step-250000/ckpt.pth --output stage1")
def import_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="A ckpt.pth of the reference code, of any stage.")],
    output: NewFolder,
    fidelity: Annotated[Fidelity, typer.Option(help=AS_TRAINED)] = "reference",
    preset: Preset = "paper",
    overrides: Overrides = None,
) -> None:
    """A training checkpoint to the output of the stage that corresponds: unet/, resampler/ or adapter/.

    The configuration's model section gives what tensors do not show; for stage 2, model.foundations.llm must be the
    local folder of the language model that it started from. How it runs is --fidelity, not model.fidelity, which is of
    training to come.
    """
    config = load_preset(preset, overrides or ())
    from tasks.importing import convert_checkpoint

    for folder in convert_checkpoint(checkpoint, config, FIDELITY[fidelity], output):
        typer.echo(str(folder))


@imports.command(
    "language-model", epilog="Example: diffsensei import language-model seed_x/llm --tokenizer tokenizer --output llm"
)
def import_language_model(
    folder: Annotated[Path, typer.Argument(help="A Llama's folder: config.json and weights, whole or in shards.")],
    tokenizer: Annotated[Path, typer.Option(help="Folder with tokenizer.json or tokenizer.model.")],
    output: NewFolder,
) -> None:
    """A Llama and its tokenizer in one folder, for --set model.foundations.llm=FOLDER."""
    from tasks.importing import convert_language_model

    convert_language_model(folder, tokenizer, output)
    typer.echo(str(output))


@imports.command("storygen", epilog="Example: diffsensei import storygen StoryGen --output storygen")
def import_storygen(
    folder: Annotated[Path, typer.Argument(help="The downloaded haoningwu/StoryGen, with unet/.")], output: NewFolder
) -> None:
    """The released StoryGen to the output of its second training stage."""
    from tasks.importing import convert_storygen

    convert_storygen(folder, output)
    typer.echo(str(output))


@imports.command("ms-diffusion", epilog="Example: diffsensei import ms-diffusion ms_adapter.bin --output ms-diffusion")
def import_ms_diffusion(
    weights: Annotated[Path, typer.Argument(help="ms_adapter.bin of doge1516/MS-Diffusion.")],
    output: NewFolder,
    preset: Preset = "paper",
    overrides: Overrides = None,
) -> None:
    """The released MS-Diffusion to the output of its training stage; the configuration gives blocks and head counts."""
    config = load_preset(preset, overrides or ())
    from tasks.importing import convert_ms_diffusion

    for name in convert_ms_diffusion(weights, config, output):
        typer.echo(f"ignored, without influence: {name}", err=True)
    typer.echo(str(output))


@imports.command(
    "seed-story",
    epilog="Example: diffsensei import seed-story mllm.bin detokenizer.bin --llm llama --tokenizer words --output out",
)
def import_seed_story(
    agent: Annotated[Path, typer.Argument(help="pytorch_model.bin of the language model's training.")],
    detokenizer: Annotated[Path, typer.Argument(help="pytorch_model.bin of the de-tokenizer.")],
    llm: Annotated[Path, typer.Option(help="Folder of the Llama that it was trained from.")],
    tokenizer: Annotated[Path, typer.Option(help="Folder of its tokenizer, with image slots.")],
    output: NewFolder,
    preset: Preset = "paper",
    overrides: Overrides = None,
) -> None:
    """The released SEED-Story to the outputs of its two training stages, in one folder."""
    config = load_preset(preset, overrides or ())
    from tasks.importing import convert_seed_story

    convert_seed_story(agent, detokenizer, llm, tokenizer, config, output)
    typer.echo(str(output))
