"""Scores generated panels: the automatic part of the paper's Table 2, with intervals, an oracle and a floor.

Besides the methods, two rows anchor every metric: the true panels scored as if generated (what a perfect generator
would get, DINO-I and DINO-C being 1 and FID 0 by definition), and another true panel of the same series (what drawing
well but ignoring the request would get). The paper has neither.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from diffsensei.config.schema import EvaluationConfig
from diffsensei.data.panels.buckets import Bucket, fit_panel
from diffsensei.evaluation.benchmark import BenchmarkPanel, read_benchmark, truth_path
from diffsensei.evaluation.breakdowns import break_down
from diffsensei.evaluation.comparability import benchmark_digest
from diffsensei.evaluation.compared_methods import drawn_methods, read_generation
from diffsensei.evaluation.distribution_metrics import STATISTICS_SEED
from diffsensei.evaluation.drawn_states import drawn_states
from diffsensei.evaluation.item_metrics import ItemMetric
from diffsensei.evaluation.judges import load_judges
from diffsensei.evaluation.measurements import Request, measure
from diffsensei.evaluation.results import GROUND_TRUTH, ITEM_COLUMNS, SHUFFLED_TRUTH
from diffsensei.evaluation.sight import (
    PanelFeatures,
    PanelSource,
    Picture,
    read_picture,
    see_captions,
    see_panels,
    see_references,
)
from diffsensei.evaluation.state_accuracy import NOT_DRAWN, readable
from diffsensei.evaluation.summary import all_metrics, summarise
from diffsensei.progress import Progress
from diffsensei.seeding import numpy_stream


def score_methods(
    *,
    evaluation: EvaluationConfig,
    benchmark: Path,
    features: Path,
    workspace: Path,
    output: Path,
    annotations: Path | None = None,
    metrics: Mapping[str, str] | None = None,
    **generated: Path,
) -> None:
    """Write ``items.parquet`` (every measurement), ``summary.json`` (`Summary`) and ``breakdowns.parquet``
    (`break_down`) for the methods that drew the ``generated`` folders.

    ``features`` keeps what the judges saw of pictures (`cached`), for other runs as well.
    Each generated folder holds ``generation.json`` and ``images/<seed>/<panel_id>.png``. A panel that is missing there
    is counted as skipped; one of the wrong size raises ValueError.

    ``annotations`` is the folder the data set's annotations came in: of a drawn world it knows the characters' states.
    ``metrics``: only these, name -> digest of the definition that is expected; judges that none needs see nothing.
    """
    folders = drawn_methods(generated)
    panels = read_benchmark(benchmark)
    judges = load_judges(evaluation.judges, features, evaluation.detection_threshold)
    asked = [metric for metric in all_metrics(evaluation) if metrics is None or metric.definition.name in metrics]
    if metrics is not None:
        judges = judges.only({metric.judge for metric in asked})
    states = None if annotations is None else drawn_states(annotations, panels)
    if states is None:
        judges = judges.without("states", NOT_DRAWN)
    runs: list[tuple[str, int, PanelSource]] = [(GROUND_TRUTH, evaluation.seeds[0], _truth(benchmark))]
    shuffled = shuffle_within_series(panels)
    if shuffled:
        runs.append((SHUFFLED_TRUTH, evaluation.seeds[0], _truth(benchmark, shuffled)))
    for method, folder in folders.items():
        runs += [(method, seed, _generated(folder / "images" / str(seed))) for seed in evaluation.seeds]

    progress = Progress(workspace / "progress.json", "Scoring panels", len(panels) * len(runs), "panels")
    references = see_references(panels, benchmark, judges)
    captions = see_captions(panels, judges)
    request: Request | None = None
    rows: list[dict[str, Any]] = []
    sets: dict[tuple[str, int], PanelFeatures] = {}
    for method, seed, source in runs:
        seen = see_panels(panels, source, judges, evaluation, progress)
        request = request or Request(
            panels,
            references,
            captions,
            truth=seen,
            states=states or [[None] * len(panel.characters) for panel in panels],
            readable_states=() if judges.states is None else readable(judges.states.probe.held_out_accuracy),
        )
        sets[method, seed] = seen
        measured = measure(request, seen, evaluation, judges.missing)
        rows += [{"method": method, "seed": seed} | row for row in measured]

    items = pd.DataFrame(rows, columns=list(ITEM_COLUMNS)).astype(
        {"value": "float64", "tp": "Int64", "fp": "Int64", "fn": "Int64"}
    )
    items.to_parquet(output / "items.parquet", index=False)
    of_items = [metric for metric in asked if isinstance(metric, ItemMetric)]
    parts = break_down(items, panels, of_items, baseline=next(iter(folders)))
    parts.to_parquet(output / "breakdowns.parquet", index=False)
    said = {method: read_generation(folder) for method, folder in folders.items()}
    names = {metric.definition.name for metric in asked}
    summary = summarise(panels, items, sets, judges, evaluation, benchmark_digest(benchmark), said, only=names)
    (output / "summary.json").write_text(summary.model_dump_json(indent=1) + "\n")


def shuffle_within_series(panels: Sequence[BenchmarkPanel]) -> dict[str, BenchmarkPanel]:
    """Panel id to another panel, of the same series where it has one; empty if there is only one panel at all."""
    if len(panels) < 2:
        return {}
    rng = numpy_stream(STATISTICS_SEED, "shuffled truth")
    chosen = {}
    for panel in panels:
        others = [other for other in panels if other.panel_id != panel.panel_id]
        same = [other for other in others if other.series == panel.series] or others
        chosen[panel.panel_id] = same[int(rng.integers(len(same)))]
    return chosen


def _generated(folder: Path) -> PanelSource:
    def load(panel: BenchmarkPanel) -> Picture | None:
        path = folder / f"{panel.panel_id}.png"
        return read_picture(path) if path.is_file() else None

    return load


def _truth(benchmark: Path, instead: Mapping[str, BenchmarkPanel] | None = None) -> PanelSource:
    """The true panels, or with ``instead`` another one for each, fitted to its size."""

    def load(panel: BenchmarkPanel) -> Picture:
        shown = panel if instead is None else instead[panel.panel_id]
        picture = read_picture(truth_path(benchmark, shown))
        if instead is None:
            return picture
        return Picture(fit_panel(picture.grey, Bucket(panel.height, panel.width, 0)), picture.chroma)

    return load
