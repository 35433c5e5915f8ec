"""The human preference study."""

from pathlib import Path
from typing import Annotated

import typer

from diffsensei.config import load_preset
from flows.commands.options import STAGE_FAILED, NewFolder, Overrides, Preset, named_file

studies = typer.Typer(no_args_is_help=True, help="The human preference study, from blinded packets to a result.")

Study = Annotated[Path, typer.Argument(help="A prepared study's folder.")]


@studies.command("prepare", epilog="Example: diffsensei study prepare benchmark -m ours=ours/images/0 ... -o study")
def study_prepare(
    benchmark: Annotated[Path, typer.Argument(help="The frozen benchmark: panels.jsonl, truth/, references/.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new or empty folder.")],
    methods: Annotated[
        list[str], typer.Option("--method", "-m", metavar="NAME=FOLDER", help="A method's panel images. Repeatable.")
    ],
    consent: Annotated[Path | None, typer.Option(help="Text file raters agree to, paragraphs apart.")] = None,
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """Blinded packets, one a rater, and the key that unblinds them. docs/study.md tells how to run a study."""
    config = load_preset(preset, overrides or ())
    from tasks.studying import prepare

    for line in prepare(config, benchmark, dict(named_file(method, "--method") for method in methods), output, consent):
        typer.echo(line)


@studies.command("serve", epilog="Example: diffsensei study serve study")
def study_serve(
    study: Study,
    host: Annotated[str, typer.Option(help="Listen there; others than this machine need --address too.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7870,
    address: Annotated[str, typer.Option(help="What raters open, for example https://study.example.org.")] = "",
) -> None:
    """Serve the packets to raters with invitations and keep their votes. Ctrl-C ends it, a later call goes on."""
    from tasks.studying import serve

    serve(study, host, port, address, typer.echo)


@studies.command("packets", epilog="Example: diffsensei study packets study --output to-send")
def study_packets(study: Study, output: NewFolder) -> None:
    """One HTML file a rater, that works without a server or network."""
    from tasks.studying import packets

    for path in packets(study, output):
        typer.echo(str(path))


@studies.command("import", epilog="Example: diffsensei study import study answers-*.json")
def study_import(
    study: Study, files: Annotated[list[Path], typer.Argument(help="Files that raters sent back.")]
) -> None:
    """Take in votes from offline packets; a file is taken whole or refused with its reason (exit code 1)."""
    from tasks.studying import import_files

    lines, refused = import_files(study, files)
    for line in lines:
        typer.echo(line)
    if refused:
        raise typer.Exit(STAGE_FAILED)


@studies.command("analyse", epilog="Example: diffsensei study analyse study --output result")
def study_analyse(
    study: Study, output: Annotated[Path, typer.Option("--output", "-o", help="Folder for study.json and tables.")]
) -> None:
    """Preferences with intervals, strengths, agreement; who was left out and why."""
    from tasks.studying import analyse

    for line in analyse(study, output):
        typer.echo(line)


@studies.command("simulate", epilog="Example: diffsensei study simulate -o power.json --set study.num_raters=30")
def study_simulate(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the JSON goes.")],
    methods: Annotated[int, typer.Option(min=2, max=20, help="How many are compared.")] = 6,
    pages: Annotated[int, typer.Option(min=2, help="How many pages there are.")] = 96,
    simulated: Annotated[int, typer.Option("--studies", min=1, help="Simulated studies for each difference.")] = 200,
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """How likely a study of this size tells two methods apart."""
    config = load_preset(preset, overrides or ())
    from tasks.studying import simulate

    for line in simulate(config, methods, pages, simulated, output):
        typer.echo(line)
