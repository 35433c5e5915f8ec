"""A stage is profiled on its real inputs, and nothing of it reaches the store."""

import json
from pathlib import Path

import pytest

from diffsensei.config import ExperimentConfig
from diffsensei.config.overrides import override
from infra.store import Store
from tasks.profiling import profile_stage
from tests.tasks.finished_stages import finish_stages
from tests.training.conftest import World, experiment, one_thread, world

__all__ = ["experiment", "one_thread", "world"]


@pytest.fixture
def trained_on(experiment: ExperimentConfig, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store in which the panels and features of the small world are the pipeline's."""
    monkeypatch.setenv("DIFFSENSEI_STORE", str(tmp_path / "store"))
    before = {}
    for name in ("annotations", "download", "validate"):
        before[name] = tmp_path / name
        before[name].mkdir()
        (before[name] / "empty.json").write_text("{}")
    store = Store(tmp_path / "store")
    finish_stages(store, _config(experiment, world), before | {"panels": world.panels, "features": world.features})
    return store


def _config(experiment: ExperimentConfig, world: World) -> ExperimentConfig:
    places = [f"model.foundations.{name}={folder}" for name, folder in world.foundations.items()]
    return override(experiment, [*places, "model.foundations.unet=random"])


def test_a_few_steps_give_a_trace_and_where_time_went(
    trained_on: Store, experiment: ExperimentConfig, world: World, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.json"
    rows = list(profile_stage(_config(experiment, world), "pretrain", 2, trace))
    assert [row["what"] for row in rows[:4]] == ["batch", "forward", "backward", "optimizer"]
    # Two parts make a global batch: two passes a step, one update.
    assert [row["calls"] for row in rows[:4]] == ["4", "4", "4", "2"]
    assert all(row["what"].startswith("aten::") for row in rows[4:])
    names = {event.get("name") for event in json.loads(trace.read_text())["traceEvents"]}
    assert {"forward", "backward", "aten::convolution"} <= names
    assert not (trained_on.base / "stages" / "pretrain").exists()


def test_without_its_inputs_it_says_what_to_run(
    trained_on: Store, experiment: ExperimentConfig, world: World, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"expected the result of stage pretrain to profile stage1 with"):
        list(profile_stage(_config(experiment, world), "stage1", 2, tmp_path / "trace.json"))
    with pytest.raises(ValueError, match="known: pretrain, stage1, stage2"):
        list(profile_stage(experiment, "score", 2, tmp_path / "trace.json"))
