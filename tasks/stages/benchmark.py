"""The frozen benchmark, what the methods of the DiffSensei family draw of it, and the scores of all methods.

The benchmark on ``data.evaluation_source`` is the same stages once more, under the prefix of its data: the methods are
those that were trained, the draws and scores its own.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from diffsensei.config import ExperimentConfig
from infra.settings import Settings
from infra.stage import Stage
from tasks.stages.baselines import GENERATE_BASELINES
from tasks.stages.data import EVALUATION
from tasks.stages.parts import PIXELS, TENSORS, compute, identity, judge_identity, pace

GENERATE: dict[str, tuple[str, tuple[str, ...]]] = {
    "generate_sdxl_t2i": ("sdxl_t2i", ("pretrain",)),
    "generate_stage1": ("diffsensei_stage1", ("stage1",)),
    "generate_diffsensei": ("diffsensei", ("stage1", "stage2")),
}
"""Stage -> method, and the training stages whose weights it draws with."""


def benchmark_stages(config: ExperimentConfig) -> list[Stage]:
    """What every method is asked to draw, what each of ours draws, and all scores."""
    frozen = Stage(
        name="benchmark",
        version=3,
        entry="diffsensei.evaluation.benchmark:freeze_benchmark",
        config={
            "panel_size": "evaluation.panel_size",
            "max_characters": "data.conditioning.max_characters",
            "max_dialogs": "data.conditioning.max_dialogs",
            "min_reference_side": "data.conditioning.min_reference_side",
            "buckets": "data.buckets",
            "seed": "seed",
        },
        inputs={"panels": "panels"},
        packages=PIXELS,
    )
    generate = [
        Stage(
            name=name,
            version=4,
            entry="diffsensei.inference.generate:generate_panels",
            config={"model": "model", "sampling": "sampling", "seeds": "evaluation.seeds"},
            pace=pace(config),
            literals={"method": method},
            inputs={"benchmark": "benchmark"} | {weights: weights for weights in trained},
            resources=compute(config),
            identity=identity(config, "vae", "text_encoder", "text_encoder_2", *reference_encoders(method)),
            packages=TENSORS,
        )
        for name, (method, trained) in GENERATE.items()
    ]
    return [frozen, *generate, score_stage(config, "score", (*GENERATE, *GENERATE_BASELINES))]


def evaluation_benchmark_stages(config: ExperimentConfig, stages: Sequence[Stage]) -> list[Stage]:
    """The benchmark on ``data.evaluation_source``, drawn by every method of ``stages`` and scored; none without one.

    Each is its namesake among ``stages``, which draws or scores held-out pages: no weights and no judges of its own.
    """
    if config.data.evaluation_source is None:
        return []
    again = ("benchmark", *GENERATE, *GENERATE_BASELINES, "score")
    moved = {name: f"{EVALUATION}{name}" for name in ("annotations", "panels", *again)}
    return [
        replace(
            stage,
            name=moved[stage.name],
            inputs={argument: moved.get(source, source) for argument, source in stage.inputs.items()},
        )
        for stage in stages
        if stage.name in again
    ]


def score_stage(config: ExperimentConfig, name: str, drawn: Sequence[str]) -> Stage:
    """The scores of what the stages ``drawn`` drew."""
    judges = config.evaluation.judges
    return Stage(
        name=name,
        version=3,
        entry="diffsensei.evaluation.score:score_methods",
        config={"evaluation": "evaluation"},
        pace={"features": str(features_folder())},
        inputs={"benchmark": "benchmark", "annotations": "annotations"} | {stage: stage for stage in drawn},
        resources=compute(config),
        identity={
            "judges": judge_identity(
                judges.clip,
                *judges.further_clip,
                judges.dino,
                judges.dialog_detector,
                judges.states,
                judges.fid_features,
            )
        },
        packages=("torch", "transformers", "numpy", "scipy", "clean-fid"),
    )


def features_folder() -> Path:
    """Where judges' features of pictures are kept beyond runs: in the store, beside its objects."""
    return Settings().store.absolute() / "features"


def reference_encoders(method: str) -> tuple[str, ...]:
    """The frozen parts that see a method's references."""
    if method == "sdxl_t2i":
        return ()
    return ("clip_image_encoder", "magi_image_encoder", *(("llm",) if method == "diffsensei" else ()))
