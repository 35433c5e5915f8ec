"""A stage: one library call, declared once; the declaration drives the plan, the flows and provenance.

The key of a stage names its result before it is computed: the sha256 of all that may change it. That is the version
a person raises when the code's meaning changes (not the code's text: a log line must not retrain), the slice of the
configuration it is given, the content of its inputs, and whatever else it declares (frozen models, package versions).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from infra.dask_cluster import SlurmWorkers
from infra.digest import json_digest

Json = Any
_RESERVED = {"workspace", "output", "executor"}


class Action(StrEnum):
    """What becomes of a stage."""

    RUN = "run"
    REUSE = "reuse"
    RESUME = "resume"
    ADOPT = "adopt"


@dataclass(frozen=True)
class Resources:
    """What a job asks for. None of it enters the key."""

    gpus: int = 0
    cpus: int = 1
    memory_gb: float = 4.0
    dask_workers: int = 0
    """Worker processes of the Dask cluster whose executor the function is given; 0: no cluster."""
    dask_slurm: SlurmWorkers | None = None
    """Where that cluster's workers run: as jobs of Slurm; None: on the stage's own machine."""
    walltime_s: float = 24 * 3600.0
    grace_s: float = 120.0
    """From the request to stop to the kill."""
    max_attempts: int = 5
    """Jobs that one call may start before preemption, time-out or loss ends it."""
    max_total_s: float | None = None
    """Wall seconds that all jobs of the stage may take together; None: no limit."""
    nodes: int = 1
    """Machines that the processes are spread over evenly; all amounts are of the whole job."""
    here: bool = False
    """Runs on the caller's machine, whatever the backend of the others."""
    num_processes: int = 1
    """Processes that ``launcher="accelerate"`` starts."""
    exclusive: bool = False
    """Keeps every core or GPU busy by itself: such jobs wait for one another."""


@dataclass(frozen=True)
class Stage:
    """``entry`` ("module:function") is called with the arguments named here, ``workspace`` and ``output``."""

    name: str
    version: int
    entry: str
    config: Mapping[str, str] = field(default_factory=dict)
    """Argument -> dotted path into the configuration; the empty path is the whole configuration."""
    literals: Mapping[str, Json] = field(default_factory=dict)
    """Argument -> JSON value."""
    pace: Mapping[str, Json] = field(default_factory=dict)
    """Argument -> JSON value of what decides speed and not the result, such as threads: no part of the key."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Argument -> name of the stage whose result it takes."""
    resources: Resources = field(default_factory=Resources)
    launcher: Literal["python", "accelerate"] = "python"
    identity: Mapping[str, str] = field(default_factory=dict)
    """Digests of what the function uses without being handed it, such as frozen models."""
    packages: tuple[str, ...] = ()
    """Distributions whose version changes the result."""
    may_fail: bool = False
    """Its failure stops nothing but what cannot do without it; no part of the key."""

    def __post_init__(self) -> None:
        assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*", self.name), f"stage name {self.name!r} must fit a folder name"
        assert re.fullmatch(r"[\w.]+:\w+", self.entry), f"{self.name}: {self.entry!r} is not module:function"
        names = [*self.config, *self.literals, *self.pace, *self.inputs]
        twice = {name for name in names if names.count(name) > 1} | (_RESERVED & set(names))
        assert not twice, f"stage {self.name}: arguments given twice or reserved: {sorted(twice)}"

    def values(self, config: Json) -> dict[str, Json]:
        """The slice of ``config`` (nested JSON) that this stage is given, by dotted path.

        Raises ValueError naming the first path that ``config`` does not have.
        """
        return {path: _at(config, path, self.name) for path in self.config.values()}

    def arguments(self, values: Mapping[str, Json]) -> dict[str, Json]:
        """Keyword arguments from configuration values by dotted path, the literals, and the pace."""
        configured = {argument: values[path] for argument, path in self.config.items()}
        return configured | dict(self.literals) | dict(self.pace)


class Ingredients(BaseModel):
    """All that a stage key is made of, kept beside the result so that a later plan can say what changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    entry: str
    config: dict[str, Json]
    literals: dict[str, Json]
    identity: dict[str, str]
    packages: dict[str, str]
    inputs: dict[str, str]

    def key(self) -> str:
        """sha256 (64 hex digits)."""
        return json_digest(self.model_dump())


def ingredients(stage: Stage, values: Mapping[str, Json], input_digests: Mapping[str, str]) -> Ingredients:
    """What the key of ``stage`` is made of. ``values``: dotted path -> value; ``input_digests``: argument -> digest."""
    return Ingredients(
        name=stage.name,
        version=stage.version,
        entry=stage.entry,
        config={path: values[path] for path in sorted(stage.config.values())},
        literals=dict(stage.literals),
        identity=dict(stage.identity),
        packages={name: _installed(name) for name in stage.packages},
        inputs=dict(input_digests),
    )


def stage_key(stage: Stage, values: Mapping[str, Json], input_digests: Mapping[str, str]) -> str:
    """The key under which the result of ``stage`` is stored: 64 hex digits.

    Raises ValueError when the inputs are not exactly the declared ones.
    """
    if set(input_digests) != set(stage.inputs):
        raise ValueError(f"stage {stage.name} takes inputs {sorted(stage.inputs)}, got {sorted(input_digests)}")
    return ingredients(stage, values, input_digests).key()


def _at(config: Json, path: str, stage: str) -> Json:
    node = config
    for part in path.split(".") if path else []:
        if not isinstance(node, Mapping) or part not in node:
            raise ValueError(f"stage {stage} reads {path!r}, which the configuration does not have (at {part!r})")
        node = node[part]
    return node


def _installed(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "absent"
