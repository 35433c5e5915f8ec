"""What the store holds of the data that a configuration names; nothing is started."""

from pathlib import Path

from diffsensei.config import ExperimentConfig
from diffsensei.data.coverage import Coverage, read_coverage
from diffsensei.data.sources.hash_list import export_hashes
from infra.plan import Plan
from infra.store import Store
from tasks.planning import plan_targets
from tasks.stages import pipeline_stages

IMAGES, BOXES, VALIDATION, PANELS = "download", "detect", "validate", "panels"


def find_coverage(config: ExperimentConfig, store: Store) -> Coverage:
    """The coverage of ``config``'s data.

    Raises ValueError, saying what to run, where the data was not validated under this configuration yet.
    """
    plan = plan_targets(config, (PANELS,), store)
    validated = _result(plan, VALIDATION, "validated")
    # The pages that were judged are those that the validation was given.
    (stage,) = (stage for stage in pipeline_stages(config) if stage.name == VALIDATION)
    judged = _result(plan, stage.inputs["download_dir"], "there")
    panels = plan.row(PANELS).result
    return read_coverage(judged, validated, panels.path if panels else None)


def export_hash_list(config: ExperimentConfig, store: Store, path: Path) -> int:
    """Write the hashes of ``config``'s images to ``path``; how many there are. Raises ValueError before they came."""
    images = _result(plan_targets(config, (IMAGES,), store), IMAGES, "there")
    return export_hashes(images, path, max_megapixels=config.data.download.max_megapixels)


def find_machine_layer(config: ExperimentConfig, store: Store) -> tuple[Path, Path]:
    """Folders of ``config``'s images, and of the annotations that people correct: before captions and any edits.

    Raises ValueError, saying what to run, where they were not made under this configuration yet.
    """
    # Boxes that came with the pages lie where the images are.
    last = BOXES if any(stage.name == BOXES for stage in pipeline_stages(config)) else IMAGES
    plan = plan_targets(config, (last,), store)
    return _result(plan, IMAGES, "there"), _result(plan, last, "annotated")


def _result(plan: Plan, stage: str, wanted: str) -> Path:
    result = plan.row(stage).result
    if result is None:
        waiting = ", ".join(row.stage for row in plan.work)
        raise ValueError(
            f"this configuration's data is not {wanted} yet (to run: {waiting}); run `diffsensei run ingest` with the "
            "same --preset and --set"
        )
    return result.path
