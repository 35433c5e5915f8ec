"""Drawing panels and pages with trained weights: requests, the diffusers pipeline, the generation stage, stories.

What docs/story.md describes is importable from here; each name loads its module when it is first used, so that
reading a story does not wait for diffusers.
"""

import importlib
from typing import TYPE_CHECKING, Any

import diffsensei.models.torchvision_schemas  # noqa: F401  side effect on import: before diffusers

if TYPE_CHECKING:
    from diffsensei.inference.lettering import Lettering
    from diffsensei.inference.pipeline import DiffSenseiPipeline
    from diffsensei.inference.placement import place_page
    from diffsensei.inference.story import Story, StoryPage, StoryPanel, character_images, parse_story, read_story
    from diffsensei.inference.storyboard import DrawingOptions, draw_story, generate_story

__all__ = [
    "DiffSenseiPipeline",
    "DrawingOptions",
    "Lettering",
    "Story",
    "StoryPage",
    "StoryPanel",
    "character_images",
    "draw_story",
    "generate_story",
    "parse_story",
    "place_page",
    "read_story",
]

_MODULES = {
    "DiffSenseiPipeline": "pipeline",
    "DrawingOptions": "storyboard",
    "Lettering": "lettering",
    "Story": "story",
    "StoryPage": "story",
    "StoryPanel": "story",
    "character_images": "story",
    "draw_story": "storyboard",
    "generate_story": "storyboard",
    "parse_story": "story",
    "place_page": "placement",
    "read_story": "story",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
