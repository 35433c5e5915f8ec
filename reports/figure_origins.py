"""From a figure back to what it came from: the measurements, the weights that drew, the data, the code.

One section for every row of a results table; a figure in the table leads to its section.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from diffsensei.evaluation.results import MetricDefinition, MetricResult
from reports.provenance import duration_text
from reports.results_table import ABSENT
from reports.versions import EvaluationSet, Version


@dataclass(frozen=True)
class StageStep:
    """One stage on the way to a figure."""

    name: str
    kind: str
    """``measured``, ``drew``, ``weights``, ``benchmark`` or ``data``."""
    version: int
    digest: str
    key: str
    code: str
    wall: str
    created: str


@dataclass(frozen=True)
class MeasuredFigure:
    """One cell of the row and the definition it rests on."""

    metric: MetricDefinition
    result: MetricResult
    judge: str


@dataclass(frozen=True)
class RowOrigin:
    """``anchor`` is the section's own; ``steps`` are nearest first."""

    anchor: str
    set_name: str
    set_label: str
    method: str
    label: str
    steps: tuple[StageStep, ...]
    figures: tuple[MeasuredFigure, ...]
    items: str


def row_anchor(set_name: str, method: str) -> str:
    """Of the section of one row."""
    return f"origin-{set_name}-{method}"


def row_stages(version: Version, found: EvaluationSet, method: str) -> list[str]:
    """The stages that the figures of one row rest on: not those that only other rows need."""
    drew = found.drawn_by.get(method)
    own = [found.score, *(version.upstream(drew) if drew else ()), *version.upstream(found.benchmark)]
    return [name for name in dict.fromkeys(own) if name in version.stages]


def row_origins(version: Version, training: Sequence[str]) -> list[RowOrigin]:
    """A section for every row of every evaluation set. ``training``: the version's training stages."""
    return [
        RowOrigin(
            anchor=row_anchor(found.name, info.name),
            set_name=found.name,
            set_label=found.label,
            method=info.name,
            label=info.label,
            steps=tuple(_step(name, version, found, training) for name in row_stages(version, found, info.name)),
            figures=tuple(
                MeasuredFigure(metric, result, str(metric.parameters.get("judge", ABSENT)))
                for metric in found.summary.metrics
                if (result := found.summary.result(info.name, metric.name)) is not None
            ),
            items=found.items,
        )
        for found in version.sets
        for info in found.summary.methods
    ]


def _step(name: str, version: Version, found: EvaluationSet, training: Sequence[str]) -> StageStep:
    origin = version.stages[name]
    kinds = {found.score: "measured", found.benchmark: "benchmark"} | dict.fromkeys(training, "weights")
    kinds |= dict.fromkeys(found.drawn_by.values(), "drew")
    return StageStep(
        name=name,
        kind=kinds.get(name, "data"),
        version=origin.stage.version if origin.stage else 0,
        digest=origin.digest,
        key=origin.stage.key if origin.stage else "",
        code=origin.git.text,
        wall=ABSENT if origin.job is None else duration_text(origin.job.wall_s),
        created=origin.created[:19].replace("T", " "),
    )
