"""State accuracy from a drawn world to its figure, by the stages as they are declared: true panels as if drawn."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import diffsensei.models  # noqa: F401  before transformers: torchvision must be importable beside a CPU build of torch

# isort: split

import pytest
import torch

from diffsensei.config import load_preset
from diffsensei.config.schema import SyntheticSource
from diffsensei.evaluation.benchmark import read_benchmark
from diffsensei.evaluation.drawn_states import drawn_states
from diffsensei.evaluation.results import read_summary
from diffsensei.evaluation.score import score_methods
from tasks.planning import needed_for
from tasks.stages import pipeline_stages
from tests.tasks.carried_out import carry_out

pytestmark = pytest.mark.slow

WORLD = SyntheticSource(num_series=3, pages_per_series=6, page_height=360, seed=9)


def test_true_panels_are_in_the_states_that_were_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFSENSEI_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("DIFFSENSEI_LIMITS", str(tmp_path / "limits"))
    torch.set_num_threads(1)
    config = load_preset("tiny", [f"data.source={WORLD.model_dump_json()}", "runtime.num_threads=1"])
    results: dict[str, Path] = {}
    with ThreadPoolExecutor(2) as executor:
        stages = needed_for(("benchmark",), pipeline_stages(config))
        carry_out(stages, config, results, tmp_path / "work", executor)
    panels = read_benchmark(results["benchmark"])
    states = drawn_states(results["annotations"], panels)
    assert states is not None
    known = [state is not None for row in states for state in row]
    assert len(known) > 20
    assert all(known), "every requested character is somebody whom the world drew"

    drawn = tmp_path / "drawn"
    shutil.copytree(results["benchmark"] / "truth", drawn / "images" / "0")
    (drawn / "generation.json").write_text(json.dumps({"method": "diffsensei"}))
    output = tmp_path / "score"
    output.mkdir()
    score_methods(
        evaluation=config.evaluation.replaced(bootstrap_resamples=50),
        benchmark=results["benchmark"],
        annotations=results["annotations"],
        features=tmp_path / "features",
        workspace=tmp_path,
        output=output,
        drawn=drawn,
    )
    summary = read_summary(output)
    for name in ("state_accuracy", "state_pose", "state_facing", "state_distance", "state_expression"):
        ceiling, same, floor = (summary.result(m, name) for m in ("ground_truth", "diffsensei", "shuffled_truth"))
        assert ceiling is not None
        assert same is not None
        assert floor is not None
        assert ceiling.value == same.value
        assert (ceiling.value or 0) > 0.8
        assert (floor.value or 0) < (ceiling.value or 0) - 0.2
        assert ceiling.n_used + sum(ceiling.skipped.values()) == ceiling.n_total == len(known)
