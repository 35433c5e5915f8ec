"""The report: a few static pages that open from a folder, without a server, a network or a build step.

Every text from outside (captions, names, reasons) is escaped by the templates; the page's own script is the only one
its content security policy lets run.
"""

import json
from pathlib import Path
from typing import Any

from diffsensei.config import ExperimentConfig, config_digest
from diffsensei.evaluation.ablations import read_ablations
from diffsensei.progress import Progress
from reports.ablations import ablation_view
from reports.costs import read_costs
from reports.data_quality import read_data_quality
from reports.evaluation_sets import measured_sets
from reports.exports import write_downloads
from reports.figure_origins import row_origins
from reports.gallery import PAGES as GALLERY_PAGES
from reports.gallery import write_gallery
from reports.gate import gate_view
from reports.origins import read_origins
from reports.paper import TABLES
from reports.provenance import read_provenance, repeat_command
from reports.results_view import set_view
from reports.shell import page_renderer
from reports.status import write_status
from reports.study import study_view
from reports.training_curves import TITLES, read_training
from reports.versions import Version, write_version

PAGES = (
    ("index.html", "Results"),
    *GALLERY_PAGES,
    ("breakdowns.html", "Breakdowns"),
    ("ablations.html", "Ablations"),
    ("study.html", "Study"),
    ("training.html", "Training"),
    ("data.html", "Data"),
    ("provenance.html", "Provenance"),
)
SOURCES = {
    "synthetic": "A synthetic world, drawn with exact annotations",
    "mangazero": "MangaZero annotations",
    "manga109": "Manga109",
    "files": "Pages of one's own, annotated by Magi and a captioner",
}


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
    encoded: Path | None = None,
    **others: Path,
) -> None:
    """Write ``index.html``, its sister pages and ``assets/`` from the results of the stages named.

    ``ablations`` and ``study`` (folders with ``ablations.json`` and ``study.json``) are shown where they are given;
    pictures that lie in ``encoded``, those of earlier reports, are linked instead of encoded again.
    ``others`` are the results of all other stages, on which a report rests as well: what methods drew and what training
    logged is found among them by its files, and a second evaluation set by the names of its stages. Beside the pages
    stand ``version.json`` (`Version`) and ``downloads/``.
    Raises ValueError for a folder that lacks what its stage writes.
    """
    progress = Progress(workspace / "progress.json", "Building the report", len(PAGES) - len(GALLERY_PAGES), "pages")
    sets = measured_sets(config, score, benchmark, {"validate": validate} | others)
    main = sets[0]
    trained = {name: path for name, path in others.items() if (path / "training.json").is_file()}
    unknown = sorted(trained.keys() - TITLES.keys())
    shared: dict[str, Any] = {
        "verification": _verification(bundle, verify),
        "percent": f"{100 * main.found.summary.confidence:g}",
        "evaluation_sets": [measured.found for measured in sets],
    }
    render = page_renderer(config, PAGES, GALLERY_PAGES)
    galleries = {
        measured.found.name: write_gallery(
            config=config,
            measured=measured,
            workspace=workspace,
            report=output,
            encoded=encoded,
            render=render,
            shared=shared,
        )
        for measured in sets
    }
    version = Version(
        name=config.release.name,
        version=config.release.version,
        preset=config.name,
        smoke=main.drawn_pages,
        config=config.model_dump(mode="json"),
        config_digest=config_digest(config),
        verification=shared["verification"],
        sets=tuple(measured.found for measured in sets),
        stages=read_origins(provenance).stages,
        pictures={key: kept for each in galleries.values() for key, kept in each.pictures.items()},
    )
    write_version(version, output)
    write_status(output, None)
    shown = [set_view(each, version, write_downloads(each.found, each.score, output)) for each in sets]
    views: dict[str, dict[str, Any]] = {
        "index.html": {
            "sets": shown,
            "preset": config.name,
            "gate": gate_view(others.get("gate")),
            "paper_tables": TABLES,
            "costs": read_costs(version, list(trained)),
            "gallery_of": galleries,
            "look_at": GALLERY_PAGES,
        },
        "breakdowns.html": {"sets": shown},
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
            "source": SOURCES[config.data.source.kind],
        },
        "provenance.html": {
            "origin": read_provenance(config, provenance),
            "rows": row_origins(version, list(trained)),
            "sets": shown,
            "preset": config.name,
            "seed": config.seed,
        },
    }
    for name in progress.track(views):
        (output / name).write_text(render(name, shared | views[name]), encoding="utf-8")


def _verification(bundle: Path, verify: Path) -> str:
    manifest, certificate = bundle / "manifest.json", verify / "verification.json"
    if not manifest.is_file():
        return "not built"
    if not certificate.is_file() or not json.loads(certificate.read_text()).get("passed"):
        return "built, not verified"
    return "verified: reloaded and redrawn"
