"""Jobs with GPUs take turns under the limit ``gpu``; a stored result waits for nobody."""

import asyncio
import json
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.asyncio import concurrency

from infra.jobs.local import LocalBackend
from infra.outcome import StageResult
from infra.stage import Action, Resources, Stage
from infra.store import Store
from tasks.gpu_limit import GPU_LIMIT
from tasks.pipeline import run_stages

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


@pytest.fixture
def stages(trivial_stages: str) -> list[Stage]:
    number = Stage(name="number", version=1, entry=f"{trivial_stages}:number", config={"seed": "seed"})
    busy = [
        Stage(
            name=name,
            version=1,
            entry=f"{trivial_stages}:busy",
            literals={"seconds": 1.0},
            inputs={"number": "number"},
            resources=Resources(gpus=1),
        )
        for name in ("one", "other")
    ]
    return [number, *busy]


def _run(stages: list[Stage], store: Store) -> dict[str, StageResult]:
    @flow(name="on-gpus", persist_result=False)
    async def on_gpus() -> dict[str, StageResult]:
        return await run_stages(stages, {"seed": 1}, store, LocalBackend(), parallel_jobs=2)

    return asyncio.run(on_gpus())


def test_jobs_with_gpus_take_turns(stages: list[Stage], tmp_path: Path) -> None:
    async def limit() -> None:
        async with get_client() as client:
            await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=1))

    asyncio.run(limit())
    store = Store(tmp_path / "store")
    results = _run(stages, store)
    spans = sorted(json.loads((results[name].object.path / "span.json").read_text()) for name in ("one", "other"))
    assert spans[0][1] <= spans[1][0]

    async def again_while_the_gpu_is_taken() -> dict[str, StageResult]:
        @flow(name="again", persist_result=False)
        async def again() -> dict[str, StageResult]:
            return await run_stages(stages, {"seed": 1}, store, LocalBackend())

        async with concurrency(GPU_LIMIT, occupy=1):
            return await asyncio.wait_for(again(), 60)

    reused = asyncio.run(again_while_the_gpu_is_taken())
    assert {result.action for result in reused.values()} == {Action.REUSE}
