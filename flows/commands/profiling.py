"""Where the time of a training step goes."""

from pathlib import Path
from typing import Annotated

import typer

from diffsensei.config import load_preset
from flows.commands.options import Overrides, Preset


def add_commands(app: typer.Typer) -> None:
    """Add them to the command itself."""
    app.command(epilog="Example: diffsensei profile stage1 --steps 10 -o stage1.json")(profile)


def profile(
    stage: Annotated[str, typer.Argument(help="pretrain, stage1 or stage2.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File of the trace, for ui.perfetto.dev.")],
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Optimizer steps.")] = 10,
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """Train a few steps on what is in the store, in this process; write a trace and say where the time went."""
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise ValueError(f"expected a file in a folder that exists for --output, got {str(output)!r}")
    config = load_preset(preset, overrides or ())
    from tasks.profiling import profile_stage
    from tasks.terminal import print_table

    print_table(list(profile_stage(config, stage, steps, output)))
    typer.echo(f"trace: {output}")
