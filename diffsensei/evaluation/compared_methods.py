"""The rows of the comparison: every method by name, as people call it, and what each says of itself."""

import json
from pathlib import Path
from typing import Any

MAIN = "diffsensei"
"""The method that all others are compared with."""

METHODS: dict[str, tuple[str, str]] = {
    "sdxl_t2i": ("SDXL text-to-image", "the pre-trained UNet; sees the caption only"),
    "ar_ldm": ("AR-LDM", "caption, earlier panels with their captions"),
    "storygen": ("StoryGen", "caption, its own features of the last panels"),
    "seed_story": ("SEED-Story", "writes its captions itself, on the given panel"),
    "seed_story_given": ("SEED-Story, captions given", "caption, earlier panels as features"),
    "storydiffusion": ("StoryDiffusion", "caption; panels of a page share their self-attention; not trained"),
    "ms_diffusion": ("MS-Diffusion", "caption, references, character boxes"),
    "ms_diffusion_dialogs": ("MS-Diffusion with dialogs", "as MS-Diffusion, with DiffSensei's dialog embedding"),
    "diffsensei_stage1": ("DiffSensei without MLLM", "stage 1: caption, references, character and dialog boxes"),
    "diffsensei": ("DiffSensei", "stage 2: as stage 1, with the MLLM identity adapter"),
}
"""Name -> label and what it sees, in the order of the table."""


def pairs(methods: list[str]) -> list[tuple[str, str]]:
    """(method, baseline) pairs worth a test: the main method against each other one, and DiffSensei's own steps.

    Fewer pairs leave the correction for many comparisons more power.
    """
    found = [(MAIN, other) for other in methods if other != MAIN] if MAIN in methods else []
    steps = ("diffsensei_stage1", "sdxl_t2i")
    return found + ([steps] if set(steps) <= set(methods) else [])


def drawn_methods(folders: dict[str, Path]) -> dict[str, Path]:
    """Method -> folder of what it drew, in the table's order, by what ``generation.json`` in each folder says.

    Raises ValueError for a folder without it, or a method that the table does not have.
    """
    found = {str(read_generation(folder)["method"]): folder for folder in folders.values()}
    unknown = sorted(found.keys() - METHODS.keys())
    if unknown:
        raise ValueError(f"{', '.join(unknown)} is in no row of the comparison; known: {', '.join(METHODS)}")
    return {name: found[name] for name in METHODS if name in found}


def read_generation(folder: Path) -> dict[str, Any]:
    """What the method that drew into ``folder`` says of itself: name, what it consumes, where it deviates."""
    path = folder / "generation.json"
    if not path.is_file():
        raise ValueError(f"{folder} holds no generated panels: generation.json is missing; run its generate stage")
    content: dict[str, Any] = json.loads(path.read_text())
    return content
