"""Stages in the order that their inputs allow: jobs of networks in turn, the longest way to the end first."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from infra.jobs.local import LocalBackend
from infra.jobs.spec import Backend
from infra.outcome import StageResult
from infra.stage import Json, Stage
from infra.store import Store
from tasks.cancellation import Followed
from tasks.run_stage import StageWork, run_stage
from tasks.terminal import StageView


@dataclass(frozen=True)
class Node:
    """A stage in a graph. Its inputs name other nodes."""

    title: str
    """What people see; no other node has it."""
    stage: Stage
    values: Mapping[str, Json]
    """The slice of a configuration that the stage is given, by dotted path."""


class StageGraph:
    """The stages of one run: what is done, what is lost, and what may start next.

    ``nodes``: by name, every input among them and before what uses it. ``parallel_jobs``: stages with exclusive
    resources that run on this machine at once, since two jobs that each use every core or GPU would only take longer
    each; those of a cluster wait in its own queue.
    """

    def __init__(
        self,
        nodes: Mapping[str, Node],
        store: Store,
        backend: Backend,
        followed: Followed,
        view: StageView,
        parallel_jobs: int,
    ) -> None:
        self._nodes = nodes
        self._store = store
        self._backend = backend
        self._followed = followed
        self._view = view
        self._parallel_jobs = parallel_jobs
        self._errors: dict[str, Exception] = {}
        self.results: dict[str, StageResult] = {}
        """By the nodes' names."""
        self.lost: dict[str, Exception] = {}
        """Nodes of stages that may fail, and did or need one that did, with what went wrong."""

    async def run(self) -> None:
        """Bring all up to date.

        When a stage that must not fail does, no further one is started, those that run are seen to their end, and the
        first such error in the nodes' order is raised. A cancelled coroutine leaves the jobs running.
        """
        chains = chain_lengths({name: node.stage for name, node in self._nodes.items()})
        waiting = sorted(self._nodes, key=lambda name: -chains[name])  # stable: else in their own order
        running: dict[asyncio.Task[StageResult], str] = {}
        try:
            while True:
                for name in list(waiting):
                    if self._may_start(name, running.values()):
                        waiting.remove(name)
                        running[asyncio.create_task(self._bring_up(name), name=name)] = name
                if not running:
                    break
                ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    self._settle(running.pop(task), task)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        for name in self._nodes:
            if name in self._errors:
                raise self._errors[name]

    def _may_start(self, name: str, running: Iterable[str]) -> bool:
        stage = self._nodes[name].stage
        settled = self.results.keys() | (set() if stage.may_fail else self.lost.keys())
        if self._errors or not settled.issuperset(stage.inputs.values()):
            return False
        return not self._is_exclusive(name) or sum(map(self._is_exclusive, running)) < self._parallel_jobs

    def _is_exclusive(self, name: str) -> bool:
        resources = self._nodes[name].stage.resources
        return resources.exclusive and (resources.here or self._backend.name == LocalBackend.name)

    def _settle(self, name: str, task: "asyncio.Task[StageResult]") -> None:
        error = task.exception()
        if error is None:
            self.results[name] = task.result()
        elif not isinstance(error, Exception):
            raise error
        elif not self._nodes[name].stage.may_fail:
            self._errors[name] = error
        else:
            self.lost[name] = error
            for later, node in self._nodes.items():
                if node.stage.may_fail and not self.lost.keys().isdisjoint(node.stage.inputs.values()):
                    self.lost.setdefault(later, error)

    async def _bring_up(self, name: str) -> StageResult:
        node = self._nodes[name]
        # What may fail and did is missing from the inputs, and so from the key.
        kept = {argument: source for argument, source in node.stage.inputs.items() if source in self.results}
        inputs = {argument: self.results[source].object for argument, source in kept.items()}
        stage = replace(node.stage, inputs=kept)
        work = StageWork(node.title, stage, node.values, inputs, self._store, self._backend, self._view)
        self._followed.add(node.title, work.key)
        state = await run_stage(node.title, work)
        return await state.aresult()


def chain_lengths(stages: Mapping[str, Stage]) -> dict[str, int]:
    """By name, how many exclusive stages the longest way from a stage to the end has, itself included.

    ``stages``: by name, inputs before what uses them.
    """
    lengths: dict[str, int] = {}
    for name, stage in reversed(list(stages.items())):
        after = (lengths[later] for later in lengths if name in stages[later].inputs.values())
        lengths[name] = stage.resources.exclusive + max(after, default=0)
    return lengths
