"""A finished download of a small synthetic world, whose true identities are known."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from diffsensei.config.schema import SyntheticSource
from diffsensei.data.annotation.boxes import boxes_of_page
from diffsensei.data.annotation.machine_layer import MachineLayer
from diffsensei.data.halves import Half, write_halves
from diffsensei.data.images import encode_png
from diffsensei.data.objects import Objects
from diffsensei.data.records import PageAnnotation
from diffsensei.data.synthetic.page import draw_page

SOURCE = SyntheticSource(num_series=1, pages_per_series=4, page_height=360, seed=3, defect_rate=0.0)
WHEN = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


@dataclass(frozen=True)
class World:
    folder: Path
    machine: MachineLayer
    truth: dict[str, dict[str, int]]
    """Per page, who each character box truly is, as an id; the machine confuses the first two people of each page."""


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("download")
    objects = Objects(folder / "objects")
    halves, pages, truth = [], [], {}
    for number in range(SOURCE.pages_per_series):
        drawn = draw_page(SOURCE, 0, number)
        for (url, _), half in zip(drawn.annotation.meta.images, drawn.halves, strict=True):
            sha256 = objects.write(encode_png(half))
            halves.append(Half(url=url, state="ok", sha256=sha256, width=half.shape[1], height=half.shape[0]))
        true = {
            box.box_id: int(box.character_id)
            for box in boxes_of_page(drawn.annotation).values()
            if box.type < 3 and box.kind == "character"
        }
        truth[drawn.annotation.image_path] = true
        pages.append(_merged(drawn.annotation, sorted(set(true.values()))))
    write_halves(halves, folder / "halves.parquet")
    (folder / "annotations.json").write_text(json.dumps(pages))
    return World(folder, MachineLayer(pages), truth)


def _merged(page: PageAnnotation, people: list[int]) -> dict[str, Any]:
    raw = page.model_dump(mode="json")
    for frame in raw["frames"]:
        for character in frame["characters"]:
            if len(people) > 1 and character["id"] == people[1]:
                character["id"] = people[0]
    return raw


@pytest.fixture
def page() -> PageAnnotation:
    """Two frames; characters 0 and 1 in the first, 1 in the second, a dialog in each."""
    return make_page()


def make_page(**changes: Any) -> PageAnnotation:
    frames = [
        {
            "bbox": [0, 0, 100, 100],
            "caption": "left",
            "characters": [{"id": 0, "bbox": [10, 10, 30, 60]}, {"id": 1, "bbox": [50, 10, 80, 60], "type": 1}],
            "dialogs": [{"bbox": [60, 70, 90, 95]}],
        },
        {
            "bbox": [100, 0, 200, 100],
            "caption": "right",
            "characters": [{"id": 1, "bbox": [110, 10, 140, 60]}],
            "dialogs": [{"bbox": [150, 10, 190, 40]}],
        },
    ]
    raw = {"image_path": "a/1.png", "frames": frames, "meta": {"file": "1.png", "width": 200, "height": 100}} | changes
    return PageAnnotation.model_validate(raw)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    def written(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return written
