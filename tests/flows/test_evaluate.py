"""The flow ``evaluate`` and the drift check with real bundles, judges and jobs, on a benchmark of a dozen panels."""

import asyncio
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from diffsensei.config import ExperimentConfig, load_preset
from diffsensei.evaluation.matrix import BenchmarkTable, Evaluations, read_evaluations
from diffsensei.evaluation.results import read_summary
from diffsensei.evaluation.score import score_methods
from diffsensei.foundations.locations import WEIGHTS
from diffsensei.release.manifest import MANIFEST, write_manifest
from flows.cli import app
from flows.drift_check import drift_check
from flows.evaluate import evaluate
from infra.store import ObjectRef, Store
from tasks.alarm import MetricsMoved
from tasks.missing_cells import plan_evaluation
from tasks.reevaluation import stored_evaluations
from tasks.releases import APPROVED, CANDIDATE, move_reference
from tasks.stages import pipeline_stages
from tests.evaluation.conftest import benchmark, generated, panel_set  # noqa: F401  fixtures
from tests.release.conftest import bundle, stages  # noqa: F401  fixtures
from tests.tasks.finished_stages import finish_stages

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("prefect_server")]

OVERRIDES = ["sampling.steps=1", "evaluation.bootstrap_resamples=20", "runtime.num_threads=1"]
UPSTREAM = ("annotations", "download", "validate", "panels")


