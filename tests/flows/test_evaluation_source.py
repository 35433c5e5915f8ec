"""Manga109 joins a store in which all else is done: the flow draws it, and does nothing else."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prefect import flow

from diffsensei.config import ExperimentConfig
from diffsensei.evaluation.benchmark import read_benchmark
from infra.stage import Action
from infra.store import Store
from tasks.pipeline import PipelineRun, run_pipeline
from tests.data.sources.manga109_folder import write_manga109
from tests.tasks.carried_out import carry_out
from tests.tasks.evaluation_source import DATA, METHODS, OTHER_WORLD, evaluation_stages, trained_before
from tests.tasks.finished_stages import finish_stages

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

TO_DRAW = {"evaluation_benchmark", *(f"evaluation_generate_{method}" for method in METHODS)}


def _run(config: ExperimentConfig) -> PipelineRun:
    @flow(name="second-benchmark", persist_result=False)
    async def small() -> PipelineRun:
        return await run_pipeline(config, [f"evaluation_generate_{method}" for method in METHODS])

    return asyncio.run(small())


def test_only_the_second_benchmark_is_frozen_and_drawn_and_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    write_manga109(tmp_path / "manga109", OTHER_WORLD)
    (tmp_path / "made").mkdir()
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "features.json").write_text("{}")  # nothing that runs here reads them
    with trained_before(tmp_path / "made") as trained, ThreadPoolExecutor(2) as executor:
        config = trained.config(tmp_path / "manga109")
        results = trained.results | {"features": tmp_path / "features"}
        data = [
            stage for stage in evaluation_stages(config) if stage.name.removeprefix("evaluation_") in (*DATA, "caption")
        ]
        carry_out(data, config, results, tmp_path / "work", executor)
        finish_stages(Store(tmp_path / "made" / "store"), config, results)
        first, second = _run(config), _run(config)
    assert {name for name, result in first.results.items() if result.action is not Action.REUSE} == TO_DRAW
    assert {result.action for result in second.results.values()} == {Action.REUSE}
    asked = {panel.panel_id for panel in read_benchmark(first.results["evaluation_benchmark"].object.path)}
    for method in METHODS:
        drawn = first.results[f"evaluation_generate_{method}"].object.path / "images" / "0"
        assert {path.stem for path in drawn.iterdir()} == asked
