"""Corrections of annotations by people: sheets and files for them, and what they hand back."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from diffsensei.config import ExperimentConfig

if TYPE_CHECKING:
    from diffsensei.data.annotation.annotated_folder import AnnotatedFolder

LabelFormat = Literal["label-studio", "cvat"]


def write_sheets(
    annotations: Path | None, config: ExperimentConfig, output: Path, per: Literal["page", "chapter"]
) -> list[Path]:
    """Crop sheets of a folder's pages, ``config``'s own if None, into ``output``.

    Raises ValueError when there is nothing to show.
    """
    from diffsensei.data.annotation.crop_sheet import write_crop_sheets

    paths = write_crop_sheets(_open(annotations, config).pages(), output, per=per)
    if not paths:
        raise ValueError(
            f"{annotations or 'the data of this configuration'} has no page with an image and a character to show"
        )
    return paths


def export_labels(
    annotations: Path | None, config: ExperimentConfig, output: Path, kind: LabelFormat, image_prefix: str
) -> list[Path]:
    """What a drawing tool imports, and the pages' images, into a new or empty folder ``output``."""
    from diffsensei.data.annotation.label_export import export_pages

    return export_pages(_open(annotations, config), output, kind, image_prefix)


def import_labels(files: Sequence[Path], annotations: Path | None, config: ExperimentConfig, output: Path) -> int:
    """The edits in ``files`` as one JSONL file; how many. Raises ValueError for what does not fit the annotations."""
    from diffsensei.data.annotation.edit_files import read_edit_files
    from diffsensei.data.annotation.edits import write_edits
    from diffsensei.data.annotation.machine_layer import MachineLayer
    from diffsensei.data.annotation_file import read_annotations

    _, annotated = _folders(annotations, config)
    edits = read_edit_files(files, MachineLayer(read_annotations(annotated / "annotations.json")))
    write_edits(edits, output)
    return len(edits)


def measure_agreement(
    files: Sequence[Path], annotations: Path | None, config: ExperimentConfig, output: Path | None
) -> list[str]:
    """Lines for a person on who agrees with whom; everything as JSON to ``output``."""
    from diffsensei.data.annotation.agreement import agreement_report
    from diffsensei.data.annotation.edit_files import read_edit_files
    from diffsensei.data.annotation.machine_layer import MachineLayer
    from diffsensei.data.annotation.refinement import layer_counts, refine_pages
    from diffsensei.data.annotation_file import read_annotations

    _, annotated = _folders(annotations, config)
    machine = MachineLayer(read_annotations(annotated / "annotations.json"))
    edits = read_edit_files(files, machine)
    refined = refine_pages(machine, edits)
    report = agreement_report(machine, edits, refined.values())
    counts = layer_counts(refined.values())
    if output is not None:
        output.write_text(json.dumps(report | {"counts": counts}, indent=1))
    return [
        f"{counts['pages_gone_over']} of {counts['pages']} pages gone over, {counts['pages_changed']} changed, "
        f"{counts['ids_changed']} ids changed, {counts['boxes'].get('disputed', 0)} boxes in dispute",
        _line("machine and final", report["machine_and_final"]),
        *(_line(" and ".join(pair["between"]), pair) for pair in report["annotators"]),
    ]


def _open(annotations: Path | None, config: ExperimentConfig) -> "AnnotatedFolder":
    from diffsensei.data.annotation.annotated_folder import AnnotatedFolder

    images, annotated = _folders(annotations, config)
    return AnnotatedFolder(images, max_megapixels=config.data.download.max_megapixels, annotations=annotated)


def _folders(annotations: Path | None, config: ExperimentConfig) -> tuple[Path, Path]:
    """Where images and annotations lie: in the folder that was named, else as `find_machine_layer` says."""
    if annotations is not None:
        return annotations, annotations
    from tasks.data_results import find_machine_layer
    from tasks.publication import open_store

    return find_machine_layer(config, open_store())


def _line(who: str, summary: dict[str, Any]) -> str:
    def figure(name: str) -> str:
        if summary[name] is None:
            return f"{name} -"
        low, high = summary[f"{name}_interval"]
        return f"{name} {summary[name]:.3f}" + ("" if low is None else f" [{low:.3f}, {high:.3f}]")

    return f"{who}: {summary['pages']} pages, {figure('f1')}, {figure('ari')}"
