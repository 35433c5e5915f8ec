"""Stages carried out in this process as a job would: what a stage declares is called with what it declares."""

import importlib
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, validate_call

from diffsensei.config import ExperimentConfig
from infra.stage import Stage


def carry_out(
    stages: Sequence[Stage], config: ExperimentConfig, results: dict[str, Path], folder: Path, executor: Executor
) -> None:
    """Each of ``stages`` that ``results`` does not have yet, in turn, below ``folder``; their outputs join it."""
    values = config.model_dump(mode="json")
    for stage in stages:
        if stage.name in results:
            continue
        given: dict[str, Any] = stage.arguments(stage.values(values))
        given |= {argument: results[source] for argument, source in stage.inputs.items()}
        given |= {"executor": executor} if stage.resources.dask_workers else {}
        for name in ("workspace", "output"):
            given[name] = folder / stage.name / name
            given[name].mkdir(parents=True)
        module, _, name = stage.entry.partition(":")
        function = getattr(importlib.import_module(module), name)
        validate_call(config=ConfigDict(arbitrary_types_allowed=True))(function)(**given)
        results[stage.name] = given["output"]
