"""What became of a stage: its result, or one of four ways of giving none."""

import signal
from contextlib import suppress

from pydantic import BaseModel, ConfigDict

from infra.jobs.attempt import Attempt, Exit
from infra.jobs.spec import JobState
from infra.stage import Action
from infra.store import ObjectRef


class StageResult(BaseModel):
    """A finished stage."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    stage: str
    key: str
    object: ObjectRef
    action: Action
    """What this caller did: run, resume, adopt (waited for a job that was there), reuse (nothing)."""
    wall_s: float
    """Seconds the stage's jobs ran, whenever that was."""


class StageError(RuntimeError):
    """A stage that gave no result. The message is for the user; ``tail`` is the end of the log."""

    def __init__(self, stage: str, attempt: Attempt, state: JobState, message: str) -> None:
        super().__init__(message)
        self.stage = stage
        self.state = state
        self.log_path = attempt.log_path
        self.tail = attempt.tail()


class StageRefused(StageError):
    """The stage said what is wrong with its configuration or input; running it again will not help."""


class StageFailed(StageError):
    """A fault in the work or its machine that another attempt would meet again."""


class StageCancelled(StageError):
    """Someone asked for the job to end. The workspace is kept: the next run goes on from it."""


class StageInterrupted(StageError):
    """Ended from outside in every attempt allowed. The workspace is kept: the next run goes on from it."""


def failed_stage(name: str, attempt: Attempt, ended: Exit) -> StageError:
    """The error for stage ``name`` whose last attempt ended without success."""
    failure = attempt.failure()
    if ended.state is JobState.CANCELLED:
        return StageCancelled(name, attempt, ended.state, f"stage {name} was cancelled; run it again to go on")
    if ended.state.may_resume:
        message = f"stage {name}: attempt {attempt.number} ended {ended.state.value} too; run it again to go on"
        return StageInterrupted(name, attempt, ended.state, message)
    if failure is not None and failure.for_user:
        return StageRefused(name, attempt, ended.state, f"stage {name}: {failure.message}")
    if failure is not None:
        cause = f"{failure.type}: {failure.message}"
    elif ended.state is JobState.OOM:
        cause = "out of memory"
    else:
        cause = _how(ended.code)
    message = f"stage {name} failed in attempt {attempt.number}: {cause} (log: {attempt.log_path})"
    return StageFailed(name, attempt, ended.state, message)


def _how(code: int | None) -> str:
    if code is None:
        return "it ended, and nobody saw its exit code"
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):  # real-time signals have no names
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"
