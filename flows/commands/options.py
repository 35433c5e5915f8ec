"""What commands share: exit codes, errors in one line, and the options many have."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from diffsensei.config.overrides import describe

USER_ERROR = 2
STAGE_FAILED = 1
BELOW_THRESHOLD = 3
INTERRUPTED = 130


class OneLineErrors(TyperGroup):
    """Errors a person can act on end in one line and an exit code, not in a traceback (``--debug`` shows it)."""

    def invoke(self, ctx: Any) -> Any:
        if ctx.params.get("debug"):
            return super().invoke(ctx)
        from infra.outcome import StageError, StageRefused
        from tasks.alarm import MetricsMoved

        try:
            return super().invoke(ctx)
        except StageRefused as error:
            fail(f"{error} (log: {error.log_path})", STAGE_FAILED)
        except StageError as error:
            fail(str(error), STAGE_FAILED)
        except MetricsMoved as error:
            fail(str(error), BELOW_THRESHOLD)
        except KeyboardInterrupt:
            fail("stopped; the same command goes on from here", INTERRUPTED)
        except ValidationError as error:
            fail(describe(error), USER_ERROR)
        except BrokenPipeError:  # the reader of the output has gone, which is no error
            raise
        except (ValueError, OSError) as error:
            fail(str(error), USER_ERROR)


def fail(message: str, code: int) -> None:
    """End with ``message`` on one line and an exit code."""
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    raise typer.Exit(code)


Preset = Annotated[str, typer.Option(help="tiny (CPU), small (one GPU) or paper (8 GPUs).")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Change one field, for example training.stage1.steps=10. Repeatable."
    ),
]
Checkpoint = Annotated[
    str,
    typer.Option(
        help="A bundle's or pipeline's folder, the original release's, or `released`, `approved` or `candidate` here."
    ),
]

NewFolder = Annotated[Path, typer.Option(help="A new or empty folder.")]


def named_file(assignment: str, option: str = "--character") -> tuple[str, Path]:
    """NAME=FILE, as ``option`` takes it."""
    name, _, path = assignment.partition("=")
    if not name or not path:
        raise ValueError(f"{option}: expected NAME=FILE, got {assignment!r}")
    return name, Path(path)


def warn(line: str) -> None:
    """Tell of something that stops nothing."""
    typer.echo(f"warning: {line}", err=True)
