"""Trains, measures and stores every embedded foundation; a part that is finished is not trained again."""

import json
import shutil
from pathlib import Path
from typing import Any

from diffusers import EulerDiscreteScheduler

from diffsensei.config.base import config_digest
from diffsensei.diffusion.noise_schedule import NOISE_SCHEDULE
from diffsensei.foundations.locations import file_sha256
from diffsensei.foundations.manifest import PartRecord, write_manifest
from diffsensei.foundations.parts import NEEDS, PARTS, Studio
from diffsensei.foundations.recipes import FitRecipe, FoundationRecipes
from diffsensei.progress import Progress

RECORD = "part.json"
"""Written into a part's folder once it is finished."""


def train_foundations(
    *,
    only: list[str] | None,
    steps_scale: float,
    workspace: Path,
    output: Path,
    recipes: FoundationRecipes | None = None,
) -> None:
    """Train the parts named in ``only`` (all for null) with ``steps_scale`` times their steps; write the folders.

    Parts that those are trained on are trained before, and left out of ``output``.

    ``workspace`` keeps finished parts and drawn pools: a second call trains only what is missing or has another recipe.
    ``output`` gets the folders of `loading` and ``manifest.json``. Raises ValueError for unknown names.
    """
    recipes = recipes or FoundationRecipes()
    unknown = sorted(set(only or ()) - PARTS.keys())
    if unknown or steps_scale <= 0:
        raise ValueError(f"expected steps_scale > 0 and parts among {', '.join(PARTS)}, got {steps_scale}, {unknown}")
    chosen = [name for name in PARTS if only is None or name in only]
    studio = Studio(recipes, workspace)
    needed = {need for name in chosen for need in NEEDS.get(name, ())}
    finished = {name: _finished_part(name, studio, steps_scale) for name in PARTS if name in needed or name in chosen}
    records = {name: finished[name] for name in chosen}
    for name, record in records.items():
        for folder in record.folders:
            shutil.copytree(studio.part(name) / folder, output / folder)
    scheduler: Any = EulerDiscreteScheduler(**NOISE_SCHEDULE)
    scheduler.save_pretrained(output / "scheduler")
    write_manifest(output, records)


def _finished_part(name: str, studio: Studio, steps_scale: float) -> PartRecord:
    """The record of part ``name``, trained now unless the workspace holds it with this recipe."""
    folder = studio.part(name)
    recipe = getattr(studio.recipes, name)
    done = folder / RECORD
    key = [
        config_digest(recipe),
        steps_scale,
        *(file_sha256(studio.part(need) / RECORD) for need in NEEDS.get(name, ())),
    ]
    if done.is_file():
        stored = json.loads(done.read_text())
        if stored["key"] == key:
            return PartRecord.model_validate(stored["record"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    scaled = recipe.replaced(fit=_scaled(recipe.fit, steps_scale).model_dump())
    progress = Progress(studio.workspace / "progress.json", f"train {name}", scaled.fit.steps, "steps")
    quality = PARTS[name](studio, scaled, progress, folder)
    record = PartRecord(
        recipe=recipe.model_dump(mode="json"),
        steps_scale=steps_scale,
        folders=tuple(sorted(path.name for path in folder.iterdir())),
        quality=quality,
    )
    done.write_text(json.dumps({"key": key, "record": record.model_dump(mode="json")}))
    return record


def _scaled(recipe: FitRecipe, steps_scale: float) -> FitRecipe:
    steps = max(1, round(recipe.steps * steps_scale))
    return recipe.replaced(steps=steps, warmup_steps=min(recipe.warmup_steps, steps // 10))
