"""``diffsensei features``: what judges saw of pictures, kept in the store beyond runs."""

from typing import Annotated

import typer

from flows.commands.options import OneLineErrors

features = typer.Typer(cls=OneLineErrors, no_args_is_help=True, help="What judges saw of pictures, kept beyond runs.")


@features.callback()
def _group() -> None:
    pass


@features.command(epilog="Example: diffsensei features prune --unused-days 60 --dry-run")
def prune(
    unused_days: Annotated[float, typer.Option(help="Remove what no run looked into for so long.")] = 30,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """Remove features that were not used for a while. Nothing is lost: who needs them computes them again."""
    from tasks.stored_features import prune_features

    typer.echo(prune_features(unused_days, dry_run=dry_run))
