"""A frozen set scored again: silent while nothing changed, loud when a judge did that kept its name."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from diffsensei.evaluation.comparability import benchmark_digest
from diffsensei.evaluation.drift import check_drift, freeze_reference, read_drift
from diffsensei.evaluation.judges import identify_judges
from diffsensei.evaluation.results import read_summary
from diffsensei.evaluation.summary import define_metrics

HUB_ID = "somebody/judge"


@pytest.fixture
def evaluation(evaluation, judge_folders, tmp_path, monkeypatch):
    """A DINO judge from a hub's cache: it counts by its name."""
    snapshot = tmp_path / "hub" / f"models--{HUB_ID.replace('/', '--')}" / "snapshots" / ("a" * 40)
    shutil.copytree(judge_folders["dino"], snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return evaluation.replaced(judges=evaluation.judges.replaced(dino=HUB_ID))


@pytest.fixture
def annotations(tmp_path) -> Path:
    """A drawn world, though not the one that the benchmark's pages are of."""
    folder = tmp_path / "annotations"
    folder.mkdir()
    (folder / "world.json").write_text(json.dumps({"pages": []}))
    return folder


@pytest.fixture
def reference(evaluation, benchmark, annotations, generated, tmp_path) -> Path:
    output, workspace = tmp_path / "reference", tmp_path / "freezing"
    output.mkdir()
    workspace.mkdir()
    definitions = define_metrics(evaluation, identify_judges(evaluation.judges), benchmark_digest(benchmark))
    freeze_reference(
        evaluation=evaluation,
        num_pages=2,
        metrics={metric.name: metric.digest for metric in definitions},
        benchmark=benchmark,
        annotations=annotations,
        drawn=generated["generate_sdxl_t2i"],
        workspace=workspace,
        output=output,
    )
    return output


def _check(evaluation, reference, folder, tolerance=1e-3):
    (folder / "work").mkdir(parents=True)
    (folder / "out").mkdir()
    check_drift(
        evaluation=evaluation,
        tolerance=tolerance,
        checked="2026-01-05T05:00:00+00:00",
        reference=reference,
        workspace=folder / "work",
        output=folder / "out",
    )
    return read_drift(folder / "out")


def _perturb(weights: Path) -> None:
    """One weight matrix of the judge three times as large."""
    state = load_file(weights)
    name = next(key for key in state if key.endswith("projection.weight"))
    state[name] = state[name] * 3.0
    weights.unlink()  # the session's folder keeps its own
    save_file(state, weights, metadata={"format": "pt"})


def test_nothing_changed_nothing_moved(evaluation, reference, tmp_path):
    report = _check(evaluation, reference, tmp_path / "check", tolerance=0.0)
    assert (report.moved, report.redefined, report.alarm) == ({}, {}, "")
    assert report.recorded == report.found
    assert report.method == "sdxl_t2i"
    assert {result.metric for result in report.found if result.value is not None} >= {"clip", "dino_i", "dino_c", "fid"}
    assert read_summary(reference / "recorded").num_pages == 2


def test_a_judge_that_changed_under_its_name_is_an_alarm(evaluation, reference, tmp_path):
    _perturb(next((tmp_path / "hub").rglob("model.safetensors")))
    report = _check(evaluation, reference, tmp_path / "check")
    assert report.moved.keys() >= {"dino_i", "fd_dino"}
    assert not {"clip", "dialog_f1", "fid"} & report.moved.keys(), "other judges are what they were"
    assert report.redefined == {}
    assert report.alarm.startswith("metrics moved although nothing that defines them changed: ")
    assert "\n" not in report.alarm
    before, now = (next(r.value for r in rows if r.metric == "dino_i") for rows in (report.recorded, report.found))
    assert report.moved["dino_i"] == f"{before:.6g} -> {now:.6g}"


def test_a_judge_that_says_that_it_changed_is_none(evaluation, reference, judge_folders, tmp_path):
    shutil.copytree(judge_folders["dino"], tmp_path / "own")
    _perturb(tmp_path / "own" / "model.safetensors")
    other = evaluation.replaced(judges=evaluation.judges.replaced(dino=str(tmp_path / "own")))
    report = _check(other, reference, tmp_path / "check")
    assert report.moved == {}
    assert report.redefined["dino_i"].startswith("judge differs: ")
    assert "clip" not in report.redefined


def test_a_metric_that_needs_no_look_is_alarmed_too(evaluation, reference, tmp_path, monkeypatch):
    """Features are the same, the arithmetic is not: as after another version of a library."""
    from diffsensei.evaluation import measurements

    monkeypatch.setattr(measurements, "cosine", lambda a, b: (a * b).sum(1) * 0.9)
    assert "clip" in _check(evaluation, reference, tmp_path / "check").moved


def test_the_drawn_world_is_part_of_the_set(evaluation, reference, tmp_path):
    """Metrics of states are looked at, too: here they find nobody, but do not say that there is no world."""
    with_states = evaluation.replaced(judges=evaluation.judges.replaced(states="embedded:judge_states"))
    found = {result.metric: result.state for result in _check(with_states, reference, tmp_path / "check").found}
    assert found["state_accuracy"] == "not computed: no measurement is left"


def test_half_a_drawing_is_not_frozen(evaluation, benchmark, generated, tmp_path):
    next((generated["generate_stage1"] / "images" / "0").iterdir()).unlink()
    (tmp_path / "work").mkdir()
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match="only a whole drawing can be frozen"):
        freeze_reference(
            evaluation=evaluation,
            num_pages=99,
            metrics={},
            benchmark=benchmark,
            annotations=tmp_path,
            drawn=generated["generate_stage1"],
            workspace=tmp_path / "work",
            output=tmp_path / "out",
        )
