"""Slurm's command line: what it was asked, what it said, and its own words for where a job stands."""

import subprocess
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from infra.jobs.process import inherited_environment
from infra.jobs.spec import BackendUnavailable, JobState

ANSWER_WITHIN_S = 60.0
_UNREACHABLE = ("unable to contact", "timed out", "connection refused", "zero bytes", "connection reset", "try again")
"""In what a command says when the controller could not be asked, in lower case."""
_WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"}
_ENDED = {
    "COMPLETED": JobState.SUCCEEDED,
    "FAILED": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
    "TIMEOUT": JobState.TIMEOUT,
    "DEADLINE": JobState.TIMEOUT,
    "PREEMPTED": JobState.PREEMPTED,
    "NODE_FAIL": JobState.NODE_FAIL,
    "BOOT_FAIL": JobState.NODE_FAIL,
    "OUT_OF_MEMORY": JobState.OOM,
    "REVOKED": JobState.LOST,
}


class SlurmError(RuntimeError):
    """A command of Slurm said no; the message is its last line."""


class Listed(NamedTuple):
    """One job as Slurm lists it."""

    state: JobState
    token: str
    """The job's comment; empty where the accounting does not keep it."""


def state_of(word: str) -> JobState:
    """Slurm's state (``squeue``'s %T, ``sacct``'s State) as ours; one that is not known here counts as running."""
    word = word.split()[0].rstrip("+") if word.strip() else ""
    if word in _WAITING:
        return JobState.PENDING
    return _ENDED.get(word, JobState.RUNNING)


class SlurmCommands:
    """Runs Slurm's commands after ``prefix``. Words and formats hold no character that a shell on the way (ssh) reads.

    Errors: SlurmError where Slurm refuses, BackendUnavailable where it does not answer.
    """

    def __init__(self, prefix: Sequence[str]) -> None:
        self._prefix = tuple(prefix)
        self._listed: dict[str, Listed] = {}
        self._listed_at = float("-inf")
        self._listing = threading.Lock()

    def submit(self, script: str, keep_open: int) -> str:
        """The number of the new job. ``keep_open``: a descriptor that the command holds for as long as it lives."""
        number = self._run(["sbatch", "--parsable"], script, (keep_open,)).strip().split(";")[0]
        self._listed_at = float("-inf")
        return number

    def jobs(self, max_age_s: float) -> dict[str, Listed]:
        """This user's jobs by number, those that ended a moment ago included: one question for all of them.

        An answer no older than ``max_age_s`` is given again.
        """
        with self._listing:
            if time.monotonic() - self._listed_at > max_age_s:
                asked_at = time.monotonic()
                said = self._run(["squeue", "--me", "--states=all", "--noheader", "--format=%i,%T,%k"])
                rows = (line.split(",", 2) for line in said.splitlines() if line.count(",") >= 2)
                self._listed = {number: Listed(state_of(state), comment) for number, state, comment in rows}
                self._listed_at = asked_at
            return self._listed

    def accounted(self, numbers: Sequence[str]) -> dict[str, Listed]:
        """Those of the jobs that the accounting knows; none where there is no accounting."""
        command = ["sacct", "-X", "--noheader", "--parsable2", f"--jobs={','.join(numbers)}", "--format=JobID,State"]
        try:
            said = self._run(command)
        except (SlurmError, BackendUnavailable):
            return {}
        rows = (line.split("|", 1) for line in said.splitlines() if "|" in line)
        return {number: Listed(state_of(state), "") for number, state in rows}

    def cancel(self, number: str, *, only_pending: bool) -> None:
        """End the job, or take it out of the queue if it still waits there."""
        self._run(["scancel", *(["--state=PENDING"] if only_pending else []), number])

    def _run(self, words: Sequence[str], text: str = "", keep_open: Sequence[int] = ()) -> str:
        try:
            done = subprocess.run(
                [*self._prefix, *words],
                input=text,
                capture_output=True,
                text=True,
                timeout=ANSWER_WITHIN_S,
                env=inherited_environment(),
                pass_fds=keep_open,
            )
        except subprocess.TimeoutExpired:
            raise BackendUnavailable(f"{words[0]} gave no answer in {ANSWER_WITHIN_S:g} s") from None
        except OSError as error:
            raise BackendUnavailable(f"{words[0]} cannot be run: {error.strerror}") from None
        if done.returncode == 0:
            return done.stdout
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        # ssh's own failures end with 255.
        if done.returncode == 255 or any(hint in said.lower() for hint in _UNREACHABLE):
            raise BackendUnavailable(f"{words[0]}: {said}")
        raise SlurmError(f"{words[0]}: {said}")
