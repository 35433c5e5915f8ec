"""Carrying out one stage so that no crash, and no second caller, makes it run twice or lose work.

Whoever holds the claim (a lock that dies with its holder) drives the stage; others wait and share its result. Each
step is written down before it is taken: attempt with intent, then submission, then the job's own ``job.json``, then
``exit.json``, then the object, then ``done.json``. A caller that starts anew reads how far the last one came and goes
on from there. The workspace is handed from attempt to attempt; the output folder is new for each.
"""

import asyncio
import inspect
import logging
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from infra.files import read_json, try_lock
from infra.jobs.attempt import Attempt, Call, Exit, Intent
from infra.jobs.backends import build_backend
from infra.jobs.local import LocalBackend
from infra.jobs.spec import Backend, BackendUnavailable, JobRef, JobState
from infra.jobs.supervision import supervise, unbroken
from infra.launch import job_spec
from infra.manifest import JobRecord, Origin, StageRecord, utc_now
from infra.outcome import StageResult, failed_stage
from infra.stage import Action, Json, Stage, ingredients, stage_key
from infra.stage_folder import Done
from infra.store import ObjectDamaged, ObjectMissing, ObjectRef, Store

OnProgress = Callable[[dict[str, Any]], Awaitable[None] | None]
"""Called with the content of the stage's ``progress.json`` whenever it changes."""

_log = logging.getLogger(__name__)


async def execute(
    stage: Stage,
    values: Mapping[str, Json],
    inputs: Mapping[str, ObjectRef],
    store: Store,
    backend: Backend,
    on_progress: OnProgress | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
) -> StageResult:
    """The result of ``stage``: reused, waited for, or made.

    Args:
        values: dotted path -> JSON value, as `Stage.values` gives.
        inputs: argument -> object, one for each declared input.
        on_progress: told of progress, whoever's job it is; what it raises is logged, not raised.
        labels: written into the intent, for `cancel_jobs`.
        env: environment variables for the job, beyond the inherited ones.

    Cancelling the coroutine leaves the job running; the next call adopts it, on whichever backend it is. A backend that
    does not answer is waited for. Raises StageError; ValueError when ``inputs`` are not the declared ones.
    """
    if stage.resources.here and backend.name != LocalBackend.name:
        backend = LocalBackend()
    work = _Execution(stage, values, inputs, store, backend, on_progress, labels or {}, env or {})
    found = await asyncio.to_thread(work.finished)
    if found is not None:
        return work.result(found, Action.REUSE)
    async with work.claim() as waited:
        found = await asyncio.to_thread(work.finished)
        if found is not None:
            return work.result(found, Action.ADOPT if waited else Action.REUSE)
        return await work.carry_out()


def cancel_jobs(store: Store, labels: Mapping[str, str]) -> list[JobRef]:
    """Ask every unfinished job whose intent carries all of ``labels`` to end; returns those asked.

    A job that its backend cannot be asked about now finds the request in its attempt's folder.
    """
    asked = []
    for folder in store.stage_folders():
        attempts = folder.attempts()
        if not attempts or attempts[-1].exit() is not None:
            continue
        attempt = attempts[-1]
        intent = attempt.intent()
        if not labels.items() <= intent.labels.items():
            continue
        attempt.request_cancel()  # seen by a job that is only about to start, too
        backend = build_backend(intent.backend, intent.options)
        try:
            ref = backend.find(attempt, intent.token)
        except BackendUnavailable as trouble:
            _log.warning("%s: asked to end through its folder alone, because %s", folder.name, trouble)
            continue
        if ref is not None:
            backend.cancel(ref)
            asked.append(ref)
    return asked


