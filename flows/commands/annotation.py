"""Corrections of annotations by people."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from diffsensei.config import load_preset
from flows.commands.options import Overrides, Preset

annotating = typer.Typer(no_args_is_help=True)
"""Part of ``diffsensei data``."""

Annotations = Annotated[
    Path, typer.Option(help="Folder with annotations.json; for images also halves.parquet, objects/.")
]


@annotating.command("edit-sheet", epilog="Example: diffsensei data edit-sheet --annotations store/download -o sheets")
def edit_sheet(
    annotations: Annotations,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the sheets (HTML).")],
    per: Annotated[Literal["page", "chapter"], typer.Option(help="A file per page, or per folder of pages.")] = "page",
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """Pages to correct in a browser, offline: who is who, by keyboard. docs/annotation.md describes it."""
    largest = load_preset(preset, overrides or ()).data.download.max_megapixels
    from tasks.annotating import write_sheets

    for path in write_sheets(annotations, output, per, largest):
        typer.echo(str(path))


@annotating.command(
    "export-labels",
    epilog="Example: diffsensei data export-labels --annotations store/download --format cvat -o labels",
)
def export_labels(
    annotations: Annotations,
    output: Annotated[Path, typer.Option("--output", "-o", help="A new or empty folder.")],
    format_: Annotated[Literal["label-studio", "cvat"], typer.Option("--format", help="Whom it is for.")],
    image_prefix: Annotated[
        str, typer.Option(help="Label Studio: what comes before an image's name.")
    ] = "/data/local-files/?d=images/",
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """Pages with the machine's boxes for Label Studio or CVAT."""
    largest = load_preset(preset, overrides or ()).data.download.max_megapixels
    from tasks.annotating import export_labels

    for path in export_labels(annotations, output, format_, image_prefix, largest):
        typer.echo(str(path))


EditFiles = Annotated[list[Path], typer.Argument(help="Edits (JSONL), Label Studio's JSON, CVAT's XML; in order.")]


@annotating.command(
    "import-labels",
    epilog="Example: diffsensei data import-labels export.json --annotations store/download -o edits.jsonl",
)
def import_labels(
    files: EditFiles,
    annotations: Annotations,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the edits (JSONL) go.")],
) -> None:
    """What people changed, as one file for data.annotation.edits."""
    from tasks.annotating import import_labels

    typer.echo(f"{import_labels(files, annotations, output)} edits: {output}")


@annotating.command("agreement", epilog="Example: diffsensei data agreement edits.jsonl --annotations store/download")
def agreement(
    files: EditFiles,
    annotations: Annotations,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="All figures as JSON.")] = None,
) -> None:
    """How far annotators agree on who is who, and the machine with the final layer."""
    from tasks.annotating import measure_agreement

    for line in measure_agreement(files, annotations, output):
        typer.echo(line)
