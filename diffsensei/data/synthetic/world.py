"""Write a synthetic world: the annotation file, the files its urls name, and the ground truth behind both."""

import hashlib
import json
from concurrent.futures import Executor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2

from diffsensei.config.schema import SyntheticSource
from diffsensei.data.synthetic.defects import RENAMED, Served, defect_of, inject
from diffsensei.data.synthetic.ink import Image
from diffsensei.data.synthetic.page import DrawnPage, draw_page, image_path_of, series_of
from diffsensei.progress import Progress
from diffsensei.seeding import numpy_stream

PAGES_PER_TASK = 8
_PNG_LEVEL = 1


def draw_world(source: SyntheticSource, output: Path, progress: Progress, executor: Executor | None = None) -> None:
    """Draw all pages of ``source`` into ``output`` (an existing folder), over the workers of ``executor`` if given.

    Writes ``annotations.json`` (a MangaZero list of pages), ``served/data/<chapter>/<n>-<sha256>.png`` (the path part
    of each url) and ``world.json``: casts, true identities and states, and per page the defect that was injected with
    the verdict it must get. The result does not depend on the number of workers.
    """
    tasks = [
        (series, range(first, min(first + PAGES_PER_TASK, source.pages_per_series)))
        for series in range(source.num_series)
        for first in range(0, source.pages_per_series, PAGES_PER_TASK)
    ]
    served = output / "served"
    served.mkdir()
    annotations: list[dict[str, Any]] = []
    truths: list[dict[str, Any]] = []
    if executor is None:
        results = (_draw_pages(source, series, pages, served) for series, pages in tasks)
    else:
        futures = [executor.submit(_draw_pages, source, series, pages, served) for series, pages in tasks]
        results = (future.result() for future in futures)
    for drawn in results:
        annotations += [raw for raw, _ in drawn]
        truths += [truth for _, truth in drawn]
        progress.advance(len(drawn))
    (output / "annotations.json").write_text(json.dumps(annotations))
    series = [asdict(series_of(source.seed, index)) for index in range(source.num_series)]
    world = {"source": source.model_dump(mode="json"), "series": series, "pages": truths}
    (output / "world.json").write_text(json.dumps(world))


def encode_png(image: Image) -> bytes:
    """``image`` (h, w) as PNG, compressed quickly rather than well."""
    ok, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])
    assert ok, "a drawn page can be encoded"
    return data.tobytes()


def _draw_pages(
    source: SyntheticSource, series: int, pages: range, served: Path
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(raw annotation, ground truth) of some pages of a series; their files are written below ``served``."""
    return [_publish(source, series, page, served) for page in pages]


def _publish(source: SyntheticSource, series: int, page: int, served: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    drawn = draw_page(source, series, page)
    raw = drawn.annotation.model_dump(mode="json")
    truth = _ground_truth(drawn, series, page)
    files = [encode_png(half) for half in drawn.halves]
    publication = Served(raw, list(files), image_path_of(source, series, max(page - 1, 0)))
    defect = defect_of(source, series, page)
    if defect is not None:
        rng = numpy_stream(source.seed, "series", series, "page", page, "defect place")
        defect = inject(defect, publication, rng, encode_png)
        truth["defect"] = asdict(defect) | publication.place
    for number, (sound, data) in enumerate(zip(files, publication.halves, strict=True), start=1):
        named = data if defect is not None and defect.kind in RENAMED and data is not None else sound
        url = raw["meta"].get(f"url{number}")
        if url is None:
            continue
        url = f"{url.removesuffix('.png')}-{hashlib.sha256(named).hexdigest()}.png"
        raw["meta"][f"url{number}"] = url
        if data is not None:
            path = served / url.partition("://")[2].partition("/")[2]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return raw, truth


def _ground_truth(drawn: DrawnPage, series: int, page: int) -> dict[str, Any]:
    panels = [
        {
            "box": placed.box,
            "place": placed.drawn.place,
            "distance": placed.drawn.distance,
            "characters": [
                {
                    "identity": character.identity.key,
                    "state": asdict(character.state),
                    "box": placed.on_page(character.box),
                    "type": character.type,
                }
                for character in placed.drawn.characters
            ],
            "dialogs": [placed.on_page(box) for box in placed.drawn.dialogs],
        }
        for placed in drawn.panels
    ]
    path = drawn.annotation.image_path
    return {"image_path": path, "series": series, "page": page, "defect": None, "panels": panels}
