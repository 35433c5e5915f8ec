"""What a run cost: time of every stage, GPU-hours, and how fast each method draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.origins import StageOrigin
from reports.provenance import duration_text, size_text
from reports.results_table import ABSENT
from reports.versions import EvaluationSet, Version

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class MethodCost:
    """One method: all its training, and its drawing of one evaluation set."""

    label: str
    trained: str
    """Time of the training stages that its panels rest on; those shared with other methods count for each."""
    drew: str
    panels_per_s: str
    memory: str


@dataclass(frozen=True)
class Costs:
    """``gpu_hours`` counts every GPU that a job saw, for as long as it ran."""

    total: str
    gpu_hours: str
    stages: int
    methods: tuple[MethodCost, ...]


def read_costs(version: Version, training: Sequence[str]) -> Costs:
    """The costs of a version; ``training`` names its training stages. Times are of the jobs that finished."""
    jobs = [origin for origin in version.stages.values() if origin.job is not None]
    main = version.sets[0]
    return Costs(
        total=duration_text(sum(_wall(origin) for origin in jobs)),
        gpu_hours=_gpu_hours(jobs),
        stages=len(jobs),
        methods=tuple(_methods(version, main, training)),
    )


def _methods(version: Version, found: EvaluationSet, training: Sequence[str]) -> list[MethodCost]:
    summary = found.summary
    labels = {info.name: info.label for info in summary.methods}
    return [
        _method(
            labels[method],
            stage,
            version.stages,
            [name for name in version.upstream(stage) if name in training],
            summary.num_panels * len(summary.seeds),
        )
        for method, stage in found.drawn_by.items()
        if method in labels
    ]


def _method(
    label: str, stage: str, stages: Mapping[str, StageOrigin], trained: Sequence[str], num_images: int
) -> MethodCost:
    drew = stages.get(stage)
    wall = 0.0 if drew is None else _wall(drew)
    peak = None if drew is None or drew.job is None else drew.job.max_rss_bytes
    return MethodCost(
        label=label,
        trained=duration_text(sum(_wall(stages[name]) for name in trained)) if trained else "not trained",
        drew=duration_text(wall) if wall else ABSENT,
        panels_per_s=f"{num_images / wall:.3g}" if wall else ABSENT,
        memory=size_text(peak) if peak else ABSENT,
    )


def _gpu_hours(jobs: Sequence[StageOrigin]) -> str:
    hours = sum(_wall(origin) * len(origin.env.gpus) for origin in jobs if origin.env is not None) / SECONDS_PER_HOUR
    return f"{hours:.1f}" if hours else "none"


def _wall(origin: StageOrigin) -> float:
    return 0.0 if origin.job is None else origin.job.wall_s
