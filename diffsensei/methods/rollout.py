"""In which order the panels of pages are drawn, and what each sees of those before it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from diffsensei.methods.method import Page, Panel, SomePanel
from diffsensei.methods.reference_image import read_reference


@dataclass(frozen=True, eq=False)
class Earlier:
    """A panel that is there already, and its grey image: as given, or as drawn."""

    panel: Panel
    image: Image.Image


@dataclass(frozen=True, eq=False)
class Turn:
    """A panel whose turn it is, and those of its page before it, oldest first."""

    panel: Panel
    earlier: tuple[Earlier, ...]


DrawTurns = Callable[[Sequence[Turn]], Iterator[tuple[str, Image.Image]]]


def to_draw(pages: Sequence[Page]) -> list[Panel]:
    """The panels that are not given, page after page."""
    return [panel for page in pages for panel in page if not panel.given]


def single_panels(pages: Sequence[Page], batch_size: int) -> list[list[Page]]:
    """Pieces for methods that see each panel by itself: batches of at most ``batch_size`` panels of one size."""
    return [[batch] for batch in batches_by_size(to_draw(pages), batch_size)]


def whole_pages(pages: Sequence[Page], pages_at_once: int) -> list[list[Page]]:
    """Pieces for methods that see what came before: so many pages side by side, those with nothing to draw left out."""
    open_pages = [page for page in pages if to_draw([page])]
    return [list(open_pages[start : start + pages_at_once]) for start in range(0, len(open_pages), pages_at_once)]


def in_reading_order(
    pages: Sequence[Page], folder: Path, window: int, draw: DrawTurns
) -> Iterator[tuple[str, Image.Image]]:
    """Draw all first panels, then all second ones, ...: each sees at most ``window`` panels before it.

    ``draw`` gets the turns of one round. Raises ValueError for a given panel whose file is missing or no image.
    """
    earlier: list[list[Earlier]] = [[] for _ in pages]
    for place in range(max((len(page) for page in pages), default=0)):
        turns: dict[int, Turn] = {}
        for index, page in enumerate(pages):
            if place >= len(page):
                continue
            panel = page[place]
            if panel.given:
                earlier[index].append(Earlier(panel, Image.fromarray(read_reference(folder / panel.given))))
            else:
                turns[index] = Turn(panel, tuple(earlier[index][-window:]))
        images = dict(draw(list(turns.values())))
        yield from images.items()
        for index, turn in turns.items():
            earlier[index].append(Earlier(turn.panel, images[turn.panel.panel_id]))


def batches_by_size(panels: Sequence[SomePanel], batch_size: int) -> list[list[SomePanel]]:
    """``panels`` in batches of at most ``batch_size`` with one height and width each, in order of first appearance."""
    by_size: dict[tuple[int, int], list[SomePanel]] = {}
    for panel in panels:
        by_size.setdefault((panel.height, panel.width), []).append(panel)
    return [
        same_size[start : start + batch_size]
        for same_size in by_size.values()
        for start in range(0, len(same_size), batch_size)
    ]
