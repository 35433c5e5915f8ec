"""The store's upkeep."""

from typing import Annotated

import typer

from flows.commands.options import STAGE_FAILED

stores = typer.Typer(no_args_is_help=True, help="The store: check every byte, make room.")


@stores.command("check")
def check() -> None:
    """Hash every stored file again; exit code 1 where one is damaged. The next run makes a damaged result again."""
    from tasks.housekeeping import check_store
    from tasks.publication import open_store

    verdicts = []
    for good, line in check_store(open_store()):
        verdicts.append(good)
        typer.echo(line)
    if not all(verdicts):
        raise typer.Exit(STAGE_FAILED)


@stores.command("gc", epilog="Example: diffsensei store gc --keep-days 30 --delete")
def gc(
    keep_days: Annotated[float, typer.Option(help="Keep what is younger.")] = 30.0,
    delete: Annotated[bool, typer.Option("--delete", help="Remove it; otherwise it is only listed.")] = False,
) -> None:
    """Results that nothing released, approved, or otherwise named was made from, and what crashes left behind."""
    from tasks.housekeeping import collect_garbage
    from tasks.publication import open_store

    for line in collect_garbage(open_store(), keep_days, delete):
        typer.echo(line)


@stores.command("features", epilog="Example: diffsensei store features --unused-days 60 --delete")
def features(
    unused_days: Annotated[float, typer.Option(help="Keep what a run looked into since.")] = 30.0,
    delete: Annotated[bool, typer.Option("--delete", help="Remove it; otherwise it is only counted.")] = False,
) -> None:
    """What judges saw of pictures and no run used for a while. Nothing is lost: who needs it looks again."""
    from tasks.stored_features import prune_features

    typer.echo(prune_features(unused_days, delete=delete))
