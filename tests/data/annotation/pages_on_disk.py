"""A few drawn pages as a stage that imports files leaves them: objects, their fates, annotations without frames."""

import json
from pathlib import Path
from typing import Any

from diffsensei.config.schema import SyntheticSource
from diffsensei.data.halves import Half, write_halves
from diffsensei.data.images import encode_png
from diffsensei.data.objects import Objects
from diffsensei.data.synthetic.page import draw_page

SOURCE = SyntheticSource(num_series=1, pages_per_series=64, page_height=120, seed=3)


def write_pages(folder: Path, *, count: int, broken: bool = False, frames: bool = False) -> Path:
    """``count`` drawn pages; with ``frames`` their true boxes, captions empty. ``broken`` adds one cut file and one
    that never came."""
    folder.mkdir(parents=True)
    objects, halves = Objects(folder / "objects"), []
    annotations: list[dict[str, Any]] = []
    for number in range(count):
        drawn = draw_page(SOURCE, 0, number)
        gray = drawn.image if number % 2 else drawn.halves[0]
        name = f"mine/{number:03d}.png"
        height, width = gray.shape
        url = f"file:{name}"
        halves.append(Half(url=url, state="ok", sha256=objects.write(encode_png(gray)), width=width, height=height))
        page: dict[str, Any] = {"image_path": name, "frames": []}
        page["meta"] = {"file": name, "width": width, "height": height}
        if frames:
            kept = [frame.model_dump(mode="json") for frame in drawn.annotation.frames]
            page["frames"] = [{**frame, "caption": ""} for frame in kept if number % 2 or frame["bbox"][2] <= width]
        annotations.append(page)
    if broken:
        cut = encode_png(draw_page(SOURCE, 0, 0).image)[:700]
        halves.append(Half(url="file:mine/cut.png", state="ok", sha256=objects.write(cut), width=160, height=120))
        for name in ("mine/cut.png", "mine/absent.png"):
            meta = {"file": name, "width": 160, "height": 120}
            annotations.insert(1, {"image_path": name, "frames": [], "meta": meta})
    write_halves(halves, folder / "halves.parquet")
    (folder / "annotations.json").write_text(json.dumps(annotations))
    return folder
