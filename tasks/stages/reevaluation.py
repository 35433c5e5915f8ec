"""What a published checkpoint draws of a benchmark, how it is scored, and the frozen set behind the drift check.

These stages take stored objects that no stage of the same run makes: a bundle that a reference names, a drawing.
"""

from collections.abc import Mapping
from dataclasses import replace

from diffsensei.config import ExperimentConfig
from infra.stage import Stage
from tasks.stages.benchmark import score_stage
from tasks.stages.parts import TENSORS, compute, pace

FROZEN_PAGES = 8
"""Pages of the drift check's set: enough that every metric has a value, few enough to look at every week."""


def draw_stage(config: ExperimentConfig) -> Stage:
    """A bundle draws a benchmark, by the configuration's sampling and seeds: the same for every checkpoint."""
    return Stage(
        name="draw_checkpoint",
        version=1,
        entry="diffsensei.release.draw:draw_bundle",
        config={"sampling": "sampling", "seeds": "evaluation.seeds"},
        pace=pace(config),
        inputs={"bundle": "bundle", "benchmark": "benchmark"},
        resources=compute(config),
        packages=TENSORS,
    )


def score_cells_stage(config: ExperimentConfig, metrics: Mapping[str, str]) -> Stage:
    """Some metrics (name -> digest of the definition) of one drawing."""
    return replace(score_stage(config, "score_checkpoint", ("drawn",)), literals={"metrics": dict(metrics)})


def freeze_stage(config: ExperimentConfig, metrics: Mapping[str, str]) -> Stage:
    """Pages of a drawing with their figures, for later checks."""
    score = score_stage(config, "drift_reference", ("drawn",))
    return replace(
        score,
        version=2,
        entry="diffsensei.evaluation.drift:freeze_reference",
        literals={"num_pages": FROZEN_PAGES, "metrics": dict(metrics)},
        pace={},
    )


def check_stage(config: ExperimentConfig, checked: str, tolerance: float) -> Stage:
    """The frozen set scored again. ``checked``, the time, makes every check another one: none is reused."""
    score = score_stage(config, "drift_check", ())
    return replace(
        score,
        version=1,
        entry="diffsensei.evaluation.drift:check_drift",
        literals={"checked": checked, "tolerance": tolerance},
        pace={},
        inputs={"reference": "drift_reference"},
    )
