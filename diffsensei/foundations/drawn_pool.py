"""The panels that foundations are trained and measured on: drawn once, kept in memory, cut and resized by recipes.

They follow the synthetic world's pages (`data.synthetic`), from world seeds that no experiment uses.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffsensei.config.schema import BucketConfig, SyntheticSource
from diffsensei.data.panels.buckets import Bucket, assign_buckets, build_buckets, fit_panel
from diffsensei.data.synthetic.page import draw_page
from diffsensei.data.synthetic.panel import DrawnPanel
from diffsensei.foundations.recipes import PoolRecipe
from diffsensei.geometry import cover_crop
from diffsensei.progress import Progress

Grey = NDArray[np.uint8]
BUCKETS = BucketConfig(tiers=(64,), buckets_per_orientation=5, multiple=8)
"""The sizes of the tiny preset: 32x128 to 128x32."""
LARGE_BUCKETS = BucketConfig(tiers=(128,), buckets_per_orientation=9, multiple=16)
"""The sizes of the small preset's upper tier: 64x256 to 256x64."""
_IDENTITY_LABELS = ("hair_shape", "hair_tone", "face", "eyes", "accessory", "clothes")
_STATE_LABELS = ("expression", "pose", "facing")
_MIN_CROP_SIDE = 12


@dataclass(frozen=True)
class PoolCharacter:
    """``identity`` is a number unique in the pool's world; ``box`` (x1, y1, x2, y2) in the panel's pixels."""

    identity: int
    box: tuple[float, float, float, float]
    type: int
    labels: dict[str, str]
    """Looks and state by name: hair_shape, hair_tone, face, eyes, accessory, clothes, expression, pose, facing."""


@dataclass(frozen=True, eq=False)
class PoolPanel:
    """A panel as it stands on its page: ``image`` (h, w) uint8, ``dialogs`` boxes in its pixels."""

    image: Grey
    caption: str
    place: str
    distance: str
    dialogs: tuple[tuple[float, float, float, float], ...]
    characters: tuple[PoolCharacter, ...]


@dataclass(frozen=True, eq=False)
class Crop:
    """A character cut out of its panel, as a reference image is."""

    image: Grey
    character: PoolCharacter


@dataclass(frozen=True, eq=False)
class BucketPanels:
    """All panels of one training size: images (n, h, w) uint8, captions and dialog boxes (k, 4) in pixels."""

    images: Grey
    shapes: list[tuple[int, int]]
    """Height and width of each panel as it stood on its page."""
    captions: list[str]
    dialogs: list[NDArray[np.float64]]
    places: list[str]


def pool(recipe: PoolRecipe, workspace: Path) -> list[PoolPanel]:
    """The panels of ``recipe``, drawn on the first call and read from ``workspace`` on later ones."""
    folder = workspace / f"pool-{recipe.seed}-{recipe.num_series}-{recipe.pages_per_series}-{recipe.page_height}"
    if not (folder / "panels.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder, list(_draw(recipe, workspace)))
    return _read(folder)


def bucket_panels(panels: list[PoolPanel], config: BucketConfig = BUCKETS) -> list[BucketPanels]:
    """``panels`` resized and cropped to their training sizes as in training; sizes without a panel are left out."""
    buckets = build_buckets(config)
    heights, widths = np.array([panel.image.shape for panel in panels]).T
    chosen = assign_buckets(heights, widths, buckets, config)
    result = []
    for index, bucket in enumerate(buckets):
        members = [panel for panel, number in zip(panels, chosen, strict=True) if number == index]
        if not members:
            continue
        images = np.stack([fit_panel(panel.image, bucket) for panel in members])
        dialogs = [_fitted_dialogs(panel, bucket) for panel in members]
        shapes = [(panel.image.shape[0], panel.image.shape[1]) for panel in members]
        captions, places = [panel.caption for panel in members], [panel.place for panel in members]
        result.append(BucketPanels(images, shapes, captions, dialogs, places))
    return result


def crops(panels: list[PoolPanel]) -> list[Crop]:
    """Every character that is at least 12 pixels high and wide, cut along its rounded box."""
    found = []
    for panel in panels:
        height, width = panel.image.shape
        for character in panel.characters:
            x1, y1, x2, y2 = (round(v) for v in character.box)
            image = panel.image[max(y1, 0) : min(y2, height), max(x1, 0) : min(x2, width)]
            if min(image.shape) >= _MIN_CROP_SIDE:
                found.append(Crop(image, character))
    return found


def _fitted_dialogs(panel: PoolPanel, bucket: Bucket) -> NDArray[np.float64]:
    """Dialog boxes (k, 4) in pixels of the panel as `fit_panel` leaves it."""
    height, width = panel.image.shape
    relative = np.array(panel.dialogs, dtype=np.float64).reshape(-1, 4) / np.array([width, height] * 2)
    extent = np.array([bucket.width, bucket.height] * 2)
    return cover_crop(relative, height, width, bucket.height, bucket.width) * extent


def _draw(recipe: PoolRecipe, workspace: Path) -> Iterator[PoolPanel]:
    # draw_page looks at nothing but height and seed of the source.
    source = SyntheticSource(num_series=1, pages_per_series=1, page_height=recipe.page_height, seed=recipe.seed)
    total = recipe.num_series * recipe.pages_per_series
    progress = Progress(workspace / "progress.json", f"draw pages of world {recipe.seed}", total, "pages")
    for series in range(recipe.num_series):
        for page in range(recipe.pages_per_series):
            for placed in draw_page(source, series, page).panels:
                yield _kept(placed.drawn)
            progress.advance()


def _kept(panel: DrawnPanel) -> PoolPanel:
    characters = []
    for drawn in panel.characters:
        looks = {name: str(getattr(drawn.identity, name)) for name in _IDENTITY_LABELS}
        state = {name: str(getattr(drawn.state, name)) for name in _STATE_LABELS}
        characters.append(PoolCharacter(drawn.identity.key, drawn.box, drawn.type, looks | state))
    return PoolPanel(panel.image, panel.caption, panel.place, panel.distance, panel.dialogs, tuple(characters))


def _write(folder: Path, panels: list[PoolPanel]) -> None:
    np.save(folder / "pixels.npy", np.concatenate([panel.image.reshape(-1) for panel in panels]))
    rows = [
        {
            "shape": panel.image.shape,
            "caption": panel.caption,
            "place": panel.place,
            "distance": panel.distance,
            "dialogs": panel.dialogs,
            "characters": [asdict(character) for character in panel.characters],
        }
        for panel in panels
    ]
    (folder / "panels.json").write_text(json.dumps(rows))


def _read(folder: Path) -> list[PoolPanel]:
    pixels = np.load(folder / "pixels.npy")
    panels, start = [], 0
    for row in json.loads((folder / "panels.json").read_text()):
        height, width = row["shape"]
        image = pixels[start : start + height * width].reshape(height, width)
        start += height * width
        characters = tuple(
            PoolCharacter(**(character | {"box": tuple(character["box"])})) for character in row["characters"]
        )
        dialogs = tuple(tuple(box) for box in row["dialogs"])
        panels.append(PoolPanel(image, row["caption"], row["place"], row["distance"], dialogs, characters))
    return panels
