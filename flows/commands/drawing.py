"""Drawing from stories and in the browser."""

import json
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from diffsensei.config import load_preset
from flows.commands.options import Checkpoint, Overrides, Preset, named_file, warn

story_files = typer.Typer(no_args_is_help=True, help="Story files, which `generate` draws.")


def add_commands(app: typer.Typer) -> None:
    """Add them to the command itself."""
    app.command(epilog="Example: diffsensei generate examples/rainy-day/story.json -o pages")(generate)
    app.command(epilog="Example: diffsensei ui --open")(ui)


def generate(
    story: Annotated[
        Path, typer.Argument(help="A story file (JSON): pages of panels with captions, characters, dialogs.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="page.png (page-001.png... if there are several), or a folder for page-001.png..."
        ),
    ],
    checkpoint: Checkpoint = "released",
    preset: Preset = "tiny",
    overrides: Overrides = None,
    characters: Annotated[
        list[str] | None,
        typer.Option(
            "--character", metavar="NAME=FILE", help="Another image for a character, from anywhere. Repeatable."
        ),
    ] = None,
    lettering: Annotated[bool, typer.Option(help="Write the dialogs' text.")] = True,
    bubbles: Annotated[bool, typer.Option("--bubbles", help="Draw clean bubbles behind the text.")] = False,
    font: Annotated[Path | None, typer.Option(help="A font file for the text, instead of the bundled one.")] = None,
) -> None:
    """Draw manga pages from a story: text, character images, boxes and dialogs.

    The preset gives the release's name, the size of panels and how they are sampled; --set sampling.steps=30 and the
    like change it. docs/story.md describes the file.
    """
    config = load_preset(preset, overrides or ())
    images = dict(named_file(assignment) for assignment in characters or ())
    if not story.is_file():
        raise ValueError(f"story: expected a JSON file, {story} does not exist or is a folder")
    from diffsensei.inference import DrawingOptions, Lettering
    from tasks.drawing import draw_story

    options = DrawingOptions(Lettering(written=lettering, bubbles=bubbles, font=font), images)
    for page in draw_story(config, story, checkpoint, output, options, warn):
        typer.echo(str(page))


def ui(
    checkpoint: Checkpoint = "released",
    preset: Preset = "tiny",
    overrides: Overrides = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="On 127.0.0.1; 0 takes a free one.")] = 7860,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """A page in the browser to write a story, place its boxes and draw it; for this machine only. Ctrl-C ends it."""
    config = load_preset(preset, overrides or ())
    from tasks.drawing import serve_studio

    def announce(address: str) -> None:
        typer.echo(address)
        if open_it:
            webbrowser.open(address)

    serve_studio(config, checkpoint, port, announce)


@story_files.command("schema", epilog="Example: diffsensei story schema > story.schema.json")
def story_schema() -> None:
    """The JSON Schema of story files; editors complete and check by it."""
    from diffsensei.inference import Story

    typer.echo(json.dumps(Story.model_json_schema(), indent=2))
