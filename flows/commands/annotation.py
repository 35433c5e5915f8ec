"""Corrections of annotations by people."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from diffsensei.config import load_preset
from flows.commands.options import Overrides, Preset

annotating = typer.Typer(no_args_is_help=True)
"""Part of ``diffsensei data``."""

Annotations = Annotated[
    Path | None,
    typer.Option(
        help="Folder with annotations.json; for images also halves.parquet, objects/.",
        show_default="what `diffsensei run ingest` left",
    ),
]


@annotating.command("edit-sheet", epilog="Example: diffsensei data edit-sheet --per chapter -o sheets")
def edit_sheet(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the sheets (HTML).")],
    annotations: Annotations = None,
    per: Annotated[Literal["page", "chapter"], typer.Option(help="A file per page, or per folder of pages.")] = "page",
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """Pages to correct in a browser, offline: who is who, by keyboard. docs/annotation.md describes it."""
    config = load_preset(preset, overrides or ())
    from tasks.annotating import write_sheets

    for path in write_sheets(annotations, config, output, per):
        typer.echo(str(path))


@annotating.command("export-labels", epilog="Example: diffsensei data export-labels --format cvat -o labels")
def export_labels(
    output: Annotated[Path, typer.Option("--output", "-o", help="A new or empty folder.")],
    format_: Annotated[Literal["label-studio", "cvat"], typer.Option("--format", help="Whom it is for.")],
    annotations: Annotations = None,
    image_prefix: Annotated[
        str, typer.Option(help="Label Studio: what comes before an image's name.")
    ] = "/data/local-files/?d=images/",
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """Pages with the machine's boxes for Label Studio or CVAT."""
    config = load_preset(preset, overrides or ())
    from tasks.annotating import export_labels

    for path in export_labels(annotations, config, output, format_, image_prefix):
        typer.echo(str(path))


EditFiles = Annotated[list[Path], typer.Argument(help="Edits (JSONL), Label Studio's JSON, CVAT's XML; in order.")]


@annotating.command("import-labels", epilog="Example: diffsensei data import-labels export.json -o edits.jsonl")
def import_labels(
    files: EditFiles,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the edits (JSONL) go.")],
    annotations: Annotations = None,
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """What people changed, as one file for data.annotation.edits."""
    config = load_preset(preset, overrides or ())
    from tasks.annotating import import_labels

    typer.echo(f"{import_labels(files, annotations, config, output)} edits: {output}")


@annotating.command("agreement", epilog="Example: diffsensei data agreement edits.jsonl")
def agreement(
    files: EditFiles,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="All figures as JSON.")] = None,
    annotations: Annotations = None,
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """How far annotators agree on who is who, and the machine with the final layer."""
    config = load_preset(preset, overrides or ())
    from tasks.annotating import measure_agreement

    for line in measure_agreement(files, annotations, config, output):
        typer.echo(line)
