"""Drift check: a few frozen drawings scored again, to see whether a metric moved although nothing it names changed.

A metric's definition covers its version, its parameters and its judge by digest, weights on a hub by name. It does not
cover libraries, drivers, machines, or what stands behind that name today. Those are what this finds: pictures and
recorded figures are frozen once, and whoever checks looks at the pictures again, never at cached features.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from diffsensei.config.base import Config
from diffsensei.config.schema import EvaluationConfig
from diffsensei.evaluation.benchmark import read_pages
from diffsensei.evaluation.comparability import differences
from diffsensei.evaluation.compared_methods import read_generation
from diffsensei.evaluation.drawn_states import copy_states
from diffsensei.evaluation.results import MetricDefinition, MetricResult, Summary, read_summary
from diffsensei.evaluation.score import score_methods

FILE = "drift.json"
ROUNDING = 1e-6
"""What a figure near zero may move by: the share of nothing is nothing."""


class DriftReport(Config):
    """What a check found."""

    checked: str
    """When, as ISO 8601 in UTC."""
    method: str
    tolerance: float
    set_digest: str
    """Of the frozen panels and pictures (`comparability.benchmark_digest`)."""
    columns: tuple[MetricDefinition, ...]
    """The metrics as they are defined now."""
    recorded: tuple[MetricResult, ...]
    found: tuple[MetricResult, ...]
    moved: dict[str, str]
    """Metric -> from where to where, for equal definitions with figures further apart than the tolerance."""
    redefined: dict[str, str]
    """Metric -> what changed in its definition; such a figure may move."""

    @property
    def alarm(self) -> str:
        """One line that says which metrics moved; empty where none did."""
        told = ", ".join(f"{name} {how}" for name, how in self.moved.items())
        return f"metrics moved although nothing that defines them changed: {told}" if told else ""


def freeze_reference(
    *,
    evaluation: EvaluationConfig,
    num_pages: int,
    metrics: Mapping[str, str],
    benchmark: Path,
    annotations: Path,
    drawn: Path,
    workspace: Path,
    output: Path,
) -> None:
    """Write ``benchmark/``, ``annotations/`` and ``drawn/`` of the first ``num_pages`` pages, their figures in
    ``recorded/``.

    ``metrics``: name -> digest of the definition that is recorded. Raises ValueError where ``drawn`` lacks a panel.
    """
    panels = read_pages(benchmark)
    pages = list(dict.fromkeys(panel.page_id for panel in panels))[:num_pages]
    chosen = [panel for panel in panels if panel.page_id in pages]
    for folder in ("benchmark/truth", "benchmark/references", "drawn"):
        (output / folder).mkdir(parents=True)
    lines = [panel.model_dump_json() + "\n" for panel in chosen]
    (output / "benchmark" / "panels.jsonl").write_text("".join(lines))
    for panel in chosen:
        for name in (f"truth/{panel.panel_id}.png", *(character.reference for character in panel.characters)):
            shutil.copyfile(benchmark / name, output / "benchmark" / name)
    copy_states(annotations, pages, output / "annotations")
    shutil.copyfile(drawn / "generation.json", output / "drawn" / "generation.json")
    for seed in evaluation.seeds:
        (output / "drawn" / "images" / str(seed)).mkdir(parents=True)
        for panel in chosen:
            image = Path("images") / str(seed) / f"{panel.panel_id}.png"
            if panel.given:
                continue
            if not (drawn / image).is_file():
                raise ValueError(f"{drawn} lacks {image}: only a whole drawing can be frozen; draw it again")
            shutil.copyfile(drawn / image, output / "drawn" / image)
    _score(evaluation, output, workspace, output / "recorded")


def check_drift(
    *,
    evaluation: EvaluationConfig,
    tolerance: float,
    checked: str,
    reference: Path,
    workspace: Path,
    output: Path,
) -> None:
    """Write `DriftReport` as ``drift.json``: the frozen set ``reference`` scored now, beside its recorded figures.

    ``tolerance``: the share of its size that rounding may move a figure, besides `ROUNDING`.
    """
    found = _score(evaluation, reference, workspace, output / "found")
    recorded = read_summary(reference / "recorded")
    method = str(read_generation(reference / "drawn")["method"])
    moved, redefined = compare_figures(recorded, found, method, tolerance)
    report = DriftReport(
        checked=checked,
        method=method,
        tolerance=tolerance,
        set_digest=found.benchmark_digest,
        columns=found.metrics,
        recorded=_of(recorded, method),
        found=_of(found, method),
        moved=moved,
        redefined=redefined,
    )
    (output / FILE).write_text(report.model_dump_json(indent=1) + "\n")


def read_drift(folder: Path) -> DriftReport:
    """The report in ``folder``."""
    return DriftReport.model_validate_json((folder / FILE).read_text())


def compare_figures(
    recorded: Summary, found: Summary, method: str, tolerance: float
) -> tuple[dict[str, str], dict[str, str]]:
    """What `DriftReport.moved` and `DriftReport.redefined` are."""
    moved, redefined = {}, {}
    definitions = {metric.name: metric for metric in recorded.metrics}
    for metric in found.metrics:
        before, now = recorded.result(method, metric.name), found.result(method, metric.name)
        if before is None or now is None:
            redefined[metric.name] = "not recorded"
        elif definitions[metric.name].digest != metric.digest:
            redefined[metric.name] = "; ".join(differences(definitions[metric.name], metric)) or "other pictures"
        elif before.value is None or now.value is None:
            if before.state != now.state:
                moved[metric.name] = f"{_said(before)} -> {_said(now)}"
        elif abs(now.value - before.value) > max(tolerance * abs(before.value), ROUNDING):
            moved[metric.name] = f"{_said(before)} -> {_said(now)}"
    return moved, redefined


def _score(evaluation: EvaluationConfig, frozen: Path, workspace: Path, output: Path) -> Summary:
    """Scores of the frozen set, with features computed here and now."""
    features = workspace / "features"
    shutil.rmtree(features, ignore_errors=True)
    output.mkdir()
    score_methods(
        evaluation=evaluation,
        benchmark=frozen / "benchmark",
        features=features,
        workspace=workspace,
        output=output,
        annotations=frozen / "annotations",
        drawn=frozen / "drawn",
    )
    return read_summary(output)


def _of(summary: Summary, method: str) -> tuple[MetricResult, ...]:
    return tuple(result for result in summary.results if result.method == method)


def _said(result: MetricResult) -> str:
    return result.state if result.value is None else f"{result.value:.6g}"
