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
from typing import Any, TypeVar

from infra.files import read_json, try_lock
from infra.jobs.attempt import Attempt, Call, Exit, Intent
from infra.jobs.spec import Backend, JobRef, JobState
from infra.launch import job_spec
from infra.manifest import JobRecord, Origin, StageRecord, utc_now
from infra.outcome import StageResult, failed_stage
from infra.stage import Action, Json, Stage, ingredients, stage_key
from infra.stage_folder import Done
from infra.store import ObjectDamaged, ObjectMissing, ObjectRef, Store

OnProgress = Callable[[dict[str, Any]], Awaitable[None] | None]
"""Called with the content of the stage's ``progress.json`` whenever it changes."""

_T = TypeVar("_T")
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
    max_attempts: int = 5,
) -> StageResult:
    """The result of ``stage``: reused, waited for, or made.

    Args:
        values: dotted path -> JSON value, as `Stage.values` gives.
        inputs: argument -> object, one for each declared input.
        on_progress: told of progress, whoever's job it is; what it raises is logged, not raised.
        labels: written into the intent, for `cancel_jobs`.
        env: environment variables for the job, beyond the inherited ones.
        max_attempts: jobs this call may start before preemption, time-out or loss ends it.

    Cancelling the coroutine leaves the job running; the next call adopts it. Raises StageError; SubmitError when the
    backend would not take the job; ValueError when ``inputs`` are not the declared ones.
    """
    work = _Execution(stage, values, inputs, store, backend, on_progress, labels or {}, env or {})
    found = await asyncio.to_thread(work.finished)
    if found is not None:
        return work.result(found, Action.REUSE)
    async with work.claim() as waited:
        found = await asyncio.to_thread(work.finished)
        if found is not None:
            return work.result(found, Action.ADOPT if waited else Action.REUSE)
        return await work.carry_out(max_attempts)


def cancel_jobs(store: Store, backend: Backend, labels: Mapping[str, str]) -> list[JobRef]:
    """Ask every unfinished job of ``backend`` whose intent carries all of ``labels`` to end; returns those asked."""
    asked = []
    for folder in store.stage_folders():
        attempts = folder.attempts()
        if not attempts or attempts[-1].exit() is not None:
            continue
        attempt = attempts[-1]
        intent = attempt.intent()
        if intent.backend != backend.name or not labels.items() <= intent.labels.items():
            continue
        attempt.cancel_path.touch()  # seen by a job that is only about to start, too
        ref = backend.find(attempt, intent.token)
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

    async def carry_out(self, max_attempts: int) -> StageResult:
        """See attempts through until one gives the result."""
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
            ended = await self._follow(attempt)
            if ended.state is JobState.SUCCEEDED:
                done = await _unbroken(self._publish, attempt, ended)
                return self.result(done, action)
            if not ended.state.may_resume or started >= max_attempts:
                raise failed_stage(self._stage.name, attempt, ended)
            _log.warning("%s: attempt %d ended %s, going on", self._stage.name, attempt.number, ended.state.value)

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
            job=job_spec(self._stage, path / "spec.json", self._env),
            labels=dict(self._labels),
            created=utc_now(),
        )
        return Attempt.create(path, intent, call)

    async def _follow(self, attempt: Attempt) -> Exit:
        """Submit the attempt if need be, and wait for its end."""
        ended = attempt.exit()
        if ended is not None:
            return ended
        ref = await _unbroken(self._submitted, attempt)
        pause = min(0.05, self._backend.poll_s)
        while True:
            status = (await asyncio.to_thread(self._backend.poll, [ref]))[ref]
            await self._forward_progress()
            if status.state.is_over:
                break
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, self._backend.poll_s)
        ended = attempt.exit()
        if ended is None:  # the runner itself was lost; the backend's word stands, unless someone had cancelled
            running = attempt.running()
            state = JobState.CANCELLED if attempt.cancel_path.exists() else status.state
            code = -1 if status.code is None else status.code
            attempt.record_exit(state, code, running.started if running else utc_now(), attempt.lived_s(), None)
            ended = attempt.exit()
        assert ended is not None
        return ended

    def _submitted(self, attempt: Attempt) -> JobRef:
        intent = attempt.intent()
        if intent.backend != self._backend.name:
            raise ValueError(
                f"stage {self._stage.name} has a job on backend {intent.backend!r}, this run uses "
                f"{self._backend.name!r}; wait for that job or cancel it"
            )
        found = self._backend.find(attempt, intent.token)
        return found or self._backend.submit(intent.job, attempt, intent.token)

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
        job = JobRecord(
            backend=running.ref.backend,
            id=running.ref.id,
            started=ended.started,
            wall_s=ended.wall_s,
            exit=ended.code,
            max_rss_bytes=ended.max_rss_bytes,
        )
        record = StageRecord(name=self._stage.name, version=self._stage.version, key=self._key, attempt=attempt.number)
        origin = Origin(stage=record, inputs=self._digests, config=dict(self._values), job=job)
        if seen is not None:
            origin = origin.model_copy(update={"env": seen.env, "git": seen.git})
        ref = self._store.publish_object(attempt.output, self._stage.name, origin, move=True)
        walls = [past.wall_s for one in self._fresh_attempts() if (past := one.exit())]
        done = Done(
            key=self._key,
            kind=ref.kind,
            digest=ref.digest,
            ingredients=ingredients(self._stage, self._values, self._digests),
            attempts=attempt.number,
            wall_s=round(sum(walls), 3),
            finished=utc_now(),
        )
        self._folder.record_done(done)
        self._folder.clean()
        return done


async def _unbroken(function: Callable[..., _T], *arguments: Any) -> _T:
    """Call in a thread and, if cancelled meanwhile, let it end first: it must not outlive the claim."""
    call = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait([call])
        raise