@pytest.fixture
def store(benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:  # noqa: F811
    """A store in which the benchmark is frozen and nothing else is done."""
    monkeypatch.setenv("DIFFSENSEI_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    store = Store(tmp_path / "store")
    results = {"benchmark": benchmark}
    for name in UPSTREAM:
        results[name] = tmp_path / "upstream" / name
        results[name].mkdir(parents=True)
        (results[name] / "result.txt").write_text(name)
    finish_stages(store, _config(), results)
    return store


def _config(*more: str) -> ExperimentConfig:
    return load_preset("tiny", [*OVERRIDES, *more])


def _name(store: Store, folder: Path, channel: str) -> ObjectRef:
    """Let a reference of the folder's name point at the bundle in it."""
    ref = store.publish_object(folder, "bundle")
    move_reference(store, channel, folder.name, ref, "for a test")
    return ref


def _rebuilt(source: Path, folder: Path, version: str) -> Path:
    """The same weights as another version, so another checkpoint."""
    shutil.copytree(source, folder)
    (folder / MANIFEST).unlink()
    write_manifest(folder, "diffsensei-tiny", version)
    return folder


def _evaluated(*more: str) -> BenchmarkTable:
    path = asyncio.run(evaluate("tiny", [*OVERRIDES, *more], checkpoints="published"))
    table = read_evaluations(Path(path)).table("main")
    assert table is not None
    return table


def _attempts(store: Store, stage: str) -> int:
    return sum(len(folder.attempts()) for folder in store.stage_folders(stage))


def _plan(store: Store, *more: str) -> list[str]:
    return list(plan_evaluation(_config(*more), store, checkpoints="published"))


def test_only_missing_cells_are_drawn_and_scored(store: Store, bundle: Path, tmp_path: Path) -> None:  # noqa: F811
    assert _plan(store) == ["0 of 5 stages to run", "no checkpoint is known by a reference yet"]
    first = _name(store, _rebuilt(bundle, tmp_path / "first", "0.1.0"), APPROVED)
    (_, planned) = _plan(store)
    assert planned.startswith(f"main, diffsensei-tiny 0.1.0 ({first.digest[:8]}): draw; score ")
    assert planned.endswith("metrics: all (never scored)")

    table = _evaluated()
    (row,) = table.rows
    assert (row.key, row.role) == (f"checkpoint-{first.digest}", "checkpoint")
    assert (row.channels, row.notes) == (("approved",), ())
    assert len(table.cells) == len(table.columns) > 15
    figures = {cell.result.metric: cell.result.value for cell in table.cells}
    assert -1 < figures["dino_i"] < 1
    assert figures["fid"] > 0
    assert _plan(store)[1].endswith(": nothing is missing")
    assert (_attempts(store, "draw_checkpoint"), _attempts(store, "score_checkpoint")) == (1, 1)

    # A changed metric: its column alone, from the stored drawing.
    iou = "evaluation.iou_threshold=0.1"
    assert _plan(store, iou)[1].endswith(
        f"score 1 of {len(table.columns)} metrics: dialog_f1 (iou differs: 0.5 and 0.1)"
    )
    column = _evaluated(iou)
    assert (_attempts(store, "draw_checkpoint"), _attempts(store, "score_checkpoint")) == (1, 2)
    for cell in table.cells:
        same = column.cell(row.key, cell.result.metric)
        assert same is not None
        assert (same == cell) == (cell.result.metric != "dialog_f1")

    # A new checkpoint: its row alone. One that cannot be drawn is a row that says why.
    second = _name(store, _rebuilt(bundle, tmp_path / "second", "0.2.0"), APPROVED)
    broken = _rebuilt(bundle, tmp_path / "broken", "0.3.0")
    (broken / "README.md").write_text("changed after it was packed")
    _name(store, broken, CANDIDATE)
    grown = _evaluated(iou)
    assert [row.channels for row in grown.rows] == [("approved",), ("approved",), ("candidate",)]
    assert grown.rows[2].notes[0].startswith("stage draw_checkpoint: bundle ")
    assert "README.md has sha256" in grown.rows[2].notes[0]
    assert grown.cell(row.key, "fid") == table.cell(row.key, "fid")
    again, before = grown.cell(f"checkpoint-{second.digest}", "dino_i"), table.cell(row.key, "dino_i")
    assert again is not None
    assert before is not None
    assert again.result.value == before.result.value, "equal weights draw equal pictures"
    assert again.drawing == before.drawing

    shown = CliRunner().invoke(app, ["evaluations"])
    assert shown.exit_code == 0
    assert f"diffsensei-tiny 0.2.0 ({second.digest[:8]}), approved" in shown.stdout
    assert "README.md has sha256" in shown.stdout
    printed = CliRunner().invoke(app, ["evaluations", "tiny", "--json"]).stdout
    assert Evaluations.model_validate_json(printed).table("main") == grown


def test_rows_of_the_configuration_come_from_its_scores(
    store: Store,
    benchmark: Path,  # noqa: F811
    generated: dict[str, Path],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = _config()
    results = {}
    for stage in pipeline_stages(config):
        results[stage.name] = tmp_path / "all" / stage.name
        results[stage.name].mkdir(parents=True)
        (results[stage.name] / "result.txt").write_text(stage.name)
    (tmp_path / "work").mkdir()
    score_methods(
        evaluation=config.evaluation,
        benchmark=benchmark,
        features=tmp_path / "features",
        workspace=tmp_path / "work",
        output=results["score"],
        **generated,
    )
    other = Store(tmp_path / "other")
    monkeypatch.setenv("DIFFSENSEI_STORE", str(other.base))
    finish_stages(other, config, results | {"benchmark": benchmark})
    path = asyncio.run(evaluate("tiny", OVERRIDES, checkpoints="configured"))
    table = read_evaluations(Path(path)).table("main")
    assert table is not None
    assert [row.role for row in table.rows] == ["oracle", "floor", "method", "method", "method"]
    summary = read_summary(results["score"])
    assert table.columns == summary.metrics
    assert {(cell.row, cell.result.metric): cell.result for cell in table.cells} == {
        (result.method, result.metric): result for result in summary.results
    }
    assert other.stage_folders("draw_checkpoint") == []


def test_the_drift_check_passes_until_a_judge_changes_under_its_name(
    store: Store,
    bundle: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judge = _judge_on_a_hub(tmp_path, monkeypatch)
    overrides = [*OVERRIDES, "evaluation.judges.dino=somebody/judge"]
    with pytest.raises(ValueError, match="no checkpoint to freeze drawings of"):
        asyncio.run(drift_check("tiny", overrides))
    _name(store, bundle, CANDIDATE)
    first = read_evaluations(Path(asyncio.run(drift_check("tiny", overrides)))).table("drift")
    assert first is not None
    assert [(row.role, row.notes) for row in first.rows] == [("recorded", ()), ("checked", ())]
    for column in first.columns:
        recorded, checked = (first.cell(row, column.name) for row in ("recorded", "checked"))
        assert recorded is not None
        assert checked is not None
        assert recorded.result == checked.result

    state = load_file(judge)
    name = next(key for key in state if key.endswith("patch_embeddings.projection.weight"))
    state[name] = state[name] * 1.5
    save_file(state, judge, metadata={"format": "pt"})
    with pytest.raises(MetricsMoved, match=r"^metrics moved although nothing that defines them changed: .*dino_i"):
        asyncio.run(drift_check("tiny", overrides))
    drifted = stored_evaluations(load_preset("tiny", overrides), store).table("drift")
    assert drifted is not None
    assert any(note.startswith("dino_i moved: ") for note in drifted.rows[1].notes)
    assert not any(note.startswith(("clip moved", "fid moved")) for note in drifted.rows[1].notes)
    assert drifted.cell("recorded", "dino_i") == first.cell("recorded", "dino_i")
    assert (_attempts(store, "drift_check"), _attempts(store, "drift_reference")) == (2, 1)


def _judge_on_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The embedded DINO judge in a hub's cache, where it counts by its name; returns its weights."""
    snapshot = tmp_path / "hub" / "models--somebody--judge" / "snapshots" / ("a" * 40)
    shutil.copytree(WEIGHTS / "judge_dino", snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("a" * 40)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))  # of the jobs
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))  # of this process
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return snapshot / "model.safetensors"
