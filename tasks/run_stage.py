"""One stage as one Prefect task: the store decides whether it runs, a job does the work, this task watches."""

import asyncio
import re
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

from prefect import task
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from infra.execution import execute
from infra.jobs.spec import Backend
from infra.outcome import StageError, StageResult
from infra.stage import Action, Stage, stage_key
from infra.store import ObjectRef, Store
from tasks.cancellation import STAGE_KEY
from tasks.gpu_limit import gpu_slots
from tasks.terminal import StageView, describe_progress, share

STARTED_AFTER_S = 1.0
"""What takes longer is at work; finding a stored result takes less."""

ARTIFACT_EVERY_S = 5.0
"""Each update is a request and a row on the server."""

_DONE = {Action.RUN: "done", Action.RESUME: "done", Action.ADOPT: "done", Action.REUSE: "reused"}


class StageWork:
    """A stage with everything it needs, as one value that Prefect passes through without looking inside."""

    def __init__(
        self,
        title: str,
        stage: Stage,
        values: Mapping[str, Any],
        inputs: Mapping[str, ObjectRef],
        store: Store,
        backend: Backend,
        view: StageView,
    ) -> None:
        self.stage = stage
        self._title = title
        self._values = values
        self._inputs = inputs
        self._store = store
        self._backend = backend
        self._view = view
        self.key = stage_key(stage, values, {argument: ref.digest for argument, ref in inputs.items()})
        self._artifact: UUID | None = None
        self._shown_at = float("-inf")

    async def carry_out(self) -> StageResult:
        """The stage's result, reused or made. Raises StageError."""
        began = time.monotonic()
        said = asyncio.get_running_loop().call_later(STARTED_AFTER_S, self._view.started, self._title)
        try:
            async with AsyncExitStack() as held:
                if not await asyncio.to_thread(self._is_stored):
                    await held.enter_async_context(gpu_slots(self.stage, self._backend))
                result = await execute(
                    self.stage,
                    self._values,
                    self._inputs,
                    self._store,
                    self._backend,
                    self._show,
                    labels={STAGE_KEY: self.key},
                )
        except StageError as error:
            self._view.finished(self._title, str(error.state), time.monotonic() - began)
            raise
        finally:
            said.cancel()
        self._view.finished(self._title, _DONE[result.action], time.monotonic() - began)
        if self._artifact is not None:
            await aupdate_progress_artifact(self._artifact, progress=100.0)
        return result

    def _is_stored(self) -> bool:
        """Whether the result only needs to be found: that waits for no GPU."""
        return self._store.stage_folder(self.stage.name, self.key).done() is not None

    async def _show(self, progress: dict[str, Any]) -> None:
        self._view.progressed(self._title, progress)
        if time.monotonic() - self._shown_at < ARTIFACT_EVERY_S:
            return
        self._shown_at = time.monotonic()
        percent, text = 100 * share(progress), describe_progress(progress)
        if self._artifact is None:
            key = re.sub(r"[^a-z0-9]+", "-", self._title.lower()).strip("-")
            self._artifact = await acreate_progress_artifact(percent, key=key, description=text)
        else:
            await aupdate_progress_artifact(self._artifact, progress=percent, description=text)


@task(name="stage", task_run_name="{stage}", cache_policy=NO_CACHE, persist_result=False, retries=0)
async def run_stage(stage: str, work: StageWork) -> State[StageResult]:
    """Bring one stage up to date. The state is named ``Reused`` where nothing had to be done."""
    result = await work.carry_out()
    if result.action is Action.REUSE:
        return Completed(name="Reused", message=f"{stage}: stored result {result.object.digest[:12]}", data=result)
    return Completed(message=f"{stage}: {result.object.digest[:12]} in {result.wall_s:.0f} s", data=result)
