"""A small graph of real jobs inside a real flow: order, reuse, failure, one compute job at a time, cancel."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from infra.jobs.local import LocalBackend
from infra.outcome import StageCancelled, StageRefused, StageResult
from infra.stage import Action, Resources, Stage
from infra.store import Store
from tasks.cancellation import cancel_run
from tasks.pipeline import run_stages
from tests.flows.console import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


@pytest.fixture
def store(tmp_path: Path, trivial_stages: str) -> Store:
    return Store(tmp_path / "store")


def _number(module: str) -> Stage:
    return Stage(name="number", version=1, entry=f"{module}:number", config={"seed": "seed"})


def _after_number(name: str, entry: str, **literals: Any) -> Stage:
    return Stage(name=name, version=1, entry=entry, literals=literals, inputs={"number": "number"})


def _run(stages: list[Stage], store: Store, seed: int = 21) -> tuple[str, dict[str, StageResult]]:
    @flow(name="small", persist_result=False)
    async def small() -> tuple[str, dict[str, StageResult]]:
        return str(flow_run.id), await run_stages(stages, {"seed": seed}, store, LocalBackend())

    return asyncio.run(small())


def _task_states(run_id: str) -> dict[str, str]:
    async def read() -> dict[str, str]:
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

        async with get_client() as client:
            runs = await client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])))
        return {run.name: run.state_name or "" for run in runs}

    return asyncio.run(read())


def test_second_run_reuses_everything_and_says_so(store: Store, trivial_stages: str) -> None:
    stages = [_number(trivial_stages), _after_number("double", f"{trivial_stages}:double")]
    _, first = _run(stages, store)
    assert [result.action for result in first.values()] == [Action.RUN, Action.RUN]
    assert (first["double"].object.path / "number.txt").read_text() == "42"
    run_id, second = _run(stages, store)
    assert [result.action for result in second.values()] == [Action.REUSE, Action.REUSE]
    assert second["double"].object == first["double"].object
    # The server hears of task runs by events, which arrive when they do.
    reused = {"number": "Reused", "double": "Reused"}
    wait_for("the states of both task runs", lambda: _task_states(run_id) == reused, 60)
    _, third = _run(stages, store, seed=4)
    assert (third["double"].object.path / "number.txt").read_text() == "8"


def test_a_refused_stage_names_its_cause_and_stops_what_follows(store: Store, trivial_stages: str) -> None:
    stages = [
        _number(trivial_stages),
        _after_number("refuse", f"{trivial_stages}:refuse"),
        Stage(name="never", version=1, entry=f"{trivial_stages}:double", inputs={"number": "refuse"}),
    ]
    with pytest.raises(StageRefused, match="stage refuse: expected an even number") as refused:
        _run(stages, store)
    assert "expected an even number" in refused.value.log_path.read_text()
    assert store.stage_folders("never") == []


def test_exclusive_stages_take_turns(store: Store, trivial_stages: str) -> None:
    names, entry = ("one", "other"), f"{trivial_stages}:busy"
    busy = [replace(_after_number(name, entry, seconds=1.0), resources=Resources(exclusive=True)) for name in names]
    _, results = _run([_number(trivial_stages), *busy], store)
    spans = sorted(json.loads((results[name].object.path / "span.json").read_text()) for name in names)
    assert spans[0][1] <= spans[1][0]


def test_the_longest_way_to_the_end_goes_first(store: Store, trivial_stages: str) -> None:
    def busy(name: str, source: str) -> Stage:
        stage = _after_number(name, f"{trivial_stages}:busy", seconds=0.2)
        return replace(stage, inputs={"number": source}, resources=Resources(exclusive=True))

    stages = [_number(trivial_stages), busy("short", "number"), busy("long", "number"), busy("longer", "long")]
    _, results = _run(stages, store)
    spans = {name: json.loads((results[name].object.path / "span.json").read_text()) for name in ("short", "long")}
    assert spans["long"][1] <= spans["short"][0]


def test_what_cannot_do_without_a_lost_stage_is_lost_with_it_and_the_rest_goes_on(
    store: Store, trivial_stages: str
) -> None:
    lost = replace(_after_number("lost", f"{trivial_stages}:refuse"), may_fail=True)
    with_it = replace(_after_number("with-it", f"{trivial_stages}:double"), inputs={"number": "lost"}, may_fail=True)
    double = _after_number("double", f"{trivial_stages}:double")
    table = Stage(
        name="table",
        version=1,
        entry=f"{trivial_stages}:double",
        inputs={"number": "double", "lost": "lost", "further": "with-it"},
    )
    _, results = _run([_number(trivial_stages), lost, with_it, double, table], store)
    assert list(results) == ["number", "double", "table"]
    assert (results["table"].object.path / "number.txt").read_text() == "84"
    assert store.stage_folders("with-it") == []


def test_cancelling_a_run_ends_its_jobs(store: Store, trivial_stages: str) -> None:
    stage = Stage(name="forever", version=1, entry=f"{trivial_stages}:forever")

    @flow(name="endless", persist_result=False)
    async def endless() -> None:
        run_id = str(flow_run.id)

        async def cancel_once_it_runs() -> None:
            while not any(attempt.is_live() for folder in store.stage_folders() for attempt in folder.attempts()):
                await asyncio.sleep(0.1)
            cancel_run(store, run_id)

        await asyncio.gather(run_stages([stage], {}, store, LocalBackend()), cancel_once_it_runs())

    with pytest.raises(StageCancelled, match="stage forever was cancelled"):
        asyncio.run(endless())
    (folder,) = store.stage_folders("forever")
    assert not any(attempt.is_live() for attempt in folder.attempts())
