"""What the data is, what was lost of it and why, and how people correct it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from diffsensei.config import load_preset
from flows.commands.options import BELOW_THRESHOLD, STAGE_FAILED, Overrides, Preset, fail

data = typer.Typer(no_args_is_help=True, help="Look at the data: what there is, and the embedded world.")


@data.command("preview", epilog="Example: diffsensei data preview --set data.source.seed=7")
def preview(
    preset: Preset = "tiny",
    overrides: Overrides = None,
    pages: Annotated[int, typer.Option(help="Double pages to draw.")] = 6,
    output: Annotated[Path, typer.Option(help="Where the contact sheet (PNG) goes.")] = Path("preview.png"),
) -> None:
    """A contact sheet of drawn pages with their boxes."""
    source = load_preset(preset, overrides or ()).data.source
    if source.kind != "synthetic":
        raise ValueError(f"preset {preset} reads {source.kind} data; a preview is drawn of a synthetic world only")
    from diffsensei.data.preview import preview_world

    preview_world(source, output, pages)
    typer.echo(str(output))


Share = Annotated[float, typer.Option(min=0.0, max=1.0, help="Least accepted share; below it the exit code is 3.")]


@data.command("coverage", epilog="Example: diffsensei data coverage --preset paper --min-pages-share 0.5")
def coverage(
    preset: Preset = "tiny",
    overrides: Overrides = None,
    min_pages_share: Share = 0.0,
    min_panels_share: Share = 0.0,
    min_held_out_share: Share = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """What of the data there is: pages, panels, characters, dialogs per series, split and reason.

    Reads what `diffsensei run ingest` left in the store; starts nothing and needs no GPU.
    """
    config = load_preset(preset, overrides or ())
    from tasks.coverage import print_coverage, shortfalls
    from tasks.data_results import find_coverage
    from tasks.publication import open_store

    found = find_coverage(config, open_store())
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
    else:
        print_coverage(found)
    minimums = {"pages": min_pages_share, "panels": min_panels_share, "held_out": min_held_out_share}
    short = shortfalls(found, minimums)
    if short:
        fail("; ".join(short), BELOW_THRESHOLD)


@data.command("hashes", epilog="Example: diffsensei data hashes -o hashes.json")
def hashes(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the list (JSON) goes.")],
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """Digests and perceptual hashes of the images that were downloaded: by them others match their own files."""
    config = load_preset(preset, overrides or ())
    from tasks.data_results import export_hash_list
    from tasks.publication import open_store

    count = export_hash_list(config, open_store(), output)
    typer.echo(f"{output}: {count} images")


@data.command("check", epilog="Example: diffsensei data check annotations.json --preset paper -o checked")
def check_data(
    annotations: Annotated[Path, typer.Argument(help="An annotation file (JSON list of pages).")],
    preset: Preset = "paper",
    overrides: Overrides = None,
    text_encoder: Annotated[
        str, typer.Option(help="Folder of a CLIP text encoder, whose tokenizer counts the captions' tokens.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new folder for the exact list and all figures.")
    ] = None,
) -> None:
    """Everything that can be wrong with an annotation file, before an image is fetched.

    Exit code 1 where more pages are set aside than data.validation.max_quarantine_rate allows.
    """
    config = load_preset(preset, overrides or ())
    from rich.console import Console

    from tasks.data_checks import check_file

    tables, good_enough = check_file(annotations, config, text_encoder, output)
    for table in tables:
        Console().print(table, markup=False)
    if not good_enough:
        rate = config.data.validation.max_quarantine_rate
        fail(f"more pages are faulty than data.validation.max_quarantine_rate={rate:g} allows", STAGE_FAILED)


@data.command("quarantine", epilog="Example: diffsensei data quarantine --reason panel_too_small --limit 5")
def quarantine(
    preset: Preset = "tiny",
    overrides: Overrides = None,
    reason: Annotated[str | None, typer.Option(help="Only rows of this reason.")] = None,
    level: Annotated[str | None, typer.Option(help="page, panel, character or dialog.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list; its rows can go into a waiver file.")] = False,
) -> None:
    """What the checks set aside, and why.

    To accept an item all the same, list its id and reason in a JSON file: --set data.validation.waivers=FILE. Whatever
    changes, rules, data or waivers, is judged anew by the next run.
    """
    config = load_preset(preset, overrides or ())
    from tasks.data_checks import set_aside_rows

    rows, total = set_aside_rows(config, reason, level, limit)
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        typer.echo(f"{row['check']} {row['reason']} {row['level']} {row['id']}: {row['evidence']!a}")
    typer.echo(f"{len(rows)} of {total}")


@data.command("docs", epilog="Example: diffsensei data docs -o data-docs")
def data_docs(
    output: Annotated[Path, typer.Option("--output", "-o", help="A new or empty folder.")],
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """great_expectations' own pages of the checks; their styles come from public CDNs, so they need a network."""
    config = load_preset(preset, overrides or ())
    from diffsensei.data.validation.data_docs import write_data_docs
    from tasks.data_checks import validated_folder

    for path in write_data_docs(validated_folder(config), output):
        typer.echo(str(path))


@data.command("cast", epilog="Example: diffsensei data cast --series 2 -o cast")
def cast(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the character images (PNG).")],
    series: Annotated[int, typer.Option(min=0, help="Which series of the synthetic world.")] = 0,
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """Character images of a series, for stories, with the words captions describe them by."""
    source = load_preset(preset, overrides or ()).data.source
    if source.kind != "synthetic":
        raise ValueError(f"preset {preset} reads {source.kind} data; only a synthetic world has a cast to draw")
    from diffsensei.data.synthetic.portraits import write_cast

    for portrait in write_cast(source.seed, series, output):
        typer.echo(f"{portrait.path}: {portrait.look}")


@data.command("retry", epilog="Example: diffsensei data retry --preset paper --reason dead_url_404")
def retry(
    reasons: Annotated[
        list[str] | None, typer.Option("--reason", help="A reason of quarantine, as the report names it. Repeatable.")
    ] = None,
    preset: Preset = "paper",
    overrides: Overrides = None,
) -> None:
    """Let the next run download again what failed for a reason; without one, the reasons there are."""
    config = load_preset(preset, overrides or ())
    from tasks.retrying import retry_downloads

    for reason, count in retry_downloads(config, reasons or []).items():
        typer.echo(f"{reason}: {count} to be tried again")
