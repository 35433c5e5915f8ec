"""Training of the embedded foundations as one job: outside the pipeline, which takes them as given."""

import os
from collections.abc import Sequence
from pathlib import Path

from infra.jobs.local import LocalBackend
from infra.stage import Resources, Stage
from tasks.pipeline import run_stages
from tasks.publication import open_store
from tasks.stages.parts import TENSORS


def foundation_stage(only: Sequence[str] | None, steps_scale: float) -> Stage:
    """The stage; its key is made of the parts asked for and the scale."""
    return Stage(
        name="foundations",
        version=1,
        entry="diffsensei.foundations.train:train_foundations",
        literals={"only": None if only is None else list(only), "steps_scale": steps_scale},
        resources=Resources(cpus=os.cpu_count() or 1, memory_gb=8.0),
        packages=TENSORS,
    )


async def train_embedded_foundations(only: Sequence[str] | None, steps_scale: float) -> Path:
    """The folder of the trained foundations, in the hub's formats. Called inside a flow."""
    stage = foundation_stage(only, steps_scale)
    results = await run_stages([stage], {}, open_store(), LocalBackend())
    return results[stage.name].object.path
