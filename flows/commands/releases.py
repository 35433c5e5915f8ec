"""Releases, and the pages behind them."""

from pathlib import Path
from typing import Annotated

import typer

releases = typer.Typer(no_args_is_help=True, help="Releases: check, list, publish, roll back, push and pull.")

Name = Annotated[str | None, typer.Option(help="The release's name, where there are several.")]


def add_commands(app: typer.Typer) -> None:
    """Add what is about pages to the command itself."""
    app.command(epilog="Example: diffsensei trace 'Series/001/014.jpg'")(trace)
    app.command(epilog="Example: diffsensei tombstone 'Series/001/014.jpg' --reason 'asked by the publisher'")(
        tombstone
    )


@releases.command("verify", epilog="Example: diffsensei release verify diffsensei-tiny-0.1.0")
def verify(
    what: Annotated[str, typer.Argument(help="A version (see `release list`), or a published bundle's folder.")],
    certification: Annotated[Path | None, typer.Option(help="Folder of the certificate, if not in the bundle.")] = None,
    public_key: Annotated[Path | None, typer.Option(help="PEM file: who must have signed a pushed folder.")] = None,
    draw: Annotated[bool, typer.Option("--draw", help="Draw the sample again, too: loads the model.")] = False,
) -> None:
    """Check again, offline: checksums, what the certificate is bound to, and every rule from the measurements.

    Exit code 2 and one line for the first thing that is wrong.
    """
    from tasks.publication import open_store
    from tasks.releasing import verify_release

    for line in verify_release(open_store(), what, certification, public_key=public_key, draw=draw):
        typer.echo(line)


@releases.command("list")
def list_all() -> None:
    """Channels, versions, the log of what was released, and reports."""
    from tasks.publication import open_store
    from tasks.releasing import list_releases

    for line in list_releases(open_store()):
        typer.echo(line)


@releases.command("publish")
def publish(name: Name = None) -> None:
    """Release what is approved, under its version, for good."""
    from tasks.publication import open_store
    from tasks.releasing import publish_approved

    typer.echo(publish_approved(open_store(), name))


@releases.command("rollback", epilog="Example: diffsensei release rollback released 3 --reason 'hands are worse'")
def rollback(
    channel: Annotated[str, typer.Argument(help="candidate, approved or released.")],
    generation: Annotated[int, typer.Argument(min=1, help="See `release list`.")],
    reason: Annotated[str, typer.Option(help="Why; it is logged.")],
    name: Name = None,
) -> None:
    """Let a channel point at what it pointed at before. A new generation, logged; nothing is removed."""
    from tasks.publication import open_store
    from tasks.releasing import roll_back_to

    typer.echo(roll_back_to(open_store(), channel, generation, name, reason))


@releases.command("push", epilog="Example: diffsensei release push s3://bucket/manga   |   ... push hf:someone/manga")
def push(
    target: Annotated[str, typer.Argument(help="A folder, s3://bucket/prefix, or hf:owner/name.")],
    name: Name = None,
    version: Annotated[str | None, typer.Option(help="A released version; the released one by default.")] = None,
    public: Annotated[bool, typer.Option("--public", help="On the hub: visible to all, if the push makes it.")] = False,
    private_key: Annotated[Path | None, typer.Option(help="PEM file of an elliptic-curve key: sign it.")] = None,
) -> None:
    """Hand a release with its certificate to others. Credentials come from the environment or the hub's login."""
    from tasks.handing_over import push_release
    from tasks.publication import open_store

    for line in push_release(open_store(), target, name, version, public=public, private_key=private_key):
        typer.echo(line)


@releases.command("pull", epilog="Example: diffsensei release pull s3://bucket/manga diffsensei-tiny 0.1.0 -o tiny")
def pull(
    source: Annotated[str, typer.Argument(help="A folder or s3://bucket/prefix that was pushed to.")],
    name: Annotated[str, typer.Argument(help="The release's name.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder.")],
    version: Annotated[str | None, typer.Argument(help="Its version; what is current there by default.")] = None,
) -> None:
    """Bring a pushed release here, check every file and its certificate."""
    from tasks.handing_over import pull_release
    from tasks.publication import open_store

    for line in pull_release(open_store(), source, name, version, output):
        typer.echo(line)


def trace(page: Annotated[str, typer.Argument(help="A page's path, url, id, or the sha256 of its image.")]) -> None:
    """Which panel sets, checkpoints, samples, releases and reports used a page."""
    from tasks.publication import open_store
    from tasks.tracing import trace_page

    for line in trace_page(open_store(), page).lines():
        typer.echo(line)


def tombstone(
    page: Annotated[str, typer.Argument(help="A page's path, url, id, or the sha256 of its image.")],
    reason: Annotated[str, typer.Option(help="Who asked, and why.")],
) -> None:
    """Take a page down: what shows it leaves the report's site, the next ingest drops it, and nothing that rests on it
    is published any more."""
    from tasks.publication import open_store
    from tasks.taking_down import take_down

    for line in take_down(open_store(), page, reason):
        typer.echo(line)
