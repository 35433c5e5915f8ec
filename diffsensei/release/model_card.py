"""The model card of a bundle: what it is, how to use it, what it was trained on, how well it does, where it fails."""

import json
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel

from diffsensei.config.schema import ConditioningConfig, ModelConfig, ReleaseConfig, SamplingConfig

EMBEDDED = "embedded:"


class CardMethod(BaseModel):
    name: str
    label: str
    role: str


class CardResult(BaseModel):
    method: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n_used: int
    state: str


class CardMetric(BaseModel):
    name: str
    label: str
    definition: str
    higher_is_better: bool


class CardSummary(BaseModel):
    """What a card needs of the benchmark's ``summary.json``."""

    metrics: tuple[CardMetric, ...]
    methods: tuple[CardMethod, ...]
    results: tuple[CardResult, ...]
    num_series: int
    num_pages: int
    num_panels: int
    confidence: float


@dataclass(frozen=True)
class CardRow:
    label: str
    cells: tuple[str, ...]


def model_card(
    *,
    release: ReleaseConfig,
    model: ModelConfig,
    sampling: SamplingConfig,
    conditioning: ConditioningConfig,
    source_kind: str,
    score: Path,
) -> str:
    """``README.md`` of a bundle, with the figures in the folder ``score``. Raises ValueError where there are none.

    ``source_kind``: ``data.source.kind`` of the pages it was trained on.
    """
    path = score / "summary.json"
    if not path.is_file():
        raise ValueError(f"{score} holds no benchmark result: summary.json is missing; run the score stage")
    summary = CardSummary.model_validate(json.loads(path.read_text()))
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return templates.get_template("model_card.md.j2").render(
        release=release,
        model=model,
        sampling=sampling,
        conditioning=conditioning,
        summary=summary,
        source_kind=source_kind,
        embedded=model.foundations.vae.startswith(EMBEDDED),
        percent=f"{100 * summary.confidence:g}",
        rows=[_row(summary, method) for method in summary.methods],
    )


def _row(summary: CardSummary, method: CardMethod) -> CardRow:
    cells = []
    for metric in summary.metrics:
        found = next((r for r in summary.results if r.method == method.name and r.metric == metric.name), None)
        cells.append("" if found is None else _cell(found))
    return CardRow(method.label, tuple(cells))


def _cell(result: CardResult) -> str:
    if result.value is None:
        return result.state.replace("|", "/")
    interval = "" if result.low is None or result.high is None else f" [{result.low:.3f}, {result.high:.3f}]"
    return f"{result.value:.3f}{interval}, n={result.n_used}"
