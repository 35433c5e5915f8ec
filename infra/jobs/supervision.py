"""One attempt from its intent to its end: submitted once, looked at until it is over, its end written down."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from infra.jobs.attempt import Attempt, Exit
from infra.jobs.spec import Backend, BackendUnavailable, JobRef, JobState, JobStatus, SubmitError
from infra.manifest import utc_now

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


async def supervise(attempt: Attempt, backend: Backend, on_look: Callable[[], Awaitable[None]]) -> Exit:
    """Submit the attempt's job if need be and wait for its end; ``on_look`` is awaited at every look.

    Cancelling the coroutine leaves the job running. A backend that does not answer is waited for.
    """
    ended = attempt.exit()
    if ended is not None:
        return ended
    ref = await _submitted(attempt, backend)
    if ref is None:
        return _known(attempt.exit())
    pause = min(0.05, backend.poll_s)
    while True:
        status = (await asyncio.to_thread(backend.poll, [ref]))[ref]
        await on_look()
        if status.state.is_over:
            break
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, backend.poll_s)
    _write_down(attempt, status)
    return _known(attempt.exit())


def look_at(attempt: Attempt, backend: Backend) -> JobState | None:
    """One look at an attempt that nobody supervises: its end is written down if it is over, and it is asked again to
    end if it had been. The state, or None where no job was ever submitted. Raises BackendUnavailable."""
    ref = backend.find(attempt, attempt.intent().token)
    if ref is None:
        if attempt.cancel_path.exists():
            attempt.record_exit(JobState.CANCELLED, None, utc_now(), 0.0, None)
        return None
    status = backend.poll([ref])[ref]
    if status.state.is_over:
        _write_down(attempt, status)
    elif attempt.cancel_path.exists():
        backend.cancel(ref)
    return status.state


async def _submitted(attempt: Attempt, backend: Backend) -> JobRef | None:
    """The attempt's job, or None where there is none and ``exit.json`` says why."""
    intent = attempt.intent()
    told = False
    while True:
        try:
            found = await unbroken(backend.find, attempt, intent.token)
            if found is None and attempt.cancel_path.exists():
                attempt.record_exit(JobState.CANCELLED, None, utc_now(), 0.0, None)
                return None
            return found or await unbroken(backend.submit, intent.job, attempt, intent.token)
        except SubmitError as error:
            attempt.record_refusal(f"{backend.name} did not take the job: {error}")
            return None
        except BackendUnavailable as trouble:
            if not told:
                _log.warning("waiting for %s, because %s", backend.name, trouble)
            told = True
            await asyncio.sleep(backend.poll_s)


def _write_down(attempt: Attempt, status: JobStatus) -> None:
    """The backend's word where the runner left none, or does not know why it was told to end. If someone had asked the
    job to end, that is why."""
    ended = attempt.exit()
    if ended is not None and ended.state in (JobState.SUCCEEDED, status.state):
        return
    state = JobState.CANCELLED if attempt.cancel_path.exists() else status.state
    if ended is not None:
        attempt.record_exit(state, ended.code, ended.started, ended.wall_s, ended.max_rss_bytes)
        return
    running = attempt.running()
    attempt.record_exit(state, status.code, running.started if running else utc_now(), attempt.lived_s(), None)


def _known(ended: Exit | None) -> Exit:
    assert ended is not None
    return ended


async def unbroken(function: Callable[..., _T], *arguments: Any) -> _T:
    """Call in a thread and, if cancelled meanwhile, let it end first: it must not outlive the claim."""
    call = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait([call])
        raise
