"""Many stages: each starts when its inputs are there, jobs of networks in turn, data work beside them."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

from prefect.runtime import flow_run

from diffsensei.config import ExperimentConfig
from infra.jobs.spec import Backend
from infra.outcome import StageResult
from infra.plan import make_plan
from infra.stage import Stage, stage_key
from infra.store import ObjectRef, Store
from tasks.artifacts import show_plan
from tasks.cancellation import STAGE_KEY, Followed, watch_for_cancel
from tasks.placement import configured_backend, limited, placed
from tasks.planning import needed_for
from tasks.publication import open_store
from tasks.run_stage import StageWork, run_stage
from tasks.stages import pipeline_stages
from tasks.terminal import StageView, open_view


@dataclass(frozen=True)
class PipelineRun:
    """What a flow made or found: results by stage, in the store."""

    config: ExperimentConfig
    store: Store
    results: Mapping[str, StageResult]


async def run_pipeline(config: ExperimentConfig, targets: Sequence[str]) -> PipelineRun:
    """Bring ``targets`` and all they need up to date. Called inside a flow.

    When a stage fails no further one is started, those that run are seen to their end, and its StageError is raised;
    but of one that may fail only the result is missing.
    Cancelling the coroutine leaves the jobs running; `tasks.cancellation` is the way to stop them.
    """
    stages = needed_for(targets, placed(pipeline_stages(config), config))
    store = open_store()
    backend = configured_backend(config.jobs)
    results = await run_stages(stages, config.keyed(), store, backend, parallel_jobs=config.runtime.parallel_jobs)
    return PipelineRun(config, store, results)


async def run_stages(
    stages: Sequence[Stage],
    values: Mapping[str, Any],
    store: Store,
    backend: Backend,
    *,
    parallel_jobs: int = 1,
) -> dict[str, StageResult]:
    """The results of ``stages`` by name. Every input must be among them; ``values`` is the nested configuration.

    ``parallel_jobs``: stages with exclusive resources that may run at once.
    """
    await show_plan(await asyncio.to_thread(make_plan, stages, values, store))
    run_id = str(flow_run.id)
    with open_view() as view:
        graph = _Graph(stages, values, store, backend, Followed(store, run_id), view, parallel_jobs)
        async with watch_for_cancel(store, run_id):
            return await graph.run()


async def run_alone(
    stage: Stage, config: ExperimentConfig, inputs: Mapping[str, ObjectRef], store: Store, title: str = ""
) -> StageResult:
    """The result of one stage whose ``inputs`` are stored objects, whoever made them. Called inside a flow.

    ``title`` (the stage's name by default) is what people see. Raises as `run_stages`.
    """
    stage, backend = limited(stage, config), configured_backend(config.jobs)
    values = stage.values(config.keyed())
    key = stage_key(stage, values, {argument: ref.digest for argument, ref in inputs.items()})
    run_id = str(flow_run.id)
    Followed(store, run_id).add(stage.name, key)
    with open_view() as view:
        work = StageWork(stage, values, inputs, store, backend, {STAGE_KEY: key}, view)
        async with watch_for_cancel(store, run_id):
            state = await run_stage(title or stage.name, work)
            return await state.aresult()


class _Skipped(Exception):
    """Not started, because another stage failed."""


class _Graph:
    def __init__(
        self,
        stages: Sequence[Stage],
        values: Mapping[str, Any],
        store: Store,
        backend: Backend,
        followed: Followed,
        view: StageView,
        parallel_jobs: int,
    ) -> None:
        self._stages = stages
        self._values = values
        self._store = store
        self._backend = backend
        self._followed = followed
        self._view = view
        # Two jobs that each use every core or GPU would only take longer each.
        self._exclusive = asyncio.Semaphore(parallel_jobs)
        self._failed = False
        self._may_fail = {stage.name for stage in stages if stage.may_fail}
        self._running: dict[str, asyncio.Task[StageResult]] = {}

    async def run(self) -> dict[str, StageResult]:
        for stage in self._stages:
            self._running[stage.name] = asyncio.create_task(self._bring_up(stage), name=stage.name)
        ended = await asyncio.gather(*self._running.values(), return_exceptions=True)
        results: dict[str, StageResult] = {}
        troubles: list[BaseException] = []
        for stage, outcome in zip(self._stages, ended, strict=True):
            if not isinstance(outcome, BaseException):
                results[stage.name] = outcome
            elif not stage.may_fail or not isinstance(outcome, Exception):
                troubles.append(outcome)
        for trouble in sorted(troubles, key=lambda trouble: isinstance(trouble, _Skipped)):
            raise trouble
        return results

    async def _bring_up(self, stage: Stage) -> StageResult:
        inputs = {}
        for argument, source in stage.inputs.items():
            try:
                inputs[argument] = (await asyncio.shield(self._running[source])).object
            except Exception as error:
                if stage.may_fail or source not in self._may_fail:
                    raise _Skipped(source) from error
        # What may fail and did is missing from the inputs, and so from the key.
        stage = replace(stage, inputs={argument: stage.inputs[argument] for argument in inputs})
        async with AsyncExitStack() as held:
            if stage.resources.exclusive:
                await held.enter_async_context(self._exclusive)
            if self._failed:
                raise _Skipped(stage.name)
            values = stage.values(self._values)
            key = stage_key(stage, values, {argument: ref.digest for argument, ref in inputs.items()})
            self._followed.add(stage.name, key)
            labels = {STAGE_KEY: key}
            work = StageWork(stage, values, inputs, self._store, self._backend, labels, self._view)
            try:
                state = await run_stage(stage.name, work)
                return await state.aresult()
            except Exception:
                self._failed = self._failed or not stage.may_fail
                raise
