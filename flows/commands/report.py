"""The benchmark reports: where they are, the site in a browser, two versions compared, tables to take along."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

reporting = typer.Typer(help="The benchmark reports: where they are, served, compared, exported.")

Version = Annotated[str, typer.Argument(help="Its name, the start of its digest, or latest.")]


@reporting.callback(invoke_without_command=True, epilog="Example: diffsensei report diff 3f2a latest")
def report(
    context: typer.Context,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Where the site of all reports is; the commands below do more with it."""
    if context.invoked_subcommand is None:
        from tasks.report_files import report_page

        _show(report_page(""), open_it)


@reporting.command("open", epilog="Example: diffsensei report open latest")
def report_open(
    version: Annotated[str, typer.Argument(help="A version: its name, the start of its digest, or latest.")] = "",
) -> None:
    """Open the site, or one version of it, in the browser."""
    from tasks.report_files import report_page

    _show(report_page(version), open_it=True)


@reporting.command("serve", epilog="Example: diffsensei report serve --port 8080")
def report_serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7880,
) -> None:
    """Serve the site over HTTP to this machine only. Ctrl-C ends it."""
    from tasks.report_files import serve_site

    serve_site(port, typer.echo)


@reporting.command("diff", epilog="Example: diffsensei report diff 3f2a latest")
def report_diff(
    first: Version,
    second: Version,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """What changed from one version to another: paired tests, panels, configuration, data and code."""
    from tasks.report_files import diff_lines

    page, lines = diff_lines(first, second)
    for line in lines:
        typer.echo(line)
    _show(page, open_it)


@reporting.command("export", epilog="Example: diffsensei report export --format latex -o table.tex")
def report_export(
    format: Annotated[str, typer.Option("--format", "-f", help="latex, markdown, csv or json.")],
    version: Annotated[str, typer.Option(help="Its name, the start of its digest, or latest.")] = "latest",
    evaluation_set: Annotated[str, typer.Option("--set", help="main, or evaluation for the second one.")] = "main",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; otherwise it is printed.")] = None,
) -> None:
    """A version's table, with intervals and numbers of measurements."""
    from tasks.report_files import export_text, write_export

    text = export_text(format, version, evaluation_set)
    if output is None:
        typer.echo(text, nl=False)
    else:
        typer.echo(str(write_export(output, text)))


def _show(page: Path, open_it: bool) -> None:
    typer.echo(str(page))
    if open_it:
        webbrowser.open(page.resolve().as_uri())
