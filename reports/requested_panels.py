"""What was asked of every method, as the benchmark stores it."""

from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel

Box = tuple[float, float, float, float]
"""xyxy relative to the panel."""


class RequestedCharacter(BaseModel):
    id: str
    box: Box
    reference: str
    """Image file, relative to the benchmark."""
    source_kind: str
    source: str = ""
    """The character whose picture was drawn as the reference: ``<panel_id>:<position in its panel>``."""


class RequestedPanel(BaseModel):
    """A line of the benchmark's ``panels.jsonl``, as far as it is shown."""

    panel_id: str
    page_id: str
    series: str
    panel_index: int
    height: int
    width: int
    caption: str
    characters: tuple[RequestedCharacter, ...]
    dialogs: tuple[Box, ...]
    unfed_dialogs: tuple[Box, ...] = ()
    """Dialogs of the true panel that no method was given."""
    seed: int
    given: str = ""
    """Image that every method gets instead of drawing the panel, or empty."""


def read_panels(benchmark: Path) -> list[RequestedPanel]:
    """The requests of a benchmark folder, in file order. Raises ValueError where there are none."""
    path = benchmark / "panels.jsonl"
    if not path.is_file():
        raise ValueError(f"{benchmark} holds no benchmark: panels.jsonl is missing; run the benchmark stage")
    return [RequestedPanel.model_validate_json(line) for line in path.read_text().splitlines()]


def truth_picture(benchmark: Path, panel: RequestedPanel) -> Path:
    """The true panel. Raises ValueError for a name that leads outside, as the two below."""
    return _inside(benchmark / "truth", f"{panel.panel_id}.png")


def reference_picture(benchmark: Path, character: RequestedCharacter) -> Path:
    """The picture of the character that methods were given."""
    return _inside(benchmark, character.reference)


def drawn_picture(generated: Path, seed: int, panel: RequestedPanel) -> Path:
    """What the method that drew into ``generated`` made of ``panel`` with an evaluation seed."""
    return _inside(generated / "images" / str(seed), f"{panel.panel_id}.png")


@lru_cache(maxsize=1 << 16)  # a picture is asked for by its record, by lists and by pages
def _inside(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"picture {name!r} lies outside {folder}; rebuild the benchmark")
    return path
