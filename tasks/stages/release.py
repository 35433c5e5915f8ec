"""What is released, and the proof that it draws what it drew."""

from diffsensei.config import ExperimentConfig
from infra.stage import Stage
from tasks.stages.benchmark import reference_encoders
from tasks.stages.parts import TENSORS, compute, identity


def release_stages(config: ExperimentConfig) -> list[Stage]:
    """The bundle, and its verification."""
    return [
        Stage(
            name="bundle",
            version=1,
            entry="diffsensei.release.bundle:build_bundle",
            config={
                "release": "release",
                "model": "model",
                "sampling": "sampling",
                "conditioning": "data.conditioning",
            },
            inputs={"stage1": "stage1", "stage2": "stage2", "score": "score"},
            resources=compute(config),
            identity=identity(config, "vae", "text_encoder", "text_encoder_2", *reference_encoders("diffsensei")),
            packages=TENSORS,
        ),
        Stage(
            name="verify",
            version=1,
            entry="diffsensei.release.verify:verify_bundle",
            inputs={"bundle": "bundle"},
            resources=compute(config),
            packages=TENSORS,
        ),
    ]