class _Execution:
    def __init__(
        self,
        stage: Stage,
        values: Mapping[str, Json],
        inputs: Mapping[str, ObjectRef],
        store: Store,
        backend: Backend,
        on_progress: OnProgress | None,
        labels: Mapping[str, str],
        env: Mapping[str, str],
    ) -> None:
        self._stage = stage
        self._values = values
        self._inputs = inputs
        self._digests = {argument: ref.digest for argument, ref in inputs.items()}
        self._key = stage_key(stage, values, self._digests)
        self._store = store
        self._backend = backend
        self._on_progress = on_progress
        self._labels = labels
        self._env = env
        self._folder = store.stage_folder(stage.name, self._key)
        self._progress: Any = None

    def finished(self) -> Done | None:
        """The completion, if its result is whole; a damaged one counts for nothing."""
        try:
            return self._folder.done() if self._store.finished(self._folder) else None
        except (ObjectMissing, ObjectDamaged) as trouble:
            _log.warning("%s: made again, because %s", self._stage.name, trouble)
            return None

    def result(self, done: Done, action: Action) -> StageResult:
        return StageResult(
            stage=self._stage.name,
            key=self._key,
            object=self._store.object(done.kind, done.digest),
            action=action,
            wall_s=done.wall_s,
        )

    @asynccontextmanager
    async def claim(self) -> AsyncIterator[bool]:
        """Hold the stage; the value says whether someone else had it before."""
        waited = False
        while (lock := try_lock(self._folder.claim_path)) is None:
            waited = True
            await self._forward_progress()
            await asyncio.sleep(self._backend.poll_s)
        try:
            yield waited
        finally:
            os.close(lock)

    async def carry_out(self) -> StageResult:
        """See attempts through until one gives the result."""
        limits = self._stage.resources
        action: Action | None = None
        started = 0
        while True:
            attempt = self._open_attempt()
            if attempt is None:
                first = not self._fresh_attempts()
                attempt = self._new_attempt()
                started += 1
                action = action or (Action.RUN if first else Action.RESUME)
            action = action or Action.ADOPT
            ended = await supervise(attempt, self._backend_of(attempt), self._forward_progress)
            if ended.state is JobState.SUCCEEDED:
                done = await unbroken(self._publish, attempt, ended)
                return self.result(done, action)
            spent = limits.max_total_s is not None and self._wall_s() >= limits.max_total_s
            if not ended.state.may_resume or started >= limits.max_attempts or spent:
                raise failed_stage(self._stage.name, attempt, ended)
            _log.warning("%s: attempt %d ended %s, going on", self._stage.name, attempt.number, ended.state.value)

    def _wall_s(self) -> float:
        """Seconds that all jobs of the stage ran since it was last done."""
        return round(sum(usage.wall_s for one in self._fresh_attempts() if (usage := one.usage())), 3)

    def _open_attempt(self) -> Attempt | None:
        """The last attempt if it still may give the result."""
        attempts = self._fresh_attempts()
        if not attempts:
            return None
        ended = attempts[-1].exit()
        if ended is None or (ended.state is JobState.SUCCEEDED and attempts[-1].output.is_dir()):
            return attempts[-1]
        return None

    def _fresh_attempts(self) -> list[Attempt]:
        """Attempts since the stage was last done: it is done again where the stored result was damaged."""
        done = self._folder.done()
        return self._folder.attempts()[done.attempts if done else 0 :]

    def _new_attempt(self) -> Attempt:
        path = self._folder.next_attempt_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._folder.workspace.mkdir(exist_ok=True)
        call = Call(
            entry=self._stage.entry,
            arguments=self._stage.arguments(self._values),
            inputs={argument: str(ref.path) for argument, ref in self._inputs.items()},
            workspace=str(self._folder.workspace),
            output=str(path / "output"),
            dask_workers=self._stage.resources.dask_workers,
            dask_slurm=self._stage.resources.dask_slurm,
        )
        intent = Intent(
            token=uuid.uuid4().hex,
            backend=self._backend.name,
            options=self._backend.options,
            job=job_spec(self._stage, path / "spec.json", self._env, self._backend.home),
            labels=dict(self._labels),
            created=utc_now(),
        )
        return Attempt.create(path, intent, call)

    def _backend_of(self, attempt: Attempt) -> Backend:
        """The backend that has the job: an earlier run may have been configured otherwise."""
        intent = attempt.intent()
        return self._backend if intent.backend == self._backend.name else build_backend(intent.backend, intent.options)

    async def _forward_progress(self) -> None:
        """Best effort: neither a file caught half-written nor a listener in trouble may end the work."""
        if self._on_progress is None:
            return
        try:
            progress = read_json(self._folder.progress_path)
        except ValueError:
            return
        if progress is None or progress == self._progress:
            return
        self._progress = progress
        try:
            heard = self._on_progress(progress)
            if inspect.isawaitable(heard):
                await heard
        except Exception:
            _log.warning("%s: nobody was told of the progress", self._stage.name, exc_info=True)

    def _publish(self, attempt: Attempt, ended: Exit) -> Done:
        running, seen = attempt.running(), attempt.surroundings()
        assert running is not None
        assert ended.code is not None, "only the runner calls a job a success, and it saw its end"
        fresh = self._fresh_attempts()
        job = JobRecord(
            backend=running.ref.backend,
            id=running.ref.id,
            chain=tuple(past.ref.id for one in fresh if (past := one.running())),
            started=ended.started,
            wall_s=ended.wall_s,
            gpu_s=round(sum(usage.gpu_s for one in fresh if (usage := one.usage())), 3),
            exit=ended.code,
            max_rss_bytes=ended.max_rss_bytes,
        )
        record = StageRecord(name=self._stage.name, version=self._stage.version, key=self._key, attempt=attempt.number)
        origin = Origin(stage=record, inputs=self._digests, config=dict(self._values), job=job)
        if seen is not None:
            origin = origin.model_copy(update={"env": seen.env, "git": seen.git})
        ref = self._store.publish_object(attempt.output, self._stage.name, origin, move=True)
        done = Done(
            key=self._key,
            kind=ref.kind,
            digest=ref.digest,
            ingredients=ingredients(self._stage, self._values, self._digests),
            attempts=attempt.number,
            wall_s=self._wall_s(),
            finished=utc_now(),
        )
        self._folder.record_done(done)
        self._folder.clean()
        return done
