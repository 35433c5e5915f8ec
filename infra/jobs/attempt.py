"""The folder of one attempt at a stage: the one owner of its file names, shared by caller, runner and entry.

It appears whole, with its intent and its specification, before anything is submitted. ``submitted.json`` is written
when a scheduler has taken the job, ``job.json`` by the job itself once it runs, ``exit.json`` once it is over: what is
there tells every later reader exactly how far it came. A job that its scheduler starts again keeps its attempt: how
each earlier start ended is then in ``exit.<number>.json``.
"""

import os
import shutil
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from infra.dask_cluster import SlurmWorkers
from infra.files import read_json, sync, write_json
from infra.jobs.process import Identity, is_alive, this_host
from infra.jobs.spec import JobRef, JobSpec, JobState, JobUsage
from infra.manifest import Environment, GitState, utc_now

LEASE_S = 60.0
"""A job on another host whose lease is older than this is taken for dead."""


class Call(BaseModel):
    """``spec.json``: the call that ``infra.jobs.entry`` makes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    entry: str
    arguments: dict[str, Any]
    inputs: dict[str, str]
    """Argument -> folder."""
    workspace: str
    output: str
    dask_workers: int = 0
    dask_slurm: SlurmWorkers | None = None


class Intent(BaseModel):
    """``intent.json``: what is about to be submitted, written before it is."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    token: str
    backend: str
    options: dict[str, Any] = {}
    """What the backend is made of, for whoever must find the job without the configuration."""
    job: JobSpec
    labels: dict[str, str] = {}
    created: str


class Running(BaseModel):
    """``job.json``: which processes are the job."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    ref: JobRef
    identity: Identity
    started: str
    restarts: int = 0
    """How often its scheduler had started it before."""


class Exit(BaseModel):
    """``exit.json``: how it ended."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    state: JobState
    code: int | None
    """Exit code; negative: killed by that signal; None: nobody saw it."""
    started: str
    ended: str
    wall_s: float
    max_rss_bytes: int | None = None


class Failure(BaseModel):
    """``error.json``: the exception that ended the call. ``for_user``: the message says all there is to know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    for_user: bool
    type: str
    message: str


class Surroundings(BaseModel):
    """``surroundings.json``: what the job saw of its machine and its source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: Environment
    git: GitState


