"""Training logs as charts: every loss of a stage in one, throughput as a number."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from reports.charts import Curve, line_chart

LOSS_GROUP = "train/"
THROUGHPUT = "perf/panels_per_s"
TITLES = {
    "pretrain": "Pre-training, text to image",
    "stage1": "Stage 1, image generator",
    "stage2": "Stage 2, MLLM adapter",
    "ar_ldm": "AR-LDM",
    "storygen_single": "StoryGen, single panels",
    "storygen": "StoryGen, panels after others",
    "seed_story_language": "SEED-Story, language model",
    "seed_story": "SEED-Story, de-tokenizer",
    "ms_diffusion": "MS-Diffusion",
    "ms_diffusion_dialogs": "MS-Diffusion with dialogs",
}
LOG_SPAN = 30.0
"""Curves whose largest value is so many times the smallest get a logarithmic axis."""


@dataclass(frozen=True)
class TrainingLog:
    """One stage's chart and its figures at the end."""

    name: str
    title: str
    chart: Markup | None
    figures: tuple[tuple[str, str], ...]


def read_training(stage: str, folder: Path) -> TrainingLog:
    """The log of one training stage; a stage without one has no chart and says so."""
    path = folder / "logs" / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    curves = _losses(lines)
    title = TITLES.get(stage, stage)
    chart = None
    if any(len(curve.points) > 1 for curve in curves):
        chart = line_chart(
            curves,
            name=f"curve-{stage}",
            title=f"{title}: losses over optimizer steps",
            log_scale=_spans_decades(curves),
        )
    return TrainingLog(stage, title, chart, tuple(_figures(lines, curves)))


def _losses(lines: Sequence[dict[str, float]]) -> list[Curve]:
    names = list(dict.fromkeys(key for line in lines for key in line if key.startswith(LOSS_GROUP)))
    curves = []
    for index, name in enumerate(names):
        points = [(line["step"], line[name]) for line in lines if name in line and math.isfinite(line[name])]
        curves.append(Curve(name.removeprefix(LOSS_GROUP), points, index + 1))
    return curves


def _figures(lines: Sequence[dict[str, float]], curves: Sequence[Curve]) -> list[tuple[str, str]]:
    if not lines:
        return []
    figures = [("steps", f"{int(lines[-1]['step']):,}")]
    for curve in curves:
        tail = [value for _, value in curve.points[-max(len(curve.points) // 10, 1) :]]
        if tail:
            figures.append((f"{curve.label}, last tenth", f"{sum(tail) / len(tail):.4g}"))
    speeds = sorted(line[THROUGHPUT] for line in lines if THROUGHPUT in line)
    if speeds:
        figures.append(("median panels/s", f"{speeds[len(speeds) // 2]:.3g}"))
    return figures


def _spans_decades(curves: Sequence[Curve]) -> bool:
    values = [value for curve in curves for _, value in curve.points]
    return bool(values) and min(values) > 0 and max(values) / min(values) > LOG_SPAN
