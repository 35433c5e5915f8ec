"""The part of a report that one looks at: series, pages and panels, each with what every method drew, and galleries.

Every evaluation set has its own: those of the main set lie in the report's folder, those of another in one that is
called after it. Pictures are shared. Pages are few and the same for every run; what they show lies in ``data/*.js``.
The record of a panel is ``panel.html#<panel id>``: a file of HTML for each would take four times the space, and
twenty-five times if each carried its style and scripts (EXPERIMENTS.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from diffsensei.config import ExperimentConfig
from diffsensei.evaluation.results import GROUND_TRUTH, MethodInfo
from diffsensei.progress import Progress
from reports.data_files import write_data, write_parts
from reports.evaluation_sets import MeasuredSet
from reports.extremes import ExtremeList, extreme_lists
from reports.failure_tags import tag_rules
from reports.page_frames import PageFrame, page_frames
from reports.panel_records import Drawings, index_entry, panel_record, stored_json
from reports.panel_scores import panel_metrics, read_scores
from reports.pictures import Stored, store_pictures
from reports.requested_panels import RequestedPanel, read_panels
from reports.series_figures import series_address, series_figures
from reports.series_view import series_overview, series_view
from reports.shell import Render

PAGES = (
    ("panels.html", "Panels"),
    ("series.html", "Series"),
    ("extremes.html", "Best and worst"),
)
"""What the navigation leads to."""
UNLISTED = (("panel.html", "panels.html"), ("pages.html", "series.html"))
"""Pages that others lead to, and which entry of the navigation they belong to."""


@dataclass(frozen=True)
class Gallery:
    """What the report's first page shows of one evaluation set's."""

    main: MethodInfo | None
    """The last method of the table, whose best and worst panels these are."""
    extremes: list[ExtremeList]
    pictures: dict[str, dict[str, str]]
    """As `Version.pictures`, of the thumbnails of the first seed."""


def write_gallery(
    *,
    config: ExperimentConfig,
    measured: MeasuredSet,
    workspace: Path,
    report: Path,
    encoded: Path | None,
    render: Render,
    shared: Mapping[str, Any],
) -> Gallery:
    """Write the pages of `PAGES` and `UNLISTED`, ``series/*.html`` and ``data/*.js`` of one evaluation set.

    They come into the folder of its galleries in ``report``, pictures into ``report/assets``. ``encoded``: pictures of
    earlier reports (`store_pictures`); ``shared``: what all pages show.
    Raises ValueError where the benchmark is missing, or a picture is broken or lies outside its folder.
    """
    found, summary, benchmark = measured.found, measured.found.summary, measured.benchmark
    output = report / found.galleries
    items = pd.read_parquet(measured.score / "items.parquet")
    panels = read_panels(benchmark)
    drawings = Drawings(
        benchmark,
        measured.generated,
        [info for info in summary.methods if info.name == GROUND_TRUTH or info.name in measured.generated],
        panel_metrics(summary, items),
        summary.seeds,
        read_scores(items),
        tag_rules(summary),
    )
    frames = page_frames(panels, measured.prepared)
    pictures = [path for panel in panels for path in drawings.pictures(panel)]
    pictures = list(dict.fromkeys([*pictures, *(frame.picture for frame in frames if frame.picture is not None)]))
    what = f"Encoding pictures, {found.label}"
    progress = Progress(workspace / f"pictures-{found.name}.json", what, len(pictures), "pictures")
    stored = store_pictures(
        pictures,
        report / "assets",
        policy=config.report.images,
        # All other stages are done: the places of jobs beside this one are free.
        num_threads=config.runtime.num_threads * config.runtime.parallel_jobs,
        encoded=encoded,
        advance=progress.advance,
    )
    names = list(dict.fromkeys(panel.series for panel in panels))
    parts = _write_data(config, names, panels, frames, drawings, stored, output / "data")
    figures = series_figures(summary, items, config.evaluation)
    methods = [info for info in drawings.methods if info.role == "method"]
    main = methods[-1] if methods else None
    of_set = dict(shared) | {"found": found, "parts": parts, "confidence": summary.confidence}
    up = "../" if found.galleries else ""
    views: dict[str, dict[str, Any]] = {
        "panels.html": {},
        "panel.html": {},
        "pages.html": {},
        "extremes.html": {"tags": drawings.rules.described()},
        "series.html": {"overview": series_overview(names, panels, figures, main)},
    }
    belongs = dict(UNLISTED)
    for name, view in views.items():
        page = belongs.get(name, name)
        text = render(page, of_set | view, template=f"{name}.j2", root=up, interactive=name != "series.html")
        (output / name).write_text(text, encoding="utf-8")
    (output / "series").mkdir(exist_ok=True)
    for number, name in enumerate(names):
        view = of_set | {
            "number": number,
            "series": series_view(name, panels, figures.get(name)),
            "before": (names[number - 1], series_address(names[number - 1])) if number else None,
            "after": (names[number + 1], series_address(names[number + 1])) if number + 1 < len(names) else None,
        }
        text = render(
            "series.html",
            view,
            template="one_series.html.j2",
            root=f"{up}../",
            galleries="../",
            interactive=True,
        )
        (output / series_address(name)).write_text(text, encoding="utf-8")
    thumbs = {
        f"{found.galleries}{panel.panel_id}": {
            info.name: f"assets/{kept.thumb}"
            for info in drawings.methods
            if (kept := stored.get(drawings.picture(panel, info.name, summary.seeds[0]))) is not None
        }
        for panel in panels
    }
    extremes = extreme_lists(panels, main, drawings, stored, found.galleries) if main else []
    return Gallery(main, extremes, thumbs)


def _write_data(
    config: ExperimentConfig,
    names: Sequence[str],
    panels: Sequence[RequestedPanel],
    frames: Sequence[PageFrame],
    drawings: Drawings,
    stored: Mapping[Path, Stored],
    folder: Path,
) -> list[str]:
    """The data of all pages; names of the files that lists of panels need."""
    series, lists = [], []
    for number, name in enumerate(names):
        mine = [panel for panel in panels if panel.series == name]
        address = series_address(name)
        parts = write_parts(
            folder, address.removesuffix(".html"), (panel_record(panel, drawings, stored) for panel in mine)
        )
        series.append({"name": name, "address": address, "parts": [part for part, _ in parts]})
        places = [place for place, (_, count) in enumerate(parts) for _ in range(count)]
        lists += [index_entry(panel, drawings, number, place) for panel, place in zip(mine, places, strict=True)]
    report = {
        "images": config.report.images,
        "methods": [{"name": i.name, "label": i.label, "role": i.role} for i in drawings.methods],
        "metrics": [
            {"name": m.name, "label": m.label, "unit": m.unit, "up": m.higher_is_better, "definition": m.definition}
            for m in drawings.metrics
        ],
        "seeds": list(drawings.seeds),
        "tags": [asdict(tag) for tag in drawings.rules.described()],
        "series": series,
    }
    write_data(folder, "report", report)
    listed = write_parts(folder, "panels", lists) + write_parts(
        folder, "pages", (_page(frame, stored) for frame in frames)
    )
    return ["report", *(name for name, _ in listed)]


def _page(frame: PageFrame, stored: Mapping[Path, Stored]) -> dict[str, Any]:
    picture = stored.get(frame.picture) if frame.picture is not None else None
    return {
        "id": frame.page_id,
        "series": frame.series,
        "size": [frame.width, frame.height],
        "boxes": {panel: [round(value, 4) for value in box] for panel, box in frame.boxes.items()},
        "annotated": frame.annotated,
        "picture": stored_json(picture),
    }