class Attempt:
    """Reads and writes the files of ``attempts/<number>``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = int(path.name)
        self.intent_path = path / "intent.json"
        self.spec_path = path / "spec.json"
        self.submitted_path = path / "submitted.json"
        self.submit_lock_path = path / "submit.lock"
        self.job_path = path / "job.json"
        self.exit_path = path / "exit.json"
        self.error_path = path / "error.json"
        self.surroundings_path = path / "surroundings.json"
        self.lease_path = path / "lease.json"
        self.cancel_path = path / "cancel.request"
        self.lock_path = path / "lock"
        self.log_path = path / "log"
        self.output = path / "output"

    @classmethod
    def create(cls, path: Path, intent: Intent, call: Call) -> Self:
        """Make the folder at ``path`` in one step, so that no attempt ever lacks its intent."""
        staging = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        (staging / "output").mkdir(parents=True)
        write_json(staging / "intent.json", intent.model_dump(mode="json"))
        write_json(staging / "spec.json", call.model_dump(mode="json"))
        os.rename(staging, path)
        sync(path.parent)
        return cls(path)

    def intent(self) -> Intent:
        """What was to be submitted."""
        return Intent.model_validate(read_json(self.intent_path))

    def submitted(self) -> JobRef | None:
        """The job as its scheduler took it."""
        value = read_json(self.submitted_path)
        return None if value is None else JobRef.model_validate(value)

    def found(self, token: str) -> JobRef | None:
        """The job that carries ``token``, as far as the folder knows of it."""
        running = self.running()
        ref = running.ref if running is not None else self.submitted()
        return ref if ref is not None and ref.token == token else None

    def running(self) -> Running | None:
        """The job, once it has started."""
        value = read_json(self.job_path)
        return None if value is None else Running.model_validate(value)

    def exit(self) -> Exit | None:
        """How it ended, once it has."""
        value = read_json(self.exit_path)
        return None if value is None else Exit.model_validate(value)

    def ends(self) -> list[Exit]:
        """How each start of its job ended, in order."""
        earlier = sorted(self.path.glob("exit.*.json"), key=lambda path: int(path.name.split(".")[1]))
        values = (read_json(path) for path in (*earlier, self.exit_path))
        return [Exit.model_validate(value) for value in values if value is not None]

    def failure(self) -> Failure | None:
        """The exception that ended the call, if one did."""
        value = read_json(self.error_path)
        return None if value is None else Failure.model_validate(value)

    def surroundings(self) -> Surroundings | None:
        """Machine and source as the job saw them."""
        value = read_json(self.surroundings_path)
        return None if value is None else Surroundings.model_validate(value)

    def record_exit(
        self, state: JobState, code: int | None, started: str, wall_s: float, max_rss_bytes: int | None
    ) -> None:
        """Write ``exit.json``; whoever does so must know that the job is over."""
        ended = Exit(
            state=state, code=code, started=started, ended=utc_now(), wall_s=wall_s, max_rss_bytes=max_rss_bytes
        )
        write_json(self.exit_path, ended.model_dump(mode="json"))

    def record_refusal(self, message: str) -> None:
        """Nothing was started, and why; it would not be started the next time either."""
        failure = Failure(for_user=True, type="SubmitError", message=message)
        write_json(self.error_path, failure.model_dump(mode="json"))
        self.record_exit(JobState.FAILED, None, utc_now(), 0.0, None)

    def begin_again(self) -> None:
        """Make room for another start of the same job: the last one's end is put aside, its output dropped."""
        running = self.running()
        assert running is not None
        if self.exit() is None:
            self.record_exit(JobState.LOST, None, running.started, self.lived_s(), None)
        shutil.rmtree(self.output)
        self.output.mkdir()
        os.rename(self.exit_path, self.path / f"exit.{running.restarts}.json")
        sync(self.path)

    def request_cancel(self) -> None:
        """Ask the runner to let the work save its state and end. The file's time is that of the first request."""
        with suppress(FileExistsError):
            self.cancel_path.touch(exist_ok=False)

    def cancel_age_s(self) -> float:
        """Seconds since it was first asked to end; 0 where it was not."""
        with suppress(FileNotFoundError):
            return max(0.0, time.time() - self.cancel_path.stat().st_mtime)
        return 0.0

    def usage(self) -> JobUsage | None:
        """What its job took, all starts together; None before it is over."""
        if self.exit() is None:
            return None
        ends = self.ends()
        wall_s = round(sum(end.wall_s for end in ends), 3)
        peaks = [end.max_rss_bytes for end in ends if end.max_rss_bytes is not None]
        return JobUsage(wall_s=wall_s, max_rss_bytes=max(peaks, default=None), gpu_s=wall_s * self.intent().job.gpus)

    def is_waiting(self) -> bool:
        """Whether a scheduler has taken its job and not started it yet, as far as the folder knows."""
        return self.submitted_path.exists() and not self.job_path.exists() and not self.exit_path.exists()

    def is_live(self) -> bool:
        """Whether its job runs now: by process on this host, by a fresh lease elsewhere."""
        running = self.running()
        if running is None or self.exit_path.exists():
            return False
        if running.identity.host == this_host():
            return is_alive(running.identity)
        return self.lease_age_s() < LEASE_S

    def lived_s(self) -> float:
        """Wall seconds of a job that left no ``exit.json``: from its start to its last lease."""
        running, lease = self.running(), read_json(self.lease_path)
        if running is None or lease is None:
            return 0.0
        return max(0.0, _seconds_since(running.started) - _seconds_since(lease["at"]))

    def renew_lease(self) -> None:
        """Say that the runner lives."""
        write_json(self.lease_path, {"at": utc_now()})

    def lease_age_s(self) -> float:
        """Seconds since the runner last said that it lives; infinite before it ever did."""
        lease = read_json(self.lease_path)
        return float("inf") if lease is None else max(0.0, _seconds_since(lease["at"]))

    def tail(self, num_lines: int = 40, num_bytes: int = 65536) -> str:
        """The last lines of the log."""
        try:
            with self.log_path.open("rb") as stream:
                stream.seek(max(0, self.log_path.stat().st_size - num_bytes))
                text = stream.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-num_lines:])


def _seconds_since(moment: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
