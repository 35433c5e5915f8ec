"""What is released, the proof that it draws what it drew, and whether it may be released."""

from pathlib import Path
from typing import Any

from diffsensei.config import ExperimentConfig
from infra.digest import json_digest
from infra.settings import Settings
from infra.stage import Stage
from infra.store import Store
from tasks.releases import previous_scores
from tasks.stages.benchmark import reference_encoders
from tasks.stages.parts import TENSORS, compute, file_identity, identity

_NOT_IN_THE_WEIGHTS: Any = {
    **dict.fromkeys(("runtime", "jobs", "report", "study", "gate", "release"), True),
    "data": {"evaluation_source"},
}


def release_stages(config: ExperimentConfig) -> list[Stage]:
    """The bundle, its verification, and the gate.

    Raises ValueError where ``report.study`` names a folder without a study.
    """
    return [
        Stage(
            name="bundle",
            version=2,
            entry="diffsensei.release.bundle:build_bundle",
            config={
                "release": "release",
                "model": "model",
                "sampling": "sampling",
                "conditioning": "data.conditioning",
                "source_kind": "data.source.kind",
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
        _gate(config),
    ]


def _gate(config: ExperimentConfig) -> Stage:
    previous = previous_scores(Store(Settings().store), config.release)
    study = config.report.study if config.gate.study else ""
    return Stage(
        name="gate",
        version=1,
        entry="diffsensei.gate.decide:certify",
        config={"gate": "gate", "release": "release", "evaluation": "evaluation"},
        literals={"configuration": json_digest(config.model_dump(mode="json", exclude=_NOT_IN_THE_WEIGHTS))},
        # Where they lie changes nothing; what they hold is in the identity.
        pace={
            "previous": None if previous is None else str(previous.path),
            "study": str(Path(study).absolute()) if study else None,
        },
        inputs={name: name for name in ("bundle", "verify", "score", "benchmark", "panels")},
        identity=({} if previous is None else {"previous": previous.digest})
        | ({"study": file_identity("report.study", str(Path(study) / "study.json"))} if study else {}),
        packages=("numpy", "scipy"),
    )
