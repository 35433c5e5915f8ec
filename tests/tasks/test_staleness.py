"""Figures are stale exactly where the plan of their configuration would not give the very same results."""

from pathlib import Path

import pytest

from diffsensei.config import ExperimentConfig, config_digest, load_preset
from infra.plan import make_plan
from infra.store import Store
from reports.origins import StageOrigin
from reports.versions import Version
from tasks.stages import pipeline_stages
from tasks.staleness import find_staleness
from tests.tasks.finished_stages import finish_stages
from tests.tasks.test_stages import WITHOUT_WEIGHTS

CHAIN = ("annotations", "download", "validate", "panels", "features", "pretrain")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("DIFFSENSEI_STORE", str(tmp_path / "store"))
    return Store(tmp_path / "store")


@pytest.fixture
def config() -> ExperimentConfig:
    return load_preset("tiny", WITHOUT_WEIGHTS)


def _version(store: Store, config: ExperimentConfig, tmp_path: Path) -> Version:
    """A version that rests on `CHAIN`, all of it finished in the store."""
    results = {}
    for name in CHAIN:
        results[name] = tmp_path / name
        results[name].mkdir()
        (results[name] / "result.txt").write_text(name)
    finish_stages(store, config, results)
    stages = [stage for stage in pipeline_stages(config) if stage.name in CHAIN]
    plan = make_plan(stages, config.model_dump(mode="json"), store)
    return Version(
        name="small",
        version="1.0.0",
        preset="tiny",
        smoke=True,
        config=config.model_dump(mode="json"),
        config_digest=config_digest(config),
        verification="not built",
        sets=(),
        stages={row.stage: StageOrigin(digest=row.result.digest) for row in plan.rows if row.result},
    )


def test_what_the_store_holds_is_fresh(store: Store, config: ExperimentConfig, tmp_path: Path) -> None:
    version = _version(store, config, tmp_path)
    assert set(version.stages) == set(CHAIN)
    assert find_staleness(version, store).state == "fresh"


def test_another_result_of_a_stage_is_named(store: Store, config: ExperimentConfig, tmp_path: Path) -> None:
    version = _version(store, config, tmp_path)
    moved = version.replaced(stages={**version.model_dump()["stages"], "panels": {"digest": "9" * 64}})
    found = find_staleness(moved, store)
    assert found.state == "stale"
    assert set(found.stages) == {"panels"}
    assert "another result is stored" in found.stages["panels"]


def test_a_raised_stage_version_makes_it_and_what_follows_stale(
    store: Store, config: ExperimentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = _version(store, config, tmp_path)
    from dataclasses import replace

    raised = [
        replace(stage, version=stage.version + 1) if stage.name == "validate" else stage
        for stage in pipeline_stages(config)
    ]
    monkeypatch.setattr("tasks.staleness.pipeline_stages", lambda _: raised)
    found = find_staleness(version, store)
    assert found.state == "stale"
    assert "annotations" not in found.stages
    assert "stage version" in found.stages["validate"]
    assert "after validate" in found.stages["panels"]


def test_a_configuration_of_another_program_cannot_be_told(
    store: Store, config: ExperimentConfig, tmp_path: Path
) -> None:
    version = _version(store, config, tmp_path)
    other = find_staleness(version.replaced(config={**version.config, "novelty": 1}), store)
    assert (other.state, other.stages) == ("unknown", {})
    assert "novelty" in other.reason
