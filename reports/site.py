"""The report: a few static pages that open from a folder, without a server, a network or a build step.

Every text from outside (captions, names, reasons) is escaped by the templates; the page's own script is the only one
its content security policy lets run.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from diffsensei.config import ExperimentConfig
from diffsensei.config.schema import SyntheticSource
from diffsensei.evaluation.ablations import read_ablations
from diffsensei.evaluation.compared_methods import drawn_methods
from diffsensei.evaluation.results import GROUND_TRUTH, SHUFFLED_TRUTH, Summary, read_summary
from diffsensei.progress import Progress
from reports.ablations import ablation_view
from reports.assets import AssetFolder
from reports.data_quality import read_data_quality
from reports.gallery import MAX_PANELS, NUM_COLOURS, extreme_lists, panel_cards, read_panels
from reports.gate import gate_view
from reports.orderings import find_orderings
from reports.paper import TABLES
from reports.provenance import read_provenance, repeat_command
from reports.results_table import ABSENT, ResultsTable, comparison_rows, figure_text, interval_text, results_table
from reports.shell import page_renderer
from reports.study import study_view
from reports.training_curves import TITLES, read_training

PAGES = (
    ("index.html", "Results"),
    ("panels.html", "Panels"),
    ("ablations.html", "Ablations"),
    ("study.html", "Study"),
    ("training.html", "Training"),
    ("data.html", "Data"),
    ("provenance.html", "Provenance"),
)
SECOND_SET = "evaluation_"
"""What the names of results on ``data.evaluation_source`` begin with: their pages are not those of ``benchmark``."""
TILE_METRICS = ("dialog_f1", "dino_c", "dino_i", "clip")
SYNTHETIC_SCOPE = (
    "Smoke-size run on a synthetic world.",
    "The numbers show whether the mechanisms do their job; they are not comparable with the paper's data.",
)
MANGAZERO_SCOPE = (
    "Protocol of the paper, other pages.",
    "The paper's evaluation pages and its CLIP and DINO variants are unpublished, so its numbers are for orientation.",
)


@dataclass(frozen=True)
class Tile:
    """One metric of the main method, placed between floor and oracle (per cent of the way)."""

    label: str
    higher_is_better: bool
    value: str
    interval: str
    series: int
    floor: str
    oracle: str
    mark: float | None
    band: tuple[float, float] | None


def build_report(
    *,
    config: ExperimentConfig,
    validate: Path,
    panels: Path,
    benchmark: Path,
    score: Path,
    bundle: Path,
    verify: Path,
    provenance: Path,
    workspace: Path,
    output: Path,
    ablations: Path | None = None,
    study: Path | None = None,
    **others: Path,
) -> None:
    """Write ``index.html``, its sister pages and ``assets/`` from the results of the stages named.

    ``ablations`` and ``study`` (folders with ``ablations.json`` and ``study.json``) are shown where they are given.
    ``others`` are the results of all other stages, on which a report rests as well: what methods drew and what training
    logged is found among them by its files.
    Raises ValueError for a folder that lacks what its stage writes.
    """
    progress = Progress(workspace / "progress.json", "Building the report", len(PAGES), "pages")
    summary = read_summary(score)
    items = pd.read_parquet(score / "items.parquet")
    drawn = read_panels(benchmark)
    generated = drawn_methods(
        {
            name: path
            for name, path in others.items()
            if not name.startswith(SECOND_SET) and (path / "generation.json").is_file()
        }
    )
    trained = {name: path for name, path in others.items() if (path / "training.json").is_file()}
    unknown = sorted(trained.keys() - TITLES.keys())
    cards = panel_cards(drawn, summary, items, benchmark, generated, AssetFolder(output))
    main_method, extremes = extreme_lists(cards, summary, items)
    table = results_table(summary)
    synthetic = isinstance(config.data.source, SyntheticSource)
    title, text = SYNTHETIC_SCOPE if synthetic else MANGAZERO_SCOPE
    shared = {
        "verification": _verification(bundle, verify),
        "percent": f"{100 * summary.confidence:g}",
    }
    views: dict[str, dict[str, Any]] = {
        "index.html": {
            "summary": summary,
            "gate": gate_view(others.get("gate")),
            "scope": {"title": title, "text": text},
            "table": table,
            "orderings": find_orderings(summary),
            "tiles": _tiles(summary, table, main_method.name) if main_method else [],
            "main_method": main_method.label if main_method else "",
            "judges": list(summary.judges.items()),
            "comparisons": comparison_rows(summary),
            "paper_tables": TABLES,
            "extremes": extremes,
        },
        "panels.html": {
            "cards": cards,
            "series": sorted({card.request.series for card in cards}),
            "num_colours": NUM_COLOURS,
            "num_hidden": max(len(drawn) - MAX_PANELS, 0),
        },
        "ablations.html": {
            "ablations": None if ablations is None else ablation_view(read_ablations(ablations)),
            "command": repeat_command(config, "ablations"),
        },
        "study.html": {"study": None if study is None else study_view(study)},
        "training.html": {
            "training": [
                read_training(name, trained[name]) for name in [*filter(trained.__contains__, TITLES), *unknown]
            ]
        },
        "data.html": {
            "quality": read_data_quality(validate, panels),
            "source": "A synthetic world, drawn with exact annotations" if synthetic else "MangaZero annotations",
        },
        "provenance.html": {
            "origin": read_provenance(config, provenance),
            "preset": config.name,
            "seed": config.seed,
        },
    }
    render = page_renderer(config, PAGES)
    for name, _ in progress.track(PAGES):
        (output / name).write_text(render(name, shared | views[name]), encoding="utf-8")


def _tiles(summary: Summary, table: ResultsTable, method: str) -> list[Tile]:
    series = next(row.series for row in table.rows if row.info.name == method)
    tiles = []
    for name in TILE_METRICS:
        result = summary.result(method, name)
        if result is None or result.value is None:
            continue
        floor, oracle = summary.result(SHUFFLED_TRUTH, name), summary.result(GROUND_TRUTH, name)
        low = floor.value if floor is not None else None
        high = oracle.value if oracle is not None else None
        placed = low is not None and high is not None and low != high
        tiles.append(
            Tile(
                label=next(metric.label for metric in summary.metrics if metric.name == name),
                higher_is_better=result.higher_is_better,
                value=figure_text(result.value),
                interval=interval_text(result.low, result.high),
                series=series,
                floor=ABSENT if low is None else figure_text(low),
                oracle=ABSENT if high is None else figure_text(high),
                mark=_share(result.value, low, high) if placed else None,
                band=(_share(result.low, low, high), _share(result.high, low, high))
                if placed and result.low is not None and result.high is not None
                else None,
            )
        )
    return tiles


def _share(value: float, low: float | None, high: float | None) -> float:
    """Per cent of the way from ``low`` to ``high``, held between 0 and 100."""
    assert low is not None
    assert high is not None
    return min(max(100 * (value - low) / (high - low), 0.0), 100.0)


def _verification(bundle: Path, verify: Path) -> str:
    manifest, certificate = bundle / "manifest.json", verify / "verification.json"
    if not manifest.is_file():
        return "not built"
    if not certificate.is_file() or not json.loads(certificate.read_text()).get("passed"):
        return "built, not verified"
    return "verified: reloaded and redrawn"
