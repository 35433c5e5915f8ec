"""What a job of a scheduler is judged by: the scheduler's word, the attempt's own files, and patience with both.

Only ``exit.json`` makes a success, and it is enough for one, as for a failure of the work. The end of a job that may go
on is believed only once the scheduler says that it is over, because it may start the job again itself.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from infra.jobs.attempt import Attempt, Exit
from infra.jobs.spec import JobRef, JobState, JobStatus

SETTLE_S = 5.0
"""How long the last files of a job may take to appear here after its scheduler has called it over."""
HEARD_WITHIN_S = 90.0
"""How long a request to stop may take to reach a runner over a shared file system."""


class ScheduledJobs:
    """The state of jobs from what their scheduler says of them.

    ``unlisted_s``: a job that the scheduler has not known for so long, and that does not report itself, is lost.
    ``end_by_force``: called for a job that runs on although it was asked to end long enough ago.
    """

    def __init__(self, unlisted_s: float, end_by_force: Callable[[JobRef], None]) -> None:
        self._unlisted_s = unlisted_s
        self._end_by_force = end_by_force
        self._missing_since: dict[str, float] = {}

    def status(self, ref: JobRef, word: JobState | None) -> JobStatus:
        """``word``: the scheduler's state of the job, or None where it does not know the job."""
        attempt, ended = Attempt(Path(ref.attempt)), ending(ref)
        if ended is not None and _is_final(ended):
            return JobStatus(state=ended.state, code=ended.code)
        if word is not None and not word.is_over:
            self._missing_since.pop(ref.token, None)
            if is_deaf(attempt):
                self._end_by_force(ref)
            return JobStatus(state=word)
        if ended is not None:
            return JobStatus(state=_agreed(ended.state, word), code=ended.code)
        if word is None and attempt.cancel_path.exists() and not attempt.job_path.exists():
            return JobStatus(state=JobState.CANCELLED)  # taken out of the queue
        if word is None and attempt.is_live():  # a scheduler may forget its jobs; they do not stop for that
            return JobStatus(state=JobState.RUNNING)
        patience_s = self._unlisted_s if word is None else SETTLE_S
        since = self._missing_since.setdefault(ref.token, time.monotonic())
        if time.monotonic() - since < patience_s:
            return JobStatus(state=_unsure(attempt))
        return JobStatus(state=_of_silent(word, started=attempt.job_path.exists()))

    def without_word(self, ref: JobRef) -> JobStatus:
        """The same while the scheduler does not answer: nothing is over but what the runner says is for good."""
        ended = ending(ref)
        if ended is not None and not ended.state.may_resume:
            return JobStatus(state=ended.state, code=ended.code)
        return JobStatus(state=_unsure(Attempt(Path(ref.attempt))))


def ending(ref: JobRef) -> Exit | None:
    """How the runner says that the job ended."""
    with os.scandir(ref.attempt):  # opening a folder makes NFS look again
        return Attempt(Path(ref.attempt)).exit()


def is_deaf(attempt: Attempt) -> bool:
    """Whether it was asked to end so long ago that it must have heard, and had its time to save."""
    return attempt.cancel_age_s() > attempt.intent().job.grace_s + HEARD_WITHIN_S


def _unsure(attempt: Attempt) -> JobState:
    return JobState.RUNNING if attempt.job_path.exists() else JobState.PENDING


def _is_final(ended: Exit) -> bool:
    """Whether nothing that the scheduler may say matters: it says why something was killed, and may start again what
    may go on."""
    failed_by_itself = ended.code is not None and ended.code > 0
    return not ended.state.may_resume and (ended.state is not JobState.FAILED or failed_by_itself)


def _agreed(said: JobState, word: JobState | None) -> JobState:
    """The runner knows what it was asked, the scheduler knows why."""
    known = (JobState.CANCELLED, JobState.TIMEOUT, JobState.OOM, JobState.NODE_FAIL)
    return word if word in known and said in (JobState.PREEMPTED, JobState.FAILED) else said


def _of_silent(word: JobState | None, *, started: bool) -> JobState:
    """What became of a job that is over and left no ``exit.json``: its runner, which always writes one, was killed."""
    if word is None or word is JobState.SUCCEEDED or (word is JobState.FAILED and started):
        return JobState.LOST
    return word
