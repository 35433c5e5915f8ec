"""Many stages inside a flow: their plan is shown, they are brought up, and a request to cancel is watched for."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect.runtime import flow_run

from diffsensei.config import ExperimentConfig
from infra.jobs.spec import Backend
from infra.outcome import StageResult
from infra.plan import make_plan
from infra.stage import Stage
from infra.store import ObjectRef, Store
from tasks.artifacts import show_plan
from tasks.cancellation import Followed, watch_for_cancel
from tasks.placement import configured_backend, limited, placed
from tasks.planning import needed_for
from tasks.publication import open_store
from tasks.run_stage import StageWork, run_stage
from tasks.stage_graph import Node, StageGraph
from tasks.stages import pipeline_stages
from tasks.terminal import open_view


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

    ``parallel_jobs``: stages with exclusive resources that may run on this machine at once.
    """
    await show_plan(await asyncio.to_thread(make_plan, stages, values, store))
    nodes = {stage.name: Node(stage.name, stage, stage.values(values)) for stage in stages}
    return (await run_graph(nodes, store, backend, parallel_jobs)).results


async def run_graph(nodes: Mapping[str, Node], store: Store, backend: Backend, parallel_jobs: int) -> StageGraph:
    """The graph with its results, inside a flow that can be cancelled. See `StageGraph`."""
    run_id = str(flow_run.id)
    with open_view() as view:
        graph = StageGraph(nodes, store, backend, Followed(store, run_id), view, parallel_jobs)
        async with watch_for_cancel(store, run_id):
            await graph.run()
    return graph


async def run_alone(
    stage: Stage, config: ExperimentConfig, inputs: Mapping[str, ObjectRef], store: Store, title: str = ""
) -> StageResult:
    """The result of one stage whose ``inputs`` are stored objects, whoever made them. Called inside a flow.

    ``title`` (the stage's name by default) is what people see. Raises as `run_stages`.
    """
    title = title or stage.name
    stage, backend = limited(stage, config), configured_backend(config.jobs)
    values = stage.values(config.keyed())
    run_id = str(flow_run.id)
    with open_view() as view:
        work = StageWork(title, stage, values, inputs, store, backend, view)
        Followed(store, run_id).add(title, work.key)
        async with watch_for_cancel(store, run_id):
            state = await run_stage(title, work)
            return await state.aresult()
