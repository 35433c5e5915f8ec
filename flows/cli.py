"""The ``diffsensei`` command, put together from `flows.commands`."""

from typing import Annotated

import typer

from flows.commands import drawing, pipeline, profiling, releases
from flows.commands.annotation import annotating
from flows.commands.data import data
from flows.commands.imports import imports
from flows.commands.options import OneLineErrors
from flows.commands.report import reporting
from flows.commands.stores import stores
from flows.commands.study import studies

app = typer.Typer(
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Customised manga generation as a pipeline: data, training, benchmark, release, report.",
    epilog="Examples: diffsensei run full-pipeline --preset tiny   |   diffsensei plan --set training.stage2.steps=200",
)
pipeline.add_commands(app)
drawing.add_commands(app)
profiling.add_commands(app)
releases.add_commands(app)
data.registered_commands += annotating.registered_commands
app.add_typer(data, name="data")
app.add_typer(imports, name="import")
app.add_typer(drawing.story_files, name="story")
app.add_typer(studies, name="study")
app.add_typer(reporting, name="report")
app.add_typer(releases.releases, name="release")
app.add_typer(stores, name="store")


@app.callback()
def _options(debug: Annotated[bool, typer.Option(help="Show tracebacks.")] = False) -> None:
    pass


def main() -> None:
    app()
