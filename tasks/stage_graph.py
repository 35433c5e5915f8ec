"""Stages in the order that their inputs allow: jobs of networks in turn, the longest way to the end first."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from infra.jobs.local import LocalBackend
from infra.jobs.spec import Backend
from infra.outcome import StageResult
from infra.stage import Stage, stage_key
from infra.store import Store
from tasks.cancellation import STAGE_KEY, Followed
from tasks.run_stage import StageWork, run_stage
from tasks.terminal import StageView


class StageGraph:
    """The stages of one run: what is done, what is lost, and what may start next.

    ``stages``: every input among them, before what uses it. ``parallel_jobs``: stages with exclusive resources that run
    on this machine at once, since two jobs that each use every core or GPU would only take longer each; those of a
    cluster wait in its own queue.
    """

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
        self._parallel_jobs = parallel_jobs
        self._results: dict[str, StageResult] = {}
        self._errors: dict[str, Exception] = {}
        self._lost: set[str] = set()
        """Stages that may fail, and did or wait for one that did."""

    async def run(self) -> dict[str, StageResult]:
        """The results by name, without those of stages that may fail and did.

        When another stage fails no further one is started, those that run are seen to their end, and the first error in
        the stages' order is raised. A cancelled coroutine leaves the jobs running.
        """
        chains = chain_lengths(self._stages)
        waiting = sorted(self._stages, key=lambda stage: -chains[stage.name])  # stable: else in their own order
        running: dict[asyncio.Task[StageResult], Stage] = {}
        try:
            while True:
                for stage in list(waiting):
                    if self._may_start(stage, running.values()):
                        waiting.remove(stage)
                        running[asyncio.create_task(self._bring_up(stage), name=stage.name)] = stage
                if not running:
                    break
                ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    self._settle(running.pop(task), task)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        for stage in self._stages:
            if stage.name in self._errors:
                raise self._errors[stage.name]
        return {stage.name: self._results[stage.name] for stage in self._stages if stage.name in self._results}

    def _may_start(self, stage: Stage, running: Iterable[Stage]) -> bool:
        settled = self._results.keys() | (set() if stage.may_fail else self._lost)
        if self._errors or not settled.issuperset(stage.inputs.values()):
            return False
        return not self._is_exclusive(stage) or sum(map(self._is_exclusive, running)) < self._parallel_jobs

    def _is_exclusive(self, stage: Stage) -> bool:
        on_this_machine = stage.resources.here or self._backend.name == LocalBackend.name
        return stage.resources.exclusive and on_this_machine

    def _settle(self, stage: Stage, task: "asyncio.Task[StageResult]") -> None:
        error = task.exception()
        if error is None:
            self._results[stage.name] = task.result()
        elif not isinstance(error, Exception):
            raise error
        elif not stage.may_fail:
            self._errors[stage.name] = error
        else:
            self._lost.add(stage.name)
            for later in self._stages:
                if later.may_fail and not self._lost.isdisjoint(later.inputs.values()):
                    self._lost.add(later.name)

    async def _bring_up(self, stage: Stage) -> StageResult:
        # What may fail and did is missing from the inputs, and so from the key.
        kept = {argument: source for argument, source in stage.inputs.items() if source in self._results}
        inputs = {argument: self._results[source].object for argument, source in kept.items()}
        stage = replace(stage, inputs=kept)
        values = stage.values(self._values)
        key = stage_key(stage, values, {argument: ref.digest for argument, ref in inputs.items()})
        self._followed.add(stage.name, key)
        work = StageWork(stage, values, inputs, self._store, self._backend, {STAGE_KEY: key}, self._view)
        state = await run_stage(stage.name, work)
        return await state.aresult()


def chain_lengths(stages: Sequence[Stage]) -> dict[str, int]:
    """By name, how many exclusive stages the longest way from a stage to the end has, itself included.

    ``stages``: inputs before what uses them.
    """
    lengths: dict[str, int] = {}
    for stage in reversed(stages):
        after = (lengths[later.name] for later in stages if stage.name in later.inputs.values())
        lengths[stage.name] = stage.resources.exclusive + max(after, default=0)
    return lengths
